//! Failures of the operating system that a host may see: no thread, no descriptors, a changed wall
//! clock, a process that is stopped and continued, or that waits for signals.
//!
//! Each test runs in a process of its own and causes the failure there: see `isolated_process`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod foreign_proc;
mod history;
mod pauses;
mod signals;
mod start;
mod wall_clock;
