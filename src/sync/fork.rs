//! Detects a forked child, in which the threads of its parent do not exist.

/// Remembers the process in which it was created.
///
/// A child of `fork` without `exec` has one thread. Locks of other threads may be held forever
/// there, so nothing that locks, sends or logs may run in it: fork(2) and pthread_atfork(3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForkGuard {
    pid: u32,
}

impl ForkGuard {
    pub(crate) fn new() -> Self {
        Self { pid: std::process::id() }
    }

    /// Whether this is the process that created the guard. One system call.
    pub(crate) fn in_owner_process(self) -> bool {
        std::process::id() == self.pid
    }
}
