//! The cost of a snapshot and of one plugin's newest sample while the writer ticks without a pause.
//! Compared with a lock.
#![allow(missing_docs)] // criterion_group! makes a function without docs

mod peers;
mod support;

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use peers::Locked;
use support::{Full, HOUR};

const PLUGINS: usize = 1_000;

/// Measures `iterations` of `read` in each of `readers` threads while `write` runs without a pause.
fn under_a_writer(
    readers: usize,
    iterations: u64,
    mut write: impl FnMut() + Send,
    read: impl Fn() + Sync,
) -> Duration {
    let (done, barrier) = (AtomicBool::new(false), Barrier::new(readers + 1));
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                write();
            }
        });
        for _ in 0..readers {
            scope.spawn(|| {
                barrier.wait();
                (0..iterations).for_each(|_| read());
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        let took = start.elapsed();
        done.store(true, Ordering::Relaxed);
        writer.join().expect("the writer does not panic");
        took
    })
}

fn readers(c: &mut Criterion) {
    let mut group = c.benchmark_group("readers");
    group.sample_size(20);
    for readers in [1, 2] {
        let mut full = Full::new(PLUGINS, HOUR);
        let reader = full.sim.reader();
        group.bench_function(BenchmarkId::new("plugmeter", readers), |b| {
            b.iter_custom(|n| {
                under_a_writer(
                    readers,
                    n,
                    || full.tick(),
                    || {
                        let snapshot = reader.snapshot();
                        let view = snapshot.plugin(black_box("plugin-777"));
                        black_box(view.and_then(|view| view.current()));
                    },
                )
            });
        });
        let locked = Locked::full(PLUGINS, HOUR);
        let mut tick = 0;
        group.bench_function(BenchmarkId::new("RwLock<HashMap<_, VecDeque>>", readers), |b| {
            b.iter_custom(|n| {
                let write = || {
                    tick += 1;
                    locked.tick(tick);
                };
                under_a_writer(readers, n, write, || {
                    black_box(locked.current(black_box("plugin-777")));
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, readers);
criterion_main!(benches);
