//! The conditions of a plugin that are findings, read off its newest values.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::SystemTime;

use super::crashes::{crashed, recent_crash};
use super::finding::{Finding, FindingKind, Onset, Severity};
use super::limits;
use super::memory_change::MemoryChange;
use super::onset::{is_run_older, onset};
use crate::{PluginState, PluginView, ReadError, RunEnd, Window};

/// The conditions of a plugin that need attention. Reading them takes a few look-ups: onsets and
/// growth are determined when the findings are made.
pub(super) struct Conditions<'a> {
    view: PluginView<'a>,
    is_down: bool,
    is_unhealthy: bool,
    /// When the newest run ended, if its end is unknown.
    unknown_end: Option<SystemTime>,
    suspended_since: Option<SystemTime>,
    read_error: Option<ReadError>,
    /// The last crash, if it is recent.
    recent_crash: Option<SystemTime>,
    /// The highest severity of the exceeded limits.
    limits: Option<Severity>,
}

impl<'a> Conditions<'a> {
    pub(super) fn of(view: PluginView<'a>) -> Self {
        let (is_down, is_unhealthy) = match view.state() {
            PluginState::Crashed | PluginState::Failed => (true, false),
            PluginState::Unhealthy => (false, true),
            PluginState::Stopped
            | PluginState::Starting
            | PluginState::Running
            | PluginState::Stopping => (false, false),
        };
        Self {
            view,
            is_down,
            is_unhealthy,
            unknown_end: unknown_end(view),
            suspended_since: view.suspended_since(),
            read_error: view.read_error().copied(),
            recent_crash: recent_crash(view),
            limits: limits::severity(view),
        }
    }

    /// The highest severity that needs attention.
    pub(super) fn severity(&self) -> Option<Severity> {
        let is_warned = self.is_unhealthy
            || self.unknown_end.is_some()
            || self.suspended_since.is_some()
            || self.read_error.is_some()
            || self.recent_crash.is_some();
        let of_state = if self.is_down {
            Some(Severity::Critical)
        } else {
            is_warned.then_some(Severity::Warning)
        };
        of_state.max(self.limits.filter(|severity| severity.needs_attention()))
    }

    /// The most severe first.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let view = self.view;
        let mut out = Vec::new();
        let mut push = |since, kind: FindingKind| {
            let newest = || view.runs().next_back();
            let run = view.run().or_else(newest);
            let is_down = matches!(kind, FindingKind::Down { .. });
            out.push(Finding {
                plugin: Arc::from(view.name()),
                run: run.map(|run| run.id),
                severity: kind.severity(),
                since,
                kind,
                oom_killed: run.filter(|_| is_down).and_then(|run| run.oom_killed),
            });
        };
        if self.is_down {
            let end = view.runs().next_back().and_then(|run| run.end);
            let kind = FindingKind::Down { state: view.state(), end };
            push(Onset::At(view.state_since()), kind);
        }
        if let Some(ended_at) = self.unknown_end {
            push(Onset::At(ended_at), FindingKind::EndedUnknown);
        }
        if let Some(since) = self.suspended_since {
            push(Onset::At(since), FindingKind::Suspended);
        }
        if self.is_unhealthy {
            push(Onset::At(view.state_since()), FindingKind::Unhealthy);
        }
        if let Some(error) = self.read_error {
            push(self.unreadable_since(), FindingKind::Unreadable(error));
        }
        if let Some(last) = self.recent_crash
            && let Some(kind) = crashed(view, last)
        {
            push(Onset::At(last), kind);
        }
        if self.limits.is_some() {
            limits::findings(view).for_each(|(since, kind)| push(since, kind));
        }
        if let Some(change) = view.memory_change(Window::All).filter(MemoryChange::is_growth) {
            let (from, now, over) = (change.from, change.now, change.over);
            let per_hour = (now - from) as f64 / over.as_secs_f64() * 3_600.0;
            let is_older = is_run_older(view, change.since);
            let since =
                if is_older { Onset::Before(change.since) } else { Onset::At(change.since) };
            push(since, FindingKind::MemoryGrowth { from, now, over, per_hour });
        }
        // Stable: a limit has the severity that the host has given it.
        out.sort_by_key(|finding| Reverse(finding.severity));
        out
    }

    fn unreadable_since(&self) -> Onset {
        if self.view.run().is_none() {
            // The report was rejected, which has set the state.
            return Onset::At(self.view.state_since());
        }
        onset(self.view, |sample| sample.cpu_percent.is_none() && sample.memory_bytes.is_none())
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
