//! The findings of a plugin as one sentence, in which times stay times.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::super::plugin_status::PluginStatus;
use super::display_time::DisplayTime;
use crate::findings::{Finding, MessagePart, Onset};

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

/// A finding with its plugin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct FindingMessage<'a> {
    pub status: PluginStatus,
    pub name: &'a str,
    pub segments: Vec<Segment>,
}

impl<'a> FindingMessage<'a> {
    pub(super) fn new(finding: &'a Finding, now: SystemTime) -> Self {
        let findings = std::slice::from_ref(finding);
        let status = PluginStatus::of_findings(findings);
        Self { status, name: &finding.plugin, segments: segments(findings, now) }
    }

    /// The status in a word; a finding that needs no attention is a note.
    pub(super) const fn label(&self) -> &'static str {
        match self.status {
            PluginStatus::Ok => "note",
            PluginStatus::Warning | PluginStatus::Error => self.status.as_str(),
        }
    }
}

/// All findings, separated by semicolons.
pub(super) fn segments(findings: &[Finding], now: SystemTime) -> Vec<Segment> {
    let mut out = Writer { segments: Vec::new(), now };
    for (index, finding) in findings.iter().enumerate() {
        if index > 0 {
            out.text("; ");
        }
        for part in finding.message() {
            match part {
                // A number stays on the line of its unit.
                MessagePart::Text(text) => {
                    out.text(&text.replace(" %", "\u{a0}%").replace(" MB", "\u{a0}MB"));
                }
                MessagePart::Since(Onset::At(at)) => out.time("since ", at),
                MessagePart::Since(Onset::Before(at)) => out.time("since before ", at),
                MessagePart::At(at) => out.time("at ", at),
            }
        }
    }
    out.segments
}

struct Writer {
    segments: Vec<Segment>,
    now: SystemTime,
}

impl Writer {
    fn text(&mut self, text: &str) {
        match self.segments.last_mut() {
            Some(Segment::Text(last)) => last.push_str(text),
            _ => self.segments.push(Segment::Text(text.to_owned())),
        }
    }

    fn time(&mut self, before: &str, at: SystemTime) {
        self.text(before);
        self.segments.push(Segment::Time(DisplayTime { at, now: self.now }));
    }
}
