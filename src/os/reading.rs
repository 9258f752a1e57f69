//! What the operating system reported about a process.

use crate::history::units::{CpuTime, ResidentBytes};
use crate::sync::command::ChildReading;
use crate::time::MonoNanos;

/// The raw values of one process at one time. Each may be unknown by itself: a sandbox may refuse
/// one source and allow another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Taken beside the CPU time, not once for all processes.
    pub at: MonoNanos,
    /// Since the process started; it only grows while the process lives.
    pub cpu_time: Option<CpuTime>,
    pub resident: Option<ResidentBytes>,
    /// The largest resident size since the process started. `None`: not checked.
    pub peak: Option<ResidentBytes>,
    /// Whether the process is stopped by a signal or a debugger. `None`: not checked.
    pub is_suspended: Option<bool>,
}

impl Reading {
    /// A reading of CPU time and memory.
    pub(crate) const fn new(
        at: MonoNanos,
        cpu_time: CpuTime,
        resident: Option<ResidentBytes>,
    ) -> Self {
        Self { at, cpu_time: Some(cpu_time), resident, peak: None, is_suspended: None }
    }
}

impl From<ChildReading> for Reading {
    fn from(ChildReading { at, cpu_time, .. }: ChildReading) -> Self {
        Self::new(at, cpu_time, None)
    }
}

/// The raw values of a process tree, at the time of its process's [`Reading`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeReading {
    /// CPU time of the descendants since the process started, also of those that have ended.
    pub others_cpu: CpuTime,
    /// Sum over the living processes, the process itself included; `None` if one is unknown.
    pub resident: Option<ResidentBytes>,
    /// Living processes, the process itself included.
    pub processes: u32,
}
