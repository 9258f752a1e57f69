//! Every tick is delivered once, with its own time, whatever the receiver does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use plugmeter::otlp::Delivery;
use plugmeter::testing::{Observed, Simulation};
use plugmeter::{Collector, Window};
use prost::Message as _;

use crate::decoded::{Attributes, Decoded, Point, all, values};
use crate::{config, deliver, encoder, running, usage};

const NAMES: [&str; 3] = ["dice", "poll", "quiz"];

/// One tick, in which a process uses as many milliseconds as the tick's number and its pid demand.
fn tick(sim: &mut Simulation, plugins: &[plugmeter::Plugin], number: u64) {
    for plugin in plugins {
        plugin.events().add(number % 7);
    }
    sim.tick(|pid| usage(10 * number * number / 2 * u64::from(pid), number << 20));
}

/// Asserts that no series has two points of one time.
fn assert_each_once(points: &[Point]) {
    let mut seen = BTreeSet::<(SystemTime, &str, &Attributes)>::new();
    for point in points {
        let is_new = seen.insert((point.time, &point.name, &point.attributes));
        assert!(is_new, "twice: {point:?}");
    }
}

/// Asserts that the points are those of the whole history of the simulation.
fn assert_complete(sim: &Simulation, points: &[Point]) {
    let snapshot = sim.snapshot();
    for view in snapshot.plugins() {
        let name = view.name();
        let history = view.history(Window::All);
        let expected = |value: fn(&plugmeter::Sample<'_>) -> Option<f64>| -> Vec<_> {
            let samples = history.clone().map(|sample| (sample.timestamp, value(&sample)));
            samples.filter(|(_, value)| value.is_some()).collect()
        };
        let memory = expected(|sample| sample.memory_bytes.map(|bytes| bytes as f64));
        assert_eq!(values(points, "plugin.resident_memory", name), memory, "{name}");
        let events = expected(|sample| Some(sample.event_count as f64));
        assert_eq!(values(points, "plugin.events", name), events, "{name}");
        let percent = expected(|sample| sample.cpu_percent);
        assert_eq!(values(points, "plugin.cpu_percent", name), percent, "{name}");
    }
}

#[test]
fn every_tick_arrives_after_the_receiver_was_away() {
    let (mut sim, plugins) = running(&NAMES);
    let mut encoder = encoder();
    let mut requests = Vec::new();
    for number in 1..=10 {
        tick(&mut sim, &plugins, number);
        requests.extend(deliver(&mut encoder, &sim.snapshot()));
    }
    assert_eq!(requests.len(), 10);
    // 60 s without a receiver.
    for number in 11..=70 {
        tick(&mut sim, &plugins, number);
        assert!(encoder.encode(&sim.snapshot()).is_some());
    }
    let backlog = deliver(&mut encoder, &sim.snapshot());
    assert!((1..=3).contains(&backlog.len()), "{} requests", backlog.len());
    assert_eq!(backlog.iter().flat_map(Decoded::times).collect::<BTreeSet<_>>().len(), 60);
    requests.extend(backlog);
    tick(&mut sim, &plugins, 71);
    requests.extend(deliver(&mut encoder, &sim.snapshot()));
    let points = all(&requests);
    assert_each_once(&points);
    assert_complete(&sim, &points);
    assert_eq!(encoder.lost_ticks(), 0);

    // CPU time of ticks in the backlog is that of the processes, as far as percentages are exact.
    for (pid, name) in (1..).zip(NAMES) {
        for (number, (_, value)) in (1..).zip(values(&points, "plugin.cpu", name)) {
            let millis = 10 * number * number / 2 * pid;
            let exact = Duration::from_millis(millis).as_secs_f64();
            let value = value.unwrap();
            assert!((value - exact).abs() < 0.001, "{name}, tick {number}: {value}, not {exact}");
        }
    }
}

