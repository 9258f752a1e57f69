//! A host with six plugins, each a child process with its own load pattern, and the report that
//! plugmeter makes of them.
//!
//! ```sh
//! cargo run --release --example aggregates              # ten seconds, then a report
//! cargo run --release --example aggregates -- --json    # the same as one JSON document
//! cargo run --release --example aggregates -- --help    # intervals, windows, running processes
//! ```
//!
//! With `NAME=PID` it starts no child process and samples a running process:
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
use plugmeter_demo::arguments::UsageError;
use plugmeter_demo::{Host, Role};

use crate::options::{Options, Request};
use crate::progress::Progress;
use crate::report::Report;

/// The interval between two checks of the children.
const TEND_INTERVAL: Duration = Duration::from_millis(20);
/// The report uses the newest tick if it is younger than this, and an extra tick otherwise. An
/// extra tick immediately after another one would have an imprecise CPU percentage.
const MAX_CLOSING_AGE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    // Returns instead of calling `std::process::exit`, because the destructors kill the children.
    match run() {
        Ok(code) => code,
        Err(failure) => {
            // Ignored: standard error is the only place to report an error.
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

/// Starts the plugins, samples them for the requested time, stops them, and prints the report.
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
    // `closing` has the values of the living processes; the snapshot after the stop has the ends of
    // their runs.
    host.stop()?;
    collector.stop();
    let report = Report::new(closing, collector.snapshot(), options.window);
    if options.json { print_line(&report.to_json()?) } else { print_line(&report.to_string()) }
}

fn config(options: &Options) -> Config {
    // Longer than the run, so that the history still contains the first sample at the end.
    let history = options.length.saturating_add(options.interval.saturating_mul(4));
    Config::default().poll_interval(options.interval).history_duration(history)
}

/// Registers running processes. They are not children of this process, so that only the sampler
/// detects their exits.
fn register_processes(collector: &Collector, options: &Options) -> Result<(), Failure> {
    for (name, pid) in &options.processes {
        let plugin = collector.register(name).map_err(UsageError::new)?;
        plugin.started(*pid, "");
    }
    Ok(())
}

/// Restarts children that exit, and shows the progress, for this length of time.
fn tend_children(host: &mut Host, collector: &Collector, length: Duration) -> io::Result<()> {
    let reader = collector.reader();
    let mut progress = Progress::new(length);
    let start = Instant::now();
    let mut is_reloaded = false;
    while let Some(left) = length.checked_sub(start.elapsed()) {
        host.tend()?;
        // The second half of the time shows a second version.
        if !is_reloaded && left <= length / 2 {
            host.reload(Role::Events)?;
            is_reloaded = true;
        }
        progress.show(&reader.snapshot());
        thread::sleep(left.min(TEND_INTERVAL));
    }
    Ok(())
}

/// Returns the snapshot for the report, taken while all processes are alive.
fn closing_snapshot(collector: &Collector) -> Result<Snapshot, StoppedError> {
    let newest = collector.snapshot();
    if newest.tick() > 0 && newest.age() < MAX_CLOSING_AGE {
        Ok(newest)
    } else {
        collector.sample_now()
    }
}

/// Writes a line to standard output. A closed pipe (`| head`) is not an error.
fn print_line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The reason why there is no report.
#[derive(Debug)]
enum Failure {
    /// The command line is invalid.
    Usage(UsageError),
    /// An operation failed.
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
            // Intervals and lengths come from the command line; the library checks their bounds.
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
