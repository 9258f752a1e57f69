//! Each kind as a sentence and as JSON, with values of the test's own.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::super::{Finding, FindingKind, MessagePart, Onset, RegressionMetric, Severity};
use crate::{Limit, LimitMetric, LimitState, LimitStatus, PluginState, ReadError, RunEnd};

const MB: u64 = 1 << 20;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn finding(kind: FindingKind) -> Finding {
    Finding {
        plugin: Arc::from("dice"),
        run: None,
        severity: Severity::Notice,
        impact: 0.0,
        since: Onset::At(at(60)),
        until: None,
        kind,
        evidence: Vec::new(),
        oom_killed: None,
    }
}

#[track_caller]
fn check(kind: FindingKind, name: &str, sentence: &str, details: &Value) {
    let finding = finding(kind);
    assert_eq!(finding.to_string(), format!("dice: {sentence}"));
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!((&json["kind"], &json["message"]), (&json!(name), &json!(sentence)));
    assert_eq!(json["details"], *details, "{name}");
    assert_eq!(json["is_since_exact"], json!(true));
    assert_eq!(json["since"], json!("1970-01-01T00:01:00.000Z"));
    // Between two times there is one text.
    let is_text: Vec<_> =
        finding.message().iter().map(|part| matches!(part, MessagePart::Text(_))).collect();
    assert!(!is_text.windows(2).any(|pair| pair == [true, true]), "{:?}", finding.message());
}

#[test]
fn conditions_of_processes() {
    let down = |state, end| FindingKind::Down { state, end };
    check(
        down(PluginState::Crashed, Some(RunEnd::Exited(3))),
        "down",
        "crashed, down since 1970-01-01T00:01:00Z (exit code 3)",
        &json!({"state": "CRASHED", "end": "exit code 3"}),
    );
    // The state and the other ends say all.
    let failed = down(PluginState::Failed, Some(RunEnd::Exited(3)));
    assert_eq!(finding(failed).to_string(), "dice: failed, down since 1970-01-01T00:01:00Z");
    let reported = down(PluginState::Crashed, Some(RunEnd::Crashed));
    assert_eq!(finding(reported).to_string(), "dice: crashed, down since 1970-01-01T00:01:00Z");
    check(
        FindingKind::EndedUnknown,
        "ended_unknown",
        "ended at 1970-01-01T00:01:00Z, and no exit status was reported",
        &json!({}),
    );
    check(
        FindingKind::Suspended,
        "suspended",
        "suspended (SIGSTOP) since 1970-01-01T00:01:00Z",
        &json!({}),
    );
    check(FindingKind::Unhealthy, "unhealthy", "unhealthy since 1970-01-01T00:01:00Z", &json!({}));
    let error = ReadError::PermissionDenied;
    check(
        FindingKind::Unreadable(error),
        "unreadable",
        &format!("{error} since 1970-01-01T00:01:00Z"),
        &json!({"read_error": error.to_string()}),
    );
    for (processes, live) in
        [(1, "1 process lives on without its"), (2, "2 processes live on without their")]
    {
        check(
            FindingKind::Survivors { processes },
            "survivors",
            &format!("{live} main process since 1970-01-01T00:01:00Z"),
            &json!({"processes": processes}),
        );
    }
}

#[test]
fn killed_by_oom_killer() {
    let end = Some(RunEnd::Signaled(9));
    let mut finding = finding(FindingKind::Down { state: PluginState::Crashed, end });
    let since = "dice: crashed, down since 1970-01-01T00:01:00Z";
    for (oom_killed, expected) in [
        (None, "(signal 9)"),
        (Some(false), "(signal 9)"),
        (Some(true), "(signal 9, killed by the OOM killer)"),
    ] {
        finding.oom_killed = oom_killed;
        assert_eq!(finding.to_string(), format!("{since} {expected}"));
    }
}

