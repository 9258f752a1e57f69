//! Thirty frames, regrouped so that one plugin's values of one kind lie side by side.

use std::sync::Arc;

use super::frame::Frame;
use super::sample::{COLUMNS, Column, Row};
use super::time::Now;

/// Ticks in a block. Measured: larger blocks make the tick that regroups slower and hold more
/// that has left the window; smaller ones make queries slower.
pub(crate) const TICKS: usize = 30;

/// Thirty frames, by plugin and column.
#[derive(Debug)]
pub(crate) struct Block {
    /// The first of its ticks.
    pub first: u64,
    pub at: [Now; TICKS],
    /// By slot, then column, then tick.
    values: Vec<u32>,
}

impl Block {
    /// An empty block, to be filled by [`regroup`](Self::regroup).
    pub(crate) fn new(now: Now) -> Self {
        Self { first: 0, at: [now; TICKS], values: Vec::new() }
    }

    /// Becomes the block of `frames`, which are thirty ticks one after the other.
    ///
    /// Frames of a time when there were fewer slots have absent rows in the others.
    pub(crate) fn regroup(&mut self, frames: &[Arc<Frame>]) {
        debug_assert_eq!(frames.len(), TICKS);
        self.first = frames[0].tick;
        let slots = frames.iter().map(|frame| frame.rows.len()).max().unwrap_or(0);
        // What was here is written over below, all of it: only new room has to be zeroed.
        let len = slots * COLUMNS * TICKS;
        self.values.resize(len, 0);
        if self.values.capacity() > 4 * len + 64 {
            self.values.shrink_to_fit(); // room for plugins that were there once
        }
        for (k, frame) in frames.iter().enumerate() {
            self.at[k] = frame.at;
        }
        for (slot, out) in self.values.chunks_exact_mut(COLUMNS * TICKS).enumerate() {
            for (k, frame) in frames.iter().enumerate() {
                let row = frame.rows.get(slot).copied().unwrap_or(Row::ABSENT);
                out[Column::Cpu as usize * TICKS + k] = row.cpu;
                out[Column::Kib as usize * TICKS + k] = row.kib;
                out[Column::Events as usize * TICKS + k] = row.events;
                out[Column::Crashes as usize * TICKS + k] = row.crashes;
                out[Column::RunAndState as usize * TICKS + k] = row.run_and_state;
            }
        }
    }

    /// The tick after its last one.
    pub(crate) const fn end(&self) -> u64 {
        self.first + TICKS as u64
    }

    /// One column of one plugin, in order of time; empty where the block is older than the slot.
    pub(crate) fn column(&self, slot: u32, column: Column) -> &[u32] {
        let start = (slot as usize * COLUMNS + column as usize) * TICKS;
        self.values.get(start..start + TICKS).unwrap_or(&[])
    }

    /// The row of `slot` at the `k`th of the thirty ticks.
    pub(crate) fn row(&self, slot: u32, k: usize) -> Row {
        let start = slot as usize * COLUMNS * TICKS;
        let Some(of_slot) = self.values.get(start..start + COLUMNS * TICKS) else {
            return Row::ABSENT;
        };
        let value = |column: Column| of_slot[column as usize * TICKS + k];
        Row {
            cpu: value(Column::Cpu),
            kib: value(Column::Kib),
            events: value(Column::Events),
            crashes: value(Column::Crashes),
            run_and_state: value(Column::RunAndState),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;
    use crate::model::state::PluginState;

    fn frames(slots_at: impl Fn(usize) -> usize) -> Vec<Arc<Frame>> {
        let now = Now { mono: Instant::now(), wall: SystemTime::UNIX_EPOCH, boot: Duration::ZERO };
        let frame = |k: usize| Frame {
            tick: 31 + k as u64,
            at: now.after(Duration::from_secs(k as u64)),
            rows: (0..slots_at(k))
                .map(|slot| Row {
                    cpu: (slot * 1_000 + k) as u32,
                    kib: (slot * 2_000 + k) as u32,
                    events: k as u32,
                    crashes: slot as u32,
                    run_and_state: PluginState::Running.code(),
                })
                .collect(),
        };
        (0..TICKS).map(|k| Arc::new(frame(k))).collect()
    }

    #[test]
    fn a_block_holds_what_the_frames_held() {
        let frames = frames(|_| 3);
        let mut block = Block::new(frames[0].at);
        block.regroup(&frames);
        assert_eq!((block.first, block.end()), (31, 61));
        for (k, frame) in frames.iter().enumerate() {
            assert_eq!(block.at[k], frame.at);
            for slot in 0..3 {
                assert_eq!(block.row(slot, k), frame.row(slot));
                assert_eq!(block.column(slot, Column::Kib)[k], frame.row(slot).kib);
            }
        }
        assert!(block.column(3, Column::Cpu).is_empty());
        assert_eq!(block.row(3, 0), Row::ABSENT);
    }

    #[test]
    fn a_plugin_registered_in_the_middle_of_a_block_is_absent_before() {
        let frames = frames(|k| if k < 12 { 1 } else { 2 });
        let mut block = Block::new(frames[0].at);
        block.regroup(&frames);
        for k in 0..TICKS {
            assert_eq!(block.row(1, k).state().is_some(), k >= 12, "tick {k} of the block");
        }
    }

    #[test]
    fn a_block_that_is_used_again_keeps_nothing_of_what_it_was() {
        let wide = frames(|_| 5);
        let narrow = frames(|k| if k % 2 == 0 { 2 } else { 1 });
        let mut block = Block::new(wide[0].at);
        block.regroup(&wide);
        block.regroup(&narrow);
        for (k, frame) in narrow.iter().enumerate() {
            for slot in 0..5 {
                assert_eq!(block.row(slot, k), frame.row(slot));
            }
        }
    }
}
