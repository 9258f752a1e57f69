//! Every order of three events: the process exits, the sampler detects it, the host reports it. The
//! definition of the result is stated here a second time, as simply as possible.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use plugmeter::{Collector, Plugin, PluginState, ProbeKind, RunEnd, RunId};
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::reaped::has_late_status;
use plugmeter_test_support::{
    ChildGuard, manual_collector, probes, sleeper, wait_for, wait_past_crash_grace,
};

use crate::sampler_gate;
use crate::test_child::{release, signal, wait_for_state, waiting_shell};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Exit(i32),
    Signal(&'static str, i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The sampler detects the exit before the host reports it.
    Detected,
    /// As `Detected`, and the process was reaped before it was detected.
    DetectedReaped,
    /// The host reports the exit before the sampler detects it, without reaping the process.
    Undetected,
    /// As `Undetected`, and the process was reaped.
    UndetectedReaped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    Nothing,
    Exited,
    Stopped,
    Crashed,
    Next,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    /// The state was `Stopping` when the process exited.
    was_stopping: bool,
    cause: Cause,
    order: Order,
    report: Report,
}

fn cases() -> Vec<Case> {
    use Cause::{Exit, Signal};
    let causes = [Exit(0), Exit(3), Signal("TERM", 15), Signal("KILL", 9), Signal("USR1", 10)];
    let reports = [Report::Nothing, Report::Exited, Report::Stopped, Report::Crashed, Report::Next];
    let mut all = Vec::new();
    for was_stopping in [false, true] {
        for cause in causes {
            for order in
                [Order::Detected, Order::DetectedReaped, Order::Undetected, Order::UndetectedReaped]
            {
                all.extend(reports.map(|report| Case { was_stopping, cause, order, report }));
            }
        }
    }
    all.retain(Case::is_possible);
    all
}

impl Case {
    fn is_possible(&self) -> bool {
        // A host that reports the status has reaped the process. A host that sets `Stopping` and
        // then reports a crash contradicts itself.
        let is_unreaped = self.report == Report::Exited && self.order == Order::Undetected;
        let is_contradiction = self.was_stopping && self.report == Report::Crashed;
        !is_unreaped && !is_contradiction
    }

    fn is_detected_first(&self) -> bool {
        matches!(self.order, Order::Detected | Order::DetectedReaped)
    }

    fn is_reaped(&self) -> bool {
        matches!(self.order, Order::DetectedReaped | Order::UndetectedReaped)
    }

    fn is_clean(&self) -> bool {
        matches!(self.cause, Cause::Exit(0) | Cause::Signal("TERM", _))
    }

    /// The exit status is known: the host reports it, or the sampler reads it. On older kernels it
    /// can only be read before the process is reaped.
    fn is_known(&self, probe: ProbeKind) -> bool {
        let is_readable = !self.is_reaped() || has_late_status();
        (probe == ProbeKind::Native && is_readable) || self.report == Report::Exited
    }

