//! Severity and impact of each kind, and which findings explain which.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::{Finding, FindingKind, Onset, RegressionMetric, Severity, fold, weight};
use crate::testing::Simulation;
use crate::{Config, Limit, LimitMetric, LimitState, LimitStatus, PluginState, ReadError};

const GIB: u64 = 1 << 30;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(100_000 + seconds)
}

fn finding(kind: FindingKind, since: u64) -> Finding {
    Finding {
        plugin: Arc::from("dice"),
        run: None,
        severity: Severity::Notice,
        impact: 0.0,
        since: Onset::At(at(since)),
        until: None,
        kind,
        evidence: Vec::new(),
        oom_killed: None,
    }
}

fn shift(before: f64, now: f64) -> FindingKind {
    FindingKind::CpuShift {
        before,
        now,
        samples_before: 300,
        samples_since: 30,
        per_event: None,
        margin: 1.5,
    }
}

fn growth(now: f64, per_hour: f64, limit_hours: Option<f64>) -> FindingKind {
    let bytes = |gib: f64| gib * GIB as f64;
    FindingKind::MemoryGrowth {
        from: 0,
        now: bytes(now) as u64,
        per_hour: bytes(per_hour),
        low: 0.0,
        high: 0.0,
        limit_in: limit_hours.map(|hours| Duration::from_secs_f64(hours * 3_600.0)),
    }
}

fn regression(metric: RegressionMetric, before: f64, now: f64) -> FindingKind {
    let (old, new) = (Arc::from("1.0"), Arc::from("2.0"));
    FindingKind::Regression { metric, old, new, before, now, minutes: [29, 15] }
}

fn exceeded(metric: LimitMetric, above: f64, value: Option<f64>, peak: Option<f64>) -> FindingKind {
    let limit = Limit::new(metric, above).severity(Severity::Critical);
    let state = LimitState::Exceeded(at(0));
    FindingKind::LimitExceeded(LimitStatus { limit, state, value, peak })
}

fn crashed() -> FindingKind {
    FindingKind::Crashed { count: 1, within: Duration::from_secs(3_600), last: at(0) }
}

fn down() -> FindingKind {
    FindingKind::Down { state: PluginState::Crashed, end: None }
}

fn silence(cpu_percent: Option<f64>) -> FindingKind {
    FindingKind::Silence { per_second: 1.0, cpu_percent }
}

fn spike(seconds: u64) -> FindingKind {
    let cpu_time = Duration::from_secs(seconds);
    FindingKind::CpuSpike { before: 1.0, peak: 90.0, cpu_time }
}

fn step(before: u64, now: u64) -> FindingKind {
    FindingKind::MemoryStep { before: before * GIB, now: now * GIB }
}

