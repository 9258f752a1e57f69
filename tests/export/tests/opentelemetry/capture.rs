//! A pipeline of the SDK whose exporter keeps what it is given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::reader::MetricReader as _;
use opentelemetry_sdk::metrics::{
    Instrument, MeterProviderBuilder, PeriodicReader, SdkMeterProvider, Stream, Temporality,
};
use plugmeter::Reader;

/// What a metric is, as far as receivers treat it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Monotonic,
    UpDown,
    Gauge,
}

/// One data point.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) help: String,
    pub(crate) kind: Kind,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// The points of one collection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch(pub(crate) Vec<Point>);

impl Batch {
    /// The value of the point with this name and exactly these attributes.
    pub(crate) fn value(&self, name: &str, attributes: &[(&str, &str)]) -> Option<f64> {
        let attributes: BTreeMap<_, _> =
            attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let mut points = self.0.iter();
        points.find(|point| point.name == name && point.attributes == attributes).map(|p| p.value)
    }

    pub(crate) fn of(&self, name: &str) -> impl Iterator<Item = &Point> {
        self.0.iter().filter(move |point| point.name == name)
    }
}

/// An exporter that keeps all collections.
#[derive(Clone, Debug)]
struct Exporter {
    temporality: Temporality,
    batches: Arc<Mutex<Vec<Batch>>>,
}

impl PushMetricExporter for Exporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut points = Vec::new();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let mut add = |kind, attributes: &mut dyn Iterator<Item = &KeyValue>, value: f64| {
                let attributes =
                    attributes.map(|pair| (pair.key.to_string(), pair.value.to_string())).collect();
                let [name, unit, help] =
                    [metric.name(), metric.unit(), metric.description()].map(str::to_owned);
                points.push(Point { name, unit, help, kind, attributes, value });
            };
            macro_rules! add_all {
                ($data:expr) => {
                    match $data {
                        MetricData::Gauge(gauge) => gauge.data_points().for_each(|point| {
                            add(Kind::Gauge, &mut point.attributes(), point.value() as f64);
                        }),
                        MetricData::Sum(sum) => sum.data_points().for_each(|point| {
                            let monotonic = sum.is_monotonic();
                            let kind = if monotonic { Kind::Monotonic } else { Kind::UpDown };
                            add(kind, &mut point.attributes(), point.value() as f64);
                        }),
                        other => panic!("{}: {other:?}", metric.name()),
                    }
                };
            }
            match metric.data() {
                AggregatedMetrics::F64(data) => add_all!(data),
                AggregatedMetrics::U64(data) => add_all!(data),
                AggregatedMetrics::I64(data) => add_all!(data),
            }
        }
        self.batches.lock().unwrap().push(Batch(points));
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}

/// A provider with one reader for each temporality; all collect on request only.
pub(crate) struct Pipeline {
    pub(crate) provider: SdkMeterProvider,
    readers: Vec<PeriodicReader<Exporter>>,
    outputs: Vec<Arc<Mutex<Vec<Batch>>>>,
}

impl Pipeline {
    pub(crate) fn new(reader: Reader, temporalities: &[Temporality]) -> Self {
        Self::with(reader, temporalities, |builder| builder)
    }

    /// A pipeline with a view that limits the attribute sets of one instrument.
    pub(crate) fn with_limit(reader: Reader, name: &'static str, limit: usize) -> Self {
        let view = move |instrument: &Instrument| {
            let stream = Stream::builder().with_cardinality_limit(limit);
            (instrument.name() == name).then(|| stream.build().expect("the limit is not 0"))
        };
        Self::with(reader, &[Temporality::Cumulative], |builder| builder.with_view(view))
    }

    /// A pipeline with little room for attribute sets: the SDK goes through all of it in each
    /// collection.
    pub(crate) fn small(reader: Reader, temporalities: &[Temporality]) -> Self {
        let view = |_: &Instrument| {
            let stream = Stream::builder().with_cardinality_limit(256);
            Some(stream.build().expect("the limit is not 0"))
        };
        Self::with(reader, temporalities, |builder| builder.with_view(view))
    }

    fn with(
        reader: Reader,
        temporalities: &[Temporality],
        configure: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder,
    ) -> Self {
        let mut builder = SdkMeterProvider::builder();
        let (mut readers, mut outputs) = (Vec::new(), Vec::new());
        for &temporality in temporalities {
            let batches = Arc::default();
            outputs.push(Arc::clone(&batches));
            let exporter = Exporter { temporality, batches };
            // Longer than any test takes: only `collect` collects.
            let reader =
                PeriodicReader::builder(exporter).with_interval(Duration::from_secs(3_600));
            let reader = reader.build();
            builder = builder.with_reader(reader.clone());
            readers.push(reader);
        }
        let provider = configure(builder).build();
        plugmeter::opentelemetry::register(&provider.meter("plugmeter"), reader);
        Self { provider, readers, outputs }
    }

    /// Collects in all readers, and returns the newest collection of the first one.
    pub(crate) fn collect(&self) -> Batch {
        self.provider.force_flush().unwrap();
        self.all(0).pop().unwrap()
    }

    /// Collects in one reader.
    pub(crate) fn collect_in(&self, reader: usize) {
        self.readers[reader].force_flush().unwrap();
    }

    /// All collections of a reader so far.
    pub(crate) fn all(&self, reader: usize) -> Vec<Batch> {
        self.outputs[reader].lock().unwrap().clone()
    }

    /// Forgets the collections.
    pub(crate) fn clear(&self) {
        self.outputs.iter().for_each(|output| output.lock().unwrap().clear());
    }
}
