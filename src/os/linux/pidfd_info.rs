//! The exit status of a process after it was reaped: `PIDFD_GET_INFO` (linux/pidfd.h).
//!
//! The only file of the crate with unsafe code: no crate wraps this ioctl safely.
#![allow(unsafe_code)]

use std::os::fd::OwnedFd;

use libc::{PIDFD_GET_INFO, PIDFD_INFO_EXIT, pidfd_info};
use rustix::ioctl::{Opcode, Updater, ioctl};

use crate::snapshot::run::ProcessExit;

const OPCODE: Opcode = PIDFD_GET_INFO as Opcode;

/// The exit status of a reaped process, whoever reaped it, from Linux 6.15 on. `None` if the kernel
/// does not report it: an older kernel, or a process that was not reaped yet.
pub(super) fn exit_status(pidfd: &OwnedFd) -> Option<ProcessExit> {
    // SAFETY: `pidfd_info` consists of integers, for which zeros are valid. The ioctl's argument is
    // that structure, which the kernel reads and writes; its size is part of the opcode, so that no
    // kernel writes beyond it. Another descriptor than a pidfd would return an error.
    let (result, info) = unsafe {
        let mut info: pidfd_info = std::mem::zeroed();
        info.mask = u64::from(PIDFD_INFO_EXIT);
        let result = ioctl(pidfd, Updater::<OPCODE, pidfd_info>::new(&mut info));
        (result, info)
    };
    let is_reported = result.is_ok() && info.mask & u64::from(PIDFD_INFO_EXIT) != 0;
    is_reported.then(|| from_wait_status(info.exit_code))
}

/// Decodes a wait status: wait(2). The signal is in the low seven bits, the exit code in the second
/// byte.
fn from_wait_status(status: i32) -> ProcessExit {
    match status & 0x7f {
        0 => ProcessExit::Exited((status >> 8) & 0xff),
        // "Stopped" and "continued" are no exit.
        0x7f => ProcessExit::Unknown,
        signal => ProcessExit::Signaled(signal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_status_is_code_or_signal() {
        assert_eq!(from_wait_status(0), ProcessExit::Exited(0));
        assert_eq!(from_wait_status(3 << 8), ProcessExit::Exited(3));
        assert_eq!(from_wait_status(255 << 8), ProcessExit::Exited(255));
        assert_eq!(from_wait_status(9), ProcessExit::Signaled(9));
        // With a core dump.
        assert_eq!(from_wait_status(0x80 | 11), ProcessExit::Signaled(11));
        assert_eq!(from_wait_status(0x7f | 19 << 8), ProcessExit::Unknown);
    }
}
