//! Many threads that use one collector, and many collectors in one process: every call returns, and
//! nothing is lost.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use plugmeter::{
    Collector, Config, Plugin, PluginState, ProbeKind, RegisterError, Snapshot, StoppedError,
    Window,
};
use plugmeter_test_support::{manual_collector, probes, sleeper, ticking_collector, wait_for};

const THREADS: usize = 8;
const INTERVAL: Duration = Duration::from_millis(10);

/// Returns `PLUGMETER_ROUNDS`, or `usual`, which is enough to meet the races by chance.
fn rounds(usual: usize) -> usize {
    let rounds = std::env::var("PLUGMETER_ROUNDS").ok();
    rounds.map_or(usual, |text| text.parse().expect("a number of rounds"))
}

/// Calls that race with `stop` return, and every plugin that was registered before it is in the
/// final snapshot.
#[test]
fn calls_racing_with_stop_return() {
    let (registered, rejected) = (AtomicU64::new(0), AtomicU64::new(0));
    for round in 0..rounds(300) {
        let probe = probes_in_turn(round);
        let collector = ticking_collector(probe, INTERVAL);
        let reader = collector.reader();
        let barrier = Barrier::new(THREADS);
        let names = Mutex::new(BTreeSet::new());
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (collector, reader, barrier) = (&collector, &reader, &barrier);
                let (names, registered, rejected) = (&names, &registered, &rejected);
                scope.spawn(move || {
                    barrier.wait();
                    let mut revision = 0;
                    for step in 0.. {
                        match (thread + step) % 4 {
                            0 => {
                                let name = format!("{thread} {step}");
                                match collector.register(&name) {
                                    Ok(plugin) => {
                                        plugin.started(std::process::id(), "1.0");
                                        plugin.set_state(PluginState::Unhealthy);
                                        plugin.events().increment();
                                        assert_eq!(plugin.events().get(), 1);
                                        names.lock().unwrap().insert(name);
                                        registered.fetch_add(1, Ordering::Relaxed);
                                    }
                                    Err(error) => {
                                        assert_eq!(error, RegisterError::Stopped);
                                        rejected.fetch_add(1, Ordering::Relaxed);
                                    }
                                }
                            }
                            1 => match collector.sample_now() {
                                Ok(snapshot) => assert!(snapshot.tick() > 0),
                                Err(StoppedError) => break,
                            },
                            2 => {
                                let snapshot = reader.snapshot();
                                assert!(snapshot.revision() >= revision, "the revision decreased");
                                revision = snapshot.revision();
                            }
                            // During the first steps of two of the threads.
                            _ if thread < 2 && step > round % 16 => {
                                collector.stop();
                                assert!(reader.snapshot().is_stopped(), "stop has returned");
                                assert_eq!(collector.sample_now(), Err(StoppedError));
                            }
                            _ => {}
                        }
                    }
                });
            }
        });
        // The final snapshot has exactly the plugins whose registration succeeded.
        let last = reader.snapshot();
        assert!(last.is_stopped());
        let shown: BTreeSet<String> = last.plugins().map(|view| view.name().to_owned()).collect();
        assert_eq!(shown, names.into_inner().unwrap(), "round {round}");
        drop(collector);
        assert_eq!(reader.snapshot(), last);
    }
    let (registered, rejected) = (registered.into_inner(), rejected.into_inner());
    eprintln!(
        "{} rounds: {registered} registrations before the stop, {rejected} after it",
        rounds(300)
    );
    assert!(
        registered > 0 && rejected > 0,
        "stop never raced with register: {registered}, {rejected}"
    );
}

fn probes_in_turn(round: usize) -> ProbeKind {
    thread_local!(static PROBES: Vec<ProbeKind> = probes());
    PROBES.with(|probes| probes[round % probes.len()])
}

#[test]
fn handles_of_dropped_collector_only_count() {
    for round in 0..rounds(50) {
        let collector = ticking_collector(probes_in_turn(round), INTERVAL);
        let plugins: Vec<Plugin> =
            (0..THREADS).map(|i| collector.register(&i.to_string()).unwrap()).collect();
        let reader = collector.reader();
        collector.sample_now().unwrap();
        // Drops the collector while all of its handles are in use.
        thread::scope(|scope| {
            for plugin in &plugins {
                scope.spawn(move || {
                    for _ in 0..200 {
                        let run = plugin.started(std::process::id(), "1.0");
                        plugin.exited(run, std::process::ExitStatus::default());
                        plugin.set_state(PluginState::Failed);
                        plugin.events().increment();
                    }
                });
            }
            drop(collector);
        });
        let last = reader.snapshot();
        assert!(last.is_stopped());
        for plugin in &plugins {
            plugin.crashed();
            plugin.remove();
            assert_eq!(plugin.events().get(), 200);
        }
        assert_eq!(reader.snapshot(), last);
        assert_eq!(last.plugins().len(), THREADS);
    }
}

