//! Series that end are marked once, at the tick at which they end.

use std::time::Duration;

use plugmeter::testing::Observed;

use crate::decoded::{Point, all, values};
use crate::{deliver, encoder, running, usage};

fn ends(points: &[Point]) -> Vec<(&str, &str)> {
    let ended = points.iter().filter(|point| point.value.is_none());
    ended.map(|point| (point.name.as_str(), point.plugin().unwrap())).collect()
}

#[test]
fn stopped_process_ends_its_series() {
    for is_away in [false, true] {
        let (mut sim, plugins) = running(&["dice", "poll"]);
        let mut encoder = encoder();
        let mut requests = Vec::new();
        sim.tick(|_| usage(100, 1 << 20));
        sim.tick(|_| usage(200, 1 << 20));
        requests.extend(deliver(&mut encoder, &sim.snapshot()));
        plugins[0].stopped();
        for _ in 0..3 {
            sim.tick(|_| usage(300, 1 << 20));
            if !is_away {
                requests.extend(deliver(&mut encoder, &sim.snapshot()));
            }
        }
        requests.extend(deliver(&mut encoder, &sim.snapshot()));
        let points = all(&requests);
        let memory = values(&points, "plugin.resident_memory", "dice");
        let memory: Vec<_> = memory.into_iter().map(|(_, value)| value).collect();
        assert_eq!(memory, [Some((1 << 20) as f64), Some((1 << 20) as f64), None]);
        for name in ["plugin.tree_memory", "plugin.start_time"] {
            assert_eq!(values(&points, name, "dice").last().unwrap().1, None, "{name}");
        }
        // The plugin goes on.
        let up: Vec<_> = values(&points, "plugin.up", "dice").iter().map(|up| up.1).collect();
        assert_eq!(up, [1.0, 1.0, 0.0, 0.0, 0.0].map(Some));
        assert!(ends(&points).iter().all(|(_, plugin)| *plugin == "dice"), "{:?}", ends(&points));
    }
}

#[test]
fn removed_plugin_ends_all_its_series() {
    let (mut sim, plugins) = running(&["dice", "poll"]);
    let mut encoder = encoder();
    plugins[0].event_counter("message").unwrap().increment();
    sim.tick(|_| usage(100, 1 << 20));
    let before = all(&deliver(&mut encoder, &sim.snapshot()));
    plugins[0].remove();
    sim.tick(|_| usage(200, 1 << 20));
    let after = all(&deliver(&mut encoder, &sim.snapshot()));
    let live: Vec<_> = before.iter().filter(|p| p.plugin() == Some("dice")).collect();
    let ended: Vec<_> = after.iter().filter(|p| p.plugin() == Some("dice")).collect();
    assert!(ended.iter().all(|point| point.value.is_none()));
    for point in &live {
        let same =
            |other: &&&Point| (&other.name, &other.attributes) == (&point.name, &point.attributes);
        assert_eq!(ended.iter().filter(same).count(), 1, "{point:?}");
    }
    assert_eq!(live.len(), ended.len());
    sim.tick(|_| usage(300, 1 << 20));
    assert!(ends(&all(&deliver(&mut encoder, &sim.snapshot()))).is_empty());
}

#[test]
fn labels_that_change_end_the_series_before() {
    let (mut sim, plugins) = running(&["dice"]);
    let mut encoder = encoder();
    sim.tick(|_| usage(100, 1 << 20));
    deliver(&mut encoder, &sim.snapshot());
    plugins[0].started(7, "1.1");
    sim.tick(|_| usage(100, 1 << 20));
    let points = all(&deliver(&mut encoder, &sim.snapshot()));
    let infos: Vec<_> = points
        .iter()
        .filter(|point| point.name == "plugin.info")
        .map(|point| (point.attributes["version"].as_str(), point.value))
        .collect();
    assert_eq!(infos, [("1.1", Some(1.0)), ("1.0", None)]);
}

/// Findings are known at the newest tick only, so that a tick of the past does not end them.
#[test]
fn finding_ends_when_it_is_gone() {
    let (mut sim, plugins) = running(&["dice"]);
    let mut encoder = encoder();
    sim.tick(|_| usage(100, 1 << 20));
    sim.tick(|_| Observed::Signaled(11));
    sim.advance(Duration::from_secs(2));
    let mut findings = |sim: &plugmeter::testing::Simulation| -> Vec<_> {
        let points = all(&deliver(&mut encoder, &sim.snapshot()));
        let of_down = points
            .into_iter()
            .filter(|point| point.name == "plugin.findings" && point.attributes["kind"] == "down");
        of_down.map(|point| point.value).collect()
    };
    sim.tick(|_| Observed::Gone);
    assert_eq!(findings(&sim), [Some(1.0)]);
    for _ in 0..5 {
        sim.tick(|_| Observed::Gone);
    }
    assert_eq!(findings(&sim), [Some(1.0)], "at the newest of five ticks");
    plugins[0].started(8, "1.0");
    sim.tick(|_| usage(100, 1 << 20));
    sim.tick(|_| usage(200, 1 << 20));
    assert_eq!(findings(&sim), [None]);
}
