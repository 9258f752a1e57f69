//! Exits whose status is unknown when they are detected: they are no crashes. A report that arrives
//! later decides.

use super::{Harness, SECOND, dice, started};
use crate::os::fake_probe::Condition;
use crate::snapshot::run::{ProcessExit, Run, RunEnd, RunId};
use crate::snapshot::state::PluginState;
use crate::sync::command::PluginUpdate;
use crate::sync::counter::next_run_id;

pub(super) const CLEAN: [ProcessExit; 8] = [
    ProcessExit::Exited(0),
    ProcessExit::Signaled(15),
    ProcessExit::Exited(129),
    ProcessExit::Exited(130),
    ProcessExit::Exited(141),
    ProcessExit::Exited(143),
    // Of the harness's configuration.
    ProcessExit::Exited(75),
    ProcessExit::Signaled(1),
];
pub(super) const UNCLEAN: [ProcessExit; 4] = [
    ProcessExit::Exited(3),
    ProcessExit::Signaled(9),
    ProcessExit::Exited(137),
    ProcessExit::Exited(74),
];

/// A process that a tick has found to be gone, without a status.
pub(super) fn unknown_end() -> (Harness, RunId) {
    let mut harness = Harness::new();
    let run = harness.start_and_tick(1);
    harness.processes.set_condition(1, Condition::Gone);
    harness.tick();
    (harness, run)
}

/// The public values that an end changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub state: PluginState,
    pub crashes: u64,
    pub unknown: u64,
    pub detected: u64,
    pub first: Option<RunEnd>,
}

pub(super) fn ends(harness: &Harness) -> Ends {
    let snapshot = harness.snapshot();
    let view = dice(&snapshot);
    Ends {
        state: view.state(),
        crashes: view.crash_count(),
        unknown: view.unknown_end_count(),
        detected: view.unknown_ends_detected(),
        first: view.runs().next().and_then(|run| run.end),
    }
}

pub(super) fn first_run(harness: &Harness) -> Run {
    dice(&harness.snapshot()).runs().next().unwrap().clone()
}

pub(super) const UNKNOWN: Ends = Ends {
    state: PluginState::Stopped,
    crashes: 0,
    unknown: 1,
    detected: 1,
    first: Some(RunEnd::Unknown),
};

#[test]
fn unknown_exit_is_stopped_and_no_crash() {
    let (mut harness, _) = unknown_end();
    assert_eq!(ends(&harness), UNKNOWN);
    let snapshot = harness.snapshot();
    let view = dice(&snapshot);
    assert_eq!((view.pid(), view.last_crash()), (None, None));
    assert_eq!(harness.engine.next_crash_due(), None);
    for _ in 0..3 {
        harness.tick();
    }
    assert_eq!(ends(&harness), UNKNOWN);
}

/// Wherever the exit is detected.
#[test]
fn unknown_exit_counts_once_wherever_detected() {
    for by_notification in [false, true] {
        let mut harness = Harness::new();
        harness.start_and_tick(1);
        harness.processes.set_condition(1, Condition::Gone);
        if by_notification {
            harness.processes.notify_exit(harness.processes.token(1));
            harness.apply();
            harness.processes.notify_exit(harness.processes.token(1));
        }
        harness.tick();
        assert_eq!(ends(&harness), UNKNOWN);
    }
    // Before its report was applied.
    let mut harness = Harness::new();
    harness.start(1);
    assert_eq!(ends(&harness), UNKNOWN);
}

