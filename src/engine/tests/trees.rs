//! Process trees: when the engine adds, reads and releases their roots.

use std::time::Duration;

use super::{Harness, PLUGIN, SECOND, dice, started};
use crate::findings::FindingKind;
use crate::os::fake_probe::{Call, FAKE_RESIDENT_BYTES};
use crate::snapshot::Snapshot;
use crate::snapshot::run::{ProcessExit, RunId};
use crate::sync::command::{ChildReading, Command, PluginId, PluginUpdate, ProcessStart};
use crate::sync::counter::{EventCounter, next_run_id};

const OTHER: PluginId = PluginId(PLUGIN.0 + 1);
const HALF: Duration = Duration::from_millis(500);

/// The newest values of a plugin's tree.
#[derive(Debug, PartialEq)]
struct Tree {
    processes: Option<u32>,
    cpu_percent: Option<f64>,
    memory: Option<u64>,
    /// In all.
    cpu_time: Duration,
}

#[track_caller]
fn tree_of(snapshot: &Snapshot, name: &str) -> Tree {
    let view = snapshot.plugin(name).unwrap();
    let sample = view.current().unwrap();
    assert!(sample.tree_cpu_percent >= sample.cpu_percent || sample.tree_cpu_percent.is_none());
    Tree {
        processes: sample.process_count,
        cpu_percent: sample.tree_cpu_percent,
        memory: sample.tree_memory_bytes,
        cpu_time: view.tree_cpu_time(),
    }
}

#[track_caller]
fn tree(snapshot: &Snapshot) -> Tree {
    tree_of(snapshot, "dice")
}

fn pids(snapshot: &Snapshot) -> Vec<u32> {
    dice(snapshot).processes().map(|process| process.pid).collect()
}

impl Harness {
    fn use_cpu(&self, pid: u32, more: Duration) {
        self.processes.update(pid, |process| process.cpu += more);
    }

    /// The plugin "other" with a process.
    fn add_other(&mut self, pid: u32) {
        self.register(OTHER, "other", EventCounter::new());
        self.sender.send(Command::Update(OTHER, started(next_run_id(), pid)));
        self.apply();
    }
}

/// A running root with the pid 1, and a child with the pid 2.
fn wrapper() -> (Harness, RunId) {
    let mut harness = Harness::new();
    let run = harness.start_and_tick(1);
    harness.processes.spawn(1, 2);
    harness.tick();
    (harness, run)
}

#[test]
fn descendants_are_in_values_of_tree_only() {
    let (mut harness, _) = wrapper();
    harness.processes.spawn(2, 3);
    harness.use_cpu(1, HALF / 5);
    harness.use_cpu(2, HALF);
    harness.use_cpu(3, SECOND);
    let snapshot = harness.tick();
    let usage = dice(&snapshot).usage();
    assert_eq!(usage.cpu_percent, Some(10.0));
    assert_eq!(usage.memory_bytes, Some(FAKE_RESIDENT_BYTES));
    assert_eq!(
        (usage.process_count, usage.tree_cpu_percent, usage.tree_memory_bytes),
        (Some(3), Some(160.0), Some(3 * FAKE_RESIDENT_BYTES))
    );
    assert_eq!(dice(&snapshot).cpu_time(), HALF / 5);
    assert_eq!(dice(&snapshot).tree_cpu_time(), HALF / 5 + HALF + SECOND);
    let system = snapshot.system();
    assert_eq!((system.process_count, system.cpu_percent), (3, 160.0));
    assert_eq!(system.total_tree_memory_bytes, 3 * FAKE_RESIDENT_BYTES);
    // The root, then the busiest.
    let processes: Vec<_> = dice(&snapshot)
        .processes()
        .map(|process| (process.pid, process.parent, process.cpu_percent))
        .collect();
    let expected = [(1, None, Some(10.0)), (3, Some(2), Some(100.0)), (2, Some(1), Some(50.0))];
    assert_eq!(processes, expected);
}

