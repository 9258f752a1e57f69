//! A child that is forked from the host without exec: it has no sampler, and locks may be held by
//! threads that do not exist in it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(unsafe_code)] // to forbid system calls by seccomp

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use plugmeter::{
    Collector, Config, Plugin, PluginState, ProbeKind, Reader, RecvError, RegisterError, Snapshot,
    StoppedError, Subscription, Window,
};
use plugmeter_test_support::forked::{Forked, fork};
use plugmeter_test_support::{
    SetOnDrop, manual_collector, probes, report_skipped, sleeper, state_after_unclean_exit,
    ticking_collector, wait_for,
};

/// Checks what must hold in the child. Returns 0, or the number of the violated condition as an
/// exit code.
fn check_child(
    collector: &Collector,
    plugin: &plugmeter::Plugin,
    parents: &mut Option<Subscription>,
) -> i32 {
    let reader = collector.reader();
    let snapshot = reader.snapshot();
    let before = plugin.events().get();
    plugin.events().increment();
    let run = plugin.started(std::process::id(), "2.0");
    plugin.exited(run, std::process::ExitStatus::default());
    plugin.set_state(PluginState::Failed);
    plugin.crashed();
    plugin.remove();
    let subscription = collector.subscribe();
    let facts = [
        subscription.recv() == Err(RecvError::Closed),
        parents.as_ref().is_some_and(|parents| parents.recv() == Err(RecvError::Closed)),
        reader.wait_for_newer(&snapshot, Duration::MAX).is_none(),
        snapshot.plugin("dice").is_some_and(|dice| dice.version() == Some("1.0")),
        !snapshot.is_stopped(),
        plugin.events().get() == before + 1,
        collector.register("8ball").is_err_and(|error| error == RegisterError::Stopped),
        collector.plugin("dice").is_none(),
        collector.sample_now() == Err(StoppedError),
    ];
    // Without the locks that its queue may have held at the fork.
    drop(parents.take());
    collector.stop();
    let wrong = facts.iter().position(|fact| !fact);
    let still = reader.snapshot() == snapshot;
    wrong.map_or(if still { 0 } else { 100 }, |at| at as i32 + 1)
}

#[test]
fn forked_child_can_read_and_count_only() {
    let collector = Collector::start(Config::default()).unwrap();
    let plugin = collector.register("dice").unwrap();
    plugin.started(std::process::id(), "1.0");
    collector.sample_now().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _set_done = SetOnDrop(&done);
        // At some of the forks the lock of the registry is held by a thread that the child does not
        // have.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                collector.register("short-lived").unwrap().remove();
            }
        });
        let codes: Vec<i32> = (0..100)
            .map(|_| {
                let mut parents = Some(collector.subscribe());
                fork(|| check_child(&collector, &plugin, &mut parents))
            })
            .collect();
        assert_eq!(codes, [0; 100], "the number of the violated condition");
    });
    // The host is unaffected.
    let snapshot = collector.sample_now().unwrap();
    let dice = snapshot.plugin("dice").unwrap();
    assert_eq!((dice.version(), dice.crash_count()), (Some("1.0"), 0));
}

/// From now on any system call but the one that exits kills this process. Returns `false` if the
/// kernel does not support that.
fn forbid_system_calls() -> bool {
    let step = |code: u32, k: u32, jf: u8| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut filter = [
        // A filter reads the number of the system call at offset 0.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_exit_group as u32, 1),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let (yes, no) = (1 as libc::c_ulong, 0 as libc::c_ulong);
    let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
    // SAFETY: the kernel copies the filter; nothing else of this process changes.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, no, no, no) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, no, no) == 0
    }
}

/// Runs every query that allocates nothing, and returns a checksum of the results.
fn query(reader: &Reader) -> u64 {
    let snapshot = reader.snapshot();
    let views = snapshot.plugins().map(|view| {
        let samples = view.history(Window::All).map(|sample| sample.event_count);
        let recent = view.aggregates(Window::Last(Duration::from_secs(1)));
        samples.sum::<u64>()
            + view.current().map_or(0, |sample| sample.event_count)
            + view.aggregates(Window::All).map_or(0, |all| all.sample_count as u64)
            + recent.map_or(0, |recent| recent.sample_count as u64)
            + view.runs().map(|run| u64::from(run.pid)).sum::<u64>()
            + view.crash_count()
    });
    views.sum::<u64>() + snapshot.plugin("dice").map_or(0, |dice| dice.event_count())
}

