//! Writes the history: frames, blocks, and the parts of a publication, with their reuse.
//!
//! Path of a tick: a frame is begun from a recycled one, filled by the engine, and committed; every
//! thirty frames are sealed into a block, and blocks that are older than an hour are packed four at a
//! time, a few slots in each tick that seals none. A publication is a recycled snapshot that is brought up to
//! date: it receives the frames it does not have yet, and pointers to the rest.

use std::sync::Arc;
use std::time::Duration;

use super::block::{BLOCK_TICKS, Block, BlockList};
use super::frame::{Frame, NewestTick, TickTotals};
use super::packed::PackedSample;
use super::packed_block::{PACKED_BLOCKS, PACKED_TICKS, PackedBlock};
use super::packer::Packer;
use super::plugin_record::PluginTable;
use super::pool::{Pool, PoolLimits};
use super::timeline::{Gap, Timeline};
use super::tree_row::TreeValues;
use crate::snapshot::inner::{CollectorInfo, SnapshotInner};
use crate::snapshot::system::{CollectorStatus, SamplerStats, SystemMetrics};
use crate::time::TimePoint;

/// Retired snapshots, lists and tables that are kept for readers. A host that leaks more of them
/// pays for freeing them itself.
const MAX_RETIRED: usize = 64;

/// A value from a pool has no other owner, by the pool's definition.
const UNIQUE: &str = "a value from a pool has one owner";

/// The history as the engine writes it, and the current parts of a publication.
#[derive(Debug)]
pub(crate) struct HistoryWriter {
    /// Samples kept of each plugin.
    max_samples: u64,
    tick: u64,
    /// Tree rows of the newest tick.
    tree_count: usize,
    frames: Vec<Arc<Frame>>,
    blocks: Arc<BlockList>,
    newest: Arc<NewestTick>,
    table: Arc<PluginTable>,
    packer: Packer,
    /// Times without a collector, before the first tick of this one.
    gaps: Option<Arc<[Gap]>>,
    empty: EmptyParts,
    pools: RecyclePools,
}

/// The parts that a recycled snapshot holds in place of its old ones.
#[derive(Debug, Default)]
struct EmptyParts {
    blocks: Arc<BlockList>,
    newest: Arc<NewestTick>,
    table: Arc<PluginTable>,
}

#[derive(Debug)]
struct RecyclePools {
    snapshots: Pool<SnapshotInner>,
    lists: Pool<BlockList>,
    tables: Pool<PluginTable>,
    newest: Pool<NewestTick>,
    frames: Pool<Frame>,
    blocks: Pool<Block>,
    packed: Pool<PackedBlock>,
}

/// A tick that is being recorded.
#[derive(Debug)]
pub(crate) struct PendingTick {
    frame: Arc<Frame>,
    newest: Arc<NewestTick>,
}

impl PendingTick {
    /// The values to fill, by slot.
    pub(crate) fn parts(&mut self) -> (&mut Frame, &mut NewestTick) {
        let frame = Arc::get_mut(&mut self.frame).expect(UNIQUE);
        (frame, Arc::get_mut(&mut self.newest).expect(UNIQUE))
    }
}

/// Clears `values` and reserves room for `len` of them, releasing room that is no longer needed.
fn clear_and_reserve<T>(values: &mut Vec<T>, len: usize) {
    values.clear();
    if values.capacity() > 4 * len + 64 {
        values.shrink_to(len);
    }
    values.reserve_exact(len);
}

impl HistoryWriter {
    pub(crate) fn new(max_samples: usize, poll_interval: Duration) -> Self {
        let empty = EmptyParts::default();
        let packer = Packer::new(max_samples as u64, poll_interval);
        let small = PoolLimits { free: 2, waiting: MAX_RETIRED, ticks: max_samples as u64 };
        // Frames that left the window wait for one more window; then their readers free them.
        let waiting = max_samples.max(BLOCK_TICKS) + BLOCK_TICKS;
        let frames = PoolLimits { free: BLOCK_TICKS + 4, waiting, ..small };
        // One block leaves the window whenever a new one is needed; or four are packed together.
        let free = if packer.is_enabled() { PACKED_BLOCKS } else { 1 };
        let blocks = PoolLimits { free, waiting: max_samples / BLOCK_TICKS + 2, ..small };
        let packed = PoolLimits { free: 1, waiting: max_samples / PACKED_TICKS + 2, ..small };
        Self {
            max_samples: max_samples as u64,
            tick: 0,
            tree_count: 0,
            frames: Vec::new(),
            blocks: Arc::clone(&empty.blocks),
            newest: Arc::clone(&empty.newest),
            table: Arc::clone(&empty.table),
            packer,
            gaps: None,
            empty,
            pools: RecyclePools {
                snapshots: Pool::new(small),
                lists: Pool::new(small),
                tables: Pool::new(small),
                newest: Pool::new(small),
                frames: Pool::new(frames),
                blocks: Pool::new(blocks),
                packed: Pool::new(packed),
            },
        }
    }

