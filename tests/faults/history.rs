//! The shortest and the longest possible history.
#![cfg(feature = "testing")]

use std::time::Duration;

use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, Snapshot, Window};
use plugmeter_test_support::isolated_process::{enter_isolated, resident_bytes};

const POLL: Duration = Duration::from_secs(1);
/// The most samples that a history can hold.
const MOST: u32 = 1_048_576;

fn keeping(samples: u32) -> Simulation {
    let config = Config::default().poll_interval(POLL).history_duration(POLL * samples);
    Simulation::new(config).unwrap()
}

/// Encodes the tick in each value.
fn usage(tick: u64) -> Usage {
    Usage { cpu_time: Duration::from_millis(tick), memory_bytes: (1 + tick % 1_000) * 1_024 }
}

/// Resident memory of this process in KiB.
fn resident_kib() -> u64 {
    resident_bytes() / 1_024
}

/// Asserts the history and the aggregates of a snapshot.
fn check(snapshot: &Snapshot, samples: u64) {
    let view = snapshot.plugin("dice").unwrap();
    let (newest, len) = (snapshot.tick(), snapshot.tick().min(samples));
    assert_eq!(view.history(Window::All).len() as u64, len);
    for (age, sample) in view.history(Window::All).rev().enumerate() {
        let tick = newest - age as u64;
        assert_eq!(sample.memory_bytes, Some(usage(tick).memory_bytes), "tick {tick}");
        assert_eq!(sample.event_count, tick, "tick {tick}");
    }
    let all = view.aggregates(Window::All).unwrap();
    assert_eq!((all.sample_count as u64, all.events), (len, len - 1));
    assert_eq!(all.time_span, POLL * (len - 1) as u32);
    let cpu = all.cpu.unwrap();
    assert_eq!((cpu.count as u64, cpu.min, cpu.max), (len, 0.1, 0.1));
}

#[test]
fn one_sample_history_is_the_newest() {
    let mut sim = keeping(1);
    let dice = sim.register("dice").unwrap();
    dice.started(1, "1.0");
    let mut held = Vec::new();
    for tick in 1..=10_000 {
        dice.events().increment();
        sim.tick(|_| usage(tick));
        let snapshot = sim.snapshot();
        check(&snapshot, 1);
        if tick % 1_000 == 1 {
            held.push(snapshot);
        }
    }
    held.iter().for_each(|snapshot| check(snapshot, 1));
}

#[test]
fn longest_history_is_complete_and_bounded() {
    // Measures the memory of the process, so no other test may run in it.
    if !enter_isolated(longest_history_is_complete_and_bounded, &[]) {
        return;
    }
    let before = resident_kib();
    let mut sim = keeping(MOST);
    let dice = sim.register("dice").unwrap();
    dice.started(1, "1.0");
    let mut tick = 0;
    let mut ticks = |sim: &mut Simulation, ticks: u32| {
        for _ in 0..ticks {
            tick += 1;
            dice.events().increment();
            sim.tick(|_| usage(tick));
        }
    };
    ticks(&mut sim, MOST);
    check(&sim.snapshot(), u64::from(MOST));
    let full = resident_kib() - before;

    // The window turns over while a reader holds a snapshot of all of it. That makes two histories,
    // and one again after the reader has dropped its snapshot.
    let held = sim.snapshot();
    ticks(&mut sim, MOST + 100);
    check(&held, u64::from(MOST));
    check(&sim.snapshot(), u64::from(MOST));
    let both = resident_kib() - before;
    drop(held);
    ticks(&mut sim, MOST + 100);
    check(&sim.snapshot(), u64::from(MOST));
    let again = resident_kib() - before;
    eprintln!("{full} KiB full, {both} KiB while one more is held, {again} KiB a window later");
    // One plugin: all but the newest hour is packed. The ticks of a simulation are regular, so that
    // their times take no room.
    assert!(full < 40 * 1_024, "{full} KiB for a history of {MOST} samples");
    assert!(both < 2 * full + full / 4, "{both} KiB for two of them, {full} KiB for one");
    // The allocator keeps freed memory. It must be reused, not added to.
    assert!(
        again < 2 * full + full / 4,
        "{again} KiB after the snapshot was dropped, {full} KiB full"
    );
}
