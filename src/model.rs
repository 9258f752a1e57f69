//! Values: what is sampled, kept and answered. No thread, no clock, no I/O, no atomics.

pub(crate) mod aggregates;
pub(crate) mod block;
pub(crate) mod frame;
pub(crate) mod history;
pub(crate) mod json;
pub(crate) mod problem;
pub(crate) mod reading;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod sample;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod system;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod timeline;
pub(crate) mod view;

/// MB of 1,048,576 bytes.
#[allow(clippy::cast_precision_loss)] // exact up to 2^53 bytes, and rounded for people anyway
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
