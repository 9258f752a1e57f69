//! The texts of each screen.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use plugmeter::testing::Observed;
use plugmeter::{Config, Limit, LimitMetric, Limits, PluginState};
use ratatui::crossterm::event::KeyCode;

use crate::test_host::{POLL, TestHost, press, row};
use plugmeter_top::app::App;

const NARROW: (u16, u16) = (80, 24);
const WIDE: (u16, u16) = (200, 50);
const NOW: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

/// Whether some line has this in it.
fn shows(lines: &[String], words: &str) -> bool {
    lines.iter().any(|line| line.contains(words))
}

#[track_caller]
fn assert_shows(lines: &[String], words: &str) {
    assert!(shows(lines, words), "no {words:?} in {lines:#?}");
}

#[test]
fn verdict_is_first_and_problems_follow() {
    let mut host = TestHost::new();
    host.run("dice", 1, 10, 5);
    host.run("8ball", 2, 97, 5);
    host.run("quiet", 3, 1, 131);
    for name in ["a", "b"] {
        host.plugin(name);
    }
    host.ticks(1);
    host.end(1, Observed::Exited(3));
    host.ticks(1);
    host.sim.advance(SECOND);
    host.ticks(48);
    host.plugin("quiet").set_state(PluginState::Unhealthy);
    host.ticks(1);
    for size in [NARROW, WIDE] {
        let lines = host.lines(&mut App::default(), size, 3 * SECOND);
        assert!(lines[0].starts_with("✗ 3 of 5 need attention. Data 3 s old."), "{lines:#?}");
        // The end was found by the second tick; the second and 49 intervals went by since, and 3 s.
        assert_eq!(lines[1], "✗ dice: crashed, down for 4 min (exit code 3)");
        // The warnings by their impact: a plugin that does not do its work, a core of several.
        assert_eq!(lines[2], "▲ quiet: unhealthy for 8 s");
        assert_eq!(lines[3], "▲ 8ball: a whole core (97 %) for 3 min, it may be at its limit");
    }
}

#[test]
fn verdict_without_problems() {
    let mut host = TestHost::new();
    host.run("dice", 1, 50, 100);
    host.plugin("8ball");
    host.ticks(3);
    let lines = host.lines(&mut App::default(), NARROW, 2 * SECOND);
    assert!(lines[0].starts_with("● All 2 plugins are well. Data 2 s old."), "{lines:#?}");
    assert_eq!(row(&lines, "dice")[0], "●");
    assert_eq!(row(&lines, "8ball")[0], "○");
}

#[test]
fn each_problem_is_reported() {
    type Wrong<'a> = (&'a str, &'a dyn Fn(&mut TestHost));
    let wrong: [Wrong<'_>; 6] = [
        ("✗ dice: failed, down for 0 s", &|host| {
            host.plugin("dice").set_state(PluginState::Failed)
        }),
        ("✗ dice: failed, down for 0 s; the pid is not the id of a process for 0 s", &|host| {
            host.run("dice", 0, 0, 0);
        }),
        ("✗ dice: crashed, down for 0 s", &|host| {
            host.plugin("dice").crashed();
        }),
        ("▲ dice: unhealthy for 0 s", &|host| {
            host.plugin("dice").set_state(PluginState::Unhealthy);
        }),
        ("▲ dice: no permission to read the process for 0 s", &|host| {
            host.end(1, Observed::Denied);
            host.ticks(1);
        }),
        ("▲ dice: a whole core (100 %) for 3 min, it may be at its limit", &|host| {
            host.change(1, 100, 1);
            // The first minute of a run is not judged.
            host.ticks(48);
        }),
    ];
    for (complaint, wrong) in wrong {
        let mut host = TestHost::new();
        host.run("dice", 1, 1, 1);
        host.ticks(2);
        wrong(&mut host);
        host.sim.advance(NOW);
        let lines = host.lines(&mut App::default(), NARROW, NOW);
        assert_eq!(lines[1], complaint, "{lines:#?}");
        assert_eq!(lines[0].chars().next(), complaint.chars().next(), "{lines:#?}");
    }
}

