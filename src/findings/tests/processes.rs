//! Conditions of processes, crash loops and memory steps, with their onsets.

use std::time::Duration;

use super::super::{FindingKind, Findings, Onset, crash_window};
use super::{INTERVAL, Life, MB, crash, idle, only, simulation};
use crate::testing::{Observed, Simulation, Usage};
use crate::{Config, Plugin, PluginState};

fn names(findings: &Findings) -> Vec<&'static str> {
    findings.items.iter().map(|item| item.kind.name()).collect()
}

#[test]
fn unknown_end_is_found_while_the_plugin_is_stopped_by_it() {
    let mut sim = simulation();
    let dice = sim.register("dice").unwrap();
    dice.started(1, "");
    sim.tick(idle);
    sim.tick(|_| Observed::Gone);
    sim.advance(Duration::from_secs(1));
    let finding = only(&sim.snapshot());
    assert_eq!(finding.kind, FindingKind::EndedUnknown);
    let ended_at = {
        let snapshot = sim.snapshot();
        snapshot.plugin("dice").unwrap().runs().next_back().unwrap().ended_at.unwrap()
    };
    assert_eq!(finding.since, Onset::At(ended_at));
    // The host states more.
    dice.set_state(PluginState::Failed);
    sim.advance(Duration::ZERO);
    assert_eq!(names(&sim.snapshot().findings()), ["down"]);
    // The newest run has not ended, and then it has ended by the host.
    dice.started(2, "");
    sim.tick(idle);
    assert_eq!(sim.snapshot().findings().items, []);
    dice.stopped();
    sim.tick(idle);
    assert_eq!(sim.snapshot().findings().items, []);
}

#[test]
fn onset_is_the_first_sample_in_which_the_condition_holds() {
    // From the first sample of a run on.
    let mut sim = simulation();
    sim.register("dice").unwrap().started(1, "");
    (0..4).for_each(|_| sim.tick(|_| Observed::Denied));
    let since = sim.snapshot().sampled_at() - INTERVAL * 3;
    assert_eq!(only(&sim.snapshot()).since, Onset::At(since));
    // A sample without memory but with CPU is read.
    let mut sim = simulation();
    sim.register("dice").unwrap().started(1, "");
    sim.tick(idle);
    sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: 0 });
    (0..2).for_each(|_| sim.tick(|_| Observed::Denied));
    let since = sim.snapshot().sampled_at() - INTERVAL;
    assert_eq!(only(&sim.snapshot()).since, Onset::At(since));
    // Longer than the history.
    let config = Config::default().history_duration(Duration::from_secs(600));
    let mut sim = Simulation::new(config).unwrap();
    sim.register("dice").unwrap().started(1, "");
    (0..if cfg!(miri) { 130 } else { 200 }).for_each(|_| sim.tick(|_| Observed::Denied));
    let oldest = sim.snapshot().sampled_at() - Duration::from_secs(119 * 5);
    assert_eq!(only(&sim.snapshot()).since, Onset::Before(oldest));
}

/// Three crashes of one tick are within ten minutes only if the interval is at most half of it.
#[test]
fn crashes_of_long_intervals_are_no_loop() {
    for (seconds, is_loop) in [(300, true), (301, false), (900, false)] {
        let interval = Duration::from_secs(seconds);
        let mut sim = Simulation::new(Config::default().poll_interval(interval)).unwrap();
        let dice = sim.register("dice").unwrap();
        sim.tick(idle);
        for pid in 1..=3 {
            dice.started(pid, "");
            dice.crashed();
        }
        sim.tick(idle);
        let names = names(&sim.snapshot().findings());
        assert_eq!(names.contains(&"crash_loop"), is_loop, "{seconds} s: {names:?}");
    }
}