#[test]
fn levels_of_cpu() {
    for (per_event, suffix) in [
        (None, ""),
        (Some(1.99), ""),
        (Some(2.0), ", 2.0 times as much for each event"),
        (Some(12.3), ", 12 times as much for each event"),
    ] {
        let kind = FindingKind::CpuShift {
            before: 1.254,
            now: 40.126,
            samples_before: 300,
            samples_since: 30,
            per_event,
            margin: 1.5,
        };
        let sentence = format!("CPU 40 % since 1970-01-01T00:01:00Z (normally 1.3 %){suffix}");
        let details = json!({
            "before_percent": 1.25, "now_percent": 40.13, "samples_before": 300,
            "samples_since": 30, "per_event_ratio": per_event, "margin": 1.5,
        });
        check(kind, "cpu_shift", &sentence, &details);
    }
    check(
        FindingKind::Busier { before: 0.0, now: 9.96 },
        "busier",
        "CPU 10 % since 1970-01-01T00:01:00Z (normally 0 %), as there are more events",
        &json!({"before_percent": 0.0, "now_percent": 9.96}),
    );
    for (seconds, cost) in [(42, "42 s"), (600, "10 minutes"), (3_600, "an hour")] {
        let cpu_time = Duration::from_secs(seconds);
        check(
            FindingKind::CpuSpike { before: 0.05, peak: 94.0, cpu_time },
            "cpu_spike",
            &format!(
                "CPU up to 94 % at 1970-01-01T00:01:00Z (normally 0.05 %), {cost} of CPU time \
                 more; it is over"
            ),
            &json!({"before_percent": 0.05, "peak_percent": 94.0, "cpu_seconds": f64::from(seconds as u32)}),
        );
    }
    check(
        FindingKind::Saturated { percent: 100.4 },
        "saturated",
        "a whole core (100 %) since 1970-01-01T00:01:00Z, it may be at its limit",
        &json!({"percent": 100.4}),
    );
}

#[test]
fn changes_of_memory() {
    let growth = |limit_in| FindingKind::MemoryGrowth {
        from: 50 * MB,
        now: 98 * MB,
        per_hour: 72.0 * MB as f64,
        low: 71.5 * MB as f64,
        high: 73.25 * MB as f64,
        limit_in,
    };
    let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
    for (limit_in, suffix) in [
        (None, ""),
        (minutes(19), ", reaches its limit in about 19 min"),
        (minutes(89), ", reaches its limit in about 89 min"),
        (minutes(90), ", reaches its limit in about 1.5 h"),
        (minutes(600), ", reaches its limit in about 10.0 h"),
    ] {
        let sentence =
            format!("memory grows by 72 MB an hour since 1970-01-01T00:01:00Z, now 98 MB{suffix}");
        let details = json!({
            "from_mb": 50.0, "now_mb": 98.0, "mb_per_hour": 72.0, "low_mb_per_hour": 71.5,
            "high_mb_per_hour": 73.25, "limit_in_seconds": limit_in.map(|time| time.as_secs_f64()),
        });
        check(growth(limit_in), "memory_growth", &sentence, &details);
    }
    check(
        FindingKind::MemoryStep { before: 5 * MB + MB / 2, now: 120 * MB },
        "memory_step",
        "memory 120 MB since 1970-01-01T00:01:00Z (before 5.5 MB)",
        &json!({"before_mb": 5.5, "now_mb": 120.0}),
    );
}

#[test]
fn crashes() {
    check(
        FindingKind::CrashLoop { count: 7, last: at(120) },
        "crash_loop",
        "crash loop, 7 crashes since 1970-01-01T00:01:00Z, last at 1970-01-01T00:02:00Z",
        &json!({"count": 7, "last": "1970-01-01T00:02:00.000Z"}),
    );
    for (count, within, text) in [
        (0, 3_600, "crashed"),
        (1, 3_600, "crashed"),
        (2, 3_600, "crashed twice in the last hour, last"),
        (5, 600, "crashed 5 times in the last 10 minutes, last"),
    ] {
        let kind =
            FindingKind::Crashed { count, within: Duration::from_secs(within), last: at(120) };
        let details = json!({
            "count": count, "within_seconds": within as f64, "last": "1970-01-01T00:02:00.000Z",
        });
        check(kind, "crashed", &format!("{text} at 1970-01-01T00:02:00Z"), &details);
    }
}

#[test]
fn evidence_follows_without_onset_and_stated_crashes() {
    let mut finding = finding(FindingKind::CrashLoop { count: 3, last: at(120) });
    let within = Duration::from_secs(600);
    finding.evidence = vec![
        FindingKind::Crashed { count: 3, within, last: at(120) },
        FindingKind::EndedUnknown,
        FindingKind::Unhealthy,
    ];
    assert_eq!(
        finding.to_string(),
        "dice: crash loop, 3 crashes since 1970-01-01T00:01:00Z, last at 1970-01-01T00:02:00Z; \
         ended, and no exit status was reported; unhealthy"
    );
    let json = serde_json::to_value(&finding).unwrap();
    assert_eq!(json["evidence"][2], json!({"kind": "unhealthy", "details": {}}));
    assert_eq!(json["evidence"].as_array().unwrap().len(), 3);
}

