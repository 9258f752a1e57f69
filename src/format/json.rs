//! `Serialize` of the public values.
//!
//! Numbers are rounded as `{:.2}` rounds (unless another precision is stated), so that text and JSON
//! agree; unknown values are `null`; times are RFC 3339 in UTC with milliseconds.

use std::time::Duration;

use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use super::number::{BYTES_PER_MB, human_duration, megabytes, round2, rounded, timestamp};
use crate::snapshot::Snapshot;
use crate::snapshot::aggregates::{Aggregates, Summary};
use crate::snapshot::downsample::{Point, ValueRange};
use crate::snapshot::plugin_view::PluginView;
use crate::snapshot::process_info::ProcessInfo;
use crate::snapshot::run::{Run, RunEnd};
use crate::snapshot::sample::Sample;
use crate::snapshot::system::{SamplerStats, SystemMetrics};
use crate::snapshot::versions::VersionUsage;

fn seconds3(time: Duration) -> f64 {
    rounded(time.as_secs_f64(), 3)
}

/// Milliseconds with three decimals.
fn millis3(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1_000.0, 3)
}

/// A summary or a range in another unit.
pub(crate) struct Scaled<T> {
    pub value: T,
    /// The JSON unit in the value's unit.
    pub unit: f64,
}

impl Serialize for Scaled<Summary> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Summary { avg, min, max, p95, count: _ } = self.value;
        let mut out = serializer.serialize_struct("Summary", 4)?;
        for (key, value) in [("avg", avg), ("min", min), ("max", max), ("p95", p95)] {
            out.serialize_field(key, &round2(value / self.unit))?;
        }
        out.end()
    }
}

impl Serialize for Scaled<ValueRange> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ValueRange { min, avg, max } = self.value;
        let mut out = serializer.serialize_struct("ValueRange", 3)?;
        for (key, value) in [("min", min), ("avg", avg), ("max", max)] {
            out.serialize_field(key, &round2(value / self.unit))?;
        }
        out.end()
    }
}

pub(crate) fn scaled<T>(value: Option<T>, unit: f64) -> Option<Scaled<T>> {
    value.map(|value| Scaled { value, unit })
}

/// In the units of the value: percent, or bytes.
impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Scaled { value: *self, unit: 1.0 }.serialize(serializer)
    }
}

/// In the units of the value: percent, or bytes.
impl Serialize for ValueRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Scaled { value: *self, unit: 1.0 }.serialize(serializer)
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Point", 10)?;
        out.serialize_field("timestamp", &timestamp(self.timestamp))?;
        out.serialize_field("sample_count", &self.sample_count)?;
        out.serialize_field("cpu_percent", &scaled(self.cpu_percent, 1.0))?;
        out.serialize_field("memory_mb", &scaled(self.memory, BYTES_PER_MB))?;
        out.serialize_field("tree_cpu_percent", &scaled(self.tree_cpu_percent, 1.0))?;
        out.serialize_field("tree_memory_mb", &scaled(self.tree_memory, BYTES_PER_MB))?;
        out.serialize_field("event_count", &self.event_count)?;
        out.serialize_field("crash_count", &self.crash_count)?;
        out.serialize_field("state", &self.state)?;
        out.serialize_field("run", &self.run)?;
        out.end()
    }
}

impl Serialize for Aggregates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Aggregates", 12)?;
        out.serialize_field("plugin_name", &*self.plugin_name)?;
        out.serialize_field("sample_count", &self.sample_count)?;
        out.serialize_field("time_span_seconds", &round2(self.time_span.as_secs_f64()))?;
        out.serialize_field("cpu", &scaled(self.cpu, 1.0))?;
        out.serialize_field("memory_mb", &scaled(self.memory, BYTES_PER_MB))?;
        out.serialize_field("tree_cpu", &scaled(self.tree_cpu, 1.0))?;
        out.serialize_field("tree_memory_mb", &scaled(self.tree_memory, BYTES_PER_MB))?;
        out.serialize_field("cpu_seconds", &seconds3(self.cpu_time))?;
        out.serialize_field("events", &self.events)?;
        out.serialize_field("events_per_second", &round2(self.events_per_second))?;
        out.serialize_field("cpu_ms_per_event", &self.cpu_per_event.map(millis3))?;
        out.serialize_field("crashes", &self.crashes)?;
        out.end()
    }
}