/// Reading makes no system call, so it never waits for another thread, whatever was in progress at
/// the fork.
#[test]
fn reads_make_no_system_call() {
    const UNSUPPORTED: i32 = 99;
    if std::env::var_os("TSAN_OPTIONS").is_some() {
        report_skipped("ThreadSanitizer makes system calls", "reading without system calls");
        return;
    }
    if fork(|| if forbid_system_calls() { 0 } else { UNSUPPORTED }) == UNSUPPORTED {
        report_skipped("system calls cannot be forbidden here", "reading without system calls");
        return;
    }
    for probe in probes() {
        let interval = Duration::from_millis(10);
        // Short, so that each query is fast: the writer ticks as often as it can.
        let config = Config::default().poll_interval(interval).history_duration(interval * 40);
        let collector = Collector::start(config.probe(probe)).unwrap();
        let plugin = collector.register("dice").unwrap();
        plugin.started(std::process::id(), "1.0");
        plugin.events().increment();
        let reader = collector.reader();
        wait_for("a history", || (reader.snapshot().tick() > 40).then_some(()));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let _set_done = SetOnDrop(&done);
            // The forks meet publications and other readers at all points. A read that waited for
            // one of them, which do not exist in the child, would need a system call.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(collector.sample_now());
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(reader.snapshot());
                }
            });
            // The first query of a thread allocates its scratch memory.
            query(&reader);
            for number in 0..FORKS {
                let code = fork(|| {
                    if !forbid_system_calls() {
                        return UNSUPPORTED;
                    }
                    let (checksum, events) = (query(&reader), plugin.events().get());
                    let same = (0..20).all(|_| query(&reader) == checksum);
                    plugin.events().increment();
                    i32::from(!(same && plugin.events().get() == events + 1))
                });
                assert_eq!(code, 0, "{probe}, fork {number}");
            }
        });
    }
}

#[test]
fn drop_in_forked_child_keeps_host_running() {
    let mut collector = Some(Collector::start(Config::default()).unwrap());
    let code = fork(|| {
        drop(collector.take());
        0
    });
    assert_eq!(code, 0);
    assert!(collector.unwrap().sample_now().is_ok());
}

/// Number of forks with each probe; each child forks once more.
const FORKS: usize = 60;

/// Reads a snapshot in every way and returns a checksum of the results.
fn read(snapshot: &Snapshot) -> usize {
    let text = snapshot.to_string() + &serde_json::to_string(snapshot).unwrap();
    let views = snapshot.plugins().map(|view| {
        let samples = view.history(Window::All).map(|sample| sample.event_count as usize);
        samples.sum::<usize>() + view.aggregates(Window::All).map_or(0, |all| all.sample_count)
    });
    text.len() + views.sum::<usize>()
}

#[test]
fn forks_during_ticks_leave_both_sides_intact() {
    for probe in probes() {
        let collector = ticking_collector(probe, Duration::from_millis(10));
        let plugin = collector.register("dice").unwrap();
        plugin.started(std::process::id(), "1.0");
        collector.sample_now().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let _set_done = SetOnDrop(&done);
            // State changes, publications and reads happen all the time.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    plugin.set_state(PluginState::Unhealthy);
                    plugin.set_state(PluginState::Running);
                    drop(collector.sample_now());
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    read(&collector.snapshot());
                }
            });
            let held = collector.snapshot();
            let sum = read(&held);
            let codes: Vec<i32> = (0..FORKS)
                .map(|_| {
                    fork(|| {
                        let snapshot = collector.snapshot();
                        let facts = [
                            read(&held) == sum,
                            read(&snapshot) == read(&collector.snapshot()),
                            snapshot.tick() >= held.tick(),
                        ];
                        drop(snapshot);
                        // Also in the child of the child, and when everything is dropped there.
                        let grandchild = fork(|| {
                            collector.stop();
                            i32::from(read(&held) != sum)
                        });
                        facts.iter().position(|fact| !fact).map_or(grandchild, |at| at as i32 + 2)
                    })
                })
                .collect();
            assert_eq!(codes, [0; FORKS], "{probe}");
        });
        assert!(!collector.sample_now().unwrap().is_stopped());
    }
}

