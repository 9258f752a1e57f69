//! The texts that answer chat commands.

use std::time::Duration;

use plugmeter::testing::Simulation;
use plugmeter::{PluginState, Window};

use crate::fixtures::{POLL, SECOND, idle, keeping, usage};

fn report(sim: &Simulation) -> String {
    let snapshot = sim.snapshot();
    snapshot.plugin("dice").unwrap().report(Window::All).to_string()
}

fn status(sim: &Simulation) -> String {
    sim.snapshot().status_line().to_string()
}

#[test]
fn report_compares_versions() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    for (pid, version, ms) in [(1, "1.0", 100), (2, "2.0", 300)] {
        plugin.started(pid, version);
        for tick in 1..=12 {
            plugin.events().add(10);
            sim.tick(|_| usage(ms * tick, 2_048));
        }
    }
    let expected = "\
dice 2.0: RUNNING for 1m, pid 2, up 1m
24 samples over 1m
CPU: now 6.00 %, avg 4.00 %, p95 6.00 %, max 6.00 % of one core
memory: now 2.00 MB, avg 2.00 MB, p95 2.00 MB, max 2.00 MB
events: 230 (2.00 per second), 240 in all; CPU per event: 20.43 ms
crashes: 0, 0 in all; runs: 2; restarts: 1 in all
versions:
- 1.0: 1 run, 55s; CPU avg 2.00 %, p95 2.00 %; memory avg 2.00 MB, p95 2.00 MB; 110 events, 10.00 ms CPU each; 0 crashes
- 2.0: 1 run, 1m; CPU avg 6.00 %, p95 6.00 %; memory avg 2.00 MB, p95 2.00 MB; 120 events, 30.00 ms CPU each; 0 crashes
2.0 uses 3.0 times the CPU per event of 1.0 (30.00 ms, 10.00 ms)
findings: none";
    assert_eq!(report(&sim), expected);
}

#[test]
fn report_of_new_plugin_states_what_is_unknown() {
    let mut sim = keeping(100);
    sim.register("dice").unwrap();
    sim.advance(SECOND);
    let before =
        "dice: STOPPED for 0s\nno samples yet\ncrashes: 0, 0 in all; no runs\nfindings: none";
    assert_eq!(report(&sim), before);
    sim.tick(idle);
    let expected = "\
dice: STOPPED for 6s
1 sample over 0s
CPU: unknown
memory: unknown
events: 0 (0.00 per second), 0 in all
crashes: 0, 0 in all; no runs
findings: none";
    assert_eq!(report(&sim), expected);
}

#[test]
fn report_has_crashes_and_findings() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "");
    sim.tick(idle);
    sim.advance(SECOND);
    plugin.crashed();
    sim.tick(idle);
    let text = report(&sim);
    assert!(text.starts_with("dice: CRASHED for 5s\n"), "{text}");
    assert!(text.contains("\ncrashes: 1, 1 in all, last 5s ago; runs: 1\n"), "{text}");
    assert!(text.contains("\nfindings:\n- critical: crashed, down since "), "{text}");
    assert!(!text.contains("versions"), "one version is not compared: {text}");
}

#[test]
fn names_cannot_alter_lines() {
    let mut sim = keeping(100);
    let plugin = sim.register("a\u{2028}b\u{202e}c").unwrap();
    plugin.event_counter("x\u{2029}y").unwrap().increment();
    for (pid, version) in [(1, "1\u{2066}"), (2, "2\u{2028}3")] {
        plugin.started(pid, version);
        plugin.events().add(100);
        (1..=2).for_each(|tick| sim.tick(|_| usage(tick, 2_048)));
    }
    plugin.crashed();
    sim.advance(SECOND);
    let snapshot = sim.snapshot();
    let texts = [
        snapshot.plugins().next().unwrap().report(Window::All).to_string(),
        snapshot.status_line().to_string(),
    ];
    for text in texts {
        let is_unruly = |c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!text.contains(is_unruly), "{text:?}");
    }
    assert!(!status(&sim).contains('\n'));
}

#[test]
fn status_line_names_plugins_that_need_attention() {
    let mut sim = keeping(100);
    assert!(status(&sim).ends_with("CPU 0.00 % of one core; none needs attention"));
    for nth in 0..8 {
        let plugin = sim.register(&format!("p{nth}")).unwrap();
        plugin.started(nth + 1, "");
        if nth != 0 {
            plugin.set_state(PluginState::Unhealthy);
        }
    }
    sim.tick(idle);
    let line = status(&sim);
    assert!(line.ends_with("need attention: p1, p2, p3, p4, p5 and 2 more"), "{line}");
    assert!(line.starts_with("8 plugins, 1 running, 0 crashed; "), "{line}");
}

#[test]
fn report_is_short_with_many_versions() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    for pid in 1..=40 {
        plugin.started(pid, &format!("1.{pid}"));
        sim.tick(idle);
    }
    let text = report(&sim);
    assert!(text.contains("\nversions: the newest 8 of 40\n- 1.33: "), "{text}");
    assert!(text.lines().count() < 20, "{text}");
    let hour = Duration::from_secs(3_600);
    let snapshot = sim.snapshot();
    assert_eq!(snapshot.plugin("dice").unwrap().versions(hour.min(POLL * 3)).len(), 4);
}
