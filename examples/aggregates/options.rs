//! The command line.

use std::ffi::OsString;
use std::time::Duration;

use plugmeter::Window;
use plugmeter_demo::arguments::{UsageError, named_process, role, seconds, text};
use plugmeter_demo::{Role, WORKER};

pub(crate) const HELP: &str = "\
Samples six plugins, or running processes, and prints a report.

usage: aggregates [OPTIONS] [NAME=PID]...

  NAME=PID            sample this process under this name, instead of starting six plugins

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
                return Err(UsageError::new(format!("no option {option:?}: see --help")));
            }
            process => options.processes.push(named_process(process)?),
        }
    }
    Ok(Request::Watch(options))
}