#[test]
fn one_process_has_the_values_of_its_process() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.use_cpu(1, HALF);
    let snapshot = harness.tick();
    let expected = Tree {
        processes: Some(1),
        cpu_percent: Some(50.0),
        memory: Some(FAKE_RESIDENT_BYTES),
        cpu_time: HALF,
    };
    assert_eq!(tree(&snapshot), expected);
    assert_eq!(pids(&snapshot), [1]);
}

#[test]
fn children_that_have_ended_between_ticks_count() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.spawn(1, 2);
    harness.processes.set_zombie(2, HALF, ProcessExit::Exited(0));
    harness.processes.reap(2);
    // Less than two clock ticks of what was waited for before the registration may be hidden.
    let hidden = Duration::from_millis(20);
    let snapshot = harness.tick();
    let expected = Tree {
        processes: Some(1),
        cpu_percent: Some(48.0),
        memory: Some(FAKE_RESIDENT_BYTES),
        cpu_time: HALF - hidden,
    };
    assert_eq!(tree(&snapshot), expected);
    assert_eq!(tree(&harness.tick()).cpu_time, HALF - hidden, "once");
}

#[test]
fn descendants_at_the_report_count_from_there() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, Duration::ZERO);
    harness.processes.spawn(1, 2);
    harness.use_cpu(2, 5 * SECOND);
    harness.start(1);
    harness.tick();
    harness.use_cpu(2, HALF);
    let snapshot = harness.tick();
    assert_eq!(tree(&snapshot).cpu_time, HALF);
    assert_eq!((tree(&snapshot).processes, tree(&snapshot).cpu_percent), (Some(2), Some(50.0)));
}

#[test]
fn survivors_of_a_root_stay_in_the_tree() {
    for by_report in [true, false] {
        let (mut harness, run) = wrapper();
        harness.processes.set_zombie(1, Duration::ZERO, ProcessExit::Exited(0));
        if by_report {
            harness.processes.reap(1);
            harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(0)));
        } else {
            harness.tick();
            harness.processes.reap(1);
        }
        harness.processes.update(2, |process| process.parent = 0);
        harness.tick();
        harness.use_cpu(2, HALF);
        let snapshot = harness.tick();
        assert_eq!(dice(&snapshot).pid(), None);
        let expected = Tree {
            processes: Some(1),
            cpu_percent: Some(50.0),
            memory: Some(FAKE_RESIDENT_BYTES),
            cpu_time: HALF,
        };
        assert_eq!(tree(&snapshot), expected, "by report: {by_report}");
        assert_eq!(pids(&snapshot), [2]);
        // Beside the next run too.
        harness.start_and_tick(3);
        harness.use_cpu(2, HALF);
        harness.use_cpu(3, HALF / 5);
        let snapshot = harness.tick();
        assert_eq!(tree(&snapshot).processes, Some(2));
        assert_eq!(tree(&snapshot).cpu_percent, Some(60.0));
        assert_eq!(pids(&snapshot), [3, 2]);
        // Until they end.
        harness.processes.set_zombie(2, SECOND, ProcessExit::Exited(0));
        harness.processes.reap(2);
        let snapshot = harness.tick();
        assert_eq!((tree(&snapshot).processes, pids(&snapshot)), (Some(1), vec![3]));
    }
}

#[test]
fn replaced_process_that_lives_is_a_survivor() {
    let (mut harness, _) = wrapper();
    harness.start_and_tick(3);
    harness.use_cpu(1, HALF);
    let snapshot = harness.tick();
    assert_eq!((dice(&snapshot).pid(), tree(&snapshot).processes), (Some(3), Some(3)));
    assert_eq!(tree(&snapshot).cpu_percent, Some(50.0));
    assert_eq!(dice(&snapshot).usage().cpu_percent, Some(0.0));
}

