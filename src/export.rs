//! What other programs read. Each is behind a feature, and built on what the crate shows to
//! everyone: a reader and its snapshots.

#[cfg(feature = "http")]
pub mod http;
pub mod prometheus;