#[test]
fn numbers_of_events() {
    for (cpu_percent, suffix) in
        [(None, ""), (Some(0.0), ""), (Some(100.0), ", while it keeps a core busy")]
    {
        check(
            FindingKind::Silence { per_second: 1.0 / 30.0, cpu_percent },
            "silence",
            &format!("no events since 1970-01-01T00:01:00Z (normally 2.0 a minute){suffix}"),
            &json!({"events_per_second": 0.033_3, "cpu_percent": cpu_percent}),
        );
    }
    for (before, text) in [
        (0.0, "0 a second"),
        (0.001, "3.6 an hour"),
        (0.009_99, "36 an hour"),
        (0.01, "0.6 a minute"),
        (0.49, "29 a minute"),
        (0.5, "0.5 a second"),
    ] {
        check(
            FindingKind::EventSurge { before, now: 250.0 },
            "event_surge",
            &format!("250 a second events since 1970-01-01T00:01:00Z (normally {text})"),
            &json!({
                "before_events_per_second": (before * 1e4).round() / 1e4,
                "now_events_per_second": 250.0,
            }),
        );
    }
}

#[test]
fn regressions_of_each_metric() {
    let mb = MB as f64;
    for (metric, before, now, sentence, details) in [
        (
            RegressionMetric::CpuPerEvent,
            12.5,
            37.5,
            "uses 3.0 times the CPU per event of 1.0 (38 ms, 12 ms)",
            json!({"metric": "cpu_per_event", "before_ms": 12.5, "now_ms": 37.5}),
        ),
        (
            RegressionMetric::Cpu,
            4.0,
            10.0,
            "uses 2.5 times the CPU of 1.0 (10 %, 4.0 %)",
            json!({"metric": "cpu", "before_percent": 4.0, "now_percent": 10.0}),
        ),
        (
            RegressionMetric::Memory,
            20.0 * mb,
            30.0 * mb,
            "uses 1.5 times the memory of 1.0 (30 MB, 20 MB)",
            json!({"metric": "memory", "before_mb": 20.0, "now_mb": 30.0}),
        ),
        (
            RegressionMetric::Crashes,
            0.5,
            6.0,
            "crashes 6.0 times an hour (1.0: 0.5)",
            json!({"metric": "crashes", "before_per_hour": 0.5, "now_per_hour": 6.0}),
        ),
    ] {
        let mut expected = details;
        expected["old"] = json!("1.0");
        expected["new"] = json!("2.0");
        expected["minutes"] = json!([60, 12]);
        let (old, new) = (Arc::from("1.0"), Arc::from("2.0"));
        check(
            FindingKind::Regression { metric, old, new, before, now, minutes: [60, 12] },
            "regression",
            &format!("version 2.0 {sentence}"),
            &expected,
        );
    }
}

#[test]
fn exceeded_limits_of_each_metric() {
    let within = Duration::from_secs(3_600);
    for (metric, sentence) in [
        (LimitMetric::CpuPercent, "CPU over the limit of 2.5 %, now 4.25 %,"),
        (LimitMetric::MemoryMb, "memory over the limit of 2.5 MB, now 4.25 MB,"),
        (LimitMetric::ProcessCount, "processes over the limit of 2.5, now 4,"),
        (
            LimitMetric::EventsPerSecond,
            "events over the limit of 2.5 per second, now 4.25 per second,",
        ),
        (LimitMetric::SilentSeconds, "silence over the limit of 2.5 s, now 4.25 s,"),
        (LimitMetric::Crashes { within }, "crashes over the limit of 2.5 within an hour, now 4,"),
    ] {
        let limit = Limit::new(metric, 2.5);
        let state = LimitState::Exceeded(at(60));
        let status = LimitStatus { limit, state, value: Some(4.25), peak: Some(7.0) };
        check(
            FindingKind::LimitExceeded(status),
            "limit_exceeded",
            &format!("{sentence} since 1970-01-01T00:01:00Z"),
            &json!({"limit": limit, "value": 4.25, "peak": 7.0}),
        );
        let unknown = finding(FindingKind::LimitExceeded(LimitStatus { value: None, ..status }));
        assert!(unknown.to_string().contains(", now unknown, since "), "{unknown}");
    }
}
