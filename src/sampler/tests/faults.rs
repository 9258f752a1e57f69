//! Reads that are slow, fail or panic.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use super::{CPU_PER_READING, Harness, request_sample, update, wait, wait_until};
use crate::os::fake_probe::{Call, Condition};
use crate::sampler::RunningSampler;
use crate::snapshot::Snapshot;
use crate::snapshot::query::Window;
use crate::snapshot::read_error::ReadError;
use crate::snapshot::state::PluginState;
use crate::snapshot::system::CollectorStatus;
use crate::sync::command::PluginUpdate;

const INTERVAL: Duration = Duration::from_millis(10);
const PLUGINS: u32 = 4;
/// The plugin with the fault, where one plugin has it.
const FAULTY: u32 = 2;

impl Harness {
    fn with_plugins() -> Self {
        Self::new(INTERVAL, PLUGINS)
    }

    fn set_slow(&self, time: Duration) {
        self.processes.on_call(move |call| {
            if let Call::Read(_) = call {
                thread::sleep(time);
            }
        });
    }

    /// Waits for `ticks` ticks with a fault that is set already, and for ten after `repair`.
    /// Returns the snapshots of the first and of a late tick with the fault, and of one without it.
    fn ticks_with_fault(&self, ticks: u64, repair: impl FnOnce()) -> [Snapshot; 3] {
        // Requested after the fault was set, so all of its reads have the fault.
        let before = self.sample();
        let faulty = self.ticks_after(&before, ticks);
        repair();
        let after = self.ticks_after(&faulty, 10);
        [before, faulty, after]
    }
}

/// Each deadline between the two had its tick or was counted as missed, and missed ticks were not
/// made up for in a burst.
fn assert_paced(before: &Snapshot, after: &Snapshot) {
    let deadlines = |of: &Snapshot| of.sampler().ticks + of.sampler().missed_ticks;
    let passed = after.sampled_at_instant() - before.sampled_at_instant();
    let passed = passed.as_secs_f64() / INTERVAL.as_secs_f64();
    // The tick of `before` was requested and had no deadline.
    let counted = (deadlines(after) - deadlines(before)) as f64;
    assert!((counted - passed).abs() <= 1.0, "{counted} of {passed} deadlines");
    // A tick happens within the interval after its deadline, or the deadlines until then are
    // missed. So the tick after the next one is more than an interval later.
    let at = |tick| after.0.timeline.at(tick).unwrap().mono;
    for tick in before.tick() + 1..after.tick() - 1 {
        let apart = at(tick + 2).since(at(tick));
        assert!(apart > INTERVAL, "three ticks within {apart:?}");
    }
}

/// Tick duration above the interval.
#[test]
#[cfg_attr(miri, ignore = "measures time")]
fn slow_tick_misses_deadlines_and_makes_none_up() {
    let harness = Harness::with_plugins();
    // Four reads: 24 ms a tick.
    let slow = Duration::from_millis(6);
    harness.set_slow(slow);
    let [before, faulty, after] = harness.ticks_with_fault(20, || harness.set_slow(Duration::ZERO));
    assert!(faulty.sampler().last_tick_duration >= slow, "{:?}", faulty.sampler());
    let missed = faulty.sampler().missed_ticks - before.sampler().missed_ticks;
    assert!(missed >= 20, "twenty ticks of 24 ms missed {missed} deadlines");
    assert_paced(&before, &after);
    for view in after.plugins() {
        assert_eq!((view.state(), view.read_error()), (PluginState::Running, None));
        let has_values =
            view.history(Window::All).skip(1).all(|sample| sample.memory_bytes.is_some());
        assert!(has_values, "a slow read succeeds");
    }
    assert_eq!(after.sampler().failed_reads, 0);
}

