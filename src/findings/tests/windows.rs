//! What began before the window, and windows that are short for the poll interval.

use super::*;

fn find(life: &Life, is_kind: fn(&FindingKind) -> bool) -> Finding {
    let items = life.items();
    let found = items.iter().find(|item| is_kind(&item.kind)).cloned();
    found.unwrap_or_else(|| panic!("{items:?}"))
}

/// The two are one finding, and the second one has begun before what the history holds.
#[track_caller]
fn assert_goes_on(before: &Finding, after: &Finding) {
    assert!(after.is_same(before), "{before} {:?}, {after} {:?}", before.since, after.since);
    assert!(!after.since.is_exact(), "{after} {:?}", after.since);
}

/// A crash every four minutes for two hours, of which the window has one.
#[test]
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
