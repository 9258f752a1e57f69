//! The feature `http`: each route, each parameter, and who is refused.
#![allow(clippy::unwrap_used)] // a test fails by panicking

#[cfg(target_os = "linux")]
mod fork;
mod mounted;
#[cfg(unix)]
mod prometheus;
mod public_api;
mod rejections;
mod routes;
mod startup;

use std::time::Duration;

use plugmeter::Config;
use plugmeter::testing::{Simulation, Usage};

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// Ticks every five seconds, for an hour.
fn simulation() -> Simulation {
    Simulation::new(Config::default()).unwrap()
}

/// What a process has used that keeps a fifth of a core busy.
fn usage(tick: u64) -> Usage {
    Usage { cpu_time: SECONDS(tick), memory_bytes: (tick + 1) << 20 }
}
