//! Memory that grows: its floors rise evenly, and still do.
//!
//! The floor is the least memory of each of five to eight equal spans. A line through the samples would
//! take a sawtooth or a cache that fills for growth; floors that all rise, in a run that never fell back,
//! and that a straight line describes better than one that levels off, rarely are anything else.

use std::time::Duration;

use super::columns::{Columns, MINUTE, is_known};
use super::finding::{Finding, FindingKind};
use super::stats::{LineFit, median, quantile};
use crate::LimitMetric;

/// Parts, and minutes of each.
const SPANS: [(usize, usize); 9] =
    [(5, 11), (8, 7), (8, 5), (6, 6), (7, 4), (6, 4), (6, 3), (5, 3), (5, 2)];
/// A fall by this share of the growth, at any time of the run before, shows that memory comes and goes.
const FALL: f32 = 0.3;
/// A fall by this share since then shows that it is over.
const FALL_SINCE: f32 = 0.25;
/// A run settles for so many minutes: what grows in them is filling, and only found if there is no time.
const SETTLING: f32 = 15.0;
const URGENT: Duration = Duration::from_secs(3_600);
/// Growth is found if it was plain in one of the newest minutes.
const MINUTES_BACK: usize = 15;
/// The first samples of a run, which are not part of its minutes.
pub(super) const WARM_UP: usize = 2 * MINUTE;
/// In KiB, over 28 minutes; of a shorter span more, because it says less.
const LEAST_KIB: f32 = 4_096.0;
const LEAST_SHARE: f32 = 0.04;
/// A levelling line is better if its squared distances are below this share of the straight line's.
const LEVELS_OFF: f64 = 0.8;

/// The minutes of a run, and buffers.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    /// The least memory of each in KiB.
    low: Vec<f32>,
    /// The first sample of each.
    at: Vec<u32>,
    slopes: Vec<f32>,
}

/// The first settled sample of the active run.
pub(super) fn run_start(columns: &Columns<'_>) -> Option<usize> {
    let run = *columns.run.last().filter(|&&run| run > 0)?;
    let begin = columns.run.iter().rposition(|&other| other != run).map_or(0, |last| last + 1);
    let age = if begin == 0 { columns.age } else { 0 };
    Some(begin + WARM_UP.saturating_sub(age)).filter(|&start| start < columns.len())
}

pub(super) fn judge(columns: &Columns<'_>, start: usize, minutes: &mut Minutes) -> Option<Finding> {
    minutes.fill(columns, start);
    let Minutes { low, at, slopes } = minutes;
    let (least, most) =
        low.iter().fold((f32::MAX, f32::MIN), |(a, b), &kib| (a.min(kib), b.max(kib)));
    if low.len() < 10 || most - least < LEAST_KIB {
        return None;
    }
    // The sample in which the run began, which may lie before the window.
    let begin = columns.run.iter().rposition(|run| Some(run) != columns.run.last());
    let began = begin.map_or(-(columns.age as f32), |last| (last + 1) as f32);
    let age = |minute: usize| (at[minute] as f32 - began) / MINUTE as f32;
    let unsettled = (0..low.len()).take_while(|&minute| age(minute) < SETTLING).count();
    // Sooner only what is urgent.
    let begins = [(unsettled, false), (0, true)];
    let begins = if unsettled == 0 { &begins[..1] } else { &begins };
    for &(unsettled, is_early) in begins {
        for back in 0..=MINUTES_BACK.min(low.len() - 1) {
            let end = low.len() - back;
            for (parts, len) in SPANS {
                if parts * len + unsettled > end {
                    continue;
                }
                let Some(rise) = rise(low, end, parts, len, age) else { continue };
                let (slope, low_slope, high_slope) = slope(&rise.floors[..parts], len, slopes);
                let bytes_per_hour = |slope: f32| {
                    f64::from(slope) * 1_024.0 * 3_600.0 / (columns.seconds * MINUTE as f64)
                };
                let (now, per_hour) = (bytes(low[low.len() - 1]), bytes_per_hour(slope));
                let limit_in = limit_in(columns, now, per_hour);
                if is_early && !is_full_soon(columns, now, per_hour, limit_in) {
                    continue;
                }
                let first = hinge(&low[..end]);
                let from = floor(low, first.min(end - len), len);
                let kind = FindingKind::MemoryGrowth {
                    from: bytes(from),
                    now,
                    per_hour,
                    low: bytes_per_hour(low_slope),
                    high: bytes_per_hour(high_slope),
                    limit_in,
                };
                let since = columns.onset(at[first] as usize);
                return Some(Finding::new(columns.view(), since, kind));
            }
        }
    }
    None
}

