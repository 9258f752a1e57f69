//! Exporters for other programs: each behind a feature, and built on readers and the public queries
//! of snapshots only.

#[cfg(feature = "http")]
pub mod http;
pub mod prometheus;
