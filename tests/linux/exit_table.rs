//! Every order in which a process may end, the sampler may see it and the host may speak of it.
//! What is to come of it is said once more here, as simply as can be.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use plugmeter::{Collector, Plugin, PluginState, ProbeKind, RunEnd, RunId};

use crate::sampler_gate;
use crate::test_child::{release, signal, wait_for_state, waiting_shell};
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::{
    ChildGuard, manual_collector, probes, sleeper, wait_for, wait_past_crash_grace,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Exit(i32),
    Signal(&'static str, i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The sampler has seen the end before the host says anything.
    Seen,
    /// The same, but somebody had reaped the process by then.
    SeenReaped,
    /// The host has spoken before the sampler sees the end; nobody has reaped it.
    Unseen,
    /// The same, and the host has reaped it.
    UnseenReaped,
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
    /// The state was Stopping order the process ended.
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
            for order in [Order::Seen, Order::SeenReaped, Order::Unseen, Order::UnseenReaped] {
                all.extend(reports.map(|report| Case { was_stopping, cause, order, report }));
            }
        }
    }
    all.retain(Case::is_possible);
    all
}

impl Case {
    fn is_possible(&self) -> bool {
        // Who tells the status has reaped the process. Who announces an end and then speaks of a
        // crash says two things.
        let status = !(self.report == Report::Exited && self.order == Order::Unseen);
        status && !(self.was_stopping && self.report == Report::Crashed)
    }

    fn is_seen_first(&self) -> bool {
        matches!(self.order, Order::Seen | Order::SeenReaped)
    }

    fn is_reaped(&self) -> bool {
        matches!(self.order, Order::SeenReaped | Order::UnseenReaped)
    }

    fn is_clean(&self) -> bool {
        matches!(self.cause, Cause::Exit(0) | Cause::Signal("TERM", _))
    }

    /// Cause it ended is known: the host has said it, or the sampler could look.
    fn is_known(&self, probe: ProbeKind) -> bool {
        let looked = probe == ProbeKind::Native && !self.is_reaped();
        looked || self.report == Report::Exited
    }

    fn expected(&self, probe: ProbeKind) -> Expected {
        use PluginState::{Crashed, Running, Stopped};
        let seen_clean = self.is_clean() && self.is_known(probe);
        let (state, counted) = match (self.was_stopping, self.report) {
            (true, Report::Next) => (Running, false),
            (true, _) => (Stopped, false),
            (false, Report::Nothing) if seen_clean => (Stopped, false),
            (false, Report::Nothing) => (Crashed, true),
            (false, Report::Exited) if self.is_clean() => (Stopped, false),
            (false, Report::Exited) => (Crashed, true),
            (false, Report::Stopped) => (Stopped, false),
            (false, Report::Crashed) => (Crashed, true),
            (false, Report::Next) => (Running, !seen_clean),
        };
        let end = match (self.cause, self.report) {
            (Cause::Exit(code), _) if self.is_known(probe) => RunEnd::Exited(code),
            (Cause::Signal(_, number), _) if self.is_known(probe) => RunEnd::Signaled(number),
            // An end that was was_stopping is settled order it is seen: nothing is added to it.
            (_, Report::Stopped) if self.was_stopping && self.is_seen_first() => RunEnd::Unknown,
            (_, Report::Stopped) => RunEnd::Stopped,
            (_, Report::Crashed) => RunEnd::Crashed,
            _ => RunEnd::Unknown,
        };
        Expected { state, counted, end }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Expected {
    state: PluginState,
    counted: bool,
    end: RunEnd,
}

/// A plugin to which a case happens.
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

    fn announce(&self) {
        if self.case.was_stopping {
            self.plugin.set_state(PluginState::Stopping);
        }
    }

    fn end(&mut self) {
        match self.case.cause {
            Cause::Exit(_) => release(&mut self.child),
            Cause::Signal(name, _) => signal(self.child.pid(), name),
        }
        wait_for_state(self.child.pid(), 'Z');
        if self.case.is_reaped() {
            self.child.wait();
        }
    }

    fn speak(&mut self) {
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
        let seen = Expected {
            state: view.state(),
            counted: view.crash_count() == 1,
            end: run.end.unwrap(),
        };
        assert!(view.crash_count() <= 1, "{probe}, {:?}", self.case);
        assert_eq!(seen, self.case.expected(probe), "{probe}, {:?}", self.case);
        let crash = seen.counted.then_some(run.ended_at.unwrap());
        assert_eq!(view.last_crash(), crash, "{probe}, {:?}", self.case);
        let next = self.next.as_ref().map(ChildGuard::pid);
        assert_eq!((view.pid(), view.restart_count()), (next, u64::from(next.is_some())));
    }
}

/// The sampler sees the end, and the host speaks of it then; within the second in which it can
/// still say that it was none.
fn run_detected_first(collector: &Collector, probe: ProbeKind, number: usize, case: Case) -> Trial {
    wait_for("a machine that is not too busy", || {
        let mut trial = Trial::new(collector, &format!("seen {number}"), case);
        collector.sample_now().unwrap();
        trial.announce();
        let begin = Instant::now();
        if case.is_reaped() {
            // Otherwise the sampler might be faster.
            sampler_gate::while_blocked(collector, || trial.end());
        } else {
            trial.end();
        }
        wait_for("the end to be seen", || {
            if probe != ProbeKind::Native {
                collector.sample_now().unwrap();
            }
            let snapshot = collector.snapshot();
            snapshot.plugin(trial.plugin.name())?.runs().next()?.end
        });
        trial.speak();
        let in_time = begin.elapsed() < Duration::from_millis(900);
        if !in_time {
            trial.plugin.remove();
        }
        in_time.then_some(trial)
    })
}

#[test]
fn every_exit_order_matches_definition() {
    if !enter_isolated(every_exit_order_matches_definition, &[]) {
        return;
    }
    for probe in probes() {
        let collector = manual_collector(probe);
        let (seen, unseen): (Vec<_>, Vec<_>) = cases().into_iter().partition(Case::is_seen_first);
        let mut trials: Vec<Trial> = seen
            .into_iter()
            .enumerate()
            .map(|(number, case)| run_detected_first(&collector, probe, number, case))
            .collect();
        let mut held: Vec<Trial> = unseen
            .into_iter()
            .enumerate()
            .map(|(number, case)| Trial::new(&collector, &format!("unseen {number}"), case))
            .collect();
        collector.sample_now().unwrap();
        sampler_gate::while_blocked(&collector, || {
            for trial in &mut held {
                trial.announce();
                trial.end();
                trial.speak();
            }
        });
        trials.extend(held);
        collector.sample_now().unwrap();
        wait_past_crash_grace(&collector);
        assert_eq!(trials.len(), cases().len());
        trials.iter().for_each(|trial| trial.check(&collector, probe));
        // What is said late is said in vain.
        for trial in &mut trials {
            let before = collector.sample_now().unwrap();
            let view = before.plugin(trial.plugin.name()).unwrap();
            trial.plugin.exited(trial.run, ExitStatus::from_raw(11));
            let after = collector.sample_now().unwrap();
            let after = after.plugin(trial.plugin.name()).unwrap();
            // Only a clean end of which the host has said nothing was not settled yet.
            let said = trial.case.was_stopping
                || !matches!(trial.case.report, Report::Nothing | Report::Next);
            if said || view.crash_count() == 1 {
                assert_eq!(after.crash_count(), view.crash_count(), "{probe}, {:?}", trial.case);
                assert_eq!(after.state(), view.state(), "{probe}, {:?}", trial.case);
            }
        }
    }
}
