//! What happened to the plugins, newest first.

use serde::Serialize;

use super::super::notifications::RecentNotifications;
use super::display_time::DisplayTime;
use crate::{Notification, NotificationKind, PluginState, Severity, Snapshot};

/// Notifications on the page. All are in `/api/notifications`.
const MAX_ITEMS: usize = 50;

/// The newest notifications, formatted.
#[derive(Debug, Serialize)]
pub(super) struct Timeline<'a> {
    /// For the script, which repeats it in its next request.
    pub version: u64,
    pub items: Vec<TimelineItem<'a>>,
    /// States how many are not shown; empty if all are.
    pub note: String,
}

#[derive(Debug, Serialize)]
pub(super) struct TimelineItem<'a> {
    /// `error`, `warning` or `note`.
    pub status: &'static str,
    #[serde(serialize_with = "millis")]
    pub at: DisplayTime,
    pub name: &'a str,
    pub text: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn millis<S: serde::Serializer>(at: &DisplayTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(at.millis())
}

impl<'a> Timeline<'a> {
    pub(super) fn new(recent: &'a RecentNotifications, snapshot: &Snapshot) -> Self {
        Self::filtered(recent, snapshot, |_| true)
    }

    /// The notifications of this plugin.
    pub(super) fn of_plugin(
        recent: &'a RecentNotifications,
        snapshot: &Snapshot,
        name: &str,
    ) -> Self {
        Self::filtered(recent, snapshot, |plugin| plugin == name)
    }

    /// The notifications of plugins whose names contain this text, in any case.
    pub(super) fn of_names(
        recent: &'a RecentNotifications,
        snapshot: &Snapshot,
        text: &str,
    ) -> Self {
        let text = text.to_lowercase();
        Self::filtered(recent, snapshot, |plugin| plugin.to_lowercase().contains(&text))
    }

    fn filtered(
        recent: &'a RecentNotifications,
        snapshot: &Snapshot,
        is_shown: impl Fn(&str) -> bool,
    ) -> Self {
        let item = |notification: &'a std::sync::Arc<Notification>| TimelineItem {
            status: status(&notification.kind),
            at: DisplayTime::new(notification.at, snapshot),
            name: &notification.plugin,
            text: notification.kind.to_string(),
        };
        let all = recent.items.iter().filter(|item| is_shown(&item.plugin));
        let more = all.clone().count().saturating_sub(MAX_ITEMS);
        Self {
            version: recent.version,
            items: all.take(MAX_ITEMS).map(item).collect(),
            note: note(more, recent.dropped),
        }
    }
}

fn note(more: usize, dropped: u64) -> String {
    match (more, dropped) {
        (0, 0) => String::new(),
        (_, 0) => format!("and {more} more in the last hour"),
        (0, _) => format!("{dropped} more were too many to keep"),
        (_, _) => format!("and {more} more in the last hour; {dropped} were too many to keep"),
    }
}

/// How urgent a change is. The state of now is in the table.
fn status(kind: &NotificationKind) -> &'static str {
    match kind {
        NotificationKind::CrashCounted { .. }
        | NotificationKind::StateChanged {
            to: PluginState::Crashed | PluginState::Failed, ..
        } => "error",
        NotificationKind::LimitExceeded(status) => match status.limit.severity {
            Severity::Critical => "error",
            Severity::Warning => "warning",
            Severity::Notice => "note",
        },
        NotificationKind::RunEnded { crash: true, .. }
        | NotificationKind::ReadFailed(_)
        | NotificationKind::StoreReplaced { .. }
        | NotificationKind::StateChanged { to: PluginState::Unhealthy, .. }
        | NotificationKind::Lagged { .. } => "warning",
        NotificationKind::Registered
        | NotificationKind::Removed
        | NotificationKind::RunStarted(_)
        | NotificationKind::RunEnded { crash: false, .. }
        | NotificationKind::StateChanged {
            to:
                PluginState::Stopped
                | PluginState::Starting
                | PluginState::Running
                | PluginState::Stopping,
            ..
        }
        | NotificationKind::ReadRecovered
        | NotificationKind::LimitCleared { .. } => "note",
    }
}
