//! What the operating system may do to a host, done to it: no thread to be had, no descriptors, a
//! wall clock that somebody sets, a process that is stopped and goes on.
//!
//! Each runs in a process of its own, so that it can be done in earnest: see `world`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

mod support;

#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/history.rs"]
mod history;
#[path = "faults/limits.rs"]
mod limits;
#[path = "faults/logger.rs"]
mod logger;
#[path = "faults/pauses.rs"]
mod pauses;
#[path = "faults/proc.rs"]
mod proc;
#[path = "support/world.rs"]
mod world;
