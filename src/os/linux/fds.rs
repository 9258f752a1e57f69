//! The descriptors that are held of processes, and their budget.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, LazyLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, WaitId, WaitIdOptions, getrlimit, pidfd_open, waitid,
};

use super::pidfd_info;
use crate::os::pid::{exists, is_thread};
use crate::snapshot::run::ProcessExit;

/// The held descriptors of one process. All are close-on-exec.
#[derive(Debug)]
pub(super) struct ProcessFds {
    pub pidfd: OwnedFd,
    pub statm: File,
    /// Counts these descriptors in the budget while they are held.
    _permit: Arc<()>,
}

/// The held descriptor of one descendant of such a process.
#[derive(Debug)]
pub(super) struct MemberFd {
    pub statm: File,
    /// Counts this descriptor in the budget while it is held.
    _permit: Arc<()>,
}

/// Descriptors in a [`ProcessFds`].
const FDS_PER_PROCESS: u64 = 2;

/// Descriptors of a probe itself, at most: epoll, eventfd, and the reserve. The reading of its process trees,
/// which has a budget of its own, has the file of the pid that was assigned last, and a reserve.
const PROBE_FDS: u64 = 3;

/// The descriptors of all collectors of this process.
static PERMITS: LazyLock<Arc<Permits>> = LazyLock::new(Arc::default);

/// The share of the budget that descendants leave free, so that processes that are attached between
/// two readings of the descendants can be held at once: an eighth.
const MEMBERS_LEAVE_FREE: u64 = 8;

/// Opens descriptors of processes, and leaves enough of them to the host.
///
/// The attached processes have the first claim: their descriptors are also needed for the detection
/// of exits. Descendants use what is left, apart from a part that they keep free. When attached
/// processes use this part, each descendant that is read after that closes its descriptor, until the
/// part is free again.
#[derive(Debug)]
pub(super) struct FdBudget {
    permits: Arc<Permits>,
    /// A descriptor that is closed to make room for a short-lived one when all are in use.
    reserve: Option<File>,
    /// The warning that processes are not held was logged.
    is_warned: bool,
}

/// Counts the holders of descriptors within the budget: each has one clone for each holder.
#[derive(Debug, Default)]
struct Permits {
    processes: Arc<()>,
    members: Arc<()>,
}

impl Permits {
    fn process_fds(&self) -> u64 {
        (Arc::strong_count(&self.processes) as u64 - 1) * FDS_PER_PROCESS
    }

    fn member_fds(&self) -> u64 {
        Arc::strong_count(&self.members) as u64 - 1
    }
}

/// Why a process could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// No process has the pid any more.
    Exited(ProcessExit),
    /// The number is the id of a thread.
    NotAProcess,
    /// No pidfd is available: no descriptor, a kernel before 5.3, or a sandbox that forbids it.
    NoPidfd(io::Error),
    Other(io::Error),
}

impl FdBudget {
    pub(super) fn new() -> Self {
        Self { permits: Arc::clone(&PERMITS), reserve: open_reserve(), is_warned: false }
    }

    /// The largest number of descriptors in use, by all collectors together: half of the soft limit.
    ///
    /// The host may change the limit at any time; reading it costs a quarter of a microsecond.
    fn max_fds() -> u64 {
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2
    }

    /// The descriptors in use.
    fn used_fds(&self) -> u64 {
        // One owner is the static.
        let budgets = Arc::strong_count(&self.permits) as u64 - 1;
        budgets * PROBE_FDS + self.permits.process_fds() + self.permits.member_fds()
    }

    /// Whether one more process may be held.
    pub(super) fn has_capacity(&self) -> bool {
        self.used_fds() + FDS_PER_PROCESS <= Self::max_fds()
    }

    /// The number of descriptors in use beyond which members close theirs.
    pub(super) fn member_limit() -> u64 {
        let max = Self::max_fds();
        let kept_free = (max / MEMBERS_LEAVE_FREE).max(FDS_PER_PROCESS);
        max.saturating_sub(kept_free)
    }

    /// How many more members may be held within a [`member_limit`](Self::member_limit); negative if
    /// members have to close their descriptors.
    pub(super) fn member_capacity(&self, limit: u64) -> i64 {
        let signed = |fds: u64| i64::try_from(fds).unwrap_or(i64::MAX);
        signed(limit) - signed(self.used_fds())
    }

