use std::time::Duration;

use super::*;

fn sample(tick: u64, run: Option<u64>, cpu: Option<f64>) -> Sample<'static> {
    Sample {
        timestamp: SystemTime::UNIX_EPOCH + Duration::from_secs(tick),
        plugin_name: "dice",
        version: None,
        pid: None,
        run: run.map(RunId),
        state: if run.is_some() { PluginState::Running } else { PluginState::Stopped },
        cpu_percent: cpu,
        memory_bytes: cpu.map(|cpu| cpu as u64),
        process_count: cpu.map(|_| 2),
        tree_cpu_percent: cpu.map(|cpu| cpu * 2.0),
        tree_memory_bytes: cpu.map(|cpu| cpu as u64 + 1),
        is_suspended: None,
        uptime: None,
        event_count: tick,
        crash_count: tick / 10,
    }
}

fn downsampled(samples: &[(u64, Sample<'_>)], points: usize) -> Vec<Point> {
    let ends = samples.first().zip(samples.last());
    let Some(((oldest, _), (newest, _))) = ends else {
        return Vec::new();
    };
    let mut downsampler = Downsampler::new(*oldest, *newest, points);
    let mut out: Vec<_> =
        samples.iter().filter_map(|(tick, sample)| downsampler.push(*tick, sample)).collect();
    out.extend(downsampler.finish());
    out
}

fn ticks(from: u64, to: u64) -> Vec<(u64, Sample<'static>)> {
    (from..=to).map(|tick| (tick, sample(tick, Some(1), Some(tick as f64)))).collect()
}

/// The last tick of each point.
fn last_ticks(points: &[Point]) -> Vec<u64> {
    points.iter().map(|point| point.event_count).collect()
}

#[test]
fn history_that_fits_is_unchanged() {
    let samples = ticks(5, 14);
    let points = downsampled(&samples, 10);
    assert_eq!(points.len(), 10);
    for ((_, sample), point) in samples.iter().zip(&points) {
        assert_eq!(point.timestamp, sample.timestamp);
        let cpu = sample.cpu_percent.unwrap();
        assert_eq!(point.cpu_percent, Some(ValueRange { min: cpu, avg: cpu, max: cpu }));
        assert_eq!(point.memory, point.cpu_percent);
        assert_eq!(point.sample_count, 1);
        assert_eq!((point.event_count, point.run), (sample.event_count, sample.run));
    }
}

#[test]
fn empty_history_has_no_points() {
    for newest in [0, 7] {
        assert_eq!(Downsampler::new(newest + 1, newest, 720).finish(), None);
    }
}

/// The size is the smallest power of two that fits.
#[test]
fn buckets_begin_at_multiples_of_their_size() {
    // Buckets of two would be six: 5, 6-7, 8-9, 10-11, 12-13, 14.
    let points = downsampled(&ticks(5, 14), 5);
    assert_eq!(last_ticks(&points), [7, 11, 14]);
    let six = downsampled(&ticks(5, 14), 6);
    assert_eq!(last_ticks(&six), [5, 7, 9, 11, 13, 14]);
    let (first, last) = (&points[0], &points[2]);
    assert_eq!(first.cpu_percent, Some(ValueRange { min: 5.0, avg: 6.0, max: 7.0 }));
    assert_eq!(last.memory, Some(ValueRange { min: 12.0, avg: 13.0, max: 14.0 }));
    assert_eq!((first.sample_count, last.sample_count), (3, 3));
}

#[test]
fn buckets_are_the_same_one_tick_later() {
    let points = [199, 201, 200, 202, 400];
    for points in points.into_iter().take(if cfg!(miri) { 2 } else { 5 }) {
        let [now, later] = [100, 101].map(|first| downsampled(&ticks(first, first + 799), points));
        let shared = &now[1..now.len() - 1];
        assert!(later.windows(shared.len()).any(|window| window == shared), "in {points}");
    }
}

#[test]
fn points_are_limited_and_cover_all_samples() {
    let ranges = [(1, 1), (1, 2), (7, 8), (1_023, 1_024), (1, 1_000), (999, 4_097)];
    for (from, to) in ranges.into_iter().take(if cfg!(miri) { 5 } else { 6 }) {
        for max in [1, 2, 3, 10, 720] {
            let mut samples = ticks(from, to);
            for (tick, sample) in &mut samples {
                sample.run = (*tick % 3 != 0).then_some(RunId(*tick / 5));
            }
            let points = downsampled(&samples, max);
            assert!((1..=max).contains(&points.len()), "{from}..={to} in {max}");
            assert_eq!(points.last().unwrap().event_count, to);
            let samples: usize = points.iter().map(|point| point.sample_count).sum();
            assert_eq!(samples as u64, to - from + 1);
            let largest = points.iter().filter_map(|point| point.memory).map(|m| m.max as u64);
            assert_eq!(largest.max(), Some(to));
        }
    }
}

#[test]
fn single_point_covers_any_ticks() {
    let large = u64::from(u32::MAX);
    for (from, to) in [(1, 1), (1_023, 1_024), (large, large + 1), (1, 1 << 62)] {
        let downsampler = Downsampler::new(from, to, 1);
        assert_eq!(
            (from >> downsampler.shift, downsampler.spare_buckets),
            (to >> downsampler.shift, 0)
        );
    }
}

#[test]
fn new_run_begins_bucket_while_there_is_room() {
    // Buckets of four: 0-3, 4-7, 8-11; five are allowed.
    let run = |tick| match tick {
        0..=4 => Some(1),
        5 => None,
        6 => Some(2),
        7..=9 => Some(3),
        _ => Some(4),
    };
    let samples: Vec<_> =
        (0..12).map(|tick| (tick, sample(tick, run(tick), Some(tick as f64)))).collect();
    assert_eq!(last_ticks(&downsampled(&samples, 5)), [3, 5, 6, 7, 11]);
    let four = downsampled(&samples, 4);
    assert_eq!(last_ticks(&four), [3, 5, 7, 11]);
    assert_eq!(four[1].run, None, "its newest sample has none");
    assert_eq!(four[2].run, Some(RunId(3)));
}

#[test]
fn unknown_values_enter_no_point() {
    let cpu = [None, None, None, Some(3.0), Some(6.0), None, None, Some(0.0)];
    let samples: Vec<_> =
        (0..8).zip(cpu).map(|(tick, cpu)| (tick, sample(tick, Some(1), cpu))).collect();
    let points = downsampled(&samples, 5);
    let cpu: Vec<_> =
        points.iter().map(|point| point.cpu_percent.map(|cpu| (cpu.max, cpu.avg))).collect();
    assert_eq!(cpu, [None, Some((3.0, 3.0)), Some((6.0, 6.0)), Some((0.0, 0.0))]);
    assert_eq!(points[0].memory, None);
}
