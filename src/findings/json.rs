//! `Serialize` of findings.

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};

use super::finding::{Finding, FindingKind, Findings, RegressionMetric};
use super::text::sentence;
use crate::format::number::{megabytes, round2, rounded, timestamp};

impl Serialize for Findings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Findings", 5)?;
        out.serialize_field("items", &self.items)?;
        out.serialize_field("judged", &self.judged)?;
        let too_young: Vec<&str> = self.too_young.iter().map(|name| &**name).collect();
        out.serialize_field("too_young", &too_young)?;
        out.serialize_field("over_seconds", &round2(self.over.as_secs_f64()))?;
        out.serialize_field("message", &self.judgement())?;
        out.end()
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let evidence: Vec<_> = self.evidence.iter().map(Evidence).collect();
        let mut out = serializer.serialize_struct("Finding", 12)?;
        out.serialize_field("plugin", &*self.plugin)?;
        out.serialize_field("run", &self.run)?;
        out.serialize_field("severity", &self.severity)?;
        out.serialize_field("impact", &rounded(self.impact, 4))?;
        out.serialize_field("since", &timestamp(self.since.time()))?;
        out.serialize_field("is_since_exact", &self.since.is_exact())?;
        out.serialize_field("until", &self.until.map(timestamp))?;
        out.serialize_field("kind", self.kind.name())?;
        out.serialize_field("details", &Details(&self.kind))?;
        out.serialize_field("evidence", &evidence)?;
        out.serialize_field("oom_killed", &self.oom_killed)?;
        out.serialize_field("message", &sentence(self))?;
        out.end()
    }
}

struct Evidence<'a>(&'a FindingKind);

impl Serialize for Evidence<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Evidence", 2)?;
        out.serialize_field("kind", self.0.name())?;
        out.serialize_field("details", &Details(self.0))?;
        out.end()
    }
}

struct Details<'a>(&'a FindingKind);

/// In MB, rounded.
fn mb(bytes: f64) -> f64 {
    round2(bytes / 1_048_576.0)
}

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        match self.0 {
            FindingKind::Down { state, end } => {
                out.serialize_entry("state", state)?;
                out.serialize_entry("end", &end.map(|end| end.to_string()))?;
            }
            FindingKind::Unreadable(error) => {
                out.serialize_entry("read_error", &error.to_string())?;
            }
            FindingKind::EndedUnknown | FindingKind::Suspended | FindingKind::Unhealthy => {}
            FindingKind::Survivors { processes } => {
                out.serialize_entry("processes", processes)?;
            }
            FindingKind::CpuShift {
                before,
                now,
                samples_before,
                samples_since,
                per_event,
                margin,
            } => {
                out.serialize_entry("before_percent", &round2(*before))?;
                out.serialize_entry("now_percent", &round2(*now))?;
                out.serialize_entry("samples_before", samples_before)?;
                out.serialize_entry("samples_since", samples_since)?;
                out.serialize_entry("per_event_ratio", &per_event.map(round2))?;
                out.serialize_entry("margin", &round2(*margin))?;
            }
            FindingKind::Busier { before, now } => {
                out.serialize_entry("before_percent", &round2(*before))?;
                out.serialize_entry("now_percent", &round2(*now))?;
            }
            FindingKind::CpuSpike { before, peak, cpu_time } => {
                out.serialize_entry("before_percent", &round2(*before))?;
                out.serialize_entry("peak_percent", &round2(*peak))?;
                out.serialize_entry("cpu_seconds", &round2(cpu_time.as_secs_f64()))?;
            }
            FindingKind::Saturated { percent } => {
                out.serialize_entry("percent", &round2(*percent))?;
            }
            FindingKind::MemoryGrowth { from, now, per_hour, low, high, limit_in } => {
                out.serialize_entry("from_mb", &megabytes(*from))?;
                out.serialize_entry("now_mb", &megabytes(*now))?;
                out.serialize_entry("mb_per_hour", &mb(*per_hour))?;
                out.serialize_entry("low_mb_per_hour", &mb(*low))?;
                out.serialize_entry("high_mb_per_hour", &mb(*high))?;
                let seconds = limit_in.map(|time| round2(time.as_secs_f64()));
                out.serialize_entry("limit_in_seconds", &seconds)?;
            }
            FindingKind::MemoryStep { before, now } => {
                out.serialize_entry("before_mb", &megabytes(*before))?;
                out.serialize_entry("now_mb", &megabytes(*now))?;
            }
            FindingKind::CrashLoop { count, last } => {
                out.serialize_entry("count", count)?;
                out.serialize_entry("last", &timestamp(*last))?;
            }
            FindingKind::Crashed { count, within, last } => {
                out.serialize_entry("count", count)?;
                out.serialize_entry("within_seconds", &within.as_secs_f64())?;
                out.serialize_entry("last", &timestamp(*last))?;
            }
            FindingKind::Silence { per_second, cpu_percent } => {
                out.serialize_entry("events_per_second", &rounded(*per_second, 4))?;
                out.serialize_entry("cpu_percent", &cpu_percent.map(round2))?;
            }
            FindingKind::EventSurge { before, now } => {
                out.serialize_entry("before_events_per_second", &rounded(*before, 4))?;
                out.serialize_entry("now_events_per_second", &rounded(*now, 4))?;
            }
            FindingKind::Regression { metric, old, new, before, now, minutes } => {
                let (suffix, unit) = match metric {
                    RegressionMetric::CpuPerEvent => (["before_ms", "now_ms"], 1.0),
                    RegressionMetric::Cpu => (["before_percent", "now_percent"], 1.0),
                    RegressionMetric::Memory => (["before_mb", "now_mb"], 1_048_576.0),
                    RegressionMetric::Crashes => (["before_per_hour", "now_per_hour"], 1.0),
                };
                out.serialize_entry("metric", metric)?;
                out.serialize_entry("old", &**old)?;
                out.serialize_entry("new", &**new)?;
                for (key, value) in suffix.into_iter().zip([before, now]) {
                    out.serialize_entry(key, &rounded(value / unit, 3))?;
                }
                out.serialize_entry("minutes", minutes)?;
            }
            FindingKind::LimitExceeded(status) => {
                out.serialize_entry("limit", &status.limit)?;
                out.serialize_entry("value", &status.value.map(round2))?;
                out.serialize_entry("peak", &status.peak.map(round2))?;
            }
        }
        out.end()
    }
}
