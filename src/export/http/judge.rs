//! What is worth somebody's attention.

use std::time::Duration;

use serde::Serialize;

use crate::model::view::Live;
use crate::{PluginState, PluginView, Snapshot};

/// A crash is worth a warning for so long.
const RECENT: Duration = Duration::from_secs(60 * 60);
/// Rates are of this window.
const MINUTE: Duration = Duration::from_secs(60);

/// From where on a plugin is worth a warning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thresholds {
    pub cpu_percent: f64,
    pub memory_mb: f64,
}

/// How a plugin is, in order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    /// Over a threshold, unhealthy, not to be read, or crashed in the last hour.
    Warning,
    /// Crashed or failed.
    Error,
}

impl Status {
    pub(crate) fn of(snapshot: &Snapshot, view: PluginView<'_>, thresholds: &Thresholds) -> Self {
        let Thresholds { cpu_percent, memory_mb } = *thresholds;
        let state = match view.state() {
            PluginState::Crashed | PluginState::Failed => return Self::Error,
            PluginState::Unhealthy => Self::Warning,
            PluginState::Stopped
            | PluginState::Starting
            | PluginState::Running
            | PluginState::Stopping => Self::Ok,
        };
        let Live { cpu_percent: cpu, memory_bytes, .. } = view.live();
        let memory = memory_bytes.map(crate::model::mebibytes);
        let warned = state == Self::Warning
            || cpu.is_some_and(|cpu| cpu > cpu_percent)
            || memory.is_some_and(|mb| mb > memory_mb)
            || view.problem().is_some()
            || crashed_lately(snapshot, view);
        if warned { Self::Warning } else { Self::Ok }
    }
}

/// Whether the plugin crashed in the last hour before the tick, or after it.
fn crashed_lately(snapshot: &Snapshot, view: PluginView<'_>) -> bool {
    view.last_crash().is_some_and(|crash| {
        // Also where the clock was set back meanwhile.
        snapshot.taken_at().duration_since(crash).map_or(true, |ago| ago <= RECENT)
    })
}

/// Events per second over the last minute, at least two intervals; 0 with fewer than two samples.
pub(crate) fn events_per_second(snapshot: &Snapshot, view: PluginView<'_>) -> f64 {
    view.events_per_second(MINUTE.max(snapshot.poll_interval().saturating_mul(2)))
}
