//! The episodes in which a series was higher than everything before lets one expect.
//!
//! A level is a *record*, not an outlier of a model: each third of the last 45 s, 2¼ or 7 minutes was
//! higher than anything of that length in the time before, by a margin. The window is replayed: every
//! state at a sample is a function of the samples up to it, so a later snapshot replays to the same
//! episodes, and what has begun goes on until the level has fallen.

use std::ops::Range;

use super::columns::{Columns, MINUTE, is_known};
use super::ladder::{Ladder, Level};
use super::stats::{max, median, min};

/// One length of time, and what it takes for a level of that length to be a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rung {
    /// The level that is compared.
    pub level: Level,
    /// The factor by which it exceeds its own highest value so far.
    pub factor: f32,
    /// Another level whose highest value it exceeds, and the factor.
    pub over: Level,
    pub over_factor: f32,
    /// The mean that is to exceed its own, likewise; `Raw` for none.
    pub mean: Level,
    /// The newest samples that are not part of the reference.
    pub guard: usize,
    /// Samples of reference at least.
    pub reference: usize,
    /// Spreads above the middle of the reference.
    pub spreads: f32,
    /// Times that middle.
    pub ratio: f32,
    /// More than that middle.
    pub least: f32,
    /// The share of single samples that it exceeds: what is reached now and then is no record. 0 for
    /// none.
    pub single: f32,
    /// Only if those samples are more than so many times the middle, as they are in a series of bursts.
    pub single_ratio: f32,
    /// Whether it is only found once it is over.
    pub is_brief: bool,
}

impl Rung {
    /// A rung of CPU, in thousandths of a percent.
    pub(super) const fn cpu(level: Level, over: Level, mean: Level) -> Self {
        Self {
            level,
            factor: 1.2,
            over,
            over_factor: 1.0,
            mean,
            guard: 36,
            reference: 120,
            spreads: 5.0,
            ratio: 1.5,
            least: 5_000.0,
            single: 0.0,
            single_ratio: 0.0,
            is_brief: false,
        }
    }
}

/// The factor and the spreads by which means exceed their reference.
const MEAN_FACTOR: f32 = 1.2;
const MEAN_SPREADS: f32 = 4.0;
/// An episode ends below this share of the way from the middle of the reference to the limit.
const END_SHARE: f32 = 0.4;
/// Values that are compared at once; at most a guard.
const BLOCK: usize = 16;
/// Rungs at most.
const MAX_RUNGS: usize = 4;

/// From `from` on, up to and without `to`: in values, not in samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Episode {
    pub from: usize,
    /// The number of values if it lasts.
    pub to: usize,
    /// Where it was found.
    pub entry: usize,
    /// The middle of the reference.
    pub before: f32,
    /// Values of the reference.
    pub reference: usize,
    /// Of the rung by which it was found.
    pub width: usize,
    pub is_brief: bool,
    /// The level by which it was found, in limits.
    pub margin: f32,
}

/// The known values of a column, and buffers.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub values: Vec<f32>,
    /// The samples of the values.
    pub at: Vec<u32>,
    pub buffer: Vec<f32>,
    ladder: Ladder,
    marks: Vec<u8>,
    records: [Vec<f32>; MAX_RUNGS],
}

/// A reference.
#[derive(Clone, Copy, Debug)]
struct Reference {
    middle: f32,
    spread: f32,
    /// What single samples reach.
    single: f32,
    /// What means are to exceed.
    mean: f32,
    /// The minute of which it is.
    minute: u64,
}

