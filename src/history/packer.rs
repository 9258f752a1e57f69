//! Packs the oldest blocks of a history while it goes on, a few slots in each tick.

use std::sync::Arc;
use std::time::Duration;

use super::block::BlockList;
use super::packed_block::{PACKED_BLOCKS, PACKED_TICKS, PackedBlock, Sources, slots_of};
use super::pool::Pool;

/// The part of a history that is not packed.
const UNPACKED: Duration = Duration::from_secs(60 * 60);

/// Ticks over which the slots of a block are spread: half of those until the next block is due, so that
/// packing ends before it.
const TICKS: usize = PACKED_TICKS / 2;

/// Packs the oldest four blocks once they are older than an hour.
#[derive(Debug)]
pub(super) struct Packer {
    /// The newest ticks, which are not packed. `None` if the history is too short for packed blocks:
    /// then four blocks might leave it while they are being packed.
    unpacked: Option<u64>,
    /// The block that is being packed, which has no other owner.
    current: Option<Arc<PackedBlock>>,
}

impl Packer {
    pub(super) fn new(max_samples: u64, poll_interval: Duration) -> Self {
        let hour = UNPACKED.as_nanos().div_ceil(poll_interval.as_nanos().max(1));
        let unpacked = u64::try_from(hour).unwrap_or(u64::MAX).max(PACKED_TICKS as u64);
        let is_enough = max_samples >= unpacked.saturating_add(2 * PACKED_TICKS as u64);
        Self { unpacked: is_enough.then_some(unpacked), current: None }
    }

    /// Whether blocks will be packed.
    pub(super) const fn is_enabled(&self) -> bool {
        self.unpacked.is_some()
    }

    /// Continues after `tick`; returns the block if it is complete. It holds the oldest four of the
    /// blocks that are not packed.
    pub(super) fn advance(
        &mut self,
        tick: u64,
        blocks: &BlockList,
        pool: &mut Pool<PackedBlock>,
    ) -> Option<Arc<PackedBlock>> {
        let unpacked = self.unpacked?;
        let last = blocks.raw.get(PACKED_BLOCKS - 1)?;
        let sources: Sources<'_> = std::array::from_fn(|i| &*blocks.raw[i]);
        let Some(current) = &mut self.current else {
            if last.end() + unpacked <= tick + 1 {
                let mut block = pool.take().unwrap_or_default();
                let bytes = blocks.packed.back().map_or(0, |newest| newest.bytes());
                Arc::get_mut(&mut block)?.begin(&sources, bytes);
                self.current = Some(block);
            }
            return None;
        };
        let packed = Arc::get_mut(current)?;
        debug_assert_eq!(packed.first, sources[0].first);
        let slots = slots_of(&sources).div_ceil(TICKS).max(1);
        if (0..slots).all(|_| packed.push(&sources)) {
            return None;
        }
        packed.trim();
        self.current.take()
    }
}
