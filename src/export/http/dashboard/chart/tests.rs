use super::*;
use crate::PluginState;

const INTERVAL: Duration = Duration::from_secs(5);

/// Pseudorandom numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn scale() -> Scale {
    Scale { from: 1_000.0, to: 2_000.0, low: 0.0, high: 50.0, width: 100.0, height: 23.0 }
}

/// The strokes of a path of absolute M and L, and whether one ends in `h0`.
fn strokes(path: &str) -> Vec<(Vec<(f64, f64)>, bool)> {
    path.split('M')
        .skip(1)
        .map(|stroke| {
            let is_dot = stroke.ends_with("h0");
            let points = stroke.trim_end_matches("h0").split('L').map(|point| {
                let (x, y) = point.split_once(' ').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            });
            (points.collect(), is_dot)
        })
        .collect()
}

#[test]
fn line_connects_values_and_breaks_without_one() {
    let mut random = Random(7);
    for _ in 0..if cfg!(miri) { 5 } else { 500 } {
        let len = random.below(30);
        let dots: Vec<Dot> = (0..len)
            .map(|nth| {
                let value = (random.below(3) > 0).then(|| random.below(60) as f64);
                (990.0 + 35.0 * nth as f64, value)
            })
            .collect();
        // By the definition, dot by dot.
        let mut expected: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut is_broken = true;
        for (at, value) in &dots {
            let Some(value) = value else {
                is_broken = true;
                continue;
            };
            if is_broken {
                expected.push(Vec::new());
            }
            is_broken = false;
            let x = ((at - 1_000.0) / 10.0).clamp(0.0, 100.0);
            let y = 1.5 + 20.0 * (1.0 - (value / 50.0).min(1.0));
            expected.last_mut().unwrap().push((x, y));
        }
        let drawn = strokes(&scale().line(&dots));
        assert_eq!(drawn.len(), expected.len());
        for ((points, is_dot), expected) in drawn.iter().zip(&expected) {
            assert_eq!(*is_dot, expected.len() == 1);
            assert_eq!(points.len(), expected.len());
            for (drawn, expected) in points.iter().zip(expected) {
                assert!((drawn.0 - expected.0).abs() < 0.051, "{drawn:?} {expected:?}");
                assert!((drawn.1 - expected.1).abs() < 0.051, "{drawn:?} {expected:?}");
            }
        }
        let areas = scale().area(&dots);
        let wide = expected.iter().filter(|stroke| stroke.len() > 1).count();
        assert_eq!(areas.matches('Z').count(), wide);
        assert_eq!(areas.matches("V23H").count(), wide);
    }
}

#[test]
fn single_value_is_a_dot() {
    assert_eq!(scale().line(&[]), "");
    assert_eq!(scale().area(&[]), "");
    assert_eq!(scale().line(&[(1_500.0, None)]), "");
    assert_eq!(scale().line(&[(1_500.0, Some(25.0))]), "M50 11.5h0");
    assert_eq!(scale().area(&[(1_500.0, Some(25.0))]), "");
    assert_eq!(scale().line(&[(1_000.0, Some(50.0)), (2_000.0, Some(0.0))]), "M0 1.5L100 21.5");
    assert_eq!(
        scale().area(&[(1_000.0, Some(50.0)), (2_000.0, Some(0.0))]),
        "M0 1.5L100 21.5V23H0Z"
    );
}

#[test]
fn empty_scale_draws_in_the_middle() {
    let flat = Scale { low: 3.0, high: 3.0, from: 5.0, to: 5.0, ..scale() };
    assert_eq!(flat.line(&[(5.0, Some(3.0))]), "M50 11.5h0");
    for path in [flat.vertical_lines(&[5.0]), flat.dots(&[5.0]), flat.horizontal_lines(&[3.0])] {
        assert!(!path.contains("NaN") && !path.contains("inf"), "{path}");
    }
}