/// It is counted and shown. The next reading contains the CPU time of the ticks without values.
#[test]
#[cfg_attr(miri, ignore = "measures time")]
fn failing_read_costs_one_plugin_one_tick() {
    for (condition, is_all, error) in [
        (Condition::Denied, false, ReadError::PermissionDenied),
        (Condition::Panics, false, ReadError::UNKNOWN),
        (Condition::Denied, true, ReadError::PermissionDenied),
        (Condition::Panics, true, ReadError::UNKNOWN),
    ] {
        let harness = Harness::with_plugins();
        let is_faulty = move |pid| is_all || pid == FAULTY;
        let faulty_plugins = (1..=PLUGINS).filter(|&pid| is_faulty(pid)).count();
        let set = |condition| {
            // In a drain: no tick is in progress, so that no tick has the fault in part.
            let processes = harness.processes.clone();
            harness.processes.once_in(Call::DrainExits, move || {
                for pid in (1..=PLUGINS).filter(|&pid| is_faulty(pid)) {
                    processes.set_condition(pid, condition);
                }
            });
        };
        set(condition);
        let [before, faulty, after] = harness.ticks_with_fault(30, || set(Condition::Alive));
        assert_paced(&before, &after);
        let failed = faulty.sampler().failed_reads - before.sampler().failed_reads;
        let ticks = faulty.tick() - before.tick();
        assert_eq!(failed, ticks * faulty_plugins as u64, "{condition:?} in {ticks} ticks");
        for (view, pid) in faulty.plugins().zip(1..) {
            assert_eq!(view.read_error(), is_faulty(pid).then_some(&error), "{condition:?}");
            let current = view.current().unwrap();
            assert_eq!(current.memory_bytes.is_none(), is_faulty(pid), "{condition:?}");
            assert_eq!((view.pid(), view.state()), (Some(pid), PluginState::Running));
        }
        for view in after.plugins() {
            assert_eq!((view.read_error(), view.crash_count()), (None, 0), "{condition:?}");
            assert_eq!(view.runs().count(), 1, "{condition:?}");
            let history = view.history(Window::All);
            let with_cpu = history.clone().filter(|sample| sample.cpu_percent.is_some());
            assert!(with_cpu.count() >= 5, "{condition:?}");
            // The attach has one more reading; CPU time is between readings.
            let readings = history.filter(|sample| sample.memory_bytes.is_some()).count();
            assert_eq!(view.cpu_time(), CPU_PER_READING * readings as u32);
        }
        assert_eq!(after.tick(), after.sampler().ticks);
    }
}

#[test]
#[cfg_attr(miri, ignore = "measures time")]
fn panicking_begin_tick_keeps_ticks_on_schedule() {
    let harness = Harness::with_plugins();
    harness.processes.set_panics_in(Some(Call::BeginTick));
    let [before, _, after] = harness.ticks_with_fault(30, || harness.processes.set_panics_in(None));
    assert_paced(&before, &after);
    assert_eq!(after.sampler().failed_reads, 0);
}

#[test]
#[cfg_attr(miri, ignore = "measures time")]
fn stop_waits_for_the_tick_in_progress_only() {
    let mut harness = Harness::with_plugins();
    let before = harness.sample();
    harness.set_slow(Duration::from_millis(50));
    harness.ticks_after(&before, 1);
    let RunningSampler { worker, reader, sender, .. } = harness.running.take().unwrap();
    sender.close_and_stop();
    let at_stop = reader.snapshot().tick();
    assert!(matches!(worker.stop(), Some(Ok(()))));
    let last = reader.snapshot();
    assert_eq!(last.status(), CollectorStatus::Stopped);
    assert!(last.tick() <= at_stop + 1, "{} ticks after the stop", last.tick() - at_stop);
    // It ends no run.
    assert!(
        last.plugins().all(|view| view.state() == PluginState::Running && view.run().is_some())
    );
}

/// Snapshots stay readable, requests are dropped, and reports have no effect.
#[test]
#[cfg_attr(miri, ignore = "measures time")]
fn panicked_sampler_keeps_no_caller_waiting() {
    let harness = Harness::with_plugins();
    harness.processes.on_call(|call| {
        if call == Call::Wait {
            resume_unwind(Box::new("expected by the test"));
        }
    });
    wait_until(|| harness.snapshot().status() == CollectorStatus::Failed);
    assert!(wait(request_sample(&harness.sender)).is_none());
    assert!(harness.sender.is_closed(), "plugins cannot be registered");
    let last = harness.snapshot();
    assert_eq!(last.plugins().len(), PLUGINS as usize);
    harness.sender.send(update(1, PluginUpdate::Stopped));
    assert_eq!(harness.snapshot(), last);
}
