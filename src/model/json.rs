//! The values as JSON, or whatever else serde writes.
//!
//! Numbers are rounded as `{:.2}` rounds (where nothing else is said), so that what is logged is
//! what a person would have printed; what is unknown is `null`; times are RFC 3339 in UTC with
//! milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use super::aggregates::{Aggregates, Summary};
use super::mebibytes;
use super::run::{Run, RunEnd};
use super::sample::Sample;
use super::snapshot::Snapshot;
use super::system::{SamplerStats, SystemMetrics};
use super::text::human;
use super::view::PluginView;

/// `value` with so many decimals, as `{:.N}` rounds.
fn rounded(value: f64, decimals: u8) -> f64 {
    // Exact, which `powi` does not promise.
    let scale = f64::from(10_u32.pow(u32::from(decimals)));
    let scaled = value * scale;
    // The product is off by less than a millionth where it is below a thousand million. Farther
    // from a tie than that it is rounded as the value itself is, and a quotient of two numbers that
    // are exact is what their decimals would be read as.
    let from_tie = (scaled.abs().fract() - 0.5).abs();
    if scaled.abs() < 1e9 && from_tie > 1e-6 {
        return scaled.round() / scale;
    }
    // Formatting rounds the exact value of the number.
    let decimals = usize::from(decimals);
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

pub(crate) fn two(value: f64) -> f64 {
    rounded(value, 2)
}

pub(crate) fn megabytes(bytes: u64) -> f64 {
    two(mebibytes(bytes))
}

/// RFC 3339, UTC, milliseconds. Years that the format cannot write are cut off at its ends.
pub(crate) fn timestamp(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_millis(253_402_300_799_999);
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// Four numbers under short names.
struct Four([f64; 4]);

impl Four {
    fn of(summary: &Summary, unit: f64) -> Self {
        let Summary { avg, min, max, p95, count: _ } = *summary;
        Self([avg, min, max, p95].map(|value| two(value / unit)))
    }
}

impl Serialize for Four {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Summary", 4)?;
        for (key, value) in ["avg", "min", "max", "p95"].into_iter().zip(self.0) {
            out.serialize_field(key, &value)?;
        }
        out.end()
    }
}

impl Serialize for Aggregates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Aggregates", 8)?;
        out.serialize_field("plugin_name", &*self.plugin_name)?;
        out.serialize_field("sample_count", &self.sample_count)?;
        out.serialize_field("time_span_seconds", &two(self.time_span.as_secs_f64()))?;
        out.serialize_field("cpu", &self.cpu.map(|cpu| Four::of(&cpu, 1.0)))?;
        out.serialize_field("memory_mb", &self.memory.map(|m| Four::of(&m, 1_048_576.0)))?;
        out.serialize_field("events", &self.events)?;
        out.serialize_field("events_per_second", &two(self.events_per_second))?;
        out.serialize_field("crashes", &self.crashes)?;
        out.end()
    }
}

impl Serialize for SystemMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("SystemMetrics", 7)?;
        out.serialize_field("uptime_seconds", &rounded(self.uptime.as_secs_f64(), 1))?;
        out.serialize_field("uptime_human", &human(self.uptime))?;
        out.serialize_field("total_plugins", &self.total_plugins)?;
        out.serialize_field("plugins_running", &self.plugins_running)?;
        out.serialize_field("plugins_crashed", &self.plugins_crashed)?;
        out.serialize_field("total_events", &self.total_events)?;
        out.serialize_field("total_memory_mb", &megabytes(self.total_memory_bytes))?;
        out.end()
    }
}

/// The fields of a sample, as part of whatever has them.
pub(crate) fn sample_fields<S: SerializeStruct>(
    out: &mut S,
    sample: &Sample<'_>,
) -> Result<(), S::Error> {
    out.serialize_field("timestamp", &timestamp(sample.timestamp))?;
    out.serialize_field("plugin_name", sample.plugin_name)?;
    out.serialize_field("version", &sample.version)?;
    out.serialize_field("pid", &sample.pid)?;
    out.serialize_field("state", &sample.state)?;
    out.serialize_field("cpu_percent", &sample.cpu_percent.map(two))?;
    out.serialize_field("memory_mb", &sample.memory_bytes.map(megabytes))?;
    out.serialize_field("uptime_seconds", &sample.uptime.map(|up| two(up.as_secs_f64())))?;
    out.serialize_field("event_count", &sample.event_count)?;
    out.serialize_field("crash_count", &sample.crash_count)
}

