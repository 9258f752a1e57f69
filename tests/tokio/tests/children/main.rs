//! Children of tokio: which reports they send, and their CPU time compared with the kernel's own
//! accounting.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test fails by panicking

#[cfg(target_os = "linux")]
mod cpu_time;
#[cfg(target_os = "linux")]
mod unreported;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use plugmeter::tokio::PluginChild;
use plugmeter::{Collector, Plugin, PluginState, RunEnd};
use plugmeter_test_support::{
    HANG_TIMEOUT, manual_collector, probes, wait_for, wait_past_crash_grace,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

/// A shell whose input is a pipe, so that it ends with this program.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn spawn(plugin: &Plugin, script: &str) -> PluginChild {
    plugmeter::tokio::spawn(plugin, &mut shell(script), "1.0").unwrap()
}

/// Calls `check` with a new collector of each probe and its plugin.
async fn with_plugin(check: impl AsyncFn(&Collector, &Plugin)) {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        check(&collector, &plugin).await;
    }
}

#[track_caller]
fn assert_plugin(collector: &Collector, state: PluginState, end: Option<RunEnd>, crashes: u64) {
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("dice").unwrap();
    let found = (view.state(), view.runs().last().and_then(|run| run.end), view.crash_count());
    assert_eq!(found, (state, end, crashes));
}

#[tokio::test]
async fn wait_reports_exit_once() {
    with_plugin(async |collector, plugin| {
        let mut child = spawn(plugin, "read line; exit 3");
        let snapshot = collector.sample_now().unwrap();
        let run = snapshot.plugin("dice").unwrap().run().unwrap();
        assert_eq!((run.id, Some(run.pid)), (child.run(), child.id()));
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_plugin(collector, PluginState::Crashed, Some(RunEnd::Exited(3)), 1);
        // A second report would end this run as well.
        plugin.set_state(PluginState::Starting);
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(3));
        assert_eq!(child.stop(Duration::ZERO).await.unwrap().code(), Some(3));
        child.kill().await.unwrap();
        assert_plugin(collector, PluginState::Starting, Some(RunEnd::Exited(3)), 1);
    })
    .await;
}

#[tokio::test]
async fn pipes_and_input_at_wait() {
    with_plugin(async |collector, plugin| {
        let mut child = spawn(plugin, "cat");
        child.stdin.as_mut().unwrap().write_all(b"hello").await.unwrap();
        let mut stdout = child.stdout.take().unwrap();
        assert!(child.wait().await.unwrap().success());
        let mut text = String::new();
        stdout.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        assert_plugin(collector, PluginState::Stopped, Some(RunEnd::Exited(0)), 0);
    })
    .await;
}

#[tokio::test]
async fn try_wait_reports_exit() {
    with_plugin(async |collector, plugin| {
        let mut child = spawn(plugin, "exit 4");
        let status = wait_for("the exit", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(4));
        assert_plugin(collector, PluginState::Crashed, Some(RunEnd::Exited(4)), 1);
    })
    .await;
}

#[tokio::test]
async fn cancelled_wait_reports_nothing() {
    with_plugin(async |collector, plugin| {
        let mut child = spawn(plugin, "trap 'exit 5' USR1; echo; while :; do sleep 0.01; done");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).await.unwrap();
        let timeout = Duration::from_millis(5);
        tokio::time::timeout(timeout, child.wait()).await.unwrap_err();
        assert_plugin(collector, PluginState::Running, None, 0);
        let kill = Command::new("kill").args(["-USR1", &child.id().unwrap().to_string()]).status();
        assert!(kill.await.unwrap().success());
        assert_eq!(child.wait().await.unwrap().code(), Some(5));
        assert_plugin(collector, PluginState::Crashed, Some(RunEnd::Exited(5)), 1);
    })
    .await;
}

#[tokio::test]
async fn stop_terminates_or_kills_after_grace() {
    with_plugin(async |collector, plugin| {
        let mut child = spawn(plugin, "exec sleep 1000");
        assert_eq!(child.stop(HANG_TIMEOUT).await.unwrap().signal(), Some(15));
        assert_plugin(collector, PluginState::Stopped, Some(RunEnd::Signaled(15)), 0);

        let script = "trap '' TERM; echo; while kill -0 $PPID 2>&-; do sleep 0.02; done";
        let mut child = spawn(plugin, script);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).await.unwrap();
        assert_eq!(child.stop(Duration::from_millis(30)).await.unwrap().signal(), Some(9));
        wait_past_crash_grace(collector);
        assert_plugin(collector, PluginState::Stopped, Some(RunEnd::Signaled(9)), 0);
    })
    .await;
}

#[tokio::test]
async fn kill_is_no_crash() {
    with_plugin(async |collector, plugin| {
        let mut child = spawn(plugin, "cat");
        child.kill().await.unwrap();
        assert_eq!((child.id(), child.wait().await.unwrap().signal()), (None, Some(9)));
        wait_past_crash_grace(collector);
        assert_plugin(collector, PluginState::Stopped, Some(RunEnd::Signaled(9)), 0);
    })
    .await;
}

/// Waits until the run has ended, and has counted if it is a crash.
fn wait_for_end(collector: &Collector) {
    wait_for("the end of the run", || {
        let snapshot = collector.sample_now().unwrap();
        snapshot.plugin("dice").unwrap().run().is_none().then_some(())
    });
    wait_past_crash_grace(collector);
}

