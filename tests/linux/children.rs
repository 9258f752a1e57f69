//! The CPU time of children that the crate waits for, compared with the kernel's own accounting of
//! reaped children: getrusage(2), `RUSAGE_CHILDREN`.
//!
//! With `PLUGMETER_LONG` each child uses several times as much CPU time.

use std::process::{Command, Stdio};
use std::time::Duration;

use plugmeter::{Collector, Plugin, PluginChild, PluginState, RunEnd};
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::reaped::{assert_reaped_cpu_time, reaped_cpu_time};
use plugmeter_test_support::{manual_collector, probes, ticking_collector, wait_for};

use crate::sampler_gate;
use crate::test_child::wait_for_state;

const RUNS: usize = 100;

/// Runs a few tenths of a second at most, all of it in the process itself.
fn busy(plugin: &Plugin) -> PluginChild {
    let rounds = if std::env::var_os("PLUGMETER_LONG").is_some() { 60_000 } else { 20_000 };
    let script = format!("i=0; while [ $i -lt {rounds} ]; do i=$((i+1)); done; exit 3");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::null());
    plugin.spawn(&mut command, "1.0").unwrap()
}

/// Asserts that the plugin's CPU time, and that of its runs, is `expected`.
#[track_caller]
fn assert_cpu_time(collector: &Collector, runs: usize, expected: Duration) {
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.runs().count(), view.crash_count()), (runs, runs as u64));
    let of_runs: Duration = view.runs().map(|run| run.cpu_time.unwrap()).sum();
    assert_eq!(view.cpu_time(), of_runs);
    assert_reaped_cpu_time(of_runs, runs, expected);
}

#[test]
fn crash_loop_between_ticks_keeps_cpu_time() {
    if !enter_isolated(crash_loop_between_ticks_keeps_cpu_time, &[]) {
        return;
    }
    for probe in probes() {
        let collector = ticking_collector(probe, Duration::from_secs(5));
        let plugin = collector.register("dice").unwrap();
        let before = reaped_cpu_time();
        for _ in 0..RUNS {
            busy(&plugin).wait().unwrap();
        }
        assert_cpu_time(&collector, RUNS, reaped_cpu_time() - before);
    }
}

#[test]
fn runs_reaped_before_their_report_keep_cpu_time() {
    if !enter_isolated(runs_reaped_before_their_report_keep_cpu_time, &[]) {
        return;
    }
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let before = reaped_cpu_time();
        // The sampler applies none of the reports until all processes are gone.
        sampler_gate::while_blocked(&collector, || {
            for _ in 0..20 {
                busy(&plugin).wait().unwrap();
            }
        });
        assert_cpu_time(&collector, 20, reaped_cpu_time() - before);
    }
}

#[test]
fn try_wait_and_stop_keep_cpu_time() {
    if !enter_isolated(try_wait_and_stop_keep_cpu_time, &[]) {
        return;
    }
    for probe in probes() {
        let collector = ticking_collector(probe, Duration::from_millis(20));
        let plugin = collector.register("dice").unwrap();
        let before = reaped_cpu_time();
        for number in 0..20 {
            let mut child = busy(&plugin);
            if number % 2 == 0 {
                wait_for("the exit", || child.try_wait().unwrap());
            } else {
                wait_for_state(child.id(), 'Z');
                // It has exited by itself: this is no stop, and the crash stays one.
                assert_eq!(child.stop(Duration::ZERO).unwrap().code(), Some(3));
            }
        }
        assert_cpu_time(&collector, 20, reaped_cpu_time() - before);
    }
}

/// The portable probe reads CPU time in steps, so the last reading adds to its own.
#[test]
fn exit_detected_before_wait_keeps_cpu_time() {
    if !enter_isolated(exit_detected_before_wait_keeps_cpu_time, &[]) {
        return;
    }
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let before = reaped_cpu_time();
        let mut children = Vec::new();
        for _ in 0..5 {
            let child = busy(&plugin);
            wait_for_state(child.id(), 'Z');
            wait_for("the run to end", || {
                let snapshot = collector.sample_now().unwrap();
                snapshot.plugin("dice").unwrap().run().is_none().then_some(())
            });
            children.push(child);
        }
        for child in &mut children {
            child.wait().unwrap();
        }
        assert_cpu_time(&collector, 5, reaped_cpu_time() - before);
    }
}

#[test]
fn attach_counts_from_its_reading_on() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let child = busy(&plugin);
        let first = child.run();
        wait_for_state(child.id(), 'Z');
        // The same process again, in a second run: what the first has used is not counted twice.
        let mut child = plugin.attach(child.into_inner(), "1.1");
        child.wait().unwrap();
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        let runs: Vec<_> = view.runs().collect();
        assert_eq!((runs[0].id, runs[1].id), (first, child.run()));
        assert_eq!(runs[1].end, Some(RunEnd::Exited(3)));
        assert_eq!(runs[1].cpu_time, Some(Duration::ZERO), "{probe}");
    }
}

#[test]
fn kill_of_exited_child_keeps_its_crash() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let mut child = busy(&plugin);
        wait_for_state(child.id(), 'Z');
        child.kill().unwrap();
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.state(), view.crash_count()), (PluginState::Crashed, 1), "{probe}");
        assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Exited(3)));
    }
}
