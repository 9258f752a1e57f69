//! History, aggregates and totals.

use std::time::Duration;

use plugmeter::testing::Simulation;
use plugmeter::{Config, ConfigError, RegisterError, Window};

use crate::fixtures::{POLL, SECOND, cpu, idle, keeping, usage};

#[test]
fn first_tick_has_cpu_percent() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_| usage(1_000, 1));
    assert_eq!(cpu(&sim.snapshot(), "dice"), [Some(20.0)]);
}

#[test]
fn aggregates_match_definition() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "");
    let mut used = 0;
    for i in 1..=40u64 {
        used += i * 50; // `i * 50` ms in five seconds are `i` percent
        plugin.events().add(i);
        sim.tick(|_| usage(used, i * 100));
    }
    let snapshot = sim.snapshot();
    let all = snapshot.plugin("dice").unwrap().aggregates(Window::All).unwrap();
    let cpu = all.cpu.unwrap();
    assert_eq!((cpu.count, cpu.min, cpu.max), (40, 1.0, 40.0));
    assert_eq!((cpu.avg, cpu.p95), (20.5, 39.0)); // index 38 of 0..40
    let memory = all.memory.unwrap();
    assert_eq!((memory.min, memory.max), (102_400.0, 4_096_000.0));
    assert_eq!(memory.avg, 20.5 * 102_400.0);
    assert_eq!(all.time_span, POLL * 39);
    assert_eq!(all.events, (2..=40).sum::<u64>());
    assert_eq!(all.events_per_second, all.events as f64 / 195.0);

    // A window of fifteen seconds includes the sample that is exactly that old.
    let last = snapshot.plugin("dice").unwrap().aggregates(POLL * 3).unwrap();
    assert_eq!(last.sample_count, 4);
    let cpu = last.cpu.unwrap();
    assert_eq!((cpu.min, cpu.max, cpu.p95), (37.0, 40.0, 40.0));
    let one = snapshot.plugin("dice").unwrap().aggregates(Duration::ZERO).unwrap();
    assert_eq!((one.sample_count, one.events, one.events_per_second), (1, 0, 0.0));
}

#[test]
fn history_keeps_newest_samples() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    for _ in 0..25 {
        plugin.events().increment();
        sim.tick(|_| None);
    }
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert!(view.history(Window::All).map(|sample| sample.event_count).eq(16..=25));
    let oldest = view.history(Window::All).next().unwrap();
    let age = snapshot.sampled_at().duration_since(oldest.timestamp).unwrap();
    assert_eq!(age, POLL * 9);
    // The newest ten stay, even after a suspension of the machine.
    sim.advance(POLL * 1_000);
    sim.tick(|_| None);
    let snapshot = sim.snapshot();
    assert_eq!(snapshot.plugin("dice").unwrap().history(Window::All).len(), 10);
    assert_eq!(snapshot.plugin("dice").unwrap().history(POLL * 10).len(), 1);
    assert_eq!(snapshot.sampler().missed_ticks, 0);
}

/// Totals are exact immediately; the history has at most 2^32 - 1 events more in each sample.
#[test]
fn excess_events_carry_to_later_samples() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    sim.tick(idle);
    plugin.events().add(10_000_000_000);
    let mut counts = Vec::new();
    for _ in 0..4 {
        sim.tick(idle);
        counts.push(sim.snapshot().plugin("dice").unwrap().event_count());
    }
    let most = u64::from(u32::MAX);
    assert_eq!(counts, [10_000_000_000; 4]);
    let snapshot = sim.snapshot();
    let history = snapshot.plugin("dice").unwrap().history(Window::All);
    let forwards: Vec<_> = history.clone().map(|sample| sample.event_count).collect();
    assert_eq!(forwards, [0, most, 2 * most, 10_000_000_000, 10_000_000_000]);
    let mut backwards: Vec<_> = history.rev().map(|sample| sample.event_count).collect();
    backwards.reverse();
    assert_eq!(backwards, forwards);
}

#[test]
fn history_iterates_from_both_ends() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    for _ in 0..75 {
        plugin.events().increment();
        sim.tick(idle);
    }
    let snapshot = sim.snapshot();
    let mut history = snapshot.plugin("dice").unwrap().history(Window::All);
    for i in 1..=37 {
        assert_eq!(history.len(), 75 - 2 * (i - 1));
        assert_eq!(history.next().unwrap().event_count, i as u64);
        assert_eq!(history.next_back().unwrap().event_count, 76 - i as u64);
    }
    assert_eq!(history.next().unwrap().event_count, 38);
    assert!(history.next().is_none() && history.next_back().is_none() && history.next().is_none());
}

