//! The command line.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use plugmeter::Window;

use crate::worker::{Role, WORKER};

pub(crate) const HELP: &str = "\
Samples five plugins, or running processes, and prints a report.

usage: aggregates [OPTIONS] [NAME=PID]...

  NAME=PID            sample this process under this name, instead of starting five plugins

  --interval SECONDS  time between two samples [0.25]
  --for SECONDS       length of the run [10]
  --window SECONDS    report the last SECONDS only [the whole run]
  --json              print the report as one JSON document
  --help              print this

SECONDS may be fractional: 0.25.";

/// The parsed command line.
#[derive(Debug)]
pub(crate) enum Request {
    Help,
    /// This process is a child: run the role of a plugin.
    Work(Role),
    Watch(Options),
}

/// What to sample, and how.
#[derive(Debug)]
pub(crate) struct Options {
    pub interval: Duration,
    pub length: Duration,
    pub window: Window,
    pub json: bool,
    /// The processes to sample. If empty, children are started.
    pub processes: Vec<(String, u32)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(250),
            length: Duration::from_secs(10),
            window: Window::All,
            json: false,
            processes: Vec::new(),
        }
    }
}

/// What makes no sense about the command line, in one line.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl UsageError {
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for UsageError {}

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut args = args.into_iter().map(text);
    let mut options = Options::default();
    while let Some(arg) = args.next().transpose()? {
        match arg.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--json" => options.json = true,
            "--interval" => options.interval = seconds(&arg, args.next())?,
            "--for" => options.length = seconds(&arg, args.next())?,
            "--window" => options.window = seconds(&arg, args.next())?.into(),
            WORKER => return role(args.next()).map(Request::Work),
            option if option.starts_with('-') => {
                return Err(UsageError(format!("no option {option:?}: see --help")));
            }
            process => options.processes.push(named_process(process)?),
        }
    }
    Ok(Request::Watch(options))
}

pub(crate) type Argument = Result<String, UsageError>;

pub(crate) fn text(arg: OsString) -> Argument {
    arg.into_string().map_err(|arg| UsageError(format!("{arg:?} is not text")))
}

pub(crate) fn seconds(option: &str, value: Option<Argument>) -> Result<Duration, UsageError> {
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

pub(crate) fn role(value: Option<Argument>) -> Result<Role, UsageError> {
    let name = value.transpose()?.unwrap_or_default();
    Role::named(&name).ok_or_else(|| UsageError(format!("no worker is called {name:?}")))
}

/// `NAME=PID`; a name may have a `=` of its own. Whether it is a good name, and whether there is
/// one of it, is for the collector to say.
pub(crate) fn named_process(arg: &str) -> Result<(String, u32), UsageError> {
    let (name, pid) = arg
        .rsplit_once('=')
        .ok_or_else(|| UsageError(format!("{arg:?} is neither an option nor NAME=PID")))?;
    match pid.parse() {
        Ok(pid) if pid > 0 && i32::try_from(pid).is_ok() => Ok((name.to_owned(), pid)),
        _ => Err(UsageError(format!("{pid:?} in {arg:?} is not the number of a process"))),
    }
}