/// On a machine of four cores and 16 GiB.
#[test]
fn severities_and_impacts_at_their_thresholds() {
    use RegressionMetric as Metric;
    use Severity::{Critical, Notice, Warning};
    let snapshot = Simulation::new(Config::default()).unwrap().snapshot();
    assert_eq!((snapshot.cpu_cores(), snapshot.machine_memory_bytes()), (4, Some(16 * GIB)));
    let crash_loop = FindingKind::CrashLoop { count: 3, last: at(0) };
    let within = Duration::from_secs(60);
    let cases = [
        (down(), Critical, 1.0),
        (crash_loop, Critical, 1.0),
        (FindingKind::Suspended, Warning, 0.5),
        (FindingKind::Unhealthy, Warning, 0.5),
        (FindingKind::EndedUnknown, Warning, 0.2),
        (crashed(), Warning, 0.2),
        (FindingKind::Unreadable(ReadError::PermissionDenied), Warning, 0.1),
        (FindingKind::Survivors { processes: 2 }, Warning, 0.1),
        (silence(None), Warning, 0.5),
        (silence(Some(89.9)), Warning, 0.5 + 0.899 / 4.0),
        (silence(Some(90.0)), Critical, 0.5 + 0.9 / 4.0),
        (FindingKind::Saturated { percent: 120.0 }, Warning, 0.3),
        // 25 points, a tenth and half of the machine.
        (shift(10.0, 34.9), Notice, 0.249 / 4.0),
        (shift(10.0, 35.0), Warning, 0.25 / 4.0),
        (shift(10.0, 209.9), Warning, 1.999 / 4.0),
        (shift(10.0, 210.0), Critical, 0.5),
        (shift(10.0, 5.0), Notice, 0.0),
        (FindingKind::Busier { before: 10.0, now: 310.0 }, Notice, 0.75),
        (spike(120), Notice, 0.05),
        (spike(3_600), Notice, 0.2),
        // A tenth an hour.
        (growth(1.0, 0.05, None), Notice, 0.05 / 15.0),
        (growth(4.0, 0.4, None), Notice, 0.4 / 12.0),
        (growth(4.0, 0.41, None), Warning, 0.41 / 12.0),
        // The machine within a day, and within half an hour.
        (growth(10.0, 0.25, None), Notice, 0.25 / 6.0),
        (growth(10.0, 0.26, None), Warning, 0.26 / 6.0),
        (growth(15.5, 1.0, None), Warning, 1.0),
        (growth(15.5, 1.01, None), Critical, 1.0),
        (growth(17.0, 0.01, None), Critical, 1.0),
        // The same of a limit.
        (growth(1.0, 0.05, Some(24.0)), Notice, 1.0 / 24.0),
        (growth(1.0, 0.05, Some(23.9)), Warning, 1.0 / 23.9),
        (growth(1.0, 0.05, Some(4.0)), Warning, 0.25),
        (growth(1.0, 0.05, Some(0.5)), Warning, 1.0),
        (growth(1.0, 0.05, Some(0.49)), Critical, 1.0),
        (step(4, 8), Notice, 0.25),
        (step(8, 4), Notice, 0.0),
        (FindingKind::EventSurge { before: 1.0, now: 9.0 }, Notice, 0.05),
        // Twice as much.
        (regression(Metric::Cpu, 20.0, 39.9), Notice, 0.199 / 4.0),
        (regression(Metric::Cpu, 20.0, 40.0), Warning, 0.2 / 4.0),
        (regression(Metric::CpuPerEvent, 10.0, 15.0), Notice, 0.15),
        (regression(Metric::Memory, 10.0, 30.0), Warning, 0.3),
        (regression(Metric::Crashes, 1.0, 80.0), Warning, 0.5),
        (regression(Metric::Crashes, 0.0, 80.0), Warning, 0.5),
        (exceeded(LimitMetric::CpuPercent, 40.0, Some(120.0), Some(200.0)), Critical, 0.3),
        (exceeded(LimitMetric::CpuPercent, 40.0, None, Some(200.0)), Critical, 0.5),
        (exceeded(LimitMetric::CpuPercent, 40.0, None, None), Critical, 0.1),
        (exceeded(LimitMetric::MemoryMb, 1.0, Some(4_096.0), None), Critical, 0.25),
        (exceeded(LimitMetric::MemoryMb, 1.0, Some(32_768.0), None), Critical, 1.0),
        (exceeded(LimitMetric::SilentSeconds, 1.0, Some(9.0), None), Critical, 0.5),
        (exceeded(LimitMetric::Crashes { within }, 1.0, Some(9.0), None), Critical, 0.5),
        (exceeded(LimitMetric::ProcessCount, 1.0, Some(9.0), None), Critical, 0.1),
        (exceeded(LimitMetric::EventsPerSecond, 1.0, Some(9.0), None), Critical, 0.1),
    ];
    for (kind, severity, impact) in cases {
        let mut finding = finding(kind, 0);
        weight::weigh(&mut finding, &snapshot);
        assert_eq!(finding.severity, severity, "{:?}", finding.kind);
        assert!((finding.impact - impact).abs() < 1e-9, "{} of {:?}", finding.impact, finding.kind);
    }
}