#[test]
fn onset_before_the_history_is_reported_as_such() {
    let minutes = Duration::from_secs(300);
    let mut host = TestHost::with(Config::default().history_duration(minutes));
    host.run("dice", 1, 97, 5);
    host.ticks(100);
    let lines = host.lines(&mut App::default(), NARROW, NOW);
    // Of the sixty samples of the history the oldest is as old as 59 intervals.
    let expected = "▲ dice: a whole core (97 %) for more than 4 min, it may be at its limit";
    assert_eq!(lines[1], expected);
}

#[test]
fn crashes_are_reported_for_an_hour() {
    let mut host = TestHost::new();
    let crash = |host: &mut TestHost, pid| {
        let run = host.run("dice", pid, 1, 1);
        host.ticks(1);
        host.plugin("dice").exited(run, ExitStatus::from_raw(11));
        host.ticks(1);
    };
    host.plugin("dice");
    host.ticks(1);
    for pid in 1..=3 {
        crash(&mut host, pid);
    }
    host.run("dice", 4, 1, 1);
    host.ticks(2);
    let said = |host: &TestHost| host.lines(&mut App::default(), NARROW, NOW)[1].clone();
    // Reported 15 s before the last tick: between two ticks the simulated time does not advance.
    // The tick after it has counted the first one.
    assert_eq!(said(&host), "✗ dice: crash loop, 3 crashes for 30 s, last 15 s ago");
    host.ticks(40);
    assert_eq!(said(&host), "▲ dice: crashed 3 times in the last 10 minutes, last 3 min ago");
    host.ticks(80);
    assert_eq!(said(&host), "▲ dice: crashed 3 times in the last hour, last 10 min ago");
    assert!(row(&host.lines(&mut App::default(), NARROW, NOW), "dice").contains(&"3/3"));
    host.ticks(600);
    assert_eq!(said(&host), "");
    // None in the last hour, three in total.
    assert!(row(&host.lines(&mut App::default(), NARROW, NOW), "dice").contains(&"0/3"));
}

#[test]
fn crashes_before_the_first_sample_count() {
    let mut host = TestHost::new();
    // Twice before the first of all ticks, and twice while another is sampled already.
    for (name, pid) in [("first", 1), ("later", 4)] {
        for pid in [pid, pid + 1] {
            host.run(name, pid, 1, 1);
            host.plugin(name).crashed();
        }
        host.run(name, pid + 2, 1, 1);
        host.ticks(3);
        let lines = host.lines(&mut App::default(), NARROW, NOW);
        let crashed = format!("▲ {name}: crashed twice in the last 10 minutes, last 15 s ago");
        assert_shows(&lines, &crashed);
        assert!(row(&lines, name).contains(&"2/2"), "{lines:#?}");
    }
    // The history of both still begins with their first sample.
    host.ticks(700);
    let lines = host.lines(&mut App::default(), NARROW, NOW);
    assert_shows(&lines, "▲ later: crashed twice in the last hour, last 58 min ago");
    host.ticks(20);
    for name in ["first", "later"] {
        let lines = host.lines(&mut App::default(), NARROW, NOW);
        assert!(row(&lines, name).contains(&"0/2"), "{lines:#?}");
    }
}

