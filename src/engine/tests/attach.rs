//! Processes that are attached late, have exited before, or are not the reported process.

use std::sync::Arc;
use std::time::Duration;

use super::{Harness, PLUGIN, SECOND, cpu_percent, dice, started};
use crate::os::fake_probe::{Call, Condition, FakeProcess};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::{ProcessExit, RunEnd};
use crate::snapshot::state::PluginState;
use crate::sync::command::{Command, PluginId, PluginUpdate};
use crate::sync::counter::{EventCounter, next_run_id};

const OTHER: PluginId = PluginId(2);
/// The pid of a process of the plugin "other" that has exited before its report.
const GONE: u32 = 99;

/// Reports the start of processes of "dice" so late in a pass that the exits which that detects are
/// not processed before the tick and the publication. `hook` is called in each call of the probe.
fn start_late(
    harness: &mut Harness,
    pids: &'static [u32],
    mut hook: impl FnMut(Call) + Send + 'static,
) {
    harness.register(OTHER, "other", EventCounter::new());
    let sender = Arc::clone(&harness.sender);
    harness.processes.on_call(move |call| {
        if call == Call::Attach(GONE) {
            for &pid in pids {
                sender.send(Command::Update(PLUGIN, started(next_run_id(), pid)));
            }
        }
        hook(call);
    });
    harness.sender.send(Command::Update(OTHER, started(next_run_id(), GONE)));
}

#[test]
fn failed_attach_is_retried_in_every_tick() {
    let mut harness = Harness::new();
    harness.processes.set_condition(1, Condition::Denied);
    harness.start(1);
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    assert_eq!((view.read_error(), view.pid()), (Some(&ReadError::PermissionDenied), Some(1)));
    assert_eq!(view.run().unwrap().started_at, None);
    assert_eq!(snapshot.sampler().failed_reads, 1);

    harness.processes.set_alive(1, Duration::from_millis(100));
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    assert_eq!(view.read_error(), None);
    assert!(view.current().unwrap().memory_bytes.is_some());
    assert_eq!(view.current().unwrap().uptime, Some(Duration::from_secs(992)));
    let started_at = harness.env.now.wall_of(Duration::from_secs(10));
    assert_eq!(view.run().unwrap().started_at, started_at);
}

/// At the second attempt the pid belongs to another process: the reported one has exited.
#[test]
fn reused_pid_at_late_attach_is_an_exit() {
    for reused in [Condition::Reused, Condition::Thread] {
        let mut harness = Harness::new();
        harness.processes.set_condition(1, Condition::Denied);
        harness.start(1);
        harness.tick();
        harness.processes.set_condition(1, reused);
        let snapshot = harness.tick();
        let view = dice(&snapshot);
        assert_eq!(view.runs().next().unwrap().end, Some(RunEnd::Unknown));
        assert_eq!((view.state(), view.unknown_end_count()), (PluginState::Stopped, 1));
    }
}

#[test]
fn late_attach_is_complete_with_first_reading() {
    let mut harness = Harness::new();
    harness.processes.set_condition(1, Condition::Denied);
    harness.start(1);
    harness.tick();
    harness.processes.set_condition(1, Condition::Unreadable);
    let snapshot = harness.tick();
    assert_eq!(dice(&snapshot).read_error(), Some(&ReadError::UNKNOWN));
    harness.processes.set_alive(1, Duration::from_millis(100));
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    assert_eq!(view.read_error(), None);
    let started_at = harness.env.now.wall_of(Duration::from_secs(10));
    assert_eq!(view.run().unwrap().started_at, started_at);
    assert_eq!(view.current().unwrap().uptime, Some(Duration::from_secs(993)));
}

/// It may have been reaped by code that does not report it, and its pid may belong to another
/// process at the tick.
#[test]
fn process_gone_at_report_is_not_attached_again() {
    for at_tick in [Condition::Gone, Condition::Alive] {
        let mut harness = Harness::new();
        harness.processes.set_zombie(1, SECOND, ProcessExit::Exited(0));
        let processes = harness.processes.clone();
        start_late(&mut harness, &[1], move |call| match call {
            Call::BeginTick => processes.set_condition(1, at_tick),
            Call::Read(1) => panic!("it is read although its exit was detected"),
            _ => {}
        });
        // The tick happens before the exit is processed.
        let snapshot = harness.tick_now();
        let sample = dice(&snapshot).current().unwrap();
        assert_eq!(sample.state, PluginState::Running, "at the tick");
        assert_eq!((sample.memory_bytes, sample.cpu_percent, sample.uptime), (None, None, None));
        assert_eq!(snapshot.sampler().failed_reads, 0);
        for _ in 0..4 {
            harness.tick();
        }
        let snapshot = harness.snapshot();
        let view = dice(&snapshot);
        assert_eq!(view.runs().next().unwrap().end, Some(RunEnd::Exited(0)));
        assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0));
    }
}

