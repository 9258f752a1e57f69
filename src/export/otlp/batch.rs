//! A request in the making: data points by family, and their size.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;
use prost::bytes::Bytes;

use super::message::{
    self, CUMULATIVE, Data, ExportRequest, Gauge, Metric, NO_RECORDED_VALUE, NumberDataPoint,
    Resource, ResourceMetrics, Scope, ScopeMetrics, Sum, Value,
};
use crate::export::catalog::{
    self, Family, MetricType, Number, PLUGIN_FAMILIES, SAMPLER_FAMILIES, Unit,
};

pub(super) const FAMILIES: usize = PLUGIN_FAMILIES.len() + SAMPLER_FAMILIES.len();

/// The maximum size of a request's body.
pub(super) const MAX_BYTES: usize = 1_000_000;
/// The part of it that is left for the sampler's series, which are added last.
const SAMPLER_BYTES: usize = 4_096;
/// An upper bound of the size of one plugin's points of one tick: at most 32 kinds of events, 16 limits,
/// and three times the kinds of findings, in texts of at most 128 bytes; and as many ended series.
const PLUGIN_BYTES: usize = 100_000;
/// The tag of a repeated message, and its length below 2 MiB.
const LENGTH_PREFIX_BYTES: usize = 4;

/// The description of a metric, without its points.
#[derive(Clone, Copy)]
pub(super) struct Metadata {
    instrument: &'static str,
    pub metric_type: MetricType,
    pub unit: Unit,
    help: &'static str,
}

/// The family with this position: those of plugins come first.
pub(super) fn metadata(family: usize) -> Metadata {
    const fn of<S>(family: &Family<S>) -> Metadata {
        let Family { instrument, metric_type, unit, help, .. } = *family;
        Metadata { instrument, metric_type, unit, help }
    }
    match PLUGIN_FAMILIES.get(family) {
        Some(family) => of(family),
        None => of(&SAMPLER_FAMILIES[family - PLUGIN_FAMILIES.len()]),
    }
}

/// The time and the attributes of a point, and its value; `None`: the series has ended.
pub(super) struct Point {
    pub family: usize,
    pub attributes: Vec<Bytes>,
    pub start: SystemTime,
    pub time: SystemTime,
    pub value: Option<Number>,
}

pub(super) struct Batch {
    resource: Vec<Bytes>,
    points: [Vec<NumberDataPoint>; FAMILIES],
    /// An upper bound of the size of the body.
    bytes: usize,
}

impl Batch {
    pub(super) fn new(resource: &[Bytes]) -> Self {
        let header: usize = (0..FAMILIES)
            .map(|family| {
                let Metadata { instrument, unit, help, .. } = metadata(family);
                instrument.len() + unit.ucum().len() + help.len() + 8 * LENGTH_PREFIX_BYTES
            })
            .sum();
        let attributes: usize =
            resource.iter().map(|attribute| attribute.len() + LENGTH_PREFIX_BYTES).sum();
        Self {
            resource: resource.to_vec(),
            points: [const { Vec::new() }; FAMILIES],
            bytes: header + attributes + SAMPLER_BYTES,
        }
    }

    pub(super) fn add(&mut self, point: Point) {
        let Point { family, attributes, start, time, value } = point;
        let Metadata { metric_type, unit, .. } = metadata(family);
        let time = unix_nanos(time);
        let start = match metric_type {
            // The wall clock may have been set back.
            MetricType::Counter => unix_nanos(start).min(time),
            MetricType::Gauge | MetricType::Amount | MetricType::Info | MetricType::StateSet => 0,
        };
        let point = NumberDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            flags: if value.is_none() { NO_RECORDED_VALUE } else { 0 },
            value: value.map(|number| match number {
                Number::Integer(value) if !unit.is_fractional() => {
                    Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))
                }
                number @ (Number::Integer(_) | Number::Seconds { .. } | Number::Float(_)) => {
                    Value::AsDouble(number.as_f64())
                }
            }),
        };
        self.bytes += point.encoded_len() + LENGTH_PREFIX_BYTES;
        self.points[family].push(point);
    }

    /// Whether one more plugin of one tick, and the sampler, do not exceed the maximum size.
    pub(super) const fn has_room(&self) -> bool {
        self.bytes + PLUGIN_BYTES <= MAX_BYTES
    }

    pub(super) fn points(&self) -> usize {
        self.points.iter().map(Vec::len).sum()
    }

    /// The body of the request.
    pub(super) fn encode(self) -> Vec<u8> {
        let metrics = self.points.into_iter().enumerate();
        let metrics = metrics.filter(|(_, points)| !points.is_empty());
        let metrics = metrics.map(|(family, data_points)| {
            let Metadata { instrument, metric_type, unit, help } = metadata(family);
            let data = match metric_type {
                MetricType::Gauge | MetricType::Info => Data::Gauge(Gauge { data_points }),
                MetricType::Counter | MetricType::Amount | MetricType::StateSet => Data::Sum(Sum {
                    data_points,
                    aggregation_temporality: CUMULATIVE,
                    is_monotonic: metric_type == MetricType::Counter,
                }),
            };
            Metric {
                name: instrument.to_owned(),
                description: help.to_owned(),
                unit: unit.ucum().to_owned(),
                data: Some(data),
            }
        });
        let scope = Scope { name: "plugmeter".to_owned(), version: catalog::VERSION.to_owned() };
        let scope_metrics = ScopeMetrics { scope: Some(scope), metrics: metrics.collect() };
        let resource = Resource { attributes: self.resource };
        let resource_metrics =
            ResourceMetrics { resource: Some(resource), scope_metrics: vec![scope_metrics] };
        ExportRequest { resource_metrics: vec![resource_metrics] }.encode_to_vec()
    }
}

/// Attributes of the resource, encoded.
pub(super) fn resource<K: AsRef<str>, V: AsRef<str>>(
    attributes: impl IntoIterator<Item = (K, V)>,
) -> Vec<Bytes> {
    let pairs = attributes.into_iter();
    pairs.map(|(key, value)| message::attribute(key.as_ref(), value.as_ref())).collect()
}

/// Times before 1970 are 0, which OTLP defines as unknown.
fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
