//! Thirty frames, regrouped so that one plugin's values of one column are contiguous.

use std::sync::Arc;

use super::frame::Frame;
use super::metric::Metric;
use super::packed::PackedSample;
use crate::time::TimePoint;

/// Ticks in a block. Measured: larger blocks make the tick that seals one slower and hold more
/// samples that have left the window; smaller ones make queries slower.
pub(crate) const BLOCK_TICKS: usize = 30;

/// Integers of one slot in a block.
const PER_SLOT: usize = Metric::COUNT * BLOCK_TICKS;

/// Thirty frames, by slot and column.
#[derive(Debug)]
pub(crate) struct Block {
    /// The first of its ticks.
    pub first: u64,
    pub at: [TimePoint; BLOCK_TICKS],
    /// By slot, then column, then tick.
    values: Vec<u32>,
}

impl Block {
    /// An empty block, to be filled by [`fill`](Self::fill).
    pub(crate) fn new(at: TimePoint) -> Self {
        Self { first: 0, at: [at; BLOCK_TICKS], values: Vec::new() }
    }

    /// Replaces the contents by `frames`: thirty consecutive ticks.
    ///
    /// Frames from a time with fewer slots have missing samples in the others.
    pub(crate) fn fill(&mut self, frames: &[Arc<Frame>]) {
        debug_assert_eq!(frames.len(), BLOCK_TICKS);
        self.first = frames[0].tick;
        let slots = frames.iter().map(|frame| frame.samples.len()).max().unwrap_or(0);
        // The old contents are overwritten below, completely: only new room has to be zeroed.
        let len = slots * PER_SLOT;
        self.values.resize(len, 0);
        if self.values.capacity() > 4 * len + 64 {
            self.values.shrink_to_fit(); // room for plugins that were removed
        }
        for (k, frame) in frames.iter().enumerate() {
            self.at[k] = frame.at;
        }
        for (slot, out) in self.values.chunks_exact_mut(PER_SLOT).enumerate() {
            for (k, frame) in frames.iter().enumerate().take(BLOCK_TICKS) {
                let sample = frame.samples.get(slot).unwrap_or(&PackedSample::MISSING);
                for (column, &value) in sample.columns().iter().enumerate() {
                    out[column * BLOCK_TICKS + k] = value;
                }
            }
        }
    }

    /// The tick after its last one.
    pub(crate) const fn end(&self) -> u64 {
        self.first + BLOCK_TICKS as u64
    }

    /// One column of one plugin, in order of time; empty where the block is older than the slot.
    pub(crate) fn column(&self, slot: u32, metric: Metric) -> &[u32] {
        let start = slot as usize * PER_SLOT + metric as usize * BLOCK_TICKS;
        self.values.get(start..start + BLOCK_TICKS).unwrap_or(&[])
    }

    /// The sample of `slot` at the `k`th of the thirty ticks.
    #[inline]
    pub(crate) fn sample(&self, slot: u32, k: usize) -> PackedSample {
        let start = slot as usize * PER_SLOT;
        match self.values.get(start..start + PER_SLOT) {
            Some(values) => {
                PackedSample::from_columns(|metric| values[metric as usize * BLOCK_TICKS + k])
            }
            None => PackedSample::MISSING,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::snapshot::state::PluginState;
    use crate::time::MonoNanos;

    fn frames(slots_at: impl Fn(usize) -> usize) -> Vec<Arc<Frame>> {
        let start =
            TimePoint { mono: MonoNanos(0), wall: SystemTime::UNIX_EPOCH, boot: Duration::ZERO };
        let frame = |k: usize| Frame {
            tick: 31 + k as u64,
            at: start.after(Duration::from_secs(k as u64)),
            samples: (0..slots_at(k))
                .map(|slot| {
                    PackedSample::from_columns(|metric| match metric {
                        Metric::Cpu => (slot * 1_000 + k) as u32,
                        Metric::Memory => (slot * 2_000 + k) as u32,
                        Metric::Events => k as u32,
                        Metric::Crashes => slot as u32,
                        Metric::RunAndState => PluginState::Running.code(),
                    })
                })
                .collect(),
        };
        (0..BLOCK_TICKS).map(|k| Arc::new(frame(k))).collect()
    }

    #[test]
    fn block_holds_what_its_frames_held() {
        let frames = frames(|_| 3);
        let mut block = Block::new(frames[0].at);
        block.fill(&frames);
        assert_eq!((block.first, block.end()), (31, 61));
        for (k, frame) in frames.iter().enumerate() {
            assert_eq!(block.at[k], frame.at);
            for slot in 0..3 {
                assert_eq!(block.sample(slot, k), frame.sample(slot));
                for metric in Metric::ALL {
                    assert_eq!(block.column(slot, metric)[k], frame.sample(slot).get(metric));
                }
            }
        }
        assert!(block.column(3, Metric::Cpu).is_empty());
        assert_eq!(block.sample(3, 0), PackedSample::MISSING);
    }

    #[test]
    fn plugin_registered_inside_block_has_no_earlier_samples() {
        let frames = frames(|k| if k < 12 { 1 } else { 2 });
        let mut block = Block::new(frames[0].at);
        block.fill(&frames);
        for k in 0..BLOCK_TICKS {
            assert_eq!(block.sample(1, k).state().is_some(), k >= 12, "tick {k} of the block");
        }
    }

    #[test]
    fn reused_block_keeps_no_old_contents() {
        let wide = frames(|_| 5);
        let narrow = frames(|k| if k % 2 == 0 { 2 } else { 1 });
        let mut block = Block::new(wide[0].at);
        block.fill(&wide);
        block.fill(&narrow);
        for (k, frame) in narrow.iter().enumerate() {
            for slot in 0..5 {
                assert_eq!(block.sample(slot, k), frame.sample(slot));
            }
        }
    }
}
