//! Reports that were sent before an exit was detected are applied before it is processed, wherever
//! it is detected. "Before" is up to the drain of the queue that follows the detection.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::{Harness, PLUGIN, SECOND, dice, started};
use crate::os::fake_probe::{Call, Condition};
use crate::snapshot::run::{ProcessExit, RunEnd, RunId};
use crate::snapshot::state::PluginState;
use crate::snapshot::system::CollectorStatus;
use crate::sync::command::{Command, PluginUpdate, SampleRequest};
use crate::sync::counter::next_run_id;

const KILLED: ProcessExit = ProcessExit::Signaled(9);

/// The reports by which a host declares the end of `run` to be no crash.
const REPORTS: [fn(RunId) -> PluginUpdate; 3] = [
    |_| PluginUpdate::State(PluginState::Stopping),
    |_| PluginUpdate::Stopped,
    |run| PluginUpdate::Exited(run, ProcessExit::Exited(0)),
];

/// In the call `call` process 1 turns out to be killed, just after the host has sent `report`.
fn kill_in(harness: &Harness, call: Call, report: PluginUpdate) {
    let sender = Arc::clone(&harness.sender);
    let processes = harness.processes.clone();
    harness.processes.once_in(call, move || {
        sender.send(Command::Update(PLUGIN, report));
        processes.set_condition(1, Condition::Zombie(KILLED));
    });
}

/// The state is `Stopped` in the snapshot, and no crash is counted after the grace period.
#[track_caller]
fn assert_no_crash(harness: &mut Harness) {
    assert_eq!(dice(&harness.snapshot()).state(), PluginState::Stopped);
    assert_eq!(dice(&harness.snapshot()).pid(), None);
    harness.advance(SECOND);
    let snapshot = harness.tick();
    assert_eq!((dice(&snapshot).state(), dice(&snapshot).crash_count()), (PluginState::Stopped, 0));
}

#[test]
fn report_before_exit_notification_is_applied_first() {
    for report in REPORTS {
        let mut harness = Harness::new();
        let run = harness.start_and_tick(1);
        harness.processes.set_zombie(1, SECOND, KILLED);
        harness.processes.notify_exit(harness.processes.token(1));
        harness.report(report(run));
        assert_no_crash(&mut harness);
    }
}

/// The notification is drained when the report is in the queue already.
#[test]
fn report_during_exit_drain_is_applied_first() {
    for report in REPORTS {
        let mut harness = Harness::new();
        let run = harness.start_and_tick(1);
        harness.processes.notify_exit(harness.processes.token(1));
        kill_in(&harness, Call::DrainExits, report(run));
        harness.apply();
        assert_no_crash(&mut harness);
    }
}

#[test]
fn report_before_tick_detects_exit_is_applied_first() {
    for report in REPORTS {
        let mut harness = Harness::new();
        let run = harness.start_and_tick(1);
        kill_in(&harness, Call::Read(1), report(run));
        let snapshot = harness.tick();
        let sample = dice(&snapshot).current().unwrap();
        assert_eq!((sample.state, sample.memory_bytes), (PluginState::Running, None));
        assert_no_crash(&mut harness);
    }
}

#[test]
fn report_before_request_detects_exit_is_applied_first() {
    for report in REPORTS {
        let mut harness = Harness::new();
        let run = harness.start_and_tick(1);
        kill_in(&harness, Call::Read(1), report(run));
        let _reply = harness.request_sample();
        assert_eq!(harness.pass().requests.len(), 1);
        assert_eq!(harness.snapshot().tick(), 2);
        assert_no_crash(&mut harness);
    }
}

/// The reported process itself has exited.
#[test]
fn report_before_attach_detects_exit_is_applied_first() {
    for report in REPORTS {
        let mut harness = Harness::new();
        let run = next_run_id();
        kill_in(&harness, Call::Attach(1), report(run));
        harness.report(started(run, 1));
        assert_no_crash(&mut harness);
    }
}

/// The exit of the previous process is detected by the report of the next one. Reports without a
/// run would be about the next one.
#[test]
fn report_before_restart_detects_exit_is_applied_first() {
    let mut harness = Harness::new();
    let run = harness.start_and_tick(1);
    harness.processes.set_alive(2, SECOND);
    let report = PluginUpdate::Exited(run, ProcessExit::Exited(0));
    kill_in(&harness, Call::ReadBetweenTicks(1), report);
    harness.start(2);
    harness.advance(SECOND);
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    assert_eq!((view.state(), view.crash_count()), (PluginState::Running, 0));
    assert_eq!(view.restart_count(), 1);
}

#[test]
fn restart_after_announced_exit_counts_no_crash() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.set_alive(2, SECOND);
    harness.processes.set_zombie(1, SECOND, KILLED);
    harness.queue(PluginUpdate::State(PluginState::Stopping));
    harness.start(2);
    harness.advance(SECOND);
    let snapshot = harness.tick();
    assert_eq!((dice(&snapshot).state(), dice(&snapshot).crash_count()), (PluginState::Running, 0));
    assert_eq!(dice(&snapshot).runs().next().unwrap().end, Some(RunEnd::Signaled(9)));
}

