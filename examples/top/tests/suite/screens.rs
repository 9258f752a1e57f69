//! What an operator reads.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use plugmeter::testing::Observed;
use plugmeter::{Config, PluginState};
use ratatui::crossterm::event::KeyCode;

use crate::world::{POLL, World, press, row};
use plugmeter_top::app::App;

const NARROW: (u16, u16) = (80, 24);
const WIDE: (u16, u16) = (200, 50);
const NOW: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

/// Whether some line has this in it.
fn says(lines: &[String], words: &str) -> bool {
    lines.iter().any(|line| line.contains(words))
}

#[track_caller]
fn assert_says(lines: &[String], words: &str) {
    assert!(says(lines, words), "no {words:?} in {lines:#?}");
}

#[test]
fn the_first_line_is_the_verdict_and_those_below_say_who_and_since_when() {
    let mut world = World::new();
    world.run("dice", 1, 10, 5);
    world.run("8ball", 2, 97, 5);
    world.run("leaky", 3, 1, 131);
    for name in ["a", "b"] {
        world.plugin(name);
    }
    world.ticks(1);
    world.end(1, Observed::Exited(3));
    world.ticks(1);
    world.sim.advance(SECOND);
    world.ticks(24);
    for size in [NARROW, WIDE] {
        let lines = world.lines(&mut App::default(), size, 3 * SECOND);
        assert!(lines[0].starts_with("✗ 3 of 5 need attention. Data 3 s old."), "{lines:#?}");
        // The end was found by the second tick; the second and 24 intervals went by since, and 3 s.
        assert_eq!(lines[1], "✗ dice: crashed 2 min ago, and is down: exit code 3");
        // Of 26 samples the oldest is as old as 25 intervals and the second.
        assert_eq!(lines[2], "▲ 8ball: CPU 97 % of one core for 2 min");
        assert_eq!(lines[3], "▲ leaky: memory 131 MB, above 100 MB for 2 min");
    }
}

#[test]
fn all_is_well_where_nothing_is_wrong() {
    let mut world = World::new();
    world.run("dice", 1, 50, 100);
    world.plugin("8ball");
    world.ticks(3);
    let lines = world.lines(&mut App::default(), NARROW, 2 * SECOND);
    // Exactly 50 % and 100 MB are not above these.
    assert!(lines[0].starts_with("● All 2 plugins are well. Data 2 s old."), "{lines:#?}");
    assert_eq!(row(&lines, "dice")[0], "●");
    assert_eq!(row(&lines, "8ball")[0], "○");
}

#[test]
fn each_reason_for_attention_is_one() {
    type Wrong<'a> = (&'a str, &'a dyn Fn(&mut World));
    let wrong: [Wrong<'_>; 7] = [
        ("✗ dice: failed just now", &|world| world.plugin("dice").set_state(PluginState::Failed)),
        ("✗ dice: failed just now: the pid is not that of a process", &|world| {
            world.run("dice", 0, 0, 0);
        }),
        ("✗ dice: crashed just now, and is down", &|world| {
            world.plugin("dice").crashed();
        }),
        ("▲ dice: unhealthy for 0 s", &|world| {
            world.plugin("dice").set_state(PluginState::Unhealthy);
        }),
        ("▲ dice: not measured: this user may not read the process", &|world| {
            world.end(1, Observed::Denied);
            world.ticks(1);
        }),
        ("▲ dice: CPU 51 % of one core", &|world| {
            world.change(1, 51, 1);
            world.ticks(1);
        }),
        ("▲ dice: memory 101 MB, above 100 MB", &|world| {
            world.change(1, 1, 101);
            world.ticks(1);
        }),
    ];
    for (complaint, wrong) in wrong {
        let mut world = World::new();
        world.run("dice", 1, 1, 1);
        world.ticks(2);
        wrong(&mut world);
        world.sim.advance(NOW);
        let lines = world.lines(&mut App::default(), NARROW, NOW);
        assert_eq!(lines[1], complaint, "{lines:#?}");
        assert_eq!(lines[0].chars().next(), complaint.chars().next(), "{lines:#?}");
    }
}

