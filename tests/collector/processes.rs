//! The collector on real child processes, with each probe of this build.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::{
    Collector, Config, PluginState, ProbeKind, ReadError, RegisterError, RunEnd, StoppedError,
    Window,
};
use plugmeter_test_support::{
    ChildGuard, HANG_TIMEOUT, manual_collector, probes, shell, sleeper, ticking_collector,
    wait_for, wait_for_plugin, wait_past_crash_grace,
};

/// CPU, memory and uptime of a busy child stay within physical bounds over three values.
#[test]
fn busy_child_has_plausible_values() {
    for probe in probes() {
        let interval = Duration::from_millis(150);
        let collector = ticking_collector(probe, interval);
        let plugin = collector.register("busy").unwrap();
        let start = Instant::now();
        let child = shell("while :; do :; done");
        plugin.started(child.pid(), "1.0");
        // The share of a core that other processes leave to the child is unknown.
        let snapshot = wait_for_plugin(&collector, "busy", "three plausible values", |view| {
            let values = view.history(Window::All).filter_map(|sample| sample.cpu_percent);
            values.filter(|cpu| *cpu >= 1.0).count() >= 3
                && view.cpu_time() > Duration::from_millis(50)
        });
        // The kernel counts CPU time in steps.
        let longest = start.elapsed() + Duration::from_millis(20);
        let view = snapshot.plugin("busy").unwrap();
        let (mut uptime, mut last_value) = (Duration::ZERO, None);
        for sample in view.history(Window::All).filter(|sample| sample.run.is_some()) {
            assert_eq!(sample.pid, Some(child.pid()));
            assert_eq!(sample.version, Some("1.0"));
            assert_eq!(sample.state, PluginState::Running);
            if let Some(cpu) = sample.cpu_percent {
                assert!(cpu >= 0.0, "{probe}: {cpu} %");
                // One thread uses at most one core, plus the steps of the kernel's clock. A late
                // tick makes the next interval short. The start of the first interval is unknown,
                // so the first value is not checked.
                if let Some(before) = last_value.replace(sample.timestamp) {
                    let interval = sample.timestamp.duration_since(before).unwrap().as_secs_f64();
                    let most = 100.0 * (1.0 + 0.020 / interval);
                    assert!(cpu <= most, "{probe}: {cpu} % in {interval} seconds");
                }
            }
            let memory = sample.memory_mb().expect("the process is alive");
            assert!((0.1..100.0).contains(&memory), "{probe}: {memory} MB");
            let up = sample.uptime.expect("the start time is known");
            assert!(up >= uptime && up < Duration::from_secs(600), "{probe}: {up:?}");
            uptime = up;
        }
        assert!(view.cpu_time() <= longest, "{probe}: {:?} in {longest:?}", view.cpu_time());
        let run = view.run().unwrap();
        let started = run.started_at.expect("the start time is known");
        let apart = run.reported_at.duration_since(started).unwrap_or_default();
        assert!(apart < Duration::from_secs(30), "{probe}: {apart:?}");
        assert!(snapshot.system().total_memory_bytes > 0);
        assert_eq!(snapshot.system().plugins_running, 1);
        let stats = snapshot.sampler();
        assert_eq!(stats.ticks, snapshot.tick());
        assert!(stats.last_tick_duration > Duration::ZERO);
    }
}

#[test]
fn sampler_reports_own_cpu_time() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let child = sleeper();
        collector.register("idle").unwrap().started(child.pid(), "");
        let before = collector.sample_now().unwrap().sampler();
        let after = collector.sample_now().unwrap().sampler();
        if cfg!(target_os = "linux") {
            assert!(after.cpu_time.unwrap() > before.cpu_time.unwrap());
            assert!(after.overhead_percent.unwrap() > 0.0);
        }
        assert_eq!(after.ticks, before.ticks + 1);
    }
}

#[test]
fn history_keeps_configured_sample_count() {
    let interval = Duration::from_millis(20);
    let config = Config::default().poll_interval(interval).history_duration(interval * 10);
    let collector = Collector::start(config).unwrap();
    collector.register("idle").unwrap();
    let snapshot = wait_for("forty ticks", || {
        let snapshot = collector.snapshot();
        (snapshot.tick() >= 40).then_some(snapshot)
    });
    let aggregates = snapshot.plugin("idle").unwrap().aggregates(Window::All).unwrap();
    assert_eq!(aggregates.sample_count, 10);
    assert_eq!(snapshot.plugin("idle").unwrap().history(Window::All).len(), 10);
    // Ten deadlines have nine intervals between them. A tick may be late by one interval and still
    // be the next one.
    assert!(aggregates.time_span >= interval * 8, "{:?}", aggregates.time_span);
    if snapshot.sampler().missed_ticks == 0 {
        assert!(aggregates.time_span <= interval * 10, "{:?}", aggregates.time_span);
    }
}

