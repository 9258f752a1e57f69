//! A request, decoded with the published schema.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, Metric, NumberDataPoint, metric, number_data_point,
};
use prost::Message as _;

pub(crate) type Attributes = BTreeMap<String, String>;

/// What a metric is, as far as receivers treat it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Monotonic,
    UpDown,
    Gauge,
}

#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) kind: Kind,
    pub(crate) attributes: Attributes,
    pub(crate) start: SystemTime,
    pub(crate) time: SystemTime,
    /// `None`: the series has ended.
    pub(crate) value: Option<f64>,
}

impl Point {
    pub(crate) fn plugin(&self) -> Option<&str> {
        self.attributes.get("plugin").map(String::as_str)
    }

    pub(crate) fn is(&self, name: &str, plugin: &str) -> bool {
        self.name == name && self.plugin() == Some(plugin)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) resource: Attributes,
    pub(crate) points: Vec<Point>,
    pub(crate) bytes: usize,
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|pair| match pair.value.as_ref().unwrap().value.as_ref().unwrap() {
            any_value::Value::StringValue(text) => (pair.key.clone(), text.clone()),
            other => panic!("{}: {other:?}", pair.key),
        })
        .collect();
    let unique: Attributes = pairs.iter().cloned().collect();
    assert_eq!(unique.len(), pairs.len(), "keys are unique: {pairs:?}");
    unique
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn point(metric: &Metric, kind: Kind, point: &NumberDataPoint) -> Point {
    let has_ended = point.flags & DataPointFlags::NoRecordedValueMask as u32 != 0;
    let value = point.value.as_ref().map(|value| match value {
        number_data_point::Value::AsDouble(value) => *value,
        number_data_point::Value::AsInt(value) => *value as f64,
    });
    assert_eq!(has_ended, value.is_none(), "{point:?}");
    assert!(point.time_unix_nano > 0 && point.start_time_unix_nano <= point.time_unix_nano);
    assert_eq!(kind == Kind::Monotonic, point.start_time_unix_nano > 0, "{}", metric.name);
    Point {
        name: metric.name.clone(),
        unit: metric.unit.clone(),
        kind,
        attributes: attributes(&point.attributes),
        start: time(point.start_time_unix_nano),
        time: time(point.time_unix_nano),
        value,
    }
}

impl Decoded {
    /// Decodes a body, and checks the rules that hold for every request.
    pub(crate) fn of(body: &[u8]) -> Self {
        let request = ExportMetricsServiceRequest::decode(body).unwrap();
        assert_eq!(request.encode_to_vec().len(), body.len(), "there are no unknown fields");
        assert!(body.len() <= 1_000_000, "{} bytes", body.len());
        let [resource] = &request.resource_metrics[..] else { panic!("one resource") };
        let [scope] = &resource.scope_metrics[..] else { panic!("one scope") };
        assert_eq!(scope.scope.as_ref().unwrap().name, "plugmeter");
        let mut points = Vec::new();
        let names: BTreeSet<_> = scope.metrics.iter().map(|metric| &metric.name).collect();
        assert_eq!(names.len(), scope.metrics.len(), "each metric once");
        for metric in &scope.metrics {
            assert!(!metric.description.is_empty());
            let (kind, data) = match metric.data.as_ref().unwrap() {
                metric::Data::Gauge(gauge) => (Kind::Gauge, &gauge.data_points),
                metric::Data::Sum(sum) => {
                    let temporality = AggregationTemporality::Cumulative as i32;
                    assert_eq!(sum.aggregation_temporality, temporality);
                    let kind = if sum.is_monotonic { Kind::Monotonic } else { Kind::UpDown };
                    (kind, &sum.data_points)
                }
                other => panic!("{other:?}"),
            };
            assert!(!data.is_empty());
            points.extend(data.iter().map(|data| point(metric, kind, data)));
        }
        let resource = attributes(&resource.resource.as_ref().unwrap().attributes);
        Self { resource, points, bytes: body.len() }
    }

    pub(crate) fn times(&self) -> BTreeSet<SystemTime> {
        self.points.iter().map(|point| point.time).collect()
    }
}

/// All points of the requests.
pub(crate) fn all(requests: &[Decoded]) -> Vec<Point> {
    requests.iter().flat_map(|request| request.points.iter().cloned()).collect()
}

/// The points of a metric of a plugin: time and value.
pub(crate) fn values(points: &[Point], name: &str, plugin: &str) -> Vec<(SystemTime, Option<f64>)> {
    let of_series = points.iter().filter(|point| point.is(name, plugin));
    // The total, where a metric has parts.
    let total = of_series.filter(|point| point.attributes.len() == 1);
    total.map(|point| (point.time, point.value)).collect()
}
