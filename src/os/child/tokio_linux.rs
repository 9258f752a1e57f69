//! Linux: a task waits for the exit of a child by a pidfd, which becomes readable.

use std::os::fd::OwnedFd;

use rustix::process::{PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use super::linux::raw_pid;
use super::{ChildState, check};

/// A pidfd of the child, registered with the runtime.
#[derive(Debug)]
pub(crate) struct ExitSignal {
    pid: u32,
    pidfd: AsyncFd<OwnedFd>,
}

impl ExitSignal {
    /// `None` outside of a runtime, without a pidfd, and if somebody else has reaped the child.
    ///
    /// # Panics
    ///
    /// On a runtime without I/O: tokio has no call that checks that.
    pub(crate) fn new(pid: u32) -> Option<Self> {
        Handle::try_current().ok()?;
        let pidfd = pidfd_open(raw_pid(pid)?, PidfdFlags::empty()).ok()?;
        // After it was opened: what is a child of this process now has had this pid before as well.
        if let ChildState::Unknown = check(pid) {
            return None;
        }
        // Its successor is missing in older versions. With an `OwnedFd` both are sound.
        #[allow(deprecated)]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE);
        Some(Self { pid, pidfd: pidfd.ok()? })
    }

    /// Completes when the child has exited, or when that cannot be determined.
    pub(crate) async fn exited(&self) {
        while let Ok(mut ready) = self.pidfd.readable().await {
            match check(self.pid) {
                ChildState::Running => ready.clear_ready(),
                ChildState::Exited(_) | ChildState::Unknown => return,
            }
        }
    }
}
