//! Statuses that the kernel reports after the exit was detected, because the process was reaped later.

use std::time::Duration;

use super::unknown_ends::{
    CLEAN, Ends, NOT_UNKNOWN, UNCLEAN, UNKNOWN, ends, first_run, unknown_end,
};
use super::{Harness, PLUGIN, SECOND, dice, started};
use crate::engine::tracker::unreported::MAX_UNREPORTED;
use crate::os::fake_probe::{Call, Condition};
use crate::snapshot::run::{ProcessExit, RunEnd, RunId};
use crate::snapshot::state::PluginState;
use crate::sync::command::{Command, PluginUpdate};
use crate::sync::counter::next_run_id;

#[test]
fn late_clean_status_of_kernel_is_no_crash() {
    for exit in CLEAN {
        let (mut harness, _) = unknown_end();
        harness.processes.set_late_status(1, exit);
        harness.tick();
        let expected = Ends { unknown: 0, first: Some(exit.run_end()), ..UNKNOWN };
        assert_eq!(ends(&harness), expected);
        harness.advance(SECOND);
        harness.tick();
        assert_eq!(ends(&harness), expected);
    }
}

/// It is shown immediately and counted after the grace period, as if it were detected now.
#[test]
fn late_unclean_status_of_kernel_is_a_crash() {
    for exit in UNCLEAN {
        let (mut harness, _) = unknown_end();
        let ended_at = first_run(&harness).ended_at;
        harness.tick();
        harness.processes.set_late_status(1, exit);
        harness.tick();
        let state = PluginState::Crashed;
        let pending =
            Ends { state, crashes: 0, unknown: 0, detected: 1, first: Some(exit.run_end()) };
        assert_eq!(ends(&harness), pending);
        let due = harness.env.now.after(SECOND).mono;
        assert_eq!(harness.engine.next_crash_due(), Some(due));
        harness.advance(SECOND - Duration::from_nanos(1));
        harness.apply();
        assert_eq!(ends(&harness), pending);
        harness.advance(Duration::from_nanos(1));
        harness.apply();
        assert_eq!(ends(&harness), Ends { crashes: 1, ..pending });
        assert_eq!(dice(&harness.snapshot()).last_crash(), ended_at);
    }
}

#[test]
fn report_in_grace_period_of_late_status_decides() {
    let reports: [fn(RunId) -> PluginUpdate; 2] =
        [|_| PluginUpdate::Stopped, |run| PluginUpdate::Exited(run, ProcessExit::Exited(0))];
    for report in reports {
        let (mut harness, run) = unknown_end();
        harness.processes.set_late_status(1, ProcessExit::Signaled(9));
        harness.tick();
        harness.report(report(run));
        harness.advance(SECOND);
        harness.tick();
        let first = Some(RunEnd::Signaled(9));
        assert_eq!(ends(&harness), Ends { unknown: 0, first, ..UNKNOWN });
    }
}

/// The report was sent before the tick that receives the kernel's status, or during it.
#[test]
fn report_before_late_status_is_applied_first() {
    for in_tick in [false, true] {
        let (mut harness, run) = unknown_end();
        harness.processes.set_late_status(1, ProcessExit::Exited(3));
        let report = PluginUpdate::Exited(run, ProcessExit::Exited(0));
        if in_tick {
            let sender = harness.sender.clone();
            harness.processes.once_in(Call::LateStatus(1), move || {
                sender.send(Command::Update(PLUGIN, report));
            });
        } else {
            harness.queue(report);
        }
        harness.tick();
        harness.advance(SECOND);
        harness.tick();
        assert_eq!(ends(&harness), Ends { unknown: 0, first: Some(RunEnd::Exited(0)), ..UNKNOWN });
    }
}

#[test]
fn late_status_keeps_state_reported_since() {
    let (mut harness, _) = unknown_end();
    harness.report(PluginUpdate::State(PluginState::Failed));
    harness.processes.set_late_status(1, ProcessExit::Exited(3));
    harness.tick();
    assert_eq!(ends(&harness).state, PluginState::Failed);
}

#[test]
fn unknown_crash_pending_at_finish_is_counted() {
    let (mut harness, _) = unknown_end();
    harness.processes.set_late_status(1, ProcessExit::Exited(3));
    harness.tick();
    harness.engine.finish(crate::snapshot::system::CollectorStatus::Stopped, &mut harness.env);
    assert_eq!(ends(&harness).crashes, 1);
}

