//! What the operating system reported about a process.

use crate::history::units::{CpuTime, ResidentBytes};
use crate::sync::command::ChildReading;
use crate::time::MonoNanos;

/// The raw values of one process at one time: a counter that only grows while the process lives,
/// and a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Taken beside the CPU time, not once for all processes.
    pub at: MonoNanos,
    /// Since the process started.
    pub cpu_time: CpuTime,
    /// `None` if the operating system did not report it.
    pub resident: Option<ResidentBytes>,
}

impl From<ChildReading> for Reading {
    fn from(ChildReading { at, cpu_time }: ChildReading) -> Self {
        Self { at, cpu_time, resident: None }
    }
}