/// The names of the findings that are left, each with those of its evidence.
fn folded(findings: &[Finding], sample: Duration) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut findings = findings.to_vec();
    fold::fold(&mut findings, sample);
    let names = |kinds: &[FindingKind]| kinds.iter().map(FindingKind::name).collect();
    findings.iter().map(|finding| (finding.kind.name(), names(&finding.evidence))).collect()
}

const SAMPLE: Duration = Duration::from_secs(5);

#[test]
fn each_kind_explains_its_effects_only() {
    use RegressionMetric as Metric;
    let cpu = ["cpu_shift", "busier", "saturated"];
    let explained = |cause: &FindingKind, effect: &FindingKind| {
        let effect_name = effect.name();
        match (cause.name(), cause) {
            ("crash_loop", _) => {
                ["down", "crashed"].contains(&effect_name)
                    || matches!(effect, FindingKind::Regression { metric: Metric::Crashes, .. })
            }
            ("suspended", _) => effect_name == "silence",
            ("silence", _) => cpu.contains(&effect_name),
            (_, FindingKind::Regression { metric, .. }) => match metric {
                Metric::Cpu | Metric::CpuPerEvent => cpu.contains(&effect_name),
                Metric::Memory => effect_name == "memory_step",
                Metric::Crashes => effect_name == "crashed",
            },
            ("event_surge", _) => effect_name == "busier",
            ("cpu_shift", _) => effect_name == "saturated",
            _ => false,
        }
    };
    // Crashes and a suspension explain whenever they began, and so are crashes explained.
    let whenever = |cause: &str, effect: &str| {
        ["crash_loop", "suspended"].contains(&cause) || effect == "crashed"
    };
    let kinds = [
        down(),
        FindingKind::CrashLoop { count: 3, last: at(0) },
        FindingKind::Suspended,
        FindingKind::Unhealthy,
        FindingKind::EndedUnknown,
        crashed(),
        FindingKind::Unreadable(ReadError::PermissionDenied),
        FindingKind::Survivors { processes: 2 },
        silence(None),
        FindingKind::Saturated { percent: 100.0 },
        shift(1.0, 2.0),
        FindingKind::Busier { before: 1.0, now: 2.0 },
        spike(60),
        growth(1.0, 0.1, None),
        step(1, 2),
        FindingKind::EventSurge { before: 1.0, now: 9.0 },
        regression(Metric::Cpu, 1.0, 2.0),
        regression(Metric::CpuPerEvent, 1.0, 2.0),
        regression(Metric::Memory, 1.0, 2.0),
        regression(Metric::Crashes, 1.0, 2.0),
        exceeded(LimitMetric::CpuPercent, 1.0, None, None),
    ];
    let mut pairs = 0;
    for (i, cause) in kinds.iter().enumerate() {
        for (_, effect) in kinds.iter().enumerate().filter(|&(j, _)| j != i) {
            if explained(effect, cause) {
                continue;
            }
            let is_explained = explained(cause, effect);
            pairs += usize::from(is_explained);
            if cfg!(miri) && !is_explained && i > 0 {
                continue;
            }
            // Two minutes apart at most, or two samples.
            for (seconds, sample, is_same) in [
                (0, 5, true),
                (120, 5, true),
                (121, 60, false),
                (200, 100, true),
                (201, 100, false),
            ] {
                let expected = is_explained && (is_same || whenever(cause.name(), effect.name()));
                for (first, second) in [(0, seconds), (seconds, 0)] {
                    let (a, b) = (finding(cause.clone(), first), finding(effect.clone(), second));
                    for both in [[a.clone(), b.clone()], [b, a]] {
                        let left = folded(&both, Duration::from_secs(sample));
                        assert_eq!(left.len(), if expected { 1 } else { 2 }, "{seconds} {both:?}");
                        let is_cause = left[0] == (cause.name(), vec![effect.name()]);
                        assert_eq!(is_cause, expected, "{seconds} {both:?}");
                    }
                }
            }
        }
    }
    assert_eq!(pairs, 3 + 1 + 3 + 3 + 3 + 1 + 1 + 1 + 1);
}

