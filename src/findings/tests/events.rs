//! Silences and surges just above and just below each threshold, of samples of 5 s.

use super::super::{FindingKind, Onset};
use super::Life;

/// Samples with events, and without: more than ten minutes and one.
const BEFORE: usize = if cfg!(miri) { 130 } else { 200 };
const SINCE: usize = if cfg!(miri) { 20 } else { 40 };

/// Each count for as many samples.
fn events(parts: &[(usize, u64)]) -> Life {
    let mut life = Life::new();
    for &(count, events) in parts {
        life.ticks(count, 2.0, events);
    }
    life
}

/// One sample with events after each of these gaps, and before all of them.
fn gaps(gaps: &[usize], count: u64) -> Vec<(usize, u64)> {
    let mut parts = vec![(1, count)];
    parts.extend(gaps.iter().flat_map(|&gap| [(gap, 0), (1, count)]));
    parts
}

/// The events per second before the silence, after so many samples without events.
fn silence(before: &[(usize, u64)], quiet: usize) -> Option<f64> {
    let mut life = events(before);
    life.ticks(quiet, 2.0, 0);
    life.items().into_iter().find_map(|item| match item.kind {
        FindingKind::Silence { per_second, cpu_percent } => {
            assert!((cpu_percent.unwrap() - 2.0).abs() < 0.1, "{cpu_percent:?}");
            assert_eq!(item.since, Onset::At(life.time(quiet as u32 - 1)));
            Some(per_second)
        }
        _ => None,
    })
}

#[track_caller]
fn silent_from(before: &[(usize, u64)], quiet: usize) {
    assert_eq!(silence(before, quiet - 1), None);
    assert!(silence(before, quiet).is_some());
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn regular_events_are_silent_after_twice_the_longest_gap() {
    // A minute at least, and ten minutes of events before it.
    silent_from(&[(120, 10)], 12);
    assert_eq!(silence(&[(119, 10)], 30), None);
    assert_eq!(silence(&[(60, 0), (119, 10)], 30), None);
    // Two events due, at one in 24 samples.
    silent_from(&gaps(&[23; 24], 1), 49);
    // Five times as many are due sooner.
    silent_from(&gaps(&[23; 24], 5), 46);
    // Six gaps.
    assert_eq!(silence(&gaps(&[29; 5], 10), 70), None);
    silent_from(&gaps(&[29; 6], 10), 58);
    // The longest is at most half as long again as the median, and a sample.
    let mut one_longer = [4; 80];
    one_longer[50] = 7;
    silent_from(&gaps(&one_longer, 10), 14);
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn other_events_are_silent_after_three_times_the_longest_gap() {
    let mut one_longer = [4; 80];
    one_longer[50] = 8;
    silent_from(&gaps(&one_longer, 10), 24);
    // Much longer than nine in ten of them: six times that one.
    let mut one_longer = [0; 400];
    one_longer[200] = 6;
    silent_from(&gaps(&one_longer, 10), 36);
    let mut one_longer = [2; 200];
    one_longer[100] = 10;
    silent_from(&gaps(&one_longer, 10), 50);
    // Twenty gaps.
    let uneven: Vec<usize> = [4, 4, 14].into_iter().cycle().take(20).collect();
    silent_from(&gaps(&uneven, 20), 42);
    assert_eq!(silence(&gaps(&uneven[..19], 20), 60), None);
    // Thirty events due: one in each other sample of the last ten minutes, fewer before.
    let mut slow = [1; 150];
    slow[..20].fill(3);
    slow[10] = 8;
    let before: usize = slow.iter().map(|gap| gap + 1).sum::<usize>() + 1;
    let rate = 150.0 / before as f64;
    silent_from(&gaps(&slow, 1), (30.0 / rate).ceil() as usize);
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn usual_rate_is_the_lower_one_of_two() {
    let is_near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
    // Without the first sample, whose events may be of a longer time.
    let even = silence(&[(400, 10)], 20).unwrap();
    assert!(is_near(even, 399.0 * 10.0 / 400.0 / 5.0), "{even}");
    let slower = silence(&[(300, 10), (110, 4)], 20).unwrap();
    assert!(is_near(slower, (10.0 * 10.0 + 110.0 * 4.0) / 120.0 / 5.0), "{slower}");
    let faster = silence(&[(300, 2), (110, 10)], 20).unwrap();
    assert!(is_near(faster, (299.0 * 2.0 + 110.0 * 10.0) / 410.0 / 5.0), "{faster}");
}

#[test]
fn process_that_ended_or_started_is_not_silent() {
    let mut life = events(&[(BEFORE, 10)]);
    life.start("1.0");
    life.ticks(SINCE, 2.0, 0);
    assert_eq!(life.items(), []);
    let mut life = events(&[(BEFORE, 10)]);
    life.plugin.stopped();
    life.ticks(SINCE, 2.0, 0);
    assert_eq!(life.items(), []);
}

#[test]
fn silence_of_unreadable_process_has_no_cpu() {
    let mut life = events(&[(BEFORE, 10)]);
    life.denied(20);
    let kinds: Vec<_> = life.items().into_iter().map(|item| item.kind).collect();
    let is_unknown =
        |kind: &FindingKind| matches!(kind, FindingKind::Silence { cpu_percent: None, .. });
    assert!(kinds.iter().any(is_unknown), "{kinds:?}");
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn surge_has_the_rates_before_and_since() {
    let life = events(&[(60, 0), (300, 10), (30, 100)]);
    let FindingKind::EventSurge { before, now } = life.only().kind else {
        panic!("{}", life.only())
    };
    assert!((before - 2.0).abs() < 1e-9 && (now - 20.0).abs() < 1e-9, "{before} {now}");
    assert_eq!(life.only().since, Onset::At(life.time(29)));
    // Three times the events for 45 s, or two and a half times for 2¼ minutes.
    for (samples, count, expected) in [(12, 30, 0), (12, 31, 1), (30, 25, 0), (30, 26, 1)] {
        let found = events(&[(300, 10), (samples, count)]).items().len();
        assert_eq!(found, expected, "{samples} of {count}");
    }
}