#[test]
fn living_forked_child_does_not_hide_exits() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let mut old = sleeper();
        let plugin = collector.register("old").unwrap();
        plugin.started(old.pid(), "");
        collector.sample_now().unwrap();
        // The child keeps all descriptors of the sampler open.
        let _forked = Forked::run(|| {
            thread::sleep(Duration::from_secs(1_000));
            0
        });
        // The new plugin gets the slot of the removed one. The kernel still reports the exit of the
        // old process, which must not be applied to the new one.
        plugin.remove();
        let new = collector.register("new").unwrap();
        let mut child = sleeper();
        new.started(child.pid(), "");
        collector.sample_now().unwrap();
        old.kill();
        old.wait();
        for _ in 0..20 {
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("new").unwrap();
            assert_eq!((view.state(), view.pid()), (PluginState::Running, Some(child.pid())));
        }
        child.kill();
        wait_for("its exit", || {
            // Without exit notifications a tick detects the exit.
            let notifies = probe == ProbeKind::Native;
            let snapshot =
                if notifies { collector.snapshot() } else { collector.sample_now().unwrap() };
            let state = snapshot.plugin("new").unwrap().state();
            (state == state_after_unclean_exit(probe)).then_some(())
        });
    }
}

#[test]
fn forked_child_can_start_own_collector() {
    let collector = Collector::start(Config::default()).unwrap();
    let plugin = collector.register("dice").unwrap();
    plugin.started(std::process::id(), "1.0");
    collector.sample_now().unwrap();
    plugmeter::init(Config::default()).unwrap();
    let code = fork(|| {
        // The process-wide collector belongs to the host and has no sampler here.
        let global =
            plugmeter::global().is_some_and(|global| global.sample_now() == Err(StoppedError));
        let again = plugmeter::init(Config::default()).is_err();
        drop((plugin.clone(), collector.snapshot()));
        let own = probes().into_iter().all(|probe| {
            let own = Collector::start(Config::default().probe(probe)).unwrap();
            let plugin: Plugin = own.register("dice").unwrap();
            plugin.started(std::process::id(), "2.0");
            let snapshot = own.sample_now().unwrap();
            own.stop();
            let view = snapshot.plugin("dice").unwrap();
            view.pid() == Some(std::process::id()) && own.snapshot().is_stopped()
        });
        i32::from(!global) + 2 * i32::from(!again) + 4 * i32::from(!own)
    });
    assert_eq!(code, 0, "the sum of the violated conditions");
    let snapshot = collector.sample_now().unwrap();
    assert_eq!(snapshot.plugin("dice").unwrap().version(), Some("1.0"));
    assert!(plugmeter::global().unwrap().sample_now().is_ok());
}

#[cfg(feature = "store")]
#[test]
fn forked_child_does_not_use_stores() {
    use plugmeter::{Store, StoreConfig, StoreReader};

    let folder = std::env::temp_dir().join(format!("plugmeter-forked-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("plugmeter.db");
    let store = Store::open(StoreConfig::new(&path)).unwrap();
    let collector = Collector::start(Config::default()).unwrap();
    let _plugin = collector.register("dice").unwrap();
    collector.sample_now().unwrap();
    let recorder = store.record(collector.reader()).unwrap();
    recorder.stop();
    let reader = store.reader();
    assert_eq!(reader.plugins().len(), 1);
    let code = fork(|| {
        let is_refused = reader.plugins().is_empty() && reader.error().is_some();
        let is_recorder_ignored = recorder.error().is_none();
        // SQLite may have been busy at the fork.
        let is_own_refused = StoreReader::open(&path).is_err();
        let other = folder.join("other.db");
        let is_other_refused = Store::open(StoreConfig::new(other)).is_err();
        i32::from(!is_refused)
            + 2 * i32::from(!is_recorder_ignored)
            + 4 * i32::from(!is_own_refused)
            + 8 * i32::from(!is_other_refused)
    });
    assert_eq!(code, 0, "the sum of the violated conditions");
    assert_eq!((reader.plugins().len(), reader.error().is_none()), (1, true));
    drop((reader, recorder, store));
    std::fs::remove_dir_all(&folder).unwrap();
}
