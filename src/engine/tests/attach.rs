//! Processes that are found late, or gone, or not those that were named.

use std::time::Duration;

use super::{Is, SECOND, Stage};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::{ProcessExit, RunEnd};
use crate::snapshot::state::PluginState;
use crate::sync::command::PluginUpdate;

#[test]
fn what_cannot_be_opened_is_tried_again_in_every_tick() {
    let mut stage = Stage::new();
    stage.pid_is(1, Is::Denied);
    stage.started(1);
    let snapshot = stage.tick();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.read_error(), view.pid()), (Some(&ReadError::PermissionDenied), Some(1)));
    assert_eq!(view.run().unwrap().started_at, None);
    assert_eq!(snapshot.sampler().failed_reads, 1);

    stage.alive(1, 100);
    let snapshot = stage.tick();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.read_error(), None);
    assert!(view.current().unwrap().memory_bytes.is_some());
    assert_eq!(view.current().unwrap().uptime, Some(Duration::from_secs(992)));
    assert_eq!(view.run().unwrap().started_at, stage.now.wall_of(Duration::from_secs(10)));

    // The number is another's when it is tried again: ours has ended.
    let mut stage = Stage::new();
    stage.pid_is(1, Is::Denied);
    stage.started(1);
    stage.tick();
    stage.pid_is(1, Is::NotThatProcess);
    let snapshot = stage.tick();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.runs().next().unwrap().end, Some(RunEnd::Unknown));
    assert_eq!(view.state(), PluginState::Crashed);
}

#[test]
fn what_is_found_late_and_says_nothing_yet_has_its_start_when_it_says_something() {
    let mut stage = Stage::new();
    stage.pid_is(1, Is::Denied);
    stage.started(1);
    stage.tick();
    stage.pid_is(1, Is::Mute);
    let snapshot = stage.tick();
    assert_eq!(snapshot.plugin("dice").unwrap().read_error(), Some(&ReadError::UNREAD));
    stage.alive(1, 100);
    let snapshot = stage.tick();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.read_error(), None);
    assert_eq!(view.run().unwrap().started_at, stage.now.wall_of(Duration::from_secs(10)));
    assert_eq!(view.current().unwrap().uptime, Some(Duration::from_secs(993)));
}

#[test]
fn a_process_that_was_gone_when_it_was_named_is_not_looked_for_again() {
    // Reaped meanwhile by who does not say so; and its number given to another.
    for then in [Is::Gone, Is::Alive { began: Duration::from_secs(1_000), cpu: SECOND }] {
        let mut stage = Stage::new();
        stage.pid_is(1, Is::Zombie { cpu: SECOND, outcome: ProcessExit::Exited(0) });
        stage.started(1);
        stage.pid_is(1, then);
        // A tick before its end was acted on.
        stage.read_all();
        let snapshot = stage.publish();
        let sample = snapshot.plugin("dice").unwrap().current().unwrap();
        assert_eq!((sample.memory_bytes, sample.cpu_percent, sample.uptime), (None, None, None));
        assert_eq!(stage.roster.listed(), 1, "one end");
        for _ in 0..3 {
            stage.tick();
        }
        let snapshot = stage.tick();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!(view.runs().next().unwrap().end, Some(RunEnd::Exited(0)));
        assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0));
    }
}

#[test]
fn a_run_that_is_over_says_how_it_ended_also_before_that_was_acted_on() {
    let outcome = ProcessExit::Exited(3);
    // Its end is learnt of when the next one is named, or was on the list before.
    for (listed, end) in [(false, RunEnd::Exited(3)), (true, RunEnd::Unknown)] {
        let mut stage = Stage::new();
        stage.alive(1, 0);
        stage.alive(2, 0);
        stage.started(1);
        stage.pid_is(1, Is::Zombie { cpu: SECOND, outcome });
        stage.script.now = Some(stage.now);
        if listed {
            stage.roster.on_exit_notification(1, stage.now, &mut stage.script);
        }
        stage.started(2);
        let snapshot = stage.publish();
        let run = snapshot.plugin("dice").unwrap().runs().next().unwrap();
        assert!(run.ended_at.is_some());
        assert_eq!(run.end, Some(end));
        // And then it is acted on, and counted once.
        stage.tick();
        let snapshot = stage.tick();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!(view.runs().next().unwrap().end, Some(RunEnd::Exited(3)));
        assert_eq!((view.state(), view.crash_count()), (PluginState::Running, 1));
    }
}

#[test]
fn what_could_not_be_opened_and_is_gone_when_the_next_one_is_named_was_not_replaced() {
    let mut stage = Stage::new();
    stage.pid_is(1, Is::Denied);
    stage.started(1);
    stage.tick();
    stage.pid_is(1, Is::Gone);
    stage.alive(2, 0);
    stage.started(2);
    stage.tick();
    stage.pass(SECOND);
    let snapshot = stage.tick();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.state(), view.crash_count()), (PluginState::Running, 1));
    assert_eq!(view.runs().next().unwrap().end, Some(RunEnd::Unknown));
}

#[test]
fn a_process_that_is_not_the_one_that_was_named_is_refused() {
    let mut stage = Stage::new();
    stage.alive(1, 0);
    stage.started(1);
    stage.pid_is(2, Is::NotThatProcess);
    stage.started(2);
    let snapshot = stage.tick();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.state(), PluginState::Failed);
    assert_eq!(view.read_error(), Some(&ReadError::PidReused));
    assert_eq!(view.runs().map(|run| run.end).collect::<Vec<_>>(), [Some(RunEnd::Replaced)]);
}

#[test]
fn a_process_that_goes_on_when_its_run_was_over_by_the_hosts_word_is_no_other_process() {
    let mut stage = Stage::new();
    stage.alive(1, 0);
    stage.started(1);
    stage.say(PluginUpdate::Stopped);
    stage.started(1);
    let snapshot = stage.tick();
    assert_eq!(snapshot.plugin("dice").unwrap().restart_count(), 0);
    // Its run was replaced by what is no process.
    stage.started(0);
    stage.started(1);
    let snapshot = stage.tick();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.restart_count(), view.runs().count()), (0, 3));
    // The same number, and another start.
    stage.say(PluginUpdate::Stopped);
    stage.pid_is(1, Is::Alive { began: Duration::from_secs(1_001), cpu: Duration::ZERO });
    stage.started(1);
    let snapshot = stage.tick();
    assert_eq!(snapshot.plugin("dice").unwrap().restart_count(), 1);
}

#[test]
fn every_process_that_was_gone_before_it_could_be_read_is_counted_however_many_come_at_once() {
    // Gone when it was named, or when the next one was.
    for was_alive in [false, true] {
        let mut stage = Stage::new();
        for pid in 1..=1_000 {
            if was_alive {
                stage.alive(pid, 0);
            }
            stage.started(pid);
            stage.pid_is(pid, Is::Gone);
        }
        stage.tick();
        stage.pass(SECOND);
        let snapshot = stage.tick();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.crash_count(), view.restart_count()), (1_000, 999));
        assert_eq!(view.state(), PluginState::Crashed);
    }
}
