//! The probes on real processes that make it hard for them: loads that know their own CPU time,
//! ends of every kind in every order, numbers that are used again, descriptors that run out,
//! `/proc` out of sight.
//!
//! What needs a process of its own, another user, or namespaces, runs in a copy of this program
//! that it starts inside of that: see `world`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

mod support;

#[path = "linux/child.rs"]
mod child;
#[path = "linux/denied.rs"]
mod denied;
#[path = "linux/descriptors.rs"]
mod descriptors;
#[path = "linux/ends.rs"]
mod ends;
#[path = "linux/gate.rs"]
mod gate;
#[path = "linux/held.rs"]
mod held;
#[path = "linux/identity.rs"]
mod identity;
#[path = "linux/loops.rs"]
mod loops;
#[path = "linux/pidfds.rs"]
mod pidfds;
#[path = "linux/readings.rs"]
mod readings;
#[path = "linux/table.rs"]
mod table;
#[path = "support/world.rs"]
mod world;
