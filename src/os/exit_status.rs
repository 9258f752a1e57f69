//! Exit statuses, on each platform.

use std::process::ExitStatus;

use crate::snapshot::run::{ProcessExit, RunEnd};

/// Converts the status that `wait` returned.
pub(crate) fn process_exit(status: ExitStatus) -> ProcessExit {
    match (status.code(), signal(status)) {
        (Some(code), _) => ProcessExit::Exited(code),
        (None, Some(signal)) => ProcessExit::Signaled(signal),
        // A process that has not exited, such as a stopped one: `wait` never returns its status.
        (None, None) => ProcessExit::Unknown,
    }
}

/// `Exited` or `Signaled`; `Unknown` for a status that is none of an exit, such as that of a stopped process.
impl From<ExitStatus> for RunEnd {
    fn from(status: ExitStatus) -> Self {
        process_exit(status).run_end()
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
const fn signal(_: ExitStatus) -> Option<i32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn exit_status_is_code_or_signal() {
        // wait(2): the exit code is in the second byte, the signal in the low seven bits.
        assert_eq!(process_exit(ExitStatus::from_raw(0)), ProcessExit::Exited(0));
        assert_eq!(process_exit(ExitStatus::from_raw(3 << 8)), ProcessExit::Exited(3));
        assert_eq!(process_exit(ExitStatus::from_raw(9)), ProcessExit::Signaled(9));
        assert_eq!(process_exit(ExitStatus::from_raw(0x7f | 19 << 8)), ProcessExit::Unknown);
    }

    #[test]
    fn end_of_run_follows_from_exit_status() {
        for (status, expected) in [
            (0, RunEnd::Exited(0)),
            (3 << 8, RunEnd::Exited(3)),
            (9, RunEnd::Signaled(9)),
            (0x7f | 19 << 8, RunEnd::Unknown),
        ] {
            assert_eq!(RunEnd::from(ExitStatus::from_raw(status)), expected, "{status}");
        }
    }
}
