//! What the charts of a plugin's page show of a window: from the history in memory, or from a store.

use std::time::Duration;

use super::chart::Trace;
use super::time_range::{time_range, window_length};
use crate::format::shown::Shown;
use crate::{PluginView, Summary, Window};

/// Points in a chart.
pub(in crate::export::http) const MAX_POINTS: usize = 400;

/// The values of one window.
#[derive(Debug)]
pub(in crate::export::http) struct WindowValues {
    pub trace: Trace,
    /// The start and the end of the charts, in seconds since 1970.
    pub range: (f64, f64),
    pub length: Duration,
    /// Average, minimum, p95 and maximum, in percent of one core.
    pub cpu: Option<[f64; 4]>,
    /// The same, in bytes.
    pub memory: Option<[f64; 4]>,
    pub sample_count: u64,
    pub events: u64,
    pub events_per_second: f64,
    /// How finely values from a store are shown; empty for samples.
    pub resolution: &'static str,
}

impl WindowValues {
    /// From the history in memory.
    pub(in crate::export::http) fn of_view(view: PluginView<'_>, window: Window) -> Self {
        let snapshot = view.snapshot();
        let aggregates = view.aggregates(window);
        let shown = Shown::of(snapshot);
        let stats = |summary: Summary| [summary.avg, summary.min, summary.p95, summary.max];
        let all = aggregates.as_ref();
        Self {
            trace: Trace::of_view(view, window, MAX_POINTS),
            range: time_range(snapshot, window),
            length: window_length(snapshot, window),
            cpu: all.and_then(|all| shown.value(all.cpu, all.tree_cpu)).map(stats),
            memory: all.and_then(|all| shown.value(all.memory, all.tree_memory)).map(stats),
            sample_count: all.map_or(0, |all| all.sample_count as u64),
            events: all.map_or(0, |all| all.events),
            events_per_second: all.map_or(0.0, |all| all.events_per_second),
            resolution: "",
        }
    }
}
