//! The command line. The parts in common with the example `aggregates` are read by the same code.

use std::ffi::OsString;
use std::time::Duration;

use plugmeter_demo::arguments::{UsageError, named_process, role, seconds, text};
use plugmeter_demo::{Role, WORKER};

pub(crate) const HELP: &str = "\
Shows six plugins, or processes of yours, in the terminal, until you press q.

usage: top [OPTIONS] [NAME=PID]...

  NAME=PID            watch this process, under this name, instead of starting six plugins

  --interval SECONDS  time from one sample to the next [1]
  --history SECONDS   how much is kept [3600]
  --help              print this

SECONDS may have a fraction: 0.25. The key ? shows what the other keys do.";

/// The action that the command line requests.
#[derive(Debug)]
pub(crate) enum Request {
    Help,
    /// Run a plugin: this is a child process.
    Work(Role),
    Show(Arguments),
}

/// The processes to watch, and how.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub interval: Duration,
    pub history: Duration,
    /// Empty: start the demo plugins.
    pub processes: Vec<(String, u32)>,
}

/// Reads the arguments after the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut args = args.into_iter().map(text);
    let mut read = Arguments {
        interval: Duration::from_secs(1),
        history: Duration::from_secs(3_600),
        processes: Vec::new(),
    };
    while let Some(arg) = args.next().transpose()? {
        match arg.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--interval" => read.interval = seconds(&arg, args.next())?,
            "--history" => read.history = seconds(&arg, args.next())?,
            WORKER => return role(args.next()).map(Request::Work),
            option if option.starts_with('-') => {
                return Err(UsageError::new(format!("no option {option:?}: see --help")));
            }
            process => read.processes.push(named_process(process)?),
        }
    }
    Ok(Request::Show(read))
}
