//! Current usage, rates, crashes in a window, and points.

use std::time::Duration;

use plugmeter::testing::Simulation;
use plugmeter::{CurrentUsage, Point, Sample, ValueRange, Window};

use crate::fixtures::{POLL, SECOND, exit, keeping, usage};

fn points(sim: &Simulation, window: impl Into<Window>, max: usize) -> Vec<Point> {
    sim.snapshot().plugin("dice").unwrap().points(window, max)
}

#[test]
fn usage_is_that_of_newest_sample() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_| usage(1_000, 2_048));
    let snapshot = sim.snapshot();
    let CurrentUsage { cpu_percent, memory_bytes, uptime, .. } =
        snapshot.plugin("dice").unwrap().usage();
    assert_eq!((cpu_percent, memory_bytes), (Some(20.0), Some(2 << 20)));
    assert_eq!(uptime, Some(POLL));
}

#[test]
fn usage_after_restart_between_ticks_is_unknown() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let run = plugin.started(1, "");
    sim.tick(|_| usage(1_000, 2_048));
    plugin.exited(run, exit(0));
    sim.advance(SECOND);
    // Without an active run.
    let snapshot = sim.snapshot();
    assert_eq!(snapshot.plugin("dice").unwrap().usage(), CurrentUsage::default());
    plugin.started(2, "");
    sim.advance(SECOND);
    // With another run than the newest sample's, which still has its values.
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.usage(), CurrentUsage::default());
    assert_eq!(view.current().unwrap().memory_bytes, Some(2 << 20));
    sim.tick(|_| usage(600, 1_024));
    let snapshot = sim.snapshot();
    assert_eq!(snapshot.plugin("dice").unwrap().usage().memory_bytes, Some(1 << 20));
}

#[test]
fn event_rate_and_crashes_equal_aggregates() {
    let mut sim = keeping(50);
    let plugin = sim.register("dice").unwrap();
    for pid in 1..=60_u32 {
        plugin.events().add(u64::from(pid));
        plugin.started(pid, "");
        sim.tick(|_| usage(0, 1_024));
        if pid % 7 == 0 {
            plugin.crashed();
        }
    }
    sim.advance(SECOND);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    for back in [0, 1, 5, 20, 48, 49, 1_000] {
        let window = Window::Last(POLL * back);
        let aggregates = view.aggregates(window).unwrap();
        assert_eq!(view.event_rate(window), aggregates.events_per_second, "{window:?}");
        assert_eq!(view.crashes(window), aggregates.crashes, "{window:?}");
    }
    // From the samples of 56 to 60 events at intervals of five seconds.
    assert_eq!(view.event_rate(POLL * 4), f64::from(57 + 58 + 59 + 60) / 20.0);
    assert_eq!(view.crashes(POLL * 4), 1, "the one after the sample of process 56");
    assert_eq!((view.crash_count(), view.crashes(Window::All)), (8, 7));
}

#[test]
fn event_rate_without_second_sample_is_zero() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let rate = |sim: &Simulation| sim.snapshot().plugin("dice").unwrap().event_rate(Window::All);
    sim.advance(SECOND);
    assert_eq!(rate(&sim), 0.0);
    plugin.events().add(10);
    sim.tick(|_| None);
    assert_eq!(rate(&sim), 0.0);
    plugin.events().add(10);
    sim.tick(|_| None);
    assert_eq!(rate(&sim), 2.0);
}

/// A plugin whose memory differs at every tick, in a history that `ticks` fill.
fn varied(ticks: u32) -> Simulation {
    let mut sim = keeping(ticks);
    sim.register("dice").unwrap().started(1, "");
    (0..ticks).for_each(|_| tick(&mut sim));
    sim
}

fn tick(sim: &mut Simulation) {
    let tick = sim.snapshot().tick();
    // A multiple of a prime, modulo another: no order, and no value twice in a row.
    sim.tick(|_| usage(tick * 7_919 % 4_999 + tick * 5_000, 1_024 + tick * 7_919 % 997));
}

type Range = Option<(f64, f64, f64)>;

fn range(range: Option<ValueRange>) -> Range {
    range.map(|ValueRange { min, avg, max, .. }| (min, avg, max))
}

/// Minimum, average and maximum of the known values.
fn naive(values: impl Iterator<Item = Option<f64>>) -> Range {
    let values: Vec<f64> = values.flatten().collect();
    let average = values.iter().sum::<f64>() / values.len() as f64;
    let fold = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick);
    Some((fold(f64::min)?, average, fold(f64::max)?))
}

#[test]
fn points_are_limited_and_match_their_samples() {
    let sim = varied(300);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.points(Window::All, 0), []);
    for window in [Window::All, Window::Last(POLL * 99), Window::Last(Duration::ZERO)] {
        let history: Vec<Sample<'_>> = view.history(window).collect();
        for max in [1, 2, 7, 99, 300, 1_000] {
            let points = view.points(window, max);
            assert!((1..=max).contains(&points.len()), "{} of {max}", points.len());
            let mut rest = &history[..];
            for point in points {
                let (samples, others) = rest.split_at(point.sample_count);
                rest = others;
                let newest = samples.last().unwrap();
                assert_eq!(point.timestamp, newest.timestamp);
                assert_eq!((point.event_count, point.run), (newest.event_count, newest.run));
                assert_eq!((point.crash_count, point.state), (0, newest.state));
                let cpu = naive(samples.iter().map(|s| s.cpu_percent));
                assert_eq!(range(point.cpu_percent), cpu);
                let memory = samples.iter().map(|s| s.memory_bytes.map(|bytes| bytes as f64));
                assert_eq!(range(point.memory), naive(memory));
            }
            assert_eq!(rest.len(), 0, "each sample is in one point");
        }
    }
    assert_eq!(points(&sim, Window::All, 300).len(), 300, "one for each sample");
}

#[test]
fn points_are_the_same_one_tick_later() {
    for max in [10, 50, 720] {
        let mut sim = varied(800);
        let before = points(&sim, Window::All, max);
        tick(&mut sim);
        let after = points(&sim, Window::All, max);
        // The oldest sample has left the first one, and the newest may belong to the last one.
        let complete = &before[1..before.len() - 1];
        assert!(after.windows(complete.len()).any(|points| points == complete), "at most {max}");
    }
}

#[test]
fn points_of_unsampled_plugin_are_empty() {
    let mut sim = keeping(10);
    sim.tick(|_| None);
    sim.register("dice").unwrap();
    sim.advance(SECOND);
    assert_eq!(points(&sim, Window::All, 10), []);
}
