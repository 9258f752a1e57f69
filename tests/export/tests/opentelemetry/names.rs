//! Instruments and the page for Prometheus have the same series, by the published rules of translation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;
use plugmeter::prometheus::{self, Format};
use plugmeter::testing::{Observed, Simulation};
use plugmeter::{Limit, LimitMetric, Limits};
use plugmeter_test_support::exposition::Parsed;

use crate::capture::{Batch, Kind, Pipeline, Point};
use crate::{config, usage};

/// Plugins of every kind that differs in its series.
fn scene() -> Simulation {
    let mut sim = Simulation::new(config()).unwrap();
    let running = sim.register("dice").unwrap();
    sim.register("idle").unwrap();
    let crashed = sim.register("crashed").unwrap();
    let quoted = sim.register(r#"a "quoted\name""#).unwrap();
    let removed = sim.register("removed").unwrap();
    let limit = Limit::new(LimitMetric::MemoryMb, 0.5).lasting(Duration::ZERO);
    running.set_limits(Limits::default().rule(limit)).unwrap();
    running.started(1, "1.0");
    running.event_counter("message").unwrap().add(3);
    running.events().add(14);
    crashed.started(2, "0.9");
    quoted.started(3, r#"1.0 "beta\2""#);
    removed.started(4, "");
    sim.tick(|pid| usage(u64::from(pid) * 617, u64::from(pid) << 20));
    sim.tick(|pid| match pid {
        1 => Observed::RunningTree {
            main: usage(1_234, 1 << 21),
            tree: usage(5_617, 9 << 20),
            processes: 3,
        },
        2 => Observed::Signaled(11),
        pid => usage(u64::from(pid) * 1_234, u64::from(pid) << 21).into(),
    });
    removed.remove();
    sim.advance(Duration::from_secs(2));
    sim
}

/// A series: name and labels.
type Series = (String, BTreeMap<String, String>);

/// The series that a point becomes, by
/// <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>.
fn translate(point: &Point) -> Series {
    let unit = match point.unit.as_str() {
        "" => None,
        "s" => Some("seconds"),
        "By" => Some("bytes"),
        "%" => Some("percent"),
        "1" => (point.kind == Kind::Gauge).then_some("ratio"),
        annotation if annotation.starts_with('{') => None,
        other => panic!("{other} is not in the table of units"),
    };
    let mut words: Vec<_> =
        point.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    words.extend(unit.filter(|unit| !words.contains(unit)));
    if point.kind == Kind::Monotonic {
        words.retain(|word| *word != "total");
        words.push("total");
    }
    (words.join("_"), point.attributes.clone())
}

fn assert_equal(batch: &Batch, page: &Parsed) {
    let observed: BTreeMap<_, _> =
        batch.0.iter().map(|point| (translate(point), point.value)).collect();
    assert_eq!(observed.len(), batch.0.len(), "no two points become one series");
    let shown: BTreeMap<_, _> = page
        .samples
        .iter()
        .map(|(name, labels, value)| ((name.clone(), labels.clone()), *value))
        .collect();
    let names =
        |series: &BTreeMap<Series, f64>| -> BTreeSet<_> { series.keys().cloned().collect() };
    assert_eq!(names(&observed), names(&shown));
    for (series, value) in &observed {
        assert!((shown[series] - value).abs() <= 1e-6 * value.abs(), "{series:?}");
    }
}

#[test]
fn instruments_become_series_of_page() {
    let sim = scene();
    let pipeline = Pipeline::new(sim.reader(), &[Temporality::Cumulative]);
    let page = Parsed::of(&prometheus::render(&sim.snapshot(), Format::OpenMetrics));
    assert!(page.samples.len() > 60);
    assert_equal(&pipeline.collect(), &page);
}

#[test]
fn descriptions_and_types_are_those_of_page() {
    let sim = scene();
    let pipeline = Pipeline::new(sim.reader(), &[Temporality::Cumulative]);
    let batch = pipeline.collect();
    let page = prometheus::render(&sim.snapshot(), Format::Prometheus);
    let metadata = |keyword: &str| -> BTreeMap<&str, &str> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(keyword));
        lines.map(|line| line.split_once(' ').unwrap()).collect()
    };
    let (helps, types) = (metadata("# HELP "), metadata("# TYPE "));
    let mut families = BTreeSet::new();
    for point in &batch.0 {
        let (name, _) = translate(point);
        assert_eq!(helps[&*name], point.help, "{name}");
        let is_counter = point.kind == Kind::Monotonic;
        assert_eq!(types[&*name] == "counter", is_counter, "{name}");
        families.insert(name);
    }
    // Only families without a value in this scene are missing.
    let missing: Vec<_> = types.keys().filter(|name| !families.contains(**name)).collect();
    assert_eq!(missing, [&"plugmeter_sampler_cpu_seconds_total"]);
}

#[test]
fn removed_plugin_is_not_exported() {
    let mut sim = Simulation::new(config()).unwrap();
    let plugins = ["leaving", "staying"].map(|name| sim.register(name).unwrap());
    plugins[0].started(1, "1.0");
    sim.tick(|_| usage(100, 1 << 20));
    let pipeline = Pipeline::new(sim.reader(), &[Temporality::Cumulative]);
    let is_there = |batch: &Batch, name: &str| {
        batch.0.iter().any(|point| point.attributes.values().any(|value| value == name))
    };
    assert!(is_there(&pipeline.collect(), "leaving"));
    plugins[0].remove();
    sim.advance(Duration::from_secs(1));
    let batch = pipeline.collect();
    assert!(!is_there(&batch, "leaving") && is_there(&batch, "staying"));
}

#[test]
fn process_values_end_with_the_process() {
    let mut sim = Simulation::new(config()).unwrap();
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    sim.tick(|_| usage(100, 1 << 20));
    let pipeline = Pipeline::new(sim.reader(), &[Temporality::Cumulative]);
    let memory = |batch: Batch| batch.value("plugin.resident_memory", &[("plugin", "dice")]);
    assert_eq!(memory(pipeline.collect()), Some((1 << 20) as f64));
    plugin.stopped();
    sim.tick(|_| Observed::Gone);
    let batch = pipeline.collect();
    assert_eq!(batch.value("plugin.up", &[("plugin", "dice")]), Some(0.0));
    assert_eq!(memory(batch), None);
}

/// The SDK keeps 2,000 attribute sets an instrument, and adds up the rest.
#[test]
fn many_plugins_need_the_documented_view() {
    const PLUGINS: usize = 300;
    let mut sim = Simulation::new(config()).unwrap();
    let _plugins: Vec<_> =
        (0..PLUGINS).map(|i| sim.register(&format!("plugin-{i}")).unwrap()).collect();
    sim.tick(|_| Observed::Gone);
    let overflow = |batch: &Batch| {
        let all = batch.0.iter().filter(|p| p.attributes.contains_key("otel.metric.overflow"));
        all.map(|point| point.name.clone()).collect::<Vec<_>>()
    };
    let plain = Pipeline::new(sim.reader(), &[Temporality::Cumulative]).collect();
    assert_eq!(overflow(&plain), ["plugin.state"]);
    let limit = 7 * 1_000;
    let batch = Pipeline::with_limit(sim.reader(), "plugin.state", limit).collect();
    assert_eq!(overflow(&batch), Vec::<String>::new());
    assert_eq!(batch.of("plugin.state").count(), 7 * PLUGINS);
    assert_eq!(batch.of("plugin.state").map(|point| point.value).sum::<f64>(), PLUGINS as f64);
    assert_eq!(batch.of("plugin.up").count(), PLUGINS);
}
