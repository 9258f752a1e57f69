//! Trees of many shapes: their CPU time is never more than the kernel's, and complete where all
//! children are waited for.

use std::os::unix::process::CommandExt as _;

use super::burner::script;
use super::run::TreeRun;

/// A tree in which each process waits for its children.
struct Shape {
    script: &'static str,
    /// Reports until it has done its work.
    reports: usize,
    /// Processes that have waited by then, and live.
    waiters: u32,
}

#[track_caller]
fn assert_complete(test: &str, shape: &Shape) {
    let Some(mut run) = TreeRun::start(test, shape.script) else { return };
    run.go();
    run.tick_until_reported(shape.reports);
    run.wait_until_asleep();
    run.assert_complete(shape.waiters);
    run.assert_processes();
    run.end();
    run.assert_complete(shape.waiters);
    let tick = run.tick_until("no processes", |tick| tick.sample().process_count == Some(0));
    assert_eq!(tick.sample().tree_memory_bytes, None);
}

#[test]
fn wrapper_and_its_child_are_complete() {
    // The shell itself does not run.
    let script = "(last 600); :";
    assert_complete("wrapper", &Shape { script, reports: 1, waiters: 0 });
}

#[test]
fn exec_changes_nothing() {
    assert_complete("exec", &Shape { script: "last 600", reports: 1, waiters: 0 });
}

#[test]
fn jobs_of_5_to_50_ms_are_complete() {
    let script = "
        for ms in 5 11 17 23 29 35 41 47; do (burn $ms) & (burn $((52 - ms))) & burn 8; wait; done
        report done; hold";
    assert_complete("jobs", &Shape { script, reports: 1, waiters: 1 });
}

#[test]
fn pool_of_8_workers_is_complete() {
    let script = "for worker in 1 2 3 4 5 6 7 8; do (last 100) & done; wait";
    assert_complete("pool", &Shape { script, reports: 8, waiters: 0 });
}

#[test]
fn chain_of_5_is_complete() {
    let script = "
        (burn 30; (burn 40; (burn 50; (burn 60; (last 200); :); :); :); :); :";
    assert_complete("chain", &Shape { script, reports: 1, waiters: 4 });
}

#[test]
fn forks_of_less_than_a_millisecond_are_complete() {
    let script = "
        i=0; while [ $i -lt 800 ]; do (:) & wait $!; i=$((i + 1)); done
        report done; hold";
    assert_complete("quick", &Shape { script, reports: 1, waiters: 1 });
}

#[test]
fn group_of_root_proves_double_fork() {
    let text = "((last 300) & ); ((last 300) & ); report done; hold";
    let mut command = script(text);
    command.process_group(0);
    let Some(mut run) = TreeRun::start_command("double fork", command) else { return };
    run.go();
    run.tick_until_reported(3);
    run.wait_until_asleep();
    run.assert_complete(1);
    run.assert_processes();
    run.end();
}

#[test]
fn daemon_is_never_too_much() {
    // Whether a tick sees it in time is up to the scheduler.
    let text = "(setsid sh -c \"$AS_DAEMON\" <&3 & ); (setsid true & ); report done; hold";
    let mut command = script(text);
    command.env(
        "AS_DAEMON",
        "exec \"$BURNER\" --exact trees::burner::burner_runs_its_role --nocapture",
    );
    command.env("PLUGMETER_TEST_ROLE", "last 300");
    let Some(mut run) = TreeRun::start_command("daemon", command) else { return };
    run.go();
    run.tick_until_reported(2);
    run.wait_until_asleep();
    run.tick();
    run.end();
}

#[test]
fn ignored_children_are_never_too_much() {
    let text = "trap '' CHLD
        for ms in 5 11 17 23 29 35 41 47; do (burn $ms) & burn $((52 - ms)); done
        (last 200) & report done; hold";
    let Some(mut run) = TreeRun::start("ignored", text) else { return };
    run.go();
    run.tick_until_reported(2);
    run.wait_until_asleep();
    run.tick();
    run.assert_processes();
    run.end();
}

#[test]
fn bomb_of_2000_is_not_counted_but_complete() {
    let text = "
        i=0; while [ $i -lt 2000 ]; do (read held <&3; :) & i=$((i + 1)); done
        report done; hold; wait; report done; sleep 1000";
    let Some(mut run) = TreeRun::start("bomb", text) else { return };
    run.go();
    run.tick_until_reported(1);
    run.wait_until_asleep();
    let tick = run.tick();
    // More than the limit of a tree.
    assert_eq!((tick.sample().process_count, tick.sample().tree_memory_bytes), (None, None));
    run.end_input();
    run.tick_until_reported(1);
    run.wait_until_asleep();
    run.assert_complete(1);
    // Values are back.
    run.assert_processes();
}
