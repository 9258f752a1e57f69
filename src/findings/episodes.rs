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
mod tests {
    use super::*;

    #[test]
    fn stride_selects_multiples_of_sample_numbers() {
        let numbers: Vec<f32> = (0..200u8).map(f32::from).collect();
        let whole: Vec<u32> = (0..200).collect();
        // Without some of the samples.
        let gaps: Vec<u32> = (0..400).filter(|sample| sample % 7 > 2 || sample / 50 == 3).collect();
        for (at, first) in [(&whole, 0), (&whole, 1_000_001), (&gaps, 4), (&gaps, 1 << 40)] {
            for stride in [1, 3, 9, 27] {
                for range in [0..200, 26..199, 80..80, 150..151] {
                    let is_taken = |&i: &usize| (first + u64::from(at[i])).is_multiple_of(stride);
                    let expected: Vec<f32> =
                        range.clone().filter(is_taken).map(|i| numbers[i]).collect();
                    let mut taken = Vec::new();
                    extend_by_stride(&numbers, at, first, stride, range, &mut taken);
                    assert_eq!(taken, expected, "from {first} by {stride}");
                }
            }
        }
    }

    /// A level with noise, bursts and a rise in the last part.
    fn series(seed: u64, n: usize) -> Series {
        let mut state = seed;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let mut series = Series::default();
        for sample in 0..n {
            let risen = if sample > n * 3 / 4 { 30_000.0 * random() } else { 0.0 };
            let burst = if random() > 0.97 { 45_000.0 } else { 0.0 };
            // One sample in twenty is unknown.
            if random() > 0.05 {
                series.push(sample, (10_000.0 + 4_000.0 * random() + risen + burst) as u32);
            }
        }
        series.ladder.fill(&series.values, 81, true);
        series
    }

    fn rungs() -> [Rung; MAX_RUNGS] {
        [
            Rung {
                single: 0.995,
                single_ratio: 3.0,
                ..Rung::cpu(Level::All3, Level::Med3, Level::Raw)
            },
            Rung { guard: 18, factor: 1.5, ..Rung::cpu(Level::Med3, Level::All9, Level::Mean9) },
            Rung { single: 0.9, ..Rung::cpu(Level::All9, Level::Med9, Level::Mean9) },
            Rung {
                over_factor: 1.1,
                least: 9_000.0,
                ..Rung::cpu(Level::Med9, Level::Med27, Level::Mean27)
            },
        ]
    }

    /// By sorting: the value at a share of the ranks.
    fn at_share(sorted: &[f32], share: f32) -> f32 {
        sorted[((sorted.len() - 1) as f32 * share + 0.5) as usize]
    }

    #[test]
    fn reference_is_that_of_sorted_values() {
        let cases = [(1, 0), (2, 17), (3, 1 << 33)];
        for (seed, first) in cases.into_iter().take(if cfg!(miri) { 1 } else { 3 }) {
            let series = series(seed, 300);
            for rung in rungs() {
                for end in [27, 40, 90, 200] {
                    let width = rung.level.width();
                    let sorted = |level: Level, stride: u64, begin: usize| {
                        let taken = (begin..end)
                            .filter(|&i| (first + u64::from(series.at[i])).is_multiple_of(stride));
                        let mut values: Vec<f32> = taken.map(|i| series.ladder[level][i]).collect();
                        values.sort_by(f32::total_cmp);
                        values
                    };
                    let stride = (width as u64 / 3).max(1);
                    let reference = Reference::of(
                        &series.ladder,
                        &series.at,
                        first,
                        &rung,
                        end,
                        5,
                        &mut Vec::new(),
                    );
                    assert_eq!(reference.minute, 5);
                    let values = sorted(rung.level, stride, width - 1);
                    if values.len() < 6 {
                        assert_eq!(reference.mean, f32::INFINITY);
                        continue;
                    }
                    let n = values.len();
                    let middle = values[(n - 1) / 2];
                    let spread = [
                        at_share(&values, 0.84) - middle,
                        0.6 * (at_share(&values, 0.95) - middle),
                        0.04 * middle,
                        0.03 * rung.least,
                    ];
                    let for_few = 1.0 + 8.0 / n as f32;
                    let spread = spread.into_iter().fold(0.0, f32::max) * for_few;
                    assert_eq!((reference.middle, reference.spread), (middle, spread), "{rung:?}");
                    let means = sorted(rung.mean, stride, width - 1);
                    let center = means[(n - 1) / 2];
                    let upper = &means[(n - 1) / 2 + 1..];
                    let high = upper[(upper.len() as f32 * 0.68) as usize];
                    let mean = match rung.mean {
                        Level::Raw => 0.0,
                        _ => center + 4.0 * (high - center) * for_few,
                    };
                    assert_eq!(reference.mean, mean, "{rung:?}");
                    let raw = sorted(Level::Raw, 1, 0);
                    let reached = raw[((raw.len() - 1) as f32 * rung.single) as usize];
                    let is_single = rung.single > 0.0 && reached >= rung.single_ratio * middle;
                    assert_eq!(reference.single, if is_single { reached } else { 0.0 }, "{rung:?}");
                }
            }
        }
    }