    pub(super) fn hold_member(&self, statm: File) -> MemberFd {
        MemberFd { statm, _permit: Arc::clone(&self.permits.members) }
    }

    /// Opens the descriptors of the process `pid`: first the pidfd, then `statm`. If the pidfd
    /// shows afterwards that the process lives, `statm` belongs to the same process.
    pub(super) fn open(&self, pid: u32) -> Result<ProcessFds, OpenError> {
        let pidfd = open_pidfd(pid)?;
        let statm = match File::open(format!("/proc/{pid}/statm")) {
            Ok(statm) => statm,
            Err(_) if has_exited(&pidfd) => return Err(OpenError::Exited(exit_status(&pidfd))),
            Err(error) => return Err(OpenError::Other(error)),
        };
        Ok(ProcessFds { pidfd, statm, _permit: Arc::clone(&self.permits.processes) })
    }

    /// Calls `open`, which uses one descriptor briefly. If none is free, the reserve is closed for
    /// the call.
    pub(super) fn with_reserve_fd<T>(
        &mut self,
        mut open: impl FnMut() -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
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

    /// Logs, once, that descriptors are not held: because of `error`, or because the budget is used
    /// up.
    pub(super) fn warn_once(&mut self, error: Option<&OpenError>) {
        if mem::replace(&mut self.is_warned, true) {
            return;
        }
        match error {
            Some(OpenError::NoPidfd(error)) => log::warn!(
                "no pidfd is available ({error}): processes are read by pid, and their exits are \
                 detected by ticks"
            ),
            Some(_) | None => log::warn!(
                "too few file descriptors to hold two for each process: for the other processes \
                 they are opened in each tick"
            ),
        }
    }
}

fn open_reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

impl OpenError {
    /// Whether no descriptor is free, in this process or in the whole system.
    pub(super) fn is_exhausted(&self) -> bool {
        let (Self::NoPidfd(error) | Self::Other(error)) = self else { return false };
        let errno = error.raw_os_error();
        errno == Some(Errno::MFILE.raw_os_error()) || errno == Some(Errno::NFILE.raw_os_error())
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Other(error)
    }
}

/// Without a pidfd the exit status is unknown.
const EXITED: OpenError = OpenError::Exited(ProcessExit::Unknown);

/// Opens the pidfd of the process `pid`.
pub(super) fn open_pidfd(pid: u32) -> Result<OwnedFd, OpenError> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(EXITED)?;
    pidfd_open(raw, PidfdFlags::empty()).map_err(|errno| match errno {
        Errno::SRCH => EXITED,
        // pidfd_open(2): the number is not the id of a thread group leader. Which of the two errors
        // it is depends on the version of the kernel.
        Errno::INVAL | Errno::NOENT if is_thread(pid) => OpenError::NotAProcess,
        Errno::INVAL | Errno::NOENT => EXITED,
        _ if !exists(pid) => EXITED,
        errno => OpenError::NoPidfd(errno.into()),
    })
}

/// Whether the process has exited with all of its threads.
pub(super) fn has_exited(pidfd: &OwnedFd) -> bool {
    let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&no_wait)).is_ok_and(|ready| ready > 0)
}

/// The exit status of an exited process. It is known for a child of the host that was not reaped,
/// and from Linux 6.15 on for every process that was reaped, by anybody.
pub(super) fn exit_status(pidfd: &OwnedFd) -> ProcessExit {
    // In this order: a child may be reaped between the two.
    wait_without_reaping(WaitId::PidFd(pidfd.as_fd()))
        .or_else(|| pidfd_info::exit_status(pidfd))
        .unwrap_or(ProcessExit::Unknown)
}

/// The exit status without a pidfd. `None` if it has not exited, or is not a child of the host.
pub(super) fn exit_status_of_child(pid: u32) -> Option<ProcessExit> {
    wait_without_reaping(WaitId::Pid(Pid::from_raw(i32::try_from(pid).ok()?)?))
}

/// Leaves the process waitable (waitid(2), `WNOWAIT`), so that the host's own `wait` still
/// succeeds.
fn wait_without_reaping(id: WaitId<'_>) -> Option<ProcessExit> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(id, options).ok()??;
    Some(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ProcessExit::Exited(code),
        (None, Some(signal)) => ProcessExit::Signaled(signal),
        (None, None) => ProcessExit::Unknown,
    })
}
