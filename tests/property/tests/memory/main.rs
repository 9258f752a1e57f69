//! Allocations, counted by a heap profiler. One test, because a process has one heap.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::time::Duration;

use dhat::HeapStats;
use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, Plugin, Window};

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

const PLUGINS: usize = 1_000;
const POLL: Duration = Duration::from_secs(5);
/// Samples in an hour.
const HOUR: usize = 720;
/// Samples in a day.
const DAY: usize = 24 * HOUR;

struct Bench {
    sim: Simulation,
    ticks: u64,
    /// Plugins that have descendants, some of them in some ticks only.
    trees: u32,
}

impl Bench {
    /// A simulation of `plugins` plugins with a full hour of history.
    fn full(plugins: usize, trees: u32) -> Self {
        Self::of_samples(HOUR, plugins, trees)
    }

    fn of_samples(samples: usize, plugins: usize, trees: u32) -> Self {
        let config = Config::default().poll_interval(POLL).history_duration(POLL * samples as u32);
        let sim = Simulation::new(config).unwrap();
        for i in 0..plugins {
            sim.register(&format!("plugin {i}")).unwrap().started(i as u32 + 1, "1.0");
        }
        let mut bench = Self { sim, ticks: 0, trees };
        bench.ticks(samples + 100);
        bench
    }

    fn ticks(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.ticks += 1;
            let cpu_time = Duration::from_millis(self.ticks);
            let usage = Usage { cpu_time, memory_bytes: self.ticks * 4_096 };
            let (ticks, trees) = (self.ticks, self.trees);
            self.sim.tick(|pid| {
                if pid <= trees && (pid % 3 != 0 || ticks % 7 < 3) {
                    Observed::RunningTree { main: usage, tree: usage, processes: 2 }
                } else {
                    Observed::from(usage)
                }
            });
        }
    }
}

/// Plugins of three kinds, in equal parts: busy, bursty and idle.
struct Mixed {
    sim: Simulation,
    plugins: Vec<Plugin>,
    cpu_times: Vec<Duration>,
    ticks: u64,
}

impl Mixed {
    /// A simulation with a full day of history.
    fn of_a_day(plugins: usize) -> Self {
        let config = Config::default().poll_interval(POLL).history_duration(POLL * DAY as u32);
        let sim = Simulation::new(config).unwrap();
        let plugin = |i: usize| {
            let plugin = sim.register(&format!("plugin {i}")).unwrap();
            plugin.started(i as u32 + 1, "1.0");
            plugin
        };
        let all = (0..plugins).map(plugin).collect();
        let cpu_times = vec![Duration::ZERO; plugins];
        let mut mixed = Self { sim, plugins: all, cpu_times, ticks: 0 };
        // Two hours more, so that packed blocks have been reused.
        mixed.ticks(DAY + 2 * HOUR);
        mixed
    }

    fn ticks(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.ticks += 1;
            // A minute in each half hour, of another plugin in each tick.
            let is_burst = |i: usize| (self.ticks + 17 * i as u64) % 360 < 12;
            let random = |i: usize| (self.ticks as u32).wrapping_mul(7_919).wrapping_add(i as u32);
            let random = |i: usize| u64::from(random(i).wrapping_mul(2_654_435_761) >> 8);
            let usage = |i: usize| match (i % 3, is_burst(i)) {
                // CPU up to 60 %.
                (0, _) => (random(i) % 3_000_000, 50_000 + random(i) % 20_000, random(i) % 200),
                (1, true) => (random(i) % 1_500_000, 30_000 + random(i) % 9_000, random(i) % 20),
                (1, false) => (random(i) % 10_000, 30_000 + random(i) % 50, 0),
                (_, _) => (1_000, 12_000, 0),
            };
            for (i, (plugin, cpu_time)) in self.plugins.iter().zip(&mut self.cpu_times).enumerate()
            {
                let (micros, _, events) = usage(i);
                *cpu_time += Duration::from_micros(micros);
                plugin.events().add(events);
            }
            self.sim.tick(|pid| {
                let i = pid as usize - 1;
                let (_, kib, _) = usage(i);
                Usage { cpu_time: self.cpu_times[i], memory_bytes: kib * 1_024 }
            });
        }
    }
}

