//! The definition of limits, sentence by sentence. Values are given every five seconds.

use std::time::SystemTime;

use super::*;
use crate::snapshot::notification::ClearReason::{Below, Changed, Removed, RunEnded};

const INTERVAL: Duration = Duration::from_secs(5);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A change: when, and what.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Exceeded { at: u64, since: u64, peak: f64 },
    Cleared { at: u64, lasted: u64, reason: ClearReason },
}

use Change::{Cleared, Exceeded};

/// A plugin with limits, and a run that began long ago.
struct Plugin {
    set: LimitSet,
    now: u64,
    events: u64,
    /// At the newest tick.
    seen_events: u64,
    changes: Vec<Change>,
}

fn point(seconds: u64) -> TimePoint {
    let time = Duration::from_secs(seconds);
    TimePoint {
        mono: MonoNanos(seconds * 1_000_000_000),
        wall: SystemTime::UNIX_EPOCH + time,
        boot: time,
    }
}

fn record(changes: &mut Vec<Change>, at: u64, kind: NotificationKind) {
    changes.push(match kind {
        NotificationKind::LimitExceeded(status) => {
            let since = status.state.since().unwrap().duration_since(SystemTime::UNIX_EPOCH);
            assert!(status.state.is_exceeded());
            Exceeded { at, since: since.unwrap().as_secs(), peak: status.peak.unwrap() }
        }
        NotificationKind::LimitCleared { status, lasted, reason } => {
            assert!(status.state.is_exceeded());
            Cleared { at, lasted: lasted.as_secs(), reason }
        }
        other => panic!("no notification of a limit: {other:?}"),
    });
}

impl Plugin {
    fn new(limits: &[Limit]) -> Self {
        let set = LimitSet::new(limits, 0, Some(MonoNanos(0)), MonoNanos(0));
        Self { set, now: 1_000, events: 0, seen_events: 0, changes: Vec::new() }
    }

    fn cpu(lasting: u64) -> Self {
        Self::new(&[cpu_limit(lasting)])
    }

    /// One interval later, a tick with this CPU.
    fn tick(&mut self, cpu: Option<f64>) {
        self.tick_after(5, TickValues { cpu_percent: cpu, ..TickValues::default() });
    }

    fn tick_after(&mut self, seconds: u64, values: TickValues) {
        self.now += seconds;
        let has_events = self.events > self.seen_events;
        self.seen_events = self.events;
        let values = TickValues { events: self.events, has_events, ..values };
        let (now, changes) = (self.now, &mut self.changes);
        self.set.tick(&point(now), &values, INTERVAL, |kind| record(changes, now, kind));
    }

    fn ticks(&mut self, cpu: impl IntoIterator<Item = f64>) {
        cpu.into_iter().for_each(|cpu| self.tick(Some(cpu)));
    }

    fn end_run(&mut self) {
        let (now, changes) = (self.now, &mut self.changes);
        self.set.end_run(&point(now), |kind| record(changes, now, kind));
    }

    fn replace(&mut self, limits: &[Limit]) {
        let (now, changes) = (self.now, &mut self.changes);
        self.set.replace(limits, &point(now), |kind| record(changes, now, kind));
    }

    fn crash(&mut self, count: u64) {
        let (now, changes) = (self.now, &mut self.changes);
        self.set.count_crashes(count, &point(now), |kind| record(changes, now, kind));
    }

    fn state(&self) -> LimitState {
        self.set.records()[0].state
    }