impl Serialize for VersionUsage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("VersionUsage", 10)?;
        out.serialize_field("version", &self.version.as_deref())?;
        out.serialize_field("runs", &self.runs)?;
        out.serialize_field("sample_count", &self.sample_count)?;
        out.serialize_field("time_seconds", &round2(self.time.as_secs_f64()))?;
        out.serialize_field("cpu", &scaled(self.cpu, 1.0))?;
        out.serialize_field("memory_mb", &scaled(self.memory, BYTES_PER_MB))?;
        out.serialize_field("cpu_seconds", &seconds3(self.cpu_time))?;
        out.serialize_field("events", &self.events)?;
        out.serialize_field("cpu_ms_per_event", &self.cpu_per_event.map(millis3))?;
        out.serialize_field("crashes", &self.crashes)?;
        out.end()
    }
}

impl Serialize for SystemMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("SystemMetrics", 10)?;
        out.serialize_field("uptime_seconds", &rounded(self.uptime.as_secs_f64(), 1))?;
        out.serialize_field("uptime_human", &human_duration(self.uptime))?;
        out.serialize_field("total_plugins", &self.total_plugins)?;
        out.serialize_field("plugins_running", &self.plugins_running)?;
        out.serialize_field("plugins_crashed", &self.plugins_crashed)?;
        out.serialize_field("total_events", &self.total_events)?;
        out.serialize_field("total_memory_mb", &megabytes(self.total_memory_bytes))?;
        out.serialize_field("total_tree_memory_mb", &megabytes(self.total_tree_memory_bytes))?;
        out.serialize_field("cpu_percent", &round2(self.cpu_percent))?;
        out.serialize_field("process_count", &self.process_count)?;
        out.end()
    }
}

/// Writes the fields of a sample into a struct that contains them.
pub(crate) fn sample_fields<S: SerializeStruct>(
    out: &mut S,
    sample: &Sample<'_>,
) -> Result<(), S::Error> {
    out.serialize_field("timestamp", &timestamp(sample.timestamp))?;
    out.serialize_field("plugin_name", sample.plugin_name)?;
    out.serialize_field("version", &sample.version)?;
    out.serialize_field("pid", &sample.pid)?;
    out.serialize_field("state", &sample.state)?;
    out.serialize_field("cpu_percent", &sample.cpu_percent.map(round2))?;
    out.serialize_field("memory_mb", &sample.memory_bytes.map(megabytes))?;
    out.serialize_field("process_count", &sample.process_count)?;
    out.serialize_field("tree_cpu_percent", &sample.tree_cpu_percent.map(round2))?;
    out.serialize_field("tree_memory_mb", &sample.tree_memory_bytes.map(megabytes))?;
    out.serialize_field("suspended", &sample.is_suspended)?;
    out.serialize_field("uptime_seconds", &sample.uptime.map(|up| round2(up.as_secs_f64())))?;
    out.serialize_field("event_count", &sample.event_count)?;
    out.serialize_field("crash_count", &sample.crash_count)
}

/// The number of fields that [`sample_fields`] writes.
pub(crate) const SAMPLE_FIELDS: usize = 14;

impl Serialize for Sample<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Sample", SAMPLE_FIELDS)?;
        sample_fields(&mut out, self)?;
        out.end()
    }
}

