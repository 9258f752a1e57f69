//! Regressions just above and just below each threshold.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::super::{FindingKind, RegressionMetric};
use super::{Life, MB};

type Found = (RegressionMetric, f64, f64, [usize; 2]);

impl Life {
    /// The regressions, whether they are findings or evidence of others.
    fn regressions(&self) -> Vec<Found> {
        let items = self.sim.snapshot().findings().items;
        let kinds =
            items.into_iter().flat_map(|item| std::iter::once(item.kind).chain(item.evidence));
        kinds
            .filter_map(|kind| match kind {
                FindingKind::Regression { metric, old, new, before, now, minutes, .. } => {
                    assert_eq!((&*old, &*new), ("1.0", "2.0"));
                    Some((metric, before, now, minutes))
                }
                _ => None,
            })
            .collect()
    }
}

/// Half an hour of one version and a quarter of an hour of the next, each with a share of a core and
/// events in each tick.
fn versions(old: (f64, u64), new: (f64, u64)) -> Vec<Found> {
    let mut life = Life::new();
    life.ticks(360, old.0, old.1);
    life.start("2.0");
    life.ticks(200, new.0, new.1);
    life.regressions()
}

#[track_caller]
fn assert_one(found: &[Found], expected: Found) {
    let [(metric, before, now, minutes)] = *found else { panic!("{found:?}") };
    assert_eq!((metric, minutes), (expected.0, expected.3));
    let is_near = |value: f64, expected: f64| (value - expected).abs() <= 0.001 * expected;
    assert!(is_near(before, expected.1) && is_near(now, expected.2), "{before} {now}");
}

/// Without the first minute of each run.
const MINUTES: [usize; 2] = [29, 15];

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn cpu_without_events() {
    for (old, now) in [(5.0, 8.6), (2.0, 4.1)] {
        assert_one(&versions((old, 0), (now, 0)), (RegressionMetric::Cpu, old, now, MINUTES));
    }
    for (old, now) in [(5.0, 8.4), (2.0, 3.9), (8.6, 5.0)] {
        assert_eq!(versions((old, 0), (now, 0)), [], "{old} {now}");
    }
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn cpu_per_event() {
    // Of 5 s, in milliseconds.
    let cost = |(percent, events): (f64, u64)| 50.0 * percent / events as f64;
    for (old, now) in [
        ((5.0, 20), (7.6, 20)),
        // Two thirds of the events, and more CPU than they explain.
        ((5.0, 20), (5.0, 13)),
        // Fewer events, and yet more CPU.
        ((5.0, 20), (6.6, 10)),
        ((1.0, 20), (2.1, 20)),
    ] {
        let expected = (RegressionMetric::CpuPerEvent, cost(old), cost(now), MINUTES);
        assert_one(&versions(old, now), expected);
    }
    for (old, now) in [
        ((5.0, 20), (7.4, 20)),
        ((5.0, 20), (6.4, 10)),
        ((5.0, 20), (15.0, 60)),
        ((1.0, 20), (1.9, 20)),
        // More events never explain more than the CPU before.
        ((5.0, 20), (5.9, 21)),
    ] {
        assert_eq!(versions(old, now), [], "{old:?} {now:?}");
    }
}

/// Without events of both there is no CPU time per event.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn cpu_with_events_of_one_version() {
    for (old, new) in [(0, 20), (20, 0)] {
        let expected = (RegressionMetric::Cpu, 5.0, 8.6, MINUTES);
        assert_one(&versions((5.0, old), (8.6, new)), expected);
    }
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn memory() {
    for (mb, is_found) in [(131.0, true), (129.0, false)] {
        let mut life = Life::new();
        life.memory_mb = 100.0;
        life.ticks(360, 2.0, 0);
        life.start("2.0");
        life.memory_mb = mb;
        life.ticks(200, 2.0, 0);
        let found = life.regressions();
        if is_found {
            let bytes = [100.0, mb].map(|mb| mb * MB as f64);
            assert_one(&found, (RegressionMetric::Memory, bytes[0], bytes[1], MINUTES));
        } else {
            assert_eq!(found, []);
        }
    }
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn six_minutes_of_both_are_compared() {
    // The first sample is an interval after the report of the first run.
    for (old, new, is_found) in [(83, 84, true), (82, 84, false), (83, 83, false), (360, 84, true)]
    {
        let mut life = Life::new();
        life.ticks(old, 5.0, 0);
        life.start("2.0");
        life.ticks(new, 15.0, 0);
        assert_eq!(life.regressions().len(), usize::from(is_found), "{old} {new}");
    }
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn crashes_of_the_new_version() {
    for (old_crashes, new_crashes, is_found) in
        [(0, 2, false), (0, 3, true), (2, 5, true), (40, 3, false)]
    {
        let mut life = Life::new();
        let crash = |life: &mut Life, version: &str| {
            life.start(version);
            let run = life.plugin.started(life.pid + 1_000, version);
            life.pid += 1_001;
            life.ticks(4, 2.0, 0);
            life.plugin.exited(run, ExitStatus::from_raw(1 << 8));
            life.ticks(1, 2.0, 0);
        };
        life.ticks(300, 2.0, 0);
        (0..old_crashes).for_each(|_| crash(&mut life, "1.0"));
        (0..new_crashes).for_each(|_| crash(&mut life, "2.0"));
        let found = life.regressions();
        if !is_found {
            assert_eq!(found, [], "{old_crashes} {new_crashes}");
            continue;
        }
        // Four running samples of 5 s for each crash.
        let running = [300 + 4 * old_crashes, 4 * new_crashes];
        let per_hour = |crashes: usize, running: usize| (crashes * 720) as f64 / running as f64;
        let rates = [per_hour(old_crashes, running[0]), per_hour(new_crashes, running[1])];
        let minutes = running.map(|samples| samples / 12);
        assert_one(&found, (RegressionMetric::Crashes, rates[0], rates[1], minutes));
    }
}

/// Short runs that crash, after so many ticks of the old version, with so many between two crashes.
fn crashes_after(old: usize, crashes: u32, between: usize) -> Vec<Found> {
    let mut life = Life::new();
    life.ticks(old, 2.0, 0);
    for _ in 0..crashes {
        life.start("2.0");
        let run = life.plugin.started(life.pid + 1_000, "2.0");
        life.pid += 1_001;
        life.cpu_time = Duration::ZERO;
        life.ticks(between, 2.0, 0);
        life.plugin.exited(run, ExitStatus::from_raw(1 << 8));
        life.ticks(1, 2.0, 0);
    }
    life.regressions()
}

/// As many in an hour as before, or more than the old version has run for.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn crashes_that_chance_explains() {
    assert_eq!(crashes_after(100, 5, 100), []);
    assert_eq!(crashes_after(59, 6, 1), [], "the old version has run for less than 5 minutes");
    assert_eq!(crashes_after(61, 6, 1).len(), 1);
}
