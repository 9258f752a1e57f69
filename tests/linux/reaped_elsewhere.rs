//! Processes that are reaped without a report: by the host, by the kernel, or by another parent. An
//! unknown exit is no crash, and on newer kernels the status is known.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use plugmeter::{Collector, Plugin, PluginState, ProbeKind, RunEnd, RunId};
use plugmeter_test_support::isolated_process::{OWN_PID_NAMESPACE, enter_isolated, lacks_root};
use plugmeter_test_support::reaped::has_late_status;
use plugmeter_test_support::signals::reap_children_in_handler;
use plugmeter_test_support::{
    ChildGuard, SetOnDrop, manual_collector, probes, sleeper, ticking_collector, wait_for,
    wait_past_crash_grace,
};

use crate::test_child::{TestChild, release, wait_for_state, waiting_shell};

/// Numbers of processes, and the codes with which they exit.
const GROUPS: [(usize, i32); 2] = [(40, 0), (10, 3)];

const INTERVAL: Duration = Duration::from_millis(20);

/// Whether the status of every process is known in the end.
fn is_status_known(probe: ProbeKind) -> bool {
    probe == ProbeKind::Native && has_late_status()
}

/// Registers a plugin for each process, and waits until a tick has read all of them.
fn start_all(collector: &Collector, pids: impl Iterator<Item = u32>) -> Vec<(Plugin, RunId)> {
    let runs: Vec<_> = pids
        .enumerate()
        .map(|(number, pid)| {
            let plugin = collector.register(&format!("plugin {number}")).unwrap();
            let run = plugin.started(pid, "1.0");
            (plugin, run)
        })
        .collect();
    let snapshot = collector.sample_now().unwrap();
    assert!(snapshot.plugins().all(|view| view.pid().is_some()));
    runs
}

/// Waits until the end of every run is detected, with its status if it is to be known.
fn wait_for_ends(collector: &Collector, is_known: bool, code: i32) {
    wait_for("the ends of all runs", || {
        let snapshot = collector.sample_now().unwrap();
        let is_expected = |end: Option<RunEnd>| match end {
            Some(RunEnd::Exited(found)) => {
                assert_eq!(found, code);
                true
            }
            Some(RunEnd::Unknown) => !is_known,
            None => false,
            Some(other) => panic!("{other:?}"),
        };
        snapshot.plugins().all(|view| is_expected(view.runs().last().unwrap().end)).then_some(())
    });
}

/// Asserts that a run counts as a crash if its status is known and unclean, and that it counts as
/// unknown if its status is unknown.
fn assert_counts(collector: &Collector, probe: ProbeKind, code: i32) {
    wait_past_crash_grace(collector);
    let snapshot = collector.sample_now().unwrap();
    for view in snapshot.plugins() {
        let end = view.runs().last().unwrap().end.unwrap();
        let crashes = u64::from(end == RunEnd::Exited(3));
        let unknown = u64::from(end == RunEnd::Unknown);
        let state = [PluginState::Stopped, PluginState::Crashed][crashes as usize];
        assert_eq!(view.state(), state, "{probe}: {end:?}");
        assert_eq!((view.crash_count(), view.unknown_end_count()), (crashes, unknown), "{probe}");
        assert!(!is_status_known(probe) || end == RunEnd::Exited(code), "{probe}: {end:?}");
    }
}

/// Runs the groups as children of this process. `reap` is called after their release.
fn check_children(reap: impl Fn(&mut ChildGuard)) {
    for probe in probes() {
        for (count, code) in GROUPS {
            let collector = ticking_collector(probe, INTERVAL);
            let then = format!("exit {code}");
            let mut children: Vec<_> = (0..count).map(|_| waiting_shell(&then)).collect();
            start_all(&collector, children.iter().map(ChildGuard::pid));
            for child in &mut children {
                release(child);
                reap(child);
            }
            wait_for_ends(&collector, is_status_known(probe), code);
            // These have been reaped: their pids are not to be signaled any more.
            children.into_iter().for_each(std::mem::forget);
            assert_counts(&collector, probe, code);
        }
    }
}

/// Reaps all children in a thread during `run`.
fn while_reaping(run: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                if waitpid(None, None) == Err(Errno::ECHILD) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let _is_over = SetOnDrop(&is_over);
        run();
    });
}

#[test]
fn child_waited_for_without_report_is_no_crash() {
    check_children(|child| {
        child.wait();
    });
}

/// A handler interrupts the host's own threads, and reaps before anything else can.
#[test]
fn child_reaped_in_sigchld_handler_is_no_crash() {
    if enter_isolated(child_reaped_in_sigchld_handler_is_no_crash, &[]) {
        reap_children_in_handler();
        check_children(|_| ());
        let left = waitpid(None, Some(WaitPidFlag::WNOHANG));
        assert_eq!(left, Err(Errno::ECHILD), "the handler reaps all");
    }
}

#[test]
fn child_reaped_by_loop_is_no_crash() {
    if enter_isolated(child_reaped_by_loop_is_no_crash, &[]) {
        while_reaping(|| check_children(|_| ()));
    }
}

