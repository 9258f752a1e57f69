//! CPU time of a window, and versions compared: beside the CPU time that was read.

use std::time::Duration;

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Snapshot, VersionUsage, Window};

use crate::fixtures::{POLL, SECOND, exit, idle, keeping, usage};

const MB: f64 = 1_048_576.0;

fn versions(snapshot: &Snapshot, window: impl Into<Window>) -> Vec<VersionUsage> {
    snapshot.plugin("dice").unwrap().versions(window)
}

fn names(versions: &[VersionUsage]) -> Vec<&str> {
    versions.iter().map(|usage| usage.version.as_deref().unwrap_or("-")).collect()
}

/// Asserts that the CPU time of the whole history is what was read, to the step of each share.
#[track_caller]
fn assert_cpu_time(sim: &Simulation, expected: Duration) {
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    let aggregates = view.aggregates(Window::All).unwrap();
    let error = aggregates.cpu_time.abs_diff(expected);
    let bound = Duration::from_micros(50) * aggregates.sample_count as u32;
    assert!(error <= bound, "{:?} instead of {expected:?}", aggregates.cpu_time);
    let sum: Duration = view.versions(Window::All).iter().map(|usage| usage.cpu_time).sum();
    assert!(
        sum.abs_diff(aggregates.cpu_time) < Duration::from_micros(1),
        "all belongs to a version"
    );
}

#[test]
fn cpu_time_is_that_of_processes_and_descendants() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    sim.tick(idle);
    for tick in 1..=40_u32 {
        let main = Usage { cpu_time: SECOND * tick, memory_bytes: 1 << 20 };
        let tree = Usage { cpu_time: SECOND * 4 * tick, memory_bytes: 3 << 20 };
        sim.tick(|_| Observed::RunningTree { main, tree, processes: 3 });
    }
    assert_cpu_time(&sim, SECOND * 160);
    let snapshot = sim.snapshot();
    let aggregates = snapshot.plugin("dice").unwrap().aggregates(POLL * 10).unwrap();
    assert_eq!(aggregates.cpu_time, SECOND * 40);
    assert_eq!(aggregates.cpu_per_event, None);
}

#[test]
fn run_that_begins_inside_a_tick_counts_from_its_start() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    sim.tick(idle);
    sim.advance(SECOND * 20);
    plugin.started(1, "1.0");
    // Half a core for five seconds; without a process the time before is not covered.
    sim.tick(|_| usage(2_500, 1_024));
    assert_cpu_time(&sim, SECOND * 5 / 2);
}

/// Its CPU time is not known, and the share of the sample is that of the other one alone.
#[test]
fn run_that_was_read_once_has_no_part_in_a_share() {
    for is_last in [false, true] {
        let mut sim = keeping(100);
        let plugin = sim.register("dice").unwrap();
        sim.tick(idle);
        let read_once = |sim: &mut Simulation, pid: u32| {
            plugin.started(pid, "1.0");
            sim.advance(SECOND);
            plugin.stopped();
            sim.advance(SECOND * 3);
        };
        if is_last {
            // Two seconds of CPU time, and then a run without a second reading.
            plugin.started(1, "1.0");
            sim.tick(|_| usage(2_000, 1_024));
            plugin.stopped();
            read_once(&mut sim, 2);
            sim.tick(|_| Observed::Gone);
        } else {
            read_once(&mut sim, 2);
            plugin.started(3, "2.0");
            sim.tick(|_| usage(2_000, 1_024));
        }
        assert_cpu_time(&sim, SECOND * 2);
    }
}

#[test]
fn missing_share_is_covered_by_the_next_one() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    sim.tick(idle);
    sim.tick(|_| usage(1_000, 1_024));
    for _ in 0..3 {
        sim.tick(|_| Observed::Denied);
    }
    sim.tick(|_| usage(9_000, 1_024));
    sim.tick(|_| usage(10_000, 1_024));
    assert_cpu_time(&sim, SECOND * 10);
}

#[test]
fn reload_inside_a_tick_belongs_to_newer_run() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    sim.tick(idle);
    plugin.events().add(10);
    sim.tick(|_| usage(1_000, 1_024));
    plugin.events().add(10);
    sim.advance(SECOND);
    plugin.started(2, "2.0");
    plugin.events().add(10);
    sim.tick(|_| usage(3_000, 2_048));
    plugin.events().add(10);
    sim.tick(|_| usage(6_000, 2_048));
    let found = versions(&sim.snapshot(), Window::All);
    assert_eq!(names(&found), ["1.0", "2.0"]);
    let [old, new] = &*found else { panic!("two versions") };
    assert_eq!((old.runs, old.sample_count, old.time), (1, 2, POLL));
    assert_eq!((old.events, old.cpu_time), (10, SECOND));
    assert_eq!(old.cpu_per_event, Some(Duration::from_millis(100)));
    // Six seconds passed between the last sample of 1.0 and the first of 2.0, which was read in five.
    assert_eq!((new.runs, new.sample_count, new.time), (1, 2, POLL * 2 + SECOND));
    assert_eq!(new.events, 30);
    assert!(new.cpu_time.abs_diff(SECOND * 6) < Duration::from_millis(1), "{:?}", new.cpu_time);
    assert_eq!(new.memory.unwrap().max, 2.0 * MB);
}

