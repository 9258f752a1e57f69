//! The blobs: a batch holds the ticks of all plugins since the write before, a block those of one plugin
//! in an hour.

use std::borrow::Cow;

use super::codec::{Decoder, Encoder};
use super::rollup::{HOUR_MS, begin_of};
use super::row::{Row, TickTime, decode_rows, decode_times, encode_rows, encode_times};

/// The version of the encoding.
const VERSION: u64 = 1;

/// The ticks between two writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// The session of the host.
    pub host: i64,
    pub poll_ms: i64,
    /// The tick before the first; `None` if that was the first of the session.
    pub previous_ms: Option<i64>,
    pub times: Vec<TickTime>,
    /// The ticks, in order and without the first, before which others were not recorded. They cover a poll
    /// interval.
    pub breaks: Vec<usize>,
    pub plugins: Vec<PluginBatch>,
}

/// The rows of one plugin in a batch, and its counters at the end of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PluginBatch {
    /// In the table of plugins.
    pub plugin: i64,
    /// The tick of the first row: an index into the times of the batch.
    pub first: usize,
    pub rows: Vec<Row>,
    pub counters: StoredCounters,
}

/// The counters of a plugin, over all sessions of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StoredCounters {
    pub events: u64,
    pub crashes: u64,
    pub restarts: u64,
    pub unknown_ends: u64,
    pub unknown_ends_detected: u64,
    /// Crashes that were counted after the newest row: those of no row.
    pub unsampled_crashes: u64,
    pub last_crash_ms: Option<i64>,
    /// Nanoseconds, of the reported processes.
    pub cpu_ns: u64,
    /// Nanoseconds, with their descendants.
    pub tree_cpu_ns: u64,
    /// In the order of their creation.
    pub kinds: Vec<(String, u64)>,
}

impl StoredCounters {
    pub(super) fn encode(&self, out: &mut Encoder) {
        let Self { events, crashes, restarts, unknown_ends, unknown_ends_detected, .. } = *self;
        let rare = [restarts, unknown_ends, unknown_ends_detected, self.unsampled_crashes];
        for value in [events, crashes].into_iter().chain(rare).chain([self.cpu_ns]) {
            out.int(value);
        }
        // Mostly the same.
        out.signed(self.tree_cpu_ns.wrapping_sub(self.cpu_ns) as i64);
        out.option(self.last_crash_ms);
        out.int(self.kinds.len() as u64);
        for (name, count) in &self.kinds {
            out.text(name);
            out.int(*count);
        }
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Option<Self> {
        let mut counters = Self {
            events: input.int()?,
            crashes: input.int()?,
            restarts: input.int()?,
            unknown_ends: input.int()?,
            unknown_ends_detected: input.int()?,
            unsampled_crashes: input.int()?,
            cpu_ns: input.int()?,
            ..Self::default()
        };
        counters.tree_cpu_ns = counters.cpu_ns.wrapping_add(input.signed()? as u64);
        counters.last_crash_ms = input.option()?;
        for _ in 0..input.count()? {
            counters.kinds.push((input.text()?.to_owned(), input.int()?));
        }
        Some(counters)
    }
}

impl Batch {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.int(VERSION);
        out.signed(self.host);
        out.signed(self.poll_ms);
        out.option(self.previous_ms);
        out.int(self.times.len() as u64);
        encode_times(&self.times, &mut out);
        out.int(self.breaks.len() as u64);
        for &tick in &self.breaks {
            out.int(tick as u64);
        }
        out.int(self.plugins.len() as u64);
        let mut section = Encoder::default();
        for PluginBatch { plugin, first, rows, counters } in &self.plugins {
            out.signed(*plugin);
            section.clear();
            counters.encode(&mut section);
            section.int(*first as u64);
            section.int(rows.len() as u64);
            encode_rows(rows, &mut section);
            out.section(&section);
        }
        out.finish()
    }

