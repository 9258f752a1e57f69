//! Reads `/proc/PID/stat` by pid.

use std::io;

use rustix::io::Errno;

use crate::history::units::CpuTime;
use crate::os::linux::fds::{FdBudget, OpenError};
use crate::os::linux::proc_file::StatText;
use crate::os::linux::units::Units;
use crate::os::pid::exists;
use crate::os::procfs;
use crate::os::tree::{CommandName, ProcessStat};

/// The fields of `/proc/PID/stat` that are needed, in the units of the crate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub process: ProcessStat,
    /// A zombie without other threads. The state alone is that of the first thread.
    pub is_zombie: bool,
    pub cpu_ticks: u64,
    pub start_ticks: u64,
}

/// Why `stat` could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoStat {
    /// The process was reaped, or is being reaped.
    Reaped,
    /// No descriptor is free.
    Exhausted,
    Failed,
}

impl Stat {
    pub(super) fn read(budget: &mut FdBudget, units: Units, pid: u32) -> Result<Self, NoStat> {
        match StatText::read_with(budget, pid) {
            Ok(text) => Self::parse(text.as_ref(), units),
            Err(error) if error.is_exhausted() => Err(NoStat::Exhausted),
            // It was opened, and reaped before it was read.
            Err(OpenError::Other(error)) if is_reaped(&error) => Err(NoStat::Reaped),
            Err(_) if !exists(pid) => Err(NoStat::Reaped),
            Err(_) => Err(NoStat::Failed),
        }
    }

    fn parse(text: &[u8], units: Units) -> Result<Self, NoStat> {
        let fields = procfs::process_stat(text).ok_or(NoStat::Failed)?;
        // `X`: it is being reaped, and its parent has its CPU time already. Some fields are zero.
        if matches!(fields.state, b'X' | b'x') {
            return Err(NoStat::Reaped);
        }
        Ok(Self {
            process: ProcessStat {
                parent: fields.parent,
                group: fields.group,
                session: fields.session,
                children_cpu: CpuTime::from(units.ticks_to_time(fields.children_ticks)),
                name: CommandName::new(fields.name),
            },
            is_zombie: fields.state == b'Z' && fields.threads <= 1,
            cpu_ticks: fields.cpu_ticks,
            start_ticks: fields.start_ticks,
        })
    }
}

/// Whether a read from a held file has failed because its process was reaped.
pub(super) fn is_reaped(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}
