//! The probes on difficult real processes: loads with a known CPU time, exits of every kind in
//! every order, reused PIDs, too few descriptors, an unreadable `/proc`.
//!
//! Tests that need a process of their own, another user or namespaces start a copy of this program
//! there: see `isolated_process`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod blocked_sampler;
mod cgroups;
mod children;
mod crash_loops;
mod descriptors;
mod exit_table;
mod exits;
mod groups;
mod interruptions;
mod no_pidfds;
mod oom_kills;
mod orphans;
mod peak_memory;
mod pid_reuse;
mod readings;
mod reaped_elsewhere;
mod refused_clocks;
mod sampler_gate;
mod seccomp;
mod test_child;
mod trees;
mod unreadable;
