//! Runs of real child processes: restarts, hot reloads, crashes and clean exits, reported or detected.

use std::time::{Duration, Instant};

use plugmeter::{PluginState, ProbeKind, RunEnd, Window};
use plugmeter_test_support::{
    manual_collector, probes, sleeper, state_after_unclean_exit, ticking_collector, wait_for,
    wait_for_plugin, wait_past_crash_grace,
};

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
            view.state() == state_after_unclean_exit(probe)
        });
        if probe != ProbeKind::Native {
            // Its status is unknown, so it is no crash.
            wait_past_crash_grace(&collector);
            let snapshot = collector.snapshot();
            let view = snapshot.plugin("dice").unwrap();
            assert_eq!((view.crash_count(), view.unknown_end_count()), (0, 1));
            return Some(());
        }
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
                wait_for_plugin(&collector, "dice", "the exit", |view| view.pid().is_none());
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
                wait_for_plugin(&collector, "dice", "the exit", |view| view.pid().is_none());
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
