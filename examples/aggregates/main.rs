//! A host with five plugins, each a child process with its own load pattern, and the report that
//! plugmeter makes of them.
//!
//! ```sh
//! cargo run --release --example aggregates              # ten seconds, then a report
//! cargo run --release --example aggregates -- --json    # the same as one JSON document
//! cargo run --release --example aggregates -- --help    # intervals, windows, processes of yours
//! ```
//!
//! With `NAME=PID` it starts nothing and watches processes that run already:
//!
//! ```sh
//! cargo run --release --example aggregates -- --for 30 shell=$$
//! ```
//!
//! What a host of your own would do is in `examples/demo/src/host.rs`: register a plugin, report the
//! start and the exit of its processes, count its events. `report.rs` queries a snapshot, and
//! `options.rs` reads the command line. `examples/demo/src/worker.rs` runs in the child processes.

mod options;
mod progress;
mod report;

use std::env;
use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::{Collector, Config, Snapshot, StartError, StoppedError};
use plugmeter_demo::Host;
use plugmeter_demo::arguments::UsageError;

use crate::options::{Options, Request};
use crate::progress::Progress;
use crate::report::Report;

/// How often the host looks after its children.
const ROUND: Duration = Duration::from_millis(20);
/// A tick that is not older than this is new enough to be the last one: between two readings that
/// lie close together the CPU share is mostly rounding.
const FRESH: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    // Returning from here, rather than `std::process::exit`, runs the destructors that see to it
    // that no child stays behind.
    match answer() {
        Ok(code) => code,
        Err(failure) => {
            // There is nobody left to tell if this fails too.
            let _ = writeln!(io::stderr(), "aggregates: {failure}");
            failure.code()
        }
    }
}

fn answer() -> Result<ExitCode, Failure> {
    match options::parse(env::args_os().skip(1))? {
        Request::Help => say(options::HELP)?,
        Request::Work(role) => return Ok(role.work()?),
        Request::Watch(options) => watch(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The whole of it: start, watch, stop, report.
fn watch(options: &Options) -> Result<(), Failure> {
    let collector = Collector::start(config(options))?;
    let mut host = if options.processes.is_empty() {
        Host::with_children(&collector)?
    } else {
        name_processes(&collector, options)?;
        Host::default()
    };
    if !options.json {
        say(&report::introduction(options))?;
    }
    look_after(&mut host, &collector, options.length)?;
    let closing = closing_snapshot(&collector)?;
    // From here on nothing is alive: `closing` has the values, what comes after it how runs ended.
    host.stop()?;
    collector.stop();
    let report = Report::new(closing, collector.snapshot(), options.window);
    if options.json { say(&report.to_json()?) } else { say(&report.to_string()) }
}

fn config(options: &Options) -> Config {
    // A little more than is watched, so that the first sample is still there at the end.
    let history = options.length.saturating_add(options.interval.saturating_mul(4));
    Config::default().poll_interval(options.interval).history_duration(history)
}

/// Registers processes that are not ours. Nobody here waits for them: that they have ended is
/// noticed by the sampler.
fn name_processes(collector: &Collector, options: &Options) -> Result<(), Failure> {
    for (name, pid) in &options.processes {
        let plugin = collector.register(name).map_err(UsageError::new)?;
        plugin.started(*pid, "");
    }
    Ok(())
}

/// Looks after the children for so long.
fn look_after(host: &mut Host, collector: &Collector, length: Duration) -> io::Result<()> {
    let reader = collector.reader();
    let mut progress = Progress::of(length);
    let start = Instant::now();
    while let Some(left) = length.checked_sub(start.elapsed()) {
        host.tend()?;
        progress.show(&reader.snapshot());
        thread::sleep(left.min(ROUND));
    }
    Ok(())
}

/// The newest snapshot that is worth reporting while everything is alive.
fn closing_snapshot(collector: &Collector) -> Result<Snapshot, StoppedError> {
    let newest = collector.snapshot();
    if newest.tick() > 0 && newest.sampled_at_instant().elapsed() < FRESH {
        Ok(newest)
    } else {
        collector.sample_now()
    }
}

/// Writes to standard output. That nobody reads on (`| head`) is no failure.
fn say(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Why there is no report.
#[derive(Debug)]
enum Failure {
    /// What was asked for makes no sense.
    Usage(UsageError),
    /// It went wrong on the way.
    Run(Box<dyn Error>),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Run(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Run(error) => error.fmt(f),
        }
    }
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            // Intervals and lengths come from the command line; the library knows their bounds.
            StartError::Config(error) => Self::Usage(UsageError::new(error)),
            error => Self::Run(error.into()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Run(error.into())
    }
}

impl From<Box<dyn Error>> for Failure {
    fn from(error: Box<dyn Error>) -> Self {
        Self::Run(error)
    }
}

impl From<StoppedError> for Failure {
    fn from(error: StoppedError) -> Self {
        Self::Run(error.into())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Run(error.into())
    }
}
