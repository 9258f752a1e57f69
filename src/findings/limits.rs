//! Exceeded limits as findings. The engine has judged them: here they are only repeated.

use super::finding::{FindingKind, Onset, Severity};
use crate::{LimitStatus, PluginView};

fn exceeded(view: PluginView<'_>) -> impl Iterator<Item = LimitStatus> {
    view.limits().filter(|status| status.state.is_exceeded())
}

/// The highest severity of the exceeded limits.
pub(super) fn severity(view: PluginView<'_>) -> Option<Severity> {
    exceeded(view).map(|status| status.limit.severity).max()
}

/// One for each exceeded limit, in the order of the limits.
pub(super) fn findings(view: PluginView<'_>) -> impl Iterator<Item = (Onset, FindingKind)> {
    exceeded(view).filter_map(|status| {
        let since = status.state.since()?;
        Some((Onset::At(since), FindingKind::LimitExceeded(status)))
    })
}
