//! Signal masks by pthread_sigmask(3).

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Signals that the kernel sends to the thread that causes them, by an access, an instruction or, in
/// a seccomp sandbox, a system call. If one is blocked then, the kernel kills the process without
/// calling the handler of a crash reporter or sandbox: signal(7), seccomp(2).
const OWN_FAULTS: [Signal; 6] = [
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
];

/// Blocks signals in the calling thread, and in the threads that it starts. Dropping it restores the
/// previous mask of the calling thread.
///
/// The kernel delivers a signal of the process to any thread that does not block it: signal(7). A
/// host that blocks a signal in its own threads, to wait for it by sigwait, signalfd or ppoll, would
/// lose it to a thread that was started earlier by this crate.
#[derive(Debug)]
pub(crate) struct BlockSignals {
    previous: SigSet,
}

impl BlockSignals {
    pub(crate) fn new() -> io::Result<Self> {
        let mut blocked = SigSet::all();
        OWN_FAULTS.into_iter().for_each(|signal| blocked.remove(signal));
        let previous = blocked.thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        Ok(Self { previous })
    }
}

impl Drop for BlockSignals {
    fn drop(&mut self) {
        // Fails for an invalid argument only: pthread_sigmask(3).
        let _: nix::Result<()> = self.previous.thread_set_mask();
    }
}
