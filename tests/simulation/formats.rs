//! Snapshots as a table and as JSON.

use std::time::Duration;

use plugmeter::testing::Observed;

use crate::fixtures::{exit, keeping, usage};

#[test]
fn snapshot_displays_as_table() {
    let mut sim = keeping(10);
    let dice = sim.register("dice").unwrap();
    dice.started(1, "");
    dice.events().add(1_234);
    sim.register("骰子").unwrap();
    let crashed = sim.register("8ball").unwrap();
    let run = crashed.started(2, "");
    crashed.exited(run, exit(1));
    sim.tick(|_| usage(1_492, 2_150));
    let expected = "\
PLUGIN  STATE    CPU % OF A CORE  MEMORY MB  EVENTS  CRASHES  UPTIME
8ball   CRASHED                -          -       0        1       -
dice    RUNNING            29.84       2.10    1234        0      5s
骰子    STOPPED                -          -       0        0       -
3 plugins, 1 running, 1 crashed; 1234 events, 2.10 MB resident (sum), up 5s";
    assert_eq!(sim.snapshot().to_string(), expected);
}

#[test]
fn totals_of_one_are_in_the_singular() {
    let mut sim = keeping(10);
    let dice = sim.register("dice").unwrap();
    dice.started(1, "");
    dice.events().add(1);
    sim.tick(|_| usage(1_492, 2_150));
    let table = sim.snapshot().to_string();
    let totals = "1 plugin, 1 running, 0 crashed; 1 event, 2.10 MB resident (sum), up 5s";
    assert_eq!(table.lines().last(), Some(totals));
}

#[test]
fn table_has_processes_where_a_plugin_has_several() {
    let mut sim = keeping(10);
    sim.register("make").unwrap().started(1, "");
    sim.register("dice").unwrap().started(2, "");
    sim.register("idle").unwrap();
    sim.tick(|pid| match pid {
        1 => Observed::RunningTree {
            main: usage(50, 1_024),
            tree: usage(4_000, 65_536),
            processes: 9,
        },
        _ => usage(1_492, 2_150).into(),
    });
    let expected = "\
PLUGIN  STATE    PROCESSES  CPU % OF A CORE  MEMORY MB  EVENTS  CRASHES  UPTIME
dice    RUNNING          1            29.84       2.10       0        0      5s
idle    STOPPED          0                -          -       0        0       -
make    RUNNING          9            80.00      64.00       0        0      5s
3 plugins, 2 running, 0 crashed; 10 processes, 0 events, 66.10 MB resident (sum), up 5s";
    assert_eq!(sim.snapshot().to_string(), expected);
}

#[test]
fn json_combines_tick_values_and_current_state() {
    let mut sim = keeping(10);
    let dice = sim.register("dice").unwrap();
    dice.started(4_711, "1.0");
    dice.events().add(7);
    sim.tick(|_| usage(1_492, 2_150));
    // A publication between ticks has the new state, pid, version and crash count, and no values.
    dice.crashed();
    sim.advance(Duration::from_nanos(1));
    let snapshot = sim.snapshot();
    let mut json = serde_json::to_value(&snapshot).unwrap();
    let timestamp = json["timestamp"].take();
    let plugin = &mut json["plugins"][0];
    assert_eq!(plugin["timestamp"].take(), timestamp);
    let text = timestamp.as_str().unwrap();
    assert!(text.len() == 24 && text.ends_with('Z'), "{text}");
    assert_eq!(
        json,
        serde_json::json!({
            "timestamp": null,
            "tick": 1,
            "revision": 2,
            "status": "RUNNING",
            "plugins": [{
                "timestamp": null, "plugin_name": "dice", "version": "1.0", "pid": null,
                "state": "CRASHED", "cpu_percent": null, "memory_mb": null,
                "process_count": null, "tree_cpu_percent": null, "tree_memory_mb": null,
                "suspended": null, "uptime_seconds": null, "event_count": 7, "crash_count": 1,
                "event_counts": {},
            }],
            "system": {
                "uptime_seconds": 5.0, "uptime_human": "5s", "total_plugins": 1,
                "plugins_running": 0, "plugins_crashed": 1, "total_events": 7,
                "total_memory_mb": 2.1,
                "total_tree_memory_mb": 2.1, "cpu_percent": 29.84, "process_count": 1,
            },
            "sampler": {
                "ticks": 1, "missed_ticks": 0, "failed_reads": 0, "last_tick_seconds": 0.0,
                "cpu_seconds": null, "overhead_percent": null, "dropped_notifications": 0,
            },
        })
    );
    let row = serde_json::to_value(snapshot.plugin("dice").unwrap()).unwrap();
    assert_eq!(row["state"], "CRASHED");
}
