//! Six plugins, each a child process with its own load pattern, and the host that starts and
//! restarts them: shared by the examples `aggregates`, `dashboard`, `scrape` and by
//! `plugmeter-top`.
//!
//! `host.rs` is what a program of your own would do with plugmeter. `worker.rs` runs in the child
//! processes, `arguments.rs` reads the parts of the command line that the examples have in common.

pub mod arguments;
mod host;
mod worker;

pub use crate::host::Host;
pub use crate::worker::{Role, WORKER};
