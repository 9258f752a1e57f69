//! Runs and their ends: which exits are crashes, when they count, and what reports change.

use std::time::{Duration, SystemTime};

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, PluginState, ReadError, RunEnd, Window};

use crate::fixtures::{POLL, SECOND, cpu, exit, idle, keeping, shown, signal, usage};

#[test]
fn denied_read_loses_no_cpu_time() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_| usage(1_000, 1));
    sim.tick(|_| Observed::Denied);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.read_error(), Some(&ReadError::PermissionDenied));
    let sample = view.current().unwrap();
    assert_eq!((sample.cpu_percent, sample.memory_bytes), (None, None));
    assert_eq!(sample.uptime, Some(POLL * 2));
    sim.tick(|_| usage(2_000, 1));
    let snapshot = sim.snapshot();
    assert_eq!(cpu(&snapshot, "dice"), [Some(20.0), None, Some(10.0)]);
    assert_eq!(snapshot.plugin("dice").unwrap().read_error(), None);
    assert_eq!(snapshot.plugin("dice").unwrap().cpu_time(), SECOND * 2);
    assert_eq!(snapshot.sampler().failed_reads, 1);
}

#[test]
fn panicking_read_affects_one_sample() {
    let mut sim = keeping(10);
    for (name, pid) in [("a", 1), ("b", 2), ("c", 3)] {
        sim.register(name).unwrap().started(pid, "");
    }
    sim.tick(|pid| if pid == 2 { panic!("a read that panics") } else { usage(500, 7) });
    let snapshot = sim.snapshot();
    for (name, expected) in [("a", Some(10.0)), ("b", None), ("c", Some(10.0))] {
        assert_eq!(cpu(&snapshot, name), [expected]);
    }
    assert_eq!(snapshot.sampler().failed_reads, 1);
    let problem = snapshot.plugin("b").unwrap().read_error();
    assert_eq!(problem, Some(&ReadError::Io(std::io::ErrorKind::Other)));
    sim.tick(|_| usage(1_000, 7));
    assert_eq!(cpu(&sim.snapshot(), "b"), [None, Some(10.0)]);
}

#[test]
fn hot_reload_keeps_history_without_crash() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    plugin.events().add(3);
    sim.tick(|_| usage(1_000, 1));
    plugin.started(2, "2.0");
    sim.tick(|pid| usage(u64::from(pid) * 250, 1));
    sim.advance(SECOND * 2);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.crash_count(), view.restart_count(), view.event_count()), (0, 1, 3));
    let versions = view.history(Window::All).map(|sample| sample.version);
    assert!(versions.eq([Some("1.0"), Some("2.0")]));
    let runs: Vec<_> = view.runs().map(|run| (run.pid, run.end, run.cpu_time)).collect();
    assert_eq!(runs, [(1, Some(RunEnd::Replaced), Some(SECOND)), (2, None, None)]);
    assert_eq!(cpu(&snapshot, "dice"), [Some(20.0), Some(10.0)]);
    assert_eq!(view.cpu_time(), Duration::from_millis(1_500));
}

#[test]
fn same_process_continues_from_readings() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(7, "1.0");
    sim.tick(|_| usage(1_000, 1));
    plugin.started(7, "2.0");
    sim.tick(|_| usage(1_500, 1));
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(cpu(&snapshot, "dice"), [Some(20.0), Some(10.0)]);
    assert_eq!(view.cpu_time(), Duration::from_millis(1_500));
    assert_eq!((view.restart_count(), view.runs().count()), (0, 2));
    assert_eq!(view.version(), Some("2.0"));
}

/// A detected exit is published immediately. If it is a crash, it counts after one second.
#[test]
fn detected_crash_counts_after_grace_period() {
    for (observed, state, counted) in [
        (Observed::Exited(0), PluginState::Stopped, 0),
        (Observed::Signaled(15), PluginState::Stopped, 0),
        (Observed::Exited(1), PluginState::Crashed, 1),
        (Observed::Signaled(9), PluginState::Crashed, 1),
        (Observed::Exited(143), PluginState::Stopped, 0),
        (Observed::Gone, PluginState::Stopped, 0),
    ] {
        let mut sim = keeping(10);
        sim.register("dice").unwrap().started(1, "");
        sim.tick(|_| observed);
        let end = match observed {
            Observed::Exited(code) => RunEnd::Exited(code),
            Observed::Signaled(signal) => RunEnd::Signaled(signal),
            _ => RunEnd::Unknown,
        };
        assert_eq!(shown(&sim), (state, 0, Some(end)), "{observed:?}");
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!(view.pid(), None);
        // The sample of that tick has the state before the exit and no values.
        let sample = view.current().unwrap();
        assert_eq!(sample.state, PluginState::Running);
        assert_eq!((sample.cpu_percent, sample.memory_bytes, sample.uptime), (None, None, None));
        sim.advance(SECOND - Duration::from_nanos(1));
        assert_eq!(shown(&sim).1, 0);
        sim.advance(Duration::from_nanos(1));
        assert_eq!(shown(&sim), (state, counted, Some(end)), "{observed:?}");
        sim.advance(SECOND * 10);
        assert_eq!(shown(&sim).1, counted, "once");
    }
}

