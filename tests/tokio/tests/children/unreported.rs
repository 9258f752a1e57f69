//! Children of tokio that the host reports when they start, and never again; and those that somebody
//! else has reaped.

use std::process::Stdio;
use std::time::Duration;

use plugmeter::{PluginState, ProbeKind, RunEnd};
use plugmeter_test_support::isolated_process::{OWN_PID_NAMESPACE, enter_isolated};
use plugmeter_test_support::reaped::has_late_status;
use plugmeter_test_support::stranger::Stranger;
use plugmeter_test_support::{
    HANG_TIMEOUT, manual_collector, probes, ticking_collector, wait_for, wait_past_crash_grace,
};
use tokio::process::Command;

use super::cpu_time::runtimes;

const CHILDREN: usize = 40;

/// No child of the caller has the pid.
const ECHILD: i32 = 10;

/// tokio reaps a child when a task waits for it, at a time unrelated to the ticks.
#[test]
fn child_waited_for_without_report_is_no_crash() {
    for probe in probes() {
        let is_status_known = probe == ProbeKind::Native && has_late_status();
        for runtime in runtimes() {
            let collector = ticking_collector(probe, Duration::from_millis(20));
            runtime.block_on(async {
                let mut children = Vec::new();
                for number in 0..CHILDREN {
                    let mut command = Command::new("sh");
                    command.args(["-c", "read line; exit 0"]).stdin(Stdio::piped());
                    let child = command.spawn().unwrap();
                    let plugin = collector.register(&format!("plugin {number}")).unwrap();
                    plugin.started(child.id().unwrap(), "1.0");
                    children.push(child);
                }
                let snapshot = collector.sample_now().unwrap();
                assert!(snapshot.plugins().all(|view| view.pid().is_some()));
                for child in &mut children {
                    // Closes the input, which ends the shell.
                    assert!(child.wait().await.unwrap().success());
                }
            });
            wait_for("the ends of all runs", || {
                let snapshot = collector.sample_now().unwrap();
                let is_expected = |end: Option<RunEnd>| match end {
                    Some(RunEnd::Exited(0)) => true,
                    Some(RunEnd::Unknown) => !is_status_known,
                    None => false,
                    Some(other) => panic!("{other:?}"),
                };
                let mut ends = snapshot.plugins().map(|view| view.runs().last().unwrap().end);
                ends.all(is_expected).then_some(())
            });
            wait_past_crash_grace(&collector);
            let snapshot = collector.sample_now().unwrap();
            assert_eq!(snapshot.plugins().count(), CHILDREN);
            for view in snapshot.plugins() {
                let is_unknown = view.runs().last().unwrap().end == Some(RunEnd::Unknown);
                assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0));
                assert_eq!(view.unknown_end_count(), u64::from(is_unknown), "{probe}");
            }
        }
    }
}

/// A process that has the child's number by now, and leads a group, is neither waited for nor stopped.
#[test]
fn stranger_with_pid_of_reaped_child_is_left_alone() {
    let test = stranger_with_pid_of_reaped_child_is_left_alone;
    if !enter_isolated(test, OWN_PID_NAMESPACE) {
        return;
    }
    for runtime in runtimes() {
        for stops_group in [false, true] {
            runtime.block_on(async {
                let collector = manual_collector(ProbeKind::Native);
                let plugin = collector.register("true").unwrap();
                let mut command = Command::new("true");
                let mut child =
                    plugmeter::tokio::spawn_in_group(&plugin, &mut command, "").unwrap();
                let stranger = Stranger::in_place_of(child.id().unwrap());
                let end = async {
                    if stops_group {
                        child.stop_group(Duration::ZERO).await
                    } else {
                        child.wait().await
                    }
                };
                let ended = tokio::time::timeout(HANG_TIMEOUT, end).await;
                let error = ended.expect("it does not wait for the stranger").unwrap_err();
                assert_eq!(error.raw_os_error(), Some(ECHILD), "{error}");
                stranger.kill();
            });
        }
    }
}
