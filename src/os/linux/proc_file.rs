//! Files of `/proc/PID` that are read by pid in ticks, without an allocation.

use std::fs::File;
use std::io::{self, Read as _};

use super::fds::{FdBudget, OpenError};
use super::proc_path::ProcPath;

/// The first 22 fields of `stat` have at most 560 bytes.
const STAT_BYTES: usize = 1_024;
/// The list of groups is part of `status`; a process can be in 65,536 of them.
const MAX_STATUS_BYTES: u64 = 1 << 20;

/// The beginning of `/proc/PID/stat`, with all fields that are parsed.
#[derive(Debug)]
pub(super) struct StatText {
    bytes: [u8; STAT_BYTES],
    len: usize,
}

impl StatText {
    pub(super) fn read(pid: u32) -> io::Result<Self> {
        let mut bytes = [0; STAT_BYTES];
        let len = File::open(ProcPath::of_process(pid, "stat"))?.read(&mut bytes)?;
        Ok(Self { bytes, len })
    }

    /// Like [`StatText::read`], also where no descriptor is free.
    pub(super) fn read_with(budget: &mut FdBudget, pid: u32) -> Result<Self, OpenError> {
        budget.with_reserve_fd(|| Ok(Self::read(pid)?))
    }
}

impl AsRef<[u8]> for StatText {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Reads `/proc/PID/status` into a buffer that is reused.
pub(super) fn read_status(
    budget: &mut FdBudget,
    pid: u32,
    buffer: &mut Vec<u8>,
) -> Result<(), OpenError> {
    let path = ProcPath::of_process(pid, "status");
    budget.with_reserve_fd(|| {
        buffer.clear();
        // Without the bound, the length of the file would be asked for first; it is 0.
        File::open(&path)?.take(MAX_STATUS_BYTES).read_to_end(buffer)?;
        Ok(())
    })
}