#[test]
fn report_within_grace_prevents_crash() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "");
    sim.tick(|_| Observed::Signaled(9));
    plugin.stopped();
    sim.advance(SECOND * 2);
    assert_eq!(shown(&sim), (PluginState::Stopped, 0, Some(RunEnd::Signaled(9))));

    let run = plugin.started(2, "");
    sim.tick(|_| Observed::Exited(3));
    plugin.exited(run, exit(0));
    sim.advance(SECOND * 2);
    assert_eq!(shown(&sim), (PluginState::Stopped, 0, Some(RunEnd::Exited(3))));

    // Too late: a counted crash stays counted.
    plugin.started(3, "");
    sim.tick(|_| Observed::Signaled(9));
    sim.advance(SECOND);
    plugin.stopped();
    sim.advance(SECOND);
    assert_eq!(shown(&sim), (PluginState::Stopped, 1, Some(RunEnd::Signaled(9))));
}

/// Later than the grace period, too.
#[test]
fn status_of_unknown_end_decides_when_reported() {
    for (status, end, state, crashes) in [
        (exit(0), RunEnd::Exited(0), PluginState::Stopped, 0),
        (exit(75), RunEnd::Exited(75), PluginState::Stopped, 0),
        (exit(130), RunEnd::Exited(130), PluginState::Stopped, 0),
        (signal(15), RunEnd::Signaled(15), PluginState::Stopped, 0),
        (exit(76), RunEnd::Exited(76), PluginState::Crashed, 1),
        (signal(9), RunEnd::Signaled(9), PluginState::Crashed, 1),
    ] {
        let mut sim = Simulation::new(Config::default().clean_exit_codes(&[75])).unwrap();
        let plugin = sim.register("dice").unwrap();
        let run = plugin.started(1, "");
        sim.tick(|_| Observed::Gone);
        sim.advance(SECOND * 10);
        let unknown = |sim: &Simulation| {
            let snapshot = sim.snapshot();
            let view = snapshot.plugin("dice").unwrap();
            (view.unknown_end_count(), view.unknown_ends_detected())
        };
        assert_eq!(shown(&sim), (PluginState::Stopped, 0, Some(RunEnd::Unknown)));
        assert_eq!(unknown(&sim), (1, 1));
        plugin.exited(run, status);
        sim.advance(Duration::from_nanos(1));
        assert_eq!(shown(&sim), (state, crashes, Some(end)));
        assert_eq!(unknown(&sim), (0, 1));
    }
}

/// An increment that is larger than the column of a sample.
#[test]
fn totals_are_exact_immediately() {
    const MANY: u64 = 10_000_000_000;
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    sim.tick(idle);
    plugin.events().add(MANY);
    for tick in 2..5 {
        sim.tick(idle);
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.event_count(), snapshot.system().total_events), (MANY, MANY), "{tick}");
        assert_eq!(view.current().unwrap().event_count, MANY);
        assert_eq!(view.history(Window::All).next_back().unwrap().event_count, MANY);
        assert_eq!(view.history(Window::All).next().unwrap().event_count, 0);
        let all = view.aggregates(Window::All).unwrap();
        assert_eq!((all.events, all.sample_count), (MANY, tick));
        let seconds = (POLL * (tick as u32 - 1)).as_secs_f64();
        assert!((all.events_per_second - MANY as f64 / seconds).abs() < 0.001);
        let counts: Vec<_> = view.history(Window::All).map(|sample| sample.event_count).collect();
        assert!(counts.is_sorted(), "{counts:?}");
        let json = serde_json::to_value(view).unwrap();
        assert_eq!(json["event_count"], MANY);
    }
}

/// A reported crash counts immediately, and once, however often it is reported.
#[test]
fn reported_crash_counts_once() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let run = plugin.started(1, "");
    plugin.exited(run, signal(11));
    plugin.exited(run, signal(11));
    plugin.crashed();
    sim.advance(Duration::from_nanos(1));
    assert_eq!(shown(&sim), (PluginState::Crashed, 1, Some(RunEnd::Signaled(11))));

    plugin.started(2, "");
    plugin.crashed();
    plugin.crashed();
    sim.advance(SECOND * 2);
    assert_eq!(shown(&sim), (PluginState::Crashed, 2, Some(RunEnd::Crashed)));
    // A clean exit that only the sampler has detected can still be reported as a crash.
    plugin.started(3, "");
    sim.tick(|_| Observed::Exited(0));
    plugin.crashed();
    sim.advance(Duration::from_nanos(1));
    assert_eq!(shown(&sim), (PluginState::Crashed, 3, Some(RunEnd::Exited(0))));
}

