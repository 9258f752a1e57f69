//! What the operating system may do to a host, done to it: no thread to be had, no descriptors, a
//! wall clock that somebody sets, a process that is stopped and goes on.
//!
//! Each runs in a process of its own, so that it can be done in earnest: see `world`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod foreign_proc;
mod history;
mod pauses;
mod start;
mod wall_clock;
