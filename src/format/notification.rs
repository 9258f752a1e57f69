//! `Display` and `Serialize` of limits and notifications.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::display::length;
use super::number::{human_duration, round2, timestamp};
use super::text::sanitize;
use crate::snapshot::limit::{Limit, LimitMetric, LimitState, LimitStatus};
use crate::snapshot::notification::{ClearReason, Notification, NotificationKind};
use crate::snapshot::run::{Run, RunEnd};

/// A value with the unit of its metric.
struct WithUnit {
    value: f64,
    metric: LimitMetric,
    decimals: Option<usize>,
}

impl fmt::Display for WithUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, metric, decimals } = *self;
        match decimals {
            Some(decimals) => write!(f, "{value:.decimals$}")?,
            None => write!(f, "{value}")?,
        }
        f.write_str(match metric {
            LimitMetric::CpuPercent => " %",
            LimitMetric::MemoryMb => " MB",
            LimitMetric::EventsPerSecond => " per second",
            LimitMetric::SilentSeconds => " s",
            LimitMetric::ProcessCount | LimitMetric::Crashes { .. } => "",
        })
    }
}

impl fmt::Display for LimitMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CpuPercent => "CPU",
            Self::MemoryMb => "memory",
            Self::ProcessCount => "processes",
            Self::EventsPerSecond => "events",
            Self::SilentSeconds => "silent for",
            Self::Crashes { .. } => "crashes",
        })
    }
}

impl fmt::Display for LimitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for ClearReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Limit {
    /// The rule: `memory above 512 MB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (metric, value) = (self.metric, self.above);
        write!(f, "{metric} above {}", WithUnit { value, metric, decimals: None })?;
        write_within(f, metric)
    }
}

/// The newest value, with its unit.
pub(crate) struct NewestValue<'a>(pub &'a LimitStatus);

impl fmt::Display for NewestValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.0.limit.metric;
        let decimals = match metric {
            LimitMetric::ProcessCount | LimitMetric::Crashes { .. } => 0,
            LimitMetric::CpuPercent
            | LimitMetric::MemoryMb
            | LimitMetric::EventsPerSecond
            | LimitMetric::SilentSeconds => 2,
        };
        match self.0.value {
            Some(value) => WithUnit { value, metric, decimals: Some(decimals) }.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// The metric as a noun: `silence`.
pub(crate) struct LimitedValue(pub LimitMetric);

impl fmt::Display for LimitedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LimitMetric::SilentSeconds => f.pad("silence"),
            metric @ (LimitMetric::CpuPercent
            | LimitMetric::MemoryMb
            | LimitMetric::ProcessCount
            | LimitMetric::EventsPerSecond
            | LimitMetric::Crashes { .. }) => metric.fmt(f),
        }
    }
}

/// The rule that is broken: `memory over the limit of 512 MB`. The newest value may be less, until
/// the limit clears.
pub(crate) struct OverLimit<'a>(pub &'a LimitStatus);

impl fmt::Display for OverLimit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (metric, value) = (self.0.limit.metric, self.0.limit.above);
        LimitedValue(metric).fmt(f)?;
        write!(f, " over the limit of {}", WithUnit { value, metric, decimals: None })?;
        write_within(f, metric)
    }
}

fn write_within(f: &mut fmt::Formatter<'_>, metric: LimitMetric) -> fmt::Result {
    match metric {
        LimitMetric::Crashes { within } => write!(f, " within {}", length(within)),
        LimitMetric::CpuPercent
        | LimitMetric::MemoryMb
        | LimitMetric::ProcessCount
        | LimitMetric::EventsPerSecond
        | LimitMetric::SilentSeconds => Ok(()),
    }
}

/// The value beside the threshold, after `relation`.
fn write_value(f: &mut fmt::Formatter<'_>, status: &LimitStatus, relation: &str) -> fmt::Result {
    let Limit { metric, above: value, .. } = status.limit;
    write!(f, "{metric} {}", NewestValue(status))?;
    write_within(f, metric)?;
    write!(f, ", {relation} {}", WithUnit { value, metric, decimals: None })
}

impl fmt::Display for LimitStatus {
    /// The value, the threshold and the state: `memory 600.00 MB, limit 512 MB: exceeded`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_value(f, self, "limit")?;
        write!(f, ": {}", self.state)
    }
}

/// The end of a run, after its pid.
fn write_end(f: &mut fmt::Formatter<'_>, run: &Run) -> fmt::Result {
    match run.end {
        None | Some(RunEnd::Unknown) => f.write_str("no exit status"),
        Some(end) => write!(f, "{end}"),
    }
}

