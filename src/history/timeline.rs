//! The history as a snapshot holds it: packed blocks, blocks, and the frames since the last of them.

use std::ops::Range;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use super::block::{BLOCK_TICKS, Block, BlockList};
use super::frame::Frame;
use super::metric::Metric;
use super::packed::PackedSample;
use super::packed_block::{PACKED_TICKS, PackedBlock};
use super::tree_row::{TreeMetric, TreeValues, find_row};
use crate::time::{MonoNanos, TimePoint};

/// A time in which there was no collector: between the newest tick of one and the start of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub from: MonoNanos,
    pub until: MonoNanos,
}

/// Consecutive ticks: first those in blocks, then those in frames.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub blocks: Arc<BlockList>,
    pub frames: Vec<Arc<Frame>>,
    /// The oldest tick that is part of the history; the oldest block may begin before it.
    pub oldest: u64,
    /// The newest tick; 0 before the first.
    pub newest: u64,
    /// Oldest first; `None` if one collector has made all ticks.
    pub gaps: Option<Arc<[Gap]>>,
}

/// Consecutive samples of one plugin: four columns of the same length, those of one block at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SamplePiece<'a> {
    /// When they were taken.
    pub at: &'a [MonoNanos],
    pub cpu: &'a [u32],
    pub events: &'a [u32],
    pub runs: &'a [u32],
}

impl SamplePiece<'_> {
    /// Without the first `count` samples.
    pub(crate) fn after(&self, count: usize) -> Self {
        Self {
            at: &self.at[count..],
            cpu: &self.cpu[count..],
            events: &self.events[count..],
            runs: &self.runs[count..],
        }
    }

    /// The first `count` samples.
    pub(crate) fn first(&self, count: usize) -> Self {
        Self {
            at: &self.at[..count],
            cpu: &self.cpu[..count],
            events: &self.events[..count],
            runs: &self.runs[..count],
        }
    }
}

