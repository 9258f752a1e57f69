//! Readers of sixteen collectors while their writers publish. A thread that loads from many
//! `ArcSwap`s uses the same few debt slots for all of them. A lock-free pointer has returned
//! another instance's value in such a setting, where another instance reused the address of a freed
//! value. So half of the readers hold more snapshots than the writers keep for reuse, and free
//! them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, Plugin, PluginState, Reader, Snapshot, Window};
use plugmeter_test_support::SetOnDrop;

use crate::{Deadline, MIN_COLLISIONS, POLL, SAMPLES};

const COLLECTORS: usize = 16;
/// Plugins of each collector.
const PLUGINS: u64 = 4;
/// Number of snapshots that a holding reader holds: more of each collector than its writer keeps.
const MAX_HELD: usize = 2_048;
/// A holding reader holds one of this many pairs of loads.
const HOLD_EVERY: u64 = 5;
/// One of this many loads is followed by a check of the complete history.
const COMPLETE_CHECK_EVERY: u64 = 4_096;

/// The poll interval differs between collectors and identifies the collector of a snapshot.
fn interval(collector: usize) -> Duration {
    POLL + Duration::from_millis(collector as u64)
}

/// Encodes the collector, the tick and the plugin.
fn memory(collector: usize, tick: u64, pid: u32) -> u64 {
    ((tick % 10_000 * 100 + u64::from(pid)) * 100 + collector as u64 + 1) * 1_024
}

struct Writer {
    collector: usize,
    sim: Simulation,
    plugins: Vec<Plugin>,
    tick: u64,
}

impl Writer {
    fn new(collector: usize) -> Self {
        let interval = interval(collector);
        let config = Config::default().poll_interval(interval).history_duration(interval * SAMPLES);
        let sim = Simulation::new(config).unwrap();
        let register = |i: u64| {
            // Names are equal in all collectors. The version identifies the collector.
            let plugin = sim.register(&format!("plugin {i}")).unwrap();
            plugin.started(i as u32 + 1, &collector.to_string());
            plugin
        };
        let plugins = (0..PLUGINS).map(register).collect();
        Self { collector, sim, plugins, tick: 0 }
    }

    /// Counts one event of every plugin and publishes twice, once of them before the tick.
    fn tick(&mut self) {
        self.tick += 1;
        let Self { collector, sim, plugins, tick } = self;
        for plugin in &*plugins {
            plugin.events().increment();
        }
        let state =
            if tick.is_multiple_of(2) { PluginState::Running } else { PluginState::Unhealthy };
        plugins[(*tick % PLUGINS) as usize].set_state(state);
        sim.advance(Duration::ZERO);
        sim.tick(|pid| Usage {
            cpu_time: Duration::from_millis(*tick),
            memory_bytes: memory(*collector, *tick, pid),
        });
    }
}

/// Checks that a snapshot belongs to the collector and that its parts belong to one tick.
fn check(collector: usize, snapshot: &Snapshot) {
    let tick = snapshot.tick();
    assert_eq!(snapshot.poll_interval(), interval(collector), "another collector's snapshot");
    assert_eq!(snapshot.sampler().ticks, tick);
    assert_eq!(snapshot.system().total_events, PLUGINS * tick, "totals of another tick");
    let view = snapshot.plugin("plugin 2").unwrap();
    if let Some(current) = view.current() {
        assert_eq!(current.event_count, tick, "a sample of another tick");
        let bytes = memory(collector, tick, 3);
        assert_eq!(current.memory_bytes, Some(bytes), "another collector's sample");
    }
}

/// Checks every sample of a snapshot.
fn check_completely(collector: usize, snapshot: &Snapshot) {
    let tick = snapshot.tick();
    assert_eq!(snapshot.plugins().len() as u64, PLUGINS);
    for (view, pid) in snapshot.plugins().zip(1..) {
        assert_eq!(view.version(), Some(&*collector.to_string()), "another collector's plugin");
        assert_eq!(view.pid(), Some(pid));
        let history = view.history(Window::All);
        assert_eq!(history.len() as u64, tick.min(SAMPLES.into()));
        for (age, sample) in history.rev().enumerate() {
            let then = tick - age as u64;
            assert_eq!(sample.event_count, then, "a sample of another tick");
            assert_eq!(
                sample.memory_bytes,
                Some(memory(collector, then, pid)),
                "another collector's sample"
            );
        }
    }
}

