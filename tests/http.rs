//! The feature `http`: each route, each parameter, and who is refused.
#![cfg(all(feature = "http", feature = "testing"))]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

#[path = "support/client.rs"]
mod client;
#[path = "http/mounted.rs"]
mod mounted;
#[path = "http/refused.rs"]
mod refused;
#[path = "http/routes.rs"]
mod routes;
#[path = "http/started.rs"]
mod started;
mod support;

use std::time::Duration;

use plugmeter::Config;
use plugmeter::testing::{Simulation, Usage};

/// Names that mean something to whatever they are put into unescaped.
const HOSTILE: [&str; 9] = [
    "..",
    "a/b?c=d&e#f",
    "100%",
    "50%41 + 1",
    "<script>alert(1)</script>",
    "\"quoted\" 'name' \\ `x`",
    "</td></table>&amp;&lt;",
    "ü 名前 \u{202e}rtl \u{2028}",
    "{{ name }} {% x %}",
];

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// Ticks every five seconds, for an hour.
fn simulation() -> Simulation {
    Simulation::new(Config::default()).unwrap()
}

/// What a process has used that keeps a fifth of a core busy.
fn usage(tick: u64) -> Usage {
    Usage { cpu_time: SECONDS(tick), memory_bytes: (tick + 1) << 20 }
}
