use super::*;
use crate::findings::random::random;

/// The squared distances of values from their mean.
fn of_level(values: &[f32]) -> f64 {
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len().max(1) as f64;
    values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum()
}

/// The squared distances of values from their line of least squares.
fn of_line(values: &[f32]) -> f64 {
    let n = values.len() as f64;
    let (t, x) = ((n - 1.0) / 2.0, values.iter().map(|&x| f64::from(x)).sum::<f64>() / n);
    let points = values.iter().enumerate().map(|(i, &v)| (i as f64 - t, f64::from(v) - x));
    let slope = points.clone().map(|(t, x)| t * x).sum::<f64>()
        / points.clone().map(|(t, _)| t * t).sum::<f64>();
    points.map(|(t, x)| (x - slope * t).powi(2)).sum()
}

#[test]
fn hinge_has_least_squared_distances() {
    let level = [500.0, 503.0, 499.0, 502.0, 498.0, 501.0, 500.5, 499.5, 502.5, 500.0];
    let noise = |i: usize| [0.0, 7.0, 3.0, 9.0, 1.0, 4.0][i % 6];
    for (before, slope, after) in
        [(10, 40.0, 12), (10, 25.0, 8), (4, 60.0, 20), (0, 30.0, 15), (10, 0.0, 9), (9, -30.0, 11)]
    {
        let mut low = level[..before].to_vec();
        low.extend((0..after).map(|i| 480.0 + slope * i as f32 + noise(i)));
        let distances: Vec<f64> =
            (0..=low.len() - 8).map(|at| of_level(&low[..at]) + of_line(&low[at..])).collect();
        let least = distances.iter().copied().fold(f64::MAX, f64::min);
        let found = distances[hinge(&low)];
        assert!(found - least < 1e-3, "{before} {slope}: {found}, {distances:?}");
    }
    // Of much memory: sums of squares of terabytes are not exact.
    let much: Vec<f32> = (0..40).map(|i| 1.074e9 + 128.0 * (i as f32 - 20.0).max(0.0)).collect();
    assert!((19..=21).contains(&hinge(&much)), "{}", hinge(&much));
    // The last minute from which a line can begin.
    let late: Vec<f32> = (0..30).map(|i| 100.0 + 90.0 * (i as f32 - 22.0).max(0.0)).collect();
    assert_eq!(hinge(&late), 22);
}

/// The hinge, unless one line describes all minutes nearly as well.
#[test]
fn onset_follows_its_definition() {
    let mut random = random(1);
    let samples: Vec<u32> = (0..60).map(|minute| minute * 12).collect();
    let mut found = [0; 3];
    for case in 0..if cfg!(miri) { 10 } else { 600 } {
        let (n, slope, noise) = (10 + case % 50, 200.0 * random(), 2_000.0 * random());
        let begin = n as f32 * random();
        let low: Vec<f32> = (0..n)
            .map(|minute| 50_000.0 + slope * (minute as f32 - begin).max(0.0) + noise * random())
            .collect();
        let at = hinge(&low);
        let both = of_level(&low[..at]) + of_line(&low[at..]);
        let is_one_line = of_line(&low) <= (1.0 + 6.0 / n as f64) * both + 1.0;
        let (expected, kind) = match (at, is_one_line) {
            (..3, _) => ((at, false), 0),
            (_, true) => ((0, false), 1),
            (_, false) => ((at, true), 2),
        };
        assert_eq!(onset_minute(&low, &samples), expected, "case {case}");
        found[kind] += 1;
    }
    assert!(cfg!(miri) || found.iter().all(|&count| count > 30), "{found:?}");
}

