//! Readers on every core while one writer ticks and publishes as fast as it can, and plugins are
//! removed, registered and restarted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, Plugin, PluginState, Reader, Snapshot, Window};
use plugmeter_test_support::SetOnDrop;

use crate::{Deadline, MIN_COLLISIONS};

const PLUGINS: usize = 12;

/// The length of a history.
#[derive(Clone, Copy)]
struct Length {
    poll_interval: Duration,
    samples: u32,
}

/// Two and a half blocks, so that the window turns over all the time.
const SHORT: Length = Length { poll_interval: Duration::from_secs(1), samples: 75 };

/// Three times an hour, so that two thirds are packed.
const PACKED: Length = Length { poll_interval: Duration::from_secs(30), samples: 370 };

/// Usage of a process after `tick` ticks. Encodes the tick and the plugin in each value.
fn usage(tick: u64, pid: u32) -> Usage {
    Usage {
        cpu_time: Duration::from_millis(tick * u64::from(pid % 100)),
        memory_bytes: (tick % 100_000 * 100 + u64::from(pid % 100)) * 1_024,
    }
}

/// The writer. Every plugin counts one event at each tick.
struct Writer {
    sim: Simulation,
    plugins: Vec<Plugin>,
    tick: u64,
}

impl Writer {
    fn new(Length { poll_interval, samples }: Length) -> Self {
        let config = Config::default().poll_interval(poll_interval);
        let config = config.history_duration(poll_interval * samples);
        let mut writer =
            Self { sim: Simulation::new(config).unwrap(), plugins: Vec::new(), tick: 0 };
        for i in 0..PLUGINS {
            let plugin = writer.register(i);
            writer.plugins.push(plugin);
        }
        writer
    }

    fn register(&self, i: usize) -> Plugin {
        let plugin = self.sim.register(&format!("plugin {i}")).unwrap();
        plugin.started(i as u32 + 1, "1.0");
        plugin
    }

    fn tick(&mut self) {
        self.tick += 1;
        let tick = self.tick;
        // Pseudo-random, by a step that is coprime to every other period here.
        let i = (tick * 7 % PLUGINS as u64) as usize;
        match tick % 5 {
            0 => {
                self.plugins[i].remove();
                self.plugins[i] = self.register(i);
            }
            1 => drop(self.plugins[i].started(i as u32 + 101, "1.1")),
            2 => self.plugins[i].crashed(),
            3 => drop(self.plugins[i].started(i as u32 + 1, "1.2")),
            _ => self.plugins[i].set_state(PluginState::Unhealthy),
        }
        for plugin in &self.plugins {
            plugin.events().increment();
        }
        if tick.is_multiple_of(3) {
            // A publication between ticks.
            self.sim.advance(Duration::from_millis(1));
        }
        self.sim.tick(|pid| match (tick + u64::from(pid)) % 53 {
            0 => Observed::Gone,
            1 => Observed::Denied,
            _ => Observed::Running(usage(tick, pid)),
        });
    }
}

/// Checks every invariant of a snapshot and returns a checksum of its values.
fn check(snapshot: &Snapshot, samples: u32) -> u64 {
    let tick = snapshot.tick();
    let system = snapshot.system();
    assert_eq!(snapshot.sampler().ticks, tick);
    let (mut events, mut memory, mut running, mut crashed, mut sum) = (0, 0, 0, 0, 0u64);
    for view in snapshot.plugins() {
        let current = view.current();
        events += current.map_or(0, |sample| sample.event_count);
        memory += current.and_then(|sample| sample.memory_bytes).unwrap_or(0);
        running += usize::from(view.state() == PluginState::Running && view.pid().is_some());
        crashed += usize::from(view.state() == PluginState::Crashed);
        assert_eq!(view.event_count(), current.map_or(0, |sample| sample.event_count));

        let history = view.history(Window::All);
        let len = history.len() as u64;
        assert!(len <= u64::from(samples));
        for (age, sample) in history.rev().enumerate() {
            let tick_of_sample = tick - age as u64;
            // Every tick since the registration has counted one event.
            assert_eq!(sample.event_count + age as u64, view.event_count());
            assert!(sample.crash_count <= view.crash_count());
            if let Some(bytes) = sample.memory_bytes {
                let pid = sample.pid.expect("memory belongs to a process");
                assert_eq!(
                    bytes,
                    usage(tick_of_sample, pid).memory_bytes,
                    "a sample of another plugin or tick"
                );
            }
            sum = sum.rotate_left(5) ^ sample.event_count ^ sample.memory_bytes.unwrap_or(1);
        }
        if let Some(all) = view.aggregates(Window::All) {
            assert_eq!(all.sample_count as u64, len);
            assert_eq!(all.events, len - 1);
        }
        sum ^= view.runs().map(|run| u64::from(run.pid)).sum::<u64>() + view.crash_count();
    }
    assert_eq!((system.total_events, system.total_memory_bytes), (events, memory));
    assert_eq!((system.plugins_running, system.plugins_crashed), (running, crashed));
    assert_eq!(system.total_plugins, snapshot.plugins().len());
    sum
}