#[test]
fn sixteen_collectors_are_independent() {
    const COLLECTORS: usize = 16;
    let probes = probes();
    let child = sleeper();
    let collectors: Vec<Collector> =
        (0..COLLECTORS).map(|i| ticking_collector(probes[i % probes.len()], INTERVAL)).collect();
    for (i, collector) in collectors.iter().enumerate() {
        // All collectors have the same plugin name and the same process.
        let plugin = collector.register("dice").unwrap();
        plugin.started(child.pid(), &i.to_string());
        plugin.events().add(i as u64);
        collector.register(&format!("own {i}")).unwrap();
    }
    let check = |i: usize, snapshot: &Snapshot| {
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.version(), view.event_count()), (Some(&*i.to_string()), i as u64));
        let names: Vec<_> = snapshot.plugins().map(|plugin| plugin.name()).collect();
        assert_eq!(names, ["dice", &format!("own {i}")]);
    };
    thread::scope(|scope| {
        for (i, collector) in collectors.iter().enumerate() {
            scope.spawn(move || {
                for _ in 0..20 {
                    check(i, &collector.sample_now().unwrap());
                }
                // Half of the collectors stop while the others continue.
                if i % 2 == 0 {
                    collector.stop();
                }
            });
        }
    });
    for (i, collector) in collectors.iter().enumerate() {
        check(i, &collector.snapshot());
        assert_eq!(collector.snapshot().is_stopped(), i % 2 == 0);
        assert_eq!(collector.sample_now().is_err(), i % 2 == 0);
    }
}

/// Number of plugins that share one process.
const BURST: usize = 10_000;

/// Ten thousand plugins that eight threads register and remove are all present, with all their
/// events.
#[test]
fn concurrent_registrations_are_all_kept() {
    let collector = manual_collector(ProbeKind::default());
    let child = sleeper();
    let pid = child.pid();
    let name = |i: usize| format!("plugin {i:05}");
    let of_thread = |thread: usize| (thread..BURST).step_by(THREADS);
    let each = |work: &(dyn Fn(usize) + Sync)| {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || of_thread(thread).for_each(work));
            }
        });
    };

    each(&|i| {
        let plugin = collector.register(&name(i)).unwrap();
        plugin.started(pid, &i.to_string());
        plugin.events().add(i as u64);
        // A third is reloaded; a third is reported as crashed.
        match i % 3 {
            0 => drop(plugin.started(pid, &format!("{i} again"))),
            1 => plugin.crashed(),
            _ => {}
        }
    });
    let full = collector.sample_now().unwrap();
    assert_eq!(full.plugins().len(), BURST);
    for (i, view) in full.plugins().enumerate() {
        assert_eq!((view.name(), view.event_count()), (&*name(i), i as u64));
        assert_eq!((view.crash_count(), view.restart_count()), (u64::from(i % 3 == 1), 0), "{i}");
        let (version, state) = match i % 3 {
            0 => (format!("{i} again"), PluginState::Running),
            1 => (i.to_string(), PluginState::Crashed),
            _ => (i.to_string(), PluginState::Running),
        };
        assert_eq!((view.version(), view.state()), (Some(&*version), state), "{i}");
        assert_eq!(view.pid().is_some(), state == PluginState::Running, "{i}");
        assert_eq!(view.read_error(), None, "{i}");
        if view.pid().is_some() {
            assert!(view.current().unwrap().memory_bytes.is_some(), "{i}");
        }
    }
    let system = full.system();
    assert_eq!((system.total_plugins, system.plugins_running), (BURST, BURST - BURST / 3));
    assert_eq!(system.plugins_crashed, BURST / 3);
    assert_eq!(system.total_events, (BURST * (BURST - 1) / 2) as u64);

    // Removes all but every tenth plugin and registers the same names again.
    each(&|i| {
        let plugin = collector.plugin(&name(i)).unwrap();
        assert_eq!(plugin.events().get(), i as u64);
        if i % 10 != 0 {
            plugin.remove();
            let again = collector.register(&name(i)).unwrap();
            assert_eq!(again.events().get(), 0);
            again.events().increment();
            if i % 10 != 1 {
                again.remove();
            }
        }
    });
    let few = collector.sample_now().unwrap();
    let names: Vec<_> = few.plugins().map(|view| view.name()).collect();
    let expected: Vec<_> = (0..BURST).filter(|i| i % 10 < 2).map(name).collect();
    assert_eq!(names, expected);
    for i in (0..BURST).filter(|i| i % 10 < 2) {
        let view = few.plugin(&name(i)).unwrap();
        if i % 10 == 0 {
            assert_eq!((view.event_count(), view.history(Window::All).len()), (i as u64, 2), "{i}");
        } else {
            assert_eq!((view.event_count(), view.history(Window::All).len()), (1, 1), "{i}");
            assert_eq!((view.crash_count(), view.runs().count()), (0, 0), "{i}");
        }
    }
    // The older snapshot has not changed.
    assert_eq!(full.plugins().len(), BURST);
    assert_eq!(full.plugin(&name(9)).unwrap().event_count(), 9);

    each(&|i| {
        if let Some(plugin) = collector.plugin(&name(i)) {
            plugin.remove();
        }
    });
    let none = collector.sample_now().unwrap();
    assert_eq!((none.plugins().len(), none.system().total_events), (0, 0));
}