    /// `None` for bytes that are damaged, or of another version.
    #[cfg(any(test, fuzzing))]
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let BatchView { host, poll_ms, previous_ms, times, breaks, sections } =
            BatchView::decode(bytes)?;
        let plugins = sections.iter().map(|section| section.decode(times.len()));
        let plugins = plugins.collect::<Option<_>>()?;
        Some(Self { host, poll_ms, previous_ms, times, breaks, plugins })
    }

    /// The time that a tick covers: since the tick before it, if that was recorded.
    pub(super) fn covered_ms(&self, tick: usize) -> u64 {
        let before = match tick.checked_sub(1) {
            Some(_) if self.breaks.binary_search(&tick).is_ok() => None,
            Some(before) => self.times.get(before).map(|time| time.at_ms),
            None => self.previous_ms,
        };
        let at = self.times.get(tick).map_or(0, |time| time.at_ms);
        let since = before.map_or(self.poll_ms, |before| at.saturating_sub(before));
        u64::try_from(since).unwrap_or(0)
    }

    /// The ticks between the last one and the next were not recorded.
    pub(super) fn begin_after_a_break(&mut self) {
        match self.times.len() {
            0 => self.previous_ms = None,
            next if self.breaks.last() != Some(&next) => self.breaks.push(next),
            _ => {}
        }
    }

    /// Drops the first ticks.
    pub(super) fn drop_ticks(&mut self, count: usize) {
        let Some(last) = count.checked_sub(1) else { return };
        let is_broken = self.breaks.binary_search(&count).is_ok();
        self.previous_ms = self.times.get(last).map(|time| time.at_ms).filter(|_| !is_broken);
        self.times.drain(..count);
        self.breaks.retain_mut(|tick| {
            let is_kept = *tick > count;
            *tick = tick.saturating_sub(count);
            is_kept
        });
        for plugin in &mut self.plugins {
            let dropped = count.saturating_sub(plugin.first).min(plugin.rows.len());
            plugin.rows.drain(..dropped);
            plugin.first = plugin.first.saturating_sub(count);
        }
    }

    /// Divides the batch where the hour changes, so that each part is of one hour.
    pub(super) fn split_by_hour(&self) -> Vec<Cow<'_, Self>> {
        let mut parts = Vec::new();
        let (mut begin, mut previous_ms) = (0, self.previous_ms);
        let hours =
            self.times.chunk_by(|a, b| begin_of(a.at_ms, HOUR_MS) == begin_of(b.at_ms, HOUR_MS));
        for times in hours {
            if times.len() == self.times.len() {
                return vec![Cow::Borrowed(self)];
            }
            let end = begin + times.len();
            let first_break = self.breaks.partition_point(|&tick| tick < begin);
            let last_break = self.breaks.partition_point(|&tick| tick < end);
            let breaks = self.breaks.get(first_break..last_break).unwrap_or_default();
            let breaks: Vec<_> = breaks.iter().map(|tick| tick - begin).collect();
            let is_broken = breaks.first() == Some(&0);
            let part = |of: &PluginBatch| {
                let within = |at: usize| at.clamp(begin, end);
                let (from, to) = (within(of.first), within(of.first + of.rows.len()));
                let rows = of.rows.get(from.saturating_sub(of.first)..to.saturating_sub(of.first));
                PluginBatch {
                    plugin: of.plugin,
                    first: from - begin,
                    rows: rows.unwrap_or_default().to_vec(),
                    counters: of.counters.clone(),
                }
            };
            parts.push(Cow::Owned(Self {
                host: self.host,
                poll_ms: self.poll_ms,
                previous_ms: previous_ms.filter(|_| !is_broken),
                times: times.to_vec(),
                breaks: breaks.into_iter().filter(|&tick| tick > 0).collect(),
                plugins: self.plugins.iter().map(part).collect(),
            }));
            previous_ms = times.last().map(|time| time.at_ms);
            begin = end;
        }
        parts
    }
}

/// A batch of which only the times are decoded. The rows of each plugin are when they are needed.
#[derive(Clone, Debug)]
pub(super) struct BatchView<'a> {
    pub host: i64,
    pub poll_ms: i64,
    pub previous_ms: Option<i64>,
    pub times: Vec<TickTime>,
    pub breaks: Vec<usize>,
    pub sections: Vec<Section<'a>>,
}

/// The encoded rows and counters of one plugin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    pub plugin: i64,
    input: Decoder<'a>,
}

