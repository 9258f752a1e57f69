//! Thirty frames, regrouped so that one plugin's values of one column are contiguous.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frame::Frame;
use super::metric::Metric;
use super::packed::PackedSample;
use super::packed_block::PackedBlock;
use super::tree_row::{TreeMetric, TreeValues};
use crate::time::{MonoNanos, TimePoint};

/// Ticks in a block. Measured: larger blocks make the tick that seals one slower and hold more
/// samples that have left the window; smaller ones make queries slower.
pub(crate) const BLOCK_TICKS: usize = 30;

/// Integers of one slot in a block.
const PER_SLOT: usize = Metric::COUNT * BLOCK_TICKS;

/// Integers of one slot with tree columns.
const PER_TREE: usize = TreeMetric::COUNT * BLOCK_TICKS;

/// Thirty frames, by slot and column.
#[derive(Debug)]
pub(crate) struct Block {
    /// The first of its ticks.
    pub first: u64,
    pub at: [TimePoint; BLOCK_TICKS],
    /// The same on the monotonic clock, contiguous for sums over time.
    pub mono: [MonoNanos; BLOCK_TICKS],
    /// By slot, then column, then tick.
    values: Vec<u32>,
    /// The slots with tree columns, ascending: those with a row in one of the thirty ticks.
    tree_slots: Vec<u32>,
    /// By position in `tree_slots`, then column, then tick.
    tree_values: Vec<u32>,
}

impl Block {
    /// An empty block, to be filled by [`fill`](Self::fill).
    pub(crate) fn new(at: TimePoint) -> Self {
        Self {
            first: 0,
            at: [at; BLOCK_TICKS],
            mono: [at.mono; BLOCK_TICKS],
            values: Vec::new(),
            tree_slots: Vec::new(),
            tree_values: Vec::new(),
        }
    }

    /// Replaces the contents by `frames`: thirty consecutive ticks.
    ///
    /// Frames from a time with fewer slots have missing samples in the others.
    pub(crate) fn fill(&mut self, frames: &[Arc<Frame>]) {
        debug_assert_eq!(frames.len(), BLOCK_TICKS);
        self.first = frames[0].tick;
        let slots = frames.iter().map(|frame| frame.samples.len()).max().unwrap_or(0);
        // The old contents are overwritten below, completely: only new room has to be zeroed.
        resize_and_trim(&mut self.values, slots * PER_SLOT);
        for (k, frame) in frames.iter().enumerate() {
            self.at[k] = frame.at;
            self.mono[k] = frame.at.mono;
        }
        for (slot, out) in self.values.chunks_exact_mut(PER_SLOT).enumerate() {
            for (k, frame) in frames.iter().enumerate().take(BLOCK_TICKS) {
                let sample = frame.samples.get(slot).unwrap_or(&PackedSample::MISSING);
                for (column, &value) in sample.columns().iter().enumerate() {
                    out[column * BLOCK_TICKS + k] = value;
                }
            }
        }
        self.fill_trees(frames);
    }

    fn fill_trees(&mut self, frames: &[Arc<Frame>]) {
        self.tree_slots.clear();
        for frame in frames {
            // Frames after the first one rarely add a slot.
            let known = self.tree_slots.len();
            for row in &frame.trees {
                if self.tree_slots[..known].binary_search(&row.slot).is_err() {
                    self.tree_slots.push(row.slot);
                }
            }
            if known > 0 && self.tree_slots.len() > known {
                self.tree_slots.sort_unstable();
            }
        }
        let len = self.tree_slots.len();
        resize_and_trim(&mut self.tree_slots, len);
        resize_and_trim(&mut self.tree_values, len * PER_TREE);
        let trees = self.tree_slots.iter().zip(self.tree_values.chunks_exact_mut(PER_TREE));
        for (&slot, out) in trees {
            for (k, frame) in frames.iter().enumerate().take(BLOCK_TICKS) {
                for (column, &value) in frame.tree(slot).columns().iter().enumerate() {
                    out[column * BLOCK_TICKS + k] = value;
                }
            }
        }
    }

    /// The tick after its last one.
    pub(crate) const fn end(&self) -> u64 {
        self.first + BLOCK_TICKS as u64
    }