#[test]
fn new_run_shows_no_values_of_the_previous() {
    let mut host = TestHost::new();
    let first = host.run("dice", 1, 80, 200);
    host.ticks(2);
    let lines = host.lines(&mut App::default(), WIDE, NOW);
    assert!(row(&lines, "dice").contains(&"80.0") && row(&lines, "dice").contains(&"200.0"));

    host.plugin("dice").exited(first, ExitStatus::from_raw(0));
    host.run("dice", 2, 1, 1);
    // Published between two ticks: the newest sample is of the run that is over.
    host.sim.advance(SECOND);
    let snapshot = host.sim.snapshot();
    let dice = snapshot.plugin("dice").unwrap();
    assert_ne!(dice.current().unwrap().run, dice.run().map(|run| run.id));
    let lines = host.lines(&mut App::default(), WIDE, SECOND);
    assert!(lines[0].starts_with("● The one plugin is well."), "{lines:#?}");
    let words = row(&lines, "dice");
    assert!(!words.contains(&"200.0"), "{words:?}");
    assert_eq!(words[..5], ["●", "dice", "RUNNING", "1s", "–"], "{words:?}");
    // Memory, uptime; then version and pid of the new one, and the number of processes.
    assert_eq!(words.iter().filter(|word| **word == "–").count(), 4, "{words:?}");
    assert_eq!(words[words.len() - 3..], ["v2", "2", "–"], "{words:?}");
}

#[test]
fn unknown_values_are_not_zero() {
    let mut host = TestHost::new();
    host.plugin("idle");
    host.ticks(1);
    let lines = host.lines(&mut App::default(), WIDE, NOW);
    // CPU, p95, memory, events of one sample; no crashes, which is known; uptime, version, pid; no
    // processes, which is known.
    let words = row(&lines, "idle");
    assert_eq!(words[..4], ["○", "idle", "STOPPED", "5s"], "{words:?}");
    assert_eq!(words[4..], ["–", "–", "–", "–", "0", "–", "–", "–", "0"], "{words:?}");
}

#[test]
fn removed_plugin_disappears() {
    let mut host = TestHost::new();
    host.run("dice", 1, 1, 1);
    host.run("8ball", 2, 1, 1);
    host.ticks(2);
    host.plugin("dice").remove();
    host.sim.advance(NOW);
    let lines = host.lines(&mut App::default(), NARROW, NOW);
    assert!(!shows(&lines, "dice"), "{lines:#?}");
    assert_shows(&lines, "The one plugin is well");
}

#[test]
fn event_rate_covers_the_last_minute() {
    let mut host = TestHost::new();
    for tick in 0..40 {
        // Ten a second, but in the last minute one a second.
        host.plugin("dice").events().add(if tick < 28 { 50 } else { 5 });
        host.ticks(1);
    }
    let lines = host.lines(&mut App::default(), WIDE, NOW);
    assert!(row(&lines, "dice").contains(&"1.0"), "{lines:#?}");
}

#[test]
fn late_or_stopped_collector_is_reported() {
    let mut host = TestHost::new();
    host.run("dice", 1, 1, 1);
    host.ticks(2);
    let first = |age| host.lines(&mut App::default(), NARROW, age)[0].clone();
    // Three intervals and a second are not stale.
    assert!(first(3 * POLL).starts_with("● The one plugin is well. Data 15 s old."));
    let late = first(20 * SECOND);
    assert!(late.starts_with("✗ The collector is late: data 20 s old, a sample is due every 5s."));
    let stopped = TestHost::with(Config::default().enabled(false));
    let lines = stopped.lines(&mut App::default(), NARROW, 61 * SECOND);
    assert!(lines[0].starts_with("✗ The collector has stopped. Data 1 min old."), "{lines:#?}");
}

#[test]
fn details_show_runs_and_aggregates() {
    let mut host = TestHost::new();
    for (pid, end) in [(1, Observed::Exited(3)), (2, Observed::Signaled(11))] {
        host.run("dice", pid, 20, 10);
        host.ticks(2);
        host.end(pid, end);
        host.ticks(1);
        host.sim.advance(SECOND);
    }
    host.run("dice", 3, 40, 30);
    host.ticks(2);
    host.run("dice", 4, 40, 30);
    host.ticks(2);
    for size in [NARROW, WIDE] {
        let mut app = App::default();
        host.lines(&mut app, size, NOW);
        press(&mut app, [KeyCode::Enter]);
        let lines = host.lines(&mut app, size, NOW);
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
            assert_shows(&lines, words);
        }
    }
}