#[test]
fn crashes_are_told_of_for_an_hour_and_counted_over_ten_minutes_or_the_hour() {
    let mut world = World::new();
    let crash = |world: &mut World, pid| {
        let run = world.run("dice", pid, 1, 1);
        world.ticks(1);
        world.plugin("dice").exited(run, ExitStatus::from_raw(11));
        world.ticks(1);
    };
    world.plugin("dice");
    world.ticks(1);
    for pid in 1..=3 {
        crash(&mut world, pid);
    }
    world.run("dice", 4, 1, 1);
    world.ticks(2);
    let said = |world: &World| world.lines(&mut App::default(), NARROW, NOW)[1].clone();
    // Told 15 s before the last tick, where time stands still between two ticks.
    assert_eq!(said(&world), "▲ dice: crashed 3 times in the last 10 min, last 15 s ago");
    world.ticks(120);
    assert_eq!(said(&world), "▲ dice: crashed 3 times in the last hour, last 10 min ago");
    assert!(row(&world.lines(&mut App::default(), NARROW, NOW), "dice").contains(&"3/3"));
    world.ticks(600);
    assert_eq!(said(&world), "");
    // In the hour none, in all three.
    assert!(row(&world.lines(&mut App::default(), NARROW, NOW), "dice").contains(&"0/3"));
}

#[test]
fn crashes_before_the_first_sample_are_counted_too() {
    let mut world = World::new();
    // Twice before the first of all ticks, and twice while another is sampled already.
    for (name, pid) in [("first", 1), ("later", 4)] {
        for pid in [pid, pid + 1] {
            world.run(name, pid, 1, 1);
            world.plugin(name).crashed();
        }
        world.run(name, pid + 2, 1, 1);
        world.ticks(3);
        let lines = world.lines(&mut App::default(), NARROW, NOW);
        let crashed = format!("▲ {name}: crashed 2 times in the last 10 min, last 15 s ago");
        assert_says(&lines, &crashed);
        assert!(row(&lines, name).contains(&"2/2"), "{lines:#?}");
    }
    // Both have been there for a while, and their history is still all that there ever was.
    world.ticks(700);
    let lines = world.lines(&mut App::default(), NARROW, NOW);
    assert_says(&lines, "▲ later: crashed 2 times in the last hour, last 58 min ago");
    world.ticks(20);
    for name in ["first", "later"] {
        let lines = world.lines(&mut App::default(), NARROW, NOW);
        assert!(row(&lines, name).contains(&"0/2"), "{lines:#?}");
    }
}

#[test]
fn a_run_that_has_just_begun_shows_nothing_of_the_one_before() {
    let mut world = World::new();
    let first = world.run("dice", 1, 80, 200);
    world.ticks(2);
    let lines = world.lines(&mut App::default(), WIDE, NOW);
    assert!(row(&lines, "dice").contains(&"80.0") && row(&lines, "dice").contains(&"200.0"));

    world.plugin("dice").exited(first, ExitStatus::from_raw(0));
    world.run("dice", 2, 1, 1);
    // Published between two ticks: the newest sample is of the run that is over.
    world.sim.advance(SECOND);
    let snapshot = world.sim.snapshot();
    let dice = snapshot.plugin("dice").unwrap();
    assert_ne!(dice.current().unwrap().run, dice.run().map(|run| run.id));
    let lines = world.lines(&mut App::default(), WIDE, SECOND);
    assert!(lines[0].starts_with("● The one plugin is well."), "{lines:#?}");
    let words = row(&lines, "dice");
    assert!(!words.contains(&"200.0"), "{words:?}");
    assert_eq!(words[..5], ["●", "dice", "RUNNING", "1s", "–"], "{words:?}");
    // Memory, uptime; then version and pid of the new one.
    assert_eq!(words.iter().filter(|word| **word == "–").count(), 3, "{words:?}");
    assert_eq!(words[words.len() - 2..], ["v2", "2"], "{words:?}");
}

#[test]
fn what_is_not_known_is_never_a_zero() {
    let mut world = World::new();
    world.plugin("idle");
    world.ticks(1);
    let lines = world.lines(&mut App::default(), WIDE, NOW);
    // CPU, p95, memory, events of one sample; no crashes, which is known; uptime, version, pid.
    let words = row(&lines, "idle");
    assert_eq!(words[..4], ["○", "idle", "STOPPED", "5s"], "{words:?}");
    assert_eq!(words[4..], ["–", "–", "–", "–", "0", "–", "–", "–"], "{words:?}");
}

