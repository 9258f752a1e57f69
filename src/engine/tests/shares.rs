//! CPU time of a window, where a share does not cover all of its interval.

use std::time::Duration;

use super::{Harness, SECOND, dice, started};
use crate::os::fake_probe::Condition;
use crate::snapshot::Snapshot;
use crate::snapshot::query::Window;
use crate::sync::counter::next_run_id;

const MILLISECOND: Duration = Duration::from_millis(1);

/// The CPU time of the window is `expected`, up to the step of shares, also by version.
#[track_caller]
fn assert_cpu_time(snapshot: &Snapshot, expected: Duration) {
    let view = dice(snapshot);
    let versions = view.versions(Window::All).iter().map(|version| version.cpu_time).sum();
    for cpu_time in [view.aggregates(Window::All).unwrap().cpu_time, versions] {
        assert!(cpu_time.abs_diff(expected) < MILLISECOND, "{cpu_time:?}, not {expected:?}");
    }
    #[cfg(feature = "store")]
    {
        let mut covered = Vec::new();
        let history = view.history(Window::All);
        let shares: Vec<_> = history.map(|sample| sample.cpu_percent).collect();
        view.covered_times(shares.len(), |time| covered.push(time));
        // Without the first sample, as in the window.
        let products = covered.iter().zip(&shares).skip(1);
        let products =
            products.filter_map(|(time, share)| Some((*time)?.mul_f64((*share)? / 100.0)));
        let stored: Duration = products.sum();
        assert!(stored.abs_diff(expected) < MILLISECOND, "{covered:?} of {shares:?}");
    }
}

/// A tick, and a run that uses a whole core for the 200 ms after it; then another process is reported.
fn replaced(condition: Condition) -> Harness {
    let mut harness = Harness::new();
    // The tree of a process that is not attached is unknown.
    harness.engine.info.process_trees = false;
    harness.start_and_tick(1);
    harness.processes.set_alive(1, 200 * MILLISECOND);
    harness.advance(200 * MILLISECOND);
    harness.processes.set_alive(2, Duration::ZERO);
    harness.processes.set_condition(2, condition);
    harness.start(2);
    harness.advance(800 * MILLISECOND);
    harness
}

/// The share of the tick is that of the first run alone, over 200 ms.
#[test]
fn failed_read_of_next_run_does_not_lengthen_share() {
    for failures in 1..4 {
        let mut harness = replaced(Condition::Alive);
        harness.processes.set_condition(2, Condition::Denied);
        let mut snapshot = harness.tick_now();
        assert_eq!(dice(&snapshot).current().unwrap().cpu_percent, Some(100.0));
        assert_cpu_time(&snapshot, 200 * MILLISECOND);
        for _ in 1..failures {
            snapshot = harness.tick();
            assert_cpu_time(&snapshot, 200 * MILLISECOND);
        }
        // From its first reading on, at its report.
        harness.processes.set_alive(2, 900 * MILLISECOND);
        snapshot = harness.tick();
        assert_cpu_time(&snapshot, 1_100 * MILLISECOND);
        harness.processes.set_alive(2, 1_500 * MILLISECOND);
        snapshot = harness.tick();
        assert_cpu_time(&snapshot, 1_700 * MILLISECOND);
        assert_eq!(dice(&snapshot).cpu_time(), 1_700 * MILLISECOND);
    }
}

/// The process of the next run is read for the first time at a tick: what it has used before is not known.
#[test]
fn first_reading_at_a_tick_does_not_lengthen_share() {
    for failures in 0..3 {
        let mut harness = replaced(Condition::Denied);
        let mut snapshot = harness.snapshot();
        for failure in 0..=failures {
            if failure == failures {
                harness.processes.set_alive(2, 500 * MILLISECOND);
            }
            snapshot = if failure == 0 { harness.tick_now() } else { harness.tick() };
            assert_cpu_time(&snapshot, 200 * MILLISECOND);
        }
        assert_eq!(dice(&snapshot).versions(Window::All)[0].runs, 2);
        for millis in [900, 1_100] {
            harness.processes.set_alive(2, millis * MILLISECOND);
            snapshot = harness.tick();
            assert_cpu_time(&snapshot, (millis - 300) * MILLISECOND);
        }
    }
}

/// A process that could not be read for a minute: its first share covers one interval.
#[test]
fn late_first_reading_begins_the_first_share() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.set_alive(2, Duration::ZERO);
    harness.processes.set_condition(2, Condition::Denied);
    harness.start(2);
    (0..60).for_each(|_| drop(harness.tick()));
    harness.processes.set_alive(2, Duration::ZERO);
    harness.tick();
    harness.processes.set_alive(2, SECOND / 2);
    assert_cpu_time(&harness.tick(), SECOND / 2);
}

/// The next run is replaced too, before the process after it can be read.
#[test]
fn two_replaced_runs_have_one_share() {
    let mut harness = replaced(Condition::Alive);
    // At 0.3 s of the interval.
    harness.env.now.mono.0 -= 700_000_000;
    harness.processes.set_now(harness.env.now);
    harness.processes.set_alive(2, 50 * MILLISECOND);
    harness.processes.set_condition(3, Condition::Denied);
    harness.report(started(next_run_id(), 3));
    harness.advance(700 * MILLISECOND);
    let snapshot = harness.tick_now();
    assert_cpu_time(&snapshot, 250 * MILLISECOND);
}
