//! Values that the engine keeps, and outputs beside its snapshots.

use super::{Harness, PLUGIN, SECOND, dice, started};
use crate::engine::effects::Cause;
use crate::engine::pass::TickCost;
use crate::os::fake_probe::{Condition, FAKE_RESIDENT_BYTES};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::ProcessExit;
use crate::snapshot::state::PluginState;
use crate::sync::command::{Command, PluginId, PluginUpdate};
use crate::sync::counter::{EventCounter, next_run_id};

fn warnings(harness: &mut Harness) -> Vec<Cause> {
    harness.engine.take_warnings().map(|warning| warning.cause).collect()
}

#[test]
fn warning_is_issued_once_for_each_cause() {
    let mut harness = Harness::new();
    harness.processes.set_condition(1, Condition::Denied);
    harness.start(1);
    harness.tick();
    assert_eq!(warnings(&mut harness), [Cause::Process(ReadError::PermissionDenied)]);
    for _ in 0..3 {
        harness.processes.set_condition(1, Condition::Alive);
        assert_eq!(dice(&harness.tick()).read_error(), None);
        harness.processes.set_condition(1, Condition::Denied);
        assert_eq!(dice(&harness.tick()).read_error(), Some(&ReadError::PermissionDenied));
    }
    assert_eq!(warnings(&mut harness), []);
    // Another cause.
    harness.processes.set_condition(2, Condition::Reused);
    harness.start(2);
    harness.tick();
    assert_eq!(warnings(&mut harness), [Cause::Process(ReadError::PidReused)]);
}

#[test]
fn exit_of_unknown_run_is_ignored_and_logged_once() {
    let mut harness = Harness::new();
    let run = harness.start_and_tick(1);
    let other = next_run_id();
    for _ in 0..3 {
        harness.report(PluginUpdate::Exited(other, ProcessExit::Exited(3)));
    }
    assert_eq!(warnings(&mut harness), [Cause::UnknownRun(other)]);
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    assert_eq!((view.run().map(|run| run.id), view.crash_count()), (Some(run), 0));
    assert_eq!(warnings(&mut harness), []);
}

/// 256 runs are shown, and runs are released in chunks of 64.
#[track_caller]
fn assert_runs_are_pruned(harness: &mut Harness) {
    let snapshot = harness.tick();
    assert_eq!(dice(&snapshot).crash_count(), 3_000);
    let kept = snapshot.0.table.records[0].runs.iter().count();
    assert!((256..512).contains(&kept), "{kept} runs are kept");
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn crash_loop_keeps_a_bounded_number_of_runs() {
    let mut harness = Harness::with_history(2);
    for pid in 1..=3_000 {
        harness.processes.set_zombie(pid, SECOND, ProcessExit::Exited(3));
        harness.start(pid);
        harness.tick();
    }
    harness.advance(SECOND);
    assert_runs_are_pruned(&mut harness);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn runs_without_samples_are_pruned() {
    let mut harness = Harness::new();
    harness.tick();
    for pid in 1..=3_000 {
        harness.processes.set_alive(pid, SECOND);
        let run = harness.start(pid);
        harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(3)));
    }
    assert_runs_are_pruned(&mut harness);
}

/// Also directly after frames were sealed into a block, when there is no frame.
#[test]
fn removed_plugin_leaves_the_totals() {
    for ticks in [1, 29, 30, 31] {
        let mut harness = Harness::new();
        (1..ticks).for_each(|_| drop(harness.tick()));
        harness.processes.set_alive(1, SECOND);
        harness.start(1);
        harness.events.add(5);
        let before = harness.tick().system();
        assert_eq!((before.total_events, before.total_memory_bytes), (5, FAKE_RESIDENT_BYTES));
        harness.sender.send(Command::Remove(PLUGIN));
        harness.apply();
        let after = harness.snapshot().system();
        assert_eq!((after.total_plugins, after.total_events, after.total_memory_bytes), (0, 0, 0));
    }
}

#[test]
fn tick_cost_is_in_sampler_stats() {
    let mut harness = Harness::new();
    let started = harness.env.now;
    let (duration, cpu_time) = (SECOND / 8, Some(SECOND / 2));
    let end = started.after(SECOND * 4).mono;
    harness.env.missed = 7;
    harness.env.cost = Some(TickCost { duration, cpu_time, end });
    let stats = harness.tick().sampler();
    assert_eq!((stats.last_tick_duration, stats.cpu_time), (duration, cpu_time));
    // Half a second in four, of one core.
    assert_eq!((stats.overhead_percent, stats.missed_ticks), (Some(12.5), 7));
    // There is no share of an empty interval, and none of an unknown time.
    harness.env.cost = Some(TickCost { duration, cpu_time, end: started.mono });
    assert_eq!(harness.tick().sampler().overhead_percent, None);
    harness.env.cost = Some(TickCost { duration, cpu_time: None, end });
    assert_eq!(harness.tick().sampler().overhead_percent, None);
}

/// The first plugin is in slot 0, and its first run is number 1: so is its token.
#[test]
fn notified_exit_stays_pending_until_processed() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    assert!(!harness.engine.has_pending_exits());
    harness.processes.set_zombie(1, SECOND, ProcessExit::Exited(3));
    let now = harness.env.now;
    for (token, pending) in [(2, 0), (1 << 32 | 1, 0), (1, 1), (1, 1)] {
        harness.engine.on_exit_notification(token, now, &mut harness.env.probe);
        assert_eq!(harness.engine.pending_exits(), pending, "token {token:#x}");
    }
    assert_eq!(harness.engine.next_crash_due(), None, "exits are not processed where detected");
    let now = harness.env.now;
    harness.engine.process_exits(usize::MAX, now, &mut harness.env.probe);
    assert!(!harness.engine.has_pending_exits());
    assert_eq!(harness.engine.next_crash_due(), Some(now.after(SECOND).mono));
    assert_eq!(dice(&harness.tick()).crash_count(), 1);
    assert_eq!(harness.engine.next_crash_due(), None);
}

#[test]
fn exit_notification_reaches_the_run_of_its_token() {
    let mut harness = Harness::new();
    let names = ["dice", "8ball", "coin"];
    for (id, name) in (2..).zip(&names[1..]) {
        harness.register(PluginId(id), name, EventCounter::new());
    }
    // Two runs of each plugin; the processes of the second runs exit, one by one.
    for pid in 1..=6_u32 {
        harness.processes.set_alive(pid, SECOND);
        let plugin = PluginId(u64::from(pid - 1) % 3 + 1);
        harness.sender.send(Command::Update(plugin, started(next_run_id(), pid)));
    }
    harness.apply();
    for (exited, pid) in (1..).zip([5, 4, 6]) {
        harness.processes.set_zombie(pid, SECOND, ProcessExit::Exited(3));
        harness.processes.notify_exit(harness.processes.token(pid));
        harness.apply();
        let snapshot = harness.snapshot();
        let crashed = snapshot.plugins().filter(|view| view.state() == PluginState::Crashed);
        assert_eq!(crashed.count(), exited, "after process {pid}");
        assert_eq!(snapshot.plugin(names[(pid as usize - 1) % 3]).unwrap().run(), None);
    }
}
