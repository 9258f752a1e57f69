//! Children that lead a process group, and what stopping the group does to its processes.

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use plugmeter::{Plugin, PluginChild, PluginState, ProbeKind, RunEnd};
use plugmeter_test_support::isolated_process::{OWN_PID_NAMESPACE, enter_isolated};
use plugmeter_test_support::stranger::Stranger;
use plugmeter_test_support::{HANG_TIMEOUT, manual_collector, wait_for};

use crate::test_child::wait_for_state;

/// A shell, and the pid of the process that it has printed.
fn in_group(plugin: &Plugin, script: &str) -> (PluginChild, u32) {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = plugin.spawn_in_group(&mut command, "").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

/// Ended, reaped or not.
fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

fn wait_until_gone(pid: u32) {
    wait_for("the end of the worker", || is_gone(pid).then_some(()));
}

#[test]
fn stop_group_ends_wrapper_and_worker() {
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("wrapper").unwrap();
    let (mut child, worker) = in_group(&plugin, "sleep 1000 & echo $!; wait");
    assert!(!is_gone(worker));
    let status = child.stop_group(HANG_TIMEOUT).unwrap();
    assert!(!status.success());
    wait_until_gone(worker);
    // Once more: the child was waited for.
    assert_eq!(child.stop_group(Duration::ZERO).unwrap(), status);
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("wrapper").unwrap();
    assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0));
    assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Signaled(15)));
}

#[test]
fn what_ignores_sigterm_is_killed() {
    let collector = manual_collector(ProbeKind::Native);
    for (script, grace) in [
        // The worker, when the wrapper has ended.
        ("(trap '' TERM; exec sleep 1000) & echo $!; wait", HANG_TIMEOUT),
        // Both, after the grace.
        ("trap '' TERM; sleep 1000 & echo $!; wait; wait; sleep 1000", Duration::from_millis(50)),
    ] {
        let plugin = collector.register(script).unwrap();
        let (mut child, worker) = in_group(&plugin, script);
        assert!(!child.stop_group(grace).unwrap().success());
        wait_until_gone(worker);
        let snapshot = collector.sample_now().unwrap();
        assert_eq!(snapshot.plugin(script).unwrap().crash_count(), 0);
    }
}

#[test]
fn survivors_of_crashed_wrapper_are_killed() {
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("wrapper").unwrap();
    let (mut child, worker) = in_group(&plugin, "sleep 1000 & echo $!; exit 3");
    wait_for_state(child.id(), 'Z');
    assert!(!is_gone(worker));
    assert_eq!(child.stop_group(HANG_TIMEOUT).unwrap().code(), Some(3));
    wait_until_gone(worker);
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("wrapper").unwrap();
    assert_eq!((view.state(), view.crash_count()), (PluginState::Crashed, 1));
}

#[test]
fn child_without_group_of_its_own_is_left_alone() {
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("sleep").unwrap();
    let mut child = plugin.spawn(Command::new("sleep").arg("1000"), "").unwrap();
    let error = child.stop_group(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("spawn_in_group"), "{error}");
    assert_eq!(child.try_wait().unwrap(), None);
    let snapshot = collector.sample_now().unwrap();
    assert_eq!(snapshot.plugin("sleep").unwrap().state(), PluginState::Running);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The group of a process that has the child's number by now, and is no child of this one.
#[test]
fn group_of_stranger_with_pid_of_reaped_child_is_left_alone() {
    if !enter_isolated(group_of_stranger_with_pid_of_reaped_child_is_left_alone, OWN_PID_NAMESPACE)
    {
        return;
    }
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("true").unwrap();
    let mut child = plugin.spawn_in_group(&mut Command::new("true"), "").unwrap();
    let stranger = Stranger::in_place_of(child.id());
    let error = child.stop_group(Duration::ZERO).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::ECHILD as i32), "{error}");
    stranger.kill();
}
