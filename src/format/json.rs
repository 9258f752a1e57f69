//! `Serialize` of the public values.
//!
//! Numbers are rounded as `{:.2}` rounds (unless another precision is stated), so that text and JSON
//! agree; unknown values are `null`; times are RFC 3339 in UTC with milliseconds.

use std::time::Duration;

use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use super::number::{human_duration, megabytes, round2, rounded, timestamp};
use crate::snapshot::Snapshot;
use crate::snapshot::aggregates::{Aggregates, Summary};
use crate::snapshot::downsample::{Point, ValueRange};
use crate::snapshot::plugin_view::PluginView;
use crate::snapshot::run::{Run, RunEnd};
use crate::snapshot::sample::Sample;
use crate::snapshot::system::{SamplerStats, SystemMetrics};

const BYTES_PER_MB: f64 = 1_048_576.0;

/// A summary or a range in another unit.
struct Scaled<T> {
    value: T,
    /// The JSON unit in the value's unit.
    unit: f64,
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

fn scaled<T>(value: Option<T>, unit: f64) -> Option<Scaled<T>> {
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
        let mut out = serializer.serialize_struct("Point", 8)?;
        out.serialize_field("timestamp", &timestamp(self.timestamp))?;
        out.serialize_field("sample_count", &self.sample_count)?;
        out.serialize_field("cpu_percent", &scaled(self.cpu_percent, 1.0))?;
        out.serialize_field("memory_mb", &scaled(self.memory, BYTES_PER_MB))?;
        out.serialize_field("event_count", &self.event_count)?;
        out.serialize_field("crash_count", &self.crash_count)?;
        out.serialize_field("state", &self.state)?;
        out.serialize_field("run", &self.run)?;
        out.end()
    }
}

impl Serialize for Aggregates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Aggregates", 8)?;
        out.serialize_field("plugin_name", &*self.plugin_name)?;
        out.serialize_field("sample_count", &self.sample_count)?;
        out.serialize_field("time_span_seconds", &round2(self.time_span.as_secs_f64()))?;
        out.serialize_field("cpu", &scaled(self.cpu, 1.0))?;
        out.serialize_field("memory_mb", &scaled(self.memory, BYTES_PER_MB))?;
        out.serialize_field("events", &self.events)?;
        out.serialize_field("events_per_second", &round2(self.events_per_second))?;
        out.serialize_field("crashes", &self.crashes)?;
        out.end()
    }
}

impl Serialize for SystemMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("SystemMetrics", 7)?;
        out.serialize_field("uptime_seconds", &rounded(self.uptime.as_secs_f64(), 1))?;
        out.serialize_field("uptime_human", &human_duration(self.uptime))?;
        out.serialize_field("total_plugins", &self.total_plugins)?;
        out.serialize_field("plugins_running", &self.plugins_running)?;
        out.serialize_field("plugins_crashed", &self.plugins_crashed)?;
        out.serialize_field("total_events", &self.total_events)?;
        out.serialize_field("total_memory_mb", &megabytes(self.total_memory_bytes))?;
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
    out.serialize_field("uptime_seconds", &sample.uptime.map(|up| round2(up.as_secs_f64())))?;
    out.serialize_field("event_count", &sample.event_count)?;
    out.serialize_field("crash_count", &sample.crash_count)
}

/// The number of fields that [`sample_fields`] writes.
pub(crate) const SAMPLE_FIELDS: usize = 10;

impl Serialize for Sample<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Sample", SAMPLE_FIELDS)?;
        sample_fields(&mut out, self)?;
        out.end()
    }
}

/// The plugin's row in a [`Snapshot`]: the fields of a [`Sample`], but state, pid, version and crash
/// count are the revision's; CPU, memory and uptime are those of the running process, or `null`.
impl Serialize for PluginView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_sample().serialize(serializer)
    }
}

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (code, signal) = match self.end {
            Some(RunEnd::Exited(code)) => (Some(code), None),
            Some(RunEnd::Signaled(signal)) => (None, Some(signal)),
            Some(RunEnd::Replaced | RunEnd::Stopped | RunEnd::Crashed | RunEnd::Unknown) | None => {
                (None, None)
            }
        };
        let mut out = serializer.serialize_struct("Run", 10)?;
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
        out.end()
    }
}

impl Serialize for SamplerStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = |time: Duration| rounded(time.as_secs_f64(), 6);
        let mut out = serializer.serialize_struct("SamplerStats", 6)?;
        out.serialize_field("ticks", &self.ticks)?;
        out.serialize_field("missed_ticks", &self.missed_ticks)?;
        out.serialize_field("failed_reads", &self.failed_reads)?;
        out.serialize_field("last_tick_seconds", &seconds(self.last_tick_duration))?;
        out.serialize_field("cpu_seconds", &self.cpu_time.map(seconds))?;
        out.serialize_field("overhead_percent", &self.overhead_percent.map(|p| rounded(p, 4)))?;
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
mod tests {
    use std::sync::Arc;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::snapshot::run::RunId;
    use crate::snapshot::state::PluginState;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[track_caller]
    fn assert_json(value: &impl Serialize, expected: &str) {
        assert_eq!(serde_json::to_string(value).unwrap(), expected);
    }

