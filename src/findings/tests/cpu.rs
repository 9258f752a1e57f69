//! Shifts, spikes and saturation just above and just below each threshold, of samples of 5 s.

use std::time::Duration;

use super::super::{FindingKind, Onset};
use super::Life;

fn life(parts: &[(usize, f64)]) -> Life {
    let mut life = Life::new();
    for &(count, percent) in parts {
        life.steady(count, percent, 0);
    }
    life
}

fn count(parts: &[(usize, f64)]) -> usize {
    life(parts).items().len()
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn spike_has_its_cost_peak_and_times() {
    let life = life(&[(300, 2.0), (20, 40.0), (10, 50.0), (60, 2.0)]);
    let finding = life.only();
    let FindingKind::CpuSpike { before, peak, cpu_time } = finding.kind else {
        panic!("{finding}")
    };
    assert!((before - 2.0).abs() < 1e-3 && (peak - 50.0).abs() < 1e-3, "{before} {peak}");
    let seconds = 20.0 * 5.0 * 0.38 + 10.0 * 5.0 * 0.48;
    assert!((cpu_time.as_secs_f64() - seconds).abs() < 0.01, "{cpu_time:?}");
    assert_eq!(finding.since, Onset::At(life.time(60 + 29)));
    assert_eq!(finding.until, Some(life.time(60)));
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn spike_costs_ten_seconds_and_twenty_points() {
    for (samples, percent, expected) in
        [(60, 21.5, 0), (60, 22.5, 1), (9, 24.0, 0), (9, 24.5, 1), (10, 22.5, 1)]
    {
        let found = count(&[(300, 2.0), (samples, percent), (60, 2.0)]);
        assert_eq!(found, expected, "{samples} of {percent} %");
    }
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn spike_is_found_for_half_an_hour() {
    for (after, expected) in [(359, 1), (360, 0)] {
        assert_eq!(count(&[(300, 2.0), (30, 40.0), (after, 2.0)]), expected, "{after}");
    }
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn shift_has_the_mean_of_three_minutes_and_the_cost_of_events() {
    let mut life = Life::new();
    life.steady(400, 2.0, 10).steady(40, 40.0, 20).steady(20, 50.0, 20);
    let FindingKind::CpuShift { before, now, per_event, samples_since, .. } = life.only().kind
    else {
        panic!("{}", life.only())
    };
    assert!((before - 2.0).abs() < 1e-3, "{before}");
    assert!((now - (16.0 * 40.0 + 20.0 * 50.0) / 36.0).abs() < 1e-3, "{now}");
    let mean = (40.0 * 40.0 + 20.0 * 50.0) / 60.0;
    let per_event = per_event.unwrap();
    // Events of the first sample have no CPU that is known.
    assert!((per_event - (mean / 20.0) / (2.0 / 10.0)).abs() < 0.05, "{per_event}");
    assert_eq!(samples_since, 60);
}

/// Of a run of which the first minute is not judged; its first sample is an interval after its start.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn saturation_is_three_minutes_of_a_core() {
    assert_eq!(count(&[(11 + 35, 100.0)]), 0);
    let life = life(&[(11 + 36, 96.0)]);
    let FindingKind::Saturated { percent } = life.only().kind else { panic!("{}", life.only()) };
    assert!((percent - 96.0).abs() < 1e-3, "{percent}");
    assert_eq!(life.only().since, Onset::At(life.time(35)));
    // Beside a shift.
    for (full, expected) in [(35, false), (36, true)] {
        let kinds = self::life(&[(60, 2.0), (full, 100.0)]).items();
        let is_found = kinds.iter().any(|item| matches!(item.kind, FindingKind::Saturated { .. }));
        assert_eq!(is_found, expected, "{full}");
    }
    assert_eq!(count(&[(100, 94.9)]), 0);
    assert_eq!(count(&[(100, 95.1)]), 1);
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn saturation_outlasts_three_of_twelve_samples() {
    let with_low = |low: usize, percent: f64| {
        let mut life = Life::new();
        life.steady(100, 100.0, 0);
        for sample in 0..12 {
            let is_low = sample % 3 == 1 && sample / 3 < low;
            life.steady(1, if is_low { percent } else { 100.0 }, 0);
        }
        let saturated = |kind| matches!(kind, FindingKind::Saturated { .. });
        life.steady(12, 100.0, 0)
            .items()
            .into_iter()
            .filter(|item| saturated(item.kind.clone()))
            .count()
    };
    for (low, percent, expected) in
        [(3, 50.0, 1), (4, 50.0, 0), (4, 84.9, 0), (4, 85.0, 1), (4, 90.0, 1)]
    {
        assert_eq!(with_low(low, percent), expected, "{low} of {percent} %");
    }
    // Not nearly all samples are full.
    let mut life = Life::new();
    for _ in 0..20 {
        life.steady(10, 100.0, 0).steady(5, 90.0, 0);
    }
    assert_eq!(life.items(), []);
}

/// Something lasts if the newest value is at most three samples old.
#[test]
fn condition_of_unreadable_process_lasts_for_two_samples() {
    let saturated = |denied: usize| {
        let mut life = life(&[(60, 100.0)]);
        let items = life.denied(denied).items();
        items.iter().filter(|item| matches!(item.kind, FindingKind::Saturated { .. })).count()
    };
    assert_eq!((saturated(2), saturated(3)), (1, 0));
}

#[test]
fn judged_time_is_that_of_ticks() {
    let mut life = Life::new();
    life.steady(31, 2.0, 0);
    assert_eq!(life.sim.snapshot().findings().over, Duration::from_secs(150));
}
