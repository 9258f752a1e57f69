#![allow(clippy::unwrap_used)] // a panic fails the test

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Finding, FindingKind, FindingsBuilder, Onset, RegressionMetric, Severity};
use crate::testing::{Observed, Simulation, Usage};
use crate::{Config, Limit, LimitMetric, Limits, Plugin, PluginState, Snapshot, Window};

mod columns;
mod cpu;
mod events;
mod kinds;
mod processes;
mod ranks;
#[cfg(unix)]
mod versions;
mod windows;

const INTERVAL: Duration = Duration::from_secs(10);
const MB: u64 = 1 << 20;
/// Samples of five seconds before something changes, of which fewer than 160 are too few to tell.
const BEFORE: usize = if cfg!(miri) { 200 } else { 400 };

fn simulation() -> Simulation {
    Simulation::new(Config::default().poll_interval(INTERVAL)).unwrap()
}

fn idle(_pid: u32) -> Usage {
    Usage { cpu_time: Duration::ZERO, memory_bytes: MB }
}

/// The only finding of the snapshot.
#[track_caller]
fn only(snapshot: &Snapshot) -> Finding {
    let items = snapshot.findings().items;
    assert_eq!(items.len(), 1, "{items:?}");
    items.into_iter().next().unwrap()
}

/// One plugin at the default interval.
struct Life {
    sim: Simulation,
    plugin: Plugin,
    pid: u32,
    cpu_time: Duration,
    memory_mb: f64,
}

impl Life {
    fn new() -> Self {
        let sim = Simulation::new(Config::default()).unwrap();
        let plugin = sim.register("dice").unwrap();
        plugin.started(1, "1.0");
        Self { sim, plugin, pid: 1, cpu_time: Duration::ZERO, memory_mb: 50.0 }
    }

    fn start(&mut self, version: &str) {
        self.pid += 1;
        self.cpu_time = Duration::ZERO;
        self.plugin.started(self.pid, version);
    }

    /// With `percent` of a core, a little more every other tick.
    fn ticks(&mut self, count: usize, percent: f64, events: u64) -> &mut Self {
        for tick in 0..count {
            let percent = percent * if tick % 2 == 0 { 0.95 } else { 1.05 };
            self.cpu_time += Duration::from_secs(5).mul_f64(percent / 100.0);
            self.plugin.events().add(events);
            let memory_bytes = (self.memory_mb * MB as f64) as u64;
            let usage = Usage { cpu_time: self.cpu_time, memory_bytes };
            self.sim.tick(|_| usage);
        }
        self
    }

    /// With exactly `percent` of a core in each tick.
    fn steady(&mut self, count: usize, percent: f64, events: u64) -> &mut Self {
        for _ in 0..count {
            // Without the difference that alternates.
            self.ticks(1, percent / 0.95, events);
        }
        self
    }

    /// Ticks in which the process cannot be read.
    fn denied(&mut self, count: usize) -> &mut Self {
        (0..count).for_each(|_| self.sim.tick(|_| Observed::Denied));
        self
    }

    fn items(&self) -> Vec<Finding> {
        self.sim.snapshot().findings().items
    }

    /// The time of the sample so many samples before the newest one.
    fn time(&self, back: u32) -> SystemTime {
        self.sim.snapshot().sampled_at() - Duration::from_secs(5) * back
    }

    fn only(&self) -> Finding {
        only(&self.sim.snapshot())
    }
}

#[test]
fn healthy_plugins_have_no_findings() {
    let mut sim = simulation();
    sim.register("dice").unwrap().started(1, "");
    sim.register("8ball").unwrap();
    sim.tick(idle);
    let findings = sim.snapshot().findings();
    assert_eq!((findings.items.len(), findings.judged), (0, 2));
    let expected =
        "no findings: 2 plugins judged over 0.0 s; too young for findings about CPU: dice";
    assert_eq!(findings.to_string(), expected);
    (0..170).for_each(|_| sim.tick(idle));
    let text = sim.snapshot().findings().to_string();
    assert_eq!(text, "no findings: 2 plugins judged over 28 minutes");
}

