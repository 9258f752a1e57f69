//! The runs of one plugin, as they are stored and published.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::command_name::CommandName;
use super::packed::run_key;
use crate::snapshot::run::{Run, RunEnd, RunId};
use crate::time::{MonoNanos, TimePoint};

/// A run, with what the engine and the queries need besides its public values.
#[derive(Clone, Debug)]
pub(crate) struct RunRecord {
    pub run: Run,
    /// Numbers the runs of this plugin; a sample refers to a run by its low bits.
    pub number: u64,
    /// Start of the process on the boot clock.
    pub process_start: Option<Duration>,
    /// The name of its process when it was attached; empty if it is unknown.
    pub name: CommandName,
    /// When its first reading was taken; its report was applied, as long as there is none.
    pub began: MonoNanos,
    /// When its last reading was taken, or when it ended, if the reading is later. Set once it has ended.
    pub last_read: MonoNanos,
    /// When it ended, once it has: see [`ended`](Self::ended).
    pub ended_mono: MonoNanos,
    /// The last tick whose sample refers to it; 0 for none. Set once it has ended.
    pub last_tick: u64,
    /// It was read again after the last share that was taken while it was active. Set once it has ended.
    pub is_read_since_share: bool,
    /// The first share since it began was taken without it: at that tick it was not read, or for the first
    /// time.
    pub missed_first_share: bool,
    /// Crash or no crash is decided: no later report or exit counts the run.
    pub classified: bool,
    /// The run counts as a crash after the grace period, unless it is classified by then.
    pub crash_pending: bool,
    /// The run was counted as a crash.
    pub counts_as_crash: bool,
    /// The run counts as one whose end is unknown.
    pub counts_as_unknown: bool,
    /// Subscribers were notified of the start.
    pub start_noticed: bool,
    /// Subscribers were notified of the end.
    pub end_noticed: bool,
}

impl RunRecord {
    /// Whether samples refer to it by this key.
    pub(crate) const fn has_key(&self, key: u32) -> bool {
        run_key(self.number) == key
    }

    /// When it ended, on the monotonic clock.
    pub(crate) const fn ended(&self) -> Option<MonoNanos> {
        if self.run.ended_at.is_some() { Some(self.ended_mono) } else { None }
    }

    /// Records that the run has ended.
    pub(crate) const fn finish(&mut self, at: &TimePoint, last_tick: u64) {
        self.run.ended_at = Some(at.wall);
        self.ended_mono = at.mono;
        self.last_tick = last_tick;
    }

    /// Whether it had ended at a tick. `has_run`: the tick has a sample of a run, which may end at that time.
    pub(crate) fn is_over_at(&self, at: MonoNanos, has_run: bool) -> bool {
        self.ended().is_some_and(|ended| ended < at || (ended == at && !has_run))
    }

    /// Whether a share of the tick at `at`, the first since its last one, may cover it: it was active then, and
    /// not left out, or was read at least twice since. `previous` is the time of the tick before.
    pub(crate) fn has_share_at(&self, at: MonoNanos, previous: MonoNanos, has_run: bool) -> bool {
        if self.is_over_at(at, has_run) {
            self.is_read_since_share
        } else {
            // Only the first tick since it began can have left it out.
            !self.missed_first_share || self.began < previous
        }
    }

    /// When it ended, on both clocks: one for the order, one for display.
    pub(crate) fn end_times(&self) -> Option<(MonoNanos, SystemTime)> {
        self.ended().zip(self.run.ended_at)
    }

    /// Records how it ended, as far as that is better than what is recorded already.
    pub(crate) const fn update_end(&mut self, end: RunEnd) {
        self.run.end = Some(match self.run.end {
            Some(recorded) => recorded.improved_by(end),
            None => end,
        });
    }
}

/// The runs of one plugin, oldest first, in chunks: a publication copies one pointer for each
/// sixty-four runs, and a change copies one chunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunLog {
    chunks: Vec<Arc<Vec<RunRecord>>>,
}

/// Runs in one chunk.
const CHUNK_LEN: usize = 64;

/// The number of newest runs that a query shows.
pub(crate) const MAX_SHOWN: usize = 256;

impl RunLog {
    pub(crate) fn push(&mut self, record: RunRecord) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_LEN => Arc::make_mut(chunk).push(record),
            // Most plugins have one run: no room for sixty-four is reserved ahead.
            Some(_) | None => self.chunks.push(Arc::new(vec![record])),
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &RunRecord> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    pub(crate) fn last(&self) -> Option<&RunRecord> {
        self.chunks.last()?.last()
    }

    /// The run at this position.
    pub(crate) fn get(&self, index: usize) -> Option<&RunRecord> {
        // All chunks but the last one are full.
        self.chunks.get(index / CHUNK_LEN)?.get(index % CHUNK_LEN)
    }

