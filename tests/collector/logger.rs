//! A host's logger that uses the collector whose lines it receives: in the sampler's thread, and in
//! the thread that stops the collector. Each test installs a logger in a process of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use log::{Level, LevelFilter, Log, Metadata, Record};
use plugmeter::{Collector, Config, StoppedError};
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::wait_for;

/// Counts the lines, and calls a function at each.
struct HookLogger(fn(Level, &str));

static LINES: AtomicU64 = AtomicU64::new(0);

impl Log for HookLogger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.fetch_add(1, Ordering::Relaxed);
        (self.0)(record.level(), &record.args().to_string());
    }

    fn flush(&self) {}
}

fn install(logger: &'static HookLogger) {
    log::set_logger(logger).unwrap();
    log::set_max_level(LevelFilter::Trace);
}

#[test]
fn logger_may_stop_at_stopped_line() {
    static COLLECTOR: Mutex<Option<&Collector>> = Mutex::new(None);

    fn stop(_: Level, line: &str) {
        let collector = *COLLECTOR.lock().unwrap();
        if let Some(collector) = collector.filter(|_| line.contains("stopped")) {
            collector.stop();
        }
    }

    if !enter_isolated(logger_may_stop_at_stopped_line, &[]) {
        return;
    }
    install(&HookLogger(stop));
    let collector: &'static Collector =
        Box::leak(Box::new(Collector::start(Config::default()).unwrap()));
    *COLLECTOR.lock().unwrap() = Some(collector);
    let stopping = thread::spawn(|| collector.stop());
    wait_for("stop to return", || stopping.is_finished().then_some(()));
    assert!(collector.snapshot().is_stopped());
}

#[test]
fn logger_may_drop_collector_in_sampler_thread() {
    static COLLECTOR: Mutex<Option<Collector>> = Mutex::new(None);

    fn take(_: Level, _: &str) {
        let collector = COLLECTOR.lock().unwrap().take();
        drop(collector);
    }

    if !enter_isolated(logger_may_drop_collector_in_sampler_thread, &[]) {
        return;
    }
    install(&HookLogger(take));
    for _ in 0..20 {
        let collector = Collector::start(Config::default()).unwrap();
        let (reader, plugin) = (collector.reader(), collector.register("dice").unwrap());
        *COLLECTOR.lock().unwrap() = Some(collector);
        // Causes a log line in the sampler's thread if the first tick is already over.
        plugin.started(0, "");
        wait_for("the sampler to stop", || reader.snapshot().is_stopped().then_some(()));
        assert!(COLLECTOR.lock().unwrap().is_none());
    }
}

#[test]
fn logger_may_register_and_remove_plugins() {
    static COLLECTOR: Mutex<Option<&Collector>> = Mutex::new(None);

    fn register(_: Level, _: &str) {
        let collector = *COLLECTOR.lock().unwrap();
        if let Some(collector) = collector {
            let name = format!("of line {}", LINES.load(Ordering::Relaxed));
            // Fails if another line has used the same name, or after the stop. Both are valid
            // results.
            if let Ok(plugin) = collector.register(&name) {
                plugin.started(0, "");
                plugin.remove();
            }
        }
    }

    if !enter_isolated(logger_may_register_and_remove_plugins, &[]) {
        return;
    }
    install(&HookLogger(register));
    let collector: &'static Collector =
        Box::leak(Box::new(Collector::start(Config::default()).unwrap()));
    *COLLECTOR.lock().unwrap() = Some(collector);
    for _ in 0..200 {
        collector.sample_now().unwrap();
    }
    let stopping = thread::spawn(|| collector.stop());
    wait_for("stop to return", || stopping.is_finished().then_some(()));
    assert!(LINES.load(Ordering::Relaxed) > 200);
    // A plugin that was registered immediately before the stop cannot be removed after it.
    assert!(collector.snapshot().plugins().len() <= 1);
}

/// A logger that panics in the sampler's thread, requests a sample there, and stops the collector.
#[test]
fn logger_may_panic_sample_and_stop() {
    static COLLECTOR: OnceLock<Collector> = OnceLock::new();
    static STOPPED: AtomicBool = AtomicBool::new(false);
    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static TRACE_LINES: AtomicU64 = AtomicU64::new(0);

    // The lines of ticks have the level `Trace`.
    fn interfere(level: Level, line: &str) {
        if level != Level::Trace {
            LINES.lock().unwrap().push(line.to_owned());
            return;
        }
        let Some(collector) = COLLECTOR.get() else {
            return;
        };
        match TRACE_LINES.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("a logger that panics"),
            1 => assert_eq!(collector.sample_now(), Err(StoppedError), "would wait for itself"),
            _ => {
                collector.stop();
                STOPPED.store(true, Ordering::Release);
            }
        }
    }

    if !enter_isolated(logger_may_panic_sample_and_stop, &[]) {
        return;
    }
    install(&HookLogger(interfere));
    let collector = Collector::start(Config::default()).unwrap();
    let collector = COLLECTOR.get_or_init(|| collector);
    let plugin = collector.register("dice").unwrap();
    for _ in 0..3 {
        plugin.started(0, "");
    }
    wait_for("the logger to stop the collector", || {
        // A snapshot, or an error after the stop: this call must return.
        let _: Result<_, StoppedError> = collector.sample_now();
        STOPPED.load(Ordering::Acquire).then_some(())
    });
    collector.stop();
    assert!(collector.snapshot().is_stopped());
    let lines = LINES.lock().unwrap();
    let warned = lines.iter().filter(|line| line.contains("not the id of a process")).count();
    assert_eq!(warned, 1, "once per cause: {lines:?}");
    assert!(lines.iter().any(|line| line.contains("sampling every")), "{lines:?}");
    drop(lines);
    // Reports that are queued at the stop are processed and logged.
    for _ in 0..20 {
        let collector = Collector::start(Config::default()).unwrap();
        collector.register("late").unwrap().started(0, "");
        collector.stop();
    }
    let lines = LINES.lock().unwrap();
    let warned = lines.iter().filter(|line| line.starts_with("plugin \"late\"")).count();
    assert_eq!(warned, 20, "{lines:?}");
}
