#![allow(clippy::unwrap_used)] // a panic fails the test

use std::time::Duration;

use super::{FindingKind, Onset, Severity, Thresholds};
use crate::testing::{Observed, Simulation, Usage};
use crate::{Config, PluginState, Snapshot, Window};

const INTERVAL: Duration = Duration::from_secs(10);
const MB: u64 = 1 << 20;

fn simulation() -> Simulation {
    Simulation::new(Config::default().poll_interval(INTERVAL)).unwrap()
}

fn idle(_pid: u32) -> Usage {
    Usage { cpu_time: Duration::ZERO, memory_bytes: MB }
}

/// The only finding of the snapshot.
#[track_caller]
fn only(snapshot: &Snapshot) -> super::Finding {
    let items = snapshot.findings().items;
    assert_eq!(items.len(), 1, "{items:?}");
    items.into_iter().next().unwrap()
}

#[test]
fn healthy_plugins_have_no_findings() {
    let mut sim = simulation();
    sim.register("dice").unwrap().started(1, "");
    sim.register("8ball").unwrap();
    sim.tick(idle);
    let findings = sim.snapshot().findings();
    assert_eq!((findings.items.len(), findings.judged), (0, 2));
    assert_eq!(findings.to_string(), "no findings for 2 plugins");
}

#[test]
fn cpu_onset_is_first_sample_of_unbroken_row() {
    let mut sim = simulation();
    sim.register("dice").unwrap().started(1, "");
    let mut cpu_time = Duration::ZERO;
    for percent in [90, 90, 50, 60, 70] {
        cpu_time += INTERVAL * percent / 100;
        sim.tick(|_| Usage { cpu_time, memory_bytes: MB });
    }
    let finding = only(&sim.snapshot());
    // Exactly at the threshold is not above it.
    let since = Onset::At(sim.snapshot().sampled_at() - INTERVAL);
    assert_eq!((finding.since, finding.severity), (since, Severity::Warning));
    let expected = FindingKind::CpuAboveThreshold { cpu_percent: 70.0, threshold: 50.0 };
    assert_eq!(finding.kind, expected);
}

#[test]
fn findings_use_values_of_process_tree() {
    let observed = |tick: u32| Observed::RunningTree {
        main: Usage { cpu_time: Duration::ZERO, memory_bytes: MB },
        tree: Usage { cpu_time: INTERVAL * tick, memory_bytes: (90 + 20 * u64::from(tick)) * MB },
        processes: 3,
    };
    let mut sim = simulation();
    sim.register("make").unwrap().started(1, "");
    (1..=3).for_each(|tick| sim.tick(|_| observed(tick)));
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("make").unwrap();
    let since = Onset::At(snapshot.sampled_at() - INTERVAL * 2);
    let kinds: Vec<_> = view.findings().into_iter().map(|f| (f.kind, f.since)).collect();
    let cpu = FindingKind::CpuAboveThreshold { cpu_percent: 100.0, threshold: 50.0 };
    let memory = FindingKind::MemoryAboveThreshold { memory_bytes: 150 * MB, threshold_mb: 100.0 };
    assert_eq!(kinds[..2], [(cpu, since), (memory, since)]);
    let change = view.memory_change(Window::All).unwrap();
    assert_eq!((change.from, change.now), (110 * MB, 150 * MB));

    // Without trees, those of the process.
    let config = Config::default().poll_interval(INTERVAL).process_trees(false);
    let mut sim = Simulation::new(config).unwrap();
    sim.register("make").unwrap().started(1, "");
    (1..=3).for_each(|tick| sim.tick(|_| observed(tick)));
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("make").unwrap();
    assert_eq!(view.findings(), []);
    assert_eq!(view.memory_change(Window::All).unwrap().bytes(), 0);
}

#[test]
fn onset_older_than_history_is_before() {
    let config = Config::default().poll_interval(INTERVAL).history_duration(INTERVAL * 5);
    let mut sim = Simulation::new(config).unwrap();
    sim.register("dice").unwrap().started(1, "");
    let large = |_| Usage { cpu_time: Duration::ZERO, memory_bytes: 200 * MB };
    (0..5).for_each(|_| sim.tick(large));
    let oldest = sim.snapshot().sampled_at() - INTERVAL * 4;
    assert_eq!(only(&sim.snapshot()).since, Onset::At(oldest));
    sim.tick(large);
    assert_eq!(only(&sim.snapshot()).since, Onset::Before(oldest + INTERVAL));
}

#[test]
fn single_crash_of_down_plugin_is_one_finding() {
    let mut sim = simulation();
    let dice = sim.register("dice").unwrap();
    let crash = |sim: &mut Simulation| {
        dice.started(1, "");
        sim.tick(idle);
        sim.tick(|_| Observed::Exited(3));
        sim.advance(Duration::from_secs(1));
    };
    crash(&mut sim);
    let finding = only(&sim.snapshot());
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.to_string().ends_with("(exit code 3)"), "{finding}");
    crash(&mut sim);
    let items = sim.snapshot().findings().items;
    assert!(matches!(items[1].kind, FindingKind::Crashed { count: 2, .. }), "{items:?}");
    dice.started(2, "");
    sim.tick(idle);
    let finding = only(&sim.snapshot());
    assert!(
        finding.to_string().starts_with("dice: crashed twice in the last 10 minutes, last at ")
    );
}

