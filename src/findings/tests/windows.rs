//! What began before the window, and windows that are short for the poll interval.

use super::*;

fn find(life: &Life, is_kind: fn(&FindingKind) -> bool) -> Finding {
    let items = life.items();
    let found = items.iter().find(|item| is_kind(&item.kind)).cloned();
    found.unwrap_or_else(|| panic!("{items:?}"))
}

fn has(life: &Life, is_kind: fn(&FindingKind) -> bool) -> bool {
    life.items().iter().any(|item| is_kind(&item.kind))
}

/// The two are one finding, and the second one has begun before what the history holds.
#[track_caller]
fn assert_goes_on(before: &Finding, after: &Finding) {
    assert!(after.is_same(before), "{before} {:?}, {after} {:?}", before.since, after.since);
    assert!(!after.since.is_exact(), "{after} {:?}", after.since);
}

/// A crash every four minutes for two hours, of which the window has one.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn crash_loop_of_more_than_the_window_goes_on() {
    let is_loop = |kind: &FindingKind| matches!(kind, FindingKind::CrashLoop { .. });
    let mut life = Life::new();
    let mut found: Vec<Finding> = Vec::new();
    for _ in 0..30 {
        life.plugin.crashed();
        life.start("1.0");
        life.ticks(48, 1.0, 0);
        found.extend(life.items().into_iter().find(|item| is_loop(&item.kind)));
    }
    assert_eq!(found.len(), 28, "from the third crash on");
    for pair in found.windows(2) {
        assert!(pair[1].is_same(&pair[0]), "{:?}, {:?}", pair[0].since, pair[1].since);
    }
    // 14 gaps fit into an hour.
    assert!(found[..11].iter().all(|finding| finding.since == found[0].since));
    assert!(found[..11].iter().all(|finding| finding.since.is_exact()));
    assert_goes_on(&found[0], &found[27]);
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn growth_of_more_than_the_window_goes_on() {
    let is_growth = |kind: &FindingKind| matches!(kind, FindingKind::MemoryGrowth { .. });
    let mut life = Life::new();
    let mut grow = |ticks: usize| {
        for tick in 0..ticks {
            // 72 MB an hour, with noise.
            life.memory_mb += 0.1 + [0.3, -0.2, 0.1, -0.2][tick % 4];
            life.ticks(1, 2.0, 0);
        }
        find(&life, is_growth)
    };
    let within = grow(600);
    assert!(within.since.is_exact(), "{:?}", within.since);
    let beyond = grow(600);
    assert_goes_on(&within, &beyond);
    assert_goes_on(&beyond, &grow(300));
}

/// Each tenth sample is below the limit, also the oldest one at times.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn saturation_of_more_than_the_window_goes_on() {
    let is_saturated = |kind: &FindingKind| matches!(kind, FindingKind::Saturated { .. });
    let mut life = Life::new();
    let tick = |life: &mut Life, number: usize| {
        life.steady(1, if number.is_multiple_of(10) { 92.0 } else { 100.0 }, 0);
    };
    (0..800).for_each(|number| tick(&mut life, number));
    let mut before = find(&life, is_saturated);
    for number in 800..830 {
        tick(&mut life, number);
        let after = find(&life, is_saturated);
        assert_goes_on(&before, &after);
        before = after;
    }
}

/// The findings of successive snapshots are one, also compared with the first, and none begins earlier than
/// `begin`, give or take a minute. Once the onset is not exact, it stays so.
#[track_caller]
fn assert_one(found: &[Finding], begin: SystemTime) {
    let mut is_exact = true;
    for (index, now) in found.iter().enumerate() {
        let earlier = [&found[0], &found[index.saturating_sub(1)]];
        for earlier in earlier {
            assert!(now.is_same(earlier), "{index}: {:?}, {:?}", earlier.since, now.since);
        }
        assert!(now.since.time() + Duration::from_secs(60) >= begin, "{index}: {:?}", now.since);
        assert!(is_exact || !now.since.is_exact(), "{index}: {:?}", now.since);
        is_exact = now.since.is_exact();
    }
    assert!(found[0].since.is_exact() && !is_exact, "{:?}", found.last());
}

/// The crashes of a loop every four minutes; a crash of more than an hour before is no part of it.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn crash_loop_after_an_earlier_crash_keeps_its_onset() {
    let is_loop = |kind: &FindingKind| matches!(kind, FindingKind::CrashLoop { .. });
    for minutes in [12, 57, 62, 80] {
        let mut life = Life::new();
        life.ticks(12, 1.0, 0);
        life.plugin.crashed();
        life.start("1.0");
        life.ticks(12 * minutes, 1.0, 0);
        let begin = life.time(0);
        let mut found = Vec::new();
        for crash in 0..30 {
            life.plugin.crashed();
            life.start("1.0");
            for _ in 0..48 {
                life.ticks(1, 1.0, 0);
                if crash >= 2 {
                    found.push(find(&life, is_loop));
                }
            }
        }
        // As long as its first crash is in the window.
        let first = found.iter().take(600).map(|finding| finding.since.time());
        assert!(first.clone().all(|since| since == found[0].since.time()), "{minutes}");
        assert_one(&found, begin);
    }
}

