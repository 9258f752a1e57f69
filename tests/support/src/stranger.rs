//! A process with the pid of a child that somebody else has reaped.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpgid};

use crate::{ChildGuard, wait_for};

/// A process that is no child of this one, and leads a process group.
#[derive(Debug)]
pub struct Stranger {
    pid: Pid,
    /// Its parent, which lives as long as its input is open.
    shell: ChildGuard,
}

impl Stranger {
    /// Waits for the child `pid` without its owner, and starts a stranger with that pid.
    ///
    /// The test runs in a PID namespace of its own.
    pub fn in_place_of(pid: u32) -> Self {
        let number = Pid::from_raw(pid as i32);
        waitpid(number, None).unwrap();
        let shell = wait_for("the pid to be that of a stranger", || {
            let script = format!(
                "echo {} >/proc/sys/kernel/ns_last_pid; setsid sleep 1000 & read held; wait $!; exit $?",
                pid - 1
            );
            let mut shell = Command::new("sh");
            let shell =
                ChildGuard(shell.args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap());
            // Until `setsid` is done.
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(1) {
                if getpgid(Some(number)) == Ok(number) {
                    return Some(shell);
                }
            }
            None
        });
        Self { pid: number, shell }
    }

    /// Kills it, and asserts that it has received no other signal before.
    pub fn kill(mut self) {
        kill(self.pid, Signal::SIGKILL).unwrap();
        drop(self.shell.0.stdin.take());
        assert_eq!(self.shell.wait().code(), Some(128 + Signal::SIGKILL as i32));
    }
}
