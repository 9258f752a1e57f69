//! The CPU time of samples, from their shares.

use std::time::Duration;

use super::rows::PluginRows;
use crate::history::metric::FIRST_MISSING;
#[cfg(feature = "store")]
use crate::history::metric::Metric;
use crate::history::packed::run_key_of;
use crate::history::timeline::SamplePiece;
#[cfg(feature = "store")]
use crate::history::tree_row::TreeMetric;
use crate::history::units::CpuShare;
use crate::time::MonoNanos;

/// A sum of shares times nanoseconds: exact, so that it does not depend on the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ShareNanos(u128);

impl ShareNanos {
    pub(super) const fn add(&mut self, other: Self) {
        self.0 += other.0;
    }

    /// Rounded down to nanoseconds.
    pub(super) fn cpu_time(self) -> Duration {
        let nanos = self.0 / u128::from(CpuShare::PER_CORE);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Consecutive samples: all of one run, or without a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The first of its ticks.
    pub tick: u64,
    pub samples: usize,
    /// The key of the run; 0 for none.
    pub run: u32,
    /// When the sample before it was taken. If a run has ended since then, and none is active, the
    /// part is one sample.
    pub since: MonoNanos,
    /// When its last sample was taken.
    pub until: MonoNanos,
    pub cpu: ShareNanos,
    pub events: u64,
}

/// Calls `each` with all samples from tick `from` on, in parts, oldest first.
///
/// CPU time, events and time of a sample are those since the previous one, so the oldest sample has
/// none. The CPU time is the sample's share, of the process tree if there are trees, times the time
/// that it covers. That begins with the newest sample before it that has a share, or with the start of
/// the first run since, if none was read in between; and it ends with the sample, or with the last
/// reading of the newest run, if none is active. Runs that were not read again since that sample have no
/// part in the share; if the active run has none, the next share begins where this one ends.
///
/// # Cost
///
/// One pass. Where neither the run changes nor a share is missing, a multiplication a sample.
pub(super) fn walk_parts(rows: PluginRows<'_>, from: u64, mut each: impl FnMut(Part)) {
    let newest = rows.inner.timeline.newest;
    let mut walk = Walk { rows, tick: from, newest, previous: None, covered: MonoNanos(0) };
    let with_trees = rows.inner.info.process_trees;
    rows.inner.timeline.pieces(rows.record.slot, from, with_trees, |piece| {
        walk.piece(&piece, &mut each);
    });
}

/// Calls `each` with the time that the share of each sample from tick `first` on covers, oldest first;
/// `None` for a sample without a share. `oldest` is the tick of the plugin's oldest sample. If the history has
/// lost samples before it, the share of that one covers at most a poll interval: when the share before was taken
/// is not known.
#[cfg(feature = "store")]
pub(super) fn covered_times(
    rows: PluginRows<'_>,
    oldest: u64,
    first: u64,
    mut each: impl FnMut(Option<Duration>),
) {
    let newest = rows.inner.timeline.newest;
    let with_trees = rows.inner.info.process_trees;
    let has_share = |tick: u64| {
        let own = rows.packed(tick);
        let mut share = own.get(Metric::Cpu);
        if with_trees {
            let values = rows.inner.timeline.at_with_tree(tick, rows.record.slot, own);
            share = values.map_or(FIRST_MISSING, |(_, tree)| tree.get(TreeMetric::Cpu));
        }
        share < FIRST_MISSING
    };
    // The first share begins with the one before it.
    let mut from = first;
    if (first..=newest).any(has_share) {
        while from > oldest {
            from -= 1;
            if has_share(from) {
                break;
            }
        }
    }
    let mut walk = Walk { rows, tick: from, newest, previous: None, covered: MonoNanos(0) };
    let record = rows.record;
    let is_first_lost = oldest > record.first_tick || record.registered_tick() > record.first_tick;
    let mut is_cut = from > oldest;
    let mut previous = rows.inner.timeline.mono(from.saturating_sub(1)).unwrap_or_default();
    if from == oldest
        && is_first_lost
        && let Some(at) = rows.inner.timeline.mono(from)
    {
        previous = at.checked_sub(rows.inner.info.poll_interval).unwrap_or_default();
        walk.covered = previous;
    }
    rows.inner.timeline.pieces(rows.record.slot, from, with_trees, |piece| {
        for ((&at, &run), &share) in piece.at.iter().zip(piece.runs).zip(piece.cpu) {
            let has_share = share < FIRST_MISSING;
            let nanos = has_share.then(|| walk.cover(at, previous, run_key_of(run) != 0));
            if is_cut && !has_share {
                walk.covered = at;
            }
            (is_cut, previous) = (false, at);
            walk.tick += 1;
            if walk.tick > first {
                each(nanos.map(Duration::from_nanos));
            }
        }
    });
}

/// The state between two samples.
struct Walk<'a> {
    rows: PluginRows<'a>,
    /// Of the next sample.
    tick: u64,
    newest: u64,
    previous: Option<Previous>,
    /// The end of what earlier shares cover.
    covered: MonoNanos,
}

/// The sample before the next one.
#[derive(Clone, Copy)]
struct Previous {
    at: MonoNanos,
    run: u32,
    has_share: bool,
}

