//! `Serialize` of the public values, as of those of a snapshot: rounded, with units in the keys.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::values::{
    Quantile, Resolution, StoredAggregates, StoredNotification, StoredPlugin, StoredPoint,
    StoredSummary,
};
use crate::format::json::{Scaled, scaled};
use crate::format::number::{BYTES_PER_MB, round2, rounded, timestamp};

impl Resolution {
    /// The name in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Auto => "auto",
        }
    }
}

impl Serialize for Resolution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Scaled<StoredSummary> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let StoredSummary { avg, min, max, p95, .. } = self.value;
        let error = match p95 {
            Quantile::Exact(_) => None,
            Quantile::Within { relative_error, .. } => Some(relative_error),
        };
        let mut out = serializer.serialize_struct("Summary", 5)?;
        for (key, value) in [("avg", avg), ("min", min), ("max", max), ("p95", p95.value())] {
            out.serialize_field(key, &round2(value / self.unit))?;
        }
        out.serialize_field("p95_relative_error", &error)?;
        out.end()
    }
}

impl Serialize for StoredPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("StoredPoint", 9)?;
        out.serialize_field("timestamp", &timestamp(self.timestamp))?;
        out.serialize_field("sample_count", &self.sample_count)?;
        out.serialize_field("cpu_percent", &scaled(self.cpu_percent, 1.0))?;
        out.serialize_field("memory_mb", &scaled(self.memory, BYTES_PER_MB))?;
        out.serialize_field("tree_cpu_percent", &scaled(self.tree_cpu_percent, 1.0))?;
        out.serialize_field("tree_memory_mb", &scaled(self.tree_memory, BYTES_PER_MB))?;
        out.serialize_field("events", &self.events)?;
        out.serialize_field("crashes", &self.crashes)?;
        out.serialize_field("state", &self.state)?;
        out.end()
    }
}

impl Serialize for StoredAggregates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let per_event = self.cpu_per_event.map(|cost| rounded(cost.as_secs_f64() * 1_000.0, 3));
        let mut out = serializer.serialize_struct("StoredAggregates", 13)?;
        out.serialize_field("plugin_name", &*self.plugin_name)?;
        out.serialize_field("resolution", &self.resolution)?;
        out.serialize_field("sample_count", &self.sample_count)?;
        out.serialize_field("time_span_seconds", &round2(self.time_span.as_secs_f64()))?;
        out.serialize_field("cpu", &scaled(self.cpu, 1.0))?;
        out.serialize_field("memory_mb", &scaled(self.memory, BYTES_PER_MB))?;
        out.serialize_field("tree_cpu", &scaled(self.tree_cpu, 1.0))?;
        out.serialize_field("tree_memory_mb", &scaled(self.tree_memory, BYTES_PER_MB))?;
        out.serialize_field("cpu_seconds", &rounded(self.cpu_time.as_secs_f64(), 3))?;
        out.serialize_field("events", &self.events)?;
        out.serialize_field("events_per_second", &round2(self.events_per_second))?;
        out.serialize_field("cpu_ms_per_event", &per_event)?;
        out.serialize_field("crashes", &self.crashes)?;
        out.end()
    }
}

impl Serialize for StoredPlugin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kinds: std::collections::BTreeMap<&str, u64> =
            self.event_counts.iter().map(|(kind, count)| (&**kind, *count)).collect();
        let mut out = serializer.serialize_struct("StoredPlugin", 11)?;
        out.serialize_field("plugin_name", &*self.name)?;
        out.serialize_field("first_seen", &timestamp(self.first_seen))?;
        out.serialize_field("removed_at", &self.removed_at.map(timestamp))?;
        out.serialize_field("event_count", &self.event_count)?;
        out.serialize_field("event_counts", &kinds)?;
        out.serialize_field("crash_count", &self.crash_count)?;
        out.serialize_field("restart_count", &self.restart_count)?;
        out.serialize_field("unknown_end_count", &self.unknown_end_count)?;
        out.serialize_field("last_crash", &self.last_crash.map(timestamp))?;
        out.serialize_field("cpu_seconds", &rounded(self.cpu_time.as_secs_f64(), 3))?;
        out.serialize_field("tree_cpu_seconds", &rounded(self.tree_cpu_time.as_secs_f64(), 3))?;
        out.end()
    }
}

impl Serialize for StoredNotification {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("StoredNotification", 4)?;
        out.serialize_field("at", &timestamp(self.at))?;
        out.serialize_field("plugin", &*self.plugin)?;
        out.serialize_field("kind", &self.kind)?;
        out.serialize_field("text", &self.text)?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn aggregates_have_units() {
        let summary = StoredSummary {
            count: 3,
            avg: 2.5 * BYTES_PER_MB,
            min: 1.25 * BYTES_PER_MB,
            max: 4.0 * BYTES_PER_MB,
            p95: Quantile::Within { value: 3.127 * BYTES_PER_MB, relative_error: 0.01 },
        };
        let aggregates = StoredAggregates {
            plugin_name: "dice".into(),
            resolution: Resolution::Minute,
            sample_count: 3,
            time_span: Duration::from_millis(15_126),
            cpu: None,
            memory: Some(summary),
            tree_cpu: None,
            tree_memory: Some(StoredSummary { p95: Quantile::Exact(summary.max), ..summary }),
            cpu_time: Duration::from_micros(1_234_567),
            events: 7,
            events_per_second: 0.463,
            cpu_per_event: Some(Duration::from_micros(1_500)),
            crashes: 2,
        };
        let memory = serde_json::json!(
            {"avg": 2.5, "min": 1.25, "max": 4.0, "p95": 3.13, "p95_relative_error": 0.01}
        );
        let tree_memory = serde_json::json!(
            {"avg": 2.5, "min": 1.25, "max": 4.0, "p95": 4.0, "p95_relative_error": null}
        );
        let expected = serde_json::json!({
            "plugin_name": "dice",
            "resolution": "minute",
            "sample_count": 3,
            "time_span_seconds": 15.13,
            "cpu": null,
            "memory_mb": memory,
            "tree_cpu": null,
            "tree_memory_mb": tree_memory,
            "cpu_seconds": 1.235,
            "events": 7,
            "events_per_second": 0.46,
            "cpu_ms_per_event": 1.5,
            "crashes": 2,
        });
        assert_eq!(serde_json::to_value(&aggregates).unwrap(), expected);
        let names = [Resolution::Raw, Resolution::Hour, Resolution::Auto].map(Resolution::as_str);
        assert_eq!(names, ["raw", "hour", "auto"]);
    }
}
