//! Readings of children that the host's thread has taken, and those of the sampler beside them.

use std::time::Duration;

use super::{Harness, SECOND, cpu_percent, dice};
use crate::os::fake_probe::{Condition, FakeProcess};
use crate::snapshot::Snapshot;
use crate::snapshot::query::Window;
use crate::snapshot::run::{ProcessExit, RunEnd, RunId};
use crate::sync::command::{ChildReading, PluginUpdate, ProcessStart};
use crate::sync::counter::next_run_id;

const MS: Duration = Duration::from_millis(1);
const FAILED: ProcessExit = ProcessExit::Exited(3);

fn reading(harness: &Harness, cpu: Duration) -> Option<ChildReading> {
    let at = harness.env.now.mono;
    Some(ChildReading { at, cpu_time: cpu.into(), children_cpu: None })
}

/// The host's thread has read `first` of a child, and the sampler attaches it.
fn start_child(harness: &mut Harness, pid: u32, first: Duration) -> RunId {
    let run = next_run_id();
    let start = ProcessStart { run, pid, version: None, reported_at: None, cgroup: None };
    harness.report(PluginUpdate::ChildStarted(start, reading(harness, first)));
    run
}

fn child_exited(harness: &mut Harness, run: RunId, cpu: Duration) {
    harness.report(PluginUpdate::ChildExited(run, FAILED, reading(harness, cpu)));
}

/// CPU time of all samples, from their shares.
fn sampled_cpu_time(snapshot: &Snapshot) -> Duration {
    dice(snapshot).versions(Window::All)[0].cpu_time
}

/// A run of one second that has used half of it, and whose exit was detected then.
fn exited_child(condition: Condition) -> (Harness, RunId) {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, Duration::ZERO);
    let run = start_child(&mut harness, 1, Duration::ZERO);
    harness.tick();
    harness.processes.set_alive(1, 250 * MS);
    harness.advance(SECOND);
    harness.processes.set_condition(1, condition);
    harness.processes.notify_exit(harness.processes.token(1));
    harness.apply();
    (harness, run)
}

/// The host waits after the exit was detected: the time until then is no part of a share.
#[test]
fn late_wait_does_not_lengthen_interval() {
    // With a zombie, the sampler has its last CPU time already; without, the host's thread has it.
    for (condition, last) in [(Condition::Zombie(FAILED), 250 * MS), (Condition::Gone, 500 * MS)] {
        let (mut harness, run) = exited_child(condition);
        harness.advance(500 * MS);
        child_exited(&mut harness, run, last);
        harness.advance(500 * MS);
        let snapshot = harness.tick_now();
        let expected = if last == 250 * MS { 25.0 } else { 50.0 };
        assert_eq!(cpu_percent(&snapshot), Some(expected), "{condition:?}");
        assert_eq!(dice(&snapshot).cpu_time(), last);
        assert_eq!(sampled_cpu_time(&snapshot), last, "{condition:?}");
        assert_eq!(dice(&snapshot).runs().next().unwrap().end, Some(RunEnd::Exited(3)));
    }
}

/// The host waits after later samples: their shares do not cover the time of the run.
#[test]
fn wait_after_later_samples_keeps_shares_of_next_run() {
    let (mut harness, run) = exited_child(Condition::Gone);
    harness.processes.set_alive(2, Duration::ZERO);
    harness.start(2);
    for second in 1..=5 {
        harness.processes.set_alive(2, second * 100 * MS);
        assert_eq!(cpu_percent(&harness.tick()), Some(10.0));
    }
    child_exited(&mut harness, run, 500 * MS);
    harness.processes.set_alive(2, 600 * MS);
    let snapshot = harness.tick();
    assert_eq!(cpu_percent(&snapshot), Some(10.0));
    // Of the run, all of it is known.
    assert_eq!(dice(&snapshot).runs().next().unwrap().cpu_time, Some(500 * MS));
    assert_eq!(dice(&snapshot).cpu_time(), 1_100 * MS);
    assert_eq!(sampled_cpu_time(&snapshot), 600 * MS);
}

/// The time between a run that was too short for a share and the next run is no part of a share.
#[test]
fn short_run_does_not_dilute_share_of_next_run() {
    let mut harness = Harness::new();
    harness.tick();
    let coarse = FakeProcess { min_interval: 100 * MS, ..FakeProcess::default() };
    for pid in 1..=2 {
        harness.processes.insert(pid, coarse);
    }
    harness.processes.set_alive(1, Duration::ZERO);
    harness.start(1);
    harness.advance(50 * MS);
    harness.processes.set_zombie(1, 50 * MS, FAILED);
    harness.report(PluginUpdate::Stopped);
    for _ in 0..10 {
        assert_eq!(cpu_percent(&harness.tick()), None);
    }
    harness.processes.set_alive(2, Duration::ZERO);
    harness.start(2);
    harness.processes.set_alive(2, SECOND);
    let snapshot = harness.tick();
    assert_eq!(cpu_percent(&snapshot), Some(100.0));
    assert_eq!(sampled_cpu_time(&snapshot), SECOND);
}

/// Two short runs of one interval have a share together.
#[test]
fn short_runs_between_two_ticks_share_a_cpu_value() {
    let mut harness = Harness::new();
    harness.tick();
    for pid in 1..=2 {
        let coarse = FakeProcess { min_interval: 100 * MS, ..FakeProcess::default() };
        harness.processes.insert(pid, coarse);
        harness.processes.set_alive(pid, Duration::ZERO);
        harness.start(pid);
        harness.advance(60 * MS);
        harness.processes.set_zombie(pid, 30 * MS, FAILED);
        harness.report(PluginUpdate::Stopped);
    }
    assert_eq!(cpu_percent(&harness.tick()), Some(50.0));
}

/// Also what it has used between the call of the host and the sampler's own first reading.
#[test]
fn attached_child_counts_from_the_call() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, 300 * MS);
    start_child(&mut harness, 1, 100 * MS);
    assert_eq!(dice(&harness.tick()).cpu_time(), 200 * MS);
    harness.processes.set_alive(1, 400 * MS);
    assert_eq!(dice(&harness.tick()).cpu_time(), 300 * MS);
}

/// The host's thread has read nanoseconds, the sampler reads user and system time in steps of 10 ms.
#[test]
fn coarse_reading_below_exact_one_counts_nothing_twice() {
    let mut harness = Harness::new();
    let coarse = FakeProcess { min_interval: 100 * MS, ..FakeProcess::default() };
    harness.processes.insert(1, coarse);
    harness.processes.set_alive(1, 90 * MS);
    let run = start_child(&mut harness, 1, 105 * MS);
    for (read, counted) in [(90, 0), (100, 0), (100, 0), (190, 85)] {
        harness.processes.set_alive(1, read * MS);
        assert_eq!(dice(&harness.tick()).cpu_time(), counted * MS, "{read}");
    }
    child_exited(&mut harness, run, 204 * MS);
    assert_eq!(dice(&harness.snapshot()).cpu_time(), 99 * MS);
}

/// A decrease by more than the steps is that of another counter.
#[test]
fn reading_far_below_the_one_before_restarts_interval() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, 90 * MS);
    start_child(&mut harness, 1, 105 * MS);
    harness.processes.set_alive(1, 100 * MS);
    assert_eq!(dice(&harness.tick()).cpu_time(), 10 * MS);
}
