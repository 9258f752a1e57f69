//! The signals that end, suspend and resume this program, and the end of its terminal.

pub(crate) use self::imp::{Signals, has_terminal_closed, unblock};

/// What a signal requests. Of several at the same time the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    /// The program was continued, and another program may have used the terminal.
    Redraw,
    Suspend,
    Exit,
}

/// The processes to suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspend {
    /// This one, after a signal: its sender has selected the processes.
    Process,
    /// The process group, as a terminal does after Ctrl-Z: a program that has started this one, such
    /// as cargo, waits in the same group, and the shell continues when all of them are stopped.
    Group,
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::AsFd as _;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::signal::{SigSet, Signal, kill, raise};
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    use nix::unistd::Pid;

    use super::{Request, Suspend};

    /// Receives the signals, which every thread blocks.
    #[derive(Debug)]
    pub(crate) struct Signals(SignalFd);

    impl Signals {
        /// Blocks the signals. Call it before any other thread starts, because later threads inherit
        /// the blocked signals. Child processes inherit them as well, and call `unblock`.
        pub(crate) fn watch() -> io::Result<Self> {
            let watched = SigSet::from_iter([
                Signal::SIGTERM,
                Signal::SIGINT,
                Signal::SIGHUP,
                Signal::SIGTSTP,
                Signal::SIGCONT,
            ]);
            watched.thread_block()?;
            let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
            Ok(Self(SignalFd::with_flags(&watched, flags)?))
        }

        /// Returns what the signals request that have arrived since the last call.
        pub(crate) fn take(&self) -> io::Result<Option<Request>> {
            let mut taken = None;
            while let Some(signal) = self.0.read_signal()? {
                let request = match Signal::try_from(signal.ssi_signo as i32)? {
                    Signal::SIGTSTP => Request::Suspend,
                    Signal::SIGCONT => Request::Redraw,
                    _ => Request::Exit,
                };
                taken = taken.max(Some(request));
            }
            Ok(taken)
        }

        /// Stops until SIGCONT. Does not stop if no shell could continue it, because then the kernel
        /// discards the signal: signal(7), setpgid(2) on orphaned process groups.
        pub(crate) fn suspend(&self, suspend: Suspend) -> io::Result<()> {
            let stop = SigSet::from(Signal::SIGTSTP);
            // No other thread has it unblocked, so it stops the process before the call returns.
            stop.thread_unblock()?;
            let sent = match suspend {
                Suspend::Process => raise(Signal::SIGTSTP),
                Suspend::Group => kill(Pid::from_raw(0), Signal::SIGTSTP),
            };
            stop.thread_block()?;
            Ok(sent?)
        }
    }

    /// Unblocks all signals in a child process, which has inherited the mask of its parent.
    pub(crate) fn unblock() -> io::Result<()> {
        Ok(SigSet::empty().thread_set_mask()?)
    }

    /// Whether the terminal on standard output is gone. SIGHUP does not report this to a program in
    /// another session, or to one that was started by nohup.
    pub(crate) fn has_terminal_closed() -> bool {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let is_polled = poll(&mut polled, PollTimeout::ZERO).is_ok();
        let closed = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        is_polled && polled[0].revents().is_some_and(|events| events.intersects(closed))
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;

    use super::{Request, Suspend};

    /// On this platform a signal ends the program immediately, without restoring the terminal.
    #[derive(Debug)]
    pub(crate) struct Signals;

    impl Signals {
        pub(crate) fn watch() -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn take(&self) -> io::Result<Option<Request>> {
            Ok(None)
        }

        pub(crate) fn suspend(&self, _suspend: Suspend) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn unblock() -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn has_terminal_closed() -> bool {
        false
    }
}
