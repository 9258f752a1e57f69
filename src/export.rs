//! Exporters for other programs: each behind a feature, and built on readers and the public queries
//! of snapshots only.

mod catalog;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "opentelemetry")]
pub mod opentelemetry;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(feature = "prometheus")]
pub mod prometheus;
#[cfg(any(feature = "opentelemetry", feature = "otlp"))]
mod registration;