#[test]
fn times_outside_are_not_marked() {
    let times = [999.0, 1_000.0, 1_500.0, 2_000.0, 2_000.1];
    assert_eq!(scale().vertical_lines(&times), "M0 0V23M50 0V23M100 0V23");
    let dense = scale().vertical_lines(&[1_500.0; 20]);
    assert!(dense.starts_with("M50 21.6V23M50"), "{dense}");
    // A dot at an edge is moved inside, so that it is not cut.
    assert_eq!(scale().dots(&times), "M2 4h0M50 4h0M98 4h0");
    assert_eq!(scale().horizontal_lines(&[25.0]), "M0 11.5H100");
    assert_eq!(scale().horizontal_lines(&[50.1, f64::INFINITY]), "");
    assert_eq!(scale().horizontal_lines(&[25.0, 50.0]), "M0 11.5H100M0 1.5H100");
}

#[test]
fn round_up_returns_next_round_number() {
    for (value, expected) in [
        (0.0, 1.0),
        (-5.0, 1.0),
        (f64::NAN, 1.0),
        (f64::INFINITY, 1.0),
        (1.0, 1.0),
        (1.1, 2.0),
        (2.4, 2.5),
        (42.0, 50.0),
        (51.0, 100.0),
        (100.0, 100.0),
        (0.03, 0.05),
        (0.5, 0.5),
    ] {
        assert_eq!(round_up(value), expected, "{value}");
    }
    // These powers of ten are exact.
    let mut power = 1.0;
    for _ in 0..22 {
        assert_eq!(round_up(power), power);
        assert_eq!(round_up(power + power / 1_024.0), 2.0 * power);
        power *= 10.0;
        assert_eq!(round_up(power - power / 1_024.0), power);
    }
}

const TREES: Shown = Shown::new(true);

fn sample(
    at: f64,
    cpu: Option<u64>,
    run: Option<u64>,
    crashes: u64,
    events: u64,
) -> Sample<'static> {
    Sample {
        timestamp: UNIX_EPOCH + Duration::from_secs_f64(at),
        plugin_name: "dice",
        version: None,
        pid: None,
        run: run.map(RunId),
        state: PluginState::Running,
        // Not drawn: the tree's values are.
        cpu_percent: cpu.map(|cpu| cpu as f64 / 2.0),
        memory_bytes: cpu.map(|cpu| cpu * 512),
        process_count: cpu.map(|_| 2),
        tree_cpu_percent: cpu.map(|cpu| cpu as f64),
        tree_memory_bytes: cpu.map(|cpu| cpu * 1_024),
        is_suspended: None,
        uptime: None,
        event_count: events,
        crash_count: crashes,
    }
}

/// A history with unknown values, late ticks, a clock set back, restarts and crashes.
fn random_history(random: &mut Random) -> Vec<Sample<'static>> {
    let (mut at, mut run, mut crashes, mut events) = (1_000.0, Some(1), 0, 0);
    (0..random.below(200))
        .map(|_| {
            at += match random.below(20) {
                0 => 30.0,
                1 => 7.5,
                2 => 7.6,
                3 => -2.0,
                _ => 5.0,
            };
            match random.below(15) {
                0 => run = None,
                1 => run = Some(random.below(6)),
                _ => {}
            }
            crashes += u64::from(random.below(12) == 0);
            events += random.below(50);
            let cpu = (run.is_some() && random.below(9) > 0).then(|| random.below(100));
            sample(at, cpu, run, crashes, events)
        })
        .collect()
}