/// How the end of a run is processed.
#[derive(Clone, Copy, Debug)]
enum End {
    /// A tick detects the exit.
    Detected,
    /// The host reports the status before the exit is detected.
    Reported,
    /// The next process is reported before the exit is detected, in the same pass as the announcement.
    Restarted,
    /// As `Restarted`, after a tick has detected the exit.
    RestartedInTick,
}

/// `kill(); spawn()`; `set_state(Stopping)`, a wait and `spawn()`; and a health check that reports while
/// the plugin shuts down: a state that is set after the announcement does not withdraw it.
#[test]
fn announced_exit_is_no_crash_in_any_later_state() {
    let announcements: [fn(RunId) -> PluginUpdate; 2] =
        [|_| PluginUpdate::State(PluginState::Stopping), PluginUpdate::ChildStopping];
    let later = [PluginState::Starting, PluginState::Running, PluginState::Unhealthy];
    for (announce, state) in announcements.iter().flat_map(|it| later.map(|state| (it, state))) {
        for end in [End::Detected, End::Reported, End::Restarted, End::RestartedInTick] {
            let mut harness = Harness::new();
            let run = harness.start_and_tick(1);
            harness.processes.set_alive(2, Duration::ZERO);
            harness.processes.set_zombie(1, SECOND, KILLED);
            harness.queue(announce(run));
            harness.queue(PluginUpdate::State(state));
            let restart = started(next_run_id(), 2);
            let shown = match end {
                End::Detected => PluginState::Stopped,
                End::Reported => {
                    harness.queue(PluginUpdate::Exited(run, KILLED));
                    PluginState::Stopped
                }
                End::Restarted => {
                    harness.queue(restart);
                    PluginState::Running
                }
                End::RestartedInTick => {
                    let sender = Arc::clone(&harness.sender);
                    harness.processes.once_in(Call::Read(1), move || {
                        sender.send(Command::Update(PLUGIN, restart));
                    });
                    PluginState::Running
                }
            };
            harness.tick();
            assert_eq!(dice(&harness.snapshot()).state(), shown, "{state}, {end:?}");
            // The host waits for it after the sampler has detected the exit.
            harness.report(PluginUpdate::Exited(run, KILLED));
            harness.advance(SECOND);
            let snapshot = harness.tick();
            let view = dice(&snapshot);
            assert_eq!((view.state(), view.crash_count()), (shown, 0), "{state}, {end:?}");
            assert_eq!(view.unknown_end_count(), 0);
            assert_eq!(view.runs().next().unwrap().end, Some(RunEnd::Signaled(9)));
        }
    }
}

/// Neither the run before nor the next one is announced.
#[test]
fn announcement_is_of_active_run_only() {
    let mut harness = Harness::new();
    let first = harness.start_and_tick(1);
    harness.report(PluginUpdate::State(PluginState::Stopping));
    harness.start_and_tick(2);
    harness.report(PluginUpdate::ChildStopping(first));
    harness.processes.set_zombie(2, SECOND, KILLED);
    harness.tick();
    harness.advance(SECOND);
    let snapshot = harness.tick();
    assert_eq!((dice(&snapshot).state(), dice(&snapshot).crash_count()), (PluginState::Crashed, 1));

    // Announced while there is no run.
    let mut harness = Harness::new();
    harness.report(PluginUpdate::State(PluginState::Stopping));
    harness.start_and_tick(1);
    harness.processes.set_zombie(1, SECOND, KILLED);
    harness.tick();
    harness.advance(SECOND);
    assert_eq!(dice(&harness.tick()).crash_count(), 1);
}

#[test]
fn exit_in_tick_is_in_snapshot_of_that_tick() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.set_zombie(1, SECOND, KILLED);
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    assert_eq!((view.state(), view.pid()), (PluginState::Crashed, None));
    let sample = view.current().unwrap();
    assert_eq!((sample.state, sample.memory_bytes), (PluginState::Running, None), "at the tick");
    assert_eq!(view.crash_count(), 0, "in its grace period");
}

/// The sample has the state at the tick, the snapshot the newer state.
#[test]
fn report_during_tick_is_in_its_snapshot() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    let sender = Arc::clone(&harness.sender);
    harness.processes.once_in(Call::Read(1), move || {
        sender.send(Command::Update(PLUGIN, PluginUpdate::State(PluginState::Unhealthy)));
    });
    let snapshot = harness.tick();
    assert_eq!(dice(&snapshot).state(), PluginState::Unhealthy);
    assert_eq!(dice(&snapshot).current().unwrap().state, PluginState::Running);
}