#[test]
fn problems_that_do_not_fit_are_counted() {
    let mut host = TestHost::new();
    let names: Vec<_> = (1..=30).map(|pid| format!("plugin-{pid:02}")).collect();
    for (pid, name) in (1..).zip(&names) {
        host.run(name, pid, 60, 1);
        host.plugin(name).set_state(PluginState::Unhealthy);
    }
    host.ticks(2);
    let lines = host.lines(&mut App::default(), NARROW, NOW);
    assert!(lines[0].starts_with("▲ 30 of 30 need attention."), "{lines:#?}");
    assert_eq!(lines[4], "  and 27 more");
    let heading = |lines: &[String]| lines.iter().position(|line| line.starts_with("  PLUGIN"));
    names.iter().for_each(|name| host.plugin(name).set_state(PluginState::Running));
    host.ticks(1);
    let calm = host.lines(&mut App::default(), NARROW, NOW);
    assert!(calm[0].starts_with("● All 30 plugins are well."), "{calm:#?}");
    assert_eq!(heading(&lines), heading(&calm));
}

#[test]
fn footer_shows_the_sampler_cost() {
    let mut host = TestHost::new();
    host.plugin("dice");
    host.ticks(1);
    for size in [NARROW, WIDE] {
        let lines = host.lines(&mut App::default(), size, NOW);
        let foot = lines.last().unwrap();
        // A simulation has no thread, and so no CPU time.
        assert!(foot.ends_with("sampler's cost unknown"), "{foot}");
        assert!(foot.contains("? help") && foot.contains("q quit"), "{foot}");
    }
}

#[test]
fn values_are_those_of_the_process_tree() {
    let mut host = TestHost::new();
    host.run("alone", 1, 2, 5);
    host.run("shell", 2, 1, 4);
    host.set_descendants(2, 80, 60, 3);
    let limit = Limit::new(LimitMetric::CpuPercent, 50.0).lasting(POLL).grace(NOW);
    host.plugin("shell").set_limits(Limits::default().rule(limit)).unwrap();
    host.ticks(3);
    let app = &mut App::default();
    let lines = host.lines(app, WIDE, NOW);
    assert_shows(&lines, "shell: CPU over the limit of 50 %, now 81.00 %, for ");
    let shell = row(&lines, "shell  ");
    assert!(["81.0", "64.0", "4"].iter().all(|value| shell.contains(value)), "{shell:?}");
    assert_eq!(shell.last(), Some(&"4"), "processes");
    assert_eq!(row(&lines, "alone").last(), Some(&"1"));
    assert_shows(&lines, "PROCS");
    // With the values of its process alone, besides.
    press(app, [KeyCode::Enter]);
    let lines = host.lines(app, WIDE, NOW);
    assert_shows(&lines, " · pid 2 · 4 processes · up ");
    assert_shows(&lines, "now 81.0");
    assert_shows(&lines, " · main process: CPU 1.0 %, 4.0 MB");
    press(app, [KeyCode::Down]);
    let lines = host.lines(app, WIDE, NOW);
    assert!(!shows(&lines, " processes · up") && !shows(&lines, "main process"), "{lines:#?}");
}

#[test]
fn values_without_trees_are_those_of_the_process() {
    let mut host = TestHost::with(Config::default().process_trees(false));
    host.run("shell", 2, 1, 4);
    host.set_descendants(2, 80, 60, 3);
    host.ticks(3);
    let lines = host.lines(&mut App::default(), WIDE, NOW);
    let shell = row(&lines, "shell");
    assert!(["1.0", "4.0"].iter().all(|value| shell.contains(value)), "{shell:?}");
    assert_eq!(shell.last(), Some(&"–"), "processes");
}