/// Half a minute after their process has ended. One that was replaced may go on.
#[test]
fn survivors_beside_the_next_run_are_a_finding() {
    let survivors = |snapshot: &Snapshot| {
        let findings = dice(snapshot).findings();
        findings.iter().find_map(|finding| match finding.kind {
            FindingKind::Survivors { processes } => Some((processes, finding.since.time())),
            _ => None,
        })
    };
    let (mut harness, _) = wrapper();
    harness.start_and_tick(3);
    harness.processes.spawn(3, 4);
    for _ in 0..40 {
        assert_eq!(survivors(&harness.tick()), None, "both processes live");
    }
    harness.processes.set_zombie(1, Duration::ZERO, ProcessExit::Exited(0));
    harness.processes.reap(1);
    harness.processes.update(2, |process| process.parent = 0);
    let since = harness.tick().sampled_at();
    for _ in 0..29 {
        assert_eq!(survivors(&harness.tick()), None);
    }
    assert_eq!(survivors(&harness.tick()), Some((1, since)));
    // With a child that it starts, and through one more restart.
    harness.processes.spawn(2, 5);
    assert_eq!(survivors(&harness.tick()), Some((2, since)));
    harness.start_and_tick(6);
    assert_eq!(survivors(&harness.tick()), Some((2, since)));
    // A process that is reported again takes its descendants back.
    harness.start(2);
    assert_eq!(survivors(&harness.tick()), None);
}

/// By a second report of it while it runs, and after it was reported as stopped.
#[test]
fn process_that_is_reported_again_stays_the_root() {
    for is_stopped in [false, true] {
        let (mut harness, _) = wrapper();
        harness.use_cpu(1, HALF);
        harness.use_cpu(2, HALF);
        if is_stopped {
            harness.report(PluginUpdate::Stopped);
            harness.use_cpu(1, HALF / 5);
        }
        harness.start(1);
        harness.use_cpu(1, HALF);
        let snapshot = harness.tick();
        let used = 3 * HALF + if is_stopped { HALF / 5 } else { Duration::ZERO };
        assert_eq!(tree(&snapshot).cpu_time, used, "stopped: {is_stopped}");
        assert_eq!((tree(&snapshot).processes, pids(&snapshot)), (Some(2), vec![1, 2]));
        harness.use_cpu(2, HALF);
        assert_eq!(tree(&harness.tick()).cpu_time, used + HALF);
    }
}

#[test]
fn removal_forgets_the_tree() {
    let (mut harness, _) = wrapper();
    harness.sender.send(Command::Remove(PLUGIN));
    harness.apply();
    assert_eq!(harness.snapshot().system().process_count, 0);
    harness.register(OTHER, "other", EventCounter::new());
    harness.use_cpu(2, HALF);
    let snapshot = harness.tick();
    assert_eq!(tree_of(&snapshot, "other").processes, Some(0), "the slot is used again");
    assert_eq!(tree_of(&snapshot, "other").cpu_time, Duration::ZERO);
}

#[test]
fn process_counts_in_the_nearest_tree() {
    let (mut harness, _) = wrapper();
    harness.processes.spawn(2, 3);
    harness.tick();
    harness.add_other(2);
    harness.tick();
    for pid in 1..=3 {
        harness.use_cpu(pid, HALF);
    }
    let snapshot = harness.tick();
    let outer = tree(&snapshot);
    let inner = tree_of(&snapshot, "other");
    assert_eq!((outer.processes, outer.cpu_percent), (Some(1), Some(50.0)));
    assert_eq!((inner.processes, inner.cpu_percent), (Some(2), Some(100.0)));
    assert_eq!(snapshot.system().process_count, 3);
    assert_eq!(outer.cpu_time + inner.cpu_time, 3 * HALF);
}

/// Of a plugin whose next process is the root of another plugin's tree.
#[test]
fn survivors_beside_a_shared_process_end() {
    let (mut harness, _) = wrapper();
    harness.processes.set_alive(3, Duration::ZERO);
    harness.processes.spawn(3, 4);
    harness.add_other(3);
    harness.tick();
    harness.processes.set_zombie(3, Duration::ZERO, ProcessExit::Exited(0));
    harness.processes.reap(3);
    harness.processes.update(4, |process| process.parent = 0);
    harness.tick();
    let survivors =
        |snapshot: &Snapshot| snapshot.plugin("other").unwrap().survivors().map(|(count, _)| count);
    assert_eq!(survivors(&harness.tick()), Some(1));
    harness.sender.send(Command::Update(OTHER, started(next_run_id(), 1)));
    harness.apply();
    harness.tick();
    assert_eq!(survivors(&harness.tick()), Some(1));
    assert_eq!(tree_of(&harness.tick(), "other").processes, Some(2), "those of the shared process");
    harness.processes.set_zombie(4, Duration::ZERO, ProcessExit::Exited(0));
    harness.processes.reap(4);
    harness.tick();
    assert_eq!(survivors(&harness.tick()), None);
}

