//! The probes on real processes that make it hard for them: loads that know their own CPU time,
//! ends of every kind in every order, numbers that are used again, descriptors that run out,
//! `/proc` out of sight.
//!
//! What needs a process of its own, another user, or namespaces, runs in a copy of this program
//! that it starts inside of that: see `world`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod blocked_sampler;
mod crash_loops;
mod descriptors;
mod exit_table;
mod exits;
mod no_pidfds;
mod pid_reuse;
mod readings;
mod sampler_gate;
mod test_child;
mod unreadable;
