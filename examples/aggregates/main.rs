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
//! What a host of your own would do is in `examples/demo/src/host.rs`: register a plugin, report
//! the start and the exit of its processes, count its events. `report.rs` queries a snapshot, and
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

/// The interval between two checks for exited children.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The age up to which the newest tick is used for the report. Another tick immediately after it
/// would have a CPU share that is mostly rounding.
const MAX_CLOSING_AGE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    // Returns instead of calling `std::process::exit`, so that destructors stop all children.
    match run() {
        Ok(code) => code,
        Err(failure) => {
            // If standard error is closed too, only the exit code is left.
            let _ = writeln!(io::stderr(), "aggregates: {failure}");
            failure.code()
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    match options::parse(env::args_os().skip(1))? {
        Request::Help => print_line(options::HELP)?,
        Request::Work(role) => return Ok(role.work()?),
        Request::Watch(options) => watch(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts the plugins, watches and stops them, and prints the report.
fn watch(options: &Options) -> Result<(), Failure> {
    let collector = Collector::start(config(options))?;
    let mut host = if options.processes.is_empty() {
        Host::with_children(&collector)?
    } else {
        register_processes(&collector, options)?;
        Host::default()
    };
    if !options.json {
        print_line(&report::introduction(options))?;
    }
    tend_children(&mut host, &collector, options.length)?;
    let closing = closing_snapshot(&collector)?;
    // `closing` has the values while all processes run; a later snapshot has how the runs ended.
    host.stop()?;
    collector.stop();
    let report = Report::new(closing, collector.snapshot(), options.window);
    if options.json { print_line(&report.to_json()?) } else { print_line(&report.to_string()) }
}

fn config(options: &Options) -> Config {
    // Longer than the program runs, so that the first sample is still there at the end.
    let history = options.length.saturating_add(options.interval.saturating_mul(4));
    Config::default().poll_interval(options.interval).history_duration(history)
}

/// Registers processes that are not children of this program. The sampler detects their exits.
fn register_processes(collector: &Collector, options: &Options) -> Result<(), Failure> {
    for (name, pid) in &options.processes {
        let plugin = collector.register(name).map_err(UsageError::new)?;
        plugin.started(*pid, "");
    }
    Ok(())
}

/// Reports and restarts exited children for the given time.
fn tend_children(host: &mut Host, collector: &Collector, length: Duration) -> io::Result<()> {
    let reader = collector.reader();
    let mut progress = Progress::of(length);
    let start = Instant::now();
    while let Some(left) = length.checked_sub(start.elapsed()) {
        host.tend()?;
        progress.show(&reader.snapshot());
        thread::sleep(left.min(POLL_INTERVAL));
    }
    Ok(())
}

/// Returns the snapshot to report, while all processes run.
fn closing_snapshot(collector: &Collector) -> Result<Snapshot, StoppedError> {
    let newest = collector.snapshot();
    if newest.tick() > 0 && newest.sampled_at_instant().elapsed() < MAX_CLOSING_AGE {
        Ok(newest)
    } else {
        collector.sample_now()
    }
}

/// Writes to standard output. A closed pipe (`| head`) is not an error.
fn print_line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The reason why there is no report.
#[derive(Debug)]
enum Failure {
    /// The command line cannot be used.
    Usage(UsageError),
    /// Something failed while running.
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
            // Both durations come from the command line; the library checks their bounds.
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
