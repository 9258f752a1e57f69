//! Requests of OTLP; and rendering an exposition, compared with the official client library with the same series.
//!
//! The values of the client library are in its atomics already, so that only its encoding is measured.
//! For this crate the measurement includes all queries on the snapshot.
#![allow(missing_docs)] // criterion_group! makes a function without docs

mod peers;
mod support;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::atomic::AtomicU64;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use plugmeter::otlp::Encoder;
use plugmeter::prometheus::{self, Format};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit};
use support::Full;

/// A short history, because an exposition contains only the newest tick.
const SAMPLES: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPlugin {
    plugin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    plugin: String,
    plugin_state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVersion {
    plugin: String,
    version: String,
}

type Series = (Vec<String>, f64);

/// The series of a family in `page`.
fn series(page: &str, sample: &str) -> Vec<Series> {
    let of_family = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(sample).filter(|rest| rest.starts_with(['{', ' ']))?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let labels = labels.split('"').skip(1).step_by(2).map(str::to_owned);
        Some((labels.collect(), value.parse().ok()?))
    });
    of_family.collect()
}

/// A registry with all the families of `page`, and their values.
fn peer(page: &str) -> Registry {
    let mut registry = Registry::default();
    for line in page.lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let sample = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        add(&mut registry, name, kind, series(page, &sample));
    }
    registry
}

fn add(registry: &mut Registry, name: &str, kind: &str, all: Vec<Series>) {
    let unit = ["seconds", "bytes", "percent"].into_iter().find(|unit| name.ends_with(unit));
    let whole = unit.is_none_or(|unit| unit == "bytes");
    match (kind, whole) {
        // The library has no statesets and no families of infos: the same series as gauges.
        ("stateset", _) => {
            let family = Family::<OfState, Gauge>::default();
            for (labels, value) in all {
                let [plugin, plugin_state] = labels.try_into().expect("two labels");
                family.get_or_create(&OfState { plugin, plugin_state }).set(value as i64);
            }
            register(registry, name, unit, family);
        }
        ("info", _) if name == "plugin" => {
            let family = Family::<OfVersion, Gauge>::default();
            for (labels, value) in all {
                let [plugin, version] = labels.try_into().expect("two labels");
                family.get_or_create(&OfVersion { plugin, version }).set(value as i64);
            }
            register(registry, "plugin_info", unit, family);
        }
        ("info", _) => {
            let family = Family::<Vec<(String, String)>, Gauge>::default();
            for (labels, value) in all {
                let [version] = labels.try_into().expect("one label");
                family.get_or_create(&vec![("version".to_owned(), version)]).set(value as i64);
            }
            register(registry, "plugmeter_build_info", unit, family);
        }
        ("counter", true) => fill(registry, name, unit, all, |counter: &Counter, value| {
            counter.inc_by(value as u64);
        }),
        ("counter", false) => {
            fill(registry, name, unit, all, |counter: &Counter<f64, AtomicU64>, value| {
                counter.inc_by(value);
            });
        }
        (_, true) => fill(registry, name, unit, all, |gauge: &Gauge, value| {
            gauge.set(value as i64);
        }),
        (_, false) => fill(registry, name, unit, all, |gauge: &Gauge<f64, AtomicU64>, value| {
            gauge.set(value);
        }),
    }
}

/// A family with the label `plugin`, or a metric without labels.
fn fill<M>(
    registry: &mut Registry,
    name: &str,
    unit: Option<&str>,
    all: Vec<Series>,
    set: impl Fn(&M, f64),
) where
    M: Metric + Default + Clone,
    Family<OfPlugin, M>: Metric,
{
    if name.starts_with("plugmeter") {
        for (_, value) in all {
            let metric = M::default();
            set(&metric, value);
            register(registry, name, unit, metric);
        }
        return;
    }
    let family = Family::<OfPlugin, M>::default();
    for (mut labels, value) in all {
        let plugin = labels.pop().expect("one label");
        set(&family.get_or_create(&OfPlugin { plugin }), value);
    }
    register(registry, name, unit, family);
}

fn register(registry: &mut Registry, name: &str, unit: Option<&str>, metric: impl Metric) {
    match unit {
        Some(unit) => {
            let name = name.strip_suffix(unit).and_then(|name| name.strip_suffix('_'));
            let name = name.expect("the name ends with its unit");
            registry.register_with_unit(name, "What it is", Unit::Other(unit.to_owned()), metric);
        }
        None => registry.register(name, "What it is", metric),
    }
}

/// The series of a page, without their values.
fn names(page: &str) -> BTreeSet<&str> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series).collect()
}

fn render(c: &mut Criterion) {
    let mut group = c.benchmark_group("export");
    for plugins in [10, 1_000, 10_000] {
        let full = Full::new(plugins, SAMPLES);
        let snapshot = full.sim.snapshot();
        let page = prometheus::render(&snapshot, Format::OpenMetrics);
        group.throughput(Throughput::Bytes(page.len() as u64));
        for (name, format) in
            [("OpenMetrics", Format::OpenMetrics), ("Prometheus", Format::Prometheus)]
        {
            group.bench_function(BenchmarkId::new(name, plugins), |b| {
                b.iter(|| prometheus::render(black_box(&snapshot), format));
            });
        }
        let registry = peer(&page);
        let mut theirs = String::new();
        text::encode(&mut theirs, &registry).expect("a string takes all that is written");
        assert_eq!(names(&page), names(&theirs), "the same series");
        group.bench_function(BenchmarkId::new("prometheus-client", plugins), |b| {
            b.iter(|| {
                let mut text = String::new();
                text::encode(&mut text, black_box(&registry)).expect("as above");
                text
            });
        });
        // With the capacity for the whole page, as in this crate.
        group.bench_function(BenchmarkId::new("prometheus-client, with room", plugins), |b| {
            b.iter(|| {
                let mut text = String::with_capacity(theirs.len());
                text::encode(&mut text, black_box(&registry)).expect("as above");
                text
            });
        });
        group.bench_function(BenchmarkId::new("floor: copying the page", plugins), |b| {
            b.iter(|| black_box(&page).clone());
        });
    }
    group.finish();
}

/// A request with the newest tick, and one with the ticks that a receiver has missed in a minute of ticks.
fn otlp(c: &mut Criterion) {
    let mut group = c.benchmark_group("otlp");
    for plugins in [10, 1_000] {
        for missed in [1, 12] {
            let mut full = Full::new(plugins, SAMPLES);
            let mut encoder = Encoder::new([("service.name", "bench")]);
            while let Some(request) = encoder.encode(&full.sim.snapshot()) {
                encoder.acknowledge(request);
            }
            for _ in 0..missed {
                full.tick();
            }
            let snapshot = full.sim.snapshot();
            let request = encoder.encode(&snapshot).expect("a new tick");
            println!("{plugins} plugins: {request:?}");
            group.throughput(Throughput::Bytes(request.body().len() as u64));
            group.bench_function(BenchmarkId::new(format!("{missed} ticks"), plugins), |b| {
                b.iter(|| encoder.encode(black_box(&snapshot)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, render, otlp);
criterion_main!(benches);