#[test]
fn version_that_comes_back_is_one_entry() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    for (pid, version) in [(1, "1.0"), (2, "2.0"), (3, "1.0"), (4, "")] {
        plugin.started(pid, version);
        (0..3).for_each(|_| sim.tick(idle));
    }
    let found = versions(&sim.snapshot(), Window::All);
    assert_eq!(names(&found), ["2.0", "1.0", "-"]);
    let counts: Vec<_> = found.iter().map(|usage| (usage.runs, usage.sample_count)).collect();
    assert_eq!(counts, [(1, 3), (2, 6), (1, 3)]);
    // A window that holds the newest four samples.
    let found = versions(&sim.snapshot(), POLL * 3);
    assert_eq!(names(&found), ["1.0", "-"]);
    let counts: Vec<_> = found.iter().map(|usage| (usage.runs, usage.sample_count)).collect();
    assert_eq!(counts, [(1, 1), (1, 3)]);
}

#[test]
fn crash_belongs_to_version_that_crashed() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    let first = plugin.started(1, "1.0");
    sim.tick(idle);
    sim.advance(SECOND);
    plugin.exited(first, exit(1));
    plugin.started(2, "2.0");
    sim.tick(idle);
    let crashes = |sim: &Simulation| -> Vec<u64> {
        versions(&sim.snapshot(), Window::All).iter().map(|usage| usage.crashes).collect()
    };
    assert_eq!(crashes(&sim), [1, 0]);
    // Detected by the sampler, and counted after the grace period, when the next run is active.
    sim.tick(|_| Observed::Signaled(11));
    plugin.started(3, "3.0");
    sim.tick(idle);
    assert_eq!(crashes(&sim), [1, 1, 0]);
    let snapshot = sim.snapshot();
    assert_eq!(snapshot.plugin("dice").unwrap().crash_count(), 2);
}

#[test]
fn crash_loop_between_ticks_has_runs_without_samples() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    sim.tick(idle);
    for pid in 1..=3 {
        let run = plugin.started(pid, "1.0");
        sim.advance(SECOND);
        plugin.exited(run, exit(1));
        plugin.events().increment();
        sim.advance(SECOND);
    }
    sim.tick(idle);
    let found = versions(&sim.snapshot(), Window::All);
    let [usage] = &*found else { panic!("one version") };
    assert_eq!((usage.runs, usage.sample_count, usage.crashes), (3, 0, 3));
    assert_eq!((usage.events, usage.time), (3, Duration::ZERO));
    assert_eq!((usage.cpu, usage.memory), (None, None));
}

#[test]
fn plugin_without_runs_has_no_versions() {
    let mut sim = keeping(100);
    sim.register("dice").unwrap();
    sim.advance(SECOND);
    assert_eq!(versions(&sim.snapshot(), Window::All), []);
    (0..40).for_each(|_| sim.tick(idle));
    assert_eq!(versions(&sim.snapshot(), Window::All), []);
}

#[test]
fn version_usage_has_json() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    sim.tick(idle);
    plugin.events().add(3);
    sim.tick(|_| usage(1_000, 1_024));
    let json = serde_json::to_value(versions(&sim.snapshot(), Window::All)).unwrap();
    let cpu = serde_json::json!({"avg": 10.0, "min": 0.0, "max": 20.0, "p95": 20.0});
    let memory = serde_json::json!({"avg": 1.0, "min": 1.0, "max": 1.0, "p95": 1.0});
    assert_eq!(
        json,
        serde_json::json!([{
            "version": "1.0", "runs": 1, "sample_count": 2, "time_seconds": 5.0,
            "cpu": cpu, "memory_mb": memory, "cpu_seconds": 1.0, "events": 3,
            "cpu_ms_per_event": 333.333, "crashes": 0,
        }])
    );
    let snapshot = sim.snapshot();
    let aggregates = snapshot.plugin("dice").unwrap().aggregates(Window::All).unwrap();
    let json = serde_json::to_value(aggregates).unwrap();
    assert_eq!((&json["cpu_seconds"], &json["cpu_ms_per_event"]), (&1.0.into(), &333.333.into()));
}
