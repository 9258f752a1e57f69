//! Suspended processes, and the shortest interval of a CPU share.

use std::time::Duration;

use super::{Harness, SECOND, cpu_percent, dice};
use crate::snapshot::run::ProcessExit;
use crate::sync::command::PluginUpdate;

fn is_suspended(harness: &Harness) -> Option<bool> {
    dice(&harness.snapshot()).usage().is_suspended
}

#[test]
fn suspension_is_shown_from_detection_to_end() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    assert_eq!(is_suspended(&harness), None, "not checked");
    harness.processes.update(1, |process| process.is_suspended = Some(true));
    let since = Some(harness.tick().sampled_at());
    assert_eq!(is_suspended(&harness), Some(true));
    assert_eq!(dice(&harness.snapshot()).suspended_since(), since);
    // It stays, with its time, while ticks detect it again or do not check.
    for again in [Some(true), None, None] {
        harness.processes.update(1, |process| process.is_suspended = again);
        harness.tick();
        assert_eq!(is_suspended(&harness), Some(true));
        assert_eq!(dice(&harness.snapshot()).suspended_since(), since);
    }
    harness.processes.update(1, |process| process.is_suspended = Some(false));
    harness.tick();
    assert_eq!(is_suspended(&harness), Some(false));
    assert_eq!(dice(&harness.snapshot()).suspended_since(), None);
}

#[test]
fn suspension_ends_with_its_run() {
    for way in 0..3 {
        let mut harness = Harness::new();
        let run = harness.start_and_tick(1);
        harness.processes.update(1, |process| process.is_suspended = Some(true));
        harness.tick();
        match way {
            0 => harness.processes.set_zombie(1, SECOND, ProcessExit::Signaled(9)),
            1 => harness.report(PluginUpdate::Exited(run, ProcessExit::Signaled(9))),
            _ => {
                harness.processes.set_alive(2, Duration::ZERO);
                harness.start(2);
                assert_eq!(dice(&harness.snapshot()).suspended_since(), None);
            }
        }
        harness.tick();
        assert_eq!(is_suspended(&harness), None, "way {way}");
        assert_eq!(dice(&harness.snapshot()).suspended_since(), None);
    }
}

/// The interval continues until it is long enough for the clock of the process.
#[test]
fn interval_shorter_than_minimum_gives_no_share() {
    let mut harness = Harness::new();
    harness.processes.update(1, |process| process.min_interval = 2 * SECOND);
    harness.start_and_tick(1);
    harness.processes.set_alive(1, SECOND / 2);
    let snapshot = harness.snapshot();
    assert_eq!(cpu_percent(&snapshot), None);
    assert!(dice(&snapshot).current().unwrap().memory_bytes.is_some());
    assert_eq!(cpu_percent(&harness.tick()), Some(25.0));
    assert_eq!(cpu_percent(&harness.tick()), None);
    assert_eq!(cpu_percent(&harness.tick()), Some(0.0));
}

/// Also that of a process that has ended before a tick could read it.
#[test]
fn short_interval_of_ended_run_gives_no_share() {
    let mut harness = Harness::new();
    harness.tick();
    harness.processes.set_alive(1, Duration::ZERO);
    harness.start(1);
    harness.advance(Duration::from_micros(500));
    let exit = ProcessExit::Exited(0);
    harness.processes.set_zombie(1, Duration::from_micros(250), exit);
    harness.processes.notify_exit(harness.processes.token(1));
    harness.apply();
    let snapshot = harness.tick();
    assert_eq!(cpu_percent(&snapshot), None, "half a millisecond");
    assert_eq!(dice(&snapshot).cpu_time(), Duration::from_micros(250));
}