impl Walk<'_> {
    fn piece(&mut self, piece: &SamplePiece<'_>, each: &mut impl FnMut(Part)) {
        if let Some(part) = self.uniform(piece) {
            return each(part);
        }
        let mut start = 0;
        while start < piece.at.len() {
            let rest = piece.after(start);
            let part = match self.like_previous(&rest) {
                0 => None,
                count => self.uniform(&rest.first(count)),
            };
            let part = part.unwrap_or_else(|| self.one(&rest.first(1)));
            start += part.samples;
            each(part);
        }
    }

    /// The number of first samples of the run of the previous one that have a share as it has.
    fn like_previous(&self, piece: &SamplePiece<'_>) -> usize {
        let Some(previous) = self.previous else { return 0 };
        let is_like = |(&run, &share): (&u32, &u32)| {
            run_key_of(run) == previous.run && (share < FIRST_MISSING) == previous.has_share
        };
        piece.runs.iter().zip(piece.cpu).take_while(|sample| is_like(*sample)).count()
    }

    /// All samples of the piece as one part; `None` if they have to be looked at one by one.
    #[inline]
    fn uniform(&mut self, piece: &SamplePiece<'_>) -> Option<Part> {
        let previous = self.previous?;
        let (&first, &last_at) = (piece.runs.first()?, piece.at.last()?);
        let run = run_key_of(first);
        // Simple loops, which the compiler vectorizes.
        let differing = piece.runs.iter().fold(0, |bits, &run| bits | (run ^ first));
        if run != previous.run || run_key_of(differing) != 0 {
            return None;
        }
        let span = last_at.since(previous.at).as_nanos();
        let mut cpu = ShareNanos::default();
        if run == 0 {
            let has_share = piece.cpu.iter().any(|&share| share < FIRST_MISSING);
            if has_share || self.has_ended_run(previous.at, last_at) {
                return None;
            }
        } else {
            let largest = piece.cpu.iter().fold(0, |max, &share| share.max(max));
            // The share before it may have ended before its sample.
            let is_covered = previous.has_share && self.covered == previous.at;
            if !is_covered || largest >= FIRST_MISSING {
                return None;
            }
            let fits = u128::from(largest) * span <= u128::from(u64::MAX);
            cpu = ShareNanos(if fits {
                sum::<u64>(piece, previous.at, |share, nanos| u64::from(share) * nanos).into()
            } else {
                sum::<u128>(piece, previous.at, |share, nanos| {
                    u128::from(share) * u128::from(nanos)
                })
            });
            self.covered = last_at;
        }
        Some(self.finish(piece, run, cpu))
    }

    /// A piece of one sample.
    fn one(&mut self, piece: &SamplePiece<'_>) -> Part {
        let at = piece.at[0];
        let run = run_key_of(piece.runs[0]);
        let share = Some(piece.cpu[0]).filter(|&share| share < FIRST_MISSING);
        let mut cpu = ShareNanos::default();
        match (share, self.previous) {
            (Some(share), Some(previous)) => {
                let covered = self.cover(at, previous.at, run != 0);
                cpu = ShareNanos(u128::from(share) * u128::from(covered));
            }
            // Nothing before the oldest sample counts.
            (_, None) => self.covered = at,
            (None, Some(_)) => {}
        }
        self.finish(piece, run, cpu)
    }

    fn finish(&mut self, piece: &SamplePiece<'_>, run: u32, cpu: ShareNanos) -> Part {
        let samples = piece.at.len();
        let until = piece.at[samples - 1];
        let mut events = 0;
        if self.previous.is_some() {
            events = piece.events.iter().map(|&events| u64::from(events)).sum();
            if self.tick + samples as u64 > self.newest {
                events += self.rows.unrecorded_events();
            }
        }
        let since = self.previous.map_or(until, |previous| previous.at);
        let tick = self.tick;
        let has_share = piece.cpu[samples - 1] < FIRST_MISSING;
        self.previous = Some(Previous { at: until, run, has_share });
        self.tick += samples as u64;
        Part { tick, samples, run, since, until, cpu, events }
    }

    /// Whether a run ended after `since`, up to `until`.
    fn has_ended_run(&self, since: MonoNanos, until: MonoNanos) -> bool {
        let runs = &self.rows.record.runs;
        let first = runs.get(runs.ended_by(since));
        first.and_then(|record| record.ended()).is_some_and(|ended| ended <= until)
    }

    /// The length of what the share of a sample at `at` covers, in nanoseconds. `previous` is the time of the
    /// tick before.
    fn cover(&mut self, at: MonoNanos, previous: MonoNanos, has_run: bool) -> u64 {
        let (runs, covered) = (&self.rows.record.runs, self.covered);
        let since = (runs.read_until(covered)..).map_while(|index| runs.get(index));
        let since = since.take_while(|record| record.began < at);
        let mut read = since.filter(|record| record.has_share_at(at, previous, has_run));
        let first = read.next();
        // Without a run in between, it is the share of descendants that have survived theirs.
        let start = first.map_or(covered, |record| record.began.max(covered));
        let (mut end, mut next) = (at, at);
        if let Some(first) = first
            && let last = read.last().unwrap_or(first)
            && (last.is_over_at(at, has_run) || (!has_run && last.ended().is_some()))
        {
            end = last.last_read.min(at);
            if has_run {
                // The interval of the active run continues.
                next = end;
            }
        }
        self.covered = next;
        end.0.saturating_sub(start.0)
    }
}

/// The sum of a product of each share and the nanoseconds since the sample before it.
#[inline]
fn sum<T: std::ops::Add<Output = T> + Default>(
    piece: &SamplePiece<'_>,
    since: MonoNanos,
    product: impl Fn(u32, u64) -> T,
) -> T {
    // Ticks are in the order of this clock. A saturating difference would not be vectorized.
    let nanos = |from: MonoNanos, to: MonoNanos| to.0.wrapping_sub(from.0);
    let (Some(&first), Some(&at)) = (piece.cpu.first(), piece.at.first()) else {
        return T::default();
    };
    let steps = piece.at.windows(2).zip(&piece.cpu[1..]);
    steps.fold(product(first, nanos(since, at)), |sum, (at, &share)| {
        sum + product(share, nanos(at[0], at[1]))
    })
}
