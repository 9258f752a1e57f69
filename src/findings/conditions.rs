//! The conditions of a plugin that are findings, read off its newest values.

use std::time::{Duration, SystemTime};

use super::crashes::{crashed, recent_crash};
use super::finding::{Finding, FindingKind, Onset};
use super::onset::onset;
use crate::{LimitState, PluginState, PluginView, RunEnd};

/// Descendants may outlive their root for this long, as of its end, before that is a finding.
const SURVIVAL: Duration = Duration::from_secs(30);

pub(super) fn judge(view: PluginView<'_>, out: &mut Vec<Finding>) {
    match view.state() {
        PluginState::Crashed | PluginState::Failed => {
            let newest = view.runs().next_back();
            let end = newest.and_then(|run| run.end);
            let kind = FindingKind::Down { state: view.state(), end };
            let mut finding = Finding::new(view, Onset::At(view.state_since()), kind);
            finding.oom_killed = newest.and_then(|run| run.oom_killed);
            out.push(finding);
        }
        PluginState::Unhealthy => {
            let since = Onset::At(view.state_since());
            out.push(Finding::new(view, since, FindingKind::Unhealthy));
        }
        PluginState::Stopped
        | PluginState::Starting
        | PluginState::Running
        | PluginState::Stopping => {}
    }
    let mut push = |since, kind| out.push(Finding::new(view, since, kind));
    if let Some(ended_at) = unknown_end(view) {
        push(Onset::At(ended_at), FindingKind::EndedUnknown);
    }
    if let Some(since) = view.suspended_since() {
        push(Onset::At(since), FindingKind::Suspended);
    }
    if let Some(error) = view.read_error() {
        push(unreadable_since(view), FindingKind::Unreadable(*error));
    }
    for status in view.limits() {
        if let LimitState::Exceeded(since) = status.state {
            push(Onset::At(since), FindingKind::LimitExceeded(status));
        }
    }
    if let Some(last) = recent_crash(view)
        && let Some(kind) = crashed(view, last)
    {
        push(Onset::At(last), kind);
    }
    if let Some((since, processes)) = survivors(view) {
        push(since, FindingKind::Survivors { processes });
    }
}

/// When the newest run ended, if the plugin has stopped by it and its end is unknown.
fn unknown_end(view: PluginView<'_>) -> Option<SystemTime> {
    if view.state() != PluginState::Stopped || view.unknown_end_count() == 0 {
        return None;
    }
    let newest = view.runs().next_back()?;
    newest.ended_at.filter(|_| newest.end == Some(RunEnd::Unknown))
}

fn unreadable_since(view: PluginView<'_>) -> Onset {
    if view.run().is_none() {
        // The report was rejected, which has set the state.
        return Onset::At(view.state_since());
    }
    onset(view, |sample| sample.cpu_percent.is_none() && sample.memory_bytes.is_none())
}

/// Since when, and how many, if descendants of a process that has ended are alive.
fn survivors(view: PluginView<'_>) -> Option<(Onset, u32)> {
    let (processes, since) = view.survivors()?;
    let age = view.snapshot().sampled_at().duration_since(since).unwrap_or_default();
    (age >= SURVIVAL).then_some((Onset::At(since), processes))
}