/// Where the samples of a tick are stored.
enum Location<'a> {
    Packed(&'a PackedBlock, usize),
    Block(&'a Block, usize),
    Frame(&'a Frame),
}

impl Timeline {
    /// The time between two times in which there was no collector.
    pub(crate) fn gap_time(&self, from: MonoNanos, until: MonoNanos) -> Duration {
        let gaps = self.gaps.as_deref().unwrap_or_default();
        gaps.iter().map(|gap| gap.until.min(until).since(gap.from.max(from))).sum()
    }

    pub(crate) fn empty() -> Self {
        Self { blocks: Arc::default(), frames: Vec::new(), oldest: 1, newest: 0, gaps: None }
    }

    #[inline]
    fn locate(&self, tick: u64) -> Option<Location<'_>> {
        if let Some(first) = self.frames.first()
            && tick >= first.tick
        {
            let frame = self.frames.get((tick - first.tick) as usize)?;
            return Some(Location::Frame(frame));
        }
        let BlockList { packed, raw } = &*self.blocks;
        if let Some(offset) = tick.checked_sub(raw.front()?.first) {
            let block = raw.get(offset as usize / BLOCK_TICKS)?;
            return Some(Location::Block(block, offset as usize % BLOCK_TICKS));
        }
        let offset = tick.checked_sub(packed.front()?.first)? as usize;
        let block = packed.get(offset / PACKED_TICKS)?;
        Some(Location::Packed(block, offset % PACKED_TICKS))
    }

    /// The time of `tick`, if it is stored.
    #[inline]
    pub(crate) fn at(&self, tick: u64) -> Option<TimePoint> {
        self.locate(tick).map(|location| match location {
            Location::Packed(block, k) => block.at(k),
            Location::Block(block, k) => block.at[k],
            Location::Frame(frame) => frame.at,
        })
    }

    /// The same on the monotonic clock.
    pub(crate) fn mono(&self, tick: u64) -> Option<MonoNanos> {
        self.locate(tick).map(|location| match location {
            Location::Packed(block, k) => block.mono(k),
            Location::Block(block, k) => block.mono[k],
            Location::Frame(frame) => frame.at.mono,
        })
    }

    /// The sample of `slot` at `tick`; missing where there is none.
    #[inline]
    pub(crate) fn sample(&self, tick: u64, slot: u32) -> PackedSample {
        match self.locate(tick) {
            Some(Location::Packed(block, k)) => block.sample(slot, k),
            Some(Location::Block(block, k)) => block.sample(slot, k),
            Some(Location::Frame(frame)) => frame.sample(slot),
            None => PackedSample::MISSING,
        }
    }

    /// The time of `tick`, and the tree values of `slot` at it, if it is stored; `sample` is its sample.
    #[inline]
    pub(crate) fn at_with_tree(
        &self,
        tick: u64,
        slot: u32,
        sample: PackedSample,
    ) -> Option<(TimePoint, TreeValues)> {
        self.locate(tick).map(|location| match location {
            Location::Packed(block, k) => (block.at(k), block.tree(slot, k, sample)),
            Location::Block(block, k) => (block.at[k], block.tree(slot, k, sample)),
            Location::Frame(frame) => (frame.at, frame.tree_beside(slot, sample)),
        })
    }

    /// Whether the tree of `slot` may have other values than its root at a tick from `from` on. If
    /// not, the two have the same columns.
    pub(crate) fn has_tree(&self, slot: u32, from: u64) -> bool {
        self.packed_since(from).any(|(block, _)| block.has_tree(slot))
            || self.blocks_since(from).any(|(block, _)| block.has_tree(slot))
            || self.frames_since(from).any(|frame| find_row(&frame.trees, slot).is_some())
    }

    /// The first tick of the history at or after `cutoff`.
    pub(crate) fn first_since(&self, cutoff: MonoNanos) -> u64 {
        let (mut low, mut high) = (self.oldest, self.newest + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.mono(middle).is_some_and(|at| at < cutoff) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The sum of one column of one plugin in these ticks.
    pub(crate) fn sum(&self, slot: u32, metric: Metric, ticks: Range<u64>) -> u64 {
        let mut sum = 0;
        for (block, skip) in self.packed_since(ticks.start) {
            if block.first >= ticks.end {
                return sum;
            }
            let end = end_in(block.first, PACKED_TICKS, ticks.end);
            let column = block.column(slot, metric);
            sum += column.map_or(0, |column| column.sum(skip..end.max(skip)));
        }
        for (block, skip) in self.blocks_since(ticks.start) {
            if block.first >= ticks.end {
                return sum;
            }
            let end = end_in(block.first, BLOCK_TICKS, ticks.end);
            let values = block.column(slot, metric).get(skip..end);
            sum += values.unwrap_or(&[]).iter().map(|&value| u64::from(value)).sum::<u64>();
        }
        let frames = self.frames_since(ticks.start).take_while(|frame| frame.tick < ticks.end);
        sum + frames.map(|frame| u64::from(frame.sample(slot).get(metric))).sum::<u64>()
    }

    /// Calls `each` with the samples of one plugin from tick `from` on, in order of time. The CPU is that
    /// of its trees if `with_trees`.
    pub(crate) fn pieces(
        &self,
        slot: u32,
        from: u64,
        with_trees: bool,
        mut each: impl FnMut(SamplePiece<'_>),
    ) {
        if self.packed_since(from).next().is_some() {
            self.packed_pieces(slot, from, with_trees, &mut each);
        }
        for (block, skip) in self.blocks_since(from) {
            let column = |metric| block.column(slot, metric).get(skip..).unwrap_or(&[]);
            let cpu = match with_trees {
                true => block.tree_column(slot, Metric::Cpu).get(skip..).unwrap_or(&[]),
                false => column(Metric::Cpu),
            };
            let (events, runs) = (column(Metric::Events), column(Metric::RunAndState));
            // A block that is older than the slot has none.
            if cpu.len() == BLOCK_TICKS - skip {
                each(SamplePiece { at: &block.mono[skip..], cpu, events, runs });
            }
        }
        for frame in self.frames_since(from) {
            let sample = frame.sample(slot);
            let cpu = if with_trees {
                frame.tree_beside(slot, sample).get(TreeMetric::Cpu)
            } else {
                sample.get(Metric::Cpu)
            };
            each(SamplePiece {
                at: slice::from_ref(&frame.at.mono),
                cpu: &[cpu],
                events: &[sample.get(Metric::Events)],
                runs: &[sample.get(Metric::RunAndState)],
            });
        }
    }

    /// The pieces of packed blocks.
    #[inline(never)] // its buffers would be cleared also for windows without packed blocks
    fn packed_pieces(
        &self,
        slot: u32,
        from: u64,
        with_trees: bool,
        each: &mut impl FnMut(SamplePiece<'_>),
    ) {
        let mut at = [MonoNanos(0); PACKED_TICKS];
        let [mut cpu, mut events, mut runs] = [[0; PACKED_TICKS]; 3];
        for (block, skip) in self.packed_since(from) {
            let cpu_column = match with_trees {
                true => block.tree_column(slot, Metric::Cpu),
                false => block.column(slot, Metric::Cpu),
            };
            let [events_column, runs_column] =
                [Metric::Events, Metric::RunAndState].map(|metric| block.column(slot, metric));
            // A block that is older than the slot has none.
            if let (Some(cpu_column), Some(events_column), Some(runs_column)) =
                (cpu_column, events_column, runs_column)
            {
                block.decode_mono(&mut at);
                cpu_column.decode(0..PACKED_TICKS, &mut cpu);
                events_column.decode(0..PACKED_TICKS, &mut events);
                runs_column.decode(0..PACKED_TICKS, &mut runs);
                each(SamplePiece {
                    at: &at[skip..],
                    cpu: &cpu[skip..],
                    events: &events[skip..],
                    runs: &runs[skip..],
                });
            }
        }
    }

    /// Appends one column of one plugin in these ticks to `out`, in order of time; that of its tree if
    /// `of_tree`.
    pub(crate) fn values(
        &self,
        slot: u32,
        metric: Metric,
        of_tree: bool,
        ticks: Range<u64>,
        out: &mut Vec<u32>,
    ) {
        for (block, skip) in self.packed_since(ticks.start) {
            if block.first >= ticks.end {
                return;
            }
            let end = end_in(block.first, PACKED_TICKS, ticks.end);
            let column = match of_tree {
                true => block.tree_column(slot, metric),
                false => block.column(slot, metric),
            };
            if let Some(column) = column {
                column.append(skip..end.max(skip), out);
            }
        }
        for (block, skip) in self.blocks_since(ticks.start) {
            if block.first >= ticks.end {
                return;
            }
            let end = end_in(block.first, BLOCK_TICKS, ticks.end);
            let column = match of_tree {
                true => block.tree_column(slot, metric),
                false => block.column(slot, metric),
            };
            out.extend_from_slice(column.get(skip..end).unwrap_or(&[]));
        }
        for frame in self.frames_since(ticks.start).take_while(|frame| frame.tick < ticks.end) {
            out.push(match TreeMetric::of(metric) {
                Some(tree) if of_tree => frame.tree(slot).get(tree),
                Some(_) | None => frame.sample(slot).get(metric),
            });
        }
    }

    /// The packed blocks with a tick from `from` on, and the number of their earlier ticks.
    fn packed_since(&self, from: u64) -> impl Iterator<Item = (&PackedBlock, usize)> {
        let packed = &self.blocks.packed;
        let first = packed.front().map_or(from, |block| block.first);
        let offset = from.saturating_sub(first) as usize;
        let blocks = packed.iter().skip(offset / PACKED_TICKS).enumerate();
        blocks.map(move |(i, block)| (&**block, if i == 0 { offset % PACKED_TICKS } else { 0 }))
    }

    /// The blocks with a tick from `from` on that are not packed, and the number of their earlier ticks.
    fn blocks_since(&self, from: u64) -> impl Iterator<Item = (&Block, usize)> {
        let blocks = &self.blocks.raw;
        let first = blocks.front().map_or(from, |block| block.first);
        let offset = from.saturating_sub(first) as usize;
        let blocks = blocks.iter().skip(offset / BLOCK_TICKS).enumerate();
        blocks.map(move |(i, block)| (&**block, if i == 0 { offset % BLOCK_TICKS } else { 0 }))
    }

    fn frames_since(&self, from: u64) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(move |frame| frame.tick >= from).map(|frame| &**frame)
    }
}

/// The position of tick `end` in a block of `len` ticks that begins at `first`, at most `len`.
fn end_in(first: u64, len: usize, end: u64) -> usize {
    end.saturating_sub(first).min(len as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::history::packed_block::PACKED_BLOCKS;
    use crate::history::tree_row::TreeRow;

    const FIRST: u64 = 7;

    fn sample_at(tick: u64) -> PackedSample {
        PackedSample::from_columns(|metric| match metric {
            Metric::Cpu => tick as u32,
            Metric::RunAndState => 3,
            Metric::Events => tick as u32 % 5,
            Metric::Memory | Metric::Crashes => 0,
        })
    }

    /// Full packed blocks, full blocks, and frames; the CPU column of slot 0 holds the tick, and its tree
    /// twice that in every third tick.
    fn timeline(packed: usize, blocks: usize, frames: u64) -> Timeline {
        let start =
            TimePoint { mono: MonoNanos(0), wall: SystemTime::UNIX_EPOCH, boot: Duration::ZERO };
        let frame = |tick: u64| {
            let at = start.after(Duration::from_secs(tick));
            let values = TreeValues::new(Some(2 * tick as u32), None, Some(2));
            let trees =
                if tick.is_multiple_of(3) { vec![TreeRow { slot: 0, values }] } else { vec![] };
            Arc::new(Frame { tick, at, samples: vec![sample_at(tick)], trees })
        };
        let count = packed * PACKED_BLOCKS + blocks;
        let all: Vec<Block> = (0..count as u64)
            .map(|b| {
                let ticks = FIRST + b * BLOCK_TICKS as u64..FIRST + (b + 1) * BLOCK_TICKS as u64;
                let mut block = Block::new(start);
                block.fill(&ticks.map(frame).collect::<Vec<_>>());
                block
            })
            .collect();
        let mut list = BlockList::default();
        for sources in all[..packed * PACKED_BLOCKS].chunks(PACKED_BLOCKS) {
            let sources = std::array::from_fn(|i| &sources[i]);
            let mut block = PackedBlock::default();
            block.begin(&sources, 0);
            while block.push(&sources) {}
            list.packed.push_back(Arc::new(block));
        }
        list.raw.extend(all.into_iter().skip(packed * PACKED_BLOCKS).map(Arc::new));
        let since = FIRST + count as u64 * BLOCK_TICKS as u64;
        Timeline {
            blocks: Arc::new(list),
            frames: (since..since + frames).map(frame).collect(),
            oldest: FIRST,
            newest: since + frames - 1,
            gaps: None,
        }
    }

    const SHAPES: [(usize, usize, u64); 8] =
        [(0, 0, 1), (0, 0, 29), (0, 1, 0), (0, 2, 5), (0, 3, 29), (1, 1, 0), (2, 4, 3), (1, 7, 29)];

    #[test]
    fn every_tick_is_found_in_block_or_frame() {
        for (packed, blocks, frames) in SHAPES {
            let timeline = timeline(packed, blocks, frames);
            let ticks = timeline.oldest..=timeline.newest;
            for tick in ticks.step_by(if cfg!(miri) { 3 } else { 1 }) {
                assert_eq!(timeline.sample(tick, 0), sample_at(tick));
                let tree = if tick.is_multiple_of(3) { 2 * tick } else { tick };
                let at = timeline.at(tick).unwrap();
                let (at_again, stored) = timeline.at_with_tree(tick, 0, sample_at(tick)).unwrap();
                assert_eq!(stored.get(TreeMetric::Cpu), tree as u32);
                assert_eq!(at_again, at);
                assert_eq!(at.mono, MonoNanos(tick * 1_000_000_000));
                assert_eq!(at.boot, Duration::from_secs(tick));
                assert_eq!(at.wall, SystemTime::UNIX_EPOCH + Duration::from_secs(tick));
                let MonoNanos(at) = timeline.mono(tick).unwrap();
                assert_eq!(timeline.first_since(MonoNanos(at)), tick);
                assert_eq!(timeline.first_since(MonoNanos(at + 1)), tick + 1);
            }
            for tick in [0, timeline.oldest - 1, timeline.newest + 1, u64::MAX] {
                assert!(
                    timeline.at(tick).is_none() && timeline.mono(tick).is_none(),
                    "tick {tick}"
                );
                assert_eq!(timeline.sample(tick, 0), PackedSample::MISSING);
                assert_eq!(timeline.at_with_tree(tick, 0, PackedSample::MISSING), None);
            }
        }
    }

    #[test]
    #[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
    fn columns_of_any_ticks_are_those_of_samples() {
        for (packed, blocks, frames) in SHAPES {
            let timeline = timeline(packed, blocks, frames);
            let (oldest, newest) = (timeline.oldest, timeline.newest);
            let ends =
                (oldest..newest + 2).filter(|tick| tick % 7 == 0 || newest - tick.min(&newest) < 3);
            for end in ends {
                for start in (oldest..=end).filter(|tick| tick % 11 == 0 || tick % 30 < 2) {
                    let samples = (start..end.min(newest + 1)).map(sample_at);
                    for metric in Metric::ALL {
                        let expected: Vec<u32> = samples.clone().map(|s| s.get(metric)).collect();
                        let mut values = vec![99];
                        timeline.values(0, metric, false, start..end, &mut values);
                        assert_eq!((values[0], &values[1..]), (99, &expected[..]));
                        let sum: u64 = expected.iter().map(|&value| u64::from(value)).sum();
                        assert_eq!(timeline.sum(0, metric, start..end), sum);
                    }
                    let mut values = Vec::new();
                    timeline.values(0, Metric::Cpu, true, start..end, &mut values);
                    let tree = (start..end.min(newest + 1)).map(|tick| {
                        if tick.is_multiple_of(3) { 2 * tick as u32 } else { tick as u32 }
                    });
                    assert!(values.into_iter().eq(tree), "{start}..{end}");
                }
            }
        }
    }

    #[test]
    #[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
    fn pieces_are_consecutive_samples() {
        for (packed, blocks, frames) in SHAPES {
            let timeline = timeline(packed, blocks, frames);
            for from in timeline.oldest..=timeline.newest + 1 {
                let mut tick = from;
                timeline.pieces(0, from, true, |piece| {
                    for (i, &at) in piece.at.iter().enumerate() {
                        assert_eq!(at, timeline.mono(tick).unwrap());
                        let sample = sample_at(tick);
                        let (_, tree) = timeline.at_with_tree(tick, 0, sample).unwrap();
                        assert_eq!(piece.cpu[i], tree.get(TreeMetric::Cpu));
                        assert_eq!(piece.events[i], sample.get(Metric::Events));
                        assert_eq!(piece.runs[i], sample.get(Metric::RunAndState));
                        tick += 1;
                    }
                });
                assert_eq!(tick, timeline.newest + 1);
            }
        }
    }

    #[test]
    fn slot_outside_history_has_no_values() {
        for (packed, blocks, frames) in SHAPES {
            let timeline = timeline(packed, blocks, frames);
            let ticks = timeline.oldest..timeline.newest + 1;
            let mut values = Vec::new();
            timeline.values(9, Metric::Memory, false, ticks.clone(), &mut values);
            timeline.values(9, Metric::Memory, true, ticks.clone(), &mut values);
            assert!(values.iter().all(|&value| value == 0 || value == u32::MAX));
            assert_eq!(timeline.sum(9, Metric::Events, ticks), 0);
            assert!(!timeline.has_tree(9, timeline.oldest));
            timeline.pieces(9, timeline.oldest, false, |piece| assert_eq!(piece.runs, [0]));
        }
    }
}