    /// The number of its slots.
    pub(crate) const fn slots(&self) -> usize {
        self.values.len() / PER_SLOT
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

    /// The columns of a slot with tree columns.
    fn tree_columns(&self, slot: u32) -> Option<&[u32]> {
        // Most blocks of most hosts have none.
        if self.tree_slots.is_empty() {
            return None;
        }
        let start = self.tree_slots.binary_search(&slot).ok()? * PER_TREE;
        self.tree_values.get(start..start + PER_TREE)
    }

    /// Whether a tick of the block has tree values of `slot` that are not those of its root.
    pub(crate) fn has_tree(&self, slot: u32) -> bool {
        self.tree_columns(slot).is_some()
    }

    /// One column of a plugin's tree, in order of time: of its root if no tick has other values.
    pub(crate) fn tree_column(&self, slot: u32, metric: Metric) -> &[u32] {
        match (TreeMetric::of(metric), self.tree_columns(slot)) {
            (Some(tree), Some(columns)) => {
                let start = tree as usize * BLOCK_TICKS;
                &columns[start..start + BLOCK_TICKS]
            }
            (_, _) => self.column(slot, metric),
        }
    }

    /// The tree values of `slot` at the `k`th of the thirty ticks; `sample` is its sample.
    pub(crate) fn tree(&self, slot: u32, k: usize, sample: PackedSample) -> TreeValues {
        match self.tree_columns(slot) {
            Some(columns) => {
                TreeValues::from_columns(|metric| columns[metric as usize * BLOCK_TICKS + k])
            }
            None => TreeValues::of_root(sample),
        }
    }
}

/// The blocks of a history, oldest first, without a gap: first those that are packed.
#[derive(Debug, Default)]
pub(crate) struct BlockList {
    pub packed: VecDeque<Arc<PackedBlock>>,
    pub raw: VecDeque<Arc<Block>>,
}

impl BlockList {
    /// Removes the blocks before those of `current`.
    pub(crate) fn trim(&mut self, current: &Self) {
        let first = current.packed.front().map_or(u64::MAX, |block| block.first);
        while self.packed.front().is_some_and(|block| block.first < first) {
            self.packed.pop_front();
        }
        let first = current.raw.front().map_or(u64::MAX, |block| block.first);
        while self.raw.front().is_some_and(|block| block.first < first) {
            self.raw.pop_front();
        }
    }

    /// Makes the list, an older state of `current`, equal to it. Both parts differ at their ends only,
    /// so the cost depends on what happened since, not on the length of the history.
    pub(crate) fn sync(&mut self, current: &Self) {
        self.trim(current);
        self.packed.extend(current.packed.iter().skip(self.packed.len()).cloned());
        self.raw.extend(current.raw.iter().skip(self.raw.len()).cloned());
    }
}

/// Changes the length. Of the old contents, nothing is needed.
fn resize_and_trim(values: &mut Vec<u32>, len: usize) {
    values.resize(len, 0);
    if values.capacity() > 4 * len + 64 {
        values.shrink_to_fit(); // room for plugins that were removed
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::history::tree_row::TreeRow;
    use crate::snapshot::state::PluginState;
    use crate::time::MonoNanos;

    fn frames(slots_at: impl Fn(usize) -> usize) -> Vec<Arc<Frame>> {
        frames_with_trees(slots_at, |_| Vec::new())
    }

    fn frames_with_trees(
        slots_at: impl Fn(usize) -> usize,
        trees_at: impl Fn(usize) -> Vec<TreeRow>,
    ) -> Vec<Arc<Frame>> {
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
            trees: trees_at(k),
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

    fn row(slot: u32, value: u32) -> TreeRow {
        TreeRow { slot, values: TreeValues::new(Some(value), Some(value + 1), Some(3)) }
    }

    #[test]
    fn block_holds_tree_values_of_its_frames() {
        // A tree in all ticks, one from the middle on, one in a single tick, and one without rows.
        let rows = |k: usize| {
            let k32 = k as u32;
            let mut rows = vec![row(1, 5_000 + k32)];
            rows.extend((k == 7).then(|| row(2, 9_000)));
            rows.extend((k >= 12).then(|| row(4, 7_000 + k32)));
            rows
        };
        let frames = frames_with_trees(|_| 5, rows);
        let mut block = Block::new(frames[0].at);
        block.fill(&frames);
        assert_eq!(
            [0, 1, 2, 3, 4, 5].map(|slot| block.has_tree(slot)),
            [false, true, true, false, true, false]
        );
        for (k, frame) in frames.iter().enumerate() {
            for slot in 0..5 {
                let tree = block.tree(slot, k, block.sample(slot, k));
                assert_eq!(tree, frame.tree(slot), "slot {slot}, tick {k}");
                for (metric, tree) in
                    [(Metric::Cpu, TreeMetric::Cpu), (Metric::Memory, TreeMetric::Memory)]
                {
                    assert_eq!(block.tree_column(slot, metric)[k], frame.tree(slot).get(tree));
                }
            }
        }
    }

    #[test]
    fn reused_block_keeps_no_old_trees() {
        let many = frames_with_trees(|_| 5, |k| (0..5).map(|slot| row(slot, k as u32)).collect());
        let one = frames_with_trees(|_| 5, |k| if k == 3 { vec![row(2, 1)] } else { vec![] });
        let mut block = Block::new(many[0].at);
        for frames in [many, one, frames(|_| 5)] {
            block.fill(&frames);
            for (k, frame) in frames.iter().enumerate() {
                for slot in 0..5 {
                    assert_eq!(block.tree(slot, k, block.sample(slot, k)), frame.tree(slot));
                }
            }
        }
        assert!(block.tree_slots.is_empty());
    }
}
