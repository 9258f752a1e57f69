//! The threshold that a chart shows.

use crate::{LimitMetric, PluginView};

/// The lowest threshold of the plugin's limits of this metric; `None` without such a limit.
pub(super) fn threshold(view: PluginView<'_>, metric: LimitMetric) -> Option<f64> {
    let limits = view.limits().map(|status| status.limit);
    limits.filter(|limit| limit.metric == metric).map(|limit| limit.above).reduce(f64::min)
}