/// The cause nearest to the root: a silence before a version, a version before a shift.
#[test]
fn of_several_causes_the_first_explains() {
    use RegressionMetric as Metric;
    let saturated = FindingKind::Saturated { percent: 100.0 };
    let cpu = regression(Metric::Cpu, 1.0, 2.0);
    let crash_loop = FindingKind::CrashLoop { count: 3, last: at(0) };
    let of = |kinds: &[&FindingKind]| {
        let findings: Vec<_> = kinds.iter().map(|&kind| finding(kind.clone(), 0)).collect();
        folded(&findings, SAMPLE)
    };
    let shift = shift(1.0, 2.0);
    assert_eq!(
        of(&[&saturated, &shift, &cpu, &silence(None)]),
        [("regression", vec![]), ("silence", vec!["saturated", "cpu_shift"])]
    );
    assert_eq!(of(&[&saturated, &shift, &cpu]), [("regression", vec!["saturated", "cpu_shift"])]);
    assert_eq!(
        of(&[&saturated, &shift, &silence(None)]),
        [("silence", vec!["saturated", "cpu_shift"])]
    );
    let crashes = regression(Metric::Crashes, 1.0, 2.0);
    assert_eq!(
        of(&[&crashed(), &crashes, &crash_loop]),
        [("crash_loop", vec!["crashed", "regression"])]
    );
}

#[test]
fn cause_takes_severity_impact_and_oom_kill_of_its_effects() {
    let mut cause = finding(FindingKind::CrashLoop { count: 3, last: at(0) }, 0);
    (cause.severity, cause.impact) = (Severity::Warning, 0.3);
    let mut effect = finding(down(), 0);
    (effect.severity, effect.impact, effect.oom_killed) = (Severity::Critical, 0.2, Some(true));
    let mut other = finding(crashed(), 0);
    other.impact = 0.7;
    let mut findings = vec![effect, cause, other];
    fold::fold(&mut findings, SAMPLE);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.severity, finding.impact), (Severity::Critical, 0.7));
    assert_eq!(finding.oom_killed, Some(true));
}

#[test]
fn finding_is_the_same_within_a_minute_of_its_onset() {
    let (cpu, memory) = (RegressionMetric::Cpu, RegressionMetric::Memory);
    let is_same = |a: &FindingKind, b: &FindingKind, now: u64, then: u64| {
        finding(a.clone(), now).is_same(&finding(b.clone(), then))
    };
    let cpu = regression(cpu, 1.0, 2.0);
    let limit = |above| exceeded(LimitMetric::CpuPercent, above, None, None);
    assert!(is_same(&cpu, &cpu, 100, 100));
    assert!(is_same(&cpu, &cpu, 160, 100) && is_same(&cpu, &cpu, 40, 100));
    assert!(!is_same(&cpu, &cpu, 161, 100) && !is_same(&cpu, &cpu, 39, 100));
    assert!(!is_same(&cpu, &regression(memory, 1.0, 2.0), 100, 100));
    assert!(is_same(&limit(1.0), &limit(1.0), 100, 100));
    assert!(!is_same(&limit(1.0), &limit(2.0), 100, 100));
    assert!(!is_same(&cpu, &limit(1.0), 100, 100));
    assert!(is_same(&spike(1), &spike(2), 100, 100) && !is_same(&spike(1), &down(), 100, 100));
    // What began before the history reaches back may have begun at any time before.
    let mut later = finding(down(), 900);
    assert!(!later.is_same(&finding(down(), 100)));
    later.since = Onset::Before(at(900));
    assert!(later.is_same(&finding(down(), 100)) && !later.since.is_exact());
    // It has held since then, also when the other one was found.
    assert!(later.is_same(&finding(down(), 1_500)) && !later.is_same(&finding(crashed(), 900)));
    // An exact onset is no part of what began before.
    let earlier = std::mem::replace(&mut later, finding(down(), 1_500));
    assert!(!later.is_same(&earlier));
}