    /// The newest tick; 0 before the first.
    pub(crate) const fn tick(&self) -> u64 {
        self.tick
    }

    /// The number of ticks that the history holds.
    #[cfg(feature = "store")]
    pub(crate) fn max_ticks(&self) -> usize {
        usize::try_from(self.max_samples).unwrap_or(usize::MAX)
    }

    #[cfg(feature = "store")]
    pub(crate) fn set_gaps(&mut self, gaps: Vec<Gap>) {
        self.gaps = (!gaps.is_empty()).then(|| gaps.into());
    }

    /// The oldest tick that is part of the history.
    pub(crate) fn oldest(&self) -> u64 {
        (self.tick + 1).saturating_sub(self.max_samples).max(1)
    }

    /// The newest tick's values of `slot`, unless the tick is before `first_tick`.
    pub(crate) fn newest(&self, slot: u32, first_tick: u64) -> Option<NewestValues> {
        if self.tick < first_tick {
            return None;
        }
        let (sample, tree) = match (self.frames.last(), self.blocks.raw.back()) {
            (Some(frame), _) => (frame.sample(slot), frame.tree(slot)),
            (None, Some(block)) => {
                let sample = block.sample(slot, BLOCK_TICKS - 1);
                (sample, block.tree(slot, BLOCK_TICKS - 1, sample))
            }
            (None, None) => return None,
        };
        let totals = *self.newest.totals.get(slot as usize)?;
        Some(NewestValues { sample, tree, totals })
    }

    /// Begins the next tick with room for `slots` samples; [`commit`](Self::commit) completes it.
    pub(crate) fn begin_tick(&mut self, at: TimePoint, slots: usize) -> PendingTick {
        let tick = self.tick + 1;
        let new = || Arc::new(Frame { tick, at, samples: Vec::new(), trees: Vec::new() });
        let frame = self.pools.frames.take().unwrap_or_else(new);
        let newest = self.pools.newest.take().unwrap_or_default();
        let mut pending = PendingTick { frame, newest };
        let (frame, newest) = pending.parts();
        (frame.tick, frame.at) = (tick, at);
        clear_and_reserve(&mut frame.samples, slots);
        clear_and_reserve(&mut newest.totals, slots);
        // As many trees, processes and limits as in the tick before.
        clear_and_reserve(&mut frame.trees, self.tree_count);
        clear_and_reserve(&mut newest.processes, self.newest.processes.len());
        clear_and_reserve(&mut newest.kind_counts, self.newest.kind_counts.len());
        clear_and_reserve(&mut newest.limits, self.newest.limits.len());
        pending
    }

    /// Makes `pending` the newest tick.
    pub(crate) fn commit(&mut self, pending: PendingTick) {
        self.tick = pending.frame.tick;
        self.tree_count = pending.frame.trees.len();
        self.frames.push(pending.frame);
        let old = std::mem::replace(&mut self.newest, pending.newest);
        self.pools.newest.retire(old, self.tick);
        // A history shorter than a block never has one: its frames leave one by one.
        let oldest = self.oldest();
        let expired = self.frames.iter().take_while(|frame| frame.tick < oldest).count();
        for frame in self.frames.drain(..expired) {
            self.pools.frames.retire(frame, self.tick);
        }
        if self.frames.len() == BLOCK_TICKS {
            self.seal_block();
        } else {
            self.pack_slots();
        }
    }

    /// Turns the thirty frames into a block, and retires the blocks that have left the window.
    fn seal_block(&mut self) {
        let at = self.frames[0].at;
        let mut block = self.pools.blocks.take().unwrap_or_else(|| Arc::new(Block::new(at)));
        Arc::get_mut(&mut block).expect(UNIQUE).fill(&self.frames);

        let oldest = self.oldest();
        self.update_blocks(|blocks, pools, tick| {
            blocks.raw.push_back(block);
            while blocks.raw.front().is_some_and(|block| block.end() <= oldest) {
                if let Some(block) = blocks.raw.pop_front() {
                    pools.blocks.retire(block, tick);
                }
            }
        });
        for frame in self.frames.drain(..) {
            self.pools.frames.retire(frame, self.tick);
        }
        // Free values must not hold the values retired above, or those would never become free.
        for snapshot in self.pools.snapshots.free_mut() {
            snapshot.timeline.frames.clear();
        }
    }

    /// Continues to pack the oldest blocks. Once four are packed, replaces them, and retires the packed
    /// blocks that have left the window.
    fn pack_slots(&mut self) {
        let packed = self.packer.advance(self.tick, &self.blocks, &mut self.pools.packed);
        let Some(packed) = packed else { return };
        let oldest = self.oldest();
        self.update_blocks(|blocks, pools, tick| {
            for block in blocks.raw.drain(..PACKED_BLOCKS) {
                pools.blocks.retire(block, tick);
            }
            blocks.packed.push_back(packed);
            while blocks.packed.front().is_some_and(|block| block.end() <= oldest) {
                if let Some(block) = blocks.packed.pop_front() {
                    pools.packed.retire(block, tick);
                }
            }
        });
    }

