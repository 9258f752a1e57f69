//! Detects a forked child, in which the threads of its parent do not exist.

/// Remembers the process in which it was created.
///
/// A child of `fork` without `exec` has one thread. Locks of other threads may be held forever
/// there, so nothing that locks, sends or logs may run in it: fork(2) and pthread_atfork(3).
///
/// The child is recognized by its pid. A host that is the first process of its PID namespace cannot
/// recognize a child that is the first one of a new namespace (`CLONE_NEWPID`): both have pid 1.
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

/// The first process that has used something: a child that is forked from it must not use that.
#[cfg(feature = "store")]
pub(crate) struct FirstProcess(std::sync::atomic::AtomicU32);

#[cfg(feature = "store")]
impl FirstProcess {
    pub(crate) const fn new() -> Self {
        Self(std::sync::atomic::AtomicU32::new(0))
    }

    /// Whether this process may use it. The first one that asks is the first one that uses it.
    pub(crate) fn is_this(&self) -> bool {
        use std::sync::atomic::Ordering;

        let pid = std::process::id();
        // ORDERING: Relaxed. Nothing else is published, and within a process all values are the same.
        match self.0.compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(first) => first == pid,
        }
    }
}
