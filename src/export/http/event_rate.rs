//! The current event rate.

use std::time::Duration;

use crate::PluginView;

/// Events per second over the last minute, or over two intervals if that is longer; 0 with fewer than
/// two samples.
pub(super) fn recent_event_rate(view: PluginView<'_>) -> f64 {
    let two_intervals = view.snapshot().poll_interval().saturating_mul(2);
    view.event_rate(Duration::from_secs(60).max(two_intervals))
}
