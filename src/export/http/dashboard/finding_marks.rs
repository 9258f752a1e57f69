//! The findings of a plugin as spans in its charts, each with its sentence.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use super::chart::{Scale, unix_seconds};
use super::finding_message::{Segment, segments};
use super::format;
use crate::findings::{Finding, FindingKind, RegressionMetric};
use crate::{LimitMetric, Severity};

/// A chart, by what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChartKind {
    Cpu,
    Memory,
    Rate,
    /// The band of runs.
    Runs,
}

/// The chart in which a finding is visible.
const fn chart_of(kind: &FindingKind) -> ChartKind {
    match kind {
        FindingKind::CpuShift { .. }
        | FindingKind::Busier { .. }
        | FindingKind::CpuSpike { .. }
        | FindingKind::Saturated { .. } => ChartKind::Cpu,
        FindingKind::MemoryGrowth { .. } | FindingKind::MemoryStep { .. } => ChartKind::Memory,
        FindingKind::Silence { .. } | FindingKind::EventSurge { .. } => ChartKind::Rate,
        FindingKind::Regression { metric, .. } => match metric {
            RegressionMetric::CpuPerEvent | RegressionMetric::Cpu => ChartKind::Cpu,
            RegressionMetric::Memory => ChartKind::Memory,
            RegressionMetric::Crashes => ChartKind::Runs,
        },
        FindingKind::LimitExceeded(status) => match status.limit.metric {
            LimitMetric::CpuPercent => ChartKind::Cpu,
            LimitMetric::MemoryMb => ChartKind::Memory,
            LimitMetric::EventsPerSecond | LimitMetric::SilentSeconds => ChartKind::Rate,
            LimitMetric::ProcessCount | LimitMetric::Crashes { .. } => ChartKind::Runs,
        },
        FindingKind::Down { .. }
        | FindingKind::EndedUnknown
        | FindingKind::Unreadable(_)
        | FindingKind::Suspended
        | FindingKind::Unhealthy
        | FindingKind::Survivors { .. }
        | FindingKind::CrashLoop { .. }
        | FindingKind::Crashed { .. } => ChartKind::Runs,
    }
}

/// The findings of one chart.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct FindingMarks {
    /// Of errors, warnings and notes: the paths of the spans.
    pub spans: [String; 3],
    pub items: Vec<MarkedFinding>,
}

/// A sentence under a chart.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MarkedFinding {
    /// `error`, `warning` or `note`.
    pub status: &'static str,
    pub segments: Vec<Segment>,
    /// The numbers by which it was found.
    pub evidence: String,
}

/// The evidence as in `/api/findings`, in words: `cpu shift: before 19.2, now 69.1; impact 0.4 %`.
fn evidence(finding: &Finding) -> String {
    let json = serde_json::to_value(finding).unwrap_or_default();
    let mut parts = Vec::new();
    let folded = json["evidence"].as_array().map(Vec::as_slice).unwrap_or_default();
    for item in std::iter::once(&json).chain(folded) {
        let kind = item["kind"].as_str().unwrap_or_default().replace('_', " ");
        let mut values = Vec::new();
        write_values("", &item["details"], &mut values);
        let separator = if values.is_empty() { "" } else { ": " };
        parts.push(format!("{kind}{separator}{}", values.join(", ")));
    }
    parts.push(format!("impact {}", format::percent(finding.impact * 100.0)));
    parts.join("; ")
}

fn write_values(name: &str, value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                write_values(format!("{name} {key}").trim(), value, out);
            }
        }
        Value::Array(values) => {
            let texts: Vec<_> = values.iter().map(Value::to_string).collect();
            out.push(format!("{} {}", name.replace('_', " "), texts.join(" and ")));
        }
        Value::String(text) => out.push(format!("{} {text}", name.replace('_', " "))),
        Value::Bool(_) | Value::Number(_) => {
            out.push(format!("{} {value}", name.replace('_', " ")));
        }
    }
}

pub(super) const fn severity_label(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "error",
        Severity::Warning => "warning",
        Severity::Notice => "note",
    }
}

impl FindingMarks {
    /// Those that belong to this chart and overlap its range, from their onsets to their ends. A
    /// finding that lasts reaches to the newest tick, `now`.
    pub(super) fn new(
        findings: &[Finding],
        chart: ChartKind,
        scale: Scale,
        now: SystemTime,
    ) -> Self {
        let mut marks = Self::default();
        for finding in findings.iter().filter(|finding| chart_of(&finding.kind) == chart) {
            let since = unix_seconds(finding.since.time());
            let until = unix_seconds(finding.until.unwrap_or(now));
            let span = scale.span(since, until);
            if span.is_empty() {
                continue;
            }
            let index = match finding.severity {
                Severity::Critical => 0,
                Severity::Warning => 1,
                Severity::Notice => 2,
            };
            marks.spans[index].push_str(&span);
            marks.items.push(MarkedFinding {
                status: severity_label(finding.severity),
                segments: segments(std::slice::from_ref(finding), now),
                evidence: evidence(finding),
            });
        }
        marks
    }
}
