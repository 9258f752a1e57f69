//! What an exit status says. Twin implementations with one face.

use std::process::ExitStatus;

use crate::model::run::Outcome;

/// What `wait` returned, as a fact.
pub(crate) fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), signal(status)) {
        (Some(code), _) => Outcome::Exited(code),
        (None, Some(signal)) => Outcome::Signaled(signal),
        // A status that is not that of an end, such as "stopped": nothing `wait` returns.
        (None, None) => Outcome::Unknown,
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
    fn a_status_is_a_code_or_a_signal() {
        // wait(2): the exit code is in the second byte, the signal in the low seven bits.
        assert_eq!(outcome(ExitStatus::from_raw(0)), Outcome::Exited(0));
        assert_eq!(outcome(ExitStatus::from_raw(3 << 8)), Outcome::Exited(3));
        assert_eq!(outcome(ExitStatus::from_raw(9)), Outcome::Signaled(9));
        assert_eq!(outcome(ExitStatus::from_raw(0x7f | 19 << 8)), Outcome::Unknown);
    }
}
