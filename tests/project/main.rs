//! The project itself: dependencies between its modules, and the public API.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod architecture;
#[cfg(feature = "testing")]
mod public_api;