    /// The number of the first runs for which this holds. It must hold for none after one for which it
    /// does not.
    fn partition_point(&self, holds: impl Fn(&RunRecord) -> bool) -> usize {
        let full = self.chunks.partition_point(|chunk| chunk.last().is_some_and(&holds));
        match self.chunks.get(full) {
            Some(chunk) => full * CHUNK_LEN + chunk.partition_point(holds),
            None => self.len(),
        }
    }

    /// The number of runs that had ended by `at`. Runs end in order.
    pub(crate) fn ended_by(&self, at: MonoNanos) -> usize {
        self.partition_point(|record| record.ended().is_some_and(|ended| ended <= at))
    }

    /// The number of runs that have ended, and were not read after `at`.
    pub(crate) fn read_until(&self, at: MonoNanos) -> usize {
        self.partition_point(|record| record.ended().is_some() && record.last_read <= at)
    }

    /// The newest run that ended after `since`, up to `until`.
    pub(crate) fn last_ended(&self, since: MonoNanos, until: MonoNanos) -> Option<&RunRecord> {
        let newest = self.get(self.ended_by(until).checked_sub(1)?)?;
        newest.ended().is_some_and(|ended| ended > since).then_some(newest)
    }

    /// The runs that are active, or ended at `at` or later, oldest first.
    pub(crate) fn since(&self, at: MonoNanos) -> impl Iterator<Item = &RunRecord> {
        let first = self.partition_point(|record| record.ended().is_some_and(|ended| ended < at));
        (first..).map_while(|index| self.get(index))
    }

    /// The run with this key, which is the run's number under `mask`. Samples refer to runs by it.
    pub(crate) fn by_key(&self, key: u32, mask: u32) -> Option<&RunRecord> {
        let last = self.last()?;
        // The newest number with these bits: a window has far fewer than 2^29 runs.
        let behind = last.number.wrapping_sub(u64::from(key)) & u64::from(mask);
        if behind == 0 {
            return Some(last); // the usual case: a query of the current values
        }
        let number = last.number.checked_sub(behind)?;
        let chunk = self.chunks.partition_point(|chunk| chunk[0].number <= number);
        let chunk = &self.chunks[chunk.checked_sub(1)?];
        let at = chunk.binary_search_by_key(&number, |record| record.number).ok()?;
        Some(&chunk[at])
    }

    /// The run `id`, mutable, if it is still in the log.
    pub(crate) fn get_mut(&mut self, id: RunId) -> Option<&mut RunRecord> {
        // Newest first, because it is the usual target. Ids are assigned by the host's threads and
        // may arrive out of order, so a binary search is not possible.
        let (chunk, at) = self.chunks.iter().enumerate().rev().find_map(|(i, chunk)| {
            chunk.iter().rposition(|record| record.run.id == id).map(|at| (i, at))
        })?;
        Some(&mut Arc::make_mut(&mut self.chunks[chunk])[at])
    }

    /// No later share covers the runs that were read after `since`; all have ended.
    pub(crate) fn exclude_from_shares(&mut self, since: MonoNanos) {
        for chunk in self.chunks.iter_mut().rev() {
            let first = chunk.partition_point(|record| record.last_read <= since);
            if first < chunk.len() {
                let records = &mut Arc::make_mut(chunk)[first..];
                records.iter_mut().for_each(|record| record.is_read_since_share = false);
            }
            if first > 0 {
                return;
            }
        }
    }

