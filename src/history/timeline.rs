//! The history as a snapshot holds it: blocks, and the frames since the last of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use super::block::{BLOCK_TICKS, Block};
use super::frame::Frame;
use super::metric::Metric;
use super::packed::PackedSample;
use super::tree_row::{TreeMetric, TreeValues, find_row};
use crate::time::{MonoNanos, TimePoint};

/// Consecutive blocks without a gap, oldest first.
pub(crate) type BlockList = VecDeque<Arc<Block>>;

/// Consecutive ticks without a gap: first those in blocks, then those in frames.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub blocks: Arc<BlockList>,
    pub frames: Vec<Arc<Frame>>,
    /// The oldest tick that is part of the history; the oldest block may begin before it.
    pub oldest: u64,
    /// The newest tick; 0 before the first.
    pub newest: u64,
}

/// Consecutive samples of one plugin: four columns of the same length, at most thirty.
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
    Block(&'a Block, usize),
    Frame(&'a Frame),
}

impl Timeline {
    pub(crate) fn empty() -> Self {
        Self { blocks: Arc::default(), frames: Vec::new(), oldest: 1, newest: 0 }
    }

    fn locate(&self, tick: u64) -> Option<Location<'_>> {
        if let Some(first) = self.frames.first()
            && tick >= first.tick
        {
            let frame = self.frames.get((tick - first.tick) as usize)?;
            return Some(Location::Frame(frame));
        }
        let offset = tick.checked_sub(self.blocks.front()?.first)? as usize;
        let block = self.blocks.get(offset / BLOCK_TICKS)?;
        Some(Location::Block(block, offset % BLOCK_TICKS))
    }

    /// The time of `tick`, if it is stored.
    pub(crate) fn at(&self, tick: u64) -> Option<&TimePoint> {
        self.locate(tick).map(|location| match location {
            Location::Block(block, k) => &block.at[k],
            Location::Frame(frame) => &frame.at,
        })
    }

    /// The sample of `slot` at `tick`; missing where there is none.
    #[inline]
    pub(crate) fn sample(&self, tick: u64, slot: u32) -> PackedSample {
        match self.locate(tick) {
            Some(Location::Block(block, k)) => block.sample(slot, k),
            Some(Location::Frame(frame)) => frame.sample(slot),
            None => PackedSample::MISSING,
        }
    }

    /// The tree values of `slot` at `tick`.
    pub(crate) fn tree(&self, tick: u64, slot: u32) -> TreeValues {
        match self.locate(tick) {
            Some(Location::Block(block, k)) => block.tree(slot, k),
            Some(Location::Frame(frame)) => frame.tree(slot),
            None => TreeValues::of_root(PackedSample::MISSING),
        }
    }

    /// Whether the tree of `slot` may have other values than its root at a tick from `from` on. If
    /// not, the two have the same columns.
    pub(crate) fn has_tree(&self, slot: u32, from: u64) -> bool {
        self.blocks_since(from).any(|(block, _)| block.has_tree(slot))
            || self.frames_since(from).any(|frame| find_row(&frame.trees, slot).is_some())
    }

    /// The first tick of the history at or after `cutoff`.
    pub(crate) fn first_since(&self, cutoff: MonoNanos) -> u64 {
        let (mut low, mut high) = (self.oldest, self.newest + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at(middle).is_some_and(|at| at.mono < cutoff) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Calls `each` with the pieces of one column of one plugin from tick `from` on, in order of
    /// time.
    pub(crate) fn column(
        &self,
        slot: u32,
        metric: Metric,
        from: u64,
        mut each: impl FnMut(&[u32]),
    ) {
        for (block, skip) in self.blocks_since(from) {
            each(block.column(slot, metric).get(skip..).unwrap_or(&[]));
        }
        for frame in self.frames_since(from) {
            each(&[frame.sample(slot).get(metric)]);
        }
    }

    /// The same for the column of its tree; of the plugin for a column that trees do not have.
    pub(crate) fn tree_column(
        &self,
        slot: u32,
        metric: Metric,
        from: u64,
        mut each: impl FnMut(&[u32]),
    ) {
        let Some(tree) = TreeMetric::of(metric) else {
            return self.column(slot, metric, from, each);
        };
        for (block, skip) in self.blocks_since(from) {
            each(block.tree_column(slot, metric).get(skip..).unwrap_or(&[]));
        }
        for frame in self.frames_since(from) {
            each(&[frame.tree(slot).get(tree)]);
        }
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
                frame.tree(slot).get(TreeMetric::Cpu)
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
        for (block, skip) in self.blocks_since(ticks.start) {
            if block.first >= ticks.end {
                return;
            }
            let len = (ticks.end - block.first).min(BLOCK_TICKS as u64) as usize;
            let column = match of_tree {
                true => block.tree_column(slot, metric),
                false => block.column(slot, metric),
            };
            out.extend_from_slice(column.get(skip..len).unwrap_or(&[]));
        }
        for frame in self.frames_since(ticks.start).take_while(|frame| frame.tick < ticks.end) {
            out.push(match TreeMetric::of(metric) {
                Some(tree) if of_tree => frame.tree(slot).get(tree),
                Some(_) | None => frame.sample(slot).get(metric),
            });
        }
    }

    /// The blocks with a tick from `from` on, and the number of their earlier ticks.
    fn blocks_since(&self, from: u64) -> impl Iterator<Item = (&Block, usize)> {
        let first = self.blocks.front().map_or(from, |block| block.first);
        let offset = from.saturating_sub(first) as usize;
        let blocks = self.blocks.iter().skip(offset / BLOCK_TICKS).enumerate();
        blocks.map(move |(i, block)| (&**block, if i == 0 { offset % BLOCK_TICKS } else { 0 }))
    }

    fn frames_since(&self, from: u64) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(move |frame| frame.tick >= from).map(|frame| &**frame)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    /// `blocks` full blocks and `frames` frames; the CPU column of slot 0 holds the tick.
    fn timeline(blocks: u64, frames: u64) -> Timeline {
        let start =
            TimePoint { mono: MonoNanos(0), wall: SystemTime::UNIX_EPOCH, boot: Duration::ZERO };
        let frame = |tick: u64| {
            let sample = PackedSample::from_columns(|metric| match metric {
                Metric::Cpu => tick as u32,
                Metric::RunAndState => 3,
                Metric::Memory | Metric::Events | Metric::Crashes => 0,
            });
            let at = start.after(Duration::from_secs(tick));
            Arc::new(Frame { tick, at, samples: vec![sample], trees: Vec::new() })
        };
        let first = 7;
        let list = (0..blocks).map(|b| {
            let ticks = first + b * BLOCK_TICKS as u64..first + (b + 1) * BLOCK_TICKS as u64;
            let mut block = Block::new(start);
            block.fill(&ticks.map(frame).collect::<Vec<_>>());
            Arc::new(block)
        });
        let since = first + blocks * BLOCK_TICKS as u64;
        Timeline {
            blocks: Arc::new(list.collect()),
            frames: (since..since + frames).map(frame).collect(),
            oldest: first,
            newest: since + frames - 1,
        }
    }

    #[test]
    fn every_tick_is_found_in_block_or_frame() {
        for (blocks, frames) in [(0, 1), (0, 29), (1, 0), (2, 5), (3, 29)] {
            let timeline = timeline(blocks, frames);
            for tick in timeline.oldest..=timeline.newest {
                assert_eq!(timeline.sample(tick, 0).get(Metric::Cpu), tick as u32);
                let MonoNanos(at) = timeline.at(tick).unwrap().mono;
                assert_eq!(timeline.first_since(MonoNanos(at)), tick);
                assert_eq!(timeline.first_since(MonoNanos(at + 1)), tick + 1);
                let mut column = Vec::new();
                timeline.column(0, Metric::Cpu, tick, |piece| column.extend_from_slice(piece));
                assert_eq!(column, (tick as u32..=timeline.newest as u32).collect::<Vec<_>>());
            }
            for tick in [0, timeline.oldest - 1, timeline.newest + 1, u64::MAX] {
                assert!(timeline.at(tick).is_none(), "tick {tick}");
                assert_eq!(timeline.sample(tick, 0), PackedSample::MISSING);
            }
        }
    }

    #[test]
    fn slot_outside_history_has_no_values() {
        let timeline = timeline(2, 5);
        let mut values = 0;
        timeline.column(9, Metric::Memory, timeline.oldest, |piece| {
            values += piece.iter().filter(|&&value| value != 0).count();
        });
        assert_eq!(values, 0);
    }
}
