//! Sums of a tick's values over all plugins.

use crate::history::frame::{Frame, NewestTick};
use crate::history::packed::PackedSample;
use crate::history::tree_row::TreeValues;
use crate::history::units::CpuShare;
use crate::history::writer::NewestValues;
use crate::snapshot::system::SystemMetrics;

/// The sums of a tick. Integers, so that a plugin's values can be taken out again exactly.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TickSums {
    events: u64,
    memory: u64,
    /// In thousandths of a percent.
    cpu: u64,
    tree_memory: u64,
    processes: u64,
}

impl TickSums {
    pub(super) fn of(frame: &Frame, newest: &NewestTick, has_trees: bool) -> Self {
        let mut sums = Self::default();
        // Two simple loops over all plugins; trees are few, and correct the sums afterwards.
        for totals in &newest.totals {
            sums.events = sums.events.wrapping_add(totals.events);
        }
        for &sample in &frame.samples {
            // Of a slot without a plugin all values are zero.
            sums.add(&Self::of_plugin(sample, TreeValues::of_root(sample), 0));
        }
        for row in frame.trees.iter().filter(|_| has_trees) {
            let sample = frame.sample(row.slot);
            sums.subtract(&Self::of_plugin(sample, TreeValues::of_root(sample), 0));
            sums.add(&Self::of_plugin(sample, row.values, 0));
        }
        sums
    }

    #[inline]
    fn of_plugin(sample: PackedSample, tree: TreeValues, events: u64) -> Self {
        Self {
            events,
            memory: sample.resident().unwrap_or(0),
            cpu: tree.cpu().map_or(0, |share| share.0.into()),
            tree_memory: tree.resident().unwrap_or(0),
            processes: tree.process_count().unwrap_or(0).into(),
        }
    }

    /// Takes out the values of a plugin that is removed.
    pub(super) fn remove(&mut self, newest: &NewestValues, has_trees: bool) {
        let &NewestValues { sample, tree, totals } = newest;
        // Without the values of trees, the reported processes are all that is known.
        let tree = if has_trees { tree } else { TreeValues::of_root(sample) };
        self.subtract(&Self::of_plugin(sample, tree, totals.events));
    }

    fn subtract(&mut self, other: &Self) {
        let Self { events, memory, cpu, tree_memory, processes } = *other;
        self.events = self.events.wrapping_sub(events);
        self.memory -= memory;
        self.cpu -= cpu;
        self.tree_memory -= tree_memory;
        self.processes -= processes;
    }

    #[inline]
    fn add(&mut self, other: &Self) {
        let Self { events, memory, cpu, tree_memory, processes } = *other;
        self.events = self.events.wrapping_add(events);
        self.memory += memory;
        self.cpu += cpu;
        self.tree_memory += tree_memory;
        self.processes += processes;
    }

    pub(super) fn write_to(&self, system: &mut SystemMetrics) {
        system.total_events = self.events;
        system.total_memory_bytes = self.memory;
        system.cpu_percent = self.cpu as f64 / f64::from(CpuShare::PER_PERCENT);
        system.total_tree_memory_bytes = self.tree_memory;
        system.process_count = usize::try_from(self.processes).unwrap_or(usize::MAX);
    }
}