#[derive(Default)]
struct Tally {
    loads: AtomicU64,
    complete: AtomicU64,
    collisions: AtomicU64,
    ticks: AtomicU64,
}

/// Loads twice from each collector in turn until `done` is set.
fn read(readers: &[Reader], holds: bool, done: &AtomicBool, tally: &Tally) {
    let (mut loads, mut complete, mut collisions) = (0, 0, 0);
    let mut held = VecDeque::with_capacity(MAX_HELD + 1);
    let mut last = [(0, 0); COLLECTORS];
    while !done.load(Ordering::Relaxed) {
        for (collector, reader) in readers.iter().enumerate() {
            let pair = [reader.snapshot(), reader.snapshot()];
            for snapshot in &pair {
                check(collector, snapshot);
                let now = (snapshot.revision(), snapshot.tick());
                assert!(
                    now.0 >= last[collector].0 && now.1 >= last[collector].1,
                    "the revision or the tick decreased"
                );
                last[collector] = now;
                loads += 1;
            }
            // The writer has published between two consecutive loads.
            collisions += u64::from(pair[0].revision() != pair[1].revision());
            if loads / 2 % (COMPLETE_CHECK_EVERY / 2) == 0 {
                check_completely(collector, &pair[1]);
                complete += 1;
            }
            if holds && loads / 2 % HOLD_EVERY == 0 {
                let [snapshot, _] = pair;
                held.push_back((collector, snapshot));
                if held.len() > MAX_HELD
                    && let Some((collector, snapshot)) = held.pop_front()
                {
                    check(collector, &snapshot);
                }
            }
        }
        // The writers stop when these counts are sufficient.
        tally.complete.fetch_add(std::mem::take(&mut complete), Ordering::Relaxed);
        tally.collisions.fetch_add(std::mem::take(&mut collisions), Ordering::Relaxed);
    }
    tally.loads.fetch_add(loads, Ordering::Relaxed);
}

/// Each reader gets the snapshots of the collector that it loads from.
#[test]
fn readers_get_their_collectors_snapshots() {
    const MIN_COMPLETE: u64 = 11;
    let mut writers: Vec<Writer> = (0..COLLECTORS).map(Writer::new).collect();
    writers.iter_mut().for_each(Writer::tick); // without a tick no snapshot has a plugin
    let readers: Vec<Reader> = writers.iter().map(|writer| writer.sim.reader()).collect();
    let (done, tally) = (AtomicBool::new(false), Tally::default());
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let is_open = |deadline: &Deadline| {
        deadline.is_open(count(&tally.collisions), count(&tally.complete) < MIN_COMPLETE)
    };
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let deadline = Deadline::start();
    thread::scope(|scope| {
        // More threads than cores, so that some are preempted during a load.
        for number in 0..cores.max(2) + 2 {
            let (readers, done, tally) = (&readers, &done, &tally);
            scope.spawn(move || {
                let _set_done = SetOnDrop(done);
                read(readers, number % 2 == 0, done, tally);
            });
        }
        for writers in writers.chunks_mut(COLLECTORS / 2) {
            scope.spawn(|| {
                let _set_done = SetOnDrop(&done);
                while is_open(&deadline) && !done.load(Ordering::Relaxed) {
                    for writer in &mut *writers {
                        (0..8).for_each(|_| writer.tick());
                    }
                }
                let ticks: u64 = writers.iter().map(|writer| writer.tick).sum();
                tally.ticks.fetch_add(ticks, Ordering::Relaxed);
            });
        }
    });
    let [loads, complete, collisions, ticks] =
        [&tally.loads, &tally.complete, &tally.collisions, &tally.ticks].map(count);
    eprintln!(
        "{loads} loads from {COLLECTORS} collectors, {collisions} pairs of loads with a publication \
         in between, {complete} complete checks; {ticks} ticks, twice as many publications",
    );
    assert!(collisions >= MIN_COLLISIONS, "only {collisions} publications between two loads");
    assert!(complete >= MIN_COMPLETE, "only {complete} snapshots were checked completely");
}
