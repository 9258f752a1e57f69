//! Events by kind: counts at the tick, beside the total.

use plugmeter::testing::Simulation;
use plugmeter::{Snapshot, Window};

use crate::fixtures::{idle, keeping};

fn counts(sim: &Simulation) -> (Vec<(String, u64)>, u64) {
    let snapshot = sim.snapshot();
    let view = snapshot.plugins().next().unwrap();
    let counts = view.event_counts().map(|(kind, count)| (kind.to_owned(), count));
    (counts.collect(), view.event_count())
}

fn expected(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|&(kind, count)| (kind.to_owned(), count)).collect()
}

#[test]
fn counts_are_those_of_the_tick() {
    let mut sim = keeping(100);
    let plugin = sim.register("bot").unwrap();
    sim.tick(idle);
    assert_eq!(counts(&sim), (Vec::new(), 0));
    let messages = plugin.event_counter("message").unwrap();
    plugin.event_counter("command").unwrap().add(2);
    plugin.events().add(100);
    assert_eq!(counts(&sim), (Vec::new(), 0));
    sim.tick(idle);
    messages.increment();
    let at_tick = expected(&[("message", 0), ("command", 2)]);
    assert_eq!(counts(&sim), (at_tick, 102));
    assert_eq!(plugin.events().get(), 103);
    sim.tick(idle);
    assert_eq!(counts(&sim), (expected(&[("message", 1), ("command", 2)]), 103));
    let snapshot = sim.snapshot();
    let aggregates = snapshot.plugin("bot").unwrap().aggregates(Window::All).unwrap();
    assert_eq!(aggregates.events, 103, "the history has the events of all kinds");
}

#[test]
fn counts_of_held_snapshot_do_not_change() {
    let mut sim = keeping(100);
    let plugin = sim.register("bot").unwrap();
    let kind = plugin.event_counter("command").unwrap();
    let mut held: Vec<Snapshot> = Vec::new();
    for _ in 0..70 {
        kind.increment();
        sim.tick(idle);
        held.push(sim.snapshot());
    }
    for (snapshot, expected) in held.iter().zip(1..) {
        let view = snapshot.plugin("bot").unwrap();
        assert_eq!(view.event_counts().collect::<Vec<_>>(), [("command", expected)]);
        assert_eq!(view.event_count(), expected);
    }
}

#[test]
fn counts_belong_to_their_plugin() {
    let mut sim = keeping(100);
    let [a, b, c] = ["a", "b", "c"].map(|name| sim.register(name).unwrap());
    a.event_counter("x").unwrap().add(1);
    c.event_counter("x").unwrap().add(2);
    c.event_counter("y").unwrap().add(3);
    b.events().add(4);
    sim.tick(idle);
    let counts = |sim: &Simulation| -> Vec<Vec<u64>> {
        let snapshot = sim.snapshot();
        let plugins = snapshot.plugins();
        plugins.map(|view| view.event_counts().map(|(_, count)| count).collect()).collect()
    };
    assert_eq!(counts(&sim), [vec![1], vec![], vec![2, 3]]);
    // Its slot is used again, by a plugin that begins from 0.
    a.remove();
    sim.register("a").unwrap();
    sim.advance(crate::fixtures::SECOND);
    assert_eq!(counts(&sim), [vec![], vec![], vec![2, 3]]);
    sim.tick(idle);
    assert_eq!(counts(&sim), [vec![], vec![], vec![2, 3]]);
}

#[test]
fn json_has_counts_by_kind() {
    let mut sim = keeping(100);
    let plugin = sim.register("bot").unwrap();
    sim.register("idle").unwrap();
    plugin.event_counter("command").unwrap().add(12);
    plugin.event_counter("\"a\"").unwrap();
    sim.tick(idle);
    let json = serde_json::to_value(sim.snapshot()).unwrap();
    let counts = |at: usize| json["plugins"][at]["event_counts"].clone();
    assert_eq!(counts(0), serde_json::json!({"command": 12, "\"a\"": 0}));
    assert_eq!(counts(1), serde_json::json!({}));
    assert_eq!(json["plugins"][0]["event_count"], 12);
}
