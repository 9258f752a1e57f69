#![allow(clippy::unwrap_used)] // a panic fails the test

use std::time::Duration;

use super::{FindingKind, Onset, Severity};
use crate::testing::{Observed, Simulation, Usage};
use crate::{Config, Limit, LimitMetric, LimitState, Limits, PluginState, Snapshot, Window};

const INTERVAL: Duration = Duration::from_secs(10);
const MB: u64 = 1 << 20;

fn simulation() -> Simulation {
    Simulation::new(Config::default().poll_interval(INTERVAL)).unwrap()
}

/// More than half a core, or more than 100 MB, in two samples in succession.
fn limits() -> Limits {
    let limit = |metric, above| Limit::new(metric, above).lasting(Duration::ZERO);
    Limits::default()
        .rule(limit(LimitMetric::CpuPercent, 50.0).grace(Duration::ZERO))
        .rule(limit(LimitMetric::MemoryMb, 100.0))
}

fn limited() -> Simulation {
    Simulation::new(Config::default().poll_interval(INTERVAL).limits(limits())).unwrap()
}

/// The limit, its state, its newest value and its peak.
fn exceeded(kind: &FindingKind) -> (LimitMetric, LimitState, f64, f64) {
    let FindingKind::LimitExceeded(status) = kind else { panic!("{kind:?}") };
    (status.limit.metric, status.state, status.value.unwrap(), status.peak.unwrap())
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
fn exceeded_limit_is_finding_until_it_clears() {
    let limits = [Severity::Notice, Severity::Warning, Severity::Critical].map(|severity| {
        Limit::new(LimitMetric::MemoryMb, 100.0).lasting(INTERVAL).severity(severity)
    });
    for limit in limits {
        let config =
            Config::default().poll_interval(INTERVAL).limits(Limits::default().rule(limit));
        let mut sim = Simulation::new(config).unwrap();
        sim.register("dice").unwrap().started(1, "");
        let mut findings = |mb: u64| {
            sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: mb * MB });
            let items = sim.snapshot().findings().items;
            let growth = |kind: &FindingKind| matches!(kind, FindingKind::MemoryGrowth { .. });
            (sim.snapshot(), items.into_iter().filter(|f| !growth(&f.kind)).collect::<Vec<_>>())
        };
        // Exactly at the threshold is not above it, and one sample is no row.
        assert_eq!((findings(100).1, findings(150).1), (vec![], vec![]));
        // Less than the threshold, but not less than the value that clears it.
        for (mb, value) in [(140, 140.0), (95, 95.0), (20, 20.0)] {
            let (snapshot, items) = findings(mb);
            let [finding] = &items[..] else { panic!("{mb}: {items:?}") };
            let (metric, state, newest, peak) = exceeded(&finding.kind);
            assert_eq!((metric, newest, peak), (LimitMetric::MemoryMb, value, 150.0));
            assert_eq!(
                (finding.severity, finding.run),
                (limit.severity, snapshot.plugin("dice").unwrap().run().map(|run| run.id))
            );
            assert_eq!(finding.since, Onset::At(state.since().unwrap()));
            let text = format!("dice: memory over the limit of 100 MB, now {mb}.00 MB, since ");
            assert!(finding.to_string().starts_with(&text), "{finding}");
            let attention = limit.severity.needs_attention().then_some(limit.severity);
            assert_eq!(snapshot.plugin("dice").unwrap().attention(), attention);
        }
        let (snapshot, items) = findings(20);
        assert_eq!(items, [], "cleared after an interval below the threshold");
        assert_eq!(snapshot.plugin("dice").unwrap().attention(), None);
    }
}

#[test]
fn findings_of_several_limits_differ() {
    let limit = |above| Limit::new(LimitMetric::MemoryMb, above).lasting(Duration::ZERO);
    let limits =
        Limits::default().rule(limit(100.0)).rule(limit(200.0).severity(Severity::Critical));
    let config = Config::default().poll_interval(INTERVAL).limits(limits);
    let mut sim = Simulation::new(config).unwrap();
    sim.register("dice").unwrap().started(1, "");
    let mut items = || {
        sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: 300 * MB });
        sim.snapshot().findings().items
    };
    items();
    let (earlier, later) = (items(), items());
    // The more severe limit first, although it is the second one.
    assert_eq!([later[0].severity, later[1].severity], [Severity::Critical, Severity::Warning]);
    assert!(later[0].is_same(&earlier[0]) && later[1].is_same(&earlier[1]));
    assert!(!later[0].is_same(&earlier[1]));
}

#[test]
fn findings_use_values_of_process_tree() {
    let observed = |tick: u32| Observed::RunningTree {
        main: Usage { cpu_time: Duration::ZERO, memory_bytes: MB },
        tree: Usage { cpu_time: INTERVAL * tick, memory_bytes: (90 + 20 * u64::from(tick)) * MB },
        processes: 3,
    };
    let mut sim = limited();
    sim.register("make").unwrap().started(1, "");
    (1..=3).for_each(|tick| sim.tick(|_| observed(tick)));
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("make").unwrap();
    let since = snapshot.sampled_at() - INTERVAL * 2;
    let findings = view.findings();
    assert!(findings.iter().take(2).all(|finding| finding.since == Onset::At(since)));
    let kinds: Vec<_> = findings.iter().take(2).map(|finding| exceeded(&finding.kind)).collect();
    let state = LimitState::Exceeded(since);
    let cpu = (LimitMetric::CpuPercent, state, 100.0, 100.0);
    assert_eq!(kinds, [cpu, (LimitMetric::MemoryMb, state, 150.0, 150.0)]);
    let change = view.memory_change(Window::All).unwrap();
    assert_eq!((change.from, change.now), (110 * MB, 150 * MB));

    // Without trees, those of the process.
    let config = Config::default().poll_interval(INTERVAL).process_trees(false).limits(limits());
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
    sim.tick(idle);
    (0..5).for_each(|_| sim.tick(|_| Observed::Denied));
    let oldest = sim.snapshot().sampled_at() - INTERVAL * 4;
    assert_eq!(only(&sim.snapshot()).since, Onset::Before(oldest));
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
        let items = sim.snapshot().findings().items;
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
    let mut sim = limited();
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
    let snapshot = sim.snapshot();
    for view in snapshot.plugins() {
        let items = view.findings();
        let highest = items.iter().map(|finding| finding.severity).max();
        let attention = highest.filter(|&severity| severity > Severity::Notice);
        assert_eq!(view.attention(), attention, "{}: {items:?}", view.name());
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
    let mut sim = limited();
    let dice = sim.register("dice").unwrap();
    dice.started(1, "");
    for tick in 1..=2 {
        let cpu_time = Duration::from_secs(9) * tick;
        sim.tick(|_| Usage { cpu_time, memory_bytes: MB });
    }
    let json = serde_json::to_value(sim.snapshot().findings()).unwrap();
    assert_eq!(json["judged"], 1);
    let item = &json["items"][0];
    for (key, value) in [("plugin", "dice"), ("severity", "warning"), ("kind", "limit_exceeded")] {
        assert_eq!(item[key], value);
    }
    assert_eq!(item["is_since_exact"], true);
    let details = &item["details"];
    assert_eq!((&details["value"], &details["peak"]), (&90.0.into(), &90.0.into()));
    assert_eq!(
        (&details["limit"]["metric"], &details["limit"]["above"]),
        (&"cpu_percent".into(), &50.0.into())
    );
    let message = item["message"].as_str().unwrap();
    assert!(message.starts_with("CPU over the limit of 50 %, now 90.00 %, since "), "{message}");
}
