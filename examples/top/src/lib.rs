//! The six demo plugins, or processes of yours, in a terminal.
//!
//! ```sh
//! cargo run --release -p plugmeter-top
//! cargo run --release -p plugmeter-top -- --interval 5 shell=$$
//! ```
//!
//! `facts.rs` derives what is shown of a plugin, as a pure function of a snapshot. `app.rs` is the
//! state that keys change. `screen.rs` and the modules that it calls draw both into a buffer, and
//! are tested without a terminal. Only `run.rs`, `terminal.rs` and `signals.rs` use the terminal,
//! the clock and the process.

#![allow(missing_docs)] // a program: its modules are public for its tests

pub mod app;
mod arguments;
pub mod chart;
pub mod detail;
pub mod facts;
mod run;
pub mod screen;
mod signals;
pub mod style;
pub mod table;
mod terminal;
pub mod text;
pub mod verdict;

pub use crate::run::run;
