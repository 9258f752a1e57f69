//! The pid that was assigned last.
//!
//! The kernel assigns pids in ascending order, to processes and to threads, and begins again after
//! the largest (`alloc_pid` in kernel/pid.c). Two files report the last one in the PID namespace of
//! the reader: the fifth field of `/proc/loadavg` (proc(5)), and `/proc/sys/kernel/ns_last_pid`
//! (Documentation/admin-guide/sysctl/kernel.rst), which exists with `CONFIG_CHECKPOINT_RESTORE`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::thread;

use crate::os::procfs;
use crate::os::signals::BlockSignals;

/// A file that reports the last pid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub path: &'static str,
    pub parse: fn(&[u8]) -> Option<u32>,
}

/// The cheaper one first.
pub(super) const SOURCES: [Source; 2] = [
    Source { path: "/proc/loadavg", parse: procfs::last_pid },
    Source { path: "/proc/sys/kernel/ns_last_pid", parse: procfs::number },
];

/// Assignments that a source must report. Two, because a file that is updated from time to time may
/// be updated during one of them.
const CHECKS: usize = 2;

/// Reads the last pid from a held file.
#[derive(Debug)]
pub(super) struct PidCursor {
    file: File,
    source: Source,
}

impl PidCursor {
    /// Finds a file that reports the last pid. `None` if there is none. An error if this cannot be
    /// determined now, because a thread or a descriptor is not available.
    pub(super) fn find() -> io::Result<Option<Self>> {
        Self::find_in(&SOURCES, assign_pid)
    }

    /// `assign` makes the kernel assign a number, and returns it.
    ///
    /// The check is necessary: lxcfs mounts a `/proc/loadavg` of its own in containers, whose fifth
    /// field is another number and changes every few seconds.
    pub(super) fn find_in(
        sources: &[Source],
        mut assign: impl FnMut() -> io::Result<u32>,
    ) -> io::Result<Option<Self>> {
        for &source in sources {
            let file = match File::open(source.path) {
                Ok(file) => file,
                Err(error) if is_missing(&error) => continue,
                Err(error) => return Err(error),
            };
            let cursor = Self { file, source };
            if cursor.follows(&mut assign)? {
                return Ok(Some(cursor));
            }
        }
        Ok(None)
    }

    fn follows(&self, assign: &mut impl FnMut() -> io::Result<u32>) -> io::Result<bool> {
        for _ in 0..CHECKS {
            let before = self.read();
            let assigned = assign()?;
            let after = self.read();
            let (Some(before), Some(after)) = (before, after) else { return Ok(false) };
            if !was_assigned_between(before, assigned, after) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `None` if the file cannot be read any more.
    pub(super) fn read(&self) -> Option<u32> {
        // Three averages of twenty digits fit.
        let mut text = [0; 128];
        let len = self.file.read_at(&mut text, 0).ok()?;
        (self.source.parse)(&text[..len])
    }

    #[cfg(test)]
    #[cfg(not(miri))]
    pub(super) const fn path(&self) -> &'static str {
        self.source.path
    }
}

/// Whether another source may be tried: the file does not exist, or may not be read.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// Whether the last pid moved past `assigned`, also from the end of a lap to the next one.
fn was_assigned_between(before: u32, assigned: u32, after: u32) -> bool {
    if before <= after {
        before < assigned && assigned <= after
    } else {
        before < assigned || assigned <= after
    }
}

/// Starts a thread that returns its id, and joins it.
fn assign_pid() -> io::Result<u32> {
    let blocked = BlockSignals::new()?;
    let thread = thread::Builder::new().name("plugmeter-pid".to_owned()).spawn(nix::unistd::gettid);
    drop(blocked);
    let pid = thread?.join().map_err(|_| io::Error::other("the thread panicked"))?;
    u32::try_from(pid.as_raw()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assigned_pid_is_between_two_readings() {
        for (before, assigned, after) in [(7, 8, 8), (7, 8, 9), (32_767, 300, 300), (900, 901, 7)] {
            assert!(was_assigned_between(before, assigned, after), "{before} {assigned} {after}");
        }
        for (before, assigned, after) in
            [(7, 7, 7), (7, 8, 7), (7, 9, 8), (7, 7, 8), (900, 300, 299)]
        {
            assert!(!was_assigned_between(before, assigned, after), "{before} {assigned} {after}");
        }
    }
}