#[test]
fn crash_is_recent_for_an_hour() {
    let mut sim = simulation();
    let dice = sim.register("dice").unwrap();
    dice.started(1, "");
    dice.crashed();
    dice.started(2, "");
    sim.tick(idle);
    sim.advance(Duration::from_secs(3_580));
    sim.tick(idle);
    assert_eq!(only(&sim.snapshot()).severity, Severity::Warning);
    sim.tick(idle);
    assert_eq!(sim.snapshot().findings().items, []);
}

#[test]
fn unreadable_process_is_a_warning_with_its_onset() {
    let mut sim = simulation();
    sim.register("dice").unwrap().started(1, "");
    sim.tick(idle);
    sim.tick(|_| Observed::Denied);
    sim.tick(|_| Observed::Denied);
    let finding = only(&sim.snapshot());
    assert_eq!(finding.since, Onset::At(sim.snapshot().sampled_at() - INTERVAL));
    assert!(finding.to_string().starts_with("dice: no permission to read the process, since "));
}

#[test]
fn growth_needs_ten_megabytes_and_a_tenth() {
    for (from, to, is_growth) in
        [(10, 20, false), (10, 21, true), (80, 91, true), (900, 980, false), (900, 991, true)]
    {
        let mut sim = simulation();
        sim.register("dice").unwrap().started(1, "");
        for mb in [from, from, to] {
            sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: mb * MB });
        }
        let thresholds = Thresholds { memory_mb: f64::INFINITY, ..Thresholds::default() };
        let items = sim.snapshot().findings_with(&thresholds).items;
        assert_eq!(items.len(), usize::from(is_growth), "from {from} to {to}: {items:?}");
        assert!(items.iter().all(|item| item.severity == Severity::Notice));
    }
}

#[test]
fn memory_of_another_run_is_not_compared() {
    let mut sim = simulation();
    let dice = sim.register("dice").unwrap();
    for (pid, mb) in [(1, 10), (2, 90)] {
        dice.started(pid, "");
        sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: mb * MB });
    }
    assert_eq!(sim.snapshot().findings().items, []);
    let snapshot = sim.snapshot();
    assert_eq!(snapshot.plugin("dice").unwrap().memory_change(Window::All), None);
}

#[test]
fn memory_change_counts_known_values_only() {
    let mut sim = simulation();
    sim.register("dice").unwrap().started(1, "");
    // 0 is unknown.
    for mb in [0, 50, 60, 70] {
        sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: mb * MB });
    }
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    let change = view.memory_change(Window::All).unwrap();
    assert_eq!((change.from, change.bytes()), (50 * MB, 20 * MB as i64));
    assert_eq!(change.over, INTERVAL * 2);
    assert_eq!(view.memory_change(Duration::ZERO), None, "one sample is no change");
}

/// [`attention`](crate::PluginView::attention) is the highest severity of the findings.
#[test]
fn attention_agrees_with_findings() {
    let mut sim = simulation();
    let names = ["idle", "busy", "large", "grown", "denied", "unhealthy", "crashed", "failed"];
    let plugins = names.map(|name| sim.register(name).unwrap());
    for (pid, plugin) in (0..).zip(&plugins) {
        plugin.started(pid, "");
    }
    plugins[5].set_state(PluginState::Unhealthy);
    plugins[6].crashed();
    plugins[7].set_state(PluginState::Failed);
    for tick in 1..=3 {
        sim.tick(|pid| match pid {
            1 => Observed::from(Usage { cpu_time: INTERVAL * tick, memory_bytes: MB }),
            2 => Usage { cpu_time: Duration::ZERO, memory_bytes: 200 * MB }.into(),
            3 => {
                let memory_bytes = 20 * u64::from(tick) * MB;
                Usage { cpu_time: Duration::ZERO, memory_bytes }.into()
            }
            4 => Observed::Denied,
            _ => idle(pid).into(),
        });
    }
    let (snapshot, thresholds) = (sim.snapshot(), Thresholds::default());
    for view in snapshot.plugins() {
        let items = view.findings();
        let highest = items.iter().map(|finding| finding.severity).max();
        let attention = highest.filter(|&severity| severity > Severity::Notice);
        assert_eq!(view.attention(&thresholds), attention, "{}: {items:?}", view.name());
        let severities = items.iter().map(|finding| finding.severity);
        assert!(severities.is_sorted_by(|one, next| one >= next), "{items:?}");
    }
    let all = snapshot.findings();
    assert!(all.items.iter().map(|item| item.severity).is_sorted_by(|one, next| one >= next));
    let grown = snapshot.plugin("grown").unwrap().findings();
    assert!(grown[0].to_string().starts_with("grown: memory up 40 MB in the last 20 s"));
}

#[test]
fn finding_json_has_evidence_with_units() {
    let mut sim = simulation();
    let dice = sim.register("dice").unwrap();
    dice.started(1, "");
    sim.tick(|_| Usage { cpu_time: Duration::from_secs(9), memory_bytes: MB });
    let json = serde_json::to_value(sim.snapshot().findings()).unwrap();
    assert_eq!(json["judged"], 1);
    let item = &json["items"][0];
    for (key, value) in
        [("plugin", "dice"), ("severity", "warning"), ("kind", "cpu_above_threshold")]
    {
        assert_eq!(item[key], value);
    }
    assert_eq!(item["is_since_exact"], true);
    let details = serde_json::json!({"cpu_percent": 90.0, "threshold_percent": 50.0});
    assert_eq!(item["details"], details);
    assert!(item["message"].as_str().unwrap().starts_with("CPU 90 % of one core, above 50 %"));
}
