//! The cost of a tick without the operating system: recording a sample of every plugin, and publishing.
//! Compared with straightforward implementations.
#![allow(missing_docs)] // criterion_group! makes a function without docs

mod peers;
mod support;

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use peers::{Cloned, Locked};
use support::{DAY, Full, HOUR};

fn tick(c: &mut Criterion) {
    let mut group = c.benchmark_group("tick");
    group.sample_size(20);
    for plugins in [10, 1_000, 10_000] {
        let mut windows = vec![("plugmeter", HOUR)];
        // A day of 10,000 plugins takes 3.5 GB, and the result for 1,000 is the same.
        if plugins <= 1_000 {
            windows.push(("plugmeter, a day", DAY));
        }
        for (name, samples) in windows {
            let mut full = Full::new(plugins, samples);
            group.bench_function(BenchmarkId::new(name, plugins), |b| b.iter(|| full.tick()));
            // The tick that seals thirty frames into a block, measured alone.
            let regrouping = format!("{name}, the slowest of thirty");
            group.bench_function(BenchmarkId::new(regrouping, plugins), |b| {
                b.iter_custom(|iterations| {
                    (0..iterations).map(|_| slowest_of_thirty(&mut full)).sum::<Duration>()
                });
            });
        }
        // In a day, a block of 120 ticks is packed every 120 ticks, which an hour has no need to: the
        // slowest tick of such a period.
        for (name, samples) in [("an hour", HOUR), ("a day", DAY)] {
            if plugins > 1_000 {
                continue;
            }
            let mut full = Full::new(plugins, samples);
            let name = format!("plugmeter, {name}, the slowest of 120");
            group.bench_function(BenchmarkId::new(name, plugins), |b| {
                b.iter_custom(|iterations| {
                    (0..iterations).map(|_| slowest_of_period(&mut full)).sum::<Duration>()
                });
            });
        }
        let locked = Locked::full(plugins, HOUR);
        let mut ticks = 0..;
        group.bench_function(BenchmarkId::new("RwLock<HashMap<_, VecDeque>>", plugins), |b| {
            b.iter(|| locked.tick(ticks.next().unwrap_or(0)));
        });
        let cloned = Cloned::full(plugins, HOUR);
        group.bench_function(BenchmarkId::new("ArcSwap<HashMap>, cloned", plugins), |b| {
            b.iter(|| cloned.tick(ticks.next().unwrap_or(0)));
        });
    }
    group.finish();
}

/// Returns the duration of the slowest of thirty ticks.
fn slowest_of_thirty(full: &mut Full) -> Duration {
    let one = |_| {
        let start = Instant::now();
        full.tick();
        start.elapsed()
    };
    (0..30).map(one).max().unwrap_or_default()
}

/// Returns the duration of the slowest of 120 consecutive ticks. Each is measured in five periods, of
/// which the fastest counts: what remains is the tick's own work, without preemption.
fn slowest_of_period(full: &mut Full) -> Duration {
    let mut fastest = [Duration::MAX; 120];
    for _ in 0..5 {
        for fastest in &mut fastest {
            let start = Instant::now();
            full.tick();
            *fastest = start.elapsed().min(*fastest);
        }
    }
    fastest.into_iter().max().unwrap_or_default()
}

criterion_group!(benches, tick);
criterion_main!(benches);
