//! `Serialize` of findings.

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};

use super::finding::{Finding, FindingKind};
use super::text::write_sentence;
use crate::format::number::{megabytes, round2, timestamp};

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut message = String::new();
        // Writing to a string does not fail.
        let _: std::fmt::Result = write_sentence(&mut message, self);
        let mut out = serializer.serialize_struct("Finding", 9)?;
        out.serialize_field("plugin", &*self.plugin)?;
        out.serialize_field("run", &self.run)?;
        out.serialize_field("severity", &self.severity)?;
        out.serialize_field("since", &timestamp(self.since.time()))?;
        out.serialize_field("is_since_exact", &self.since.is_exact())?;
        out.serialize_field("kind", self.kind.name())?;
        out.serialize_field("details", &Details(&self.kind))?;
        out.serialize_field("oom_killed", &self.oom_killed)?;
        out.serialize_field("message", &message)?;
        out.end()
    }
}

/// The evidence.
struct Details<'a>(&'a FindingKind);

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
            FindingKind::Crashed { count, within, last } => {
                out.serialize_entry("count", count)?;
                out.serialize_entry("within_seconds", &within.as_secs_f64())?;
                out.serialize_entry("last", &timestamp(*last))?;
            }
            FindingKind::LimitExceeded(status) => {
                out.serialize_entry("limit", &status.limit)?;
                out.serialize_entry("value", &status.value.map(round2))?;
                out.serialize_entry("peak", &status.peak.map(round2))?;
            }
            FindingKind::MemoryGrowth { from, now, over, per_hour } => {
                out.serialize_entry("from_mb", &megabytes(*from))?;
                out.serialize_entry("now_mb", &megabytes(*now))?;
                out.serialize_entry("over_seconds", &round2(over.as_secs_f64()))?;
                out.serialize_entry("mb_per_hour", &round2(per_hour / 1_048_576.0))?;
            }
        }
        out.end()
    }
}
