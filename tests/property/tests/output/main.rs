//! Every output, for extreme numbers, hostile names and arbitrary headers.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod exposition;
mod hostile_names;
mod numeric_limits;