#[test]
fn concurrent_events_are_all_counted() {
    const EACH: u64 = 100_000;
    let collector = ticking_collector(ProbeKind::default(), Duration::from_millis(10));
    let plugin = collector.register("busy").unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            let events = plugin.events().clone();
            scope.spawn(move || (0..EACH).for_each(|_| events.increment()));
        }
    });
    assert_eq!(plugin.events().get(), 8 * EACH);
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("busy").unwrap();
    assert_eq!(view.event_count(), 8 * EACH);
    assert_eq!(view.current().unwrap().event_count, 8 * EACH);
    assert_eq!(snapshot.system().total_events, 8 * EACH);
    let counts: Vec<u64> = view.history(Window::All).map(|sample| sample.event_count).collect();
    assert!(counts.is_sorted(), "{counts:?}");
}

#[test]
fn restart_keeps_history_and_counters() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let mut first = sleeper();
        let run = plugin.started(first.pid(), "1.0");
        plugin.events().add(5);
        collector.sample_now().unwrap();
        plugin.set_state(PluginState::Stopping);
        first.kill();
        plugin.exited(run, first.wait());
        let between = collector.sample_now().unwrap();
        let view = between.plugin("dice").unwrap();
        assert_eq!((view.state(), view.pid()), (PluginState::Stopped, None));
        assert_eq!(view.version(), Some("1.0"), "of the newest run, active or not");

        let second = sleeper();
        plugin.started(second.pid(), "1.1");
        plugin.events().add(2);
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!(view.event_count(), 7);
        assert_eq!((view.restart_count(), view.crash_count()), (1, 0));
        let versions: Vec<_> = view.history(Window::All).map(|sample| sample.version).collect();
        assert_eq!(versions[versions.len() - 3..], [Some("1.0"), None, Some("1.1")], "{probe}");
        let runs: Vec<_> = view.runs().collect();
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0].end, Some(RunEnd::Signaled(9)));
        assert_eq!((runs[1].end, runs[1].pid), (None, second.pid()));
    }
}

#[test]
fn hot_reload_replaces_run_without_crash() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let (old, new) = (sleeper(), sleeper());
        plugin.started(old.pid(), "1.0");
        plugin.started(new.pid(), "1.1");
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        let ends: Vec<_> = view.runs().map(|run| run.end).collect();
        assert_eq!(ends, [Some(RunEnd::Replaced), None]);
        assert_eq!((view.state(), view.restart_count()), (PluginState::Running, 1));
        // The same process with a third version is not another process.
        plugin.started(new.pid(), "1.2");
        wait_past_crash_grace(&collector);
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.version(), view.restart_count()), (Some("1.2"), 1), "{probe}");
        assert_eq!((view.pid(), view.crash_count()), (Some(new.pid()), 0));
    }
}

/// Bound for reports within the crash grace period of one second. A test that is preempted for
/// longer than this starts again.
const MAX_REPORT_DELAY: Duration = Duration::from_millis(900);

/// A crash that only the sampler has detected is published immediately and counted after the grace
/// period.
#[test]
fn unreported_crash_counts_after_grace_period() {
    let round = |probe| {
        let collector = ticking_collector(probe, Duration::from_millis(20));
        let plugin = collector.register("dice").unwrap();
        let mut child = sleeper();
        plugin.started(child.pid(), "");
        wait_for_plugin(&collector, "dice", "a process", |view| view.pid().is_some());
        let before = Instant::now();
        child.kill();
        let snapshot = wait_for_plugin(&collector, "dice", "the crash", |view| {
            view.state() == PluginState::Crashed
        });
        if before.elapsed() > MAX_REPORT_DELAY {
            return None;
        }
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.pid(), view.crash_count()), (None, 0));
        let snapshot =
            wait_for_plugin(&collector, "dice", "the crash count", |view| view.crash_count() == 1);
        let view = snapshot.plugin("dice").unwrap();
        let run = view.runs().next().unwrap();
        assert_eq!(view.last_crash(), run.ended_at);
        assert_eq!(snapshot.system().plugins_crashed, 1);
        Some(())
    };
    for probe in probes() {
        wait_for("a run that is fast enough", || round(probe));
    }
}

