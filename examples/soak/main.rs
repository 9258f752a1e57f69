//! A soak test of all parts together: real children that start, fork, crash and exit, ticks of 10 ms,
//! events from two threads, limits, subscribers of which one sleeps, readers that check the invariants of
//! every snapshot, every output, a store, and a receiver of OTLP that is away now and then.
//! Runs for a minute, or for the given number of seconds:
//!
//! ```sh
//! cargo run --release --features http,otlp,store --example soak
//! cargo run --release --features http,otlp,store --example soak -- 3600
//! ```
//!
//! It prints its progress and a summary. If an invariant is violated, it prints which, and exits
//! with 1. Deadlines that were missed depend on the machine: those of a second collector, which samples
//! one process and has no readers, are printed beside them.
//!
//! `host.rs` has the children and the expected counts, `check.rs` the invariants of a snapshot and
//! of two consecutive ones, `views.rs` those of the outputs, `served.rs` and `streamed.rs` those of the
//! responses over HTTP, `subscribers.rs` those of notifications, `stored.rs` those of the store,
//! `pushed.rs` those of OTLP, and `usage.rs` the memory, threads and descriptors of this process.

mod check;
mod host;
mod pushed;
mod served;
mod stored;
mod streamed;
mod subscribers;
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
use plugmeter::{Collector, Config, EventCounter, Limit, LimitMetric, Limits, Reader};

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
    /// Events of the stream.
    streamed: AtomicU64,
    /// Notifications that the subscriber received that does not sleep.
    notifications: AtomicU64,
    /// Looks into the store.
    looks: AtomicU64,
    /// Ticks in delivered requests.
    pushed: AtomicU64,
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
    let bare = Collector::start(config.clone().process_trees(false))?;
    bare.register("this process")?.started(std::process::id(), "");
    let folder = stored::Folder::new()?;
    let store = folder.open()?;
    let collector = Collector::start(config.limits(limits()))?;
    let recorder = store.record(collector.reader())?;
    let http = HttpConfig::default().port(0).store(store.reader());
    let server = http::serve(collector.reader(), http)?;
    let address = server.local_addr().expect("it is enabled");
    // Before anything can be notified.
    let subscriptions = [collector.subscribe(), collector.subscribe()];
    let (mut host, tally) = (Host::new(&collector)?, Tally::default());
    let mut monitor = UsageMonitor::new(HISTORY + HISTORY / 3);
    let (begin, length) = (Instant::now(), Duration::from_secs(seconds));

    let children = thread::scope(|scope| {
        let tally = &tally;
        let subscribers = [(&subscriptions[0], false), (&subscriptions[1], true)].map(
            |(subscription, sleeps)| {
                scope.spawn(move || subscribers::receive(subscription, sleeps, tally))
            },
        );
        let mut threads = Vec::new();
        for counter in host.counters() {
            threads.push(scope.spawn(|| count(counter, tally)));
        }
        for _ in 0..2 {
            threads.push(scope.spawn(|| read(&collector.reader(), tally)));
        }
        threads.push(scope.spawn(|| render(&collector.reader(), tally)));
        threads.push(scope.spawn(|| request(address, tally)));
        threads.push(scope.spawn(|| streamed::read(address, tally)));
        threads.push(scope.spawn(|| stored::look(&store.reader(), &collector.reader(), tally)));
        let pusher = scope.spawn(|| pushed::push(&collector.reader(), tally));

        let mut result = Ok(());
        let mut reported = Instant::now();
        while result.is_ok() && begin.elapsed() < length {
            result = host.tend(&collector).map_err(|error| error.to_string());
            result = result.and_then(|()| monitor.check(begin.elapsed()));
            let has_ended = threads.iter().any(thread::ScopedJoinHandle::is_finished)
                || subscribers.iter().any(thread::ScopedJoinHandle::is_finished)
                || pusher.is_finished();
            if has_ended {
                break; // a thread has found a violation
            }
            if reported.elapsed() >= PROGRESS_INTERVAL {
                reported = Instant::now();
                print_line(&progress(begin.elapsed(), &[&collector, &bare], &host, tally));
            }
        }
        tally.done.store(true, Ordering::Relaxed);
        for thread in threads {
            result = result.and(joined(thread));
        }
        let children = host.children();
        // The others return when the collector has stopped.
        let ended = host.end().map_err(|error| error.to_string());
        collector.stop();
        result = result.and(ended).and(joined(pusher));
        let received = subscribers.map(joined);
        result?;
        let [eager, sleepy] = received;
        let (eager, sleepy) = (eager?, sleepy?);
        if eager.sent() != sleepy.sent() {
            return Err(format!("subscribers: {eager:?}, but {sleepy:?}"));
        }
        print_line(&format!("subscribers: {eager:?}; with naps {sleepy:?}"));
        Ok::<_, Violation>(children)
    })?;
    host.check(&collector.snapshot())?;
    recorder.stop();
    if let Some(error) = recorder.error() {
        return Err(format!("the recorder: {error}").into());
    }
    stored::check_end(&store.reader(), &collector.snapshot())?;
    print_line(&format!("the store: {} bytes", stored::bytes(&folder.file())));
    print_line(&progress(begin.elapsed(), &[&collector, &bare], &host, &tally));
    drop((host, collector, bare, server, recorder, store, subscriptions));
    let usage = monitor.summary(&before, &usage::now())?;
    print_line(&format!("{usage}\n{children} children; no violation"));
    Ok(())
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T, Violation>>) -> Result<T, Violation> {
    thread.join().unwrap_or_else(|_| Err("a thread has panicked".into()))
}

/// Limits that the children exceed and clear again and again.
fn limits() -> Limits {
    let moment = Duration::from_millis(100);
    let lasting = |metric, above| Limit::new(metric, above).lasting(moment).grace(Duration::ZERO);
    Limits::default()
        .rule(lasting(LimitMetric::CpuPercent, 20.0))
        .rule(lasting(LimitMetric::ProcessCount, 2.0))
        .rule(lasting(LimitMetric::EventsPerSecond, 20.0))
        .rule(Limit::new(LimitMetric::Crashes { within: Duration::from_secs(10) }, 60.0))
}

fn print_line(text: &str) {
    // Ignored: the reader of a pipe may have exited, and the soak continues.
    let _ = writeln!(io::stdout(), "{text}");
}

fn progress(elapsed: Duration, collectors: &[&Collector; 2], host: &Host, tally: &Tally) -> String {
    let [stats, bare] = collectors.map(|collector| collector.snapshot().sampler());
    let Tally {
        checked, rendered, events, responses, streamed, notifications, looks, pushed, ..
    } = tally;
    let [checked, rendered, events, responses, streamed, notifications, looks, pushed] =
        [checked, rendered, events, responses, streamed, notifications, looks, pushed]
            .map(|count| count.load(Ordering::Relaxed));
    format!(
        "{:>5} s: {} ticks, {} missed ({} of the bare collector), {} failed reads, {:.1} % of a core; {} children, \
         {} crashes; {events} events; {checked} snapshots checked, {rendered} renderings of all \
         outputs, {responses} responses, {streamed} streamed; {notifications} notifications, {looks} \
         looks into the store, {pushed} ticks pushed; {}",
        elapsed.as_secs(),
        stats.ticks,
        stats.missed_ticks,
        bare.missed_ticks,
        stats.failed_reads,
        stats.overhead_percent.unwrap_or(0.0),
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