#[test]
fn late_exited_decides_state_and_count() {
    for exit in CLEAN.into_iter().chain(UNCLEAN) {
        let is_clean = CLEAN.contains(&exit);
        let (mut harness, run) = unknown_end();
        let ended_at = first_run(&harness).ended_at;
        harness.advance(SECOND * 3 / 2);
        harness.report(PluginUpdate::Exited(run, exit));
        let state = if is_clean { PluginState::Stopped } else { PluginState::Crashed };
        let first = Some(exit.run_end());
        let crashes = u64::from(!is_clean);
        let expected = Ends { state, crashes, unknown: 0, detected: 1, first };
        assert_eq!(ends(&harness), expected, "{exit:?}");
        assert_eq!(first_run(&harness).ended_at, ended_at, "when it was detected");
        let last_crash = dice(&harness.snapshot()).last_crash();
        assert_eq!(last_crash, ended_at.filter(|_| !is_clean));
        // Only the first report counts.
        harness.report(PluginUpdate::Exited(run, ProcessExit::Signaled(11)));
        harness.tick();
        assert_eq!(ends(&harness), expected, "{exit:?}");
    }
}

#[test]
fn late_exited_of_older_run_decides_count_only() {
    for (exit, crashes) in [(ProcessExit::Exited(0), 0), (ProcessExit::Exited(3), 1)] {
        let (mut harness, run) = unknown_end();
        harness.start_and_tick(2);
        assert_eq!(ends(&harness), Ends { state: PluginState::Running, ..UNKNOWN });
        harness.report(PluginUpdate::Exited(run, exit));
        let (state, first) = (PluginState::Running, Some(exit.run_end()));
        let expected = Ends { state, crashes, unknown: 0, detected: 1, first };
        assert_eq!(ends(&harness), expected);
        harness.tick();
        assert_eq!(ends(&harness), expected);
        assert_eq!(dice(&harness.snapshot()).pid(), Some(2));
    }
}

#[test]
fn late_report_without_status_classifies() {
    let (mut harness, _) = unknown_end();
    harness.report(PluginUpdate::Stopped);
    let state = PluginState::Stopped;
    let expected = Ends { state, unknown: 0, first: Some(RunEnd::Stopped), ..UNKNOWN };
    assert_eq!(ends(&harness), expected);
    // A status that arrives after that is recorded and counts nothing.
    harness.processes.set_late_status(1, ProcessExit::Exited(3));
    harness.tick();
    harness.advance(SECOND);
    harness.tick();
    assert_eq!(ends(&harness), Ends { first: Some(RunEnd::Exited(3)), ..expected });

    let (mut harness, _) = unknown_end();
    let ended_at = first_run(&harness).ended_at;
    harness.advance(SECOND);
    harness.report(PluginUpdate::Crashed);
    let state = PluginState::Crashed;
    let expected =
        Ends { state, crashes: 1, unknown: 0, detected: 1, first: Some(RunEnd::Crashed) };
    assert_eq!(ends(&harness), expected);
    assert_eq!(dice(&harness.snapshot()).last_crash(), ended_at);
    harness.report(PluginUpdate::Crashed);
    harness.processes.set_late_status(1, ProcessExit::Exited(3));
    harness.tick();
    harness.advance(SECOND);
    harness.tick();
    assert_eq!(ends(&harness), Ends { first: Some(RunEnd::Exited(3)), ..expected });
}

pub(super) const NOT_UNKNOWN: Ends = Ends { unknown: 0, detected: 0, ..UNKNOWN };

#[test]
fn announced_unknown_exit_is_not_counted() {
    let mut harness = Harness::new();
    let run = harness.start_and_tick(1);
    harness.report(PluginUpdate::State(PluginState::Stopping));
    harness.processes.set_condition(1, Condition::Gone);
    harness.tick();
    assert_eq!(ends(&harness), NOT_UNKNOWN);
    // Its end is classified: a status counts nothing.
    harness.processes.set_late_status(1, ProcessExit::Exited(3));
    harness.tick();
    harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(4)));
    harness.advance(SECOND);
    harness.tick();
    assert_eq!(ends(&harness), Ends { first: Some(RunEnd::Exited(3)), ..NOT_UNKNOWN });
}