#[derive(Default)]
struct Tally {
    checked: AtomicU64,
    collisions: AtomicU64,
    held: AtomicU64,
}

/// Loads and checks snapshots until `done` is set; holds some of them for a while.
fn read(reader: &Reader, samples: u32, done: &AtomicBool, tally: &Tally) {
    let (mut tick, mut revision) = (0, 0);
    let mut held: Option<(Snapshot, u64)> = None;
    while !done.load(Ordering::Relaxed) {
        let snapshot = reader.snapshot();
        assert!(
            snapshot.tick() >= tick && snapshot.revision() >= revision,
            "the tick or the revision decreased"
        );
        (tick, revision) = (snapshot.tick(), snapshot.revision());
        let sum = check(&snapshot, samples);
        tally.checked.fetch_add(1, Ordering::Relaxed);
        // The writer has published during the check.
        let collided = reader.snapshot().revision() != revision;
        tally.collisions.fetch_add(u64::from(collided), Ordering::Relaxed);
        match &held {
            Some((old, sum)) if tick > old.tick() + 2 * u64::from(samples) => {
                assert_eq!(check(old, samples), *sum, "a held snapshot has changed");
                tally.held.fetch_add(1, Ordering::Relaxed);
                held = None;
            }
            Some(_) => {}
            None => held = Some((snapshot, sum)),
        }
    }
}

/// Every snapshot is consistent in itself, and never older than the one that the same reader loaded
/// before.
#[test]
fn snapshots_are_consistent_and_monotonic() {
    read_while_writing(SHORT);
}

/// The same while the older part of the history is packed.
#[test]
fn packed_snapshots_are_consistent_and_monotonic() {
    read_while_writing(PACKED);
}

fn read_while_writing(length: Length) {
    const MIN_HELD: u64 = 11;
    let (mut writer, done, tally) = (Writer::new(length), AtomicBool::new(false), Tally::default());
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let is_open = |deadline: &Deadline| {
        deadline.is_open(count(&tally.collisions), count(&tally.held) < MIN_HELD)
    };
    let cores = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores.max(2) {
            let reader = writer.sim.reader();
            let (done, tally) = (&done, &tally);
            scope.spawn(move || {
                let _set_done = SetOnDrop(done);
                read(&reader, length.samples, done, tally);
            });
        }
        // Also if this thread panics: the readers must end.
        let _set_done = SetOnDrop(&done);
        let deadline = Deadline::start();
        while is_open(&deadline) && !done.load(Ordering::Relaxed) {
            (0..100).for_each(|_| writer.tick());
        }
    });
    let [checked, collisions, held] = [&tally.checked, &tally.collisions, &tally.held].map(count);
    eprintln!(
        "{} ticks; {checked} snapshots checked, {collisions} of them during a publication, \
         {held} held while the window turned over twice",
        writer.tick,
    );
    assert!(collisions >= MIN_COLLISIONS, "only {collisions} publications during a read");
    assert!(held >= MIN_HELD, "only {held} snapshots were held");
}
