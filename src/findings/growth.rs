//! Memory that grows: its floors rise evenly, and still do.
//!
//! The floor is the least memory of each of five to eight equal spans. A line through the samples would
//! take a sawtooth or a cache that fills for growth; floors that all rise, in a run that never fell back,
//! and that a straight line describes better than one that levels off, rarely are anything else.

use std::time::Duration;

use super::columns::{Columns, MINUTE, is_known};
use super::finding::{Finding, FindingKind, Onset};
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
                let (first, has_level) = onset_minute(&low[..end], at);
                let from = floor(low, first.min(end - len), len);
                let kind = FindingKind::MemoryGrowth {
                    from: bytes(from),
                    now,
                    per_hour,
                    low: bytes_per_hour(low_slope),
                    high: bytes_per_hour(high_slope),
                    limit_in,
                };
                let since = if has_level {
                    Onset::At(columns.time(at[first] as usize))
                } else if start == 0 && first > 0 {
                    // The level before it has left the window: the same time as before.
                    Onset::Before(columns.time(at[first] as usize))
                } else {
                    columns.onset(start)
                };
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
        if at >= 3.0 {
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

/// The minute from which on memory grew, and whether it began there: not if there is no level of three minutes
/// before it. It is 0 if one line from there describes all minutes nearly as well as a level and a line, which
/// always fit a little better, the more so the fewer minutes there are.
///
/// `samples` are the first ones of the minutes: the oldest minute may be a part of one.
fn onset_minute(low: &[f32], samples: &[u32]) -> (usize, bool) {
    const LEVEL: usize = 3;
    let nearly = 1.0 + 6.0 / low.len() as f64;
    let (at, base) = (hinge(low), f64::from(low[low.len() - 1]));
    if at < LEVEL {
        return (at, false);
    }
    let residuals = |from: usize| {
        let mut line = LineFit::default();
        for (&sample, &kib) in samples.iter().zip(low).skip(from) {
            line.add(f64::from(sample), f64::from(kib) - base);
        }
        line.residuals()
    };
    let level = low[..at].iter().map(|&kib| f64::from(kib) - base);
    let mean = level.clone().sum::<f64>() / at as f64;
    let of_level = level.map(|kib| (kib - mean).powi(2)).sum::<f64>();
    let is_one_line = residuals(0) <= nearly * (residuals(at) + of_level) + 1.0;
    if is_one_line { (0, false) } else { (at, true) }
}

/// The median of the first values of a slice.
pub(super) fn median_kib(values: &[f32], buffer: &mut Vec<f32>) -> u64 {
    bytes(median(values, buffer))
}

#[cfg(test)]
mod tests;
