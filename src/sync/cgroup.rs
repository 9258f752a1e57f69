//! A cgroup that the host names: opened on its thread, read by the sampler.

use std::fmt;
use std::io;

use crate::history::units::CpuTime;
use crate::time::MonoNanos;

/// An open cgroup. The operating system implements it.
pub(crate) trait CgroupReader: fmt::Debug + Send {
    /// Reads the CPU time of all processes that are or were in the cgroup and below it.
    fn read(&self) -> Result<CgroupReading, CgroupReadError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CgroupReading {
    pub at: MonoNanos,
    /// Since the cgroup was created.
    pub cpu_time: CpuTime,
}

/// Why there is no reading.
#[allow(dead_code)] // only the native probe reads cgroups
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CgroupReadError {
    /// The cgroup was removed.
    Gone,
    Io(io::ErrorKind),
}

impl fmt::Display for CgroupReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("it was removed"),
            Self::Io(kind) => kind.fmt(f),
        }
    }
}
