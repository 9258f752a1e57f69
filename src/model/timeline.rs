//! The history as a snapshot holds it: blocks, and the frames since the last of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::block::{Block, TICKS};
use super::frame::Frame;
use super::sample::{Column, Row};
use super::time::Now;

/// Blocks one after the other without a gap, oldest first.
pub(crate) type BlockList = VecDeque<Arc<Block>>;

/// Ticks without a gap: first those in blocks, then those in frames.
#[derive(Debug)]
pub(crate) struct Timeline {
    pub blocks: Arc<BlockList>,
    pub frames: Vec<Arc<Frame>>,
    /// The oldest tick that is part of the history; the oldest block may begin before it.
    pub oldest: u64,
    /// The newest tick; 0 before the first.
    pub newest: u64,
}

/// Where the rows of a tick are.
enum Place<'a> {
    Block(&'a Block, usize),
    Frame(&'a Frame),
}

impl Timeline {
    pub(crate) fn empty() -> Self {
        Self { blocks: Arc::default(), frames: Vec::new(), oldest: 1, newest: 0 }
    }

    fn place(&self, tick: u64) -> Option<Place<'_>> {
        if let Some(first) = self.frames.first()
            && tick >= first.tick
        {
            let frame = self.frames.get((tick - first.tick) as usize)?;
            return Some(Place::Frame(frame));
        }
        let since = tick.checked_sub(self.blocks.front()?.first)? as usize;
        let block = self.blocks.get(since / TICKS)?;
        Some(Place::Block(block, since % TICKS))
    }

    /// When `tick` was, if it is held.
    pub(crate) fn at(&self, tick: u64) -> Option<&Now> {
        self.place(tick).map(|place| match place {
            Place::Block(block, k) => &block.at[k],
            Place::Frame(frame) => &frame.at,
        })
    }

    /// The row of `slot` at `tick`; absent where there is none.
    pub(crate) fn row(&self, tick: u64, slot: u32) -> Row {
        match self.place(tick) {
            Some(Place::Block(block, k)) => block.row(slot, k),
            Some(Place::Frame(frame)) => frame.row(slot),
            None => Row::ABSENT,
        }
    }

    /// The first tick of the history that was at `cut` or later.
    pub(crate) fn first_since(&self, cut: Instant) -> u64 {
        let (mut low, mut high) = (self.oldest, self.newest + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at(middle).is_some_and(|at| at.mono < cut) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Hands out one column of one plugin from tick `from` on, piece by piece, in order of time.
    pub(crate) fn column(
        &self,
        slot: u32,
        column: Column,
        from: u64,
        mut each: impl FnMut(&[u32]),
    ) {
        if let Some(front) = self.blocks.front() {
            let since = from.saturating_sub(front.first) as usize;
            let mut skip = since % TICKS;
            for block in self.blocks.iter().skip(since / TICKS) {
                each(block.column(slot, column).get(skip..).unwrap_or(&[]));
                skip = 0;
            }
        }
        for frame in self.frames.iter().filter(|frame| frame.tick >= from) {
            let row = frame.row(slot);
            let value = match column {
                Column::Cpu => row.cpu,
                Column::Kib => row.kib,
                Column::Events => row.events,
                Column::Crashes => row.crashes,
                Column::RunAndState => row.run_and_state,
            };
            each(&[value]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    /// `blocks` full blocks and `frames` frames; the CPU column of slot 0 holds the tick.
    fn timeline(blocks: u64, frames: u64) -> Timeline {
        let start =
            Now { mono: Instant::now(), wall: SystemTime::UNIX_EPOCH, boot: Duration::ZERO };
        let frame = |tick: u64| {
            let rows = vec![Row { cpu: tick as u32, run_and_state: 3, ..Row::ABSENT }];
            Arc::new(Frame { tick, at: start.after(Duration::from_secs(tick)), rows })
        };
        let first = 7;
        let list = (0..blocks).map(|b| {
            let ticks = first + b * TICKS as u64..first + (b + 1) * TICKS as u64;
            let mut block = Block::new(start);
            block.regroup(&ticks.map(frame).collect::<Vec<_>>());
            Arc::new(block)
        });
        let since = first + blocks * TICKS as u64;
        Timeline {
            blocks: Arc::new(list.collect()),
            frames: (since..since + frames).map(frame).collect(),
            oldest: first,
            newest: since + frames - 1,
        }
    }

    #[test]
    fn every_tick_is_found_where_it_lies_whether_in_a_block_or_in_a_frame() {
        for (blocks, frames) in [(0, 1), (0, 29), (1, 0), (2, 5), (3, 29)] {
            let timeline = timeline(blocks, frames);
            for tick in timeline.oldest..=timeline.newest {
                assert_eq!(timeline.row(tick, 0).cpu, tick as u32);
                let since = timeline.at(tick).unwrap().mono;
                assert_eq!(timeline.first_since(since), tick);
                assert_eq!(timeline.first_since(since + Duration::from_millis(1)), tick + 1);
                let mut seen = Vec::new();
                timeline.column(0, Column::Cpu, tick, |piece| seen.extend_from_slice(piece));
                assert_eq!(seen, (tick as u32..=timeline.newest as u32).collect::<Vec<_>>());
            }
            for tick in [0, timeline.oldest - 1, timeline.newest + 1, u64::MAX] {
                assert!(timeline.at(tick).is_none(), "tick {tick}");
                assert_eq!(timeline.row(tick, 0), Row::ABSENT);
            }
        }
    }

    #[test]
    fn a_slot_that_the_history_does_not_know_has_no_values() {
        let timeline = timeline(2, 5);
        let mut values = 0;
        timeline.column(9, Column::Kib, timeline.oldest, |piece| {
            values += piece.iter().filter(|&&value| value != 0).count();
        });
        assert_eq!(values, 0);
    }
}