#[test]
fn reused_slot_has_no_old_history() {
    let mut sim = keeping(100);
    let old = sim.register("old").unwrap();
    old.started(1, "");
    old.events().add(1_000);
    for _ in 0..40 {
        sim.tick(|_| usage(1_000, 5_000));
    }
    let before = sim.snapshot();
    old.remove();
    let new = sim.register("new").unwrap();
    sim.advance(Duration::from_nanos(1));
    let snapshot = sim.snapshot();
    assert!(snapshot.plugin("old").is_none());
    assert_eq!(snapshot.system().total_events, 0);
    let view = snapshot.plugin("new").unwrap();
    assert!(view.current().is_none() && view.aggregates(Window::All).is_none());
    assert_eq!((view.event_count(), view.cpu_time()), (0, Duration::ZERO));
    new.events().add(1);
    for i in 1..=35 {
        sim.tick(|_| None);
        let snapshot = sim.snapshot();
        let aggregates = snapshot.plugin("new").unwrap().aggregates(Window::All).unwrap();
        assert_eq!((aggregates.sample_count, aggregates.events), (i, 0));
        assert!(aggregates.memory.is_none());
    }
    assert_eq!(before.plugin("old").unwrap().event_count(), 1_000);
    assert_eq!(before.plugin("old").unwrap().history(Window::All).len(), 40);
}

#[test]
fn plugin_between_ticks_keeps_totals() {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let [first, other] = ["first", "other"].map(|name| sim.register(name).unwrap());
    for (pid, plugin) in (1..).zip([&first, &other]) {
        plugin.started(pid, "");
        plugin.events().add(u64::from(pid) * 10);
    }
    sim.tick(|pid| usage(0, 1_024 * u64::from(pid)));
    let totals = |sim: &Simulation| {
        let system = sim.snapshot().system();
        (system.total_plugins, system.total_events, system.total_memory_bytes)
    };
    assert_eq!(totals(&sim), (2, 30, 3 << 20));
    first.remove();
    sim.advance(Duration::from_millis(1));
    assert_eq!(totals(&sim), (1, 20, 2 << 20));
    // They use the slot of the first plugin, and no tick samples them.
    for nth in 0..3 {
        let short_lived = sim.register("short-lived").unwrap();
        short_lived.started(3, "");
        sim.advance(Duration::from_millis(1));
        assert_eq!(totals(&sim), (2, 20, 2 << 20), "{nth}");
        short_lived.remove();
        sim.advance(Duration::from_millis(1));
        assert_eq!(totals(&sim), (1, 20, 2 << 20), "{nth}");
    }
}

#[test]
fn simulation_has_own_time() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    let start = sim.snapshot();
    assert_eq!((start.tick(), start.sampled_at()), (0, start.started_at()));
    sim.advance(Duration::from_secs(86_400));
    sim.tick(idle);
    let snapshot = sim.snapshot();
    let passed = Duration::from_secs(86_400) + POLL;
    assert_eq!(snapshot.sampled_at(), start.started_at() + passed);
    assert_eq!(snapshot.sampled_at_instant(), start.sampled_at_instant() + passed);
    assert_eq!(snapshot.system().uptime, passed);
    let sample = snapshot.plugin("dice").unwrap().current().unwrap();
    assert_eq!(sample.uptime, Some(passed));
    sim.advance(Duration::MAX);
    sim.tick(idle);
}

#[test]
fn simulation_rejects_invalid_config() {
    let config = Config::default().poll_interval(Duration::ZERO);
    assert!(matches!(Simulation::new(config), Err(ConfigError::PollInterval { .. })));
    let mut sim = Simulation::new(Config::default().enabled(false)).unwrap();
    sim.register("dice").unwrap();
    assert!(matches!(sim.register("dice"), Err(RegisterError::AlreadyRegistered { .. })));
    sim.tick(idle);
    sim.advance(SECOND);
    assert!(sim.snapshot().is_stopped());
    assert_eq!(sim.snapshot().tick(), 0);
}