/// The plugin's row in a [`Snapshot`]: the fields of a [`Sample`], but state, pid, version and crash
/// count are the revision's; CPU, memory and uptime are those of the running process, or `null`.
/// `event_counts` has the count of each kind of events.
impl Serialize for PluginView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("PluginView", SAMPLE_FIELDS + 1)?;
        sample_fields(&mut out, &self.as_sample())?;
        out.serialize_field("event_counts", &EventCounts(*self))?;
        out.end()
    }
}

/// A plugin's counts of events, by kind.
struct EventCounts<'a>(PluginView<'a>);

impl Serialize for EventCounts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.event_counts())
    }
}

impl Serialize for ProcessInfo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("ProcessInfo", 5)?;
        out.serialize_field("pid", &self.pid)?;
        out.serialize_field("parent", &self.parent)?;
        out.serialize_field("name", &self.name)?;
        out.serialize_field("cpu_percent", &self.cpu_percent.map(round2))?;
        out.serialize_field("memory_mb", &self.memory_bytes.map(megabytes))?;
        out.end()
    }
}

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (code, signal) = match self.end {
            Some(RunEnd::Exited(code)) => (Some(code), None),
            Some(RunEnd::Signaled(signal)) => (None, Some(signal)),
            Some(
                RunEnd::Replaced
                | RunEnd::Stopped
                | RunEnd::Crashed
                | RunEnd::Unknown
                | RunEnd::HostGone,
            )
            | None => (None, None),
        };
        let mut out = serializer.serialize_struct("Run", 12)?;
        out.serialize_field("id", &self.id)?;
        out.serialize_field("pid", &self.pid)?;
        out.serialize_field("version", &self.version.as_deref())?;
        out.serialize_field("started_at", &self.started_at.map(timestamp))?;
        out.serialize_field("reported_at", &timestamp(self.reported_at))?;
        out.serialize_field("ended_at", &self.ended_at.map(timestamp))?;
        out.serialize_field("end", &self.end.map(RunEnd::as_str))?;
        out.serialize_field("exit_code", &code)?;
        out.serialize_field("signal", &signal)?;
        out.serialize_field("cpu_seconds", &self.cpu_time.map(|cpu| round2(cpu.as_secs_f64())))?;
        out.serialize_field("peak_memory_mb", &self.peak_memory_bytes.map(megabytes))?;
        out.serialize_field("oom_killed", &self.oom_killed)?;
        out.end()
    }
}

impl Serialize for SamplerStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = |time: Duration| rounded(time.as_secs_f64(), 6);
        let mut out = serializer.serialize_struct("SamplerStats", 7)?;
        out.serialize_field("ticks", &self.ticks)?;
        out.serialize_field("missed_ticks", &self.missed_ticks)?;
        out.serialize_field("failed_reads", &self.failed_reads)?;
        out.serialize_field("last_tick_seconds", &seconds(self.last_tick_duration))?;
        out.serialize_field("cpu_seconds", &self.cpu_time.map(seconds))?;
        out.serialize_field("overhead_percent", &self.overhead_percent.map(|p| rounded(p, 4)))?;
        out.serialize_field("dropped_notifications", &self.dropped_notifications)?;
        out.end()
    }
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Rows<'a>(&'a Snapshot);

        impl Serialize for Rows<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let plugins = self.0.plugins();
                let mut out = serializer.serialize_seq(Some(plugins.len()))?;
                for plugin in plugins {
                    out.serialize_element(&plugin)?;
                }
                out.end()
            }
        }

        let mut out = serializer.serialize_struct("Snapshot", 7)?;
        out.serialize_field("timestamp", &timestamp(self.sampled_at()))?;
        out.serialize_field("tick", &self.tick())?;
        out.serialize_field("revision", &self.revision())?;
        out.serialize_field("status", &self.status())?;
        out.serialize_field("plugins", &Rows(self))?;
        out.serialize_field("system", &self.system())?;
        out.serialize_field("sampler", &self.sampler())?;
        out.end()
    }
}

#[cfg(test)]
mod tests;