    #[test]
    fn records_exceed_all_values_before_the_guard() {
        let mut found = 0;
        for seed in 0..if cfg!(miri) { 1 } else { 12 } {
            let mut series = series(seed, 400);
            let rungs = rungs();
            let is_any = series.mark_records(&rungs);
            assert_eq!(is_any, series.marks.iter().any(|&marks| marks > 0));
            for (index, rung) in rungs.iter().enumerate() {
                let [level, over, mean] =
                    [rung.level, rung.over, rung.mean].map(|level| &series.ladder[level]);
                let mut records = Vec::new();
                for now in 0..series.values.len() {
                    let mut is_record = false;
                    if now >= rung.guard + rung.reference {
                        let before = rung.over.width() - 1..=now - rung.guard;
                        let most = |of: &[f32]| {
                            of[before.clone()].iter().copied().fold(f32::MIN, f32::max)
                        };
                        let highest =
                            (rung.factor * most(level)).max(rung.over_factor * most(over));
                        is_record = level[now] > highest
                            && level[now] >= rung.least
                            && (rung.mean == Level::Raw || mean[now] >= 1.2 * most(mean));
                        if is_record {
                            records.push(highest);
                        }
                    }
                    let is_marked = series.marks[now] & 1 << index > 0;
                    assert_eq!(is_marked, is_record, "seed {seed}, rung {index}, value {now}");
                }
                assert_eq!(series.records[index], records);
                found += records.len();
            }
        }
        assert!(found > if cfg!(miri) { 0 } else { 100 }, "{found}");
    }

    fn of_values(values: &[u32]) -> Series {
        let mut series = Series::default();
        values.iter().enumerate().for_each(|(sample, &value)| series.push(sample, value));
        series
    }

    fn levels(parts: &[(usize, u32)]) -> Series {
        let values: Vec<u32> =
            parts.iter().flat_map(|&(n, value)| std::iter::repeat_n(value, n)).collect();
        of_values(&values)
    }

    const ONE: [Rung; 1] = [Rung::cpu(Level::All3, Level::Med3, Level::Raw)];

    /// A middle of 10 % and a limit of 15 %.
    #[test]
    fn episode_has_its_entry_reference_and_margin() {
        let episodes = levels(&[(200, 10_000), (40, 30_000)]).episodes(&ONE, 0);
        let expected = Episode {
            from: 202,
            to: 240,
            entry: 202,
            before: 10_000.0,
            reference: 202 - 36,
            width: 3,
            is_brief: false,
            margin: 2.0,
        };
        assert_eq!(episodes, [expected]);
        for (value, count) in [(15_000, 0), (15_001, 1)] {
            let found = levels(&[(200, 10_000), (40, value)]).episodes(&ONE, 0);
            assert_eq!(found.len(), count, "{value}");
        }
    }

    /// 156 values at least, and a rise of the least of the rung.
    #[test]
    fn short_or_flat_series_have_no_episode() {
        for (before, after, count) in [(156, 3, 1), (153, 3, 0), (154, 3, 1)] {
            let found = levels(&[(before, 1_000), (after, 30_000)]).episodes(&ONE, 0);
            assert_eq!(found.len(), count, "{before} and {after}");
        }
        for (value, count) in [(5_499, 0), (5_501, 1)] {
            let found = levels(&[(200, 500), (40, value)]).episodes(&ONE, 0);
            assert_eq!(found.len(), count, "{value}");
        }
    }

    /// Below 40 % of the way from the middle to the limit, which are 12 %.
    #[test]
    fn episode_ends_below_share_of_its_limit() {
        for (value, to) in [(12_100, 300), (11_900, 211)] {
            let found = levels(&[(200, 10_000), (10, 30_000), (90, value)]).episodes(&ONE, 0);
            assert_eq!(found[0].to, to, "{value}");
        }
        // 20 % above a middle of 40 %, where 40 % of the way to the limit of 60 % are 48 %.
        for (value, to) in [(48_100, 300), (47_900, 211)] {
            let found = levels(&[(200, 40_000), (10, 90_000), (90, value)]).episodes(&ONE, 0);
            assert_eq!(found[0].to, to, "{value}");
        }
    }

    /// Needs the medians of 27 values, and so a rung of that width.
    #[test]
    fn long_episode_outlasts_a_dip_of_half_a_minute() {
        let rungs = [ONE[0], Rung::cpu(Level::All27, Level::Med27, Level::Raw)];
        for (high, to) in [(60, 276), (20, 221)] {
            let found = levels(&[(200, 10_000), (high, 30_000), (6, 10_000), (10, 30_000)])
                .episodes(&rungs, 0);
            assert_eq!(found[0].to, to, "{high} {found:?}");
        }
    }

    #[test]
    fn onset_is_where_values_become_those_after() {
        let mut series = levels(&[(200, 10_000), (40, 30_000)]);
        let episode = series.episodes(&ONE, 0)[0];
        assert_eq!(series.level_at_entry(&episode), 30_000.0);
        assert_eq!(series.onset(&episode, 30_000.0), 200);
        // Values that are nearer to those before are not part of it, nor is what lies farther back than
        // three lengths of the rung.
        let mut values = vec![10_000; 200];
        values.extend([19_000, 21_000, 30_000, 30_000, 30_000, 30_000, 30_000]);
        let mut series = of_values(&values);
        let episode = series.episodes(&ONE, 0)[0];
        assert_eq!(episode.entry, 202);
        assert_eq!(series.onset(&episode, 30_000.0), 201);
        let long = Episode { entry: 230, from: 230, to: 234, ..episode };
        let mut series = levels(&[(200, 10_000), (40, 30_000)]);
        assert_eq!(series.onset(&long, 30_000.0), 230 - 9);
        // About the entry: one value before it, and three from it on.
        let mut values = vec![10_000; 229];
        values.extend([40_000, 30_000, 20_000, 50_000, 90_000]);
        series = of_values(&values);
        assert_eq!(series.level_at_entry(&long), 30_000.0);
    }
}