/// The time until the least limit of memory that is above the present memory.
fn limit_in(columns: &Columns<'_>, now: u64, per_hour: f64) -> Option<Duration> {
    let limits = columns.view().limits().map(|status| status.limit);
    let of_memory = limits.filter(|limit| limit.metric == LimitMetric::MemoryMb);
    let room = of_memory.map(|limit| limit.above * 1_048_576.0 - now as f64);
    let least = room.filter(|&room| room > 0.0).reduce(f64::min)?;
    Duration::try_from_secs_f64(least / per_hour.max(1.0) * 3_600.0).ok()
}

/// Whether a limit or the machine is full in less than an hour.
fn is_full_soon(
    columns: &Columns<'_>,
    now: u64,
    per_hour: f64,
    limit_in: Option<Duration>,
) -> bool {
    let machine = columns.view().snapshot().machine_memory_bytes();
    limit_in.is_some_and(|time| time < URGENT)
        || machine.is_some_and(|bytes| (bytes.saturating_sub(now) as f64) < per_hour)
}

fn bytes(kib: f32) -> u64 {
    kib as u64 * 1_024
}

impl Minutes {
    /// The least value of each minute from a sample on, if half of the minute is known.
    fn fill(&mut self, columns: &Columns<'_>, start: usize) {
        self.low.clear();
        self.at.clear();
        let mut from = start;
        while from < columns.len() {
            let into = ((columns.first + from as u64) % MINUTE as u64) as usize;
            let to = (from + MINUTE - into).min(columns.len());
            let known = columns.kib[from..to].iter().filter(|&&kib| is_known(kib));
            if known.clone().count() >= MINUTE / 2 {
                self.low.push(known.min().copied().unwrap_or(0) as f32);
                self.at.push(from as u32);
            }
            from = to;
        }
    }
}

fn floor(low: &[f32], from: usize, len: usize) -> f32 {
    low[from..from + len].iter().copied().fold(f32::MAX, f32::min)
}

const MAX_PARTS: usize = 8;

struct Rise {
    /// Of the parts.
    floors: [f32; MAX_PARTS],
}

/// The floors of `parts` parts that end before the minute `end`, if they show growth.
fn rise(
    low: &[f32],
    end: usize,
    parts: usize,
    len: usize,
    age: impl Fn(usize) -> f32,
) -> Option<Rise> {
    // Mostly the newest part is no higher than an earlier one, and then there is nothing to see.
    let newest = floor(low, end - len, len);
    if (2..=parts).any(|part| floor(low, end - part * len, len) >= newest) {
        return None;
    }
    let start = end - parts * len;
    let mut floors = [0.0; MAX_PARTS];
    for (part, value) in floors[..parts].iter_mut().enumerate() {
        *value = floor(low, start + part * len, len);
    }
    let (total, last) = rises_evenly(&floors[..parts], parts * len)?;
    if low[end..].iter().any(|&kib| kib < last - FALL_SINCE * total) {
        return None;
    }
    // Back to the beginning of the run, in parts of the same length.
    let (mut highest, mut fall) = (f32::MIN, 0f32);
    let (mut line, mut levelling) = (LineFit::default(), LineFit::default());
    let mut settled = 0;
    for part in (1..=end / len).rev() {
        let from = end - part * len;
        let (value, at) = (floor(low, from, len), age(from) + len as f32 / 2.0);
        highest = highest.max(value);
        fall = fall.max(highest - value);
        if at >= 3.0 || settled > 0 {
            settled += 1;
            line.add(f64::from(at), f64::from(value));
            levelling.add(f64::from(at.max(1.0)).ln(), f64::from(value));
        }
    }
    let levels_off = settled >= 5 && levelling.residuals() < LEVELS_OFF * line.residuals();
    (fall <= FALL * total && !levels_off).then_some(Rise { floors })
}

