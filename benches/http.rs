//! The API, from a request to a body, without a network.
//!
//! The lower bound ("floor") is the serialization of the same rows by serde from structs with all times
//! and numbers in their final form, without look-ups, findings and sums.
#![allow(missing_docs)] // criterion_group! makes a function without docs

mod peers;
mod support;

use std::hint::black_box;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use hyper::body::Body as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use plugmeter::http::{self, HttpConfig};
use plugmeter::{Reader, Window};
use serde::Serialize;
use serde_json::Value;
use support::{DAY, Full, HOUR};
use tokio::runtime::{Builder, Runtime};

/// The router, which is called in this thread.
struct Service {
    runtime: Runtime,
    service: TowerToHyperService<Router>,
}

impl Service {
    fn new(reader: Reader) -> Self {
        let router = http::router(reader, HttpConfig::default()).expect("the config is good");
        let runtime = Builder::new_current_thread().build().expect("a runtime without I/O");
        Self { runtime, service: TowerToHyperService::new(router) }
    }

    /// Returns the length of the body.
    fn get(&self, target: &str) -> u64 {
        self.get_in(target, "identity")
    }

    /// Returns the length of the body in this content coding.
    fn get_in(&self, target: &str, coding: &str) -> u64 {
        self.body_in(target, coding).size_hint().exact().expect("the body is there")
    }

    /// Returns the number of points in the history of the response.
    fn points(&self, target: &str) -> usize {
        let body = to_bytes(self.body(target), usize::MAX);
        let body = self.runtime.block_on(body).expect("the body is there");
        let document: Value = serde_json::from_slice(&body).expect("it is JSON");
        document["history"].as_array().expect("it has a history").len()
    }

    fn body(&self, target: &str) -> Body {
        self.body_in(target, "identity")
    }

    fn body_in(&self, target: &str, coding: &str) -> Body {
        let request = Request::get(target).header("host", "localhost");
        let request = request.header("accept-encoding", coding).body(Body::empty());
        let response = self.service.call(request.expect("the request is valid"));
        let response = self.runtime.block_on(response).expect("it is infallible");
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body()
    }
}

#[derive(Serialize)]
struct Row {
    timestamp: String,
    plugin_name: String,
    version: String,
    pid: u32,
    state: &'static str,
    cpu_percent: f64,
    memory_mb: f64,
    uptime_seconds: f64,
    event_count: u64,
    crash_count: u64,
    status: &'static str,
    state_since: String,
    read_error: Option<String>,
    last_crash: Option<String>,
    restart_count: u64,
    crashes_in_window: u64,
    events_per_second: f64,
}

#[derive(Serialize)]
struct Point {
    timestamp: String,
    cpu_percent: f64,
    cpu_average: f64,
    memory_mb: f64,
    event_count: u64,
    crash_count: u64,
    state: &'static str,
    run: u64,
}

const TIME: &str = "2026-11-24T12:34:56.789Z";

fn rows(plugins: usize) -> Vec<Row> {
    let row = |i: usize| Row {
        timestamp: TIME.to_owned(),
        plugin_name: peers::name(i),
        version: "1.0".to_owned(),
        pid: i as u32 + 1,
        state: "RUNNING",
        cpu_percent: 12.34,
        memory_mb: 34.56,
        uptime_seconds: 3_600.12,
        event_count: 0,
        crash_count: 0,
        status: "ok",
        state_since: TIME.to_owned(),
        read_error: None,
        last_crash: None,
        restart_count: 0,
        crashes_in_window: 0,
        events_per_second: 0.0,
    };
    (0..plugins).map(row).collect()
}

fn points(points: usize) -> Vec<Point> {
    let point = |i: usize| Point {
        timestamp: TIME.to_owned(),
        cpu_percent: 12.34 + i as f64,
        cpu_average: 10.12,
        memory_mb: 34.56,
        event_count: 0,
        crash_count: 0,
        state: "RUNNING",
        run: 1,
    };
    (0..points).map(point).collect()
}

/// All plugins, with a new revision for each request, and with the same revision for all requests.
fn metrics(c: &mut Criterion) {
    let mut group = c.benchmark_group("http_metrics");
    for plugins in [10, 1_000] {
        let mut full = Full::new(plugins, HOUR);
        let service = Service::new(full.sim.reader());
        group.bench_function(BenchmarkId::new("new revision", plugins), |b| {
            b.iter_batched(
                || full.tick(),
                |()| black_box(service.get("/api/metrics")),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("same revision", plugins), |b| {
            b.iter(|| black_box(service.get("/api/metrics")));
        });
        let rows = rows(plugins);
        group.bench_function(BenchmarkId::new("floor: serde alone", plugins), |b| {
            b.iter(|| black_box(serde_json::to_vec(&rows).expect("rows are JSON").len()));
        });
    }
    group.finish();
}

/// The page of all plugins and the exposition, compressed and not, with a new revision for each
/// request, and with the same revision for all requests.
fn gzip(c: &mut Criterion) {
    let mut group = c.benchmark_group("http_gzip");
    for (label, target) in [("page", "/"), ("exposition", "/metrics")] {
        for plugins in [10, 1_000] {
            let mut full = Full::new(plugins, HOUR);
            let service = Service::new(full.sim.reader());
            for coding in ["identity", "gzip"] {
                let id = BenchmarkId::new(format!("{label}, {coding}, new revision"), plugins);
                group.bench_function(id, |b| {
                    b.iter_batched(
                        || full.tick(),
                        |()| black_box(service.get_in(target, coding)),
                        BatchSize::PerIteration,
                    );
                });
                let id = BenchmarkId::new(format!("{label}, {coding}, same revision"), plugins);
                group.bench_function(id, |b| {
                    b.iter(|| black_box(service.get_in(target, coding)));
                });
            }
        }
    }
    group.finish();
}

/// One of a hundred plugins, with its history in 720 points.
fn plugin(c: &mut Criterion) {
    let mut group = c.benchmark_group("http_plugin");
    for (label, samples) in [("hour", HOUR), ("day", DAY)] {
        let full = Full::new(100, samples);
        let service = Service::new(full.sim.reader());
        let target = format!("/api/plugin?name={}", peers::name(7));
        let snapshot = full.sim.snapshot();
        let view = snapshot.plugin(&peers::name(7)).expect("it is registered");
        assert_eq!(view.history(Window::All).len(), samples);
        group.bench_function(BenchmarkId::new("720 points at most", label), |b| {
            b.iter(|| black_box(service.get(&target)));
        });
        group.bench_function(BenchmarkId::new("of it: the samples, one by one", label), |b| {
            b.iter(|| {
                view.history(Window::All).filter_map(|sample| sample.cpu_percent).sum::<f64>()
            });
        });
        let points = points(service.points(&target));
        group.bench_function(BenchmarkId::new("floor: serde alone", label), |b| {
            b.iter(|| black_box(serde_json::to_vec(&points).expect("points are JSON").len()));
        });
    }
    group.finish();
}

criterion_group!(benches, metrics, gzip, plugin);
criterion_main!(benches);