#[test]
fn shift_is_told_with_onset_and_normal() {
    let mut life = Life::new();
    life.ticks(BEFORE, 2.0, 0).ticks(30, 40.0, 0);
    let finding = life.only();
    let since = life.sim.snapshot().sampled_at() - Duration::from_secs(29 * 5);
    assert_eq!((finding.since, finding.severity), (Onset::At(since), Severity::Warning));
    let FindingKind::CpuShift { before, now, samples_since, margin, .. } = finding.kind else {
        panic!("{finding}")
    };
    assert!((before - 2.0).abs() < 0.1 && (now - 40.0).abs() < 1.0, "{before} {now}");
    assert_eq!(samples_since, 30);
    assert!(margin > 1.0);
    assert!(finding.to_string().starts_with("dice: CPU 40 % since "), "{finding}");
    // Of four cores.
    assert!((finding.impact - 0.38 / 4.0).abs() < 0.01, "{}", finding.impact);
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn shift_that_ended_is_a_spike_for_half_an_hour() {
    let mut life = Life::new();
    life.ticks(BEFORE, 2.0, 0).ticks(30, 40.0, 0).ticks(30, 2.0, 0);
    let finding = life.only();
    assert!(matches!(finding.kind, FindingKind::CpuSpike { .. }), "{finding}");
    assert_eq!(finding.severity, Severity::Notice);
    let ended = life.sim.snapshot().sampled_at() - Duration::from_secs(30 * 5);
    assert_eq!(finding.until, Some(ended));
    life.ticks(340, 2.0, 0);
    assert_eq!(life.sim.snapshot().findings().items, []);
}

#[test]
fn more_cpu_with_more_events_is_busier() {
    let mut life = Life::new();
    life.ticks(BEFORE, 2.0, 10).ticks(30, 20.0, 100);
    let items = life.sim.snapshot().findings().items;
    // The surge explains it.
    assert_eq!(items.len(), 1, "{items:?}");
    assert!(matches!(items[0].kind, FindingKind::EventSurge { .. }));
    assert!(matches!(items[0].evidence[..], [FindingKind::Busier { .. }]), "{items:?}");
    assert_eq!(items[0].severity, Severity::Notice);
}

#[test]
fn full_core_is_saturated_from_the_start() {
    let mut life = Life::new();
    life.ticks(60, 100.0, 0);
    let finding = life.only();
    assert!(matches!(finding.kind, FindingKind::Saturated { .. }), "{finding}");
    assert_eq!(finding.severity, Severity::Warning);
}

#[test]
fn silence_has_busy_core_as_evidence() {
    let mut life = Life::new();
    life.ticks(BEFORE, 2.0, 10).ticks(40, 100.0, 0);
    let finding = life.only();
    let FindingKind::Silence { per_second, cpu_percent } = finding.kind else {
        panic!("{finding}")
    };
    assert!((per_second - 2.0).abs() < 0.1 && cpu_percent > Some(99.0));
    assert_eq!(finding.severity, Severity::Critical);
    assert!(!finding.evidence.is_empty());
    assert!(finding.to_string().contains(", while it keeps a core busy"), "{finding}");
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn growth_is_told_with_rate() {
    let mut life = Life::new();
    life.ticks(240, 2.0, 0);
    for _ in 0..480 {
        life.memory_mb += 0.1;
        life.ticks(1, 2.0, 0);
    }
    let finding = life.only();
    let FindingKind::MemoryGrowth { now, per_hour, low, high, .. } = finding.kind else {
        panic!("{finding}")
    };
    // 72 MB an hour.
    let mb_per_hour = [low, per_hour, high].map(|bytes| bytes / MB as f64);
    assert!(mb_per_hour.iter().all(|rate| (rate - 72.0).abs() < 3.0), "{mb_per_hour:?}");
    assert!(mb_per_hour.is_sorted() && now.abs_diff(98 * MB) < 2 * MB);
    let text = finding.to_string();
    assert!(text.starts_with("dice: memory grows by 72 MB an hour since "), "{text}");
    assert!(!text.contains("leak"));
}

/// Limits of 120 and 60 MB: the second is exceeded, and the next one is what growth will reach.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn growth_states_time_until_memory_limit() {
    let mut life = Life::new();
    let limit = |mb| Limit::new(LimitMetric::MemoryMb, mb);
    let limits = Limits::default().rule(limit(120.0)).rule(limit(60.0)).rule(limit(500.0));
    life.plugin.set_limits(limits).unwrap();
    life.ticks(240, 2.0, 0);
    for _ in 0..480 {
        life.memory_mb += 0.1;
        life.ticks(1, 2.0, 0);
    }
    let items = life.sim.snapshot().findings().items;
    let growth = items.iter().find(|item| matches!(item.kind, FindingKind::MemoryGrowth { .. }));
    let Some(Finding { kind: FindingKind::MemoryGrowth { limit_in, .. }, severity, .. }) = growth
    else {
        panic!("{items:?}")
    };
    // From 98 MB, at 72 MB an hour.
    let minutes = limit_in.unwrap().as_secs_f64() / 60.0;
    assert!((minutes - 18.3).abs() < 2.0, "{minutes}");
    assert_eq!(*severity, Severity::Critical);
    let text = growth.unwrap().to_string();
    assert!(text.ends_with(", now 97 MB, reaches its limit in about 19 min"), "{text}");
    let exceeded: Vec<_> =
        items.iter().filter(|item| matches!(item.kind, FindingKind::LimitExceeded(_))).collect();
    assert_eq!(exceeded.len(), 1, "{items:?}");
    let text = exceeded[0].to_string();
    assert!(
        text.starts_with("dice: memory over the limit of 60 MB, now 98.00 MB, since "),
        "{text}"
    );
    // Critical findings come first.
    assert_eq!(items[0].severity, Severity::Critical);
}

/// A run of 13 minutes fills, but its limit would be reached within the hour.
#[test]
fn growth_of_young_run_is_told_if_its_limit_is_near() {
    let grow = |limits: Limits| {
        let mut life = Life::new();
        life.plugin.set_limits(limits).unwrap();
        for _ in 0..156 {
            life.memory_mb += 1.0;
            life.ticks(1, 2.0, 0);
        }
        life.sim.snapshot().findings().items
    };
    let limit = |mb| Limits::default().rule(Limit::new(LimitMetric::MemoryMb, mb));
    let items = grow(limit(500.0));
    assert!(matches!(items[..], [Finding { severity: Severity::Critical, .. }]), "{items:?}");
    if !cfg!(miri) {
        assert_eq!(grow(Limits::default()), []);
        assert_eq!(grow(limit(5_000.0)), []);
    }
}

/// A core that is full is a finding of its own, and each limit too, with the severity of the host.
#[test]
fn limits_fold_into_nothing_and_explain_nothing() {
    let mut life = Life::new();
    let limit = |percent| Limit::new(LimitMetric::CpuPercent, percent);
    let rules = [limit(50.0).severity(Severity::Critical), limit(80.0).severity(Severity::Notice)];
    let limits = rules.into_iter().fold(Limits::default(), Limits::rule);
    life.plugin.set_limits(limits).unwrap();
    life.ticks(BEFORE, 2.0, 10).ticks(60, 100.0, 0);
    let items = life.sim.snapshot().findings().items;
    let kinds: Vec<_> = items.iter().map(|item| (item.kind.name(), item.severity)).collect();
    let expected = [
        ("silence", Severity::Critical),
        ("limit_exceeded", Severity::Critical),
        ("limit_exceeded", Severity::Notice),
    ];
    assert_eq!(kinds, expected);
    assert!(items[1..].iter().all(|item| item.evidence.is_empty()));
    let since = life.sim.snapshot().sampled_at() - Duration::from_secs(59 * 5);
    assert_eq!(items[1].since, Onset::At(since));
    assert!(!items[1].is_same(&items[2]) && items[1].is_same(&items[1].clone()));
    let json = serde_json::to_value(&items[1]).unwrap();
    assert_eq!(json["details"]["limit"]["above"], 50.0);
    // It ends by its own rule, not by that of the finding.
    life.ticks(1, 2.0, 10);
    let later = life.sim.snapshot().findings().items;
    assert!(later.iter().any(|item| item.is_same(&items[1])), "{later:?}");
}

#[test]
fn memory_step_is_not_growth() {
    let mut life = Life::new();
    life.ticks(BEFORE, 2.0, 0);
    life.memory_mb = 120.0;
    life.ticks(60, 2.0, 0);
    let finding = life.only();
    assert_eq!(finding.kind, FindingKind::MemoryStep { before: 50 * MB, now: 120 * MB });
    let since = life.sim.snapshot().sampled_at() - Duration::from_secs(59 * 5);
    assert_eq!(finding.since, Onset::At(since));
}

#[test]
fn dearer_version_explains_its_cpu() {
    let mut life = Life::new();
    life.ticks(BEFORE, 5.0, 20);
    life.start("2.0");
    life.ticks(BEFORE / 2, 15.0, 20);
    let finding = life.only();
    let FindingKind::Regression { metric, old, new, before, now, .. } = &finding.kind else {
        panic!("{finding}")
    };
    assert_eq!((*metric, &**old, &**new), (RegressionMetric::CpuPerEvent, "1.0", "2.0"));
    // 5 % of 5 s for 20 events.
    assert!((before - 12.5).abs() < 0.5 && (now - 37.5).abs() < 1.0, "{before} {now}");
    assert!(
        finding.to_string().starts_with(
            "dice: version 2.0 uses 3.0 times the CPU per event of 1.0 (38 ms, 12 ms)"
        ),
        "{finding}"
    );
    assert!(matches!(finding.evidence[..], [FindingKind::CpuShift { .. }, ..]), "{finding:?}");
}

#[test]
fn findings_use_values_of_process_tree() {
    let observed = |tick: u32| Observed::RunningTree {
        main: Usage { cpu_time: Duration::ZERO, memory_bytes: MB },
        tree: Usage { cpu_time: INTERVAL * tick, memory_bytes: (90 + 20 * u64::from(tick)) * MB },
        processes: 3,
    };
    for (has_trees, count, grown) in [(true, 1, 58 * 20), (false, 0, 0)] {
        let config = Config::default().poll_interval(INTERVAL).process_trees(has_trees);
        let mut sim = Simulation::new(config).unwrap();
        sim.register("make").unwrap().started(1, "");
        (1..60).for_each(|tick| sim.tick(|_| observed(tick)));
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("make").unwrap();
        assert_eq!(view.findings().len(), count, "{:?}", view.findings());
        assert_eq!(view.memory_change(Window::All).unwrap().bytes(), grown * MB as i64);
    }
}

#[test]
fn onset_older_than_history_is_before() {
    let config = Config::default().history_duration(Duration::from_secs(600));
    let mut sim = Simulation::new(config).unwrap();
    sim.register("dice").unwrap().started(1, "");
    let busy = |tick: u32| Usage { cpu_time: Duration::from_secs(5) * tick, memory_bytes: MB };
    (1..=if cfg!(miri) { 150 } else { 200 }).for_each(|tick| sim.tick(|_| busy(tick)));
    let oldest = sim.snapshot().sampled_at() - Duration::from_secs(119 * 5);
    assert_eq!(only(&sim.snapshot()).since, Onset::Before(oldest));
}

/// A run that crashes after a tick, and the time after which the crash counts.
fn crash(sim: &mut Simulation, plugin: &Plugin) {
    plugin.started(1, "");
    sim.tick(idle);
    sim.tick(|_| Observed::Exited(3));
    sim.advance(Duration::from_secs(1));
}

#[test]
fn crash_loop_has_crashes_as_evidence() {
    let mut sim = simulation();
    let dice = sim.register("dice").unwrap();
    (0..3).for_each(|_| crash(&mut sim, &dice));
    let finding = only(&sim.snapshot());
    assert!(matches!(finding.kind, FindingKind::CrashLoop { count: 3, .. }), "{finding}");
    assert_eq!(finding.severity, Severity::Critical);
    let text = finding.to_string();
    assert!(text.starts_with("dice: crash loop, 3 crashes since "), "{text}");
    assert!(text.ends_with("; crashed, down (exit code 3)"), "{text}");
}

#[test]
fn single_crash_of_down_plugin_is_one_finding() {
    let mut sim = simulation();
    let dice = sim.register("dice").unwrap();
    crash(&mut sim, &dice);
    let finding = only(&sim.snapshot());
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.to_string().ends_with("(exit code 3)"), "{finding}");
    crash(&mut sim, &dice);
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
    assert!(finding.to_string().starts_with("dice: no permission to read the process since "));
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

#[test]
fn finding_json_has_evidence_with_units() {
    let mut life = Life::new();
    life.ticks(60, 100.0, 0);
    let json = serde_json::to_value(life.sim.snapshot().findings()).unwrap();
    assert_eq!((&json["judged"], &json["too_young"]), (&1.into(), &serde_json::json!(["dice"])));
    assert_eq!(json["over_seconds"], 295.0);
    let item = &json["items"][0];
    for (key, value) in [("plugin", "dice"), ("severity", "warning"), ("kind", "saturated")] {
        assert_eq!(item[key], value);
    }
    assert_eq!(item["evidence"], serde_json::json!([]));
    assert!(item["details"]["percent"].as_f64().unwrap() > 99.0, "{item}");
    assert!(item["message"].as_str().unwrap().starts_with("a whole core (100 %) since "));
}

/// A snapshot whose plugins have changed in part since an earlier one, in the same tick or by a tick, is
/// judged as if there were no earlier one.
#[test]
fn judgements_of_earlier_snapshot_change_nothing() {
    let (count, steps) = if cfg!(miri) { (5, 33) } else { (20, 400) };
    let mut sim = Simulation::new(Config::default()).unwrap();
    let mut plugins: Vec<_> =
        (0..count).map(|i| sim.register(&format!("plugin-{i}")).unwrap()).collect();
    let mut pid = 0;
    let mut start = |plugin: &Plugin| {
        pid += 1;
        plugin.started(pid, "1.0");
    };
    plugins.iter().for_each(&mut start);
    let mut earlier = None;
    let mut kept = 0;
    for step in 0..steps {
        let plugin = &plugins[step * 7 % plugins.len()];
        match step % 11 {
            0 => plugin.crashed(),
            3 => start(plugin),
            5 => plugin.set_state(PluginState::Unhealthy),
            6 => plugin.set_state(PluginState::Failed),
            8 => {
                let name = plugin.name().to_owned();
                plugin.remove();
                plugins[step * 7 % count] = sim.register(&name).unwrap();
            }
            2 | 9 => sim.tick(|_| Usage {
                cpu_time: Duration::from_secs(step as u64),
                memory_bytes: (step as u64 * 7_919 % 100 + 1) * MB,
            }),
            _ => {}
        }
        sim.advance(Duration::from_millis(300));
        let snapshot = sim.snapshot();
        let mut builder = FindingsBuilder::since(earlier.take());
        for view in snapshot.plugins() {
            kept += usize::from(builder.judged_earlier(view).is_some());
            builder.judge(view);
        }
        let (findings, judgements) = builder.finish_with_judgements(&snapshot);
        assert_eq!(findings, snapshot.findings(), "step {step}");
        earlier = Some(Arc::new(judgements));
    }
    let all = count * steps;
    assert!((all / 4..all).contains(&kept), "{kept} of {all} judgements were kept");
}
