//! Trees of many shapes: their CPU time is never more than the kernel's, and complete where all
//! children are waited for.

use std::fs;
use std::os::unix::process::CommandExt as _;

use plugmeter_test_support::isolated_process::{OWN_PID_NAMESPACE, enter_isolated};
use plugmeter_test_support::prometheus_server::has_tool;

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
    // Their exits cost CPU time too, which is in the `children_cpu` of the root at the latest.
    run.assert_complete(shape.waiters.max(1));
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
        for ms in 5 11 17 23 29 35 41 47; do
            (become burn $ms) & (become burn $((52 - ms))) & (become burn 8); wait
        done >/dev/null 3</dev/null
        report done; hold";
    assert_complete("jobs", &Shape { script, reports: 1, waiters: 1 });
}

/// A shell waits for each job, and the root for the shell.
#[test]
fn jobs_of_shells_are_complete() {
    let script = "
        for ms in 5 11 17 23 29 35 41 47; do burn $ms & burn $((52 - ms)) & wait; done
        report done; hold";
    // Each shell has waited, too.
    assert_complete("shells", &Shape { script, reports: 1, waiters: 17 });
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

/// A host language's way to have no zombies. Shells always catch the signal.
pub(super) const IGNORING: &str = "
import os, signal, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def burn(role, output):
    os.environ['PLUGMETER_TEST_ROLE'] = role
    args = [os.environ['BURNER'], '--exact', 'trees::burner::burner_runs_its_role', '--nocapture']
    if os.fork() == 0:
        if not output:
            os.dup2(os.open('/dev/null', os.O_WRONLY), 1)
        os.execv(args[0], args)
rounds = int(os.environ.get('ROUNDS', '1'))
for round in range(rounds):
    for ms in [5, 12, 50, 7, 33, 21]:
        burn('burn %d' % ms, False)
        time.sleep(0.06)
burn('last 200', True)
sys.stdin.read()
";

#[test]
fn ignored_children_are_never_too_much() {
    if !has_tool("python3", &["-c", ""]) {
        return;
    }
    let mut command = script("exec python3 -c \"$IGNORING\" 3<&- ");
    command.env("IGNORING", IGNORING);
    let Some(mut run) = TreeRun::start_command("ignored", command) else { return };
    run.go();
    run.tick_until_reported(1);
    run.wait_until_asleep();
    run.tick();
    run.assert_processes();
    run.end();
}

#[test]
fn bomb_of_2000_is_not_counted_but_complete() {
    check_bomb("bomb");
}

/// After the highest pid the lowest ones follow.
#[test]
fn bomb_at_the_end_of_a_lap_of_pids_is_complete() {
    if !enter_isolated(bomb_at_the_end_of_a_lap_of_pids_is_complete, OWN_PID_NAMESPACE) {
        return;
    }
    let max = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    let max: u32 = max.trim().parse().unwrap();
    fs::write("/proc/sys/kernel/ns_last_pid", (max - 800).to_string()).unwrap();
    check_bomb("bomb-lap");
}

/// A tree that has more processes than it may have, and is complete once they have ended.
fn check_bomb(test: &str) {
    let text = "
        i=0; while [ $i -lt 2000 ]; do (read held <&3; :) & i=$((i + 1)); done
        report done; hold; wait; report done; sleep 1000";
    let Some(mut run) = TreeRun::start(test, text) else { return };
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
