//! The screens of `top`, drawn into a buffer in simulated time.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // in a test, a panic is the failure

mod graphs;
mod keys;
mod names;
mod screens;
mod test_host;
mod texts;
