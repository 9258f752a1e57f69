//! The rule on a made-up kernel.

mod cases;
mod charges;
mod cost;
mod driver;
mod edges;
mod identity;
mod kernel;
mod last_times;
mod moves;
mod oracle;
mod registration;
mod room;
