//! What the example `top` draws, in simulated time: its modules are those of the example.
#![cfg(all(feature = "testing", unix))]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

#[path = "../examples/top/app.rs"]
mod app;
#[path = "../examples/top/chart.rs"]
mod chart;
#[path = "../examples/top/detail.rs"]
mod detail;
#[path = "../examples/top/facts.rs"]
mod facts;
#[path = "../examples/top/screen.rs"]
mod screen;
#[path = "../examples/top/style.rs"]
mod style;
#[path = "../examples/top/table.rs"]
mod table;
#[path = "../examples/top/text.rs"]
mod text;
#[path = "../examples/top/verdict.rs"]
mod verdict;

#[path = "top/graphs.rs"]
mod graphs;
#[path = "top/keys.rs"]
mod keys;
#[path = "top/names.rs"]
mod names;
#[path = "top/screens.rs"]
mod screens;
#[path = "top/texts.rs"]
mod texts;
#[path = "top/world.rs"]
mod world;