impl<'a> BatchView<'a> {
    /// `None` for bytes that are damaged, or of another version.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Decoder::new(bytes)?;
        if input.int()? != VERSION {
            return None;
        }
        let (host, poll_ms) = (input.signed()?, input.signed()?);
        let previous_ms = input.option()?;
        let ticks = input.count()?;
        let times = decode_times(ticks, &mut input)?;
        let mut breaks = Vec::new();
        for _ in 0..input.count()? {
            breaks.push(input.count()?);
        }
        if !breaks.is_sorted_by(|a, b| a < b) {
            return None;
        }
        let mut sections = Vec::new();
        for _ in 0..input.count()? {
            sections.push(Section { plugin: input.signed()?, input: input.section()? });
        }
        input.end(Self { host, poll_ms, previous_ms, times, breaks, sections })
    }

    /// The time that each tick covers: since the tick before it, if that was recorded.
    pub(super) fn covered(&self) -> Vec<u64> {
        let mut previous = self.previous_ms;
        let mut breaks = self.breaks.iter().peekable();
        let cover = |(tick, time): (usize, &TickTime)| {
            if breaks.next_if_eq(&&tick).is_some() {
                previous = None;
            }
            let since =
                previous.map_or(self.poll_ms, |previous| time.at_ms.saturating_sub(previous));
            previous = Some(time.at_ms);
            u64::try_from(since).unwrap_or(0)
        };
        self.times.iter().enumerate().map(cover).collect()
    }

    /// The rows of a section with their times. A section that cannot be decoded has none.
    pub(super) fn rows(
        &self,
        section: &Section<'_>,
    ) -> impl Iterator<Item = (usize, TickTime, Row)> {
        let plugin = section.decode(self.times.len());
        let (first, rows) = plugin.map_or((0, Vec::new()), |plugin| (plugin.first, plugin.rows));
        let times = self.times.iter().copied().enumerate().skip(first);
        times.zip(rows).map(|((tick, time), row)| (tick, time, row))
    }
}

impl Section<'_> {
    /// The counters at the end of the batch.
    pub(super) fn counters(&self) -> Option<StoredCounters> {
        let mut input = self.input;
        StoredCounters::decode(&mut input)
    }

    /// `ticks` is the number of times of the batch.
    pub(super) fn decode(&self, ticks: usize) -> Option<PluginBatch> {
        let mut input = self.input;
        let counters = StoredCounters::decode(&mut input)?;
        let (first, count) = (input.count()?, input.count()?);
        if first + count > ticks {
            return None;
        }
        let rows = decode_rows(count, &mut input)?;
        input.end(PluginBatch { plugin: self.plugin, first, rows, counters })
    }
}

/// Ticks of one plugin in an hour, all of one session. Each covers the time since the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub host: i64,
    pub poll_ms: i64,
    /// The time that the first tick covers.
    pub first_covered_ms: u64,
    pub times: Vec<TickTime>,
    /// As many as times.
    pub rows: Vec<Row>,
}