/// A line with noise, which a level of its first minutes and a line describe a little better.
#[test]
fn growth_of_all_minutes_began_with_the_first() {
    let noise = |i: usize| [0.0, 170.0, 60.0, 220.0, 20.0, 110.0, 90.0][i * 3 % 7];
    for minutes in [10, 25, 59] {
        let line = |i: usize| 50_000.0 + 1_000.0 * i as f32 + noise(i);
        let low: Vec<f32> = (0..minutes).map(line).collect();
        let samples: Vec<u32> = (0..80).map(|minute| minute * 12).collect();
        let (onset, has_level) = onset_minute(&low, &samples);
        assert!(onset < 3 && !has_level, "{minutes}: {onset}");
        // After a level of ten minutes.
        let mut late: Vec<f32> = (0..10).map(|i| 50_000.0 + noise(i)).collect();
        late.extend((0..minutes).map(line));
        let (onset, has_level) = onset_minute(&late, &samples);
        assert!((9..=11).contains(&onset) && has_level, "{onset}");
    }
}

#[test]
fn slopes_are_of_floors_a_third_of_the_span_apart() {
    for (floors, len) in [
        (&[0.0, 10.0, 16.0, 30.0, 41.0][..], 3),
        (&[0.0, 9.0, 20.0, 33.0, 38.0, 52.0], 6),
        (&[0.0, 9.0, 20.0, 33.0, 38.0, 52.0, 60.0, 75.0], 7),
    ] {
        let mut expected = Vec::new();
        for from in 0..floors.len() {
            for to in from + 1..floors.len() {
                if to - from >= floors.len() / 3 {
                    let minutes = ((to - from) * len) as f32;
                    expected.push((floors[to] - floors[from]) / minutes);
                }
            }
        }
        expected.sort_by(f32::total_cmp);
        let (middle, low, high) = slope(floors, len, &mut vec![9.0]);
        let (least, most) = (expected[0], *expected.last().unwrap());
        assert_eq!((low, high), (least, most), "{floors:?}");
        let at_most = expected.iter().filter(|&&other| other <= middle).count();
        assert!(at_most.abs_diff(expected.len() / 2) <= 1, "{middle} of {expected:?}");
    }
}

#[test]
fn growth_below_the_least_is_not_even() {
    let steps = |parts: usize, step: f32, first: f32| -> Vec<f32> {
        (0..parts).map(|part| first + step * part as f32).collect()
    };
    // 4 MiB in 28 minutes and longer, and more in less; 4 % of much memory.
    for (parts, minutes, first, least) in [
        (8, 56, 1_000.0, 4_096.0),
        (8, 28, 1_000.0, 4_096.0),
        (6, 14, 1_000.0, 8_192.0),
        (5, 10, 1_000.0, 11_468.8),
        (8, 56, 1_000_000.0, 40_000.0),
        (6, 14, 1_000_000.0, 80_000.0),
    ] {
        let floors = |total: f32| steps(parts, total / parts as f32, first);
        assert!(rises_evenly(&floors(0.99 * least), minutes).is_none(), "{minutes} {least}");
        let (total, last) = rises_evenly(&floors(1.01 * least), minutes).unwrap();
        assert!((total / least - 1.01).abs() < 1e-3, "{total}");
        assert_eq!(last, *floors(1.01 * least).last().unwrap());
    }
}

/// Each step between 0.35 and 1.8 shares with few parts, between 0.3 and 2 with many; the last two
/// make up 1.2 shares.
#[test]
fn uneven_steps_are_no_growth() {
    let is_even = |steps: &[f32]| {
        let mut floors = vec![50_000.0];
        let share = 10_000.0 * steps.len() as f32 / steps.iter().sum::<f32>();
        floors.extend(steps.iter().scan(50_000.0, |floor, step| {
            *floor += step * share;
            Some(*floor)
        }));
        rises_evenly(&floors, 56).is_some()
    };
    for (steps, expected) in [
        (&[1.0, 1.0, 1.0, 1.0, 1.0][..], true),
        (&[0.36, 1.16, 1.16, 1.16, 1.16], true),
        (&[0.34, 1.165, 1.165, 1.165, 1.165], false),
        (&[0.8, 1.79, 0.8, 0.81, 0.8], true),
        (&[0.8, 1.81, 0.8, 0.79, 0.8], false),
        (&[0.31, 1.115, 1.115, 1.115, 1.115, 1.115, 1.115], true),
        (&[0.29, 1.118, 1.118, 1.118, 1.118, 1.118, 1.119], false),
        (&[0.83, 1.99, 0.83, 0.84, 0.84, 0.83, 0.84], true),
        (&[0.83, 2.02, 0.83, 0.83, 0.83, 0.83, 0.83], false),
        (&[1.25, 1.25, 1.28, 0.61, 0.61], true),
        (&[1.27, 1.27, 1.28, 0.59, 0.59], false),
    ] {
        assert_eq!(is_even(steps), expected, "{steps:?}");
    }
}

