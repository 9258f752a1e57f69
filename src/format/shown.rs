//! The choice between the values of a process and those of its tree, where one of the two is shown.

use crate::snapshot::Snapshot;
use crate::snapshot::downsample::{Point, ValueRange};
use crate::snapshot::plugin_view::CurrentUsage;
use crate::snapshot::sample::Sample;

/// The tree's values, if the collector has them, else those of the process. A value of a tree that is
/// unknown is not replaced by that of the process, which would look like a decrease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    has_trees: bool,
}

impl Shown {
    pub(crate) const fn new(has_trees: bool) -> Self {
        Self { has_trees }
    }

    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self::new(snapshot.has_process_trees())
    }

    /// Of these two values.
    pub(crate) fn value<T>(self, own: Option<T>, tree: Option<T>) -> Option<T> {
        if self.has_trees { tree } else { own }
    }

    /// In percent of one core.
    pub(crate) fn cpu(self, usage: &CurrentUsage) -> Option<f64> {
        self.value(usage.cpu_percent, usage.tree_cpu_percent)
    }

    /// In bytes.
    pub(crate) fn memory(self, usage: &CurrentUsage) -> Option<u64> {
        self.value(usage.memory_bytes, usage.tree_memory_bytes)
    }

    /// In bytes.
    pub(crate) fn sample_memory(self, sample: &Sample<'_>) -> Option<u64> {
        self.value(sample.memory_bytes, sample.tree_memory_bytes)
    }

    /// In percent of one core.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    pub(crate) fn point_cpu(self, point: &Point) -> Option<ValueRange> {
        self.value(point.cpu_percent, point.tree_cpu_percent)
    }

    /// In bytes.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    pub(crate) fn point_memory(self, point: &Point) -> Option<ValueRange> {
        self.value(point.memory, point.tree_memory)
    }
}
