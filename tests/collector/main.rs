//! The collector: its behavior on real child processes with each probe of this build, races between
//! many threads or collectors, the process-wide collector, and hosts' loggers.
//!
//! `PLUGMETER_ROUNDS` sets the number of rounds of each race.
#![allow(clippy::unwrap_used)] // a test fails by panicking

#[cfg(unix)]
mod children;
mod freshness;
mod global;
#[cfg(unix)]
mod lifecycle;
mod logger;
#[cfg(unix)]
mod notifications;
#[cfg(unix)]
mod publication;
#[cfg(unix)]
mod races;
#[cfg(unix)]
mod runs;
#[cfg(unix)]
mod sampling;