#[tokio::test]
async fn drop_with_kill_on_drop_is_no_crash() {
    with_plugin(async |collector, plugin| {
        let mut command = shell("cat");
        command.kill_on_drop(true);
        let mut child = plugmeter::tokio::spawn(plugin, &mut command, "1.0").unwrap();
        // Open, so that only the kill ends it.
        let _stdin = child.stdin.take();
        collector.sample_now().unwrap();
        drop(child);
        wait_for_end(collector);
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0));
    })
    .await;
}

/// An exit before the drop is no kill. With the portable probe its status is unknown.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn drop_with_kill_on_drop_keeps_earlier_exit() {
    with_plugin(async |collector, plugin| {
        let mut command = shell("read line; exit 3");
        command.kill_on_drop(true);
        let mut child = plugmeter::tokio::spawn(plugin, &mut command, "1.0").unwrap();
        collector.sample_now().unwrap();
        let stat = format!("/proc/{}/stat", child.id().unwrap());
        drop(child.stdin.take());
        wait_for("the exit", || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('Z').then_some(())
        });
        drop(child);
        wait_for_end(collector);
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        let expected = match view.runs().last().unwrap().end {
            Some(RunEnd::Exited(3)) => (PluginState::Crashed, 1, 0),
            end => (PluginState::Stopped, 0, u64::from(end == Some(RunEnd::Unknown))),
        };
        assert_ne!((expected.1, expected.2), (0, 0), "it was not announced");
        let found = (view.state(), view.crash_count(), view.unknown_end_count());
        assert_eq!(found, expected);
    })
    .await;
}

#[tokio::test]
async fn drop_without_kill_on_drop_keeps_run() {
    with_plugin(async |collector, plugin| {
        let mut child = spawn(plugin, "cat");
        let (run, stdin) = (child.run(), child.stdin.take());
        drop(child);
        let snapshot = collector.sample_now().unwrap();
        assert_eq!(snapshot.plugin("dice").unwrap().run().unwrap().id, run);
        assert_eq!(snapshot.plugin("dice").unwrap().state(), PluginState::Running);
        drop(stdin);
        wait_for("the end of the run", || {
            let snapshot = collector.sample_now().unwrap();
            snapshot.plugin("dice").unwrap().run().is_none().then_some(())
        });
    })
    .await;
}

#[tokio::test]
async fn into_inner_neither_reports_nor_kills() {
    with_plugin(async |collector, plugin| {
        let mut command = shell("cat");
        command.kill_on_drop(true);
        let child = plugmeter::tokio::spawn(plugin, &mut command, "1.0").unwrap();
        let run = child.run();
        let mut inner = child.into_inner();
        assert_plugin(collector, PluginState::Running, None, 0);
        assert!(inner.stdin.is_some() && inner.stdout.is_some());
        plugin.exited(run, inner.wait().await.unwrap());
        assert_plugin(collector, PluginState::Stopped, Some(RunEnd::Exited(0)), 0);
    })
    .await;
}

#[tokio::test]
async fn spawn_of_missing_program_fails() {
    with_plugin(async |collector, plugin| {
        let mut command = Command::new("/nonexistent/dice");
        let error = plugmeter::tokio::spawn(plugin, &mut command, "1.0").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_plugin(collector, PluginState::Failed, None, 0);
    })
    .await;
}

#[tokio::test]
async fn attached_child_is_a_run_unless_reaped() {
    with_plugin(async |collector, plugin| {
        let child = shell("read line; exit 6").spawn().unwrap();
        let mut child = plugmeter::tokio::attach(plugin, child, "2.0");
        assert_eq!(child.wait().await.unwrap().code(), Some(6));
        assert_plugin(collector, PluginState::Crashed, Some(RunEnd::Exited(6)), 1);

        let mut reaped = shell("exit 7").spawn().unwrap();
        reaped.wait().await.unwrap();
        let mut child = plugmeter::tokio::attach(plugin, reaped, "2.0");
        assert_eq!(child.wait().await.unwrap().code(), Some(7));
        child.terminate().unwrap();
        assert_plugin(collector, PluginState::Crashed, Some(RunEnd::Exited(6)), 1);
    })
    .await;
}

/// Its process group proves where it came from.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn orphan_counts_if_its_group_is_the_plugins() {
    let collector = manual_collector(plugmeter::ProbeKind::Native);
    let plugin = collector.register("dice").unwrap();
    let mut command = shell(plugmeter_test_support::MAKE_ORPHAN);
    let mut child = plugmeter::tokio::spawn_in_group(&plugin, &mut command, "1.0").unwrap();
    collector.sample_now().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let orphan = lines.next_line().await.unwrap().unwrap().parse().unwrap();
    let _killed = plugmeter_test_support::wait_until_orphaned(orphan, child.id().unwrap());
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.usage().process_count, Some(2));
    assert!(view.processes().any(|process| process.pid == orphan));
    child.wait().await.unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn stop_group_ends_wrapper_and_worker() {
    with_plugin(async |collector, plugin| {
        // The worker does not end by SIGTERM, the wrapper does.
        let mut wrapper = shell("(trap '' TERM; exec sleep 1000) & echo $!; wait");
        let mut child = plugmeter::tokio::spawn_in_group(plugin, &mut wrapper, "1.0").unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let status = child.stop_group(HANG_TIMEOUT).await.unwrap();
        wait_for("the end of the worker", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", line.trim()));
            let stat = stat.unwrap_or_default();
            stat.rsplit_once(") ")
                .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
                .then_some(())
        });
        assert_eq!(child.stop_group(Duration::ZERO).await.unwrap(), status);
        assert_plugin(collector, PluginState::Stopped, Some(RunEnd::Signaled(15)), 0);

        let mut child = spawn(plugin, "read line");
        let error = child.stop_group(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        child.kill().await.unwrap();
    })
    .await;
}
