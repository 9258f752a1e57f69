//! The pids in folders of `/proc`.

use std::fs::File;
use std::io::{self, Read as _};

use rustix::fs::RawDir;
use rustix::io::Errno;

use crate::os::linux::fds::{FdBudget, OpenError};
use crate::os::linux::proc_path::ProcPath;
use crate::os::pid::exists;
use crate::os::procfs;

/// Larger than a page, which is the most that one read of `children` returns, and enough for a
/// thousand entries of a folder at once.
const BUFFER_BYTES: usize = 32 * 1024;

/// Walks through the threads of a process for its children: if a thread ends meanwhile, its children
/// may have moved to a thread that was read already.
const ATTEMPTS: usize = 3;

/// Lists pids, with buffers that are kept.
#[derive(Debug, Default)]
pub(super) struct Listing {
    bytes: Vec<u8>,
    threads: Vec<u32>,
}

/// Why the children of a thread are unknown.
enum NoChildren {
    /// The thread has ended.
    ThreadEnded,
    /// There is no such file, it cannot be read, or it is too long.
    NotListed,
}

impl Listing {
    /// Appends the numeric names in a folder.
    fn numbers(
        &mut self,
        budget: &mut FdBudget,
        folder: &ProcPath,
        numbers: &mut Vec<u32>,
    ) -> Result<(), OpenError> {
        let folder = budget.with_reserve_fd(|| Ok(File::open(folder)?))?;
        self.bytes.clear();
        self.bytes.reserve(BUFFER_BYTES);
        let mut entries = RawDir::new(&folder, self.bytes.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(io::Error::from)?;
            numbers.extend(procfs::number(entry.file_name().to_bytes()));
        }
        Ok(())
    }

    /// Appends the pids of all processes.
    pub(super) fn processes(
        &mut self,
        budget: &mut FdBudget,
        pids: &mut Vec<u32>,
    ) -> Result<(), OpenError> {
        self.numbers(budget, &ProcPath::root(), pids)
    }

    /// Appends the children of all threads of a process: `false` if they cannot be listed.
    ///
    /// The kernel lists children by the thread that has created them (proc(5), `CONFIG_PROC_CHILDREN`).
    pub(super) fn children(
        &mut self,
        budget: &mut FdBudget,
        pid: u32,
        pids: &mut Vec<u32>,
    ) -> bool {
        let len = pids.len();
        for _ in 0..ATTEMPTS {
            pids.truncate(len);
            let mut threads = std::mem::take(&mut self.threads);
            threads.clear();
            let listed = self.numbers(budget, &ProcPath::of_process(pid, "task"), &mut threads);
            let mut read = Ok(());
            for &thread in &threads {
                read = self.children_of_thread(budget, pid, thread, pids);
                if read.is_err() {
                    break;
                }
            }
            self.threads = threads;
            match (listed, read) {
                (Ok(()), Ok(())) => return true,
                // A process that has exited has no children.
                (Err(_), _) => return !exists(pid),
                (Ok(()), Err(NoChildren::ThreadEnded)) => {}
                (Ok(()), Err(NoChildren::NotListed)) => break,
            }
        }
        pids.truncate(len);
        false
    }

    fn children_of_thread(
        &mut self,
        budget: &mut FdBudget,
        pid: u32,
        thread: u32,
        pids: &mut Vec<u32>,
    ) -> Result<(), NoChildren> {
        let path = ProcPath::children(pid, thread);
        let opened = budget.with_reserve_fd(|| Ok(File::open(&path)?));
        let mut file = opened.map_err(|_| Self::cause(thread))?;
        self.bytes.resize(BUFFER_BYTES, 0);
        let mut buffer = [0; 1];
        let is_ended = |error: io::Error| error.raw_os_error() == Some(Errno::SRCH.raw_os_error());
        let read =
            |error| if is_ended(error) { NoChildren::ThreadEnded } else { NoChildren::NotListed };
        let len = file.read(&mut self.bytes).map_err(read)?;
        // The kernel finds the place of a second read by counting, and the list may have changed:
        // then it would leave out living children.
        if len > 0 && file.read(&mut buffer).map_err(read)? > 0 {
            return Err(NoChildren::NotListed);
        }
        pids.extend(procfs::pids(&self.bytes[..len]));
        Ok(())
    }

    fn cause(thread: u32) -> NoChildren {
        if exists(thread) { NoChildren::NotListed } else { NoChildren::ThreadEnded }
    }
}
