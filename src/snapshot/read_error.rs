//! Why there is no reading although a process was reported.

use std::fmt;
use std::io;

/// Why the process that the host has reported for a plugin cannot be read.
///
/// [`PluginView::read_error`](crate::PluginView::read_error) returns it. It belongs to the process that
/// was reported last. It is cleared when the process can be read again, when its run ends, when another
/// process is reported, and by the reports [`stopped`](crate::Plugin::stopped) and
/// [`crashed`](crate::Plugin::crashed).
///
/// ```
/// use plugmeter::ReadError;
///
/// assert_eq!(ReadError::InvalidPid.to_string(), "the pid is not the id of a process");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadError {
    /// The number cannot be a process: it is 0, too large, or the id of a thread.
    InvalidPid,
    /// The process started after the host had reported it: the pid was reused.
    PidReused,
    /// The operating system does not let this user read the process.
    PermissionDenied,
    /// Reading failed in another way. [`Unsupported`](io::ErrorKind::Unsupported): the mounted
    /// `/proc` belongs to another PID namespace. [`Other`](io::ErrorKind::Other): the operating
    /// system gives no more precise reason, or the read panicked.
    Io(io::ErrorKind),
}

impl ReadError {
    /// Reading failed without a known reason.
    pub(crate) const UNKNOWN: Self = Self::Io(io::ErrorKind::Other);
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidPid => f.write_str("the pid is not the id of a process"),
            Self::PidReused => {
                f.write_str("the process with this pid started after it was reported")
            }
            Self::PermissionDenied => f.write_str("no permission to read the process"),
            Self::Io(kind) => write!(f, "reading the process failed: {kind}"),
        }
    }
}

impl std::error::Error for ReadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_error_text_states_the_reason() {
        for (error, text) in [
            (ReadError::InvalidPid, "not the id of a process"),
            (ReadError::PidReused, "started after it was reported"),
            (ReadError::PermissionDenied, "no permission"),
            (ReadError::Io(io::ErrorKind::TimedOut), "timed out"),
        ] {
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
