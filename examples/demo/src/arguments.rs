//! The parts of a command line that the examples have in common.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use crate::worker::Role;

/// A command line that cannot be used; the message is one line.
#[derive(Debug)]
pub struct UsageError(String);

impl UsageError {
    /// An error with this message.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for UsageError {}

/// One argument, if it is valid UTF-8.
pub type Argument = Result<String, UsageError>;

/// Converts an argument to text.
///
/// # Errors
///
/// If it is not valid UTF-8.
pub fn text(arg: OsString) -> Argument {
    arg.into_string().map_err(|arg| UsageError(format!("{arg:?} is not text")))
}

/// Reads the value of an option that takes a number of seconds.
///
/// # Errors
///
/// If the value is missing, or is not a finite number above 0.
pub fn seconds(option: &str, value: Option<Argument>) -> Result<Duration, UsageError> {
    let value =
        value.ok_or_else(|| UsageError(format!("{option} needs a number of seconds")))??;
    value
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| {
            UsageError(format!("{option} needs a number of seconds above 0, not {value:?}"))
        })
}

/// Reads the role of a worker process.
///
/// # Errors
///
/// If there is no role of this name.
pub fn role(value: Option<Argument>) -> Result<Role, UsageError> {
    let name = value.transpose()?.unwrap_or_default();
    Role::named(&name).ok_or_else(|| UsageError(format!("no worker is called {name:?}")))
}

/// Reads `NAME=PID`. The name may contain `=`; the collector checks the name and the process.
///
/// # Errors
///
/// If there is no `=`, or no process id behind the last one.
pub fn named_process(arg: &str) -> Result<(String, u32), UsageError> {
    let (name, pid) = arg
        .rsplit_once('=')
        .ok_or_else(|| UsageError(format!("{arg:?} is neither an option nor NAME=PID")))?;
    match pid.parse() {
        Ok(pid) if pid > 0 && i32::try_from(pid).is_ok() => Ok((name.to_owned(), pid)),
        _ => Err(UsageError(format!("{pid:?} in {arg:?} is not a process id"))),
    }
}
