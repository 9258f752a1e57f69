//! Assigns slots to plugins.
//!
//! A released slot is reused immediately, the lowest first, so that frames stay as narrow as the
//! number of plugins allows even where plugins come and go with every job. Reuse is safe because a
//! sample means nothing by its slot alone: a record has the first tick of its plugin, no query reads
//! samples before it, and the record of the slot's previous owner is in no table any more. Snapshots
//! that still have that record also have the frames of that time.

use std::collections::{BTreeSet, HashMap};

use crate::sync::command::PluginId;

/// The slot of each registered plugin.
#[derive(Debug, Default)]
pub(crate) struct SlotAllocator {
    by_id: HashMap<PluginId, u32, foldhash::fast::RandomState>,
    free: BTreeSet<u32>,
    /// One more than the highest slot in use.
    end: u32,
}

impl SlotAllocator {
    pub(crate) fn get(&self, id: PluginId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// One more than the highest slot in use: the number of samples in a frame.
    pub(crate) const fn end(&self) -> u32 {
        self.end
    }

    /// Assigns the lowest free slot.
    pub(crate) fn allocate(&mut self, id: PluginId) -> u32 {
        let slot = self.free.pop_first().unwrap_or(self.end);
        self.end = self.end.max(slot + 1);
        self.by_id.insert(id, slot);
        slot
    }

    /// Releases the slot of `id`; `None` if it has none.
    pub(crate) fn release(&mut self, id: PluginId) -> Option<u32> {
        let slot = self.by_id.remove(&id)?;
        self.free.insert(slot);
        while self.end > 0 && self.free.remove(&(self.end - 1)) {
            self.end -= 1;
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_free_slot_is_assigned_first() {
        let mut slots = SlotAllocator::default();
        let ids: Vec<PluginId> = (0..5).map(PluginId).collect();
        for (i, &id) in ids.iter().enumerate() {
            assert_eq!(slots.allocate(id) as usize, i);
        }
        assert_eq!(slots.release(ids[1]), Some(1));
        assert_eq!(slots.release(ids[4]), Some(4));
        assert_eq!(slots.end(), 4);
        assert_eq!(slots.allocate(PluginId(9)), 1);
        assert_eq!(slots.get(PluginId(9)), Some(1));
        assert_eq!(slots.get(ids[1]), None);
        for id in [ids[0], ids[2], ids[3], PluginId(9)] {
            slots.release(id);
        }
        assert_eq!(slots.end(), 0);
        assert_eq!(slots.release(ids[0]), None, "twice");
        assert_eq!(slots.allocate(PluginId(10)), 0);
    }

    #[test]
    fn sequential_plugins_share_one_slot() {
        let mut slots = SlotAllocator::default();
        for id in (0..1_000).map(PluginId) {
            assert_eq!(slots.allocate(id), 0);
            slots.release(id);
        }
    }
}