#[test]
fn process_without_status_is_held_until_it_has_one() {
    let (mut harness, _) = unknown_end();
    harness.tick();
    assert_eq!(harness.processes.attached_count(), 1);
    assert!(harness.processes.tick_pids().is_empty(), "it is not read any more");
    harness.processes.set_late_status(1, ProcessExit::Exited(0));
    harness.tick();
    assert_eq!(harness.processes.attached_count(), 0);
}

#[test]
fn process_with_status_is_released_immediately() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.set_zombie(1, SECOND, ProcessExit::Exited(3));
    harness.tick();
    assert_eq!(harness.processes.attached_count(), 0);
}

#[test]
fn report_or_removal_releases_held_process() {
    let (mut harness, run) = unknown_end();
    harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(0)));
    assert_eq!(harness.processes.attached_count(), 0);

    let (mut harness, _) = unknown_end();
    harness.report(PluginUpdate::Exited(next_run_id(), ProcessExit::Exited(0)));
    assert_eq!(harness.processes.attached_count(), 1, "another run");

    let (mut harness, _) = unknown_end();
    harness.processes.set_late_status(1, ProcessExit::Exited(3));
    harness.sender.send(Command::Remove(PLUGIN));
    harness.apply();
    assert_eq!(harness.processes.attached_count(), 0);
    assert!(harness.tick().plugin("dice").is_none());
}

#[test]
fn panicking_late_status_is_unknown() {
    let (mut harness, _) = unknown_end();
    harness.processes.set_late_status(1, ProcessExit::Exited(3));
    harness.processes.set_panics_in(Some(Call::LateStatus(1)));
    let snapshot = harness.tick();
    assert_eq!(snapshot.sampler().failed_reads, 0);
    assert_eq!(ends(&harness), UNKNOWN);
    harness.processes.set_panics_in(None);
    harness.tick();
    assert_eq!(ends(&harness).first, Some(RunEnd::Exited(3)));
}

#[test]
fn process_that_never_has_status_is_released() {
    let (mut harness, _) = unknown_end();
    harness.processes.set_late_status(1, ProcessExit::Unknown);
    harness.tick();
    assert_eq!(harness.processes.attached_count(), 0);
    assert_eq!(ends(&harness), UNKNOWN);
}

/// The run before ended by a tick, or at the report of the next process.
#[test]
fn late_status_of_older_run_decides_count_only() {
    for by_tick in [true, false] {
        for exit in CLEAN.into_iter().chain(UNCLEAN) {
            let mut harness = Harness::new();
            harness.start_and_tick(1);
            harness.processes.set_condition(1, Condition::Gone);
            if by_tick {
                harness.tick();
            }
            harness.start_and_tick(2);
            let state = PluginState::Running;
            assert_eq!(ends(&harness), Ends { state, ..UNKNOWN });
            assert_eq!(harness.processes.attached_count(), 2);
            let ended_at = first_run(&harness).ended_at;
            harness.processes.set_late_status(1, exit);
            harness.tick();
            assert_eq!(harness.processes.attached_count(), 1, "the active process");
            let pending = Ends { state, unknown: 0, first: Some(exit.run_end()), ..UNKNOWN };
            assert_eq!(ends(&harness), pending, "{exit:?}");
            harness.advance(SECOND);
            harness.apply();
            let crashes = u64::from(UNCLEAN.contains(&exit));
            assert_eq!(ends(&harness), Ends { crashes, ..pending }, "{exit:?}");
            let snapshot = harness.tick();
            assert_eq!(dice(&snapshot).pid(), Some(2));
            assert_eq!(dice(&snapshot).last_crash(), ended_at.filter(|_| crashes == 1));
            assert_eq!(first_run(&harness).ended_at, ended_at, "when it was detected");
        }
    }
}

/// Its status is requested at the next report, not only at the next tick.
#[test]
fn late_status_is_requested_at_next_start() {
    let (mut harness, _) = unknown_end();
    harness.processes.set_late_status(1, ProcessExit::Exited(0));
    harness.start(2);
    assert_eq!(ends(&harness).first, Some(RunEnd::Exited(0)));
}

#[test]
fn announced_exit_of_older_run_is_not_counted() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.report(PluginUpdate::State(PluginState::Stopping));
    harness.processes.set_condition(1, Condition::Gone);
    harness.start_and_tick(2);
    harness.processes.set_late_status(1, ProcessExit::Exited(3));
    harness.tick();
    harness.advance(SECOND);
    harness.tick();
    let (state, first) = (PluginState::Running, Some(RunEnd::Exited(3)));
    assert_eq!(ends(&harness), Ends { state, first, ..NOT_UNKNOWN });
}

