//! The cost of findings of made-up plugins of all shapes, beside a sort of two of the same columns, which
//! every judgement by quantiles needs.
#![allow(missing_docs)] // criterion_group! makes a function without docs

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, Plugin, PluginView, Snapshot, Window};
use plugmeter_test_support::lives::{BURSTY, CpuLife, HEAPS, MemoryLife, QUIET, Shape};

const POLL: Duration = Duration::from_secs(5);
const HOUR: usize = 720;
const DAY: usize = 24 * HOUR;

struct Life {
    plugin: Plugin,
    cpu: CpuLife,
    memory: MemoryLife,
    cpu_time: Duration,
}

impl Life {
    fn new(sim: &mut Simulation, number: usize) -> Self {
        let shapes = [&QUIET[..], &BURSTY, &[Shape::Regimes]].concat();
        let plugin = sim.register(&format!("plugin-{number}")).expect("the name is good");
        plugin.started(number as u32 + 1, "1.0");
        Self {
            plugin,
            cpu: CpuLife::new(shapes[number % shapes.len()], number as u64),
            memory: MemoryLife::new(HEAPS[number % HEAPS.len()], number as u64),
            cpu_time: Duration::ZERO,
        }
    }

    /// What the process has used after the next tick.
    fn next(&mut self) -> Usage {
        let (percent, events) = self.cpu.tick(1.0);
        self.plugin.events().add(events.into());
        self.cpu_time += POLL.mul_f64(percent / 100.0);
        Usage { cpu_time: self.cpu_time, memory_bytes: self.memory.tick(0.0) * 1_024 }
    }
}

/// A full history of `plugins` lives.
fn lives(plugins: usize, samples: usize) -> Snapshot {
    let history = POLL * u32::try_from(samples).expect("a day or less");
    let config = Config::default().poll_interval(POLL).history_duration(history);
    let mut sim = Simulation::new(config).expect("the config is good");
    let mut lives: Vec<_> = (0..plugins).map(|number| Life::new(&mut sim, number)).collect();
    for _ in 0..samples + 61 {
        let usage: Vec<_> = lives.iter_mut().map(Life::next).collect();
        sim.tick(|pid| usage[pid as usize - 1]);
    }
    sim.snapshot()
}

fn findings(c: &mut Criterion) {
    let mut group = c.benchmark_group("findings");
    for (name, plugins, samples) in
        [("1,000 plugins", 1_000, HOUR), ("one plugin of 9", 9, HOUR), ("one of 9, a day", 9, DAY)]
    {
        let snapshot = lives(plugins, samples);
        if plugins == 9 {
            // One of each shape in turn, so that the figure is the mean of all.
            let views: Vec<_> = snapshot.plugins().collect();
            let mut turn = views.iter().cycle();
            group.bench_function(BenchmarkId::new("plugmeter", name), |b| {
                b.iter(|| turn.next().map(|view| black_box(view).findings()));
            });
            let mut turn = views.iter().cycle();
            group.bench_function(BenchmarkId::new("floor: sort two columns", name), |b| {
                b.iter(|| turn.next().map(|view| sorted(*black_box(view))));
            });
            continue;
        }
        group.bench_function(BenchmarkId::new("plugmeter", name), |b| {
            b.iter(|| black_box(&snapshot).findings());
        });
        group.bench_function(BenchmarkId::new("floor: sort two columns", name), |b| {
            b.iter(|| snapshot.plugins().map(|view| sorted(black_box(view))).sum::<f64>());
        });
    }
    group.finish();
}

/// The medians of CPU and memory, by sorting their samples.
fn sorted(view: PluginView<'_>) -> f64 {
    let samples = view.history(Window::All);
    let mut cpu: Vec<f64> = samples.clone().filter_map(|sample| sample.tree_cpu_percent).collect();
    let mut memory: Vec<u64> = samples.filter_map(|sample| sample.tree_memory_bytes).collect();
    cpu.sort_by(f64::total_cmp);
    memory.sort_unstable();
    cpu[cpu.len() / 2] + memory[memory.len() / 2] as f64
}

criterion_group!(benches, findings);
criterion_main!(benches);