    fn take(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}

fn cpu_limit(lasting: u64) -> Limit {
    Limit::new(LimitMetric::CpuPercent, 80.0).lasting(seconds(lasting)).grace(Duration::ZERO)
}

/// Of a run of 1,000 s, in which nobody has looked for events.
#[test]
fn silence_before_limits_were_set_does_not_count() {
    let silent = Limit::new(LimitMetric::SilentSeconds, 900.0);
    let limits = [silent.lasting(Duration::ZERO).grace(Duration::ZERO)];
    let set = LimitSet::new(&limits, 0, Some(MonoNanos(0)), point(1_000).mono);
    let mut plugin = Plugin { set, ..Plugin::new(&[]) };
    for _ in 0..181 {
        plugin.tick(None);
    }
    assert_eq!(plugin.take(), []);
    plugin.tick(None);
    assert_eq!(plugin.take(), [Exceeded { at: 1_910, since: 1_905, peak: 910.0 }]);
}

#[test]
fn limit_is_exceeded_after_lasting_between_first_and_newest() {
    let mut plugin = Plugin::cpu(10);
    plugin.ticks([81.0, 95.0]);
    assert_eq!(plugin.take(), []);
    assert!(matches!(plugin.state(), LimitState::Pending(_)));
    plugin.ticks([90.0]);
    assert_eq!(plugin.take(), [Exceeded { at: 1_015, since: 1_005, peak: 95.0 }]);
}

#[test]
fn one_sample_never_exceeds() {
    let mut plugin = Plugin::cpu(0);
    plugin.ticks([1_000.0]);
    assert_eq!(plugin.take(), []);
    plugin.ticks([81.0]);
    assert_eq!(plugin.take(), [Exceeded { at: 1_010, since: 1_005, peak: 1_000.0 }]);
}

#[test]
fn value_at_threshold_is_not_above() {
    let mut plugin = Plugin::cpu(5);
    plugin.ticks([80.0; 10]);
    assert_eq!((plugin.take(), plugin.state()), (vec![], LimitState::Ok));
    // It breaks a row.
    plugin.ticks([81.0, 80.0, 81.0, 80.0]);
    assert_eq!((plugin.take(), plugin.state()), (vec![], LimitState::Ok));
}

#[test]
fn limit_clears_after_samples_below_clear_below() {
    let mut plugin = Plugin::cpu(10);
    plugin.ticks([81.0; 3]);
    plugin.take();
    // Below the threshold, but not below 72; then too short; exactly at 72 is not below.
    plugin.ticks([75.0, 75.0, 75.0, 75.0, 10.0, 10.0, 72.0, 72.0, 72.0, 72.0]);
    assert_eq!(plugin.take(), []);
    plugin.ticks([71.9, 0.0]);
    assert_eq!(plugin.take(), []);
    plugin.ticks([10.0]);
    assert_eq!(plugin.take(), [Cleared { at: 1_080, lasted: 75, reason: Below }]);
    assert_eq!(plugin.state(), LimitState::Ok);
}

#[test]
fn clear_after_differs_from_lasting() {
    let limit = cpu_limit(10).clear_after(seconds(5));
    assert_eq!(limit, cpu_limit(0).clear_after(seconds(5)).lasting(seconds(10)));
    let mut plugin = Plugin::new(&[limit]);
    plugin.ticks([81.0, 81.0, 81.0, 1.0, 1.0]);
    assert_eq!(plugin.take()[1], Cleared { at: 1_025, lasted: 20, reason: Below });
}

#[test]
fn zero_is_below_clear_below_of_zero() {
    let limit = Limit::new(LimitMetric::CpuPercent, 0.0).grace(Duration::ZERO).lasting(seconds(5));
    let mut plugin = Plugin::new(&[limit]);
    plugin.ticks([0.5, 0.5, 0.0, 0.0]);
    assert_eq!(plugin.take().len(), 2);
}

#[test]
fn missing_value_neither_continues_nor_breaks_row() {
    let mut plugin = Plugin::cpu(20);
    plugin.tick(Some(81.0));
    plugin.tick(None);
    plugin.tick(None);
    plugin.tick(Some(81.0));
    assert_eq!(plugin.take(), []);
    // The row would last, but its newest sample is the one before.
    plugin.tick(None);
    assert_eq!(plugin.take(), []);
    plugin.tick(Some(81.0));
    assert_eq!(plugin.take(), [Exceeded { at: 1_030, since: 1_005, peak: 81.0 }]);
}

#[test]
fn three_missing_values_forget_pending_limit() {
    let mut plugin = Plugin::cpu(20);
    plugin.tick(Some(81.0));
    (0..3).for_each(|_| plugin.tick(None));
    assert_eq!(plugin.state(), LimitState::Ok);
    plugin.ticks([81.0; 4]);
    assert_eq!(plugin.take(), []);
    plugin.ticks([81.0]);
    assert_eq!(plugin.take(), [Exceeded { at: 1_045, since: 1_025, peak: 81.0 }]);
}

#[test]
fn gap_of_three_intervals_forgets_pending_limit() {
    for (gap, since) in [(14, 1_005), (15, 1_020)] {
        let mut plugin = Plugin::cpu(20);
        plugin.tick(Some(81.0));
        plugin.tick_after(gap, TickValues { cpu_percent: Some(81.0), ..TickValues::default() });
        plugin.ticks([81.0; 4]);
        let changes = plugin.take();
        assert!(matches!(changes[..], [Exceeded { since: s, .. }] if s == since), "{changes:?}");
    }
}

#[test]
fn exceeded_limit_stays_without_data() {
    let mut plugin = Plugin::cpu(10);
    plugin.ticks([81.0, 81.0, 81.0, 1.0]);
    plugin.take();
    (0..100).for_each(|_| plugin.tick(None));
    assert!(plugin.state().is_exceeded());
    plugin.tick_after(1_000, TickValues { cpu_percent: Some(1.0), ..TickValues::default() });
    // The sample before the gap is not part of the row that clears it.
    plugin.tick(Some(1.0));
    assert_eq!(plugin.take(), []);
    plugin.tick(Some(1.0));
    assert!(matches!(plugin.take()[..], [Cleared { reason: Below, .. }]));
}

#[test]
fn end_of_run_clears_and_grace_begins_anew() {
    let limit = cpu_limit(10).grace(seconds(30));
    let mut plugin = Plugin::new(&[limit]);
    plugin.ticks([81.0; 3]);
    plugin.take();
    plugin.end_run();
    assert_eq!(plugin.take(), [Cleared { at: 1_015, lasted: 10, reason: RunEnded }]);
    plugin.set.start_run(&point(plugin.now));
    // 1020 to 1040 are in the grace, 1045 is not.
    plugin.ticks([81.0; 7]);
    assert_eq!(plugin.take(), []);
    plugin.ticks([81.0]);
    assert_eq!(plugin.take(), [Exceeded { at: 1_055, since: 1_045, peak: 81.0 }]);
}

#[test]
fn plugin_without_run_has_no_values() {
    let mut plugin = Plugin::cpu(5);
    plugin.end_run();
    plugin.ticks([1_000.0; 5]);
    assert_eq!((plugin.take(), plugin.state()), (vec![], LimitState::Ok));
}

#[test]
fn replaced_limit_clears_with_its_reason() {
    let memory = Limit::new(LimitMetric::MemoryMb, 1.0);
    for (limits, reason) in
        [(vec![], Removed), (vec![memory], Removed), (vec![cpu_limit(11)], Changed)]
    {
        let mut plugin = Plugin::cpu(10);
        plugin.ticks([81.0; 3]);
        plugin.take();
        plugin.replace(&limits);
        assert_eq!(plugin.take(), [Cleared { at: 1_015, lasted: 10, reason }]);
    }
}

#[test]
fn unchanged_limit_keeps_its_state() {
    let mut plugin = Plugin::cpu(10);
    plugin.ticks([81.0; 3]);
    plugin.replace(&[Limit::new(LimitMetric::MemoryMb, 1.0), cpu_limit(10)]);
    assert!(plugin.set.records()[1].state.is_exceeded());
    plugin.end_run();
    let kinds = [
        Exceeded { at: 1_015, since: 1_005, peak: 81.0 },
        Cleared { at: 1_015, lasted: 10, reason: RunEnded },
    ];
    assert_eq!(plugin.take(), kinds);
}

#[test]
fn removed_plugin_clears_its_limits() {
    let mut plugin = Plugin::cpu(10);
    plugin.ticks([81.0; 3]);
    plugin.take();
    let (now, changes) = (plugin.now, &mut plugin.changes);
    plugin.set.remove(&point(now), |kind| record(changes, now, kind));
    assert_eq!(plugin.take(), [Cleared { at: 1_015, lasted: 10, reason: Removed }]);
}

fn crash_limit(above: f64) -> Limit {
    Limit::new(LimitMetric::Crashes { within: seconds(60) }, above)
}

#[test]
fn crashes_exceed_between_ticks_and_clear_when_old() {
    let mut plugin = Plugin::new(&[crash_limit(2.0)]);
    for _ in 0..3 {
        plugin.now += 10;
        plugin.crash(1);
    }
    assert_eq!(plugin.take(), [Exceeded { at: 1_030, since: 1_030, peak: 3.0 }]);
    // The end of a run does not matter to it.
    plugin.end_run();
    plugin.tick_after(39, TickValues::default());
    assert_eq!((plugin.take(), plugin.set.records()[0].crashes), (vec![], Some(3.0)));
    // The first is 60 s ago at 1070: two are not below 1.8. The second is at 1080.
    plugin.tick_after(1, TickValues::default());
    assert_eq!((plugin.take(), plugin.set.records()[0].crashes), (vec![], Some(2.0)));
    plugin.tick_after(10, TickValues::default());
    assert_eq!(plugin.take(), [Cleared { at: 1_080, lasted: 50, reason: Below }]);
}

#[test]
fn counted_crash_times_are_bounded() {
    let mut plugin = Plugin::new(&[crash_limit(f64::from(MAX_CRASHES - 1))]);
    plugin.crash(1_000_000);
    plugin.crash(1_000_000);
    assert_eq!(plugin.set.crashes.len(), MAX_CRASHES as usize);
    assert_eq!(plugin.take().len(), 1);
    plugin.tick_after(60, TickValues::default());
    assert_eq!(plugin.set.crashes.len(), 0);
}

#[test]
fn event_rate_is_measured_between_ticks() {
    let limit = Limit::new(LimitMetric::EventsPerSecond, 1.0).grace(Duration::ZERO);
    let mut plugin = Plugin::new(&[limit.lasting(seconds(5))]);
    plugin.events = 1_000; // counted before the first sample
    for events in [0, 6, 6] {
        plugin.events += events;
        plugin.tick(None);
    }
    assert_eq!(plugin.take(), [Exceeded { at: 1_015, since: 1_010, peak: 1.2 }]);
}

#[test]
fn silence_is_measured_from_last_event_or_start() {
    let limit = Limit::new(LimitMetric::SilentSeconds, 20.0).grace(Duration::ZERO);
    let mut plugin = Plugin::new(&[limit.lasting(seconds(5))]);
    plugin.set.start_run(&point(1_000));
    (0..4).for_each(|_| plugin.tick(None));
    assert_eq!(plugin.set.rows(0).next().unwrap().value, Some(20.0));
    plugin.events += 1;
    plugin.tick(None);
    assert_eq!(plugin.set.rows(0).next().unwrap().value, Some(0.0));
    (0..6).for_each(|_| plugin.tick(None));
    assert_eq!(plugin.take(), [Exceeded { at: 1_055, since: 1_050, peak: 30.0 }]);
}

#[test]
fn memory_is_in_mebibytes() {
    let limit = Limit::new(LimitMetric::MemoryMb, 512.0);
    let mut plugin = Plugin::new(&[limit]);
    let values = |mb: u64| TickValues { memory_bytes: Some(mb << 20), ..TickValues::default() };
    (0..5).for_each(|_| plugin.tick_after(5, values(512)));
    assert_eq!(plugin.take(), []);
    (0..4).for_each(|_| plugin.tick_after(5, values(513)));
    assert_eq!(plugin.take(), [Exceeded { at: 1_045, since: 1_030, peak: 513.0 }]);
}

/// The peak of a clearing limit, and of one that was replaced by silence, is the largest value.
#[test]
fn peak_is_largest_value_since_first_violation() {
    let mut plugin = Plugin::cpu(5);
    plugin.ticks([500.0, 1.0, 81.0, 90.0, 85.0]);
    assert_eq!(plugin.set.rows(0).next().unwrap().peak, Some(90.0));
}

/// Records are built when a state has changed, or the value of a limit of crashes.
#[test]
fn records_change_with_states_and_crashes() {
    let crashes = crash_limit(0.0).lasting(seconds(5)).clear_below(0.0).clear_after(seconds(5));
    let mut plugin = Plugin::new(&[cpu_limit(5), crashes]);
    let changed = |plugin: &mut Plugin, act: &dyn Fn(&mut Plugin)| {
        act(plugin);
        let is_changed = plugin.set.is_changed();
        assert_eq!(plugin.set.take_changed(), is_changed);
        assert!(!plugin.set.is_changed() && !plugin.set.take_changed());
        is_changed
    };
    assert!(changed(&mut plugin, &|_| ()), "at first");
    let tick = |cpu: f64| move |plugin: &mut Plugin| plugin.tick(Some(cpu));
    // The crashes of a plugin without any: zero.
    changed(&mut plugin, &tick(1.0));
    for (cpu, is_changed) in
        [(1.0, false), (81.0, true), (82.0, true), (83.0, false), (1.0, false), (1.0, true)]
    {
        assert_eq!(changed(&mut plugin, &tick(cpu)), is_changed, "{cpu}");
    }
    assert!(!changed(&mut plugin, &|plugin| plugin.end_run()), "no limit is pending");
    plugin.set.start_run(&point(plugin.now));
    assert!(changed(&mut plugin, &tick(81.0)));
    assert!(changed(&mut plugin, &|plugin| plugin.end_run()), "one was");
    // Pending; then exceeded, although the value is the same.
    assert!(changed(&mut plugin, &|plugin| plugin.crash(1)));
    assert!(changed(&mut plugin, &tick(1.0)));
    assert!(!changed(&mut plugin, &tick(1.0)));
    assert!(changed(&mut plugin, &|plugin| plugin.crash(1)), "one more");
    assert!(changed(&mut plugin, &|plugin| plugin.replace(&[])));
    assert!(!changed(&mut plugin, &tick(1.0)));
}

#[test]
fn event_rate_of_no_time_is_unknown() {
    let limit = Limit::new(LimitMetric::EventsPerSecond, 1.0).grace(Duration::ZERO);
    let mut plugin = Plugin::new(&[limit]);
    plugin.tick(None);
    plugin.events += 1;
    plugin.tick_after(0, TickValues::default());
    assert_eq!(plugin.set.rows(0).next().unwrap().value, None);
}

/// The records of the new set, each with the row of the tick that belongs to it.
#[test]
fn limit_that_stays_keeps_its_id() {
    let mut plugin = Plugin::cpu(0);
    let ids = |plugin: &Plugin| -> Vec<u32> {
        plugin.set.records().iter().map(|record| record.id).collect()
    };
    let before = ids(&plugin);
    let added = Limit::new(LimitMetric::MemoryMb, 100.0);
    plugin.replace(&[added, cpu_limit(0)]);
    let after = ids(&plugin);
    assert_eq!((after.len(), after[1]), (2, before[0]));
    assert_ne!(after[0], after[1]);
    plugin.replace(&[cpu_limit(1)]);
    assert!(!before.contains(&ids(&plugin)[0]));
}

/// Also those of the first tick.
#[test]
fn events_of_first_tick_end_the_silence() {
    let silent = Limit::new(LimitMetric::SilentSeconds, 900.0).grace(Duration::ZERO);
    let mut plugin = Plugin::new(&[silent]);
    plugin.events = 500;
    plugin.tick(None);
    let value = plugin.set.rows(0).next().and_then(|row| row.value);
    assert_eq!(value, Some(0.0));
}
