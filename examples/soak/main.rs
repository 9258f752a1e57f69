//! All of it at once, for as long as you like: real children that come, crash and go, ticks of 10
//! ms, events from two threads, and readers that check what must hold in every snapshot, with every
//! view there is. For a minute, or as many seconds as are asked for:
//!
//! ```sh
//! cargo run --release --features http --example soak
//! cargo run --release --features http --example soak -- 1800
//! ```
//!
//! It prints how it goes, and a summary. If something does not hold it says what, and exits with 1.
//!
//! `host.rs` has the children and knows what the collector should have counted in the end,
//! `check.rs` what holds in a snapshot and between two, `views.rs` the outputs, `served.rs` those
//! that come over HTTP, `usage.rs` what the process needs.

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
use crate::usage::Watch;

/// The shortest there is.
const INTERVAL: Duration = Duration::from_millis(10);
/// A window that is full soon, and then turns over all the time.
const HISTORY: Duration = Duration::from_secs(30);
/// How often it says how it goes.
const REPORT: Duration = Duration::from_secs(10);

/// What is broken, in a sentence.
type Broken = String;

/// What the threads have done so far.
#[derive(Default)]
struct Tally {
    done: AtomicBool,
    checked: AtomicU64,
    viewed: AtomicU64,
    events: AtomicU64,
    answers: AtomicU64,
}

fn main() -> ExitCode {
    match soak() {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            // There is nobody left to tell if this fails too.
            let _ = writeln!(io::stderr(), "soak: BROKEN: {broken}");
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
    // The runtime of the first server of a process opens what it keeps for all others.
    let nothing = Collector::start(Config::default().enabled(false))?;
    drop(http::serve(nothing.reader(), HttpConfig::default().port(0))?);
    let before = usage::now();
    let config = Config::default().poll_interval(INTERVAL).history_duration(HISTORY);
    let collector = Collector::start(config)?;
    let server = http::serve(collector.reader(), HttpConfig::default().port(0))?;
    let address = server.local_addr().expect("it is enabled");
    let (mut host, tally) = (Host::new(&collector)?, Tally::default());
    let mut watch = Watch::new(HISTORY + HISTORY / 3);
    let (begin, length) = (Instant::now(), Duration::from_secs(seconds));

    let outcome = thread::scope(|scope| {
        let mut threads = Vec::new();
        for counter in host.counters() {
            threads.push(scope.spawn(|| count(counter, &tally)));
        }
        for _ in 0..2 {
            threads.push(scope.spawn(|| read(&collector.reader(), &tally)));
        }
        threads.push(scope.spawn(|| view(&collector.reader(), &tally)));
        threads.push(scope.spawn(|| ask(address, &tally)));

        let mut result = Ok(());
        let mut reported = Instant::now();
        while result.is_ok() && begin.elapsed() < length {
            result = host.tend(&collector).map_err(|error| error.to_string());
            result = result.and_then(|()| watch.look(begin.elapsed()));
            if threads.iter().any(thread::ScopedJoinHandle::is_finished) {
                break; // it has something to say
            }
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                say(&progress(begin.elapsed(), &collector, &host, &tally));
            }
        }
        tally.done.store(true, Ordering::Relaxed);
        threads.into_iter().fold(result, |result, thread| {
            let answer = thread.join().unwrap_or_else(|_| Err("a thread has panicked".into()));
            result.and(answer)
        })
    });
    outcome?;
    let children = host.children();
    host.end()?;
    collector.stop();
    host.check(&collector.snapshot())?;
    say(&progress(begin.elapsed(), &collector, &host, &tally));
    drop((host, collector, server));
    let verdict = watch.verdict(&before, &usage::now())?;
    say(&format!("{verdict}\n{children} children; everything that was checked holds"));
    Ok(())
}

fn say(text: &str) {
    // Who reads it may have gone; the soak goes on.
    let _ = writeln!(io::stdout(), "{text}");
}

fn progress(elapsed: Duration, collector: &Collector, host: &Host, tally: &Tally) -> String {
    let stats = collector.snapshot().sampler();
    let [checked, viewed, events, answers] =
        [&tally.checked, &tally.viewed, &tally.events, &tally.answers]
            .map(|count| count.load(Ordering::Relaxed));
    format!(
        "{:>5} s: {} ticks, {} missed, {} reads failed; {} children, {} crashes; {events} events; \
         {checked} snapshots checked, {viewed} times every view, {answers} answers; {}",
        elapsed.as_secs(),
        stats.ticks,
        stats.missed_ticks,
        stats.failed_reads,
        host.children(),
        host.crashes(),
        usage::now(),
    )
}

/// Counts events until it is over.
fn count(counter: EventCounter, tally: &Tally) -> Result<(), Broken> {
    while !tally.done.load(Ordering::Relaxed) {
        for _ in 0..100 {
            let before = counter.get();
            counter.increment();
            if counter.get() <= before {
                return Err(format!("a counter stood still at {before}"));
            }
        }
        tally.events.fetch_add(100, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Checks snapshot after snapshot.
fn read(reader: &Reader, tally: &Tally) -> Result<(), Broken> {
    let mut checker = Checker::new(INTERVAL, HISTORY);
    while !tally.done.load(Ordering::Relaxed) {
        checker.check(&reader.snapshot())?;
        tally.checked.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Asks the server for everything it answers, over one connection that is kept and over new ones.
fn ask(server: SocketAddr, tally: &Tally) -> Result<(), Broken> {
    let mut client = served::Client::new(server);
    while !tally.done.load(Ordering::Relaxed) {
        let answers = client.round()?;
        tally.answers.fetch_add(answers, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Writes every view there is, and reads what was written.
fn view(reader: &Reader, tally: &Tally) -> Result<(), Broken> {
    while !tally.done.load(Ordering::Relaxed) {
        let snapshot = reader.snapshot();
        for (name, check) in views::ALL {
            check(&snapshot).map_err(|broken| format!("{name}: {broken}"))?;
        }
        tally.viewed.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
