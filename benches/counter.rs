//! The cost of counting an event, compared with a bare atomic.
#![allow(missing_docs)] // criterion_group! makes a function without docs

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use plugmeter::Config;
use plugmeter::testing::Simulation;

/// Runs `count` `iterations` times in each of two threads, and returns the duration.
fn in_two_threads(iterations: u64, count: [&(dyn Fn() + Sync); 2]) -> Duration {
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        for count in count {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                (0..iterations).for_each(|_| count());
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        start.elapsed()
    })
}

fn counter(c: &mut Criterion) {
    let mut group = c.benchmark_group("counter");
    let sim = Simulation::new(Config::default()).expect("the config is good");
    let [a, b] = ["a", "b"].map(|name| sim.register(name).expect("the name is good"));
    let kinds = ["command", "message"].map(|kind| b.event_counter(kind).expect("it is good"));
    let (a, b) = (a.events(), b.events());
    let bare = [AtomicU64::new(0), AtomicU64::new(0)];
    let add = |atomic: &AtomicU64| {
        atomic.fetch_add(1, Ordering::Relaxed);
    };
    group.bench_function(BenchmarkId::new("plugmeter", "1 thread"), |bench| {
        bench.iter(|| a.increment());
    });
    group.bench_function(BenchmarkId::new("plugmeter, a kind", "1 thread"), |bench| {
        bench.iter(|| kinds[0].increment());
    });
    group.bench_function(BenchmarkId::new("bare AtomicU64", "1 thread"), |bench| {
        bench.iter(|| add(&bare[0]));
    });
    group.bench_function(BenchmarkId::new("plugmeter", "2 threads, 2 counters"), |bench| {
        bench.iter_custom(|n| in_two_threads(n, [&|| a.increment(), &|| b.increment()]));
    });
    group.bench_function(
        BenchmarkId::new("bare AtomicU64, side by side", "2 threads, 2 counters"),
        |bench| bench.iter_custom(|n| in_two_threads(n, [&|| add(&bare[0]), &|| add(&bare[1])])),
    );
    group.bench_function(
        BenchmarkId::new("plugmeter, two kinds", "2 threads, 2 counters"),
        |bench| {
            let count = |kind: usize| kinds[kind].increment();
            bench.iter_custom(|n| in_two_threads(n, [&|| count(0), &|| count(1)]));
        },
    );
    group.bench_function(BenchmarkId::new("plugmeter", "2 threads, 1 counter"), |bench| {
        bench.iter_custom(|n| in_two_threads(n, [&|| a.increment(), &|| a.increment()]));
    });
    group.bench_function(BenchmarkId::new("bare AtomicU64", "2 threads, 1 counter"), |bench| {
        bench.iter_custom(|n| in_two_threads(n, [&|| add(&bare[0]), &|| add(&bare[0])]));
    });
    group.finish();
}

criterion_group!(benches, counter);
criterion_main!(benches);
