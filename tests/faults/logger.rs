//! A host's logger that meddles with the collector whose lines it gets: from the sampler's thread,
//! and from the thread that stops it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use log::{LevelFilter, Log, Metadata, Record};
use plugmeter::{Collector, Config};

use crate::support::wait_for;
use crate::world::entered;

/// Does this at every line, and counts them.
struct Meddler(fn(&str));

static LINES: AtomicU64 = AtomicU64::new(0);

impl Log for Meddler {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.fetch_add(1, Ordering::Relaxed);
        (self.0)(&record.args().to_string());
    }

    fn flush(&self) {}
}

fn install(meddler: &'static Meddler) {
    log::set_logger(meddler).unwrap();
    log::set_max_level(LevelFilter::Trace);
}

#[test]
fn a_logger_may_stop_the_collector_at_the_line_that_says_that_it_has_stopped() {
    static COLLECTOR: Mutex<Option<&Collector>> = Mutex::new(None);

    fn stop(line: &str) {
        let collector = *COLLECTOR.lock().unwrap();
        if let Some(collector) = collector.filter(|_| line.contains("stopped")) {
            collector.stop();
        }
    }

    if !entered(a_logger_may_stop_the_collector_at_the_line_that_says_that_it_has_stopped, &[]) {
        return;
    }
    install(&Meddler(stop));
    let collector: &'static Collector =
        Box::leak(Box::new(Collector::start(Config::default()).unwrap()));
    *COLLECTOR.lock().unwrap() = Some(collector);
    let stopping = thread::spawn(|| collector.stop());
    wait_for("stop to return", || stopping.is_finished().then_some(()));
    assert!(collector.snapshot().is_stopped());
}

#[test]
fn a_logger_may_drop_the_collector_in_the_samplers_own_thread() {
    static COLLECTOR: Mutex<Option<Collector>> = Mutex::new(None);

    fn take(_: &str) {
        let collector = COLLECTOR.lock().unwrap().take();
        drop(collector);
    }

    if !entered(a_logger_may_drop_the_collector_in_the_samplers_own_thread, &[]) {
        return;
    }
    install(&Meddler(take));
    for _ in 0..20 {
        let collector = Collector::start(Config::default()).unwrap();
        let (reader, plugin) = (collector.reader(), collector.register("dice").unwrap());
        *COLLECTOR.lock().unwrap() = Some(collector);
        // Something to log in the sampler's thread, if the first tick is over already.
        plugin.started(0, "");
        wait_for("the sampler to end", || reader.snapshot().is_stopped().then_some(()));
        assert!(COLLECTOR.lock().unwrap().is_none());
    }
}

#[test]
fn a_logger_may_register_and_remove_plugins_at_every_line() {
    static COLLECTOR: Mutex<Option<&Collector>> = Mutex::new(None);

    fn register(_: &str) {
        let collector = *COLLECTOR.lock().unwrap();
        if let Some(collector) = collector {
            let name = format!("of line {}", LINES.load(Ordering::Relaxed));
            // Another line has the same number, or the collector has stopped: both are answers.
            if let Ok(plugin) = collector.register(&name) {
                plugin.started(0, "");
                plugin.remove();
            }
        }
    }

    if !entered(a_logger_may_register_and_remove_plugins_at_every_line, &[]) {
        return;
    }
    install(&Meddler(register));
    let collector: &'static Collector =
        Box::leak(Box::new(Collector::start(Config::default()).unwrap()));
    *COLLECTOR.lock().unwrap() = Some(collector);
    for _ in 0..200 {
        collector.sample_now().unwrap();
    }
    let stopping = thread::spawn(|| collector.stop());
    wait_for("stop to return", || stopping.is_finished().then_some(()));
    assert!(LINES.load(Ordering::Relaxed) > 200);
    // One that was registered a moment before the stop cannot be removed after it.
    assert!(collector.snapshot().plugins().len() <= 1);
}