/// Whether each floor is higher than the one before, none makes up all of it, and the last two still
/// rise. Returns the growth of the span and the newest floor.
fn rises_evenly(floors: &[f32], minutes: usize) -> Option<(f32, f32)> {
    let parts = floors.len();
    let (first, last) = (floors[0], floors[parts - 1]);
    let fair = (last - first) / (parts - 1) as f32;
    let total = fair * parts as f32;
    let least = (LEAST_SHARE * first).max(LEAST_KIB) * (28.0 / minutes as f32).max(1.0);
    if total < least {
        return None;
    }
    // Of few parts, each is to be closer to its share.
    let shares = if parts <= 6 { 0.35..=1.8 } else { 0.3..=2.0 };
    let is_even = floors.windows(2).all(|pair| {
        let step = pair[1] - pair[0];
        step > shares.start() * fair && step <= shares.end() * fair
    });
    let still_rises = last - floors[parts - 3] >= 2.0 * 0.6 * fair;
    (is_even && still_rises).then_some((total, last))
}

/// KiB per minute: the median, the least and the highest slope between floors that are at least a third
/// of the span apart.
fn slope(floors: &[f32], len: usize, slopes: &mut Vec<f32>) -> (f32, f32, f32) {
    let parts = floors.len();
    slopes.clear();
    for from in 0..parts {
        for to in from + parts / 3..parts {
            slopes.push((floors[to] - floors[from]) / ((to - from) * len) as f32);
        }
    }
    slopes.sort_unstable_by(f32::total_cmp);
    (quantile(slopes, 0.5), slopes[0], slopes[slopes.len() - 1])
}

/// The minute at which a level becomes a slope: with the least squared distances from a level before it
/// and a line from it on.
fn hinge(low: &[f32]) -> usize {
    const LINE: usize = 8;
    let n = low.len();
    // Small numbers keep the sums exact.
    let base = f64::from(low[n - 1]);
    let (mut level, mut squares) = (0.0, 0.0);
    for &kib in low {
        let kib = f64::from(kib) - base;
        level += kib;
        squares += kib * kib;
    }
    let (mut best, mut at, mut line) = (f64::MAX, 0, LineFit::default());
    for minute in (0..n).rev() {
        let kib = f64::from(low[minute]) - base;
        line.add((n - 1 - minute) as f64, kib);
        level -= kib;
        squares -= kib * kib;
        if n - minute < LINE {
            continue;
        }
        let before = if minute == 0 { 0.0 } else { squares - level * level / minute as f64 };
        let sum = line.residuals() + before;
        if sum < best {
            (best, at) = (sum, minute);
        }
    }
    at
}

/// The median of the first values of a slice.
pub(super) fn median_kib(values: &[f32], buffer: &mut Vec<f32>) -> u64 {
    bytes(median(values, buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (before, slope, after) in [
            (10, 40.0, 12),
            (10, 25.0, 8),
            (4, 60.0, 20),
            (0, 30.0, 15),
            (10, 0.0, 9),
            (9, -30.0, 11),
        ] {
            let mut low = level[..before].to_vec();
            low.extend((0..after).map(|i| 480.0 + slope * i as f32 + noise(i)));
            let distances: Vec<f64> =
                (0..=low.len() - 8).map(|at| of_level(&low[..at]) + of_line(&low[at..])).collect();
            let least = distances.iter().copied().fold(f64::MAX, f64::min);
            let found = distances[hinge(&low)];
            assert!(found - least < 1e-3, "{before} {slope}: {found}, {distances:?}");
        }
        // The last minute from which a line can begin.
        let late: Vec<f32> = (0..30).map(|i| 100.0 + 90.0 * (i as f32 - 22.0).max(0.0)).collect();
        assert_eq!(hinge(&late), 22);
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
}
