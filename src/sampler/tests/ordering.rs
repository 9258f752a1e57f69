//! What the host does in the middle of a pass, on the sampler's thread.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{HANG_TIMEOUT, HOUR, Harness, request_sample, started, update, wait, wait_until};
use crate::os::fake_probe::{Call, Condition};
use crate::sampler::PUBLISH_INTERVAL;
use crate::snapshot::Snapshot;
use crate::snapshot::run::{ProcessExit, RunEnd};
use crate::snapshot::state::PluginState;
use crate::sync::command::{Command, PluginUpdate};

const KILLED: ProcessExit = ProcessExit::Signaled(9);

fn stopping(plugin: u32) -> Command {
    update(plugin, PluginUpdate::State(PluginState::Stopping))
}

/// In the next call `call` the host announces the end of process 1, which has ended then.
fn announce_in(harness: &Harness, call: Call) {
    let sender = Arc::clone(&harness.sender);
    let processes = harness.processes.clone();
    harness.processes.once_in(call, move || {
        sender.send(stopping(1));
        processes.set_condition(1, Condition::Zombie(KILLED));
    });
}

#[track_caller]
fn assert_announced(snapshot: &Snapshot) {
    let view = snapshot.plugin("1").unwrap();
    assert_eq!((view.state(), view.pid()), (PluginState::Stopped, None));
    assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Signaled(9)));
}

#[test]
#[cfg_attr(miri, ignore = "waits for real time")]
fn report_during_exit_drain_is_applied_first() {
    let harness = Harness::new(HOUR, 1);
    harness.processes.notify_exit(harness.processes.token(1));
    announce_in(&harness, Call::DrainExits);
    harness.sample();
    assert_announced(&harness.sample());
}

#[test]
#[cfg_attr(miri, ignore = "waits for real time")]
fn report_during_requested_read_is_applied_first() {
    let harness = Harness::new(HOUR, 1);
    announce_in(&harness, Call::Read(1));
    assert_announced(&harness.sample());
}

#[test]
#[cfg_attr(miri, ignore = "waits for real time")]
fn exit_in_requested_tick_is_in_its_snapshot() {
    let harness = Harness::new(HOUR, 1);
    harness.processes.set_condition(1, Condition::Zombie(KILLED));
    let snapshot = harness.sample();
    let view = snapshot.plugin("1").unwrap();
    assert_eq!((view.state(), view.pid()), (PluginState::Crashed, None));
    let sample = view.current().unwrap();
    assert_eq!((sample.state, sample.memory_bytes), (PluginState::Running, None), "at the tick");
}

/// The host reports a process, announces its end and ends it, before the sampler attaches it. When
/// the sampler looked at the queue, only the first report was there.
#[test]
#[cfg_attr(miri, ignore = "waits for real time")]
fn report_during_attach_is_applied_first() {
    const GONE: u32 = 99;
    let harness = Harness::new(HOUR, 2);
    let sender = Arc::clone(&harness.sender);
    harness.processes.set_condition(GONE, Condition::Zombie(KILLED));
    harness.processes.once_in(Call::Attach(GONE), move || sender.send(stopping(1)));
    harness.sender.send(started(1, GONE));
    assert_eq!(harness.sample().plugin("1").unwrap().state(), PluginState::Stopped);
    // Nothing is reported about this one. Once its crash counts, the other's would have counted
    // too.
    harness.sender.send(started(2, GONE));
    wait_until(|| harness.snapshot().plugin("2").unwrap().crash_count() == 1);
    let snapshot = harness.snapshot();
    let view = snapshot.plugin("1").unwrap();
    assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0));
}

#[test]
#[cfg_attr(miri, ignore = "waits for real time")]
fn request_during_tick_is_answered() {
    let harness = Harness::new(HOUR, 1);
    let sender = Arc::clone(&harness.sender);
    let processes = harness.processes.clone();
    let (requested, replies) = mpsc::channel();
    harness.processes.once_in(Call::Read(1), move || {
        // Announced, so that no pending crash wakes the sampler.
        sender.send(stopping(1));
        processes.set_condition(1, Condition::Zombie(KILLED));
        requested.send(request_sample(&sender)).unwrap();
    });
    let first = harness.sample();
    let second = wait(replies.recv().unwrap()).unwrap();
    assert!(second.tick() > first.tick());
}

/// Each attach reports the next process: the queue is never empty.
#[test]
#[cfg_attr(miri, ignore = "waits for real time")]
fn endless_commands_do_not_delay_ticks() {
    let harness = Harness::new(Duration::from_millis(10), 1);
    let sender = Arc::clone(&harness.sender);
    harness.processes.on_call(move |call| {
        if let Call::Attach(1) = call {
            sender.send(started(1, 1));
        }
    });
    harness.sender.send(started(1, 1));
    harness.ticks_after(&harness.snapshot(), 5);
}

#[test]
#[cfg_attr(miri, ignore = "waits for real time")]
fn idle_sampler_waits() {
    let harness = Harness::new(HOUR, 1);
    wait_until(|| harness.processes.is_waiting());
}

#[test]
#[cfg_attr(miri, ignore = "waits for real time")]
fn changes_are_published_within_the_publish_interval() {
    let harness = Harness::new(HOUR, 1);
    // The tick of the start and the requested one are over.
    harness.sample();
    wait_until(|| harness.processes.is_waiting());
    let (before, start) = (harness.snapshot().revision(), Instant::now());
    for nth in 0..2_000 {
        let state = if nth % 2 == 0 { PluginState::Unhealthy } else { PluginState::Running };
        harness.sender.send(update(1, PluginUpdate::State(state)));
        if nth % 20 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let (published, took) = (harness.snapshot().revision() - before, start.elapsed());
    // The time of the first may lie before `start`, as far as its publication was delayed.
    let allowed = took.as_nanos() / PUBLISH_INTERVAL.as_nanos() + 2;
    assert!(u128::from(published) <= allowed, "{published} publications in {took:?}");
    // The last state is published without any further command.
    harness.sender.send(update(1, PluginUpdate::State(PluginState::Starting)));
    let sent = Instant::now();
    wait_until(|| harness.snapshot().plugin("1").unwrap().state() == PluginState::Starting);
    assert!(sent.elapsed() < HANG_TIMEOUT);
}