/// Minutes of age as in a run that began with the first.
fn rises(low: &[f32], end: usize, parts: usize, len: usize) -> Option<Vec<f32>> {
    rise(low, end, parts, len, |minute| minute as f32).map(|rise| rise.floors[..parts].to_vec())
}

#[test]
fn floors_are_the_least_of_each_part() {
    let saw = |i: usize| 50_000.0 + 800.0 * i as f32 + [0.0, 900.0, 2_000.0][i % 3];
    let low: Vec<f32> = (0..30).map(saw).collect();
    let expected: Vec<f32> = (0..6).map(|part| saw(12 + 3 * part)).collect();
    assert_eq!(rises(&low, 30, 6, 3), Some(expected));
    let expected: Vec<f32> = (0..5).map(|part| saw(9 + 3 * part)).collect();
    assert_eq!(rises(&low, 24, 5, 3), Some(expected));
    // The newest part is as low as the first.
    let mut fallen = low.clone();
    fallen[28] = low[12];
    assert_eq!(rises(&fallen, 30, 6, 3), None);
}

#[test]
fn growth_ends_by_a_fall_of_a_quarter() {
    let low: Vec<f32> = (0..30).map(|i| 50_000.0 + 1_000.0 * i as f32).collect();
    // Floors of 56 to 74 MB by six parts of three minutes up to minute 24: 18 MB.
    for (fall, expected) in [(0.24, true), (0.26, false)] {
        let mut low = low.clone();
        let newest = low[21];
        low[27] = newest - fall * 18_000.0;
        assert_eq!(rises(&low, 24, 6, 3).is_some(), expected, "{fall}");
    }
}

#[test]
fn earlier_fall_shows_that_memory_comes_and_goes() {
    for (fall, expected) in [(0.28, true), (0.32, false)] {
        let mut low: Vec<f32> = (0..48).map(|i| 50_000.0 + 1_000.0 * i as f32).collect();
        // 18 MB of growth in the newest 18 minutes; memory was higher in a part long before.
        for kib in &mut low[6..9] {
            *kib = low_at(9) + fall * 18_000.0;
        }
        assert_eq!(rises(&low, 48, 6, 3).is_some(), expected, "{fall}");
    }
    fn low_at(minute: usize) -> f32 {
        50_000.0 + 1_000.0 * minute as f32
    }
}

#[test]
fn growth_by_the_logarithm_of_age_levels_off() {
    let by_age = |grown: fn(f32) -> f32| -> Vec<f32> {
        (0..40).map(|i| 50_000.0 + grown(i as f32 + 1.0)).collect()
    };
    assert!(rises(&by_age(|age| 1_000.0 * age), 40, 8, 4).is_some());
    assert!(rises(&by_age(|age| 1_000.0 * age), 40, 8, 5).is_some());
    let levelling = by_age(|age| 30_000.0 * age.ln());
    assert!(rises(&levelling, 40, 8, 4).is_none());
    // The floors of its newest part alone rise evenly.
    assert!(rises(&levelling[16..], 24, 6, 4).is_some());
}

