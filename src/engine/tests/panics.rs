//! A probe that panics costs the read in which it does.

use super::{Harness, SECOND, dice, started};
use crate::os::fake_probe::{Call, Condition};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::{ProcessExit, RunEnd, RunId};
use crate::snapshot::state::PluginState;
use crate::sync::command::{Command, PluginId, PluginUpdate};
use crate::sync::counter::EventCounter;

/// Each tick attaches again, and fails again.
#[test]
fn panicking_attach_is_a_failed_read() {
    let mut harness = Harness::new();
    harness.processes.set_condition(5, Condition::Panics);
    for (id, name) in [(2, "a"), (3, "b")] {
        harness.register(PluginId(id), name, EventCounter::new());
        harness.sender.send(Command::Update(PluginId(id), started(RunId(id), 5)));
    }
    let snapshot = harness.tick();
    for name in ["a", "b"] {
        let view = snapshot.plugin(name).unwrap();
        assert_eq!((view.pid(), view.state()), (Some(5), PluginState::Running));
        assert_eq!(view.read_error(), Some(&ReadError::UNKNOWN));
        assert!(view.current().is_some());
    }
    assert_eq!(dice(&snapshot).read_error(), None);
    assert_eq!(snapshot.sampler().failed_reads, 2);
}

#[test]
fn panicking_read_leaves_other_plugins_their_values() {
    let mut harness = Harness::new();
    for (id, name) in [(2, "a"), (3, "z")] {
        harness.register(PluginId(id), name, EventCounter::new());
        harness.processes.set_alive(id as u32, SECOND);
        harness.sender.send(Command::Update(PluginId(id), started(RunId(id), id as u32)));
    }
    harness.start_and_tick(1);
    harness.processes.set_condition(2, Condition::Panics);
    let snapshot = harness.tick();
    for (name, error) in [("a", Some(&ReadError::UNKNOWN)), ("dice", None), ("z", None)] {
        let view = snapshot.plugin(name).unwrap();
        assert_eq!(view.read_error(), error, "{name}");
        assert_eq!(view.current().unwrap().memory_bytes.is_none(), error.is_some(), "{name}");
    }
    assert_eq!(snapshot.sampler().failed_reads, 1);
}

#[test]
fn panicking_begin_tick_does_not_prevent_reads() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.set_panics_in(Some(Call::BeginTick));
    let snapshot = harness.tick();
    assert!(dice(&snapshot).current().unwrap().memory_bytes.is_some());
    assert_eq!(snapshot.sampler().failed_reads, 0);
}

/// A failed read does not prove that the process has exited.
#[test]
fn panicking_read_between_ticks_proves_no_exit() {
    let mut harness = Harness::new();
    let run = harness.start_and_tick(1);
    harness.processes.set_condition(1, Condition::Panics);
    harness.processes.notify_exit(harness.processes.token(1));
    harness.apply();
    assert_eq!(dice(&harness.snapshot()).pid(), Some(1));
    harness.report(PluginUpdate::Exited(run, ProcessExit::Exited(3)));
    let snapshot = harness.tick();
    assert_eq!(dice(&snapshot).runs().next().unwrap().end, Some(RunEnd::Exited(3)));
    assert_eq!(dice(&snapshot).crash_count(), 1);
}
