//! Readers and a host on their own threads while the engine publishes and reuses what it retired.
//! Small, so that Miri can try many interleavings.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{Harness, PLUGIN, dice};
use crate::snapshot::Snapshot;
use crate::snapshot::query::Window;
use crate::snapshot::state::PluginState;
use crate::sync::command::{Command, PluginUpdate};
use crate::sync::publish::Reader;

/// A block and a frame: in `TICKS` ticks the window turns over twice.
const SAMPLES: usize = 31;
const TICKS: u64 = 70;
const REPORTS: u64 = 40;

/// Checks that a snapshot is consistent, and returns its tick. At tick `t` the process has used
/// `t * t` ms, so that each CPU value identifies its tick.
fn check(snapshot: &Snapshot) -> u64 {
    let tick = snapshot.tick();
    let view = dice(snapshot);
    let history = view.history(Window::All);
    assert_eq!(history.len() as u64, tick.min(SAMPLES as u64));
    let mut events = view.event_count();
    for (age, sample) in history.rev().enumerate() {
        let used = 2 * (tick - age as u64) - 1;
        assert_eq!(sample.cpu_percent, Some(used as f64 / 10.0), "tick {tick}, {age} ago");
        assert!(sample.event_count <= events, "a counter decreased");
        events = sample.event_count;
    }
    tick
}

fn read_until(last: u64, reader: &Reader) {
    let (mut tick, mut held) = (0, None);
    while tick < last {
        let snapshot = reader.snapshot();
        assert!(snapshot.tick() >= tick, "ticks went backwards");
        // In Miri each tick once: a reader that checks one again takes its time from the writer.
        if snapshot.tick() > if cfg!(miri) { tick } else { 0 } {
            tick = check(&snapshot);
            held.get_or_insert((tick, snapshot));
        }
        thread::yield_now();
    }
    let (tick, snapshot) = held.expect("a snapshot was read");
    assert_eq!(check(&snapshot), tick, "a held snapshot changed");
}

#[test]
fn snapshots_across_threads_are_consistent() {
    let mut harness = Harness::with_history(SAMPLES as u32);
    harness.processes.set_alive(1, Duration::ZERO);
    harness.start(1);
    thread::scope(|scope| {
        for _ in 0..2 {
            let reader = harness.env.publisher.reader();
            scope.spawn(move || read_until(TICKS, &reader));
        }
        let events = harness.events.clone();
        let sender = Arc::clone(&harness.sender);
        let host = scope.spawn(move || {
            for nth in 0..REPORTS {
                events.increment();
                let state =
                    if nth % 2 == 0 { PluginState::Running } else { PluginState::Unhealthy };
                sender.send(Command::Update(PLUGIN, PluginUpdate::State(state)));
            }
        });
        for tick in 1..=TICKS {
            harness.processes.set_alive(1, Duration::from_millis(tick * tick));
            harness.tick();
        }
        host.join().unwrap();
    });
    // No event and no report is lost: the last one is applied.
    harness.processes.set_alive(1, Duration::from_millis((TICKS + 1) * (TICKS + 1)));
    let snapshot = harness.tick();
    check(&snapshot);
    assert_eq!(dice(&snapshot).event_count(), REPORTS);
    assert_eq!(dice(&snapshot).state(), PluginState::Unhealthy);
}