impl Block {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.int(VERSION);
        out.signed(self.host);
        out.signed(self.poll_ms);
        out.int(self.first_covered_ms);
        out.int(self.times.len() as u64);
        encode_times(&self.times, &mut out);
        encode_rows(&self.rows, &mut out);
        out.finish()
    }

    /// `None` for bytes that are damaged, or of another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(bytes)?;
        if input.int()? != VERSION {
            return None;
        }
        let (host, poll_ms) = (input.signed()?, input.signed()?);
        let (first_covered_ms, count) = (input.int()?, input.count()?);
        let times = decode_times(count, &mut input)?;
        let rows = decode_rows(count, &mut input)?;
        input.end(Self { host, poll_ms, first_covered_ms, times, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::{batch, rows};

    fn block(seed: u64) -> Block {
        let Batch { host, poll_ms, times, .. } = batch(seed);
        let rows = rows(seed, times.len());
        Block { host, poll_ms, first_covered_ms: 70 * seed, times, rows }
    }

    #[test]
    fn blobs_are_decoded_as_encoded() {
        for seed in 0..if cfg!(miri) { 4 } else { 60 } {
            assert_eq!(Batch::decode(&batch(seed).encode()).unwrap(), batch(seed));
            assert_eq!(Block::decode(&block(seed).encode()).unwrap(), block(seed));
        }
    }

    #[test]
    fn parts_of_an_hour_are_the_batch() {
        for seed in 0..if cfg!(miri) { 4 } else { 60 } {
            let mut batch = batch(seed);
            // Twenty minutes from one tick to the next.
            for (time, minutes) in batch.times.iter_mut().zip((0..).step_by(20)) {
                time.at_ms = 3 * HOUR_MS + seed as i64 * 60_000 + minutes * 60_000;
            }
            let parts = batch.split_by_hour();
            let mut times = Vec::<TickTime>::new();
            for part in &parts {
                let hours = part.times.iter().map(|time| begin_of(time.at_ms, HOUR_MS));
                assert!(
                    hours.clone().eq(hours.clone().next().into_iter().cycle().take(hours.len()))
                );
                assert!(part.breaks.first() != Some(&0), "the first tick is in no list of breaks");
                for tick in 0..part.times.len() {
                    let covered = batch.covered_ms(times.len() + tick);
                    assert_eq!(part.covered_ms(tick), covered, "seed {seed}");
                }
                times.extend(&part.times);
            }
            assert_eq!(times, batch.times);
            for (at, plugin) in batch.plugins.iter().enumerate() {
                let of = |batch: &Batch| -> Vec<_> {
                    let plugin = &batch.plugins[at];
                    plugin.rows.iter().copied().zip(batch.times[plugin.first..].to_vec()).collect()
                };
                let rows: Vec<_> = parts.iter().flat_map(|part| of(part)).collect();
                assert_eq!(rows, of(&batch), "plugin {} of seed {seed}", plugin.plugin);
            }
        }
    }

    /// The first one that of a poll or since the batch before, and that of a poll after ticks that were not recorded.
    #[test]
    fn ticks_cover_the_time_since_the_one_before() {
        let time = |at_ms| TickTime { at_ms, boot_ms: 0 };
        let times = vec![time(1_000), time(1_700), time(1_700), time(9_000)];
        for (previous_ms, first) in [(None, 5_000), (Some(400), 600), (Some(2_000), 0)] {
            for (breaks, second, last) in
                [(vec![], 700, 7_300), (vec![1], 5_000, 7_300), (vec![1, 3], 5_000, 5_000)]
            {
                let times = times.clone();
                let batch = Batch { poll_ms: 5_000, previous_ms, times, breaks, ..batch(0) };
                let bytes = batch.encode();
                let covered = BatchView::decode(&bytes).unwrap().covered();
                assert_eq!(covered, [first, second, 0, last]);
                assert!((0..4).map(|tick| batch.covered_ms(tick)).eq(covered));
            }
        }
    }

    #[test]
    fn break_is_listed_once() {
        let mut batch = Batch { previous_ms: Some(1), ..Batch::default() };
        let tick = |batch: &mut Batch| {
            batch.begin_after_a_break();
            batch.begin_after_a_break();
            batch.times.push(TickTime { at_ms: 5_000 * batch.times.len() as i64, boot_ms: 0 });
        };
        tick(&mut batch);
        assert_eq!((batch.previous_ms, &*batch.breaks), (None, &[][..]));
        (0..2).for_each(|_| tick(&mut batch));
        assert_eq!(batch.breaks, [1, 2]);
        assert_eq!(Batch::decode(&batch.encode()), Some(batch.clone()));
        for breaks in [vec![1, 1], vec![2, 1]] {
            assert_eq!(Batch::decode(&Batch { breaks, ..batch.clone() }.encode()), None);
        }
    }

    /// The remaining ticks cover the same times, and have the same rows.
    #[test]
    fn dropped_ticks_change_no_others() {
        for seed in 0..if cfg!(miri) { 4 } else { 60 } {
            let batch = batch(seed);
            for count in 0..batch.times.len() {
                let mut rest = batch.clone();
                rest.drop_ticks(count);
                assert_eq!(rest.times, batch.times[count..]);
                assert!(rest.breaks.first() != Some(&0), "the first tick is in no list of breaks");
                for tick in 0..rest.times.len() {
                    assert_eq!(rest.covered_ms(tick), batch.covered_ms(count + tick), "{seed}");
                }
                for (rest, all) in rest.plugins.iter().zip(&batch.plugins) {
                    let begin = count.saturating_sub(all.first).min(all.rows.len());
                    assert_eq!(rest.rows, all.rows[begin..]);
                    assert_eq!(rest.first + count, all.first.max(count));
                }
            }
        }
    }

    #[test]
    fn section_of_more_rows_than_ticks_has_none() {
        let batch = batch(13);
        let bytes = batch.encode();
        let view = BatchView::decode(&bytes).unwrap();
        let section = &view.sections[0];
        let ticks = view.times.len();
        assert_eq!(section.decode(ticks).unwrap().rows.len(), ticks);
        assert_eq!(section.decode(ticks - 1), None);
        assert_eq!(section.counters(), Some(batch.plugins[0].counters.clone()));
    }

    /// Each byte in turn takes three other values, also with a CRC that fits.
    #[test]
    #[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
    fn damaged_blob_is_refused_and_never_panics() {
        for bytes in [batch(10).encode(), batch(13).encode(), block(12).encode()] {
            for at in 0..bytes.len() {
                for flip in [1, 0x80, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= flip;
                    assert!(Batch::decode(&damaged).is_none() && Block::decode(&damaged).is_none());
                    let (payload, crc) = damaged.split_last_chunk_mut::<4>().unwrap();
                    *crc = crc32fast::hash(payload).to_le_bytes();
                    let _: (Option<Batch>, Option<Block>) =
                        (Batch::decode(&damaged), Block::decode(&damaged));
                }
                assert!(Batch::decode(&bytes[..at]).is_none());
                assert!(Block::decode(&bytes[..at]).is_none());
            }
        }
    }
}