impl Series {
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.at.clear();
    }

    pub(super) fn push(&mut self, sample: usize, value: u32) {
        self.values.push(value as f32);
        self.at.push(sample as u32);
    }

    /// The known values of a column, without the first `warm_up` samples of each run.
    pub(super) fn fill(&mut self, columns: &Columns<'_>, column: &[u32], warm_up: usize) {
        self.clear();
        let mut last = columns.run.first().copied().unwrap_or(0);
        let mut age = columns.age;
        for (sample, (&value, &run)) in column.iter().zip(columns.run).enumerate() {
            if run != last {
                (last, age) = (run, 0);
            }
            age += 1;
            if is_known(value) && age > warm_up {
                self.push(sample, value);
            }
        }
    }

    /// The sample of a value.
    pub(super) fn sample(&self, value: usize) -> usize {
        self.at[value] as usize
    }

    /// The episodes, oldest first; `first` is the number of the oldest sample.
    pub(super) fn episodes(&mut self, rungs: &[Rung], first: u64) -> Vec<Episode> {
        let mut episodes = Vec::new();
        // Mostly nothing has moved, and then there is nothing to replay.
        let (low, high) = (min(&self.values), max(&self.values));
        let least = rungs.iter().map(|rung| rung.least).fold(f32::MAX, f32::min);
        if self.values.is_empty() || high - low < least {
            return episodes;
        }
        let widest = rungs.iter().map(|rung| rung.level.width()).max().unwrap_or(0);
        let has_means = rungs.iter().any(|rung| rung.mean != Level::Raw);
        self.ladder.fill(&self.values, widest, has_means);
        if self.mark_records(rungs) {
            self.replay(rungs, first, &mut episodes);
        }
        episodes
    }

    /// Marks the values at which a rung has a record, by the conditions that are cheap. Returns whether
    /// there is one: they are rare.
    fn mark_records(&mut self, rungs: &[Rung]) -> bool {
        let Self { ladder, marks, records, values, .. } = self;
        let n = values.len();
        marks.clear();
        marks.resize(n, 0);
        let mut is_any = false;
        for (index, (rung, records)) in rungs.iter().zip(records).enumerate() {
            records.clear();
            let begin = rung.guard + rung.reference;
            if begin >= n {
                continue;
            }
            let (level, over, mean) = (&ladder[rung.level], &ladder[rung.over], &ladder[rung.mean]);
            let mean_factor = if rung.mean == Level::Raw { 0.0 } else { MEAN_FACTOR };
            let mut highest = f32::MIN;
            let mut highest_mean = f32::MIN;
            let mut include = |range: Range<usize>| {
                highest = highest
                    .max(rung.factor * max(&level[range.clone()]))
                    .max(rung.over_factor * max(&over[range.clone()]));
                highest_mean = highest_mean.max(max(&mean[range]));
                (highest, highest_mean)
            };
            let (mut highest, _) = include(rung.over.width() - 1..begin - rung.guard);
            for from in (begin..n).step_by(BLOCK) {
                let to = (from + BLOCK).min(n);
                let most = max(&level[from..to]);
                // What must be exceeded never falls, so most blocks need no closer look.
                if most <= highest || most < rung.least {
                    (highest, _) = include(from - rung.guard..to - rung.guard);
                    continue;
                }
                for now in from..to {
                    let highest_mean;
                    (highest, highest_mean) = include(now - rung.guard..now + 1 - rung.guard);
                    let is_record = level[now] > highest && level[now] >= rung.least;
                    if is_record && mean[now] >= mean_factor * highest_mean {
                        marks[now] |= 1 << index;
                        records.push(highest);
                        is_any = true;
                    }
                }
            }
        }
        is_any
    }

    fn replay(&mut self, rungs: &[Rung], first: u64, episodes: &mut Vec<Episode>) {
        let Self { ladder, marks, records, values, at, buffer } = self;
        let n = values.len();
        let mut references: [Option<Reference>; MAX_RUNGS] = [None; MAX_RUNGS];
        let mut next_record = [0usize; MAX_RUNGS];
        // With the level that decides whether it goes on, and the value below which it ends.
        let mut open: Option<(Episode, Level, f32)> = None;
        for now in 0..n {
            if marks[now] == 0 && open.is_none() {
                continue;
            }
            if let Some((episode, level, end)) = &mut open {
                // An episode of more than two minutes does not end by half a minute's dip.
                let is_long = now >= episode.entry + 27;
                let slow = if is_long { ladder[Level::Med27].get(now).copied() } else { None };
                if ladder[*level][now] < *end && slow.is_none_or(|slow| slow < *end) {
                    episodes.push(Episode { to: now, ..*episode });
                    open = None;
                }
            }
            for (index, rung) in rungs.iter().enumerate() {
                if marks[now] & 1 << index == 0 {
                    continue;
                }
                let record = records[index][next_record[index]];
                next_record[index] += 1;
                if open.is_some_and(|(episode, ..)| !episode.is_brief || rung.is_brief) {
                    continue;
                }
                let end = now - rung.guard;
                // Once a minute is enough; in the same minutes in every snapshot.
                let minute = (first + u64::from(at[now])) / MINUTE as u64;
                let reference = match references[index] {
                    Some(reference) if reference.minute == minute => reference,
                    _ => Reference::of(ladder, at, first, rung, end, minute, buffer),
                };
                references[index] = Some(reference);
                let Reference { middle, spread, single, mean, .. } = reference;
                let limit = (middle + rung.spreads * spread)
                    .max(rung.ratio * middle)
                    .max(middle + rung.least)
                    .max(record)
                    .max(single);
                let level = ladder[rung.level][now];
                if level > limit && ladder[rung.mean][now] > mean {
                    // A brief episode may become a long one.
                    let from = open.map_or(now, |(episode, ..)| episode.from);
                    let lasting = match rung.level {
                        Level::All3 => Level::Med3,
                        Level::All9 => Level::Med9,
                        _ => Level::Med27,
                    };
                    let episode = Episode {
                        from,
                        to: n,
                        entry: now,
                        before: middle,
                        reference: end,
                        width: rung.level.width(),
                        is_brief: rung.is_brief,
                        margin: level / limit,
                    };
                    let below = (middle + END_SHARE * (limit - middle)).max(1.2 * middle);
                    open = Some((episode, lasting, below));
                }
            }
        }
        episodes.extend(open.map(|(episode, ..)| episode));
    }

    /// The level of an episode about where it was found.
    pub(super) fn level_at_entry(&mut self, episode: &Episode) -> f32 {
        let half = episode.width / 2;
        let from = episode.entry.saturating_sub(half);
        let to = (episode.entry + episode.width).min(episode.to);
        median(&self.values[from..to], &mut self.buffer)
    }

    /// The value at which the level changed from `before` to `after`: the split with the least absolute
    /// distances from both, up to three lengths of the rung before the entry.
    pub(super) fn onset(&self, episode: &Episode, after: f32) -> usize {
        let from = episode.entry.saturating_sub(3 * episode.width);
        let (mut best, mut onset, mut sum) = (f32::MIN, episode.entry, 0.0);
        for at in (from..=episode.entry).rev() {
            let value = self.values[at];
            sum += (value - episode.before).abs() - (value - after).abs();
            if sum > best {
                (best, onset) = (sum, at);
            }
        }
        onset.min(episode.from)
    }
}