#[test]
fn reported_crash_counts_immediately_and_once() {
    for probe in probes() {
        let collector = ticking_collector(probe, Duration::from_millis(20));
        let plugin = collector.register("dice").unwrap();
        // The host reports the exit before the sampler can detect it, and after it has.
        for detected_before in [false, true] {
            let mut child = sleeper();
            let run = plugin.started(child.pid(), "");
            let before = collector.sample_now().unwrap().plugin("dice").unwrap().crash_count();
            child.kill();
            if detected_before {
                wait_for_plugin(&collector, "dice", "the crash", |view| {
                    view.state() == PluginState::Crashed
                });
            }
            plugin.exited(run, child.wait());
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("dice").unwrap();
            assert_eq!((view.state(), view.crash_count()), (PluginState::Crashed, before + 1));
            assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Signaled(9)));
        }
        wait_past_crash_grace(&collector);
        let snapshot = collector.sample_now().unwrap();
        assert_eq!(snapshot.plugin("dice").unwrap().crash_count(), 2, "{probe}");
    }
}

/// A host that kills its child, waits for it and reports `stopped` has no crash, even if the
/// sampler has already detected one.
#[test]
fn stopped_report_within_grace_prevents_crash() {
    let round = |probe| {
        let collector = ticking_collector(probe, Duration::from_millis(10));
        let plugin = collector.register("dice").unwrap();
        for wait_until_detected in [false, true] {
            let mut child = sleeper();
            plugin.started(child.pid(), "");
            collector.sample_now().unwrap();
            let before = Instant::now();
            child.kill();
            child.wait();
            if wait_until_detected {
                wait_for_plugin(&collector, "dice", "the crash", |view| {
                    view.state() == PluginState::Crashed
                });
            }
            plugin.stopped();
            if before.elapsed() > MAX_REPORT_DELAY {
                return None;
            }
        }
        wait_past_crash_grace(&collector);
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0), "{probe}");
        assert_eq!(view.last_crash(), None);
        Some(())
    };
    for probe in probes() {
        wait_for("reports that are in time", || round(probe));
    }
}

/// An exit in the state `Stopping` is not a crash, whatever its status is.
#[test]
fn exit_while_stopping_is_no_crash() {
    for probe in probes() {
        let collector = ticking_collector(probe, Duration::from_millis(10));
        let plugin = collector.register("dice").unwrap();
        let mut child = sleeper();
        plugin.started(child.pid(), "");
        plugin.set_state(PluginState::Stopping);
        child.kill();
        wait_for_plugin(&collector, "dice", "the exit", |view| {
            view.state() == PluginState::Stopped
        });
        child.wait();
        wait_past_crash_grace(&collector);
        assert_eq!(collector.snapshot().plugin("dice").unwrap().crash_count(), 0, "{probe}");
    }
}

#[test]
fn started_with_gone_pid_is_crashed_run() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let mut child = sleeper();
        let pid = child.pid();
        child.kill();
        child.wait();
        plugin.started(pid, "1.0");
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.state(), view.pid()), (PluginState::Crashed, None), "{probe}");
        let run = view.runs().next().unwrap();
        assert_eq!((run.end, run.cpu_time), (Some(RunEnd::Unknown), None));
        assert!(view.current().unwrap().cpu_percent.is_none());
        assert_eq!(view.read_error(), None);
    }
}

#[test]
fn invalid_pid_is_rejected() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let mut numbers = vec![0, i32::MAX as u32 + 1, u32::MAX];
        let thread = cfg!(target_os = "linux").then(thread_of_this_process);
        numbers.extend(thread.iter().map(|(id, _)| *id));
        for pid in numbers {
            plugin.started(pid, "");
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("dice").unwrap();
            assert_eq!(view.state(), PluginState::Failed, "{probe}: {pid}");
            assert_eq!(view.read_error(), Some(&ReadError::InvalidPid));
            assert_eq!(view.runs().count(), 0);
            let sample = view.current().unwrap();
            assert_eq!((sample.cpu_percent, sample.memory_bytes), (None, None));
        }
    }
}

/// Returns the ID of a thread of this process that is not its first thread. The thread lives until
/// the sender is dropped; a thread of another test could exit at any time.
fn thread_of_this_process() -> (u32, mpsc::Sender<()>) {
    let (id_sender, id_receiver) = mpsc::channel();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let link = std::fs::read_link("/proc/thread-self").unwrap();
        id_sender.send(link.file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap();
        let _ = receiver.recv();
    });
    (id_receiver.recv().unwrap(), sender)
}

