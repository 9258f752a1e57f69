//! The values of a plugin's page that belong to the shown range: from the history in memory, or from a
//! store.

use super::super::history_range::HistoryRange;
use super::chart::Trace;
use super::range_stats::RangeStats;
use super::time_range::{in_range, time_range, window_length};
use crate::{PluginView, Run};

/// Points in a chart.
pub(in crate::export::http) const MAX_POINTS: usize = 400;
/// Rows of the table. All samples are in the downloads.
pub(in crate::export::http) const MAX_ROWS: usize = 60;

/// The values of one range.
#[derive(Debug)]
pub(in crate::export::http) struct RangeValues {
    /// In at most [`MAX_POINTS`] points.
    pub trace: Trace,
    /// The same in at most [`MAX_ROWS`] points.
    pub table: Trace,
    /// The start and the end of the charts, in seconds since 1970.
    pub time_range: (f64, f64),
    /// The start of a sentence about the range.
    pub in_range: String,
    pub stats: RangeStats,
    /// The runs of a store; `None` if the plugin's history has all.
    pub runs: Option<Vec<Run>>,
    /// How finely values from a store are shown; empty for samples.
    pub resolution: &'static str,
}

impl RangeValues {
    /// From the history in memory.
    pub(in crate::export::http) fn of_view(view: PluginView<'_>, range: HistoryRange) -> Self {
        let snapshot = view.snapshot();
        Self {
            trace: Trace::of_view(view, range, MAX_POINTS),
            table: Trace::of_view(view, range, MAX_ROWS),
            time_range: time_range(snapshot, range),
            in_range: in_range(range, window_length(snapshot, range.window)),
            stats: RangeStats::of(view, range),
            runs: None,
            resolution: "",
        }
    }
}
