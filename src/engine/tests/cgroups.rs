//! Process trees whose CPU time comes from a cgroup.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Harness, PLUGIN, SECOND, dice, started};
use crate::engine::effects::Cause;
use crate::os::fake_probe::FakeProcesses;
use crate::snapshot::Snapshot;
use crate::snapshot::run::{ProcessExit, RunId};
use crate::sync::cgroup::{CgroupReadError, CgroupReader, CgroupReading};
use crate::sync::command::{Command, PluginUpdate};
use crate::sync::counter::next_run_id;
use crate::time::MonoNanos;

const HALF: Duration = Duration::from_millis(500);

/// A cgroup whose CPU time a test sets.
#[derive(Clone, Debug, Default)]
struct FakeCgroup(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: Option<MonoNanos>,
    cpu: Duration,
    error: Option<CgroupReadError>,
    /// A process that uses CPU time between the reading of the cgroup and its own.
    uses_later: Option<(FakeProcesses, u32, Duration)>,
}

impl CgroupReader for FakeCgroup {
    fn read(&self) -> Result<CgroupReading, CgroupReadError> {
        let mut state = self.0.lock().unwrap();
        if let Some(error) = state.error {
            return Err(error);
        }
        let reading = CgroupReading { at: state.now.unwrap(), cpu_time: state.cpu.into() };
        if let Some((processes, pid, more)) = state.uses_later.take() {
            processes.update(pid, |process| process.cpu += more);
            state.cpu += more;
        }
        Ok(reading)
    }
}

impl FakeCgroup {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }

    /// CPU time of processes that no reading but the cgroup's shows.
    fn use_cpu(&self, more: Duration) {
        self.set(|state| state.cpu += more);
    }

    fn remove(&self) {
        self.set(|state| state.error = Some(CgroupReadError::Gone));
    }
}

impl Harness {
    /// Reports a process with its cgroup.
    fn start_in(&mut self, pid: u32, cgroup: &FakeCgroup) -> RunId {
        self.processes.set_alive(pid, Duration::ZERO);
        cgroup.set(|state| state.now = Some(self.env.now.mono));
        let run = next_run_id();
        let mut update = started(run, pid);
        let PluginUpdate::Started(start) = &mut update else { unreachable!() };
        start.cgroup = Some(Box::new(cgroup.clone()));
        self.report(update);
        run
    }

    /// CPU time of a process in the cgroup.
    fn use_cpu_in(&self, cgroup: &FakeCgroup, pid: u32, more: Duration) {
        self.processes.update(pid, |process| process.cpu += more);
        cgroup.use_cpu(more);
    }

    /// A tick, one second after the last one.
    fn tick_with(&mut self, cgroup: &FakeCgroup) -> Snapshot {
        cgroup.set(|state| state.now = state.now.and_then(|now| now.checked_add(SECOND)));
        self.tick()
    }

    fn causes(&mut self) -> Vec<Cause> {
        self.engine.take_warnings().map(|warning| warning.cause).collect()
    }
}

/// A process with the pid 1 in a cgroup, and what it has used before its report.
fn in_cgroup() -> (Harness, FakeCgroup, RunId) {
    let (mut harness, cgroup) = (Harness::new(), FakeCgroup::default());
    cgroup.use_cpu(3 * SECOND);
    let run = harness.start_in(1, &cgroup);
    harness.tick_with(&cgroup);
    (harness, cgroup, run)
}

/// CPU time of the tree and its percentage.
#[track_caller]
fn cpu(snapshot: &Snapshot) -> (Duration, Option<f64>) {
    let view = dice(snapshot);
    assert!(view.tree_cpu_time() >= view.cpu_time());
    let sample = view.current().unwrap();
    assert!(sample.tree_cpu_percent >= sample.cpu_percent || sample.tree_cpu_percent.is_none());
    (view.tree_cpu_time(), sample.tree_cpu_percent)
}

#[test]
fn processes_that_only_the_cgroup_has_count() {
    let (mut harness, cgroup, _) = in_cgroup();
    harness.use_cpu_in(&cgroup, 1, HALF);
    cgroup.use_cpu(SECOND);
    let snapshot = harness.tick_with(&cgroup);
    assert_eq!(cpu(&snapshot), (HALF + SECOND, Some(150.0)));
    assert_eq!(dice(&snapshot).cpu_time(), HALF);
    let usage = dice(&snapshot).usage();
    assert_eq!((usage.cpu_percent, usage.process_count), (Some(50.0), Some(1)));
    // What the rule counts as well does not count twice.
    harness.processes.spawn(1, 2);
    harness.tick_with(&cgroup);
    harness.use_cpu_in(&cgroup, 2, HALF);
    let snapshot = harness.tick_with(&cgroup);
    assert_eq!(cpu(&snapshot), (SECOND + SECOND, Some(50.0)));
    let processes: Vec<_> =
        dice(&snapshot).processes().map(|process| (process.pid, process.cpu_percent)).collect();
    assert_eq!(processes, [(1, Some(0.0)), (2, Some(50.0))]);
}

