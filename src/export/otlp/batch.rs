//! A request in the making: encoded data points by family, and their size.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;

use super::message::{
    self, CUMULATIVE, DATA_POINTS, Metric, NO_RECORDED_VALUE, NumberDataPoint, Scope, Sum, Value,
    append, append_attribute, append_field, begin_field, field_len,
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
/// The tag of a message, and its length below 2 MiB.
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

/// A point: `value` is `None` if the series has ended.
pub(super) struct Point<'a> {
    pub family: usize,
    /// Encoded attributes: any number of fields of the point, in two parts.
    pub attributes: [&'a [u8]; 2],
    /// In nanoseconds: see [`unix_nanos`].
    pub start: u64,
    pub time: u64,
    pub value: Option<Number>,
}

pub(super) struct Batch<'a> {
    /// Encoded attributes.
    resource: &'a [u8],
    /// The encoded points of each family: fields of a message that contains nothing else.
    families: [Vec<u8>; FAMILIES],
    points: usize,
    /// An upper bound of the size of the body.
    bytes: usize,
}

impl<'a> Batch<'a> {
    pub(super) fn new(resource: &'a [u8]) -> Self {
        let header: usize = (0..FAMILIES)
            .map(|family| {
                let Metadata { instrument, unit, help, .. } = metadata(family);
                instrument.len() + unit.ucum().len() + help.len() + 8 * LENGTH_PREFIX_BYTES
            })
            .sum();
        Self {
            resource,
            families: [const { Vec::new() }; FAMILIES],
            points: 0,
            bytes: header + resource.len() + SAMPLER_BYTES,
        }
    }

    pub(super) fn add(&mut self, point: &Point<'_>) {
        let Point { family, attributes, start, time, value } = *point;
        let Metadata { metric_type, unit, .. } = metadata(family);
        let start = match metric_type {
            // The wall clock may have been set back.
            MetricType::Counter => start.min(time),
            MetricType::Gauge | MetricType::Amount | MetricType::Info | MetricType::StateSet => 0,
        };
        let point = NumberDataPoint {
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
        let length = attributes.iter().map(|part| part.len()).sum::<usize>() + point.encoded_len();
        let out = &mut self.families[family];
        let before = out.len();
        begin_field(DATA_POINTS, length, out);
        attributes.iter().for_each(|part| out.extend_from_slice(part));
        append(&point, out);
        self.bytes += out.len() - before;
        self.points += 1;
    }

    /// Whether one more plugin of one tick, and the sampler, do not exceed the maximum size.
    pub(super) const fn has_room(&self) -> bool {
        self.bytes + PLUGIN_BYTES <= MAX_BYTES
    }

    pub(super) const fn points(&self) -> usize {
        self.points
    }

    /// The body of the request.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut resource = Vec::new();
        begin_field(message::RESOURCE, self.resource.len(), &mut resource);
        resource.extend_from_slice(self.resource);
        let mut scope = Vec::new();
        let name = Scope { name: "plugmeter".to_owned(), version: catalog::VERSION.to_owned() };
        append_field(message::SCOPE, &name, &mut scope);
        let metrics = self.families.into_iter().enumerate();
        let metrics = metrics.filter(|(_, points)| !points.is_empty());
        let metrics: Vec<_> = metrics.map(|(i, points)| EncodedMetric::new(i, points)).collect();

        let metrics_len: usize = metrics.iter().map(|metric| field_len(metric.len())).sum();
        let scope_len = scope.len() + metrics_len;
        let resource_len = resource.len() + field_len(scope_len);
        let mut body = Vec::with_capacity(field_len(resource_len));
        begin_field(message::RESOURCE_METRICS, resource_len, &mut body);
        body.append(&mut resource);
        begin_field(message::SCOPE_METRICS, scope_len, &mut body);
        body.append(&mut scope);
        for metric in &metrics {
            begin_field(message::METRICS, metric.len(), &mut body);
            metric.append_to(&mut body);
        }
        body
    }
}

/// The parts of a message [`Metric`] with its points.
struct EncodedMetric {
    metadata: Metric,
    /// The number of the field of the points, and what that field contains.
    data: u8,
    points: Vec<u8>,
    /// The fields after the points.
    rest: Option<Sum>,
}

impl EncodedMetric {
    fn new(family: usize, points: Vec<u8>) -> Self {
        let Metadata { instrument, metric_type, unit, help } = metadata(family);
        let (data, rest) = match metric_type {
            MetricType::Gauge | MetricType::Info => (message::GAUGE, None),
            MetricType::Counter | MetricType::Amount | MetricType::StateSet => {
                let is_monotonic = metric_type == MetricType::Counter;
                let sum = Sum { aggregation_temporality: CUMULATIVE, is_monotonic };
                (message::SUM, Some(sum))
            }
        };
        let metadata = Metric {
            name: instrument.to_owned(),
            description: help.to_owned(),
            unit: unit.ucum().to_owned(),
        };
        Self { metadata, data, points, rest }
    }

    fn data_len(&self) -> usize {
        self.points.len() + self.rest.as_ref().map_or(0, Sum::encoded_len)
    }

    fn len(&self) -> usize {
        self.metadata.encoded_len() + field_len(self.data_len())
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        append(&self.metadata, out);
        begin_field(self.data, self.data_len(), out);
        out.extend_from_slice(&self.points);
        if let Some(rest) = &self.rest {
            append(rest, out);
        }
    }
}

/// Attributes of the resource, encoded.
pub(super) fn resource<K: AsRef<str>, V: AsRef<str>>(
    attributes: impl IntoIterator<Item = (K, V)>,
) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (key, value) in attributes {
        let (key, value) = (key.as_ref(), value.as_ref());
        append_attribute(message::RESOURCE_ATTRIBUTES, key, value, &mut encoded);
    }
    encoded
}

/// The time as a point has it. Times before 1970 are 0, which OTLP defines as unknown.
pub(super) fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