#[test]
fn process_of_two_plugins_shows_the_tree_in_both() {
    let (mut harness, run) = wrapper();
    harness.add_other(1);
    harness.tick();
    harness.use_cpu(2, HALF);
    let snapshot = harness.tick();
    for name in ["dice", "other"] {
        let tree = tree_of(&snapshot, name);
        assert_eq!((tree.processes, tree.cpu_percent), (Some(2), Some(50.0)), "{name}");
        assert_eq!(tree.cpu_time, HALF, "{name}");
    }
    // The other plugin has the tree once the first one has ended.
    harness.report(PluginUpdate::Stopped);
    harness.tick();
    harness.use_cpu(1, HALF);
    harness.use_cpu(2, HALF);
    let snapshot = harness.tick();
    let other = tree_of(&snapshot, "other");
    assert_eq!((other.processes, other.cpu_percent), (Some(2), Some(100.0)));
    assert_eq!(other.cpu_time, 3 * HALF);
    let first = tree(&snapshot);
    assert_eq!((first.processes, first.cpu_time), (Some(0), HALF));
    harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(0)));
}

#[test]
fn children_of_root_count_at_its_exit() {
    for in_tick in [false, true] {
        let mut harness = Harness::new();
        harness.start_and_tick(1);
        harness.processes.spawn(1, 2);
        harness.processes.set_zombie(2, SECOND, ProcessExit::Exited(0));
        harness.processes.reap(2);
        harness.processes.set_zombie(1, HALF, ProcessExit::Exited(0));
        if !in_tick {
            let token = harness.processes.token(1);
            harness.processes.notify_exit(token);
            harness.apply();
            harness.processes.reap(1);
        }
        harness.tick();
        let snapshot = harness.tick();
        let hidden = Duration::from_millis(20);
        assert_eq!(tree(&snapshot).cpu_time, HALF + SECOND - hidden, "in a tick: {in_tick}");
        assert_eq!(tree(&snapshot).processes, Some(0));
    }
}

/// The host's thread has read the child before it reaped it; the sampler has not.
#[test]
fn last_times_of_a_spawned_child_count() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, Duration::ZERO);
    let (run, at) = (next_run_id(), harness.env.now.mono);
    let start = ProcessStart { run, pid: 1, version: None, reported_at: None, cgroup: None };
    let reading = |cpu: Duration, children: Duration| ChildReading {
        at,
        cpu_time: cpu.into(),
        children_cpu: Some(children.into()),
    };
    let first = reading(Duration::ZERO, Duration::ZERO);
    harness.report(PluginUpdate::ChildStarted(start, Some(first)));
    harness.tick();
    harness.processes.reap(1);
    let last = reading(HALF, SECOND);
    harness.report(PluginUpdate::ChildExited(run, ProcessExit::Exited(0), Some(last)));
    let snapshot = harness.tick();
    assert_eq!(tree(&snapshot).cpu_time, HALF + SECOND);
    assert_eq!(dice(&snapshot).cpu_time(), HALF);
}

#[test]
fn tree_is_unknown_in_a_tick_whose_source_panics() {
    let (mut harness, _) = wrapper();
    harness.use_cpu(1, HALF);
    harness.processes.set_panics_in(Some(Call::LastPid));
    let snapshot = harness.tick();
    let expected = Tree { processes: None, cpu_percent: None, memory: None, cpu_time: HALF };
    assert_eq!(tree(&snapshot), expected);
    assert_eq!(dice(&snapshot).usage().cpu_percent, Some(50.0));
    harness.processes.set_panics_in(None);
    harness.use_cpu(2, SECOND);
    let snapshot = harness.tick();
    assert_eq!((tree(&snapshot).processes, tree(&snapshot).cpu_time), (Some(2), HALF + SECOND));
}

