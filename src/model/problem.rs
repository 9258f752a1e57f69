//! Why there is no reading although a process was named.

use std::fmt;
use std::io;

/// Why there is no reading of a plugin's process although the host has named one.
///
/// A problem belongs to the process that was named last. It goes away when the process can be read
/// again, when its run ends, when another process is named, or when the host says
/// [`stopped`](crate::Plugin::stopped) or [`crashed`](crate::Plugin::crashed).
///
/// ```
/// use plugmeter::ReadError;
///
/// assert_eq!(ReadError::InvalidPid.to_string(), "the pid is not that of a process");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadError {
    /// The number cannot be a process: it is 0, too large, or the id of a thread.
    InvalidPid,
    /// The process began after the host had named it: the pid belongs to another one now.
    PidReused,
    /// The operating system does not let this user read the process.
    PermissionDenied,
    /// Reading failed in another way. [`Unsupported`](io::ErrorKind::Unsupported): the `/proc` that
    /// is mounted here is of another PID namespace. [`Other`](io::ErrorKind::Other): the operating
    /// system gives no more precise reason, or the read panicked.
    Io(io::ErrorKind),
}

impl ReadError {
    /// It could not be read, and nothing says why.
    pub(crate) const UNREAD: Self = Self::Io(io::ErrorKind::Other);
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidPid => f.write_str("the pid is not that of a process"),
            Self::PidReused => f.write_str("the process with this pid began after it was named"),
            Self::PermissionDenied => f.write_str("this user may not read the process"),
            Self::Io(kind) => write!(f, "the process could not be read: {kind}"),
        }
    }
}

impl std::error::Error for ReadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_says_what_is_wrong() {
        for (problem, said) in [
            (ReadError::InvalidPid, "not that of a process"),
            (ReadError::PidReused, "began after it was named"),
            (ReadError::PermissionDenied, "may not read"),
            (ReadError::Io(io::ErrorKind::TimedOut), "timed out"),
        ] {
            assert!(problem.to_string().contains(said), "{problem}");
        }
    }
}