/// An exit in the state `Stopping` is not a crash, whether the sampler or the host detects it.
#[test]
fn exit_while_stopping_is_no_crash() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "");
    plugin.set_state(PluginState::Stopping);
    sim.tick(|_| Observed::Signaled(9));
    assert_eq!(shown(&sim), (PluginState::Stopped, 0, Some(RunEnd::Signaled(9))));

    let run = plugin.started(2, "");
    plugin.set_state(PluginState::Stopping);
    plugin.exited(run, signal(9));
    sim.tick(idle);
    assert_eq!(shown(&sim), (PluginState::Stopped, 0, Some(RunEnd::Signaled(9))));
    sim.advance(SECOND * 5);
    assert_eq!(shown(&sim).1, 0);
}

#[test]
fn older_run_exit_counts_without_state_change() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let old = plugin.started(1, "");
    sim.tick(|_| Observed::Gone);
    plugin.started(2, "");
    plugin.exited(old, exit(7));
    sim.advance(Duration::from_nanos(1));
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.state(), view.crash_count()), (PluginState::Running, 1));
    let ends: Vec<_> = view.runs().map(|run| run.end).collect();
    assert_eq!(ends, [Some(RunEnd::Exited(7)), None]);
    let end = view.runs().next().unwrap().ended_at;
    assert_eq!(view.last_crash(), end, "the time of the exit, not of the count");
}

#[test]
fn failed_state_ends_run_without_crash() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let run = plugin.started(1, "");
    plugin.set_state(PluginState::Failed);
    sim.tick(idle);
    assert_eq!(shown(&sim), (PluginState::Failed, 0, Some(RunEnd::Unknown)));
    // The host reaps the process afterwards, which adds the exit status.
    plugin.exited(run, signal(9));
    sim.advance(SECOND * 2);
    assert_eq!(shown(&sim), (PluginState::Failed, 0, Some(RunEnd::Signaled(9))));
}

#[test]
fn invalid_pid_ends_active_run() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    sim.tick(idle);
    plugin.started(0, "2.0");
    sim.tick(|_| -> Usage { panic!("no process may be read") });
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.state(), view.pid()), (PluginState::Failed, None));
    assert_eq!(view.read_error(), Some(&ReadError::InvalidPid));
    assert_eq!(view.version(), Some("1.0"), "no run has started");
    assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Replaced));
    plugin.started(3, "3.0");
    sim.tick(idle);
    assert_eq!(sim.snapshot().plugin("dice").unwrap().read_error(), None);
}

#[test]
fn newest_256_runs_in_history_are_listed() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    for _ in 0..1_000 {
        let run = plugin.started(1, "");
        plugin.exited(run, exit(1));
    }
    sim.tick(idle);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.runs().count(), view.crash_count(), view.restart_count()), (256, 1_000, 999));
    for _ in 0..12 {
        sim.tick(idle);
    }
    let snapshot = sim.snapshot();
    assert_eq!(
        snapshot.plugin("dice").unwrap().runs().count(),
        0,
        "they are older than the history"
    );
    assert_eq!(snapshot.plugin("dice").unwrap().crash_count(), 1_000);
}

#[test]
fn sample_keeps_run_after_many_restarts() {
    let mut sim = keeping(2_000);
    let plugin = sim.register("dice").unwrap();
    let mut expected = Vec::new();
    for i in 0..1_500u32 {
        let version = format!("1.{i}");
        plugin.started(i + 1, &version);
        expected.push(version);
        sim.tick(idle);
    }
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.runs().count(), 256);
    let versions = view.history(Window::All).map(|sample| sample.version.unwrap());
    assert!(versions.eq(expected.iter().map(String::as_str)));
    let pids = view.history(Window::All).map(|sample| sample.pid.unwrap());
    assert!(pids.eq(1..=1_500));
}

#[test]
fn state_since_moves_on_change_or_new_run() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let since =
        |sim: &Simulation| -> SystemTime { sim.snapshot().plugin("dice").unwrap().state_since() };
    let start = sim.snapshot().started_at();
    sim.advance(SECOND);
    assert_eq!(since(&sim), start);
    plugin.started(1, "");
    sim.advance(SECOND);
    assert_eq!(since(&sim), start + SECOND);
    plugin.set_state(PluginState::Running);
    sim.advance(SECOND);
    assert_eq!(since(&sim), start + SECOND, "no change");
    plugin.started(1, "2");
    sim.advance(SECOND);
    assert_eq!(since(&sim), start + SECOND * 3);
}

/// Simulated time is not that of a real process: only the reports count.
#[cfg(unix)]
#[test]
fn real_child_has_no_real_cpu_time() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let mut command = std::process::Command::new("sh");
    let mut child = plugin.spawn(command.args(["-c", "exit 3"]), "1.0").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    sim.tick(|_| usage(1_000, 1));
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    let run = view.runs().next().unwrap();
    assert_eq!((run.id, run.pid), (child.run(), child.id()));
    assert_eq!((run.end, run.cpu_time), (Some(RunEnd::Exited(3)), None));
    assert_eq!((view.state(), view.crash_count()), (PluginState::Crashed, 1));
}
