//! Processes that handle a signal, and processes that signals suspend.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use plugmeter::{PluginState, ProbeKind, RunEnd};
use plugmeter_test_support::{
    ChildGuard, manual_collector, probes, report_missing, sleeper, wait_for, wait_past_crash_grace,
};

use crate::test_child::signal;

const PYTHON: &str = "
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print('ready', flush=True)
time.sleep(1000)
";

const BASH: &str = "trap 'exit 143' TERM; echo ready; read x";

/// Exit code 143 is 128 plus the number of `TERM`.
#[test]
fn handled_termination_is_no_crash() {
    for (program, script) in [("python3", PYTHON), ("bash", BASH)] {
        for probe in probes() {
            let mut command = Command::new(program);
            command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let Ok(child) = command.spawn() else {
                report_missing(&format!("there is no {program}"), "a handled termination");
                break;
            };
            let mut child = ChildGuard(child);
            let mut line = String::new();
            let output = child.0.stdout.take().unwrap();
            BufReader::new(output).read_line(&mut line).unwrap();
            assert_eq!(line.trim(), "ready");
            let collector = manual_collector(probe);
            let plugin = collector.register("dice").unwrap();
            let run = plugin.started(child.pid(), "");
            collector.sample_now().unwrap();
            signal(child.pid(), "TERM");
            wait_for("its exit", || {
                let snapshot = collector.sample_now().unwrap();
                snapshot.plugin("dice").unwrap().pid().is_none().then_some(())
            });
            let is_known = probe == ProbeKind::Native;
            if !is_known {
                plugin.exited(run, child.wait());
            }
            wait_past_crash_grace(&collector);
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("dice").unwrap();
            assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Exited(143)), "{program}");
            assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0), "{program}");
        }
    }
}

#[test]
fn suspension_is_detected_and_cleared() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let mut child = sleeper();
        plugin.started(child.pid(), "");
        let wait_until = |expected: Option<bool>| {
            wait_for(&format!("{probe}: suspended is {expected:?}"), || {
                let snapshot = collector.sample_now().unwrap();
                let view = snapshot.plugin("dice").unwrap();
                let is_suspended = view.usage().is_suspended;
                assert_eq!(view.suspended_since().is_some(), is_suspended == Some(true));
                assert_eq!(view.state(), PluginState::Running);
                (is_suspended == expected).then_some(view.suspended_since())
            })
        };
        wait_until(Some(false));
        for _ in 0..2 {
            signal(child.pid(), "STOP");
            let since = wait_until(Some(true));
            for _ in 0..5 {
                assert_eq!(wait_until(Some(true)), since, "it does not move");
            }
            signal(child.pid(), "CONT");
            wait_until(Some(false));
        }
        // A suspended process that is killed leaves no suspension.
        signal(child.pid(), "STOP");
        wait_until(Some(true));
        child.kill();
        wait_for("its exit", || {
            let snapshot = collector.sample_now().unwrap();
            snapshot.plugin("dice").unwrap().pid().is_none().then_some(())
        });
        let snapshot = collector.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.usage().is_suspended, view.suspended_since()), (None, None), "{probe}");
    }
}
