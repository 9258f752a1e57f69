//! A sampler that cannot be started: the attempt leaves nothing behind, and the next attempt works.

use std::fs::File;
use std::io;
use std::thread;

use plugmeter::{Collector, Config, InitError, ProbeKind, StartError};
use plugmeter_test_support::isolated_process::{AS_NOBODY, enter_isolated, own_descriptors};
use plugmeter_test_support::{manual_collector, probes, report_skipped, sleeper, wait_for};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

/// Number of threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Returns threads and descriptors that an attempt could leave behind. A joined thread may still be
/// listed for a short time, so tests wait until it is gone before they compare.
fn resources() -> (usize, Vec<String>) {
    (threads(), own_descriptors())
}

/// Runs `action` while this user may not start another thread or process.
pub(super) fn without_threads<T>(action: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::Nproc);
    setrlimit(Resource::Nproc, Rlimit { current: Some(0), ..before }).unwrap();
    let done = action();
    setrlimit(Resource::Nproc, before).unwrap();
    done
}

/// Whether the limit of processes applies to this user here.
pub(super) fn is_thread_limit_enforced() -> bool {
    without_threads(|| thread::Builder::new().spawn(|| ()).is_err())
}

#[track_caller]
fn assert_works(collector: &Collector) {
    let child = sleeper();
    let plugin = collector.register("dice").unwrap();
    plugin.started(child.pid(), "1.0");
    wait_for("a value", || {
        let snapshot = collector.sample_now().unwrap();
        let sample = snapshot.plugin("dice").unwrap().current().unwrap();
        assert!(sample.memory_bytes.is_some(), "{sample:?}");
        let uptime = sample.uptime.expect("the start time is known");
        assert!(uptime.as_secs() < 3_600, "{uptime:?}");
        sample.cpu_percent
    });
}

#[test]
fn start_without_thread_fails_cleanly() {
    // The limit does not apply to root.
    let commands: &[&str] = if geteuid().is_root() { &AS_NOBODY } else { &[] };
    if !enter_isolated(start_without_thread_fails_cleanly, commands) {
        return;
    }
    let probes = probes();
    if !is_thread_limit_enforced() {
        report_skipped("the limit of processes does not hold here", "a start that gets no thread");
        return;
    }
    for &probe in &probes {
        // Threads of the check for available probes and of the previous probe.
        wait_for("earlier threads to be gone", || (threads() <= 2).then_some(()));
        let before = resources();
        for attempt in 0..200 {
            let config = Config::default().probe(probe);
            match without_threads(|| Collector::start(config)) {
                Err(StartError::Thread(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{probe}: {error}");
                }
                other => panic!("{probe}, attempt {attempt}: {other:?}"),
            }
        }
        assert_eq!(resources(), before, "{probe}: left behind by two hundred attempts");
        assert_works(&manual_collector(probe));
    }
    // The process-wide collector can be started again as well.
    let failed = without_threads(|| plugmeter::init(Config::default()).map(|_| ()));
    assert!(matches!(failed, Err(InitError::Start(StartError::Thread(_)))), "{failed:?}");
    assert!(plugmeter::global().is_none());
    assert_works(plugmeter::init(Config::default()).unwrap());
}

/// Numbers of free descriptors, from none to enough.
const FREE: std::ops::Range<usize> = 0..8;

/// Starts collectors with fewer descriptors than they need, and then with all of them.
fn starts_with_too_few(probe: ProbeKind) {
    let before = own_descriptors();
    let mut failed = 0;
    for free in FREE {
        let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        taken.truncate(taken.len() - free);
        let started = Collector::start(Config::default().probe(probe));
        drop(taken);
        match started {
            Err(StartError::Thread(_)) => failed += 1,
            Err(error) => panic!("{probe}, {free} free: {error}"),
            // It has started with few descriptors and continues with more.
            Ok(collector) => assert_works(&collector),
        }
        assert_eq!(own_descriptors(), before, "{probe}: {free} were free");
    }
    assert!(failed > 0, "{probe}: a start needs descriptors");
    assert!(failed < FREE.len(), "{probe}: {} are enough", FREE.end - 1);
    assert_works(&manual_collector(probe));
}

#[test]
fn start_without_descriptors_fails_cleanly() {
    if enter_isolated(start_without_descriptors_fails_cleanly, &["prlimit", "--nofile=64"]) {
        starts_with_too_few(ProbeKind::Native);
    }
}

#[test]
#[cfg(feature = "portable")]
fn portable_start_with_few_descriptors_works() {
    if enter_isolated(portable_start_with_few_descriptors_works, &["prlimit", "--nofile=64"]) {
        starts_with_too_few(ProbeKind::Portable);
    }
}
