//! Children of tokio that the host reports when they start, and never again.

use std::process::Stdio;
use std::time::Duration;

use plugmeter::{PluginState, ProbeKind, RunEnd};
use plugmeter_test_support::reaped::has_late_status;
use plugmeter_test_support::{probes, ticking_collector, wait_for, wait_past_crash_grace};
use tokio::process::Command;

use super::cpu_time::runtimes;

const CHILDREN: usize = 40;

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