/// How many fields [`sample_fields`] writes.
pub(crate) const SAMPLE_FIELDS: usize = 10;

impl Serialize for Sample<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Sample", SAMPLE_FIELDS)?;
        sample_fields(&mut out, self)?;
        out.end()
    }
}

/// The row of a plugin in a [`Snapshot`]: like a [`Sample`], but state, pid, version and crashes
/// are those of the revision; CPU, memory and uptime are of the process that runs now, or null.
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
        out.serialize_field("end", &self.end.map(RunEnd::word))?;
        out.serialize_field("exit_code", &code)?;
        out.serialize_field("signal", &signal)?;
        out.serialize_field("cpu_seconds", &self.cpu_time.map(|cpu| two(cpu.as_secs_f64())))?;
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

        let mut out = serializer.serialize_struct("Snapshot", 6)?;
        out.serialize_field("timestamp", &timestamp(self.sampled_at()))?;
        out.serialize_field("tick", &self.tick())?;
        out.serialize_field("revision", &self.revision())?;
        out.serialize_field("plugins", &Rows(self))?;
        out.serialize_field("system", &self.system())?;
        out.serialize_field("sampler", &self.sampler())?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::run::RunId;
    use crate::model::state::PluginState;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[track_caller]
    fn assert_json(value: &impl Serialize, expected: &str) {
        assert_eq!(serde_json::to_string(value).unwrap(), expected);
    }

    #[test]
    fn a_number_is_rounded_as_formatting_rounds_it() {
        for (value, expected) in [(1.005, 1.0), (2.675, 2.67), (0.125, 0.12), (12.345_6, 12.35)] {
            assert_eq!(two(value).to_bits(), f64::to_bits(expected), "{value}");
        }
    }

    #[test]
    fn rounding_is_that_of_formatting_at_ties_and_beside_them() {
        let by_formatting = |value: f64, decimals: u8| -> f64 {
            let decimals = usize::from(decimals);
            format!("{value:.decimals$}").parse().unwrap()
        };
        let mut values = vec![0.0, -0.0, f64::MIN_POSITIVE, f64::MAX, 1e15, 9_999_999.995, 1e-300];
        // So large that the fast way would lose the second decimal.
        values.push(1e15 + 0.875);
        for i in 0..40_000u32 {
            // Ties, as near as there are numbers, and those on both sides of them.
            let tie = f64::from(i) / 200.0;
            values.extend([tie, tie.next_up(), tie.next_down(), tie + 5e-9, tie - 5e-9]);
            let random = f64::from(i.wrapping_mul(2_654_435_761)) / 4_096.7;
            values.extend([random, -random, random / 1e5]);
        }
        for value in values {
            for decimals in [1, 2, 4, 6] {
                let (ours, expected) = (rounded(value, decimals), by_formatting(value, decimals));
                assert_eq!(ours.to_bits(), expected.to_bits(), "{value:e} to {decimals}");
            }
        }
    }

    #[test]
    fn times_are_rfc_3339_with_milliseconds_and_never_fail() {
        assert_eq!(timestamp(at(1_763_987_654_321)), "2025-11-24T12:34:14.321Z");
        assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        let far = UNIX_EPOCH + Duration::from_secs(400_000_000_000);
        assert_eq!(timestamp(far), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn aggregates_are_in_seconds_megabytes_and_two_decimals() {
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
    fn totals_and_the_samplers_cost_are_written_with_their_decimals() {
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
    fn a_sample_says_null_for_what_is_unknown() {
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
    fn a_run_says_how_it_ended() {
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
        for (end, word) in [
            (RunEnd::Replaced, "replaced"),
            (RunEnd::Stopped, "stopped"),
            (RunEnd::Crashed, "crashed"),
            (RunEnd::Unknown, "unknown"),
        ] {
            run.end = Some(end);
            let json = serde_json::to_string(&run).unwrap();
            let expected = format!(r#""end":"{word}","exit_code":null,"signal":null,"#);
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
