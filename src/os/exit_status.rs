//! Exit statuses, on each platform.

use std::process::ExitStatus;

use crate::snapshot::run::ProcessExit;

/// Converts the status that `wait` returned.
pub(crate) fn process_exit(status: ExitStatus) -> ProcessExit {
    match (status.code(), signal(status)) {
        (Some(code), _) => ProcessExit::Exited(code),
        (None, Some(signal)) => ProcessExit::Signaled(signal),
        // A process that has not exited, such as a stopped one: `wait` never returns its status.
        (None, None) => ProcessExit::Unknown,
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
}