#[test]
fn a_plugin_that_was_removed_is_gone() {
    let mut world = World::new();
    world.run("dice", 1, 1, 1);
    world.run("8ball", 2, 1, 1);
    world.ticks(2);
    world.plugin("dice").remove();
    world.sim.advance(NOW);
    let lines = world.lines(&mut App::default(), NARROW, NOW);
    assert!(!says(&lines, "dice"), "{lines:#?}");
    assert_says(&lines, "The one plugin is well");
}

#[test]
fn events_are_per_second_of_the_last_minute() {
    let mut world = World::new();
    for tick in 0..40 {
        // Ten a second, but in the last minute one a second.
        world.plugin("dice").events().add(if tick < 28 { 50 } else { 5 });
        world.ticks(1);
    }
    let lines = world.lines(&mut App::default(), WIDE, NOW);
    assert!(row(&lines, "dice").contains(&"1.0"), "{lines:#?}");
}

#[test]
fn a_collector_that_is_late_or_has_stopped_is_said_to_be() {
    let mut world = World::new();
    world.run("dice", 1, 1, 1);
    world.ticks(2);
    let first = |age| world.lines(&mut App::default(), NARROW, age)[0].clone();
    // Three intervals are borne, not more.
    assert!(first(3 * POLL).starts_with("● The one plugin is well. Data 15 s old."));
    let late = first(20 * SECOND);
    assert!(late.starts_with("✗ The collector is late: data 20 s old, a sample is due every 5s."));
    let stopped = World::with(Config::default().enabled(false));
    let lines = stopped.lines(&mut App::default(), NARROW, 61 * SECOND);
    assert!(lines[0].starts_with("✗ The collector has stopped. Data 1 min old."), "{lines:#?}");
}

#[test]
fn the_details_say_how_runs_ended_and_what_the_window_held() {
    let mut world = World::new();
    for (pid, end) in [(1, Observed::Exited(3)), (2, Observed::Signaled(11))] {
        world.run("dice", pid, 20, 10);
        world.ticks(2);
        world.end(pid, end);
        world.ticks(1);
        world.sim.advance(SECOND);
    }
    world.run("dice", 3, 40, 30);
    world.ticks(2);
    world.run("dice", 4, 40, 30);
    world.ticks(2);
    for size in [NARROW, WIDE] {
        let mut app = App::default();
        world.lines(&mut app, size, NOW);
        press(&mut app, [KeyCode::Enter]);
        let lines = world.lines(&mut app, size, NOW);
        for words in [
            "dice  RUNNING for 10s · pid 4 · up 10s · version v4",
            "CPU % of one core  now 40.0",
            "max 40.0",
            "Memory MB  now 30.0  avg 20.0  min 10.0  max 30.0  p95 30.0",
            "crashes 2 in the last hour, 2 in all",
            "restarts 3",
            "Runs, the newest first (4)",
            "pid 4        ran      10s",
            "is running",
            "replaced, 10 s ago",
            "signal 11",
            "exit code 3",
        ] {
            assert_says(&lines, words);
        }
    }
}

#[test]
fn complaints_that_do_not_fit_are_counted_and_nothing_jumps() {
    let mut world = World::new();
    for pid in 1..=30 {
        world.run(&format!("plugin-{pid:02}"), pid, 60, 1);
    }
    world.ticks(2);
    let lines = world.lines(&mut App::default(), NARROW, NOW);
    assert!(lines[0].starts_with("▲ 30 of 30 need attention."), "{lines:#?}");
    assert_eq!(lines[4], "  and 27 more");
    let heading = |lines: &[String]| lines.iter().position(|line| line.starts_with("  PLUGIN"));
    (1..=30).for_each(|pid| world.change(pid, 1, 1));
    world.ticks(1);
    let calm = world.lines(&mut App::default(), NARROW, NOW);
    assert!(calm[0].starts_with("● All 30 plugins are well."), "{calm:#?}");
    assert_eq!(heading(&lines), heading(&calm));
}

#[test]
fn the_footer_says_what_sampling_costs_or_that_it_is_not_known() {
    let mut world = World::new();
    world.plugin("dice");
    world.ticks(1);
    for size in [NARROW, WIDE] {
        let lines = world.lines(&mut App::default(), size, NOW);
        let foot = lines.last().unwrap();
        // A simulation has no thread, and so no CPU time.
        assert!(foot.ends_with("sampler's cost unknown"), "{foot}");
        assert!(foot.contains("? help") && foot.contains("q quit"), "{foot}");
    }
}
