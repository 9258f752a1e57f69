//! Readers and a host on threads of their own while the sampler publishes, and uses again what it
//! has retired. Small, so that Miri can try many interleavings of it: `ci/miri.sh`.

use std::thread;

use super::{PLUGIN, Stage};
use crate::snapshot::Snapshot;
use crate::snapshot::plugin_view::Window;
use crate::snapshot::state::PluginState;
use crate::sync::command::{Change, Command, CommandSender, PluginUpdate};
use crate::sync::publish::Reader;

/// A block, a frame, and so a window that turns over twice.
const SAMPLES: usize = 31;
const BLOCK_TICKS: u64 = 70;
const WORDS: u64 = 40;

/// In tick `t` the process has used `t * t` ms, so that each value gives away its tick.
fn check(snapshot: &Snapshot) -> u64 {
    let tick = snapshot.tick();
    let view = snapshot.plugin("dice").expect("it is registered");
    let history = view.history(Window::All);
    assert_eq!(history.len() as u64, tick.min(SAMPLES as u64));
    let mut events = view.event_count();
    for (age, sample) in history.rev().enumerate() {
        let used = 2 * (tick - age as u64) - 1;
        assert_eq!(sample.cpu_percent, Some(used as f64 / 10.0), "tick {tick}, {age} ago");
        assert!(sample.event_count <= events, "a counter went down");
        events = sample.event_count;
    }
    tick
}

fn read_until(last: u64, reader: &Reader) {
    let (mut tick, mut held) = (0, None);
    while tick < last {
        let snapshot = reader.snapshot();
        assert!(snapshot.tick() >= tick, "it went backwards");
        if snapshot.tick() > 0 {
            tick = check(&snapshot);
            held.get_or_insert((tick, snapshot));
        }
        thread::yield_now();
    }
    let (tick, snapshot) = held.expect("one was read");
    assert_eq!(check(&snapshot), tick, "a snapshot that was held has changed");
}

#[test]
fn across_threads_snapshots_are_whole_and_no_word_and_no_event_is_lost() {
    let mut stage = Stage::keeping(SAMPLES as u32);
    stage.alive(1, 0);
    stage.started(1);
    let (line, commands) = CommandSender::new(Box::new(|| ()), true);
    thread::scope(|scope| {
        for _ in 0..2 {
            let reader = stage.publisher.reader();
            scope.spawn(move || read_until(BLOCK_TICKS, &reader));
        }
        let events = stage.events.clone();
        let line = &line;
        scope.spawn(move || {
            for nth in 0..WORDS {
                events.increment();
                let state =
                    if nth % 2 == 0 { PluginState::Unhealthy } else { PluginState::Running };
                line.tell(Command::Change(Change::Plugin(PLUGIN, PluginUpdate::State(state))));
            }
        });
        let mut heard = 0;
        for tick in 1..=BLOCK_TICKS {
            while let Ok(Command::Change(change)) = commands.try_recv() {
                heard += 1;
                stage.apply(change);
            }
            stage.alive(1, tick * tick);
            stage.tick();
        }
        // The rest of what was said may come late, but it comes.
        while heard < WORDS {
            commands.recv().expect("the line is open");
            heard += 1;
        }
        assert!(commands.is_empty());
    });
    let snapshot = stage.tick();
    assert_eq!(snapshot.plugin("dice").map(|dice| dice.event_count()), Some(WORDS));
}