#[test]
fn process_shared_by_two_plugins_is_sampled_twice() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let child = sleeper();
        for name in ["a", "b"] {
            collector.register(name).unwrap().started(child.pid(), "");
        }
        let snapshot = collector.sample_now().unwrap();
        for name in ["a", "b"] {
            let sample = snapshot.plugin(name).unwrap().current().unwrap();
            assert_eq!(sample.pid, Some(child.pid()), "{probe}");
            assert!(sample.memory_bytes.is_some());
        }
    }
}

#[test]
fn removed_plugin_stays_in_older_snapshots() {
    let collector = manual_collector(ProbeKind::default());
    let plugin = collector.register("dice").unwrap();
    let child = sleeper();
    plugin.started(child.pid(), "1.0");
    plugin.events().add(3);
    let before = collector.sample_now().unwrap();
    let other = collector.plugin("dice").unwrap();
    plugin.remove();
    assert!(collector.plugin("dice").is_none());

    let again = collector.register("dice").unwrap();
    let after = collector.sample_now().unwrap();
    let view = after.plugin("dice").unwrap();
    assert_eq!((view.event_count(), view.runs().count()), (0, 0));
    assert_eq!(view.history(Window::All).len(), 1);

    // Handles of the removed plugin have no effect.
    other.started(child.pid(), "2.0");
    other.remove();
    again.events().increment();
    let after = collector.sample_now().unwrap();
    let view = after.plugin("dice").unwrap();
    assert_eq!((view.state(), view.event_count()), (PluginState::Stopped, 1));

    let kept = before.plugin("dice").unwrap();
    assert_eq!((kept.version(), kept.event_count()), (Some("1.0"), 3));
}

#[test]
fn sample_now_includes_earlier_reports() {
    let collector = manual_collector(ProbeKind::default());
    for i in 0..200u64 {
        let name = format!("plugin {i}");
        let plugin = collector.register(&name).unwrap();
        plugin.events().add(i);
        plugin.set_state(PluginState::Unhealthy);
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin(&name).unwrap();
        assert_eq!((view.event_count(), view.state()), (i, PluginState::Unhealthy));
    }
}

#[test]
fn change_is_published_between_ticks() {
    let collector = manual_collector(ProbeKind::default());
    let plugin = collector.register("dice").unwrap();
    wait_for_plugin(&collector, "dice", "its registration", |_| true);
    let first = collector.snapshot();
    plugin.set_state(PluginState::Starting);
    let second = wait_for_plugin(&collector, "dice", "its state", |view| {
        view.state() == PluginState::Starting
    });
    assert!(second.revision() > first.revision());
    assert_eq!(second.tick(), first.tick());
}

/// Changes are published at most every ten milliseconds, and the last change is published too.
#[test]
fn publications_are_10_ms_apart_and_end_current() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let start = Instant::now();
        let first = collector.sample_now().unwrap().revision();
        wait_for("twenty publications", || {
            for _ in 0..20 {
                plugin.set_state(PluginState::Starting);
                plugin.set_state(PluginState::Unhealthy);
                thread::sleep(Duration::from_micros(50));
            }
            (collector.snapshot().revision() >= first + 20).then_some(())
        });
        plugin.set_state(PluginState::Stopping);
        let last = wait_for_plugin(&collector, "dice", "the last state", |view| {
            view.state() == PluginState::Stopping
        });
        let most = start.elapsed().as_millis() / 10;
        let published = last.revision() - first;
        assert!(u128::from(published) <= most, "{probe}: {published} in {most} times 10 ms");
    }
}

#[test]
fn unchanged_state_is_not_published() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        plugin.set_state(PluginState::Unhealthy);
        let mut before = collector.sample_now().unwrap();
        for _ in 0..10 {
            // Waits until the rate limit of publications allows another one.
            thread::sleep(Duration::from_millis(15));
            plugin.set_state(PluginState::Unhealthy);
            thread::sleep(Duration::from_millis(15));
            let after = collector.sample_now().unwrap();
            assert_eq!(after.revision(), before.revision() + 1, "{probe}: only the tick publishes");
            before = after;
        }
    }
}