/// In the pass of a tick, the exit is detected before the report of the next process is applied, and
/// processed after it.
#[test]
fn exit_detected_before_next_start_has_late_status() {
    for exit in [ProcessExit::Unknown, ProcessExit::Exited(3)] {
        let mut harness = Harness::new();
        harness.start_and_tick(1);
        harness.processes.set_alive(2, Duration::ZERO);
        match exit {
            ProcessExit::Unknown => harness.processes.set_condition(1, Condition::Gone),
            exit => harness.processes.set_zombie(1, SECOND, exit),
        }
        let sender = harness.sender.clone();
        harness.processes.once_in(Call::Read(1), move || {
            sender.send(Command::Update(PLUGIN, started(next_run_id(), 2)));
        });
        harness.tick();
        let is_held = exit == ProcessExit::Unknown;
        assert_eq!(harness.processes.attached_count(), 1 + usize::from(is_held));
        harness.processes.set_late_status(1, ProcessExit::Exited(3));
        harness.tick();
        harness.advance(SECOND);
        harness.tick();
        let (crashes, unknown, detected) = (1, 0, u64::from(is_held));
        let (state, first) = (PluginState::Running, Some(RunEnd::Exited(3)));
        assert_eq!(ends(&harness), Ends { state, crashes, unknown, detected, first });
    }
}

/// Exited when the host reports the end of the plugin, which classifies the run.
#[test]
fn late_status_after_report_of_end_is_recorded() {
    for state in [PluginState::Stopped, PluginState::Failed] {
        let mut harness = Harness::new();
        harness.start_and_tick(1);
        harness.processes.set_condition(1, Condition::Gone);
        harness.report(PluginUpdate::State(state));
        harness.processes.set_late_status(1, ProcessExit::Exited(3));
        harness.tick();
        harness.advance(SECOND);
        harness.tick();
        let first = Some(RunEnd::Exited(3));
        assert_eq!(ends(&harness), Ends { state, first, ..NOT_UNKNOWN });
        assert_eq!(harness.processes.attached_count(), 0);
    }
}

#[test]
fn held_processes_are_bounded_oldest_first() {
    let mut harness = Harness::new();
    let runs = MAX_UNREPORTED as u32 + 3;
    for pid in 1..=runs {
        harness.start_and_tick(pid);
        harness.processes.set_condition(pid, Condition::Gone);
    }
    harness.tick();
    assert_eq!(harness.processes.attached_count(), MAX_UNREPORTED);
    assert_eq!(ends(&harness).unknown, u64::from(runs));
    for pid in 1..=runs {
        harness.processes.set_late_status(pid, ProcessExit::Exited(3));
    }
    harness.tick();
    harness.advance(SECOND);
    let snapshot = harness.tick();
    let ends: Vec<_> = dice(&snapshot).runs().map(|run| run.end.unwrap()).collect();
    let (dropped, held) = ends.split_at(3);
    assert!(dropped.iter().all(|end| *end == RunEnd::Unknown), "{dropped:?}");
    assert!(held.iter().all(|end| *end == RunEnd::Exited(3)), "{held:?}");
    let view = dice(&snapshot);
    assert_eq!((view.crash_count(), view.unknown_end_count()), (MAX_UNREPORTED as u64, 3));
    assert_eq!(harness.processes.attached_count(), 0);
}

/// Only the one whose exit is reported is released.
#[test]
fn exited_report_releases_its_process_only() {
    let mut harness = Harness::new();
    let run = harness.start_and_tick(1);
    harness.processes.set_condition(1, Condition::Gone);
    harness.start_and_tick(2);
    harness.processes.set_condition(2, Condition::Gone);
    harness.tick();
    assert_eq!(harness.processes.attached_count(), 2);
    harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(0)));
    assert_eq!(harness.processes.attached_count(), 1);
    harness.processes.set_late_status(1, ProcessExit::Exited(3));
    harness.processes.set_late_status(2, ProcessExit::Exited(3));
    harness.tick();
    harness.advance(SECOND);
    let snapshot = harness.tick();
    let ends: Vec<_> = dice(&snapshot).runs().map(|run| run.end.unwrap()).collect();
    assert_eq!(ends, [RunEnd::Exited(0), RunEnd::Exited(3)]);
    assert_eq!(dice(&snapshot).crash_count(), 1);
}