/// Appends the numbers in a range whose samples have numbers that are multiples of the stride; `first`
/// is the number of the first sample, and `at` are the samples of the numbers.
fn extend_by_stride(
    numbers: &[f32],
    at: &[u32],
    first: u64,
    stride: u64,
    range: Range<usize>,
    out: &mut Vec<f32>,
) {
    if range.is_empty() {
        return;
    }
    if stride == 1 {
        out.extend_from_slice(&numbers[range]);
        return;
    }
    let mut index = range.start;
    while index < range.end {
        let past = (first + u64::from(at[index])) % stride;
        let ahead = if past == 0 { 0 } else { stride - past };
        // Mostly every sample has a number, so that the next one is as many numbers ahead.
        let next = index + ahead as usize;
        if next < range.end && u64::from(at[next] - at[index]) == ahead {
            out.push(numbers[next]);
            index = next;
        }
        index += 1;
    }
}

impl Reference {
    /// Of the values before `end`.
    fn of(
        ladder: &Ladder,
        at: &[u32],
        first: u64,
        rung: &Rung,
        end: usize,
        minute: u64,
        buffer: &mut Vec<f32>,
    ) -> Self {
        let stride = (rung.level.width() / 3).max(1) as u64;
        let begin = rung.level.width() - 1;
        let take = |level: Level, stride: u64, begin: usize, buffer: &mut Vec<f32>| {
            buffer.clear();
            extend_by_stride(&ladder[level], at, first, stride, begin..end, buffer);
        };
        take(rung.level, stride, begin, buffer);
        let n = buffer.len();
        if n < 6 {
            let nothing_exceeds = f32::INFINITY;
            return Self { middle: 0.0, spread: 0.0, single: 0.0, mean: nothing_exceeds, minute };
        }
        let for_few = 1.0 + 8.0 / n as f32;
        let (lower, &mut middle, upper) =
            buffer.select_nth_unstable_by((n - 1) / 2, f32::total_cmp);
        let below = lower.len() + 1;
        let mut upper_quantile = |share: f32| {
            let rank = ((n - 1) as f32 * share + 0.5) as usize;
            match rank.checked_sub(below) {
                Some(rank) => *upper.select_nth_unstable_by(rank, f32::total_cmp).1,
                None => middle,
            }
        };
        let spread = (upper_quantile(0.84) - middle)
            .max(0.6 * (upper_quantile(0.95) - middle))
            .max(0.04 * middle)
            .max(0.03 * rung.least);
        let mut mean = 0.0;
        if rung.mean != Level::Raw {
            take(rung.mean, stride, begin, buffer);
            let (_, &mut center, upper) =
                buffer.select_nth_unstable_by((n - 1) / 2, f32::total_cmp);
            if !upper.is_empty() {
                let rank = (upper.len() as f32 * 0.68) as usize;
                let high = *upper.select_nth_unstable_by(rank, f32::total_cmp).1;
                mean = center + MEAN_SPREADS * (high - center) * for_few;
            }
        }
        let mut single = 0.0;
        if rung.single > 0.0 {
            take(Level::Raw, 1, 0, buffer);
            if !buffer.is_empty() {
                let rank = ((buffer.len() - 1) as f32 * rung.single) as usize;
                let reached = *buffer.select_nth_unstable_by(rank, f32::total_cmp).1;
                if reached >= rung.single_ratio * middle {
                    single = reached;
                }
            }
        }
        Self { middle, spread: spread * for_few, single, mean, minute }
    }
}

#[cfg(test)]
mod tests;
