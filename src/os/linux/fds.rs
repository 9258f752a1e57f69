//! The descriptors that are held of processes, and how many.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, WaitId, WaitIdOptions, getrlimit, pidfd_open, waitid,
};

use crate::os::pid::{exists, is_thread};
use crate::snapshot::run::ProcessExit;

/// Descriptors of one process. All are close-on-exec.
#[derive(Debug)]
pub(super) struct ProcessFds {
    pub pidfd: OwnedFd,
    pub statm: File,
    /// Counted as long as it is held.
    _place: Arc<()>,
}

/// Descriptors in a [`ProcessFds`].
const EACH: u64 = 2;

/// Descriptors of the probe itself: epoll, eventfd, and the one in reserve.
const OWN: u64 = 3;

/// Opens what is held, and sees to it that the host keeps enough descriptors for itself.
#[derive(Debug)]
pub(super) struct FdBudget {
    /// As many clones of it are out as processes are held.
    places: Arc<()>,
    /// A descriptor that is given up for a moment when there is no other.
    reserve: Option<File>,
    /// Whether it was said that processes are not held.
    said: bool,
}

/// Why a process could not be opened.
#[derive(Debug)]
pub(super) enum Error {
    /// There is none of that number any more.
    Gone(ProcessExit),
    /// The number is a thread's.
    NotAProcess,
    /// There is no pidfd to be had: no descriptor, a kernel before 5.3, a sandbox that forbids it.
    NoPidfd(io::Error),
    Other(io::Error),
}

impl FdBudget {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(()), reserve: open_reserve(), said: false }
    }

    /// Whether one more process may be held: together they take half of the soft limit at most.
    pub(super) fn has_room(&self) -> bool {
        let kept = Arc::strong_count(&self.places) as u64 - 1;
        // The host may set it at any time, and asking costs a quarter of a microsecond.
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        (kept + 1) * EACH + OWN <= limit / 2
    }

    /// Opens the descriptors of the process `pid`: first the pidfd, then `statm`, so that whoever
    /// finds the pidfd alive afterwards knows that the file is that process's.
    pub(super) fn hold(&self, pid: u32) -> Result<ProcessFds, Error> {
        let pidfd = open_pidfd(pid)?;
        let statm = match File::open(format!("/proc/{pid}/statm")) {
            Ok(statm) => statm,
            Err(_) if has_ended(&pidfd) => return Err(Error::Gone(outcome(&pidfd))),
            Err(error) => return Err(Error::Other(error)),
        };
        Ok(ProcessFds { pidfd, statm, _place: Arc::clone(&self.places) })
    }

    /// Does what takes one descriptor for a moment: if there is none, in the place of the one in
    /// reserve.
    pub(super) fn with_reserve_fd<T>(
        &mut self,
        mut open: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut opened = open();
        if matches!(&opened, Err(error) if error.is_exhausted()) {
            self.reserve = None;
            opened = open();
        }
        if self.reserve.is_none() {
            self.reserve = open_reserve();
        }
        opened
    }

    /// Says, once, that processes are not held: because there is not enough room, or because of
    /// `error`.
    pub(super) fn say(&mut self, error: Option<&Error>) {
        if std::mem::replace(&mut self.said, true) {
            return;
        }
        match error {
            Some(Error::NoPidfd(error)) => log::warn!(
                "no pidfd can be had ({error}): processes are read by their numbers, and their ends \
                 found in ticks"
            ),
            Some(_) | None => log::warn!(
                "too few file descriptors to hold round2 of each process: \
                 opening them in each tick for those that find no room"
            ),
        }
    }
}

fn open_reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Error {
    /// There are no descriptors: in this process, or in the whole system.
    pub(super) fn is_exhausted(&self) -> bool {
        let (Self::NoPidfd(error) | Self::Other(error)) = self else { return false };
        let errno = error.raw_os_error();
        errno == Some(Errno::MFILE.raw_os_error()) || errno == Some(Errno::NFILE.raw_os_error())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Other(error)
    }
}

/// How it has ended can be asked of a pidfd alone.
const GONE: Error = Error::Gone(ProcessExit::Unknown);

/// The pidfd of the process `pid`.
pub(super) fn open_pidfd(pid: u32) -> Result<OwnedFd, Error> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(GONE)?;
    pidfd_open(raw, PidfdFlags::empty()).map_err(|errno| match errno {
        Errno::SRCH => GONE,
        // pidfd_open(2): the number is not that of a thread group leader. Which of the two the
        // kernel says depends on its version.
        Errno::INVAL | Errno::NOENT if is_thread(pid) => Error::NotAProcess,
        Errno::INVAL | Errno::NOENT => GONE,
        _ if !exists(pid) => GONE,
        errno => Error::NoPidfd(errno.into()),
    })
}

/// Whether the process has ended; the last of its threads, that is.
pub(super) fn has_ended(pidfd: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// How the process has ended, if it is a child of ours that was not reaped.
pub(super) fn outcome(pidfd: &OwnedFd) -> ProcessExit {
    look(WaitId::PidFd(pidfd.as_fd())).unwrap_or(ProcessExit::Unknown)
}

/// The same where there is no pidfd; `None` where it has not ended, or is no child of ours.
pub(super) fn outcome_of_child(pid: u32) -> Option<ProcessExit> {
    look(WaitId::Pid(Pid::from_raw(i32::try_from(pid).ok()?)?))
}

/// A look, without reaping it, so that the host's own `wait` is not disturbed.
fn look(id: WaitId<'_>) -> Option<ProcessExit> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(id, look).ok()??;
    Some(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ProcessExit::Exited(code),
        (None, Some(signal)) => ProcessExit::Signaled(signal),
        (None, None) => ProcessExit::Unknown,
    })
}