#[test]
fn cpu_time_of_root_between_two_readings_counts_once() {
    let (mut harness, cgroup, _) = in_cgroup();
    let processes = harness.processes.clone();
    cgroup.set(|state| state.uses_later = Some((processes, 1, HALF)));
    assert_eq!(cpu(&harness.tick_with(&cgroup)), (HALF, Some(50.0)));
    assert_eq!(cpu(&harness.tick_with(&cgroup)), (HALF, Some(0.0)));
    cgroup.use_cpu(HALF);
    assert_eq!(cpu(&harness.tick_with(&cgroup)), (SECOND, Some(50.0)));
}

#[test]
fn cpu_time_of_root_that_was_not_read_at_its_end_counts() {
    let (mut harness, cgroup, run) = in_cgroup();
    harness.use_cpu_in(&cgroup, 1, HALF);
    harness.processes.reap(1);
    // The exit is detected by the tick, and processed after it.
    assert_eq!(cpu(&harness.tick_with(&cgroup)), (Duration::ZERO, None));
    harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(0)));
    assert_eq!(cpu(&harness.tick_with(&cgroup)), (HALF, Some(25.0)));
    // A daemon that no reading shows goes on.
    cgroup.use_cpu(HALF);
    assert_eq!(cpu(&harness.tick_with(&cgroup)), (SECOND, Some(50.0)));
}

#[test]
fn next_run_goes_on_in_the_same_cgroup_or_another_one() {
    for is_same in [true, false] {
        let (mut harness, cgroup, run) = in_cgroup();
        cgroup.use_cpu(HALF);
        harness.processes.set_zombie(1, HALF, ProcessExit::Exited(0));
        cgroup.use_cpu(HALF);
        harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(0)));
        let next = if is_same { cgroup.clone() } else { FakeCgroup::default() };
        if !is_same {
            cgroup.remove();
        }
        harness.start_in(3, &next);
        next.use_cpu(HALF);
        // The share covers both runs.
        assert_eq!(cpu(&harness.tick_with(&next)), (3 * HALF, Some(150.0)), "same: {is_same}");
        next.use_cpu(HALF);
        assert_eq!(cpu(&harness.tick_with(&next)), (4 * HALF, Some(50.0)));
        assert_eq!(harness.causes(), []);
    }
}

#[test]
fn next_run_without_a_cgroup_goes_on_by_the_tree() {
    let (mut harness, cgroup, _) = in_cgroup();
    cgroup.use_cpu(5 * SECOND);
    harness.tick_with(&cgroup);
    harness.processes.reap(1);
    harness.start_and_tick(3);
    harness.processes.spawn(3, 4);
    harness.tick();
    cgroup.use_cpu(SECOND);
    harness.processes.update(4, |process| process.cpu += HALF);
    assert_eq!(cpu(&harness.tick()), (5 * SECOND + HALF, Some(50.0)));
}

#[test]
fn removed_cgroup_is_logged_once_and_replaced_by_the_tree() {
    let (mut harness, cgroup, _) = in_cgroup();
    harness.processes.spawn(1, 2);
    harness.tick_with(&cgroup);
    harness.use_cpu_in(&cgroup, 2, HALF);
    cgroup.use_cpu(HALF / 5);
    harness.tick_with(&cgroup);
    cgroup.remove();
    harness.processes.update(2, |process| process.cpu += HALF);
    // The rule may learn later of what only the cgroup has counted.
    let snapshot = harness.tick_with(&cgroup);
    assert_eq!(cpu(&snapshot), (SECOND, Some(50.0)));
    assert_eq!(harness.causes(), [Cause::Cgroup(CgroupReadError::Gone)]);
    harness.processes.spawn(1, 3);
    harness.processes.set_zombie(3, HALF / 5, ProcessExit::Exited(0));
    harness.processes.reap(3);
    for _ in 0..3 {
        let (total, _) = cpu(&harness.tick_with(&cgroup));
        assert!((SECOND..=SECOND + HALF / 5).contains(&total), "{total:?}");
    }
    assert_eq!(harness.causes(), []);
}

#[test]
fn cgroup_that_is_removed_after_the_end_is_not_logged() {
    let (mut harness, cgroup, run) = in_cgroup();
    cgroup.use_cpu(HALF);
    harness.processes.set_zombie(1, Duration::ZERO, ProcessExit::Exited(0));
    harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(0)));
    cgroup.remove();
    // Read when the process had exited.
    assert_eq!(cpu(&harness.tick_with(&cgroup)).0, HALF);
    assert_eq!(harness.causes(), []);
}

#[test]
fn removal_of_the_plugin_releases_the_cgroup() {
    let (mut harness, cgroup, _) = in_cgroup();
    assert_eq!(Arc::strong_count(&cgroup.0), 2);
    harness.sender.send(Command::Remove(PLUGIN));
    harness.apply();
    assert_eq!(Arc::strong_count(&cgroup.0), 1);
}
