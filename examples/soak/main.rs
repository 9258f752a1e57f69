//! A soak test of all parts together: real children that start, crash and exit, ticks of 10 ms,
//! events from two threads, readers that check the invariants of every snapshot, and every output.
//! Runs for a minute, or for the given number of seconds:
//!
//! ```sh
//! cargo run --release --features http --example soak
//! cargo run --release --features http --example soak -- 1800
//! ```
//!
//! It prints its progress and a summary. If an invariant is violated, it prints which, and exits
//! with 1.
//!
//! `host.rs` has the children and the expected counts, `check.rs` the invariants of a snapshot and
//! of two consecutive ones, `views.rs` those of the outputs, `served.rs` those of the responses
//! over HTTP, and `usage.rs` the memory, threads and descriptors of this process.

mod check;
mod host;
mod served;
mod usage;
mod views;

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::http::{self, HttpConfig};
use plugmeter::{Collector, Config, EventCounter, Reader};

use crate::check::Checker;
use crate::host::Host;
use crate::usage::UsageMonitor;

/// The shortest poll interval.
const INTERVAL: Duration = Duration::from_millis(10);
/// A history that fills during the warm-up, and is overwritten continuously after that.
const HISTORY: Duration = Duration::from_secs(30);
/// The interval between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// A violated invariant, as a message.
type Violation = String;

/// The work of the threads so far.
#[derive(Default)]
struct Tally {
    done: AtomicBool,
    checked: AtomicU64,
    rendered: AtomicU64,
    events: AtomicU64,
    responses: AtomicU64,
}

fn main() -> ExitCode {
    match soak() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Ignored: standard error is the only place to report an error.
            let _ = writeln!(io::stderr(), "soak: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn soak() -> Result<(), Box<dyn Error>> {
    let seconds = match &env::args().skip(1).collect::<Vec<_>>()[..] {
        [] => 60,
        [seconds] => seconds.parse().map_err(|_| "usage: soak [SECONDS]")?,
        _ => return Err("usage: soak [SECONDS]".into()),
    };
    // The runtime of a process's first server opens descriptors that it keeps for later servers.
    let disabled = Collector::start(Config::default().enabled(false))?;
    drop(http::serve(disabled.reader(), HttpConfig::default().port(0))?);
    let before = usage::now();
    let config = Config::default().poll_interval(INTERVAL).history_duration(HISTORY);
    let collector = Collector::start(config)?;
    let server = http::serve(collector.reader(), HttpConfig::default().port(0))?;
    let address = server.local_addr().expect("it is enabled");
    let (mut host, tally) = (Host::new(&collector)?, Tally::default());
    let mut monitor = UsageMonitor::new(HISTORY + HISTORY / 3);
    let (begin, length) = (Instant::now(), Duration::from_secs(seconds));

    let outcome = thread::scope(|scope| {
        let mut threads = Vec::new();
        for counter in host.counters() {
            threads.push(scope.spawn(|| count(counter, &tally)));
        }
        for _ in 0..2 {
            threads.push(scope.spawn(|| read(&collector.reader(), &tally)));
        }
        threads.push(scope.spawn(|| render(&collector.reader(), &tally)));
        threads.push(scope.spawn(|| request(address, &tally)));

        let mut result = Ok(());
        let mut reported = Instant::now();
        while result.is_ok() && begin.elapsed() < length {
            result = host.tend(&collector).map_err(|error| error.to_string());
            result = result.and_then(|()| monitor.check(begin.elapsed()));
            if threads.iter().any(thread::ScopedJoinHandle::is_finished) {
                break; // a thread has found a violation
            }
            if reported.elapsed() >= PROGRESS_INTERVAL {
                reported = Instant::now();
                print_line(&progress(begin.elapsed(), &collector, &host, &tally));
            }
        }
        tally.done.store(true, Ordering::Relaxed);
        threads.into_iter().fold(result, |result, thread| {
            let outcome = thread.join().unwrap_or_else(|_| Err("a thread has panicked".into()));
            result.and(outcome)
        })
    });
    outcome?;
    let children = host.children();
    host.end()?;
    collector.stop();
    host.check(&collector.snapshot())?;
    print_line(&progress(begin.elapsed(), &collector, &host, &tally));
    drop((host, collector, server));
    let usage = monitor.summary(&before, &usage::now())?;
    print_line(&format!("{usage}\n{children} children; no violation"));
    Ok(())
}

fn print_line(text: &str) {
    // Ignored: the reader of a pipe may have exited, and the soak continues.
    let _ = writeln!(io::stdout(), "{text}");
}

fn progress(elapsed: Duration, collector: &Collector, host: &Host, tally: &Tally) -> String {
    let stats = collector.snapshot().sampler();
    let [checked, rendered, events, responses] =
        [&tally.checked, &tally.rendered, &tally.events, &tally.responses]
            .map(|count| count.load(Ordering::Relaxed));
    format!(
        "{:>5} s: {} ticks, {} missed, {} failed reads; {} children, {} crashes; {events} events; \
         {checked} snapshots checked, {rendered} renderings of all outputs, \
         {responses} responses; {}",
        elapsed.as_secs(),
        stats.ticks,
        stats.missed_ticks,
        stats.failed_reads,
        host.children(),
        host.crashes(),
        usage::now(),
    )
}

/// Counts events until the end.
fn count(counter: EventCounter, tally: &Tally) -> Result<(), Violation> {
    while !tally.done.load(Ordering::Relaxed) {
        for _ in 0..100 {
            let before = counter.get();
            counter.increment();
            if counter.get() <= before {
                return Err(format!("a counter did not increase from {before}"));
            }
        }
        tally.events.fetch_add(100, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Checks one snapshot after the other.
fn read(reader: &Reader, tally: &Tally) -> Result<(), Violation> {
    let mut checker = Checker::new(INTERVAL, HISTORY);
    while !tally.done.load(Ordering::Relaxed) {
        checker.check(&reader.snapshot())?;
        tally.checked.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Requests everything that the server offers, over one connection that is kept and over new ones.
fn request(server: SocketAddr, tally: &Tally) -> Result<(), Violation> {
    let mut client = served::Client::new(server);
    while !tally.done.load(Ordering::Relaxed) {
        let responses = client.round()?;
        tally.responses.fetch_add(responses, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Renders every output, and checks the text.
fn render(reader: &Reader, tally: &Tally) -> Result<(), Violation> {
    while !tally.done.load(Ordering::Relaxed) {
        let snapshot = reader.snapshot();
        for (name, check) in views::ALL {
            check(&snapshot).map_err(|violation| format!("{name}: {violation}"))?;
        }
        tally.rendered.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
