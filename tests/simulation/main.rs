//! The definitions in simulated time: counters, states, crashes, aggregates, history, formats; and the
//! texts of errors and of `Debug`.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

#[cfg(unix)]
mod definitions;
mod error_messages;
mod views;
