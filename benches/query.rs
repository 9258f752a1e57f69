//! The cost of queries on a window of an hour and of a day.
#![allow(missing_docs)] // criterion_group! makes a function without docs

mod peers;
mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, Window};
use support::{DAY, Full, HOUR};

fn current(c: &mut Criterion) {
    let mut group = c.benchmark_group("query");
    let full = Full::new(1_000, HOUR);
    let reader = full.sim.reader();
    let snapshot = reader.snapshot();
    group.bench_function("snapshot", |b| b.iter(|| black_box(reader.snapshot())));
    group.bench_function("current by name", |b| {
        b.iter(|| snapshot.plugin(black_box("plugin-777")).and_then(|view| view.current()));
    });
    group.bench_function(BenchmarkId::new("all current", 1_000), |b| {
        b.iter(|| snapshot.plugins().filter_map(|view| view.current()).count());
    });
    let locked = peers::Locked::full(1_000, HOUR);
    group.bench_function("current by name, RwLock<HashMap>", |b| {
        b.iter(|| locked.current(black_box("plugin-777")));
    });
    let view = snapshot.plugin("plugin-777").expect("it is registered");
    group.bench_function(BenchmarkId::new("iterate", "hour"), |b| {
        b.iter(|| {
            let samples = view.history(Window::All);
            samples.filter_map(|sample| sample.memory_bytes).sum::<u64>()
        });
    });
    // A day is packed, except for its newest hour.
    let day = Full::new(10, DAY);
    let snapshot = day.sim.snapshot();
    let view = snapshot.plugin("plugin-7").expect("it is registered");
    group.bench_function(BenchmarkId::new("iterate", "day"), |b| {
        b.iter(|| {
            let samples = view.history(Window::All);
            samples.filter_map(|sample| sample.memory_bytes).sum::<u64>()
        });
    });
    group.bench_function(BenchmarkId::new("points", "day"), |b| {
        b.iter(|| black_box(&view).points(Window::All, 541));
    });
    group.bench_function(BenchmarkId::new("newest 12", "day"), |b| {
        b.iter(|| {
            let samples = view.history(Window::All).rev().take(12);
            samples.filter_map(|sample| sample.memory_bytes).sum::<u64>()
        });
    });
    group.bench_function(BenchmarkId::new("newest 12, by skip", "day"), |b| {
        b.iter(|| {
            let samples = view.history(Window::All);
            let older = samples.len() - 12;
            samples.skip(older).filter_map(|sample| sample.memory_bytes).sum::<u64>()
        });
    });
    group.finish();
}

fn aggregates(c: &mut Criterion) {
    let mut group = c.benchmark_group("aggregates");
    for (window, samples) in [("hour", HOUR), ("day", DAY)] {
        let full = Full::new(10, samples);
        let snapshot = full.sim.snapshot();
        let view = snapshot.plugin("plugin-7").expect("it is registered");
        group.bench_function(BenchmarkId::new("plugmeter", window), |b| {
            b.iter(|| black_box(&view).aggregates(Window::All));
        });
        group.bench_function(BenchmarkId::new("versions, one", window), |b| {
            b.iter(|| black_box(&view).versions(Window::All));
        });
        let columns = [0, 1].map(|column| {
            let value = |i: usize| {
                let sample = peers::peer_sample(i);
                [(sample.cpu_percent * 1_000.0) as u32, (sample.memory_bytes / 1_024) as u32]
                    [column]
            };
            (0..samples).map(value).collect::<Vec<u32>>()
        });
        group.bench_function(BenchmarkId::new("naive: sort floats", window), |b| {
            b.iter(|| columns.each_ref().map(|column| naive(black_box(column))));
        });
        group.bench_function(BenchmarkId::new("floor: sum, min, max of integers", window), |b| {
            b.iter(|| columns.each_ref().map(|column| floor(black_box(column))));
        });
    }
    group.finish();
}

/// The straightforward implementation: collect, sort, index.
fn naive(column: &[u32]) -> (f64, f64, f64, f64) {
    let mut values: Vec<f64> = column.iter().map(|&value| f64::from(value)).collect();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let avg = values.iter().sum::<f64>() / n as f64;
    (avg, values[0], values[n - 1], values[(n * 95 / 100).min(n - 1)])
}

/// One pass over contiguous values, without a percentile.
fn floor(column: &[u32]) -> (u64, u32, u32) {
    column.iter().fold((0, u32::MAX, 0), |(sum, min, max), &value| {
        (sum + u64::from(value), value.min(min), value.max(max))
    })
}

/// A plugin whose version has changed often: the runs differ within the blocks.
fn versions(c: &mut Criterion) {
    let mut group = c.benchmark_group("versions");
    for (runs, every) in [("2 runs", HOUR / 2), ("24 runs", HOUR / 24), ("720 runs", 1)] {
        let mut sim = Simulation::new(Config::default()).expect("the config is good");
        let plugin = sim.register("plugin").expect("the name is good");
        for tick in 0..HOUR {
            let run = tick / every;
            if tick % every == 0 {
                plugin.started(run as u32 + 1, ["1.0", "1.1", "2.0"][run % 3]);
            }
            plugin.events().add(10);
            let cpu_time = Duration::from_millis(25 * (tick % every) as u64);
            let memory_bytes = (10 << 20) + (tick as u64 % 37) * 4_096;
            sim.tick(|_| Usage { cpu_time, memory_bytes });
        }
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("plugin").expect("it is registered");
        group.bench_function(BenchmarkId::new("versions", runs), |b| {
            b.iter(|| black_box(&view).versions(Window::All));
        });
        group.bench_function(BenchmarkId::new("aggregates", runs), |b| {
            b.iter(|| black_box(&view).aggregates(Window::All));
        });
    }
    group.finish();
}

criterion_group!(benches, current, aggregates, versions);
criterion_main!(benches);
