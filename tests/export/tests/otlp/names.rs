//! Points have the series of the page for Prometheus, by the published rules of translation.

use std::collections::BTreeMap;
use std::time::Duration;

use plugmeter::prometheus::{self, Format};
use plugmeter::testing::{Observed, Simulation};
use plugmeter::{Limit, LimitMetric, Limits};
use plugmeter_test_support::exposition::Parsed;

use crate::decoded::{Attributes, Kind, Point, all};
use crate::{config, deliver, encoder, usage};

fn translate(point: &Point) -> (String, Attributes) {
    let unit = match point.unit.as_str() {
        "s" => Some("seconds"),
        "By" => Some("bytes"),
        "%" => Some("percent"),
        "" => None,
        annotation if annotation.starts_with('{') => None,
        other => panic!("{other} is not in the table of units"),
    };
    let mut words: Vec<_> = point.name.split(['.', '_']).collect();
    words.extend(unit.filter(|unit| !words.contains(unit)));
    words.extend((point.kind == Kind::Monotonic).then_some("total"));
    (words.join("_"), point.attributes.clone())
}

#[test]
fn points_of_newest_tick_become_series_of_page() {
    let mut sim = Simulation::new(config()).unwrap();
    let plugin = sim.register("dice").unwrap();
    sim.register("idle").unwrap();
    let crashed = sim.register(r#"a "quoted\name""#).unwrap();
    let limit = Limit::new(LimitMetric::MemoryMb, 0.5).lasting(Duration::ZERO);
    plugin.set_limits(Limits::default().rule(limit)).unwrap();
    plugin.started(1, "1.0");
    plugin.event_counter("message").unwrap().add(3);
    crashed.started(2, r#"1.0 "beta\2""#);
    sim.tick(|pid| usage(u64::from(pid) * 617, u64::from(pid) << 20));
    sim.tick(|pid| match pid {
        2 => Observed::Signaled(11),
        _ => Observed::RunningTree {
            main: usage(1_234, 1 << 21),
            tree: usage(1_617, 9 << 20),
            processes: 3,
        },
    });
    sim.advance(Duration::from_secs(2));
    sim.tick(|_| usage(1_500, 1 << 21));
    let snapshot = sim.snapshot();

    let requests = deliver(&mut encoder(), &snapshot);
    assert_eq!(requests.len(), 1);
    let resource = [("service.instance.id", "bot-1"), ("service.name", "bot")];
    let resource = resource.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(requests[0].resource, Attributes::from(resource));
    let points = all(&requests);
    let newest = points.iter().map(|point| point.time).max().unwrap();
    let newest = points.iter().filter(|point| point.time == newest);
    let sent: BTreeMap<_, _> =
        newest.filter_map(|point| Some((translate(point), point.value?))).collect();
    let page = Parsed::of(&prometheus::render(&snapshot, Format::OpenMetrics));
    let shown: BTreeMap<_, _> =
        page.samples.into_iter().map(|(name, labels, value)| ((name, labels), value)).collect();
    assert!(shown.len() > 40);
    assert_eq!(sent.keys().collect::<Vec<_>>(), shown.keys().collect::<Vec<_>>());
    for (series, value) in &sent {
        assert!((shown[series] - value).abs() <= 1e-6 * value.abs(), "{series:?}");
    }
}
