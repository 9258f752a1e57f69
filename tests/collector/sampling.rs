//! Samples of real child processes: values, history, shared processes, and the sampler's own cost.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::{Collector, Config, PluginState, ReadError, RunEnd, Window};
use plugmeter_test_support::{
    ChildGuard, manual_collector, probes, shell, sleeper, ticking_collector, wait_for,
    wait_for_plugin,
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
fn started_with_gone_pid_has_unknown_end() {
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
        assert_eq!((view.state(), view.pid()), (PluginState::Stopped, None), "{probe}");
        assert_eq!((view.crash_count(), view.unknown_end_count()), (0, 1), "{probe}");
        let run = view.runs().next().unwrap();
        assert_eq!((run.end, run.cpu_time), (Some(RunEnd::Unknown), None));
        assert!(view.current().unwrap().cpu_percent.is_none());
        assert_eq!(view.read_error(), None);
    }
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
