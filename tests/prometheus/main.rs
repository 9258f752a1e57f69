//! The feature `prometheus`: pages against golden files and a strict parser, and as other programs
//! read them.
//!
//! `UPDATE_GOLDEN=1` rewrites the golden files.
#![cfg(feature = "prometheus")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

#[cfg(feature = "testing")]
mod exposition;
#[cfg(unix)]
mod tools;
