//! The definitions in simulated time: counters, states, crashes, aggregates, history, formats; and the
//! texts of errors and of `Debug`.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod error_messages;
#[cfg(unix)]
mod event_kinds;
#[cfg(unix)]
mod fixtures;
#[cfg(unix)]
mod formats;
#[cfg(unix)]
mod history;
#[cfg(unix)]
mod notifications;
#[cfg(unix)]
mod queries;
#[cfg(unix)]
mod reports;
#[cfg(unix)]
mod runs;
#[cfg(unix)]
mod trees;
#[cfg(unix)]
mod versions;
mod views;