#[test]
fn concurrent_restarts_lose_nothing() {
    const RESTARTS: u64 = 10_000;
    let collector = ticking_collector(ProbeKind::default(), INTERVAL);
    let child = sleeper();
    let restart = |plugin: &Plugin| {
        let run = plugin.started(child.pid(), "1.0");
        plugin.events().increment();
        // Lets another thread that restarts the same plugin run in between.
        thread::yield_now();
        plugin.exited(run, ExitStatusExt::from_raw(3 << 8));
    };
    // One thread: each run ends before the next one starts.
    let alone = collector.register("alone").unwrap();
    (0..RESTARTS).for_each(|_| restart(&alone));
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("alone").unwrap();
    assert_eq!((view.crash_count(), view.restart_count()), (RESTARTS, RESTARTS - 1));
    assert_eq!((view.event_count(), view.runs().count()), (RESTARTS, 256));

    // Eight threads: some runs are replaced by another thread's run before their exit is reported.
    let plugin = collector.register("dice").unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..RESTARTS / THREADS as u64).for_each(|_| restart(&plugin)));
        }
    });
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("dice").unwrap();
    // A replaced run is neither a crash nor a restart, because its process is alive and belongs to
    // the next run. Every other run ends as a crash, and the run after it is a restart. No run
    // follows the last one.
    let crashes = view.crash_count();
    assert_eq!(crashes, view.restart_count() + 1);
    assert!((1..RESTARTS).contains(&crashes), "{crashes} crashes: no run was replaced");
    assert_eq!(view.event_count(), RESTARTS);
    assert_eq!((view.pid(), view.runs().count()), (None, 256));
    assert!(view.runs().all(|run| run.end.is_some()));
    let ids: Vec<_> = view.runs().map(|run| run.id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    let counted: u64 = view.history(Window::All).map(|sample| sample.crash_count).max().unwrap();
    assert_eq!(counted, crashes);
}

#[test]
fn held_snapshot_never_changes() {
    let config = Config::default().poll_interval(INTERVAL).history_duration(INTERVAL * 100);
    let collector = Collector::start(config).unwrap();
    let child = sleeper();
    let plugin = collector.register("dice").unwrap();
    plugin.started(child.pid(), "1.0");
    let values = |snapshot: &Snapshot| {
        let view = snapshot.plugin("dice").unwrap();
        let rows = view.history(Window::All).map(|sample| {
            (sample.timestamp, sample.event_count, sample.cpu_percent, sample.memory_bytes)
        });
        (rows.collect::<Vec<_>>(), view.aggregates(Window::All), snapshot.to_string())
    };
    let held: Vec<(Snapshot, _)> = (0..THREADS as u64)
        .map(|round| {
            plugin.events().add(round);
            let snapshot = wait_for("ticks", || {
                let snapshot = collector.snapshot();
                (snapshot.tick() >= 20 * (round + 1)).then_some(snapshot)
            });
            let values = values(&snapshot);
            (snapshot, values)
        })
        .collect();
    let last = held.last().unwrap().0.tick();
    wait_for("the window to turn over twice", || {
        (collector.snapshot().tick() > last + 200).then_some(())
    });
    for (snapshot, before) in &held {
        assert_eq!(values(snapshot), *before, "of tick {}", snapshot.tick());
    }
}

/// A flood of commands is processed completely, and every deadline of a tick is kept or counted as
/// missed.
#[test]
fn command_flood_delays_no_deadline() {
    const EACH: u64 = 100_000;
    for probe in probes() {
        let collector = ticking_collector(probe, INTERVAL);
        let plugins: Vec<Plugin> =
            (0..THREADS).map(|i| collector.register(&i.to_string()).unwrap()).collect();
        let before = collector.sample_now().unwrap();
        thread::scope(|scope| {
            for plugin in &plugins {
                scope.spawn(|| {
                    for step in 0..EACH {
                        let even = step % 2 == 0;
                        plugin.set_state(if even {
                            PluginState::Starting
                        } else {
                            PluginState::Unhealthy
                        });
                        plugin.events().increment();
                    }
                });
            }
        });
        // This request is behind all of the commands in the queue.
        let after = collector.sample_now().unwrap();
        for view in after.plugins() {
            assert_eq!((view.state(), view.event_count()), (PluginState::Unhealthy, EACH));
        }
        let deadlines = |of: &Snapshot| of.sampler().ticks + of.sampler().missed_ticks;
        let passed = after.sampled_at_instant() - before.sampled_at_instant();
        let passed = passed.as_secs_f64() / INTERVAL.as_secs_f64();
        // The first and the last tick were requested, and either may also have been due.
        let counted = (deadlines(&after) - deadlines(&before)) as f64;
        assert!((counted - passed).abs() <= 2.0, "{probe}: {counted} of {passed} deadlines");
        assert!(after.tick() > before.tick() + 1, "{probe}: no tick in {passed} intervals");
    }
}