#[test]
fn trace_breaks_at_gaps_and_marks_restarts_and_crashes() {
    let mut random = Random(11);
    for _ in 0..if cfg!(miri) { 3 } else { 300 } {
        let samples = random_history(&mut random);
        let trace = Trace::new(samples.iter().copied(), 17, INTERVAL, 1_000, TREES);
        let mut expected = Trace::default();
        let mut last_run = None;
        for (nth, sample) in samples.iter().enumerate() {
            let at = unix_seconds(sample.timestamp);
            let before = nth.checked_sub(1).map(|before| &samples[before]);
            let elapsed = before.map(|before| at - unix_seconds(before.timestamp));
            let is_gap = elapsed.is_some_and(|elapsed| !(0.0..=7.5).contains(&elapsed));
            if is_gap {
                let then = unix_seconds(before.unwrap().timestamp);
                expected.breaks.push(expected.cpu.len());
                expected.cpu.push((then, None));
                expected.memory.push((then, None));
                expected.rate.push((then, None));
            }
            expected.cpu.push((at, sample.tree_cpu_percent));
            expected.memory.push((at, sample.tree_memory_bytes.map(|bytes| bytes as f64)));
            let rate = before
                .filter(|_| !is_gap)
                .map(|before| (sample.event_count - before.event_count) as f64 / elapsed.unwrap());
            expected.rate.push((at, rate));
            if before.is_some_and(|before| sample.crash_count > before.crash_count) {
                expected.crashes.push(at);
            }
            if sample.run.is_some() && last_run.is_some() && sample.run != last_run {
                expected.restarts.push(at);
            }
            last_run = sample.run.or(last_run);
        }
        expected.last_run = samples.last().and_then(|sample| sample.run);
        assert_eq!(trace, expected);
        // As numbers, there is a point for each sample.
        let values = trace.points().map(|point| (point.at, point.cpu));
        let samples = samples.iter().map(|s| (unix_seconds(s.timestamp), s.tree_cpu_percent));
        assert!(values.eq(samples));
    }
}

#[test]
fn downsampled_trace_keeps_maximum_gaps_and_marks() {
    let mut random = Random(13);
    for _ in 0..if cfg!(miri) { 3 } else { 300 } {
        let samples = random_history(&mut random);
        let whole = Trace::new(samples.iter().copied(), 17, INTERVAL, 1_000, TREES);
        let thin = Trace::new(samples.iter().copied(), 17, INTERVAL, 24, TREES);
        assert_eq!(largest(&thin.cpu), largest(&whole.cpu));
        assert_eq!(largest(&thin.memory), largest(&whole.memory));
        assert_eq!((&thin.restarts, &thin.crashes), (&whole.restarts, &whole.crashes));
        let gaps = samples.windows(2).filter(|pair| {
            let elapsed = unix_seconds(pair[1].timestamp) - unix_seconds(pair[0].timestamp);
            !(0.0..=7.5).contains(&elapsed)
        });
        // Several gaps within one bucket are one break.
        let has_gap = gaps.count() > 0;
        let broken =
            thin.cpu.iter().zip(&thin.rate).any(|(cpu, rate)| cpu.1.is_none() && rate.1.is_none());
        assert!(broken || !has_gap);
        assert!(thin.cpu.len() <= 2 * 24);
    }
}

#[test]
fn span_is_visible_and_inside() {
    // From the middle to the end of a rectangle that is 100 units wide.
    assert_eq!(scale().span(1_500.0, 2_000.0), "M50 0H100V23H50Z");
    assert_eq!(scale().span(0.0, 9_000.0), "M0 0H100V23H0Z", "cut at the edges");
    assert_eq!(scale().span(1_500.0, 1_500.0), "M50 0H54V23H50Z", "a moment has a width");
    assert_eq!(scale().span(2_000.0, 2_000.0), "M96 0H100V23H96Z");
    assert_eq!([scale().span(0.0, 999.0), scale().span(2_001.0, 2_002.0)], ["", ""]);
}

#[test]
fn incomplete_last_bucket_does_not_fall() {
    // Ticks 0 to 16 in buckets of four; the last has one tick.
    let samples: Vec<_> = (0..17)
        .map(|tick| {
            let cpu = if tick == 16 { 1 } else { 40 + tick };
            sample(1_000.0 + 5.0 * tick as f64, Some(cpu), Some(1), 0, 0)
        })
        .collect();
    let trace = Trace::new(samples.iter().copied(), 0, INTERVAL, 6, TREES);
    let values: Vec<_> = trace.cpu.iter().map(|dot| dot.1.unwrap()).collect();
    assert_eq!(values, [43.0, 47.0, 51.0, 55.0, 55.0]);
    assert_eq!(trace.points().last().unwrap().cpu, Some(1.0), "as a number it is what it is");
    // Without downsampling the last value is the sample's.
    let trace = Trace::new(samples.iter().copied(), 0, INTERVAL, 17, TREES);
    assert_eq!(trace.cpu.last().unwrap().1, Some(1.0));
}