/// A plugin that is registered late, which crashes in these ticks of 10 s.
fn crash_loop(gap: usize, quiet: usize) -> Option<(Onset, u64)> {
    let mut sim = simulation();
    (0..50).for_each(|_| sim.tick(idle));
    let dice: Plugin = sim.register("dice").unwrap();
    let mut first = None;
    for crash in 0..3 {
        (0..if crash == 0 { 5 } else { gap - 1 }).for_each(|_| sim.tick(idle));
        dice.started(crash + 1, "");
        dice.crashed();
        sim.tick(idle);
        first = first.or(sim.snapshot().plugin("dice").unwrap().last_crash());
    }
    (0..quiet).for_each(|_| sim.tick(idle));
    let items = sim.snapshot().findings().items;
    items.into_iter().find_map(|item| match item.kind {
        FindingKind::CrashLoop { count, .. } => {
            assert!(item.since.time() >= first.unwrap(), "{:?} {first:?}", item.since);
            assert!(item.since.time() <= first.unwrap() + INTERVAL, "{:?} {first:?}", item.since);
            Some((item.since, count))
        }
        _ => None,
    })
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn crash_loop_has_its_first_crash_and_end() {
    assert!(matches!(crash_loop(30, 0), Some((Onset::At(_), 3))));
    assert_eq!(crash_loop(31, 0), None);
    assert!(crash_loop(20, 60).is_some());
    assert_eq!(crash_loop(20, 61), None);
    // Two minutes at least.
    assert!(crash_loop(2, 12).is_some());
    assert_eq!(crash_loop(2, 13), None);
}

#[test]
fn crashes_are_counted_within_ten_minutes_or_an_hour() {
    let mut sim = simulation();
    assert_eq!(crash_window(&sim.snapshot()), Duration::from_secs(3_600));
    let dice = sim.register("dice").unwrap();
    crash(&mut sim, &dice);
    dice.started(2, "");
    (0..70).for_each(|_| sim.tick(idle));
    let within = |sim: &Simulation| match only(&sim.snapshot()).kind {
        FindingKind::Crashed { count, within, .. } => (count, within.as_secs()),
        kind => panic!("{kind:?}"),
    };
    assert_eq!(within(&sim), (1, 3_600));
    crash(&mut sim, &dice);
    dice.started(3, "");
    sim.tick(idle);
    assert_eq!(within(&sim), (2, 3_600));
    crash(&mut sim, &dice);
    dice.started(4, "");
    (0..40).for_each(|_| sim.tick(idle));
    assert_eq!(within(&sim), (2, 600));
}

/// Three fifths of the rise are within a minute.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn memory_that_rises_slowly_is_no_step() {
    let rise = |ticks: usize| {
        let mut life = Life::new();
        life.ticks(300, 2.0, 0);
        for _ in 0..ticks {
            life.memory_mb += 120.0 / ticks as f64;
            life.ticks(1, 2.0, 0);
        }
        life.ticks(30, 2.0, 0);
        let steps = life.items().into_iter().filter_map(|item| match item.kind {
            FindingKind::MemoryStep { before, now } => Some((before, now, item.since)),
            _ => None,
        });
        (steps.collect::<Vec<_>>(), life.time(29))
    };
    let (steps, at) = rise(1);
    assert_eq!(steps, [(50 * MB, 170 * MB, Onset::At(at - Duration::from_secs(5)))]);
    assert_eq!(rise(60).0, []);
}

/// Short intervals are merged: a core is full for as long, and its onset is that of a sample of 5 s.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn short_intervals_are_merged_into_five_seconds() {
    let second = Duration::from_secs(1);
    let mut sim = Simulation::new(Config::default().poll_interval(second)).unwrap();
    (0..7).for_each(|_| sim.tick(idle));
    sim.register("dice").unwrap().started(1, "");
    let mut tick = 0;
    let mut busy = |sim: &mut Simulation| {
        tick += 1;
        let cpu_time = second * tick;
        sim.tick(|_| Usage { cpu_time, memory_bytes: MB });
    };
    let mut found = Vec::new();
    for _ in 0..300 {
        busy(&mut sim);
        found.push(sim.snapshot().findings().items.len());
    }
    let first = found.iter().position(|&count| count > 0).unwrap();
    // A minute of warm-up, three minutes, and the samples at both ends that are not whole.
    assert!((236..=246).contains(&first), "{first}");
    let finding = only(&sim.snapshot());
    let FindingKind::Saturated { percent } = finding.kind else { panic!("{finding}") };
    assert!((percent - 100.0).abs() < 1e-3);
    let age = sim.snapshot().sampled_at().duration_since(finding.since.time()).unwrap();
    assert!((236..=246).contains(&age.as_secs()), "{age:?}");
    assert_eq!(sim.snapshot().findings().over, Duration::from_secs(299));
}

/// The first minute of a run is not judged: its samples are 11, because the first is an interval old.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn plugin_is_too_young_for_13_minutes_after_its_first() {
    let mut sim = simulation();
    sim.register("dice").unwrap().started(1, "");
    let is_too_young = |sim: &Simulation| !sim.snapshot().findings().too_young.is_empty();
    let mut ticks = 0;
    while ticks == 0 || is_too_young(&sim) {
        sim.tick(idle);
        ticks += 1;
    }
    assert_eq!(ticks, 11 + 156);
}

#[test]
fn names_of_young_plugins_are_counted_beyond_some() {
    let mut sim = simulation();
    for pid in 1..=60 {
        sim.register(&format!("plugin-{pid}")).unwrap().started(pid, "");
    }
    sim.tick(idle);
    let text = sim.snapshot().findings().to_string();
    let (_, names) = text.split_once("too young for findings about CPU: ").unwrap();
    let (names, others) = names.split_once(" and ").unwrap();
    let listed = names.split(", ").count();
    assert_eq!(others, format!("{} more", 60 - listed), "{text}");
}

/// A quarter of an hour of the run, and ten minutes of growth; the same after an earlier run.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn growth_is_found_after_25_minutes_of_a_run() {
    for earlier in [0, 100] {
        let mut life = Life::new();
        if earlier > 0 {
            life.ticks(earlier, 2.0, 0);
            life.start("1.0");
        }
        let is_found = |life: &Life| {
            let kinds = life.items().into_iter().map(|item| item.kind);
            kinds.filter(|kind| matches!(kind, FindingKind::MemoryGrowth { .. })).count() > 0
        };
        let mut ticks = 0;
        while !is_found(&life) && ticks < 400 {
            life.memory_mb += 0.2;
            life.ticks(1, 2.0, 0);
            ticks += 1;
        }
        // The run begins a sample before its first; minutes are those of the collector, of which the
        // newest may be half over.
        assert!((300 - 1 - 6..300 + 12).contains(&ticks), "{ticks} after {earlier}");
    }
}