#[test]
fn unacknowledged_request_is_repeated() {
    let (mut sim, plugins) = running(&NAMES);
    tick(&mut sim, &plugins, 1);
    let mut encoder = encoder();
    let first = encoder.encode(&sim.snapshot()).unwrap();
    let again = encoder.encode(&sim.snapshot()).unwrap();
    assert_eq!(first.body(), again.body());
    tick(&mut sim, &plugins, 2);
    let both = encoder.encode(&sim.snapshot()).unwrap();
    assert_eq!((first.ticks(), both.ticks()), (1, 2));
    // The later one includes the earlier one.
    encoder.acknowledge(both);
    encoder.acknowledge(first);
    encoder.acknowledge(again);
    assert!(encoder.encode(&sim.snapshot()).is_none());
}

#[test]
fn earlier_request_may_be_acknowledged_late() {
    let (mut sim, plugins) = running(&NAMES);
    let mut encoder = encoder();
    tick(&mut sim, &plugins, 1);
    let first = encoder.encode(&sim.snapshot()).unwrap();
    tick(&mut sim, &plugins, 2);
    let both = encoder.encode(&sim.snapshot()).unwrap();
    encoder.acknowledge(first);
    let rest = encoder.encode(&sim.snapshot()).unwrap();
    assert_eq!((both.ticks(), rest.ticks()), (2, 1));
}

#[test]
fn ticks_beyond_the_history_are_counted_as_lost() {
    let config = config().history_duration(Duration::from_secs(20));
    let mut sim = Simulation::new(config).unwrap();
    let plugins = [sim.register("dice").unwrap()];
    let mut encoder = encoder();
    tick(&mut sim, &plugins, 1);
    deliver(&mut encoder, &sim.snapshot());
    for number in 2..=51 {
        tick(&mut sim, &plugins, number);
    }
    let points = all(&deliver(&mut encoder, &sim.snapshot()));
    assert_eq!(values(&points, "plugin.up", "dice").len(), 20);
    assert_eq!(encoder.lost_ticks(), 30);
}

/// A removed plugin is in no later snapshot.
#[test]
fn ticks_of_removed_plugin_arrive() {
    let (mut sim, plugins) = running(&NAMES);
    let mut encoder = encoder();
    for number in 1..=5 {
        tick(&mut sim, &plugins, number);
        encoder.encode(&sim.snapshot());
    }
    plugins[1].remove();
    for number in 6..=8 {
        tick(&mut sim, &plugins, number);
        encoder.encode(&sim.snapshot());
    }
    let points = all(&deliver(&mut encoder, &sim.snapshot()));
    assert_each_once(&points);
    let up = |name| values(&points, "plugin.up", name);
    let ends = |name| up(name).iter().filter(|(_, value)| value.is_none()).count();
    assert_eq!((up("dice").len(), ends("dice")), (8, 0));
    assert_eq!((up("poll").len(), ends("poll")), (6, 1), "five ticks and the end");
}

#[test]
fn name_registered_again_begins_new_totals() {
    for is_away in [false, true] {
        let (mut sim, plugins) = running(&["dice"]);
        let mut encoder = encoder();
        let mut requests = Vec::new();
        plugins[0].events().add(100);
        for number in 1..=3 {
            tick(&mut sim, &plugins, number);
            match is_away {
                true => _ = encoder.encode(&sim.snapshot()),
                false => requests.extend(deliver(&mut encoder, &sim.snapshot())),
            }
        }
        plugins[0].remove();
        let again = [sim.register("dice").unwrap()];
        // More than before.
        again[0].events().add(1_000);
        for number in 4..=5 {
            tick(&mut sim, &again, number);
        }
        requests.extend(deliver(&mut encoder, &sim.snapshot()));
        let points = all(&requests);
        assert_each_once(&points);
        let totals: Vec<_> =
            points.iter().filter(|point| point.is("plugin.events", "dice")).collect();
        assert_eq!(totals.len(), 5, "away: {is_away}");
        let starts: BTreeMap<_, _> = totals.iter().map(|point| (point.time, point.start)).collect();
        let starts: Vec<_> = starts.into_values().collect();
        assert!(starts[0] == starts[2] && starts[3] == starts[4], "{starts:?}");
        assert!(starts[2] < starts[3], "another beginning: {starts:?}");
        let times: BTreeSet<_> = totals.iter().map(|point| point.time).collect();
        let last_before = times.iter().nth(2).unwrap();
        assert!(starts[3] >= *last_before, "totals do not overlap");
    }
}

