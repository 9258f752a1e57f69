//! What the roster keeps, and what it says beside its snapshots.

use std::sync::Arc;

use super::{Is, PLUGIN, SECOND, Stage};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::{ProcessExit, RunId};
use crate::snapshot::state::PluginState;
use crate::sync::command::{Change, ProcessStart, PluginId, PluginUpdate};
use crate::sync::counter::EventCounter;

/// What there is for the log.
fn told(stage: &mut Stage) -> Vec<ReadError> {
    stage.roster.notices().map(|notice| notice.problem).collect()
}

#[test]
fn a_cause_is_told_once_however_often_it_comes_back() {
    let mut stage = Stage::new();
    stage.pid_is(1, Is::Denied);
    stage.started(1);
    stage.tick();
    assert_eq!(told(&mut stage), [ReadError::PermissionDenied]);
    for _ in 0..3 {
        stage.alive(1, 0);
        assert_eq!(stage.tick().plugin("dice").unwrap().read_error(), None);
        stage.pid_is(1, Is::Denied);
        assert_eq!(
            stage.tick().plugin("dice").unwrap().read_error(),
            Some(&ReadError::PermissionDenied)
        );
    }
    assert_eq!(told(&mut stage), []);
    // Another cause is news.
    stage.pid_is(2, Is::NotThatProcess);
    stage.started(2);
    stage.tick();
    assert_eq!(told(&mut stage), [ReadError::PidReused]);
}

#[test]
fn a_crash_loop_leaves_no_more_runs_than_queries_show_and_rows_refer_to() {
    let mut stage = Stage::keeping(2);
    for pid in 1..=3_000 {
        stage.started(pid);
        stage.tick();
    }
    stage.pass(SECOND);
    let snapshot = stage.tick();
    assert_eq!(snapshot.plugin("dice").unwrap().crash_count(), 3_000);
    let kept = snapshot.0.table.records[0].runs.iter().count();
    // 256 are shown; chunks of 64 are let go of at once.
    assert!((256..512).contains(&kept), "{kept} runs are kept");
}

#[test]
fn a_plugin_that_is_removed_takes_its_part_out_of_the_totals_and_nothing_else() {
    // Also right after frames were regrouped, when there is no frame.
    for ticks in [1, 29, 30, 31] {
        let mut stage = Stage::new();
        (1..ticks).for_each(|_| drop(stage.tick()));
        stage.alive(1, 0);
        stage.started(1);
        stage.events.add(5);
        let before = stage.tick().system();
        assert_eq!((before.total_events, before.total_memory_bytes), (5, 1_024));
        stage.apply(Change::Remove(PLUGIN));
        stage.roster.publish(&stage.now, false, &mut stage.publisher);
        let after = stage.publisher.reader().snapshot().system();
        assert_eq!((after.total_plugins, after.total_events, after.total_memory_bytes), (0, 0, 0));
    }
}

#[test]
fn what_a_tick_has_cost_is_shown_as_it_was_said() {
    let mut stage = Stage::new();
    let started = stage.now;
    stage.tick();
    stage.roster.missed(7);
    let end = started.after(SECOND * 4).mono;
    stage.roster.spent(SECOND / 8, Some(SECOND / 2), end);
    let stats = stage.tick().sampler();
    assert_eq!((stats.last_tick_duration, stats.cpu_time), (SECOND / 8, Some(SECOND / 2)));
    // Half a second in four, of one core.
    assert_eq!((stats.overhead_percent, stats.missed_ticks), (Some(12.5), 7));
    // No time at all has no share.
    stage.roster.spent(SECOND, Some(SECOND), started.mono);
    assert_eq!(stage.tick().sampler().overhead_percent, None);
}

#[test]
fn an_end_is_listed_until_it_is_acted_on_and_its_crash_is_due_a_second_after_it_was_noticed() {
    let mut stage = Stage::new();
    stage.alive(1, 0);
    stage.started(1);
    stage.tick();
    assert!(!stage.roster.has_pending_exits());
    stage.pid_is(1, Is::Gone);
    // The first plugin is in slot 0, and its first run is number 1: so the waiter names it.
    for (token, listed) in [(2, false), (1 << 32 | 1, false), (1, true), (1, true)] {
        stage.roster.on_exit_notification(token, stage.now, &mut stage.script);
        assert_eq!(stage.roster.has_pending_exits(), listed, "token {token:#x}");
    }
    assert_eq!(stage.roster.next_due(), None, "nothing acts on an end where it is learnt of");
    let noticed = stage.now;
    stage.roster.process_exits(usize::MAX);
    assert!(!stage.roster.has_pending_exits());
    assert_eq!(stage.roster.next_due(), Some(noticed.after(SECOND).mono));
    assert_eq!(stage.tick().plugin("dice").unwrap().crash_count(), 1, "a second has passed");
    assert_eq!(stage.roster.next_due(), None);
}

#[test]
fn runs_that_no_tick_has_seen_are_not_kept_for_the_sake_of_a_row() {
    let mut stage = Stage::new();
    stage.tick();
    for pid in 1..=3_000 {
        stage.alive(pid, 0);
        let run = stage.started(pid);
        stage.say(PluginUpdate::Exited(run, ProcessExit::Exited(3)));
    }
    let snapshot = stage.tick();
    assert_eq!(snapshot.plugin("dice").unwrap().crash_count(), 3_000);
    let kept = snapshot.0.table.records[0].runs.iter().count();
    assert!((256..512).contains(&kept), "{kept} runs are kept");
}

#[test]
fn the_word_of_an_end_reaches_the_run_that_it_is_of_whichever_plugin_it_is() {
    let mut stage = Stage::new();
    let names = ["dice", "8ball", "coin"];
    for (id, name) in (2..).zip(&names[1..]) {
        let (id, name) = (PluginId(id), Arc::from(*name));
        stage.apply(Change::Register { id, name, events: EventCounter::new() });
    }
    // Two runs each: of the second ones the ends are told, one after the other.
    for pid in 1..=6_u32 {
        stage.alive(pid, 0);
        let named = ProcessStart { run: RunId(pid.into()), pid, version: None, reported_at: None };
        let plugin = PluginId(u64::from(pid - 1) % 3 + 1);
        stage.apply(Change::Plugin(plugin, PluginUpdate::Started(named)));
    }
    for (ended, pid) in (1..).zip([5, 4, 6]) {
        stage.pid_is(pid, Is::Gone);
        stage.script.now = Some(stage.now);
        let token = stage.script.tokens[&pid];
        stage.roster.on_exit_notification(token, stage.now, &mut stage.script);
        assert_eq!(stage.roster.listed(), 1, "of process {pid}");
        stage.roster.process_exits(usize::MAX);
        let snapshot = stage.publish();
        let crashed = snapshot.plugins().filter(|view| view.state() == PluginState::Crashed);
        assert_eq!(crashed.count(), ended);
        assert_eq!(snapshot.plugin(names[(pid as usize - 1) % 3]).unwrap().run(), None);
    }
}