    fn expected(&self, probe: ProbeKind) -> Expected {
        use PluginState::{Crashed, Running, Stopped};
        let detected_crash = !self.is_clean() && self.is_known(probe);
        let is_unreported = matches!(self.report, Report::Nothing | Report::Next);
        let is_unknown = !self.was_stopping && is_unreported && !self.is_known(probe);
        let (state, is_counted) = match (self.was_stopping, self.report) {
            (true, Report::Next) => (Running, false),
            (true, _) => (Stopped, false),
            (false, Report::Nothing) if detected_crash => (Crashed, true),
            (false, Report::Nothing) => (Stopped, false),
            (false, Report::Exited) if self.is_clean() => (Stopped, false),
            (false, Report::Exited) => (Crashed, true),
            (false, Report::Stopped) => (Stopped, false),
            (false, Report::Crashed) => (Crashed, true),
            (false, Report::Next) => (Running, detected_crash),
        };
        let end = match (self.cause, self.report) {
            (Cause::Exit(code), _) if self.is_known(probe) => RunEnd::Exited(code),
            (Cause::Signal(_, number), _) if self.is_known(probe) => RunEnd::Signaled(number),
            // With `Stopping` set, the end is classified when it is detected, and later reports do
            // not change it.
            (_, Report::Stopped) if self.was_stopping && self.is_detected_first() => {
                RunEnd::Unknown
            }
            (_, Report::Stopped) => RunEnd::Stopped,
            (_, Report::Crashed) => RunEnd::Crashed,
            _ => RunEnd::Unknown,
        };
        Expected { state, is_counted, is_unknown, end }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Expected {
    state: PluginState,
    is_counted: bool,
    is_unknown: bool,
    end: RunEnd,
}

/// A plugin to which a case is applied.
struct Trial {
    case: Case,
    plugin: Plugin,
    run: RunId,
    child: ChildGuard,
    next: Option<ChildGuard>,
}

impl Trial {
    fn new(collector: &Collector, name: &str, case: Case) -> Self {
        let plugin = collector.register(name).unwrap();
        let child = waiting_shell(&match case.cause {
            Cause::Exit(code) => format!("exit {code}"),
            Cause::Signal(..) => "exit 99".to_owned(),
        });
        let run = plugin.started(child.pid(), "1.0");
        Self { case, plugin, run, child, next: None }
    }

    fn set_stopping(&self) {
        if self.case.was_stopping {
            self.plugin.set_state(PluginState::Stopping);
        }
    }

    fn exit(&mut self) {
        match self.case.cause {
            Cause::Exit(_) => release(&mut self.child),
            Cause::Signal(name, _) => signal(self.child.pid(), name),
        }
        wait_for_state(self.child.pid(), 'Z');
        if self.case.is_reaped() {
            self.child.wait();
        }
    }

    fn send_report(&mut self) {
        match self.case.report {
            Report::Nothing => {}
            Report::Exited => {
                let status = self.child.wait();
                let expected = match self.case.cause {
                    Cause::Exit(code) => ExitStatus::from_raw(code << 8),
                    Cause::Signal(_, number) => ExitStatus::from_raw(number),
                };
                assert_eq!(status, expected);
                self.plugin.exited(self.run, status);
            }
            Report::Stopped => self.plugin.stopped(),
            Report::Crashed => self.plugin.crashed(),
            Report::Next => {
                let next = self.next.insert(sleeper());
                self.plugin.started(next.pid(), "1.1");
            }
        }
    }

    fn check(&self, collector: &Collector, probe: ProbeKind) {
        let snapshot = collector.snapshot();
        let view = snapshot.plugin(self.plugin.name()).unwrap();
        let run = view.runs().next().unwrap();
        let actual = Expected {
            state: view.state(),
            is_counted: view.crash_count() == 1,
            is_unknown: view.unknown_end_count() == 1,
            end: run.end.unwrap(),
        };
        assert!(view.crash_count() <= 1, "{probe}, {:?}", self.case);
        assert_eq!(actual, self.case.expected(probe), "{probe}, {:?}", self.case);
        let crash = actual.is_counted.then_some(run.ended_at.unwrap());
        assert_eq!(view.last_crash(), crash, "{probe}, {:?}", self.case);
        let next = self.next.as_ref().map(ChildGuard::pid);
        assert_eq!((view.pid(), view.restart_count()), (next, u64::from(next.is_some())));
    }
}

/// Less than the crash grace period of one second. A round that took longer starts again.
const MAX_REPORT_DELAY: Duration = Duration::from_millis(900);

/// The sampler detects the exit, and the host reports it within the crash grace period.
fn run_detected_first(collector: &Collector, probe: ProbeKind, number: usize, case: Case) -> Trial {
    wait_for("a round within the grace period", || {
        let mut trial = Trial::new(collector, &format!("detected {number}"), case);
        collector.sample_now().unwrap();
        trial.set_stopping();
        let start = Instant::now();
        if case.is_reaped() {
            // Otherwise the sampler could detect the exit before the process is reaped.
            sampler_gate::while_blocked(collector, || trial.exit());
        } else {
            trial.exit();
        }
        wait_for("the exit to be detected", || {
            if probe != ProbeKind::Native {
                collector.sample_now().unwrap();
            }
            let snapshot = collector.snapshot();
            snapshot.plugin(trial.plugin.name())?.runs().next()?.end
        });
        trial.send_report();
        let is_in_time = start.elapsed() < MAX_REPORT_DELAY;
        if !is_in_time {
            trial.plugin.remove();
        }
        is_in_time.then_some(trial)
    })
}

#[test]
fn every_exit_order_matches_definition() {
    if !enter_isolated(every_exit_order_matches_definition, &[]) {
        return;
    }
    for probe in probes() {
        let collector = manual_collector(probe);
        let (detected, undetected): (Vec<_>, Vec<_>) =
            cases().into_iter().partition(Case::is_detected_first);
        let mut trials: Vec<Trial> = detected
            .into_iter()
            .enumerate()
            .map(|(number, case)| run_detected_first(&collector, probe, number, case))
            .collect();
        let mut undetected: Vec<Trial> = undetected
            .into_iter()
            .enumerate()
            .map(|(number, case)| Trial::new(&collector, &format!("undetected {number}"), case))
            .collect();
        collector.sample_now().unwrap();
        sampler_gate::while_blocked(&collector, || {
            for trial in &mut undetected {
                trial.set_stopping();
                trial.exit();
                trial.send_report();
            }
        });
        trials.extend(undetected);
        collector.sample_now().unwrap();
        wait_past_crash_grace(&collector);
        assert_eq!(trials.len(), cases().len());
        trials.iter().for_each(|trial| trial.check(&collector, probe));
        // Later reports have no effect.
        for trial in &mut trials {
            let before = collector.sample_now().unwrap();
            let view = before.plugin(trial.plugin.name()).unwrap();
            trial.plugin.exited(trial.run, ExitStatus::from_raw(11));
            let after = collector.sample_now().unwrap();
            let after = after.plugin(trial.plugin.name()).unwrap();
            // Only a clean or unknown exit without a report is still unclassified.
            let is_reported = trial.case.was_stopping
                || !matches!(trial.case.report, Report::Nothing | Report::Next);
            if is_reported || view.crash_count() == 1 {
                assert_eq!(after.crash_count(), view.crash_count(), "{probe}, {:?}", trial.case);
                assert_eq!(after.state(), view.state(), "{probe}, {:?}", trial.case);
            }
        }
    }
}