#[test]
fn failed_end_is_not_counted_as_unknown() {
    for exits in [false, true] {
        let mut harness = Harness::new();
        let run = harness.start_and_tick(1);
        if exits {
            harness.processes.set_condition(1, Condition::Gone);
        }
        harness.report(PluginUpdate::State(PluginState::Failed));
        harness.tick();
        let expected = Ends { state: PluginState::Failed, ..NOT_UNKNOWN };
        assert_eq!(ends(&harness), expected);
        harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(3)));
        harness.tick();
        assert_eq!(ends(&harness), Ends { first: Some(RunEnd::Exited(3)), ..expected });
    }
}

/// A process that lives is replaced; one that is gone has an unknown end.
#[test]
fn gone_process_at_next_report_is_unknown() {
    for is_gone in [false, true] {
        let mut harness = Harness::new();
        let run = harness.start_and_tick(1);
        if is_gone {
            harness.processes.set_condition(1, Condition::Gone);
        }
        harness.start_and_tick(2);
        harness.advance(SECOND);
        harness.tick();
        let state = PluginState::Running;
        let expected = if is_gone {
            Ends { state, ..UNKNOWN }
        } else {
            Ends { state, first: Some(RunEnd::Replaced), ..NOT_UNKNOWN }
        };
        assert_eq!(ends(&harness), expected);
        harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(3)));
        let crashes = u64::from(is_gone);
        let first = Some(RunEnd::Exited(3));
        assert_eq!(ends(&harness), Ends { unknown: 0, crashes, first, ..expected });
    }
}

#[test]
fn announced_exit_before_restart_is_not_unknown() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.report(PluginUpdate::State(PluginState::Stopping));
    harness.processes.set_condition(1, Condition::Gone);
    harness.start_and_tick(2);
    assert_eq!(ends(&harness), Ends { state: PluginState::Running, ..NOT_UNKNOWN });
}

#[test]
fn detected_exit_code_is_clean_as_configured() {
    for exit in CLEAN.into_iter().chain(UNCLEAN) {
        let mut harness = Harness::new();
        harness.start_and_tick(1);
        harness.processes.set_zombie(1, SECOND, exit);
        harness.tick();
        harness.advance(SECOND);
        harness.tick();
        let crashes = u64::from(UNCLEAN.contains(&exit));
        let state = [PluginState::Stopped, PluginState::Crashed][crashes as usize];
        let first = Some(exit.run_end());
        assert_eq!(ends(&harness), Ends { state, crashes, first, ..NOT_UNKNOWN });
    }
}

/// By a tick, a report, a notification, and the kernel's late status.
#[test]
fn oom_kill_is_recorded_with_signal_9_only() {
    let exits = [ProcessExit::Signaled(9), ProcessExit::Exited(137), ProcessExit::Signaled(15)];
    for (exit, answer) in exits
        .into_iter()
        .flat_map(|exit| [None, Some(false), Some(true)].map(|answer| (exit, answer)))
    {
        let expected = answer.filter(|_| exit == ProcessExit::Signaled(9));
        for way in 0..6 {
            let mut harness = Harness::new();
            let run = harness.start_and_tick(1);
            harness.processes.update(1, |process| process.oom_killed = answer);
            if way < 4 {
                harness.processes.set_zombie(1, SECOND, exit);
            } else {
                harness.processes.set_condition(1, Condition::Gone);
                harness.tick();
                assert_eq!(first_run(&harness).oom_killed, None);
            }
            match way {
                0 => {}
                1 => harness.report(PluginUpdate::Exited(run, exit)),
                2 => harness.report(PluginUpdate::Stopped),
                3 => harness.report(started(next_run_id(), 2)),
                4 => harness.processes.set_late_status(1, exit),
                _ => harness.report(PluginUpdate::Exited(run, exit)),
            }
            harness.tick();
            let run = first_run(&harness);
            assert_eq!((run.end, run.oom_killed), (Some(exit.run_end()), expected), "way {way}");
        }
    }
}
