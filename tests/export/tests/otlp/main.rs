//! The feature `otlp`: requests are decoded with the published schema.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod decoded;
mod delivery;
mod ends;
mod limits;
mod names;
mod random;
mod receivers;

use std::time::Duration;

use plugmeter::otlp::Encoder;
use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, Snapshot};

use crate::decoded::Decoded;

fn config() -> Config {
    Config::default().poll_interval(Duration::from_secs(1))
}

fn usage(millis: u64, memory_bytes: u64) -> Usage {
    Usage { cpu_time: Duration::from_millis(millis), memory_bytes }
}

fn encoder() -> Encoder {
    Encoder::new([("service.name", "bot"), ("service.instance.id", "bot-1")])
}

/// A simulation with these plugins, each with a process whose pid is its position from 1 on.
fn running(names: &[&str]) -> (Simulation, Vec<plugmeter::Plugin>) {
    let mut sim = Simulation::new(config()).unwrap();
    let plugins: Vec<_> = names.iter().map(|name| sim.register(name).unwrap()).collect();
    for (pid, plugin) in (1..).zip(&plugins) {
        plugin.started(pid, "1.0");
    }
    sim.advance(Duration::from_millis(1));
    (sim, plugins)
}

/// Encodes and acknowledges until nothing is left, and returns all requests.
fn deliver(encoder: &mut Encoder, snapshot: &Snapshot) -> Vec<Decoded> {
    let mut requests = Vec::new();
    while let Some(request) = encoder.encode(snapshot) {
        requests.push(Decoded::of(request.body()));
        encoder.acknowledge(request);
    }
    requests
}
