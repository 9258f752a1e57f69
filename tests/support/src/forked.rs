//! Children that are forked without exec.
#![allow(unsafe_code)] // there is no safe fork

use crate::wait_for;

/// A forked child that was not waited for. Killed and reaped on drop.
#[derive(Debug)]
pub struct Forked(libc::pid_t);

impl Forked {
    /// Forks. The child runs `child` and exits with the code that it returns.
    ///
    /// # Panics
    ///
    /// If the process cannot fork.
    pub fn run(child: impl FnOnce() -> i32) -> Self {
        // SAFETY: the child runs only `child` and exits without returning. glibc takes its own locks
        // around a fork.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let code = child();
            // SAFETY: ends this process without running anything else.
            unsafe { libc::_exit(code) };
        }
        assert!(pid > 0, "fork failed");
        Self(pid)
    }

    /// Waits for the child and returns its exit code. A child that hangs is killed.
    pub fn exit_code(self) -> i32 {
        let pid = self.0;
        let status = wait_for("the forked child to exit", || {
            let mut status = 0;
            // SAFETY: waits for a child of this process; writes one integer.
            let exited = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
            (exited == pid).then_some(status)
        });
        std::mem::forget(self);
        assert!(libc::WIFEXITED(status), "status {status}");
        libc::WEXITSTATUS(status)
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        let mut status = 0;
        // SAFETY: kills and reaps a child of this process that was not waited for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, &raw mut status, 0);
        }
    }
}

/// Forks, runs `child` in the child, and returns the exit code of the child.
pub fn fork(child: impl FnOnce() -> i32) -> i32 {
    Forked::run(child).exit_code()
}
