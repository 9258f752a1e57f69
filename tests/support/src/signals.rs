//! The calls by which a host receives a signal that its threads block, and a handler of SIGCHLD.
#![allow(unsafe_code)] // there is no safe way to install a signal handler

use nix::errno::Errno;
use nix::poll::ppoll;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::signalfd::SignalFd;
use nix::sys::time::TimeSpec;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::HANG_TIMEOUT;

/// A call that receives a blocked signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveBy {
    /// sigwait(3) returns the pending signal.
    Sigwait,
    /// signalfd(2): the pending signal is read from a descriptor.
    Signalfd,
    /// ppoll(2) unblocks the signal during the wait, and its handler interrupts the wait.
    Ppoll,
}

impl ReceiveBy {
    /// All calls.
    pub const ALL: [Self; 3] = [Self::Sigwait, Self::Signalfd, Self::Ppoll];

    /// Blocks SIGTERM in this thread, sends it to this process, and returns whether the call receives
    /// it. If another thread does not block it, the signal ends the process or interrupts no call.
    ///
    /// # Panics
    ///
    /// If the operating system rejects one of the calls.
    pub fn receives_sigterm(self) -> bool {
        let unblocked = SigSet::thread_get_mask().unwrap();
        let term = SigSet::from(Signal::SIGTERM);
        term.thread_block().unwrap();
        if self == Self::Ppoll {
            let ignore =
                SigAction::new(SigHandler::Handler(do_nothing), SaFlags::empty(), SigSet::empty());
            // SAFETY: the handler does nothing.
            unsafe { sigaction(Signal::SIGTERM, &ignore) }.unwrap();
        }
        kill(Pid::this(), Signal::SIGTERM).unwrap();
        match self {
            Self::Sigwait => term.wait() == Ok(Signal::SIGTERM),
            Self::Signalfd => {
                let received = SignalFd::new(&term).unwrap().read_signal().unwrap();
                received.is_some_and(|info| info.ssi_signo == Signal::SIGTERM as u32)
            }
            Self::Ppoll => {
                let timeout = TimeSpec::from_duration(HANG_TIMEOUT / 2);
                ppoll(&mut [], Some(timeout), Some(unblocked)) == Err(Errno::EINTR)
            }
        }
    }
}

extern "C" fn do_nothing(_signal: i32) {}

/// Installs a handler of SIGCHLD that reaps every child of this process which has exited.
///
/// # Panics
///
/// If the operating system rejects it.
pub fn reap_children_in_handler() {
    let handler = SigHandler::Handler(reap_children);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler calls waitpid only, which is async-signal-safe, and restores `errno`.
    unsafe { sigaction(Signal::SIGCHLD, &action) }.unwrap();
}

extern "C" fn reap_children(_signal: i32) {
    let errno = Errno::last_raw();
    // Several signals that are pending at a time are one signal.
    while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|it| it != WaitStatus::StillAlive) {}
    Errno::set_raw(errno);
}