    #[test]
    fn aggregates_json_has_mb_and_two_decimals() {
        let summary = Summary { count: 3, avg: 12.3456, min: 1.0, max: 20.0, p95: 19.999 };
        let mb = |mb: f64| mb * 1_048_576.0;
        let mut aggregates = Aggregates {
            plugin_name: Arc::from("di\"ce"),
            sample_count: 4,
            time_span: Duration::from_millis(15_004),
            cpu: Some(summary),
            memory: Some(Summary {
                count: 3,
                avg: mb(2.5),
                min: mb(1.0),
                max: mb(4.0),
                p95: mb(4.0),
            }),
            events: 7,
            events_per_second: 0.466_6,
            crashes: 1,
        };
        assert_json(
            &aggregates,
            r#"{"plugin_name":"di\"ce","sample_count":4,"time_span_seconds":15.0,"cpu":{"avg":12.35,"min":1.0,"max":20.0,"p95":20.0},"memory_mb":{"avg":2.5,"min":1.0,"max":4.0,"p95":4.0},"events":7,"events_per_second":0.47,"crashes":1}"#,
        );
        (aggregates.cpu, aggregates.memory) = (None, None);
        assert_json(
            &aggregates,
            r#"{"plugin_name":"di\"ce","sample_count":4,"time_span_seconds":15.0,"cpu":null,"memory_mb":null,"events":7,"events_per_second":0.47,"crashes":1}"#,
        );
    }

    #[test]
    fn system_and_sampler_json_have_defined_decimals() {
        let system = SystemMetrics {
            uptime: Duration::from_millis(9_255_670),
            total_plugins: 5,
            plugins_running: 4,
            plugins_crashed: 1,
            total_events: 1_200,
            total_memory_bytes: 13_002_342,
        };
        assert_json(
            &system,
            r#"{"uptime_seconds":9255.7,"uptime_human":"2h 34m","total_plugins":5,"plugins_running":4,"plugins_crashed":1,"total_events":1200,"total_memory_mb":12.4}"#,
        );
        let mut sampler = SamplerStats {
            ticks: 9,
            missed_ticks: 1,
            failed_reads: 2,
            last_tick_duration: Duration::from_nanos(123_456_789),
            cpu_time: Some(Duration::from_nanos(1_500_499)),
            overhead_percent: Some(0.002_649),
        };
        assert_json(
            &sampler,
            r#"{"ticks":9,"missed_ticks":1,"failed_reads":2,"last_tick_seconds":0.123457,"cpu_seconds":0.0015,"overhead_percent":0.0026}"#,
        );
        (sampler.cpu_time, sampler.overhead_percent) = (None, None);
        assert_json(
            &sampler,
            r#"{"ticks":9,"missed_ticks":1,"failed_reads":2,"last_tick_seconds":0.123457,"cpu_seconds":null,"overhead_percent":null}"#,
        );
    }

    #[test]
    fn unknown_sample_values_are_null_in_json() {
        let mut sample = Sample {
            timestamp: at(1_763_987_654_321),
            plugin_name: "dice",
            version: Some("1.0"),
            pid: Some(4_711),
            run: Some(RunId(3)),
            state: PluginState::Running,
            cpu_percent: Some(29.876),
            memory_bytes: Some(2_202_009),
            uptime: Some(Duration::from_millis(61_234)),
            event_count: 12,
            crash_count: 1,
        };
        assert_json(
            &sample,
            r#"{"timestamp":"2025-11-24T12:34:14.321Z","plugin_name":"dice","version":"1.0","pid":4711,"state":"RUNNING","cpu_percent":29.88,"memory_mb":2.1,"uptime_seconds":61.23,"event_count":12,"crash_count":1}"#,
        );
        (sample.version, sample.pid, sample.run) = (None, None, None);
        (sample.cpu_percent, sample.memory_bytes, sample.uptime) = (None, None, None);
        sample.state = PluginState::Stopped;
        assert_json(
            &sample,
            r#"{"timestamp":"2025-11-24T12:34:14.321Z","plugin_name":"dice","version":null,"pid":null,"state":"STOPPED","cpu_percent":null,"memory_mb":null,"uptime_seconds":null,"event_count":12,"crash_count":1}"#,
        );
    }

    #[test]
    fn run_json_states_how_it_ended() {
        let mut run = Run {
            id: RunId(3),
            pid: 4_711,
            version: Some(Arc::from("1.0")),
            started_at: Some(at(0)),
            reported_at: at(12),
            ended_at: Some(at(61_000)),
            end: Some(RunEnd::Exited(3)),
            cpu_time: Some(Duration::from_millis(1_234)),
        };
        assert_json(
            &run,
            r#"{"id":3,"pid":4711,"version":"1.0","started_at":"1970-01-01T00:00:00.000Z","reported_at":"1970-01-01T00:00:00.012Z","ended_at":"1970-01-01T00:01:01.000Z","end":"exited","exit_code":3,"signal":null,"cpu_seconds":1.23}"#,
        );
        run.end = Some(RunEnd::Signaled(9));
        let json = serde_json::to_string(&run).unwrap();
        assert!(json.contains(r#""end":"signaled","exit_code":null,"signal":9,"#), "{json}");
        for (end, name) in [
            (RunEnd::Replaced, "replaced"),
            (RunEnd::Stopped, "stopped"),
            (RunEnd::Crashed, "crashed"),
            (RunEnd::Unknown, "unknown"),
        ] {
            run.end = Some(end);
            let json = serde_json::to_string(&run).unwrap();
            let expected = format!(r#""end":"{name}","exit_code":null,"signal":null,"#);
            assert!(json.contains(&expected), "{json}");
        }
        (run.version, run.started_at, run.ended_at) = (None, None, None);
        (run.end, run.cpu_time) = (None, None);
        assert_json(
            &run,
            r#"{"id":3,"pid":4711,"version":null,"started_at":null,"reported_at":"1970-01-01T00:00:00.012Z","ended_at":null,"end":null,"exit_code":null,"signal":null,"cpu_seconds":null}"#,
        );
    }
}