#[test]
fn root_that_could_not_be_added_is_added_by_a_later_tick() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, Duration::ZERO);
    harness.processes.spawn(1, 2);
    harness.processes.set_panics_in(Some(Call::StatOf(1)));
    harness.start(1);
    let snapshot = harness.tick();
    assert_eq!(tree(&snapshot).processes, None);
    harness.processes.set_panics_in(None);
    harness.tick();
    harness.use_cpu(2, HALF);
    let snapshot = harness.tick();
    assert_eq!((tree(&snapshot).processes, tree(&snapshot).cpu_percent), (Some(2), Some(50.0)));
}

#[test]
fn listed_processes_are_the_busiest() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    for pid in 2..=100 {
        harness.processes.spawn(1, pid);
    }
    harness.tick();
    for pid in 2..=100 {
        harness.use_cpu(pid, Duration::from_millis(pid.into()));
    }
    let snapshot = harness.tick();
    let expected: Vec<u32> = std::iter::once(1).chain((38..=100).rev()).collect();
    assert_eq!(pids(&snapshot), expected);
    assert_eq!(tree(&snapshot).processes, Some(100));
}

/// The run's CPU time does not begin anew when its tree is added late.
#[test]
fn late_root_keeps_the_cpu_time_of_its_run() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, Duration::ZERO);
    harness.processes.set_panics_in(Some(Call::StatOf(1)));
    let run = harness.start(1);
    harness.use_cpu(1, HALF);
    harness.tick();
    harness.processes.set_panics_in(None);
    harness.use_cpu(1, HALF);
    harness.tick();
    harness.use_cpu(1, HALF);
    harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(0)));
    let snapshot = harness.tick();
    assert_eq!(dice(&snapshot).cpu_time(), SECOND);
}

/// What a tick has counted of a process is not counted again as a descendant's.
#[test]
fn survivor_of_a_tick_whose_source_panicked_counts_once() {
    let mut harness = Harness::new();
    let run = harness.start_and_tick(1);
    harness.processes.set_panics_in(Some(Call::LastPid));
    harness.use_cpu(1, SECOND);
    harness.tick();
    harness.report(PluginUpdate::Stopped);
    harness.processes.set_panics_in(None);
    harness.tick();
    harness.use_cpu(1, HALF);
    let snapshot = harness.tick();
    assert_eq!(tree(&snapshot).cpu_time, SECOND + HALF);
    harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(0)));
}

/// The host is a plugin too, and has the times of each child that it has waited for.
#[test]
fn child_that_was_never_read_counts_in_one_tree() {
    let host = std::process::id();
    let mut harness = Harness::new();
    harness.start_and_tick(host);
    harness.processes.spawn(host, 2);
    harness.processes.set_zombie(2, HALF, ProcessExit::Exited(0));
    harness.processes.update(2, |process| process.children_cpu = SECOND);
    harness.processes.reap(2);
    harness.register(OTHER, "other", EventCounter::new());
    let (run, at) = (next_run_id(), harness.env.now.mono);
    let start = ProcessStart { run, pid: 2, version: None, reported_at: None, cgroup: None };
    let zero = ChildReading {
        at,
        cpu_time: Duration::ZERO.into(),
        children_cpu: Some(Duration::ZERO.into()),
    };
    let last = ChildReading { at, cpu_time: HALF.into(), children_cpu: Some(SECOND.into()) };
    for update in [
        PluginUpdate::ChildStarted(start, Some(zero)),
        PluginUpdate::ChildExited(run, ProcessExit::Exited(0), Some(last)),
    ] {
        harness.sender.send(Command::Update(OTHER, update));
    }
    harness.tick();
    let snapshot = harness.tick();
    assert_eq!(tree_of(&snapshot, "other").cpu_time, HALF + SECOND);
    assert_eq!(tree(&snapshot).cpu_time, Duration::ZERO);
}
