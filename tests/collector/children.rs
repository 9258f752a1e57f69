//! Children that the crate spawns and waits for: which reports they send, and what they do to the
//! process.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use plugmeter::{Collector, Plugin, PluginChild, PluginState, RunEnd, Snapshot};
use plugmeter_test_support::{
    HANG_TIMEOUT, manual_collector, probes, wait_for, wait_for_plugin, wait_past_crash_grace,
};

/// Starts a shell. Its input is a pipe, so that it ends with this program.
fn shell(plugin: &Plugin, script: &str) -> PluginChild {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    plugin.spawn(&mut command, "1.0").unwrap()
}

/// Starts a process that exits with code 0 at the end of its input.
fn cat(plugin: &Plugin) -> PluginChild {
    shell(plugin, "exec cat")
}

/// Calls `check` with a new collector of each probe and its plugin.
fn with_plugin(check: impl Fn(&Collector, &Plugin)) {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        check(&collector, &plugin);
    }
}

#[track_caller]
fn assert_plugin(snapshot: &Snapshot, state: PluginState, end: Option<RunEnd>, crashes: u64) {
    let view = snapshot.plugin("dice").unwrap();
    let found = (view.state(), view.runs().last().and_then(|run| run.end), view.crash_count());
    assert_eq!(found, (state, end, crashes), "{}", snapshot.sampler().ticks);
}

#[test]
fn spawned_child_is_running_with_its_pid() {
    with_plugin(|collector, plugin| {
        let mut child = cat(plugin);
        let snapshot = collector.sample_now().unwrap();
        let run = snapshot.plugin("dice").unwrap().run().unwrap();
        assert_eq!(
            (run.id, run.pid, run.version.as_deref()),
            (child.run(), child.id(), Some("1.0"))
        );
        assert_plugin(&snapshot, PluginState::Running, None, 0);
        assert_eq!(child.try_wait().unwrap(), None);
        child.wait().unwrap();
    });
}

#[test]
fn wait_reports_exit_once() {
    with_plugin(|collector, plugin| {
        let mut child = shell(plugin, "exit 3");
        assert_eq!(child.wait().unwrap().code(), Some(3));
        assert_plugin(
            &collector.sample_now().unwrap(),
            PluginState::Crashed,
            Some(RunEnd::Exited(3)),
            1,
        );
        // A second report would end this run as well.
        plugin.set_state(PluginState::Starting);
        assert_eq!(child.wait().unwrap().code(), Some(3));
        assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(3));
        assert_eq!(child.stop(Duration::ZERO).unwrap().code(), Some(3));
        child.kill().unwrap();
        child.terminate().unwrap();
        assert_plugin(
            &collector.sample_now().unwrap(),
            PluginState::Starting,
            Some(RunEnd::Exited(3)),
            1,
        );
    });
}

#[test]
fn try_wait_reports_exit() {
    with_plugin(|collector, plugin| {
        let mut child = shell(plugin, "read line; exit 4");
        assert_eq!(child.try_wait().unwrap(), None);
        writeln!(child.stdin.as_ref().unwrap()).unwrap();
        let status = wait_for("the exit", || child.try_wait().unwrap());
        assert_eq!((status.code(), child.wait().unwrap()), (Some(4), status));
        assert_plugin(
            &collector.sample_now().unwrap(),
            PluginState::Crashed,
            Some(RunEnd::Exited(4)),
            1,
        );
    });
}

#[test]
fn wait_closes_input_of_child() {
    with_plugin(|collector, plugin| {
        let mut child = cat(plugin);
        child.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
        let mut stdout = child.stdout.take().unwrap();
        assert!(child.wait().unwrap().success());
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(child.stdin.is_none() && child.stderr.is_none());
        assert_plugin(
            &collector.sample_now().unwrap(),
            PluginState::Stopped,
            Some(RunEnd::Exited(0)),
            0,
        );
    });
}

#[test]
fn stop_terminates_child() {
    with_plugin(|collector, plugin| {
        let mut child = shell(plugin, "exec sleep 1000");
        assert_eq!(child.stop(HANG_TIMEOUT).unwrap().signal(), Some(15));
        assert_plugin(
            &collector.sample_now().unwrap(),
            PluginState::Stopped,
            Some(RunEnd::Signaled(15)),
            0,
        );
    });
}

#[test]
fn stop_after_terminate_is_no_crash_with_any_status() {
    with_plugin(|collector, plugin| {
        let mut child = shell(plugin, "trap 'exit 5' TERM; echo; while :; do sleep 0.01; done");
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        assert_eq!(child.stop(HANG_TIMEOUT).unwrap().code(), Some(5));
        wait_past_crash_grace(collector);
        let snapshot = collector.sample_now().unwrap();
        assert_plugin(&snapshot, PluginState::Stopped, Some(RunEnd::Exited(5)), 0);
    });
}

#[test]
fn stop_kills_child_after_grace() {
    with_plugin(|collector, plugin| {
        let script = "trap '' TERM; echo; while kill -0 $PPID 2>&-; do sleep 0.02; done";
        let mut child = shell(plugin, script);
        // By then SIGTERM is ignored.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        child.terminate().unwrap();
        let snapshot = collector.sample_now().unwrap();
        assert_plugin(&snapshot, PluginState::Stopping, None, 0);
        assert_eq!(child.stop(Duration::from_millis(30)).unwrap().signal(), Some(9));
        wait_past_crash_grace(collector);
        let snapshot = collector.sample_now().unwrap();
        assert_plugin(&snapshot, PluginState::Stopped, Some(RunEnd::Signaled(9)), 0);
    });
}