#[test]
fn stop_does_not_wait_for_tick_or_readers() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let child = sleeper();
        plugin.started(child.pid(), "1.0");
        let held = collector.sample_now().unwrap();
        let reader = collector.reader();
        let start = Instant::now();
        collector.stop();
        // Far less than the poll interval of an hour.
        assert!(start.elapsed() < HANG_TIMEOUT);
        collector.stop();

        let last = reader.snapshot();
        assert!(last.is_stopped() && !held.is_stopped());
        assert_eq!(last.plugin("dice").unwrap().version(), Some("1.0"));
        assert_eq!(collector.sample_now(), Err(StoppedError));
        assert_eq!(collector.register("8ball").unwrap_err(), RegisterError::Stopped);

        // Reports after the stop have no effect; events are still counted.
        plugin.started(child.pid(), "2.0");
        plugin.stopped();
        plugin.remove();
        plugin.events().increment();
        assert_eq!(plugin.events().get(), 1);
        assert_eq!(reader.snapshot(), last);
        drop(collector);
        assert_eq!(reader.snapshot(), last);
        assert_eq!(held.plugin("dice").unwrap().pid(), Some(child.pid()));
    }
}

#[test]
fn concurrent_stops_return_after_stop() {
    for _ in 0..20 {
        let collector = manual_collector(ProbeKind::default());
        let reader = collector.reader();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    collector.stop();
                    assert!(reader.snapshot().is_stopped(), "stop returns after the stop");
                });
            }
            scope.spawn(|| {
                // A snapshot or an error, in either order with the stop. The call must return.
                let _: Result<_, StoppedError> = collector.sample_now();
            });
        });
    }
}

#[test]
fn stop_counts_pending_crash() {
    let collector = manual_collector(ProbeKind::default());
    let plugin = collector.register("dice").unwrap();
    let mut child = sleeper();
    plugin.started(child.pid(), "");
    child.kill();
    child.wait();
    wait_for("the crash", || {
        let snapshot = collector.sample_now().unwrap();
        (snapshot.plugin("dice").unwrap().state() == PluginState::Crashed).then_some(())
    });
    collector.stop();
    assert_eq!(collector.snapshot().plugin("dice").unwrap().crash_count(), 1);
}

#[test]
fn disabled_collector_counts_events_only() {
    let config = Config::default().enabled(false);
    let collector = Collector::start(config).unwrap();
    let plugin = collector.register("dice").unwrap();
    plugin.started(std::process::id(), "1.0");
    plugin.events().add(2);
    assert_eq!(plugin.events().get(), 2);
    assert!(collector.plugin("dice").is_some());
    assert!(matches!(collector.register("dice"), Err(RegisterError::AlreadyRegistered { .. })));
    assert_eq!(collector.sample_now(), Err(StoppedError));
    let snapshot = collector.snapshot();
    assert!(snapshot.is_stopped());
    assert_eq!((snapshot.tick(), snapshot.plugins().len()), (0, 0));
    collector.stop();
    assert_eq!(collector.register("8ball").unwrap_err(), RegisterError::Stopped);
}

#[test]
fn register_beyond_65536_plugins_fails() {
    let collector = manual_collector(ProbeKind::default());
    for i in 0..65_536 {
        collector.register(&i.to_string()).unwrap();
    }
    let error = collector.register("one more").unwrap_err();
    assert_eq!(error, RegisterError::TooManyPlugins { max: 65_536 });
    assert_eq!(collector.sample_now().unwrap().plugins().len(), 65_536);
    collector.plugin("7").unwrap().remove();
    collector.register("one more").unwrap();
    let snapshot = collector.sample_now().unwrap();
    assert!(snapshot.plugin("7").is_none() && snapshot.plugin("one more").is_some());
}

#[test]
fn plugins_are_sorted_by_name() {
    let collector = manual_collector(ProbeKind::default());
    for name in ["pear", "apple", "öl", "zoo", "fig"] {
        collector.register(name).unwrap();
    }
    collector.plugin("pear").unwrap().remove();
    let snapshot = collector.sample_now().unwrap();
    let names: Vec<_> = snapshot.plugins().map(|plugin| plugin.name()).collect();
    assert_eq!(names, ["apple", "fig", "zoo", "öl"]);
}

#[test]
fn reported_exit_has_no_values() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let mut child: ChildGuard = shell("exit 3");
        let run = plugin.started(child.pid(), "");
        plugin.exited(run, child.wait());
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.state(), view.crash_count()), (PluginState::Crashed, 1), "{probe}");
        assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Exited(3)));
        let sample = view.current().unwrap();
        assert_eq!((sample.pid, sample.memory_bytes, sample.uptime), (None, None, None));
    }
}
