//! The thresholds that a chart shows.

use crate::{LimitMetric, PluginView};

/// The thresholds of the plugin's limits of this metric, each multiplied by `unit`.
pub(super) fn thresholds(view: PluginView<'_>, metric: LimitMetric, unit: f64) -> Vec<f64> {
    let limits = view.limits().map(|status| status.limit);
    limits.filter(|limit| limit.metric == metric).map(|limit| limit.above * unit).collect()
}

/// The lowest of them; `None` without such a limit.
pub(super) fn threshold(view: PluginView<'_>, metric: LimitMetric) -> Option<f64> {
    thresholds(view, metric, 1.0).into_iter().reduce(f64::min)
}