/// Gaps of four minutes, then of ten seconds: the first crash leaves the window.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn crash_loop_with_shorter_gaps_goes_on() {
    let is_loop = |kind: &FindingKind| matches!(kind, FindingKind::CrashLoop { .. });
    let mut life = Life::new();
    life.ticks(12, 1.0, 0);
    let begin = life.time(0);
    let mut found = Vec::new();
    for crash in 0..400 {
        life.plugin.crashed();
        life.start("1.0");
        life.ticks(if crash < 4 { 48 } else { 2 }, 1.0, 0);
        if crash >= 2 {
            found.push(find(&life, is_loop));
        }
    }
    assert_one(&found, begin);
}

/// A level before growth leaves the window minute by minute.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn growth_after_a_level_keeps_its_onset() {
    let is_growth = |kind: &FindingKind| matches!(kind, FindingKind::MemoryGrowth { .. });
    for (level, noise) in [(100, 0.0), (288, 0.0), (288, 1.0), (300, 2.0), (405, 1.0)] {
        let mut life = Life::new();
        let grow = |life: &mut Life, tick: usize, growth: f64| {
            life.memory_mb += growth + noise * [0.3, -0.2, 0.1, -0.2][tick % 4];
            life.ticks(1, 2.0, 0);
        };
        (0..level).for_each(|tick| grow(&mut life, tick, 0.0));
        let begin = life.time(0);
        let mut found = Vec::new();
        for tick in level..level + 1_400 {
            grow(&mut life, tick, 0.1);
            let now = life.items().into_iter().find(|item| is_growth(&item.kind));
            assert!(found.is_empty() || now.is_some(), "{tick}");
            found.extend(now);
        }
        assert_one(&found, begin - Duration::from_secs(120));
    }
}

/// A restart in the window, with a pause before the next run, of a plugin that uses a whole core before and
/// after it.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn saturation_across_a_restart_keeps_its_onset() {
    let is_saturated = |kind: &FindingKind| matches!(kind, FindingKind::Saturated { .. });
    for pause in [0, 1, 3] {
        let mut life = Life::new();
        life.ticks(100, 2.0, 0);
        let begin = life.time(0);
        let mut found = Vec::new();
        for restart in 0..4 {
            for tick in 0..600 {
                life.steady(1, 100.0, 0);
                let now = life.items().into_iter().find(|item| is_saturated(&item.kind));
                assert!(found.is_empty() || now.is_some() || tick < 12, "{restart}, {tick}");
                found.extend(now);
            }
            life.plugin.stopped();
            life.ticks(pause, 0.0, 0);
            life.start("1.0");
        }
        assert_one(&found, begin);
    }
}

/// Of a run that is busy from its start, after one that was not: once that has left the window, the time stays.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn saturation_from_a_restart_on_keeps_its_onset() {
    let is_saturated = |kind: &FindingKind| matches!(kind, FindingKind::Saturated { .. });
    let mut life = Life::new();
    life.ticks(100, 2.0, 0);
    life.start("1.0");
    let begin = life.time(0);
    let mut found = Vec::new();
    for _ in 0..1_000 {
        life.steady(1, 100.0, 0);
        found.extend(life.items().into_iter().find(|item| is_saturated(&item.kind)));
    }
    assert_one(&found, begin);
}

/// Five crashes in five minutes, between two ticks.
#[test]
fn crashes_between_two_ticks_are_counted() {
    let minutes = |count: u32| Duration::from_secs(60) * count;
    let config = Config::default().poll_interval(minutes(40)).history_duration(minutes(1_200));
    let mut sim = Simulation::new(config).unwrap();
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    sim.tick(idle);
    sim.tick(idle);
    for pid in 2..7 {
        plugin.crashed();
        plugin.started(pid, "1.0");
        sim.advance(minutes(1));
    }
    sim.tick(idle);
    let finding = only(&sim.snapshot());
    let FindingKind::Crashed { count, within, .. } = finding.kind else { panic!("{finding}") };
    assert_eq!((count, within), (5, minutes(50)));
}

/// A crash before the window may be the one before the loop's first: three are a loop within ten minutes, and it
/// goes on for three times its last gap.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn crash_loop_is_exact_if_its_first_crash_is_late_enough() {
    let is_loop = |kind: &FindingKind| matches!(kind, FindingKind::CrashLoop { .. });
    // By the samples of the window before the first crash of the loop, whose gaps are 50.
    let since = |before_loop: usize| {
        let mut life = Life::new();
        life.ticks(5, 1.0, 0);
        let crash = |life: &mut Life, ticks: usize| {
            life.plugin.crashed();
            life.start("1.0");
            life.ticks(ticks, 1.0, 0);
        };
        crash(&mut life, 165);
        (0..10).for_each(|_| crash(&mut life, 50));
        crash(&mut life, 220 - before_loop);
        find(&life, is_loop).since
    };
    assert!(since(155).is_exact(), "{:?}", since(155));
    assert!(!since(145).is_exact(), "{:?}", since(145));
}