    /// Replaces the list of blocks by a changed one.
    fn update_blocks(&mut self, change: impl FnOnce(&mut BlockList, &mut RecyclePools, u64)) {
        let mut list = self.pools.lists.take().unwrap_or_default();
        let blocks = Arc::get_mut(&mut list).expect(UNIQUE);
        blocks.sync(&self.blocks);
        change(blocks, &mut self.pools, self.tick);
        let old = std::mem::replace(&mut self.blocks, list);
        self.pools.lists.retire(old, self.tick);
        // Free lists must not hold retired blocks, or those would never become free.
        for list in self.pools.lists.free_mut() {
            list.trim(&self.blocks);
        }
    }

    /// Replaces the plugin table. `fill` receives a table to change, empty or an older one that is
    /// mostly still valid, and the current one.
    pub(crate) fn update_table(&mut self, fill: impl FnOnce(&mut PluginTable, &PluginTable)) {
        let mut table = self.pools.tables.take().unwrap_or_default();
        fill(Arc::get_mut(&mut table).expect(UNIQUE), &self.table);
        let old = std::mem::replace(&mut self.table, table);
        self.pools.tables.retire(old, self.tick);
    }

    /// Builds the snapshot of the current state. The caller publishes it and hands the replaced one
    /// to [`retire_snapshot`](Self::retire_snapshot).
    pub(crate) fn build_snapshot(&mut self, header: SnapshotHeader) -> Arc<SnapshotInner> {
        let SnapshotHeader { info, revision, status, system, sampler } = header;
        let new = || Arc::new(SnapshotInner::before_first_tick(info, status));
        let mut next = self.pools.snapshots.take().unwrap_or_else(new);
        let snapshot = Arc::get_mut(&mut next).expect(UNIQUE);
        let mut frames = std::mem::take(&mut snapshot.timeline.frames);
        sync_frames(&mut frames, &self.frames);
        *snapshot = SnapshotInner {
            info,
            revision,
            status,
            timeline: Timeline {
                blocks: Arc::clone(&self.blocks),
                frames,
                oldest: self.oldest(),
                newest: self.tick,
                gaps: self.gaps.clone(),
            },
            newest: Arc::clone(&self.newest),
            table: Arc::clone(&self.table),
            system,
            sampler,
        };
        next
    }

    /// Keeps a snapshot that was replaced, and recovers retired values that readers have released.
    pub(crate) fn retire_snapshot(&mut self, old: Arc<SnapshotInner>) {
        self.pools.snapshots.retire(old, self.tick);
        self.sweep();
    }

    /// Recovers retired values that readers have released. Containers come before their contents.
    pub(crate) fn sweep(&mut self) {
        let Self { tick, pools, empty, frames, blocks, table, .. } = self;
        pools.snapshots.sweep(*tick, |snapshot| {
            snapshot.timeline.blocks = Arc::clone(&empty.blocks);
            snapshot.newest = Arc::clone(&empty.newest);
            snapshot.table = Arc::clone(&empty.table);
            trim_frames(&mut snapshot.timeline.frames, frames);
        });
        pools.lists.sweep(*tick, |list| list.trim(blocks));
        pools.tables.sweep(*tick, |old| {
            // A table of the same set of plugins is reused with few changes; others are not useful.
            if !Arc::ptr_eq(&old.names, &table.names) {
                *old = PluginTable::default();
            }
        });
        pools.newest.sweep(*tick, |_| ());
        pools.frames.sweep(*tick, |_| ());
        pools.blocks.sweep(*tick, |_| ());
        pools.packed.sweep(*tick, |_| ());
    }
}

/// The newest tick's values of one plugin.
#[derive(Debug)]
pub(crate) struct NewestValues {
    pub sample: PackedSample,
    pub tree: TreeValues,
    pub totals: TickTotals,
}

/// The parts of a publication besides history and table.
#[derive(Debug)]
pub(crate) struct SnapshotHeader {
    pub info: CollectorInfo,
    pub revision: u64,
    pub status: CollectorStatus,
    pub system: SystemMetrics,
    pub sampler: SamplerStats,
}

/// Makes `frames`, an older state of `current`, equal to it.
fn sync_frames(frames: &mut Vec<Arc<Frame>>, current: &[Arc<Frame>]) {
    trim_frames(frames, current);
    frames.extend(current.iter().skip(frames.len()).cloned());
}

/// Removes from `frames` those before the frames of `current`.
fn trim_frames(frames: &mut Vec<Arc<Frame>>, current: &[Arc<Frame>]) {
    let first = current.first().map_or(u64::MAX, |frame| frame.tick);
    let expired = frames.iter().take_while(|frame| frame.tick < first).count();
    frames.drain(..expired);
}

#[cfg(test)]
mod tests;