#[test]
fn late_exit_notification_ignores_next_run() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, SECOND);
    harness.processes.set_alive(2, SECOND);
    harness.start(1);
    let first = harness.processes.token(1);
    harness.start(2);
    harness.processes.set_condition(1, Condition::Gone);
    // The first run's token, and the token of a slot without a plugin.
    harness.processes.notify_exit(first);
    harness.processes.notify_exit(7 << 32 | 1);
    harness.apply();
    assert_eq!(dice(&harness.tick()).pid(), Some(2));
}

#[test]
fn crash_is_counted_at_end_of_grace_period() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.set_zombie(1, SECOND, KILLED);
    harness.tick();
    let due = harness.env.now.after(SECOND).mono;
    assert_eq!(harness.engine.next_crash_due(), Some(due));
    harness.advance(SECOND - SECOND / 1_000);
    harness.apply();
    assert_eq!(dice(&harness.snapshot()).crash_count(), 0);
    harness.advance(SECOND / 1_000);
    harness.apply();
    assert_eq!(dice(&harness.snapshot()).crash_count(), 1);
    assert_eq!(harness.engine.next_crash_due(), None);
}

/// `Stopping` comes too late: the run has ended.
#[test]
fn report_in_grace_period_prevents_crash() {
    for (report, crashes) in REPORTS.into_iter().zip([1, 0, 0]) {
        let mut harness = Harness::new();
        let run = harness.start_and_tick(1);
        harness.processes.set_zombie(1, SECOND, KILLED);
        harness.tick();
        harness.report(report(run));
        harness.advance(SECOND);
        harness.apply();
        assert_eq!(dice(&harness.snapshot()).crash_count(), crashes);
    }
}

#[test]
fn request_during_tick_is_answered_by_next_pass() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    let sender = Arc::clone(&harness.sender);
    let processes = harness.processes.clone();
    let (request, second) = SampleRequest::new();
    harness.processes.once_in(Call::Read(1), move || {
        sender.send(Command::SampleNow(request));
        processes.set_condition(1, Condition::Zombie(KILLED));
    });
    let _first = harness.request_sample();
    assert_eq!(harness.pass().requests.len(), 1);
    let tick = harness.snapshot().tick();
    assert!(harness.engine.has_work(), "the next pass does not wait");
    let mut requests = harness.pass().requests;
    assert_eq!(harness.snapshot().tick(), tick + 1);
    assert!(!harness.engine.has_work());
    requests.pop().unwrap().answer(harness.snapshot());
    assert_eq!(second.wait().map(|snapshot| snapshot.tick()), Some(tick + 1));
}

/// Whether they are queued before or behind the Stop command, or arrive during a tick.
#[test]
fn stop_drops_requests() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    let before = harness.request_sample();
    harness.sender.send(Command::Stop);
    let behind = harness.request_sample();
    let stopped = harness.pass();
    assert_eq!(stopped.flow, ControlFlow::Break(()));
    assert!(stopped.requests.is_empty());
    assert_eq!(harness.snapshot().tick(), 1, "there is no further tick");
    assert!(before.wait().is_none());
    drop(harness);
    assert!(behind.wait().is_none());

    let mut harness = Harness::new();
    harness.start_and_tick(1);
    let sender = Arc::clone(&harness.sender);
    let processes = harness.processes.clone();
    let (request, during) = SampleRequest::new();
    harness.processes.once_in(Call::Read(1), move || {
        sender.send(Command::SampleNow(request));
        sender.send(Command::Stop);
        processes.set_condition(1, Condition::Zombie(KILLED));
    });
    let _answered = harness.request_sample();
    let stopped = harness.pass();
    assert_eq!((stopped.flow, stopped.requests.len()), (ControlFlow::Break(()), 1));
    harness.engine.finish(CollectorStatus::Stopped, &mut harness.env);
    drop(harness);
    assert!(during.wait().is_none());
}

#[test]
fn stop_processes_all_pending_exits() {
    let mut harness = Harness::new();
    harness.processes.set_zombie(1, SECOND, KILLED);
    harness.queue(started(next_run_id(), 1));
    harness.sender.send(Command::Stop);
    harness.queue(PluginUpdate::State(PluginState::Stopping));
    assert_eq!(harness.pass().flow, ControlFlow::Break(()));
    assert!(!harness.engine.has_pending_exits());
    harness.engine.finish(CollectorStatus::Stopped, &mut harness.env);
    let snapshot = harness.snapshot();
    assert_eq!((dice(&snapshot).state(), dice(&snapshot).crash_count()), (PluginState::Crashed, 1));
}

#[test]
fn finish_counts_pending_crashes() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.set_zombie(1, SECOND, KILLED);
    harness.tick();
    assert_eq!(dice(&harness.snapshot()).crash_count(), 0);
    harness.engine.finish(CollectorStatus::Stopped, &mut harness.env);
    let snapshot = harness.snapshot();
    assert_eq!(dice(&snapshot).crash_count(), 1);
    assert_eq!(snapshot.status(), CollectorStatus::Stopped);
}
