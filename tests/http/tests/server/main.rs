//! The feature `http`: every route and parameter, rejected requests, the router in a host's own
//! server, the server behind other proxies, start and stop, and the host's signals.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod base_path;
mod compression;
mod downloads;
mod events;
#[cfg(target_os = "linux")]
mod fork;
mod mounted;
mod notifications;
#[cfg(unix)]
mod prometheus;
mod public_api;
mod rejections;
mod reverse_proxy;
mod routes;
#[cfg(target_os = "linux")]
mod signals;
mod startup;
mod stored;

use std::time::Duration;

use plugmeter::Config;
use plugmeter::testing::{Simulation, Usage};

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// A simulation that ticks every five seconds and keeps an hour.
fn simulation() -> Simulation {
    Simulation::new(Config::default()).unwrap()
}

/// Usage of a fifth of a core.
fn usage(tick: u64) -> Usage {
    Usage { cpu_time: SECONDS(tick), memory_bytes: (tick + 1) << 20 }
}