#[test]
fn kill_is_no_crash() {
    with_plugin(|collector, plugin| {
        let mut child = cat(plugin);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        wait_past_crash_grace(collector);
        let snapshot = collector.sample_now().unwrap();
        assert_plugin(&snapshot, PluginState::Stopped, Some(RunEnd::Signaled(9)), 0);
    });
}

#[test]
fn spawn_of_missing_program_fails() {
    with_plugin(|collector, plugin| {
        let error = plugin.spawn(&mut Command::new("/nonexistent/dice"), "1.0").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_plugin(&collector.sample_now().unwrap(), PluginState::Failed, None, 0);
        // The next attempt succeeds.
        let mut child = cat(plugin);
        assert_plugin(&collector.sample_now().unwrap(), PluginState::Running, None, 0);
        child.wait().unwrap();
    });
}

#[test]
fn into_inner_reports_nothing() {
    with_plugin(|collector, plugin| {
        let child = cat(plugin);
        let run = child.run();
        let mut inner = child.into_inner();
        assert!(inner.stdin.is_some() && inner.stdout.is_some());
        inner.kill().unwrap();
        inner.wait().unwrap();
        wait_past_crash_grace(collector);
        // Nobody has announced or reported it: a crash, if the probe knows the status.
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        let found = (view.runs().last().unwrap().end, view.state(), view.crash_count());
        assert!(
            found == (Some(RunEnd::Signaled(9)), PluginState::Crashed, 1)
                || found == (Some(RunEnd::Unknown), PluginState::Stopped, 0),
            "{found:?}"
        );
        assert_eq!(view.runs().last().unwrap().id, run);
    });
}

#[test]
fn drop_neither_kills_nor_ends_run() {
    with_plugin(|collector, plugin| {
        let mut child = cat(plugin);
        let (run, stdin) = (child.run(), child.stdin.take());
        drop(child);
        let snapshot = collector.sample_now().unwrap();
        assert_eq!(snapshot.plugin("dice").unwrap().run().unwrap().id, run);
        assert!(snapshot.plugin("dice").unwrap().current().unwrap().memory_bytes.is_some());
        // The sampler detects the exit.
        drop(stdin);
        wait_for("the exit", || {
            let snapshot = collector.sample_now().unwrap();
            snapshot.plugin("dice").unwrap().run().is_none().then_some(())
        });
    });
}

#[test]
fn attached_child_is_a_run() {
    with_plugin(|collector, plugin| {
        let mut command = Command::new("sh");
        command.args(["-c", "read line; exit 6"]).stdin(Stdio::piped());
        let mut child = plugin.attach(command.spawn().unwrap(), "2.0");
        let snapshot = collector.sample_now().unwrap();
        let run = snapshot.plugin("dice").unwrap().run().unwrap();
        assert_eq!(
            (run.id, run.pid, run.version.as_deref()),
            (child.run(), child.id(), Some("2.0"))
        );
        assert_eq!(child.wait().unwrap().code(), Some(6));
        assert_plugin(
            &collector.sample_now().unwrap(),
            PluginState::Crashed,
            Some(RunEnd::Exited(6)),
            1,
        );
    });
}

#[test]
fn stop_of_replaced_child_keeps_state_of_new_run() {
    with_plugin(|collector, plugin| {
        let mut old = cat(plugin);
        collector.sample_now().unwrap();
        let mut new = cat(plugin);
        collector.sample_now().unwrap();
        old.stop(HANG_TIMEOUT).unwrap();
        let snapshot = collector.sample_now().unwrap();
        assert_plugin(&snapshot, PluginState::Running, None, 0);
        assert_eq!(snapshot.plugin("dice").unwrap().run().unwrap().id, new.run());
        // An unannounced end of the new run is still a crash.
        let kill = Command::new("kill").args(["-9", &new.id().to_string()]).status();
        assert!(kill.unwrap().success());
        new.wait().unwrap();
        let snapshot = collector.sample_now().unwrap();
        assert_plugin(&snapshot, PluginState::Crashed, Some(RunEnd::Signaled(9)), 1);
    });
}

/// Whether the sampler processes the exit before, between or after the reports of the next spawn.
#[test]
fn spawn_after_kill_counts_no_crash() {
    with_plugin(|collector, plugin| {
        let mut child = cat(plugin);
        for _ in 0..20 {
            collector.sample_now().unwrap();
            child.kill().unwrap();
            let next = cat(plugin);
            assert_eq!(child.wait().unwrap().signal(), Some(9));
            child = next;
        }
        wait_past_crash_grace(collector);
        let snapshot = collector.sample_now().unwrap();
        assert_plugin(&snapshot, PluginState::Running, None, 0);
        assert_eq!(snapshot.plugin("dice").unwrap().restart_count(), 20);
        child.stop(HANG_TIMEOUT).unwrap();
    });
}

#[test]
fn child_of_removed_plugin_obeys() {
    with_plugin(|collector, plugin| {
        let mut child = cat(plugin);
        plugin.remove();
        let mut late = cat(plugin);
        let again = collector.register("dice").unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(child.stop(HANG_TIMEOUT).unwrap().signal(), Some(15));
        late.kill().unwrap();
        late.wait().unwrap();
        let snapshot = collector.sample_now().unwrap();
        assert_plugin(&snapshot, PluginState::Stopped, None, 0);
        again.remove();
    });
}

#[test]
fn child_of_stopped_collector_obeys() {
    with_plugin(|collector, plugin| {
        let mut child = cat(plugin);
        wait_for_plugin(collector, "dice", "a run", |view| view.run().is_some());
        collector.stop();
        let last = collector.snapshot();
        let mut late = cat(plugin);
        assert!(late.wait().unwrap().success());
        assert_eq!(child.stop(HANG_TIMEOUT).unwrap().signal(), Some(15));
        assert_eq!(collector.snapshot(), last);
    });
}
