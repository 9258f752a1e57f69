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
        memory: Some(Summary { count: 3, avg: mb(2.5), min: mb(1.0), max: mb(4.0), p95: mb(4.0) }),
        tree_cpu: Some(Summary { max: 30.0, ..summary }),
        tree_memory: None,
        cpu_time: Duration::from_micros(1_234_567),
        events: 7,
        events_per_second: 0.466_6,
        cpu_per_event: Some(Duration::from_nanos(176_366_714)),
        crashes: 1,
    };
    assert_json(
        &aggregates,
        r#"{"plugin_name":"di\"ce","sample_count":4,"time_span_seconds":15.0,"cpu":{"avg":12.35,"min":1.0,"max":20.0,"p95":20.0},"memory_mb":{"avg":2.5,"min":1.0,"max":4.0,"p95":4.0},"tree_cpu":{"avg":12.35,"min":1.0,"max":30.0,"p95":20.0},"tree_memory_mb":null,"cpu_seconds":1.235,"events":7,"events_per_second":0.47,"cpu_ms_per_event":176.367,"crashes":1}"#,
    );
    (aggregates.cpu, aggregates.memory) = (None, None);
    (aggregates.tree_cpu, aggregates.tree_memory) =
        (None, Some(Summary { count: 1, avg: mb(8.0), min: mb(8.0), max: mb(8.0), p95: mb(8.0) }));
    assert_json(
        &aggregates,
        r#"{"plugin_name":"di\"ce","sample_count":4,"time_span_seconds":15.0,"cpu":null,"memory_mb":null,"tree_cpu":null,"tree_memory_mb":{"avg":8.0,"min":8.0,"max":8.0,"p95":8.0},"cpu_seconds":1.235,"events":7,"events_per_second":0.47,"cpu_ms_per_event":176.367,"crashes":1}"#,
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
        cpu_percent: 123.456,
        total_tree_memory_bytes: 26_004_684,
        process_count: 17,
    };
    assert_json(
        &system,
        r#"{"uptime_seconds":9255.7,"uptime_human":"2h 34m","total_plugins":5,"plugins_running":4,"plugins_crashed":1,"total_events":1200,"total_memory_mb":12.4,"total_tree_memory_mb":24.8,"cpu_percent":123.46,"process_count":17}"#,
    );
    let mut sampler = SamplerStats {
        ticks: 9,
        missed_ticks: 1,
        failed_reads: 2,
        last_tick_duration: Duration::from_nanos(123_456_789),
        cpu_time: Some(Duration::from_nanos(1_500_499)),
        overhead_percent: Some(0.002_649),
        dropped_notifications: 3,
    };
    assert_json(
        &sampler,
        r#"{"ticks":9,"missed_ticks":1,"failed_reads":2,"last_tick_seconds":0.123457,"cpu_seconds":0.0015,"overhead_percent":0.0026,"dropped_notifications":3}"#,
    );
    (sampler.cpu_time, sampler.overhead_percent) = (None, None);
    assert_json(
        &sampler,
        r#"{"ticks":9,"missed_ticks":1,"failed_reads":2,"last_tick_seconds":0.123457,"cpu_seconds":null,"overhead_percent":null,"dropped_notifications":3}"#,
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
        process_count: Some(3),
        tree_cpu_percent: Some(129.876),
        tree_memory_bytes: Some(4_404_018),
        is_suspended: Some(false),
        uptime: Some(Duration::from_millis(61_234)),
        event_count: 12,
        crash_count: 1,
    };
    assert_json(
        &sample,
        r#"{"timestamp":"2025-11-24T12:34:14.321Z","plugin_name":"dice","version":"1.0","pid":4711,"state":"RUNNING","cpu_percent":29.88,"memory_mb":2.1,"process_count":3,"tree_cpu_percent":129.88,"tree_memory_mb":4.2,"suspended":false,"uptime_seconds":61.23,"event_count":12,"crash_count":1}"#,
    );
    (sample.version, sample.pid, sample.run) = (None, None, None);
    (sample.cpu_percent, sample.memory_bytes, sample.uptime) = (None, None, None);
    (sample.process_count, sample.tree_cpu_percent) = (Some(0), None);
    sample.tree_memory_bytes = None;
    sample.is_suspended = None;
    sample.state = PluginState::Stopped;
    assert_json(
        &sample,
        r#"{"timestamp":"2025-11-24T12:34:14.321Z","plugin_name":"dice","version":null,"pid":null,"state":"STOPPED","cpu_percent":null,"memory_mb":null,"process_count":0,"tree_cpu_percent":null,"tree_memory_mb":null,"suspended":null,"uptime_seconds":null,"event_count":12,"crash_count":1}"#,
    );
}

#[test]
fn process_json_has_pid_parent_name_and_values() {
    let mut process = ProcessInfo {
        pid: 4_712,
        parent: Some(4_711),
        name: "no\"de".into(),
        cpu_percent: Some(1.005),
        memory_bytes: Some(3 << 19),
    };
    assert_json(
        &process,
        r#"{"pid":4712,"parent":4711,"name":"no\"de","cpu_percent":1.0,"memory_mb":1.5}"#,
    );
    (process.parent, process.cpu_percent, process.memory_bytes) = (None, None, None);
    assert_json(
        &process,
        r#"{"pid":4712,"parent":null,"name":"no\"de","cpu_percent":null,"memory_mb":null}"#,
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
        peak_memory_bytes: Some(5 << 19),
        oom_killed: None,
    };
    assert_json(
        &run,
        r#"{"id":3,"pid":4711,"version":"1.0","started_at":"1970-01-01T00:00:00.000Z","reported_at":"1970-01-01T00:00:00.012Z","ended_at":"1970-01-01T00:01:01.000Z","end":"exited","exit_code":3,"signal":null,"cpu_seconds":1.23,"peak_memory_mb":2.5,"oom_killed":null}"#,
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
    (run.end, run.cpu_time, run.peak_memory_bytes) = (None, None, None);
    assert_json(
        &run,
        r#"{"id":3,"pid":4711,"version":null,"started_at":null,"reported_at":"1970-01-01T00:00:00.012Z","ended_at":null,"end":null,"exit_code":null,"signal":null,"cpu_seconds":null,"peak_memory_mb":null,"oom_killed":null}"#,
    );
}
