//! The banner that is shown while the values are not current.

use super::super::health::HealthProblem;
use crate::Snapshot;

#[derive(Debug)]
pub(super) struct Banner {
    pub kind: &'static str,
    pub text: &'static str,
}

impl Banner {
    pub(super) const STOPPED: &'static str = "The collector is stopped. Showing its last values.";
    pub(super) const STALE: &'static str =
        "The collector is late: no new sample for more than three intervals.";

    // Only the script shows these.
    pub(super) const DISCONNECTED: &'static str =
        "Connection lost. Showing the last received data.";
    /// The script appends the status code.
    pub(super) const HTTP_ERROR: &'static str =
        "The update failed. Showing the last received data. HTTP status";
    pub(super) const REMOVED: &'static str =
        "The plugin is no longer registered. Showing its last values.";

    /// `None` if the values are current.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        Some(match HealthProblem::of(snapshot)? {
            HealthProblem::Stopped => Self { kind: "stopped", text: Self::STOPPED },
            HealthProblem::Stale { .. } => Self { kind: "stale", text: Self::STALE },
        })
    }
}
