//! The cost of subscribers and of waiting readers for the sampler: a tick and the publication of a
//! change without them, with one that sleeps, and with one that reads.
#![allow(missing_docs)] // criterion_group! makes a function without docs

mod peers;
mod support;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use criterion::{Criterion, criterion_group, criterion_main};
use event_listener::Event;
use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, Limit, LimitMetric, Limits, PluginState};
use support::{Full, HOUR};

/// A tick of plugins of which none changes.
fn tick(c: &mut Criterion) {
    let mut group = c.benchmark_group("notify/tick of 1,000 plugins");
    group.sample_size(20);
    let mut full = Full::new(1_000, HOUR);
    group.bench_function("no subscriber", |b| b.iter(|| full.tick()));
    let sleeping = full.sim.subscribe();
    group.bench_function("a sleeping subscriber", |b| b.iter(|| full.tick()));
    drop(sleeping);
    let _sleeping: Vec<_> = (0..100).map(|_| full.sim.subscribe()).collect();
    group.bench_function("100 sleeping subscribers", |b| b.iter(|| full.tick()));
    group.finish();
}

/// A pass that applies one report, publishes it, and sends one notification.
fn change(c: &mut Criterion) {
    let mut group = c.benchmark_group("notify/change of a state");
    let run = |b: &mut criterion::Bencher<'_>, sim: &mut Simulation| {
        let plugin = sim.register("dice").or_else(|_| sim.register("8ball")).expect("it is free");
        let states = [PluginState::Running, PluginState::Unhealthy];
        let mut next = states.into_iter().cycle();
        b.iter(|| {
            plugin.set_state(next.next().expect("it has no end"));
            sim.advance(Duration::ZERO);
        });
        plugin.remove();
        sim.advance(Duration::ZERO);
    };
    let new = || Simulation::new(Config::default()).expect("the config is good");
    group.bench_function("no subscriber, no waiting reader", |b| run(b, &mut new()));
    group.bench_function("a sleeping subscriber, its queue full", |b| {
        let mut sim = new();
        let _sleeping = sim.subscribe();
        run(b, &mut sim);
    });
    for subscribers in [1, 100] {
        // They are given what was sent between two measurements, so that their queues have room.
        let name = format!("{subscribers} subscribers that read");
        group.bench_function(&name, |b| {
            let mut sim = new();
            let subscriptions: Vec<_> = (0..subscribers).map(|_| sim.subscribe()).collect();
            let plugin = sim.register("dice").expect("it is free");
            let mut state = PluginState::Running;
            let mut change = |sim: &mut Simulation| {
                state = match state {
                    PluginState::Running => PluginState::Unhealthy,
                    _ => PluginState::Running,
                };
                plugin.set_state(state);
                sim.advance(Duration::ZERO);
            };
            b.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                for _ in 0..iterations {
                    let start = Instant::now();
                    change(&mut sim);
                    spent += start.elapsed();
                    for subscription in &subscriptions {
                        while subscription.try_recv().is_ok() {}
                    }
                }
                spent
            });
        });
    }
    group.bench_function("a waiting reader", |b| {
        let mut sim = new();
        let reader = sim.reader();
        let waiting = thread::spawn(move || {
            let mut seen = reader.snapshot();
            while let Some(newer) = reader.wait_for_newer(&seen, Duration::from_secs(3_600)) {
                seen = newer;
            }
        });
        run(b, &mut sim);
        drop(sim);
        waiting.join().expect("it does not panic");
    });
    group.finish();
}

/// A tick of plugins with two limits each.
fn limits(c: &mut Criterion) {
    let mut group = c.benchmark_group("notify/tick of 1,000 plugins with limits");
    group.sample_size(20);
    let two = Limits::default()
        .rule(Limit::new(LimitMetric::CpuPercent, 80.0))
        .rule(Limit::new(LimitMetric::MemoryMb, 512.0));
    for (name, limits) in [("none", Limits::default()), ("two each", two)] {
        let config = Config::default().history_duration(Duration::from_secs(300)).limits(limits);
        let mut sim = Simulation::new(config).expect("the config is good");
        for i in 0..1_000u32 {
            sim.register(&i.to_string()).expect("it is free").started(i + 1, "");
        }
        let usage = Usage { cpu_time: Duration::ZERO, memory_bytes: 1 << 20 };
        (0..200).for_each(|_| sim.tick(|_| usage));
        group.bench_function(name, |b| b.iter(|| sim.tick(|_| usage)));
    }
    group.finish();
}

/// The publication alone: the exchange of a pointer that readers load, with and without the notification
/// of readers that wait, of which there are none.
fn publication(c: &mut Criterion) {
    let mut group = c.benchmark_group("notify/publication");
    let values = [Arc::new(1u64), Arc::new(2)];
    let published = ArcSwap::new(Arc::clone(&values[0]));
    let mut next = values.iter().cycle();
    let mut swap = || published.swap(Arc::clone(next.next().expect("it has no end")));
    group.bench_function("exchange", |b| b.iter(&mut swap));
    let changed = Event::new();
    group.bench_function("exchange, and notify nobody", |b| {
        b.iter(|| {
            let old = swap();
            changed.notify(usize::MAX);
            old
        });
    });
    group.finish();
}

criterion_group!(benches, tick, change, limits, publication);
criterion_main!(benches);