#[test]
fn next_collector_continues_with_its_own_ticks() {
    let mut encoder = encoder();
    let (mut sim, plugins) = running(&["dice", "poll"]);
    tick(&mut sim, &plugins, 1);
    tick(&mut sim, &plugins, 2);
    let before = all(&deliver(&mut encoder, &sim.snapshot()));
    let (mut sim, plugins) = running(&["dice"]);
    tick(&mut sim, &plugins, 1);
    let after = all(&deliver(&mut encoder, &sim.snapshot()));
    assert_eq!(values(&before, "plugin.events", "dice").len(), 2);
    let events = values(&after, "plugin.events", "dice");
    assert_eq!(events.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [Some(1.0)]);
    assert!(values(&after, "plugin.events", "poll").iter().all(|(_, value)| value.is_none()));
    let start = |points: &[Point]| {
        points.iter().find(|point| point.is("plugin.events", "dice")).unwrap().start
    };
    assert!(start(&before) < start(&after));
}

#[test]
fn stopped_collector_ends_all_series() {
    let collector = Collector::start(config()).unwrap();
    let plugin = collector.register("dice").unwrap();
    plugin.started(std::process::id(), "1.0");
    let mut encoder = encoder();
    let points = all(&deliver(&mut encoder, &collector.sample_now().unwrap()));
    let live: BTreeSet<_> = points
        .iter()
        .filter(|point| point.plugin().is_some() && point.value.is_some())
        .map(|point| (point.name.clone(), point.attributes.clone()))
        .collect();
    collector.stop();
    let points = all(&deliver(&mut encoder, &collector.snapshot()));
    let ended: BTreeSet<_> = points
        .iter()
        .filter(|point| point.value.is_none())
        .map(|point| (point.name.clone(), point.attributes.clone()))
        .collect();
    assert!(live.len() > 10);
    assert_eq!(live, ended);
    assert!(encoder.encode(&collector.snapshot()).is_none());
}

#[test]
fn collector_without_plugins_sends_its_own_metrics() {
    let mut sim = Simulation::new(config()).unwrap();
    let mut encoder = encoder();
    assert!(encoder.encode(&sim.snapshot()).is_none(), "before the first tick");
    for _ in 0..3 {
        sim.tick(|_| Observed::Gone);
    }
    let points = all(&deliver(&mut encoder, &sim.snapshot()));
    let ticks = points.iter().find(|point| point.name == "plugmeter.ticks").unwrap();
    assert_eq!(ticks.value, Some(3.0));
    assert!(points.iter().all(|point| point.name.starts_with("plugmeter.")));
}

#[test]
fn responses_are_classified() {
    let partial = |points, message: &str| {
        let partial_success = Some(ExportMetricsPartialSuccess {
            rejected_data_points: points,
            error_message: message.to_owned(),
        });
        ExportMetricsServiceResponse { partial_success }.encode_to_vec()
    };
    let rejected =
        |points, message: &str| Delivery::PartlyRejected { points, message: message.to_owned() };
    for (status, body, expected) in [
        (200, Vec::new(), Delivery::Accepted),
        (204, Vec::new(), Delivery::Accepted),
        (200, b"accepted, thanks".to_vec(), Delivery::Accepted),
        (200, partial(0, ""), Delivery::Accepted),
        (200, partial(3, "too old"), rejected(3, "too old")),
        (200, partial(0, "soon no more"), rejected(0, "soon no more")),
        (200, partial(-1, "odd"), rejected(0, "odd")),
        (302, Vec::new(), Delivery::Refused),
        (400, partial(3, "bad"), Delivery::Refused),
        (401, Vec::new(), Delivery::Refused),
        (404, Vec::new(), Delivery::Refused),
        (429, Vec::new(), Delivery::RetryLater),
        (500, Vec::new(), Delivery::Refused),
        (502, Vec::new(), Delivery::RetryLater),
        (503, Vec::new(), Delivery::RetryLater),
        (504, Vec::new(), Delivery::RetryLater),
        (505, Vec::new(), Delivery::Refused),
    ] {
        assert_eq!(Delivery::of_response(status, &body), expected, "{status} {body:?}");
    }
}
