//! The blobs: a batch holds the ticks of all plugins since the write before, a block those of one plugin
//! in an hour.

use super::codec::{Decoder, Encoder};
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
        for value in [
            events,
            crashes,
            restarts,
            unknown_ends,
            unknown_ends_detected,
            self.cpu_ns,
            self.tree_cpu_ns,
        ] {
            out.int(value);
        }
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
            cpu_ns: input.int()?,
            tree_cpu_ns: input.int()?,
            last_crash_ms: input.option()?,
            kinds: Vec::new(),
        };
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
        out.int(self.plugins.len() as u64);
        for PluginBatch { plugin, first, rows, counters } in &self.plugins {
            out.signed(*plugin);
            out.int(*first as u64);
            out.int(rows.len() as u64);
            encode_rows(rows, &mut out);
            counters.encode(&mut out);
        }
        out.finish()
    }

    /// `None` for bytes that are damaged, or of another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(bytes)?;
        if input.int()? != VERSION {
            return None;
        }
        let mut batch = Self {
            host: input.signed()?,
            poll_ms: input.signed()?,
            previous_ms: input.option()?,
            ..Self::default()
        };
        let ticks = input.count()?;
        batch.times = decode_times(ticks, &mut input)?;
        for _ in 0..input.count()? {
            let (plugin, first) = (input.signed()?, input.count()?);
            let count = input.count()?;
            if first + count > ticks {
                return None;
            }
            let rows = decode_rows(count, &mut input)?;
            let counters = StoredCounters::decode(&mut input)?;
            batch.plugins.push(PluginBatch { plugin, first, rows, counters });
        }
        input.end(batch)
    }
}

impl PluginBatch {
    /// The rows with their times.
    pub(super) fn timed<'a>(
        &'a self,
        batch: &'a Batch,
    ) -> impl Iterator<Item = (TickTime, &'a Row)> + Clone {
        batch.times.iter().skip(self.first).copied().zip(&self.rows)
    }
}

/// The ticks of one plugin in an hour, all of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub host: i64,
    pub poll_ms: i64,
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
        let (host, poll_ms, count) = (input.signed()?, input.signed()?, input.count()?);
        let times = decode_times(count, &mut input)?;
        let rows = decode_rows(count, &mut input)?;
        input.end(Self { host, poll_ms, times, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::{batch, rows};

    fn block(seed: u64) -> Block {
        let Batch { host, poll_ms, times, .. } = batch(seed);
        let rows = rows(seed, times.len());
        Block { host, poll_ms, times, rows }
    }

    #[test]
    fn blobs_are_decoded_as_encoded() {
        for seed in 0..60 {
            assert_eq!(Batch::decode(&batch(seed).encode()).unwrap(), batch(seed));
            assert_eq!(Block::decode(&block(seed).encode()).unwrap(), block(seed));
        }
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