/// A day, of which all but the newest hour is packed.
fn day_is_packed_and_reused() {
    let before = live_bytes();
    let ten = Mixed::of_a_day(10);
    let kib = (live_bytes() - before) / 1_024;
    eprintln!("{kib} KiB for a day of ten plugins");
    assert!(kib < 1_024, "{kib} KiB for a day of ten plugins");
    drop(ten);

    let before = live_bytes();
    let mut day = Mixed::of_a_day(PLUGINS);
    let full = live_bytes() - before;
    let per_sample = full as f64 / (PLUGINS * DAY) as f64;
    eprintln!("{per_sample:.2} bytes per sample of a day, {} MB", full / 1_000_000);
    assert!(per_sample <= 5.0, "{per_sample:.2} bytes a sample of a day");

    // Packing reuses the blocks that have left the day: three of them in these ticks.
    let blocks = HeapStats::get().total_blocks;
    day.ticks(360);
    assert_eq!(HeapStats::get().total_blocks - blocks, 0, "allocations while packing");

    // A reader that holds a snapshot for an hour and drops it.
    let snapshot = day.sim.snapshot();
    let view = snapshot.plugin("plugin 7").unwrap();
    assert_eq!(view.aggregates(Window::All).unwrap().sample_count, DAY);
    day.ticks(HOUR);
    let held = live_bytes();
    drop(snapshot);
    let freed = held - live_bytes();
    assert!(freed < 64 * 1_024, "{freed} bytes");
    day.ticks(HOUR / 2);
    assert_near(live_bytes() - before, full, "after a snapshot was held while blocks were packed");
}

fn live_bytes() -> usize {
    HeapStats::get().curr_bytes
}

#[test]
fn memory_is_reused_and_bounded() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let before = live_bytes();
    let ten = Bench::full(10, 0);
    let kib = (live_bytes() - before) / 1_024;
    eprintln!("{kib} KiB for an hour of ten plugins");
    assert!(kib < 1_024, "{kib} KiB for ten plugins");
    drop(ten);

    // A tree has a row of 16 bytes, and 12 in a block.
    let before = live_bytes();
    let mut all = Bench::full(100, 100);
    let per_sample = (live_bytes() - before) as f64 / (100 * HOUR) as f64;
    eprintln!("{per_sample:.2} bytes per sample of a tree");
    assert!(per_sample <= 40.0, "{per_sample:.2} bytes a sample of a tree");
    let blocks = HeapStats::get().total_blocks;
    all.ticks(100);
    assert_eq!(HeapStats::get().total_blocks - blocks, 0, "allocations for trees");
    drop(all);

    let before = live_bytes();
    let mut bench = Bench::full(PLUGINS, 0);

    // A sample has twenty bytes, and little more including all overhead.
    let full = live_bytes() - before;
    let per_sample = full as f64 / (PLUGINS * HOUR) as f64;
    eprintln!("{per_sample:.2} bytes per sample including overhead");
    assert!(per_sample <= 24.0, "{per_sample:.2} bytes a sample");

    // Ticks allocate nothing. A hundred ticks include more than three regroupings of thirty.
    let blocks = HeapStats::get().total_blocks;
    bench.ticks(100);
    assert_eq!(HeapStats::get().total_blocks - blocks, 0, "allocations in a hundred ticks");

    // Queries allocate only what they return, once their scratch memory exists.
    let snapshot = bench.sim.snapshot();
    let view = snapshot.plugin("plugin 7").unwrap();
    let query = || {
        let all = view.aggregates(Window::All).unwrap();
        assert_eq!(all.sample_count, view.history(Window::All).count());
        assert_eq!(view.runs().count(), 1);
    };
    query();
    let blocks = HeapStats::get().total_blocks;
    (0..10).for_each(|_| query());
    assert_eq!(HeapStats::get().total_blocks - blocks, 0, "allocations of ten queries");

    // Dropping the last reference to an old snapshot frees little, because the sampler reuses its
    // parts.
    bench.ticks(HOUR - 30);
    let held = live_bytes();
    drop(snapshot);
    let freed = held - live_bytes();
    eprintln!("dropping an old snapshot frees {freed} bytes");
    assert!(freed < 64 * 1_024, "{freed} bytes");

    // The sampler does not keep forever what a reader held for a window.
    bench.ticks(200);
    assert_near(live_bytes() - before, full, "after one snapshot was held for a window");

    // A reader holds a thousand snapshots, one of each tick. The sampler keeps no more than it
    // needs after they are dropped.
    let leaked: Vec<_> = (0..1_000)
        .map(|_| {
            bench.ticks(1);
            bench.sim.snapshot()
        })
        .collect();
    assert_eq!(leaked.windows(2).filter(|pair| pair[0].tick() + 1 == pair[1].tick()).count(), 999);
    drop(leaked);
    bench.ticks(400);
    assert_near(live_bytes() - before, full, "after a thousand snapshots were held");
    drop(bench);

    day_is_packed_and_reused();
}

/// Within two percent, because lists keep their largest capacity.
#[track_caller]
fn assert_near(bytes: usize, full: usize, when: &str) {
    let ratio = bytes as f64 / full as f64;
    assert!(ratio < 1.02, "{ratio:.3} of what a full window needs, {when}");
}