/// The definition of [`rise`], over all floors at once.
fn naive_rise(
    low: &[f32],
    end: usize,
    parts: usize,
    len: usize,
    age: impl Fn(usize) -> f32,
) -> Option<Vec<f32>> {
    // Of the whole run in parts that end before `end`; without what is left at the beginning.
    let begins: Vec<usize> = (0..end / len).map(|part| end % len + part * len).collect();
    let least = |begin: &usize| low[*begin..begin + len].iter().copied().fold(f32::MAX, f32::min);
    let floors: Vec<f32> = begins.iter().map(least).collect();
    let newest = &floors[floors.len() - parts..];
    let (total, last) = rises_evenly(newest, parts * len)?;
    let falls = (0..floors.len()).flat_map(|later| {
        let later_floor = floors[later];
        floors[..later].iter().map(move |earlier| earlier - later_floor)
    });
    let has_fallen = falls.fold(0.0, f32::max) > 0.3 * total;
    let has_fallen_since = low[end..].iter().any(|kib| last - kib > 0.25 * total);
    // Without the first three minutes of the run.
    let ages = begins.iter().map(|&begin| age(begin) + len as f32 / 2.0);
    let points: Vec<(f64, f64)> = ages
        .zip(&floors)
        .filter(|&(age, _)| age >= 3.0)
        .map(|(age, &floor)| (f64::from(age), f64::from(floor)))
        .collect();
    let by_logarithm: Vec<(f64, f64)> = points.iter().map(|&(age, y)| (age.ln(), y)).collect();
    let levels_off = points.len() >= 5 && distances(&by_logarithm) < 0.8 * distances(&points);
    (!has_fallen && !has_fallen_since && !levels_off).then(|| newest.to_vec())
}

/// The squared distances of points from their line of least squares.
fn distances(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (t, x) = (mean(|point| point.0), mean(|point| point.1));
    let slope = points.iter().map(|point| (point.0 - t) * (point.1 - x)).sum::<f64>()
        / points.iter().map(|point| (point.0 - t).powi(2)).sum::<f64>();
    points.iter().map(|point| (point.1 - x - slope * (point.0 - t)).powi(2)).sum()
}

/// Lines and curves that level off, with noise, a saw, and a fall at any place, in runs of any age.
#[test]
fn rise_follows_its_definition() {
    let mut random = random(5);
    let (mut found, mut rejected) = (0, 0);
    for case in 0..if cfg!(miri) { 6 } else { 4_000 } {
        let n = 12 + (70.0 * random()) as usize;
        let (slope, curve) = (2_000.0 * random(), [0.0, 0.0, 20_000.0][case % 3] * random());
        let (noise, older) = (600.0 * random(), 20.0 * random() * random());
        let (fall_at, fall) = ((n as f32 * random()) as usize, 40_000.0 * random() * random());
        let low: Vec<f32> = (0..n)
            .map(|minute| {
                let age = older + minute as f32 + 1.0;
                let fallen = if case % 2 == 0 && minute >= fall_at { fall } else { 0.0 };
                60_000.0 + slope * age + curve * age.ln() + noise * random() - fallen
            })
            .collect();
        for (parts, len) in SPANS {
            for end in [n, n.saturating_sub(4)] {
                if parts * len > end {
                    continue;
                }
                let age = |minute: usize| minute as f32 + older;
                let expected = naive_rise(&low, end, parts, len, age);
                let actual =
                    rise(&low, end, parts, len, age).map(|rise| rise.floors[..parts].to_vec());
                assert_eq!(actual, expected, "case {case}, {parts} parts of {len}, to {end}");
                found += usize::from(actual.is_some());
                rejected += usize::from(actual.is_none());
            }
        }
    }
    assert!(cfg!(miri) || (found > 500 && rejected > 500), "{found} found, {rejected} rejected");
}

/// So that they are the same in each snapshot.
#[test]
#[cfg(feature = "testing")]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn minutes_begin_at_multiples_of_their_length() {
    use crate::Config;
    use crate::findings::columns::ColumnBuffers;
    use crate::testing::{Simulation, Usage};

    let mut sim = Simulation::new(Config::default()).unwrap();
    sim.register("dice").unwrap().started(1, "");
    for _ in 0..800 {
        sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: 1 << 20 });
    }
    let snapshot = sim.snapshot();
    let mut buffers = ColumnBuffers::default();
    let columns = Columns::read(snapshot.plugin("dice").unwrap(), &mut buffers);
    assert!(columns.first > 0);
    let mut minutes = Minutes::default();
    minutes.fill(&columns, 5);
    assert!(minutes.at.len() > 50 && minutes.at[0] == 5);
    for &at in &minutes.at[1..] {
        assert!((columns.first + u64::from(at)).is_multiple_of(MINUTE as u64), "{at}");
    }
}