impl fmt::Display for NotificationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered => f.write_str("registered"),
            Self::Removed => f.write_str("removed"),
            Self::RunStarted(run) => {
                write!(f, "run began, pid {}", run.pid)?;
                match &run.version {
                    Some(version) => write!(f, ", version {}", sanitize(version)),
                    None => Ok(()),
                }
            }
            Self::RunEnded { run, crash } => {
                write!(f, "run ended, pid {}, ", run.pid)?;
                write_end(f, run)?;
                f.write_str(if *crash { ", a crash" } else { "" })
            }
            Self::CrashCounted { crash_count } => write!(f, "crash counted, {crash_count} in all"),
            Self::StateChanged { from, to } => write!(f, "state {from} -> {to}"),
            Self::ReadFailed(error) => write!(f, "no values: {error}"),
            Self::ReadRecovered => f.write_str("values can be read again"),
            Self::LimitExceeded(status) => {
                f.write_str("limit exceeded: ")?;
                write_value(f, status, "above")
            }
            Self::LimitCleared { status, lasted, reason } => {
                let lasted = human_duration(*lasted);
                write!(f, "limit cleared after {lasted} ({reason}): {}", status.limit)
            }
            Self::StoreReplaced { moved_to, reason } => {
                write!(
                    f,
                    "store begun anew, because {reason}; the old file is {}",
                    sanitize(moved_to)
                )
            }
            Self::Lagged { missed: 1 } => f.write_str("1 notification is lost"),
            Self::Lagged { missed } => write!(f, "{missed} notifications are lost"),
        }
    }
}

impl fmt::Display for Notification {
    /// One line: the plugin and the change.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.plugin.is_empty() {
            write!(f, "{}: ", sanitize(&self.plugin))?;
        }
        self.kind.fmt(f)
    }
}

impl Serialize for LimitStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("LimitStatus", 5)?;
        out.serialize_field("limit", &self.limit)?;
        out.serialize_field("state", self.state.as_str())?;
        out.serialize_field("since", &self.state.since().map(timestamp))?;
        out.serialize_field("value", &self.value.map(round2))?;
        out.serialize_field("peak", &self.peak.map(round2))?;
        out.end()
    }
}

/// The keys `revision`, `at`, `plugin`, `kind` and `text`, and those of the kind.
impl Serialize for Notification {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = match &self.kind {
            NotificationKind::Registered
            | NotificationKind::Removed
            | NotificationKind::ReadRecovered => 0,
            NotificationKind::RunStarted(_)
            | NotificationKind::CrashCounted { .. }
            | NotificationKind::ReadFailed(_)
            | NotificationKind::LimitExceeded(_)
            | NotificationKind::Lagged { .. } => 1,
            NotificationKind::RunEnded { .. }
            | NotificationKind::StateChanged { .. }
            | NotificationKind::StoreReplaced { .. } => 2,
            NotificationKind::LimitCleared { .. } => 3,
        };
        let mut out = serializer.serialize_struct("Notification", 5 + fields)?;
        out.serialize_field("revision", &self.revision)?;
        out.serialize_field("at", &timestamp(self.at))?;
        out.serialize_field("plugin", &*self.plugin)?;
        out.serialize_field("kind", self.kind.as_str())?;
        out.serialize_field("text", &self.kind.to_string())?;
        match &self.kind {
            NotificationKind::Registered
            | NotificationKind::Removed
            | NotificationKind::ReadRecovered => {}
            NotificationKind::RunStarted(run) => out.serialize_field("run", run)?,
            NotificationKind::RunEnded { run, crash } => {
                out.serialize_field("run", run)?;
                out.serialize_field("crash", crash)?;
            }
            NotificationKind::CrashCounted { crash_count } => {
                out.serialize_field("crash_count", crash_count)?;
            }
            NotificationKind::StateChanged { from, to } => {
                out.serialize_field("from", from)?;
                out.serialize_field("to", to)?;
            }
            NotificationKind::ReadFailed(error) => {
                out.serialize_field("error", &error.to_string())?;
            }
            NotificationKind::LimitExceeded(status) => out.serialize_field("limit", status)?,
            NotificationKind::LimitCleared { status, lasted, reason } => {
                out.serialize_field("limit", status)?;
                out.serialize_field("lasted_seconds", &round2(lasted.as_secs_f64()))?;
                out.serialize_field("reason", reason.as_str())?;
            }
            NotificationKind::StoreReplaced { moved_to, reason } => {
                out.serialize_field("moved_to", &**moved_to)?;
                out.serialize_field("reason", &**reason)?;
            }
            NotificationKind::Lagged { missed } => out.serialize_field("missed", missed)?,
        }
        out.end()
    }
}
