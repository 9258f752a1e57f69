//! One tick of all plugins.

use super::limit_row::LimitRow;
use super::packed::PackedSample;
use super::tree_row::{ProcessRow, TreeRow, TreeValues, find_row};
use super::units::CpuTime;
use crate::time::TimePoint;

/// The samples of all plugins at one tick, by slot.
#[derive(Debug)]
pub(crate) struct Frame {
    pub tick: u64,
    pub at: TimePoint,
    pub samples: Vec<PackedSample>,
    /// By slot, of the plugins whose tree has other values than its root.
    pub trees: Vec<TreeRow>,
}

impl Frame {
    /// The sample of `slot`; missing where the frame is older than the slot.
    pub(crate) fn sample(&self, slot: u32) -> PackedSample {
        self.samples.get(slot as usize).copied().unwrap_or(PackedSample::MISSING)
    }

    /// The tree values of `slot`.
    pub(crate) fn tree(&self, slot: u32) -> TreeValues {
        self.tree_beside(slot, self.sample(slot))
    }

    /// The tree values of `slot`; `sample` is its sample.
    #[inline]
    pub(crate) fn tree_beside(&self, slot: u32, sample: PackedSample) -> TreeValues {
        find_row(&self.trees, slot).map_or_else(|| TreeValues::of_root(sample), |row| row.values)
    }
}

/// A plugin's counters at a tick. Samples hold only the increments of their tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TickTotals {
    pub events: u64,
    /// The part of `events` that did not fit into samples: more than 2^32 in one tick.
    pub unrecorded_events: u64,
    pub crashes: u64,
    /// CPU time of the run that was active.
    pub run_cpu: CpuTime,
    /// CPU time of the descendants of all runs.
    pub others_cpu: CpuTime,
}

/// The count of one kind of a plugin's events at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KindCount {
    pub slot: u32,
    pub count: u64,
}

/// The values that are kept of the newest tick only.
#[derive(Debug, Default)]
pub(crate) struct NewestTick {
    /// By slot.
    pub totals: Vec<TickTotals>,
    /// By slot, the root first; only of plugins that have a [`TreeRow`].
    pub processes: Vec<ProcessRow>,
    /// By slot, then in the order of the record's kinds; only of plugins that have kinds.
    pub kind_counts: Vec<KindCount>,
    /// By slot, in the order of the limits; only of plugins that have some.
    pub limits: Vec<LimitRow>,
}

impl NewestTick {
    /// The counts of the kinds of `slot`.
    pub(crate) fn kind_counts(&self, slot: u32) -> &[KindCount] {
        let start = self.kind_counts.partition_point(|row| row.slot < slot);
        let len = self.kind_counts[start..].partition_point(|row| row.slot == slot);
        &self.kind_counts[start..start + len]
    }
}
