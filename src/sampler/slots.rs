//! Ids to slots, and when a slot may be used again.
//!
//! A slot is used again at once, the lowest first, so that frames stay as narrow as the number of
//! plugins allows also where plugins come and go with every job. That is safe because a row says
//! nothing by its slot alone: a record has the first tick that is its own, no query looks at rows
//! before it, and the record of the slot's former owner is in no table any more. Snapshots that
//! still have it have the frames of that time too.

use std::collections::{BTreeSet, HashMap};

use crate::shared::command::PluginId;

/// Which slot each registered plugin has.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    by_id: HashMap<PluginId, u32, foldhash::fast::RandomState>,
    free: BTreeSet<u32>,
    /// One more than the highest slot in use.
    end: u32,
}

impl Slots {
    pub(crate) fn get(&self, id: PluginId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// One more than the highest slot in use: as many rows as a frame must have.
    pub(crate) const fn end(&self) -> u32 {
        self.end
    }

    /// The lowest slot that is free.
    pub(crate) fn give(&mut self, id: PluginId) -> u32 {
        let slot = self.free.pop_first().unwrap_or(self.end);
        self.end = self.end.max(slot + 1);
        self.by_id.insert(id, slot);
        slot
    }

    /// Takes back the slot of `id`.
    pub(crate) fn take_back(&mut self, id: PluginId) -> Option<u32> {
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
    fn the_lowest_free_slot_is_given_and_the_end_follows_the_highest_in_use() {
        let mut slots = Slots::default();
        let ids: Vec<PluginId> = (0..5).map(PluginId).collect();
        for (i, &id) in ids.iter().enumerate() {
            assert_eq!(slots.give(id) as usize, i);
        }
        assert_eq!(slots.take_back(ids[1]), Some(1));
        assert_eq!(slots.take_back(ids[4]), Some(4));
        assert_eq!(slots.end(), 4);
        assert_eq!(slots.give(PluginId(9)), 1);
        assert_eq!(slots.get(PluginId(9)), Some(1));
        assert_eq!(slots.get(ids[1]), None);
        for id in [ids[0], ids[2], ids[3], PluginId(9)] {
            slots.take_back(id);
        }
        assert_eq!(slots.end(), 0);
        assert_eq!(slots.take_back(ids[0]), None, "twice");
        assert_eq!(slots.give(PluginId(10)), 0);
    }

    #[test]
    fn plugins_that_come_and_go_one_at_a_time_need_one_slot() {
        let mut slots = Slots::default();
        for id in (0..1_000).map(PluginId) {
            assert_eq!(slots.give(id), 0);
            slots.take_back(id);
        }
    }
}
