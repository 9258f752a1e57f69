//! The runs of one plugin, as they are kept and published.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::run::{Run, RunEnd, RunId};

/// A run, and what only the sampler and the queries need to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub run: Run,
    /// Counts the runs of this plugin; a row refers to a run by the low bits of it.
    pub seq: u64,
    /// Start of the process on the boot clock.
    pub began: Option<Duration>,
    /// When it ended, on the monotonic clock.
    pub ended: Option<Instant>,
    /// The last tick whose row refers to it; 0 for none. Known once it has ended.
    pub last_row: u64,
    /// Nothing that is said or seen from now on counts it as a crash.
    pub settled: bool,
    /// It is to be counted as a crash when the host has had its time to say that it was none.
    pub awaited: bool,
}

impl Entry {
    /// The run is over.
    pub(crate) const fn close(&mut self, wall: SystemTime, mono: Instant, last_row: u64) {
        self.run.ended_at = Some(wall);
        self.ended = Some(mono);
        self.last_row = last_row;
    }

    /// When it ended, on both clocks: one orders, the other is shown.
    pub(crate) fn end(&self) -> Option<(Instant, SystemTime)> {
        self.ended.zip(self.run.ended_at)
    }

    /// Takes in what is learnt of how it ended.
    pub(crate) const fn learn(&mut self, news: RunEnd) {
        self.run.end = Some(match self.run.end {
            Some(known) => known.improved_by(news),
            None => news,
        });
    }
}

/// The runs of one plugin, oldest first, in chunks: what a publication copies is one pointer for
/// each sixty-four of them, and a change copies one chunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunLog {
    chunks: Vec<Arc<Vec<Entry>>>,
}

/// Runs in one chunk.
const CHUNK: usize = 64;

/// As many of the newest runs as a query shows.
pub(crate) const SHOWN: usize = 256;

impl RunLog {
    pub(crate) fn push(&mut self, entry: Entry) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => Arc::make_mut(chunk).push(entry),
            // Most plugins have one run: room for sixty-four is not reserved ahead.
            Some(_) | None => self.chunks.push(Arc::new(vec![entry])),
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    pub(crate) fn last(&self) -> Option<&Entry> {
        self.chunks.last()?.last()
    }

    /// The run whose number has these low bits. Rows refer to runs in this way.
    pub(crate) fn by_low_bits(&self, low: u32, mask: u32) -> Option<&Entry> {
        let newest = self.last()?.seq;
        // The youngest number with these bits: within a window there are far fewer than 2^29 runs.
        let seq = newest.checked_sub((newest.wrapping_sub(u64::from(low))) & u64::from(mask))?;
        let chunk = self.chunks.partition_point(|chunk| chunk[0].seq <= seq).checked_sub(1)?;
        let chunk = &self.chunks[chunk];
        let at = chunk.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
        Some(&chunk[at])
    }

    /// The run `id`, to be changed, if it is still known.
    pub(crate) fn get_mut(&mut self, id: RunId) -> Option<&mut Entry> {
        // From the newest on: that is the one that is asked for. Ids are given out by the host's
        // threads and may arrive out of order, so there is nothing to bisect.
        let (chunk, at) = self.chunks.iter().enumerate().rev().find_map(|(i, chunk)| {
            chunk.iter().rposition(|entry| entry.run.id == id).map(|at| (i, at))
        })?;
        Some(&mut Arc::make_mut(&mut self.chunks[chunk])[at])
    }

    /// Forgets all but the newest [`SHOWN`], and what is still needed of the others: those that a row
    /// since `oldest_tick` refers to, and those whose crash is still to be counted.
    ///
    /// The newest stay whatever their age: the host may still say how they ended. Costs the length of
    /// the log, so it does nothing until there is a good deal to forget.
    pub(crate) fn prune(&mut self, oldest_tick: u64) {
        let full = self.chunks.last().is_some_and(|chunk| chunk.len() == CHUNK);
        let hidden = self.len().saturating_sub(SHOWN);
        if !full || hidden < CHUNK {
            return;
        }
        let needed = |entry: &Entry| {
            let in_a_row = entry.last_row != 0 && entry.last_row >= oldest_tick;
            in_a_row || entry.awaited || entry.ended.is_none()
        };
        let kept = self.iter().enumerate().filter(|(i, entry)| *i >= hidden || needed(entry));
        if self.len() - kept.clone().count() < CHUNK {
            return;
        }
        let mut log = Self::default();
        kept.for_each(|(_, entry)| log.push(entry.clone()));
        *self = log;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64) -> Entry {
        Entry {
            run: Run {
                id: RunId(seq * 10),
                pid: 1,
                version: None,
                started_at: None,
                reported_at: SystemTime::UNIX_EPOCH,
                ended_at: None,
                end: None,
                cpu_time: None,
            },
            seq,
            began: None,
            ended: None,
            last_row: 0,
            settled: false,
            awaited: false,
        }
    }

    fn log(seqs: impl IntoIterator<Item = u64>, ended: Instant) -> RunLog {
        let mut log = RunLog::default();
        for seq in seqs {
            let mut entry = entry(seq);
            entry.close(SystemTime::UNIX_EPOCH, ended, seq);
            log.push(entry);
        }
        log
    }

    #[test]
    fn a_run_is_found_by_the_low_bits_of_its_number_also_when_these_have_wrapped() {
        let log = log((250..=700).filter(|seq| seq % 3 != 0), Instant::now());
        for seq in (460..=700u64).filter(|seq| seq % 3 != 0) {
            let found = log.by_low_bits((seq & 0xff) as u32, 0xff).map(|entry| entry.seq);
            // Of the numbers with these eight bits, the youngest.
            let youngest = (250..=700u64).rev().find(|s| s & 0xff == seq & 0xff).unwrap();
            let known = youngest % 3 != 0;
            assert_eq!(found, known.then_some(youngest), "{seq}");
        }
    }

    #[test]
    fn what_a_row_refers_to_is_kept_whatever_a_query_shows() {
        let mut log = log(1..=1_024, Instant::now());
        log.prune(500);
        let kept: Vec<u64> = log.iter().map(|entry| entry.seq).collect();
        assert_eq!(kept, (500..=1_024).collect::<Vec<_>>());
    }

    #[test]
    fn of_runs_that_no_row_refers_to_the_newest_are_kept_and_those_that_are_to_be_counted() {
        let mut log = log(1..=1_024, Instant::now());
        log.get_mut(RunId(50)).unwrap().awaited = true;
        log.prune(10_000);
        let kept: Vec<u64> = log.iter().map(|entry| entry.seq).collect();
        let newest = 1_024 - SHOWN as u64 + 1..=1_024;
        assert_eq!(kept, std::iter::once(5).chain(newest).collect::<Vec<_>>());
    }

    #[test]
    fn a_change_to_a_run_does_not_show_in_what_was_published() {
        let mut log = log(1..=3, Instant::now());
        let published = log.clone();
        log.get_mut(RunId(20)).unwrap().learn(RunEnd::Exited(7));
        assert_eq!(published.iter().nth(1).unwrap().run.end, None);
        assert_eq!(log.iter().nth(1).unwrap().run.end, Some(RunEnd::Exited(7)));
    }
}