/// Of two crashes six minutes ago, at a poll interval of six minutes.
#[test]
fn crashes_of_ten_minutes_include_the_sample_before() {
    let minute = Duration::from_secs(60);
    let mut sim = Simulation::new(Config::default().poll_interval(6 * minute)).unwrap();
    let plugin = sim.register("dice").unwrap();
    (0..6).for_each(|_| sim.tick(idle));
    for pid in 1..=2 {
        plugin.started(pid, "");
        plugin.crashed();
    }
    plugin.started(3, "");
    sim.tick(idle);
    sim.tick(idle);
    let kind = only(&sim.snapshot()).kind;
    let FindingKind::Crashed { count: 2, within, .. } = kind else { panic!("{kind:?}") };
    assert_eq!(within, 16 * minute);
}

/// Not from that of an earlier, lower one.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn growth_states_the_level_from_which_it_began() {
    let mut life = Life::new();
    life.memory_mb = 60.0;
    life.ticks(300, 2.0, 0);
    life.memory_mb = 100.0;
    life.ticks(200, 2.0, 0);
    for _ in 0..300 {
        life.memory_mb += 0.1;
        life.ticks(1, 2.0, 0);
    }
    let growth = find(&life, |kind| matches!(kind, FindingKind::MemoryGrowth { .. }));
    let FindingKind::MemoryGrowth { from, now, .. } = growth.kind else { unreachable!() };
    let mb = |bytes: u64| bytes as f64 / MB as f64;
    assert!((mb(from) - 100.0).abs() < 3.0, "{growth}");
    assert!((mb(now) - 130.0).abs() < 3.0, "{growth}");
}

/// A run of 18 minutes, whose growth fills the machine in forty minutes, or in four hours.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn growth_that_fills_the_machine_is_found_early() {
    let is_growth = |kind: &FindingKind| matches!(kind, FindingKind::MemoryGrowth { .. });
    for (hours, is_found) in [(2.0 / 3.0, true), (4.0, false)] {
        let mut life = Life::new();
        let machine = life.sim.snapshot().machine_memory_bytes().unwrap();
        let machine_mb = machine as f64 / MB as f64;
        life.memory_mb = 0.8 * machine_mb;
        for _ in 0..220 {
            life.memory_mb += 0.2 * machine_mb / (720.0 * hours);
            life.ticks(1, 2.0, 0);
        }
        assert_eq!(has(&life, is_growth), is_found, "{:?}", life.items());
    }
}

/// It is of the next tick: the first of three crashes may be 120 intervals, ten minutes, before it.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn crash_after_the_newest_tick_is_an_interval_later() {
    let is_loop = |kind: &FindingKind| matches!(kind, FindingKind::CrashLoop { .. });
    for (ticks, is_found) in [(119, true), (120, false)] {
        let mut life = Life::new();
        let crash = |life: &mut Life, ticks: usize| {
            life.plugin.crashed();
            life.start("1.0");
            life.ticks(ticks, 1.0, 0);
        };
        crash(&mut life, 50);
        crash(&mut life, 1 + ticks - 50);
        crash(&mut life, 0);
        life.sim.advance(Duration::ZERO);
        assert_eq!(has(&life, is_loop), is_found, "{ticks}: {:?}", life.items());
    }
}

/// A step of memory lasts while more than a fifth is left.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn step_of_memory_ends_at_a_fifth() {
    let is_step = |kind: &FindingKind| matches!(kind, FindingKind::MemoryStep { .. });
    for (left, is_found) in [(115.0, false), (124.0, true)] {
        let mut life = Life::new();
        for (memory_mb, ticks) in [(100.0, 400), (140.0, 60), (left, 60)] {
            life.memory_mb = memory_mb;
            life.ticks(ticks, 2.0, 0);
        }
        assert_eq!(has(&life, is_step), is_found, "{left} MB: {:?}", life.items());
    }
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn step_of_memory_takes_a_minute_at_most() {
    let is_step = |kind: &FindingKind| matches!(kind, FindingKind::MemoryStep { .. });
    for (minutes, is_found) in [(0, true), (1, true), (6, false)] {
        let mut life = Life::new();
        life.memory_mb = 100.0;
        life.ticks(400, 2.0, 0);
        for left in (0..=12 * minutes).rev() {
            life.memory_mb += (140.0 - life.memory_mb) / f64::from(left + 1);
            life.ticks(1, 2.0, 0);
        }
        life.ticks(60, 2.0, 0);
        assert_eq!(has(&life, is_step), is_found, "{minutes} minutes: {:?}", life.items());
    }
}
