//! Processes that survive the root of their tree.

use std::time::Duration;

use plugmeter::{PluginState, RunEnd};
use plugmeter_test_support::sleeper;

use super::run::{NAME, Tick, TreeRun};
use crate::test_child::signal;

/// Leaves a burner and a process that sleeps.
const LEAVES_PROCESSES: &str =
    "(sleep 1000 | become share 3000 2000 >/dev/null) & report done; hold";

/// Starts it, and waits until its root has exited.
fn leave_processes(test: &str) -> Option<TreeRun> {
    let mut run = TreeRun::start(test, LEAVES_PROCESSES)?;
    run.go();
    run.tick_until_reported(1);
    run.tick_until("the burner", |tick| tick.sample().process_count >= Some(4));
    run.end();
    Some(run)
}

/// Waits for CPU time of the survivors.
#[track_caller]
fn assert_goes_on(run: &mut TreeRun, processes: usize, pid: Option<u32>) -> Tick {
    let before = run.tick().told;
    let tick = run.tick_until("CPU time of the survivors", |tick| {
        let sample = tick.sample();
        assert_eq!((sample.pid, sample.process_count), (pid, Some(processes as u32)));
        let tree = sample.tree_cpu_percent.unwrap_or(0.0);
        let is_more = tree > sample.cpu_percent.unwrap_or(0.0);
        is_more && tick.told > before + Duration::from_millis(20)
    });
    assert!(tick.sample().tree_memory_bytes > tick.sample().memory_bytes);
    tick
}

#[test]
fn survivors_of_ended_run_go_on() {
    let Some(mut run) = leave_processes("survivors") else { return };
    let left = run.cgroup.pids().len();
    assert_eq!(left, 3);
    let tick = assert_goes_on(&mut run, left, None);
    let view = tick.snapshot.plugin(NAME).unwrap();
    assert_eq!(view.usage().process_count, Some(3));
    run.assert_complete(1);

    // Also beside the next run.
    let next = sleeper();
    run.plugin.started(next.pid(), "next");
    run.outside = Some(next.pid());
    let tick = assert_goes_on(&mut run, left + 1, Some(next.pid()));
    let view = tick.snapshot.plugin(NAME).unwrap();
    assert_eq!(view.state(), PluginState::Running);

    // Until they end.
    for pid in run.cgroup.pids() {
        signal(pid, "KILL");
    }
    let tick = run.tick_until("their end", |tick| tick.sample().process_count == Some(1));
    assert_eq!(tick.sample().tree_memory_bytes, tick.sample().memory_bytes);
    assert_eq!(tick.sample().pid, Some(next.pid()));
}

#[test]
fn replaced_process_goes_on_as_survivor() {
    let Some(mut run) = TreeRun::start("replaced", "share 3000 2000 & report done; hold") else {
        return;
    };
    run.go();
    run.tick_until_reported(1);
    run.tick_until("the burner", |tick| tick.sample().process_count == Some(2));
    let next = sleeper();
    run.plugin.started(next.pid(), "next");
    run.outside = Some(next.pid());
    let tick = assert_goes_on(&mut run, 3, Some(next.pid()));
    let view = tick.snapshot.plugin(NAME).unwrap();
    assert_eq!(view.runs().next().unwrap().end, Some(RunEnd::Replaced));
    run.assert_complete(1);
    // Its last children count as well.
    run.end_input();
    run.root.wait();
    run.tick_until("its end", |tick| tick.sample().process_count == Some(1));
    run.assert_complete(1);
}

#[test]
fn removed_plugin_forgets_survivors() {
    let Some(run) = leave_processes("removed") else { return };
    run.plugin.remove();
    let again = run.collector.register(NAME).unwrap();
    for _ in 0..3 {
        let snapshot = run.collector.sample_now().unwrap();
        let view = snapshot.plugin(NAME).unwrap();
        assert_eq!(view.tree_cpu_time(), Duration::ZERO);
        assert_eq!(view.current().unwrap().process_count, Some(0));
    }
    drop(again);
}
