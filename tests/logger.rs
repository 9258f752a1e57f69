//! A host's logger runs in the sampler's thread, and may do there what it likes.

#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use log::{Level, LevelFilter, Log, Metadata, Record};
use plugmeter::{Collector, Config, StoppedError};
use support::wait_for;

static COLLECTOR: OnceLock<Collector> = OnceLock::new();
static STOPPED: AtomicBool = AtomicBool::new(false);
static PANICS: AtomicUsize = AtomicUsize::new(0);
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Panics at the first tick, stops the collector at the third.
struct Meddler;

impl Log for Meddler {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() != Level::Trace {
            LINES.lock().unwrap().push(record.args().to_string());
            return;
        }
        let Some(collector) = COLLECTOR.get() else {
            return;
        };
        match PANICS.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("a logger that panics"),
            1 => assert_eq!(collector.sample_now(), Err(StoppedError), "it cannot wait for itself"),
            _ => {
                collector.stop();
                STOPPED.store(true, Ordering::Release);
            }
        }
    }

    fn flush(&self) {}
}

#[test]
fn a_logger_may_panic_ask_for_a_sample_and_stop_the_collector_from_the_samplers_own_thread() {
    log::set_logger(&Meddler).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let collector = Collector::start(Config::default()).unwrap();
    let collector = COLLECTOR.get_or_init(|| collector);
    let problem = collector.register("dice").unwrap();
    for _ in 0..3 {
        problem.started(0, "");
    }
    wait_for("the logger to stop it", || {
        // The answer, or the refusal when it was stopped: what counts is that one comes.
        let _: Result<_, StoppedError> = collector.sample_now();
        STOPPED.load(Ordering::Acquire).then_some(())
    });
    collector.stop();
    assert!(collector.snapshot().is_stopped());
    let lines = LINES.lock().unwrap();
    let warned = lines.iter().filter(|line| line.contains("not that of a process")).count();
    assert_eq!(warned, 1, "once per cause: {lines:?}");
    assert!(lines.iter().any(|line| line.contains("sampling every")), "{lines:?}");
    drop(lines);
    // What there is to say at the end is said.
    for _ in 0..20 {
        let collector = Collector::start(Config::default()).unwrap();
        collector.register("late").unwrap().started(0, "");
        collector.stop();
    }
    let lines = LINES.lock().unwrap();
    let warned = lines.iter().filter(|line| line.starts_with("plugin \"late\"")).count();
    assert_eq!(warned, 20, "{lines:?}");
}
