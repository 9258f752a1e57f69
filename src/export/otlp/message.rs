//! The messages of OTLP 1.x, as far as they are written and read here: a subset of
//! `opentelemetry/proto/metrics/v1/metrics.proto` and of its imports. Fields that are missing here are
//! optional, or have a constant.
//!
//! The messages from the request down to the attributes of a point are written around their parts,
//! which are encoded already: a tree of messages would be measured once for each level of it.

use prost::Message;

// The numbers of the fields whose messages are encoded before the message that contains them.
/// `ExportMetricsServiceRequest.resource_metrics`.
pub(super) const RESOURCE_METRICS: u8 = 1;
/// `ResourceMetrics.resource`.
pub(super) const RESOURCE: u8 = 1;
/// `Resource.attributes`.
pub(super) const RESOURCE_ATTRIBUTES: u8 = 1;
/// `ResourceMetrics.scope_metrics`.
pub(super) const SCOPE_METRICS: u8 = 2;
/// `ScopeMetrics.scope`.
pub(super) const SCOPE: u8 = 1;
/// `ScopeMetrics.metrics`.
pub(super) const METRICS: u8 = 2;
/// `Metric.gauge`.
pub(super) const GAUGE: u8 = 5;
/// `Metric.sum`.
pub(super) const SUM: u8 = 7;
/// `Gauge.data_points` and `Sum.data_points`.
pub(super) const DATA_POINTS: u8 = 1;
/// `NumberDataPoint.attributes`.
pub(super) const POINT_ATTRIBUTES: u8 = 7;

/// The wire type of messages and strings.
const LENGTH_DELIMITED: u8 = 2;

/// Appends the tag of a field, and the length of the message that follows. The field is below 16.
pub(super) fn begin_field(field: u8, length: usize, out: &mut Vec<u8>) {
    out.push((field << 3) | LENGTH_DELIMITED);
    prost::encode_length_delimiter(length, out).expect("a vector grows");
}

/// Appends a message as this field, which is below 16.
pub(super) fn append_field(field: u8, message: &impl Message, out: &mut Vec<u8>) {
    begin_field(field, message.encoded_len(), out);
    append(message, out);
}

/// Appends the fields of a message.
pub(super) fn append(message: &impl Message, out: &mut Vec<u8>) {
    message.encode(out).expect("a vector grows");
}

/// The size of a field that is a message of this length, and below 16.
pub(super) fn field_len(length: usize) -> usize {
    1 + prost::length_delimiter_len(length) + length
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metric {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub description: String,
    #[prost(string, tag = "3")]
    pub unit: String,
}

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
pub(super) const CUMULATIVE: i32 = 2;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sum {
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`: the series has ended.
pub(super) const NO_RECORDED_VALUE: u32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NumberDataPoint {
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    #[prost(uint32, tag = "8")]
    pub flags: u32,
    #[prost(oneof = "Value", tags = "4, 6")]
    pub value: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub(super) enum Value {
    #[prost(double, tag = "4")]
    AsDouble(f64),
    #[prost(sfixed64, tag = "6")]
    AsInt(i64),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnyValue {
    /// A string that is empty is written as well, because it is the value of a `oneof`.
    #[prost(oneof = "Any", tags = "1")]
    pub value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Any {
    #[prost(string, tag = "1")]
    String(String),
}

/// Appends an attribute as this field.
pub(super) fn append_attribute(field: u8, key: &str, value: &str, out: &mut Vec<u8>) {
    let value = Some(AnyValue { value: Some(Any::String(value.to_owned())) });
    let pair = KeyValue { key: key.to_owned(), value };
    append_field(field, &pair, out);
}

/// `ExportMetricsServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `ExportMetricsPartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub rejected_data_points: i64,
    #[prost(string, tag = "2")]
    pub error_message: String,
}
