//! Findings, judged on lives of made-up plugins whose truth is known, and on recordings of real programs.
//!
//! The short form runs in the suite, with the bars loosened by half. `PLUGMETER_LIVES=SEED` runs the long
//! form with that seed and the bars themselves, and prints the figures with `--nocapture`:
//! `PLUGMETER_LIVES=90210 cargo test --release --features testing --test findings lives:: -- --nocapture
//! --test-threads 1`. No constant of the judgement was chosen by the seeds from 90,000 on.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod host;
mod lives;
mod properties;
mod recordings;
