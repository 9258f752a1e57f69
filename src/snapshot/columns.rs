//! The stored columns of one plugin, for queries that look at all of them at once.

use std::time::SystemTime;

use super::plugin_view::PluginView;
use super::run::Run;
use crate::history::metric::Metric;
use crate::history::packed::RUN_KEY_MASK;

/// The number of columns.
pub(crate) const COLUMNS: usize = 5;

impl<'a> PluginView<'a> {
    /// Appends the newest `max` samples to `columns`, oldest first, and returns the tick of the first
    /// of them, or one after the newest tick if there is none. The columns are: CPU in thousandths of
    /// a percent, memory in KiB, events, crashes, and the key of the run (0 without one). CPU and
    /// memory are the tree's, where the collector has trees; from `u32::MAX - 1` on, their integers
    /// stand for an unknown value.
    ///
    /// # Cost
    ///
    /// A copy of each column: a tenth of reading the same samples by
    /// [`history`](PluginView::history).
    pub(crate) fn append_columns(&self, max: u64, columns: &mut [Vec<u32>; COLUMNS]) -> u64 {
        let (timeline, record) = (&self.rows.inner.timeline, self.rows.record);
        let from = (timeline.newest + 1).saturating_sub(max);
        let from = from.max(timeline.oldest).max(record.first_tick).min(timeline.newest + 1);
        let slot = record.slot;
        let has_tree = self.rows.inner.info.process_trees && timeline.has_tree(slot, from);
        for (&metric, values) in Metric::ALL.iter().zip(columns.iter_mut()) {
            timeline.values(slot, metric, has_tree, from..timeline.newest + 1, values);
        }
        let [.., runs] = columns;
        for run in runs.iter_mut() {
            // The key is beside the state.
            *run >>= u32::BITS - RUN_KEY_MASK.count_ones();
        }
        from
    }

    /// The run with this key in [`append_columns`](Self::append_columns).
    pub(crate) fn run_with_key(&self, key: u32) -> Option<&'a Run> {
        self.rows.record.runs.by_key(key, RUN_KEY_MASK).map(|record| &record.run)
    }

    /// The wall-clock time of a tick of the history.
    pub(crate) fn time_of_tick(&self, tick: u64) -> Option<SystemTime> {
        self.rows.inner.timeline.at(tick).map(|at| at.wall)
    }
}