#[test]
fn plugin_screen_has_kinds_and_versions() {
    let mut host = TestHost::new();
    host.run("dice", 1, 10, 8);
    host.plugin("dice").event_counter("command").unwrap().add(1_200);
    host.plugin("dice").event_counter("message").unwrap();
    host.ticks(4);
    host.run("dice", 2, 30, 8);
    host.ticks(4);
    let mut app = App::default();
    host.lines(&mut app, (140, 40), NOW);
    press(&mut app, [KeyCode::Enter]);
    let lines = host.lines(&mut app, (140, 40), NOW);
    let has = |text: &str| lines.iter().any(|line| line.trim_start().starts_with(text));
    assert!(has("events by kind: command 1200 · message 0"), "{lines:#?}");
    assert!(has("version v2: 1 run, 20s; CPU avg 30.00 %"), "{lines:#?}");
    assert!(has("version v1: 1 run, 15s; CPU avg 10.00 %"), "{lines:#?}");
}

#[test]
fn details_have_limits_and_processes() {
    let mut host = TestHost::new();
    host.run("dice", 1, 60, 30);
    let limits = Limits::default()
        .rule(Limit::new(LimitMetric::MemoryMb, 512.0))
        .rule(Limit::new(LimitMetric::CpuPercent, 50.0).lasting(POLL).grace(NOW));
    host.plugin("dice").set_limits(limits).unwrap();
    host.ticks(3);
    let app = &mut App::default();
    host.lines(app, NARROW, NOW);
    press(app, [KeyCode::Enter]);
    let lines = host.lines(app, NARROW, NOW);
    // The exceeded one first.
    assert_shows(&lines, "limits: CPU 60.00 %, limit 50 %: exceeded · memory 30.00 MB, limit 512");
    assert_shows(&lines, "Runs, the newest first (1)");
    press(app, [KeyCode::Char('p')]);
    let lines = host.lines(app, NARROW, NOW);
    assert_shows(&lines, "Processes at the newest tick (1)");
    let process = lines.iter().position(|line| line.starts_with("Processes")).unwrap() + 1;
    let words: Vec<_> = lines[process].split_whitespace().collect();
    assert_eq!(words[..3], ["1", "60.0", "30.0"], "{lines:#?}");
    press(app, [KeyCode::Char('p')]);
    assert_shows(&host.lines(app, NARROW, NOW), "Runs, the newest first (1)");
}

/// At 60 columns nothing that matters is cut: the verdict, the findings, the help, the details.
#[test]
fn screens_fit_sixty_columns() {
    const SIXTY: (u16, u16) = (60, 24);
    let mut host = TestHost::new();
    host.run("dice", 1, 97, 20);
    host.run("8ball", 2, 1, 5);
    host.set_descendants(1, 2, 3, 4);
    host.plugin("dice").event_counter("command").unwrap().add(1_200);
    host.plugin("8ball").set_state(PluginState::Unhealthy);
    host.ticks(50);
    let app = &mut App::default();
    let is_cut = |line: &String| line.ends_with('…');
    let lines = host.lines(app, SIXTY, NOW);
    assert!(lines[0].starts_with("▲ 2 of 2 need attention. Data 0 s old."), "{lines:#?}");
    assert!(!lines.iter().skip(5).any(is_cut), "{lines:#?}");
    for words in ["PLUGIN", "STATE", "CPU %", "FOR", "MEM MB", "q quit", "? help"] {
        assert_shows(&lines, words);
    }
    press(app, [KeyCode::Down, KeyCode::Enter]);
    let lines = host.lines(app, SIXTY, NOW);
    assert_shows(&lines, "a whole core (99 %)");
    assert_shows(&lines, "events by kind: command 1200");
    assert_shows(&lines, "main process: CPU 97.0 %");
    press(app, [KeyCode::Char('?')]);
    let lines = host.lines(app, (60, 36), NOW);
    assert!(!lines.iter().skip(1).any(is_cut), "{lines:#?}");
    for words in ["the processes of the tree", "the wheel", "right button", "quit; Ctrl-Z"] {
        assert_shows(&lines, words);
    }
}
