//! The findings of a plugin as one sentence, in which times stay times.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::super::plugin_status::PluginStatus;
use super::display_time::DisplayTime;
use super::format;
use crate::findings::text::{NO_STATUS, OOM_KILLED};
use crate::findings::{Finding, FindingKind, Onset};
use crate::format::display::times;
use crate::format::notification::{NewestValue, OverLimit};
use crate::format::number::mebibytes;
use crate::{LimitMetric, PluginState, RunEnd};

/// A part of a sentence. A time is separate, because the browser shows it in its own time zone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Segment {
    Text(String),
    Time(DisplayTime),
}

impl Segment {
    /// The text or the time, for templates.
    pub(super) fn parts(&self) -> (&str, Option<DisplayTime>) {
        match self {
            Self::Text(text) => (text, None),
            Self::Time(time) => ("", Some(*time)),
        }
    }
}

/// A text is a string; a time is its milliseconds.
impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Time(time) => serializer.serialize_u64(time.millis()),
        }
    }
}

/// A plugin with findings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct FindingMessage<'a> {
    pub status: PluginStatus,
    pub name: &'a str,
    pub segments: Vec<Segment>,
}

impl FindingMessage<'_> {
    /// The status in a word; findings of a plugin that needs no attention are notes.
    pub(super) const fn label(&self) -> &'static str {
        match self.status {
            PluginStatus::Ok => "note",
            PluginStatus::Warning | PluginStatus::Error => self.status.as_str(),
        }
    }
}

/// All findings, separated by semicolons.
pub(super) fn segments(findings: &[Finding], now: SystemTime) -> Vec<Segment> {
    let mut out = Writer { segments: Vec::new(), now, has_named_memory: false };
    for (index, finding) in findings.iter().enumerate() {
        if index > 0 {
            out.text("; ");
        }
        out.finding(finding);
    }
    out.segments
}

struct Writer {
    segments: Vec<Segment>,
    now: SystemTime,
    has_named_memory: bool,
}

impl Writer {
    fn text(&mut self, text: impl AsRef<str>) {
        match self.segments.last_mut() {
            Some(Segment::Text(last)) => last.push_str(text.as_ref()),
            _ => self.segments.push(Segment::Text(text.as_ref().to_owned())),
        }
    }

    fn time(&mut self, at: SystemTime) {
        self.segments.push(Segment::Time(DisplayTime { at, now: self.now }));
    }

    fn since(&mut self, onset: Onset) {
        self.text(if onset.is_exact() { " since " } else { " since before " });
        self.time(onset.time());
    }

    fn finding(&mut self, finding: &Finding) {
        match &finding.kind {
            FindingKind::Down { state, end } => {
                let has_failed = *state == PluginState::Failed;
                self.text(if has_failed { "failed, down" } else { "crashed, down" });
                self.since(finding.since);
                // The other ends add nothing to that.
                if let Some(end @ (RunEnd::Exited(_) | RunEnd::Signaled(_))) = end
                    && !has_failed
                {
                    let oom = if finding.oom_killed == Some(true) { OOM_KILLED } else { "" };
                    self.text(format!(" ({end}{oom})"));
                }
            }
            FindingKind::EndedUnknown => {
                self.text("ended at ");
                self.time(finding.since.time());
                self.text(format!(", {NO_STATUS}"));
            }
            FindingKind::Suspended => {
                self.text("suspended (SIGSTOP)");
                self.since(finding.since);
            }
            FindingKind::Unreadable(error) => self.text(error.to_string()),
            FindingKind::Unhealthy => {
                self.text("unhealthy");
                self.since(finding.since);
            }
            FindingKind::Crashed { count, within, last } => {
                if *count > 1 {
                    let (times, span) = (times(*count), format::span(*within));
                    self.text(format!("crashed {times} in the last {span}, last at "));
                } else {
                    self.text("crashed at ");
                }
                self.time(*last);
            }
            FindingKind::LimitExceeded(status) => {
                self.has_named_memory |= status.limit.metric == LimitMetric::MemoryMb;
                let text = format!("{}, now {},", OverLimit(status), NewestValue(status));
                self.text(text.replace(" %", "\u{a0}%").replace(" MB", "\u{a0}MB"));
                self.since(finding.since);
            }
            FindingKind::MemoryGrowth { from, now, over, .. } => {
                let mb = whole_megabytes(mebibytes(now.saturating_sub(*from)));
                let span = format::span(*over);
                let memory = if self.has_named_memory { "" } else { "memory " };
                self.text(format!("{memory}up {mb} in the last {span}"));
            }
        }
    }
}

fn whole_megabytes(mb: f64) -> String {
    format!("{mb:.0}\u{a0}MB")
}