/// The kernel reaps them.
#[test]
fn child_of_host_that_ignores_sigchld_is_no_crash() {
    let commands = ["env", "--ignore-signal=CHLD"];
    if enter_isolated(child_of_host_that_ignores_sigchld_is_no_crash, &commands) {
        check_children(|_| ());
    }
}

#[test]
fn child_of_host_with_pid_1_is_no_crash() {
    if lacks_root("a PID namespace") {
        return;
    }
    if !enter_isolated(child_of_host_with_pid_1_is_no_crash, OWN_PID_NAMESPACE) {
        return;
    }
    assert_eq!(std::process::id(), 1);
    check_children(|child| {
        child.wait();
    });
    while_reaping(|| check_children(|_| ()));
}

/// The status of a process that is no child is known when its parent has reaped it.
#[test]
fn grandchild_reaped_late_has_its_status() {
    for probe in probes() {
        for (count, code) in GROUPS {
            let collector = manual_collector(probe);
            let mut parent = TestChild::start(&format!("parent {count} {code}"));
            let pids = parent.request("pids");
            let pids = pids.split(' ').map(|pid| pid.parse().unwrap());
            start_all(&collector, pids);
            parent.request("release");
            wait_for_ends(&collector, false, code);
            let snapshot = collector.sample_now().unwrap();
            for view in snapshot.plugins() {
                assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Unknown), "{probe}");
                assert_eq!((view.state(), view.unknown_end_count()), (PluginState::Stopped, 1));
            }
            parent.request("reap");
            wait_for_ends(&collector, is_status_known(probe), code);
            assert_counts(&collector, probe, code);
            let snapshot = collector.sample_now().unwrap();
            assert!(snapshot.plugins().all(|view| view.unknown_ends_detected() == 1), "{probe}");
        }
    }
}

/// The next process is reported while the one before is a zombie of another parent.
#[test]
fn replaced_grandchild_has_its_status_when_reaped() {
    for probe in probes() {
        for (count, code) in GROUPS {
            let collector = manual_collector(probe);
            let mut parent = TestChild::start(&format!("parent {count} {code}"));
            let pids = parent.request("pids");
            let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
            let runs = start_all(&collector, pids.iter().copied());
            parent.request("release");
            pids.iter().for_each(|&pid| wait_for_state(pid, 'Z'));
            let next = sleeper();
            for (plugin, _) in &runs {
                plugin.started(next.pid(), "2.0");
            }
            wait_for_first_ends(&collector, RunEnd::Unknown);
            let snapshot = collector.sample_now().unwrap();
            assert!(snapshot.plugins().all(|view| view.unknown_end_count() == 1), "{probe}");

            parent.request("reap");
            let is_known = is_status_known(probe);
            let end = if is_known { RunEnd::Exited(code) } else { RunEnd::Unknown };
            wait_for_first_ends(&collector, end);
            wait_past_crash_grace(&collector);
            let snapshot = collector.sample_now().unwrap();
            let expected = (u64::from(is_known && code != 0), u64::from(!is_known));
            for view in snapshot.plugins() {
                assert_eq!((view.state(), view.pid()), (PluginState::Running, Some(next.pid())));
                assert_eq!((view.crash_count(), view.unknown_end_count()), expected, "{probe}");
            }
        }
    }
}

/// Waits until the first run of every plugin has this end.
fn wait_for_first_ends(collector: &Collector, end: RunEnd) {
    wait_for("the ends of the first runs", || {
        let snapshot = collector.sample_now().unwrap();
        let mut ends = snapshot.plugins().map(|view| view.runs().next().unwrap().end);
        ends.all(|found| found == Some(end)).then_some(())
    });
}

/// Later than the crash grace period.
const LATE: Duration = Duration::from_millis(1_500);

#[test]
fn late_exited_report_decides() {
    for probe in probes() {
        for (count, code) in GROUPS {
            let collector = ticking_collector(probe, INTERVAL);
            // Not children, so that their status is unknown until the report.
            let mut parent = TestChild::start(&format!("parent {count} {code}"));
            let pids = parent.request("pids");
            let runs = start_all(&collector, pids.split(' ').map(|pid| pid.parse().unwrap()));
            parent.request("release");
            wait_for_ends(&collector, false, code);
            let detected = Instant::now();
            wait_for("a late report", || (detected.elapsed() > LATE).then_some(()));
            let snapshot = collector.snapshot();
            for view in snapshot.plugins() {
                assert_eq!((view.state(), view.unknown_end_count()), (PluginState::Stopped, 1));
            }
            for (plugin, run) in &runs {
                plugin.exited(*run, ExitStatus::from_raw(code << 8));
            }
            let snapshot = collector.sample_now().unwrap();
            let (state, crashes) = match code {
                0 => (PluginState::Stopped, 0),
                _ => (PluginState::Crashed, 1),
            };
            for view in snapshot.plugins() {
                assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Exited(code)));
                let counts = (view.crash_count(), view.unknown_end_count());
                assert_eq!((view.state(), counts), (state, (crashes, 0)), "{probe}");
            }
            parent.request("reap");
        }
    }
}