    /// Removes all runs but the newest [`MAX_SHOWN`], those to which a sample since `oldest_tick`
    /// refers, and those with a pending crash.
    ///
    /// The newest stay regardless of age, because the host may still report how they ended. The
    /// cost is linear in the log, so nothing happens until a whole chunk can be removed.
    pub(crate) fn prune(&mut self, oldest_tick: u64) {
        let full = self.chunks.last().is_some_and(|chunk| chunk.len() == CHUNK_LEN);
        let hidden = self.len().saturating_sub(MAX_SHOWN);
        if !full || hidden < CHUNK_LEN {
            return;
        }
        let needed = |record: &RunRecord| {
            let in_history = record.last_tick != 0 && record.last_tick >= oldest_tick;
            in_history || record.crash_pending || record.ended().is_none()
        };
        let kept = self.iter().enumerate().filter(|(i, record)| *i >= hidden || needed(record));
        if self.len() - kept.clone().count() < CHUNK_LEN {
            return;
        }
        let mut log = Self::default();
        kept.for_each(|(_, record)| log.push(record.clone()));
        *self = log;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: TimePoint =
        TimePoint { mono: MonoNanos(1), wall: SystemTime::UNIX_EPOCH, boot: Duration::ZERO };

    fn record(number: u64) -> RunRecord {
        RunRecord {
            run: Run {
                id: RunId(number * 10),
                pid: 1,
                version: None,
                started_at: None,
                reported_at: SystemTime::UNIX_EPOCH,
                ended_at: None,
                end: None,
                cpu_time: None,
                peak_memory_bytes: None,
                oom_killed: None,
            },
            number,
            process_start: None,
            name: CommandName::default(),
            began: MonoNanos(0),
            last_read: MonoNanos(0),
            ended_mono: MonoNanos(0),
            last_tick: 0,
            is_read_since_share: false,
            missed_first_share: false,
            classified: false,
            crash_pending: false,
            counts_as_crash: false,
            counts_as_unknown: false,
            start_noticed: false,
            end_noticed: false,
        }
    }

    fn log(numbers: impl IntoIterator<Item = u64>) -> RunLog {
        let mut log = RunLog::default();
        for number in numbers {
            let mut record = record(number);
            record.finish(&END, number);
            log.push(record);
        }
        log
    }

    #[test]
    fn run_is_found_by_key_after_key_wraps() {
        let log = log((250..=700).filter(|number| number % 3 != 0));
        for number in (460..=700u64).filter(|number| number % 3 != 0) {
            let found = log.by_key((number & 0xff) as u32, 0xff).map(|record| record.number);
            // The newest of the numbers with these eight bits.
            let newest = (250..=700u64).rev().find(|n| n & 0xff == number & 0xff).unwrap();
            let is_logged = newest % 3 != 0;
            assert_eq!(found, is_logged.then_some(newest), "{number}");
        }
    }

    #[test]
    fn runs_are_found_by_time() {
        for len in if cfg!(miri) { &[0, 3, 65][..] } else { &[0, 1, 3, 63, 64, 65, 128, 200] } {
            let len = *len;
            // Run n begins at 10 n, and ends at 10 n + 5; the newest one is active.
            let mut log = RunLog::default();
            for number in 1..=len {
                let mut record = record(number);
                record.began = MonoNanos(10 * number);
                if number < len {
                    let ended = MonoNanos(10 * number + 5);
                    record.finish(&TimePoint { mono: ended, ..END }, 1);
                    record.last_read = MonoNanos(10 * number + 4);
                }
                log.push(record);
            }
            let number = |record: Option<&RunRecord>| record.map(|record| record.number);
            for at in (0..10 * (len + 2)).step_by(if cfg!(miri) && len > 3 { 7 } else { 1 }) {
                let mono = MonoNanos(at);
                let naive = |holds: &dyn Fn(&RunRecord) -> bool| {
                    log.iter().filter(|record| holds(record)).count()
                };
                let by = naive(&|record| record.ended().is_some_and(|ended| ended <= mono));
                assert_eq!(log.ended_by(mono), by);
                let read =
                    |record: &RunRecord| record.ended().is_some() && record.last_read <= mono;
                assert_eq!(log.read_until(mono), naive(&read));
                let since = naive(&|record| record.ended().is_none_or(|ended| ended >= mono));
                assert_eq!(log.since(mono).count(), since);
                let last = log.last_ended(MonoNanos(at.saturating_sub(10)), mono);
                let is_within = |record: &&RunRecord| {
                    record.ended().is_some_and(|ended| ended <= mono && ended.0 + 10 > at.max(10))
                };
                assert_eq!(number(last), number(log.iter().rfind(is_within)), "{len} runs, {at}");
            }
            let all: Vec<_> = (0..log.len()).map_while(|index| number(log.get(index))).collect();
            assert_eq!(all, log.iter().map(|record| record.number).collect::<Vec<_>>());
            assert!(log.get(log.len()).is_none());
        }
    }

    /// Also across the borders of chunks.
    #[test]
    fn runs_read_later_are_excluded_from_shares() {
        for since in [0, 1, 63, 64, 65, 129, 200] {
            let mut log = RunLog::default();
            for number in 1..=200 {
                let mut record = record(number);
                record.finish(&END, number);
                (record.last_read, record.is_read_since_share) = (MonoNanos(number), true);
                log.push(record);
            }
            log.exclude_from_shares(MonoNanos(since));
            assert!(log.iter().all(|run| run.is_read_since_share == (run.number <= since)));
        }
    }

    #[test]
    fn prune_keeps_runs_referred_to_by_samples() {
        let mut log = log(1..=1_024);
        log.prune(500);
        let kept: Vec<u64> = log.iter().map(|record| record.number).collect();
        assert_eq!(kept, (500..=1_024).collect::<Vec<_>>());
    }

    #[test]
    fn prune_keeps_newest_runs_and_pending_crashes() {
        let mut log = log(1..=1_024);
        log.get_mut(RunId(50)).unwrap().crash_pending = true;
        log.prune(10_000);
        let kept: Vec<u64> = log.iter().map(|record| record.number).collect();
        let newest = 1_024 - MAX_SHOWN as u64 + 1..=1_024;
        assert_eq!(kept, std::iter::once(5).chain(newest).collect::<Vec<_>>());
    }

    #[test]
    fn changed_run_leaves_published_log_unchanged() {
        let mut log = log(1..=3);
        let published = log.clone();
        log.get_mut(RunId(20)).unwrap().update_end(RunEnd::Exited(7));
        assert_eq!(published.iter().nth(1).unwrap().run.end, None);
        assert_eq!(log.iter().nth(1).unwrap().run.end, Some(RunEnd::Exited(7)));
    }
}