/// The exit is detected by the report of the next process.
#[test]
fn ended_run_shows_status_before_exit_is_processed() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.set_alive(2, Duration::ZERO);
    harness.processes.set_zombie(1, SECOND, ProcessExit::Exited(3));
    start_late(&mut harness, &[2], |_| ());
    harness.apply();
    assert!(harness.engine.has_pending_exits());
    let snapshot = harness.snapshot();
    let run = dice(&snapshot).runs().next().unwrap();
    assert!(run.ended_at.is_some());
    assert_eq!(run.end, Some(RunEnd::Exited(3)));
    assert_counted_once(&mut harness);
}

/// The exit was detected, but its status is recorded when the exit is processed.
#[test]
fn ended_run_with_pending_exit_shows_unknown_end() {
    let mut harness = Harness::new();
    harness.processes.set_alive(2, Duration::ZERO);
    harness.processes.set_zombie(1, SECOND, ProcessExit::Exited(3));
    start_late(&mut harness, &[1, 2], |_| ());
    harness.apply();
    assert!(harness.engine.has_pending_exits());
    let snapshot = harness.snapshot();
    let run = dice(&snapshot).runs().next().unwrap();
    assert!(run.ended_at.is_some());
    assert_eq!(run.end, Some(RunEnd::Unknown));
    assert_counted_once(&mut harness);
}

#[track_caller]
fn assert_counted_once(harness: &mut Harness) {
    harness.tick();
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    assert_eq!(view.runs().next().unwrap().end, Some(RunEnd::Exited(3)));
    assert_eq!((view.state(), view.crash_count()), (PluginState::Running, 1));
}

#[test]
fn unattached_process_gone_at_next_report_is_unknown() {
    let mut harness = Harness::new();
    harness.processes.set_condition(1, Condition::Denied);
    harness.start(1);
    harness.tick();
    harness.processes.set_condition(1, Condition::Gone);
    harness.processes.set_alive(2, Duration::ZERO);
    harness.start(2);
    harness.tick();
    harness.advance(SECOND);
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    assert_eq!((view.state(), view.crash_count()), (PluginState::Running, 0));
    assert_eq!((view.unknown_end_count(), view.unknown_ends_detected()), (1, 1));
    assert_eq!(view.runs().next().unwrap().end, Some(RunEnd::Unknown));
}

#[test]
fn reused_pid_at_report_is_rejected() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, Duration::ZERO);
    harness.start(1);
    harness.processes.set_condition(2, Condition::Reused);
    harness.start(2);
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    assert_eq!(view.state(), PluginState::Failed);
    assert_eq!(view.read_error(), Some(&ReadError::PidReused));
    assert_eq!(view.runs().map(|run| run.end).collect::<Vec<_>>(), [Some(RunEnd::Replaced)]);
}

#[test]
fn surviving_process_reported_again_is_no_restart() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, Duration::ZERO);
    harness.start(1);
    harness.report(PluginUpdate::Stopped);
    harness.start(1);
    assert_eq!(dice(&harness.tick()).restart_count(), 0);
    // Its run was replaced by a pid that cannot be a process.
    harness.start(0);
    harness.start(1);
    let snapshot = harness.tick();
    assert_eq!((dice(&snapshot).restart_count(), dice(&snapshot).runs().count()), (0, 3));
    // The same pid, and another start.
    harness.report(PluginUpdate::Stopped);
    let (condition, process_start) = (Condition::Alive, Duration::from_secs(1_001));
    let next = FakeProcess { condition, process_start, ..FakeProcess::default() };
    harness.processes.insert(1, next);
    harness.start(1);
    let snapshot = harness.tick();
    assert_eq!(dice(&snapshot).restart_count(), 1);
    assert_eq!(cpu_percent(&snapshot), Some(0.0));
}

/// Exited before its own report, or before the report of the next process.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn every_exited_process_of_a_burst_is_counted() {
    let exits = [Condition::Gone, Condition::Zombie(ProcessExit::Exited(3))];
    for (was_alive, exited) in
        [false, true].into_iter().flat_map(|was| exits.map(|exit| (was, exit)))
    {
        let mut harness = Harness::new();
        let mut pid = 0;
        let processes = harness.processes.clone();
        harness.processes.on_call(move |call| {
            let Call::Attach(pid) = call else { return };
            if was_alive {
                processes.set_condition(pid - 1, exited);
                processes.set_alive(pid, Duration::ZERO);
            } else {
                processes.set_condition(pid, exited);
            }
        });
        for _ in 1..=1_000 {
            pid += 1;
            harness.queue(started(next_run_id(), pid));
        }
        harness.tick();
        harness.processes.set_condition(pid, exited);
        harness.tick();
        harness.advance(SECOND);
        let snapshot = harness.tick();
        let view = dice(&snapshot);
        let counts = (view.crash_count(), view.unknown_end_count(), view.restart_count());
        let (state, expected) = match exited {
            Condition::Gone => (PluginState::Stopped, (0, 1_000, 999)),
            _ => (PluginState::Crashed, (1_000, 0, 999)),
        };
        assert_eq!((view.state(), counts), (state, expected), "alive: {was_alive}");
    }
}
