//! The feature `opentelemetry` with the SDK of OpenTelemetry.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod capture;
mod collections;
mod names;
mod registrations;

use std::time::Duration;

use plugmeter::Config;
use plugmeter::testing::Usage;

fn config() -> Config {
    Config::default().poll_interval(Duration::from_secs(5))
}

fn usage(millis: u64, memory_bytes: u64) -> Usage {
    Usage { cpu_time: Duration::from_millis(millis), memory_bytes }
}
