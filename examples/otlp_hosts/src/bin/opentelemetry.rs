//! A host with the SDK of OpenTelemetry, whose own OTLP exporter sends the plugins' metrics beside the
//! host's. No async runtime is needed: the SDK's reader is a thread, and the client is synchronous.
//!
//! ```sh
//! victoria-metrics -opentelemetry.usePrometheusNaming &
//! cargo run --release -p plugmeter-otlp-hosts --bin opentelemetry -- \
//!     http://127.0.0.1:8428/opentelemetry/v1/metrics
//! ```
//!
//! Runs until it is interrupted, or for the seconds in a second argument.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Instrument, PeriodicReader, SdkMeterProvider, Stream};
use plugmeter::{Collector, Config};
use plugmeter_demo::{Host, Role, WORKER};
use ureq::Agent;

/// The interval between two checks of the children.
const TEND_INTERVAL: Duration = Duration::from_millis(20);
/// The interval between two exports. A real host would use 10 s to a minute.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The time for one request and its response.
const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// Room for a thousand plugins, each with seven states. The SDK's own limit is 2,000.
const MAX_STATES: usize = 7 * 1_000;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let (url, seconds) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // This process is a child: run the role of a plugin.
        [WORKER, name] => return Ok(Role::named(name).ok_or("no such worker")?.work()?),
        [url] => (url, None),
        [url, seconds] => (url, Some(Duration::from_secs(seconds.parse()?))),
        _ => return Err("usage: opentelemetry URL [SECONDS]".into()),
    };
    let provider = provider(url)?;
    let collector = Collector::start(Config::default().poll_interval(Duration::from_secs(1)))?;
    plugmeter::opentelemetry::register(&provider.meter("plugmeter"), collector.reader());

    let mut host = Host::with_children(&collector)?;
    let start = Instant::now();
    while seconds.is_none_or(|seconds| start.elapsed() < seconds) {
        host.tend()?;
        thread::sleep(TEND_INTERVAL);
    }
    host.stop()?;
    collector.sample_now()?;
    // The last export has the totals of the last tick.
    provider.shutdown()?;
    Ok(ExitCode::SUCCESS)
}

fn provider(url: &str) -> Result<SdkMeterProvider, Box<dyn Error>> {
    let exporter =
        MetricExporter::builder().with_http().with_http_client(Client::new()).with_endpoint(url);
    let reader = PeriodicReader::builder(exporter.build()?).with_interval(EXPORT_INTERVAL);
    // An id that is unique among the hosts; a real host has a better one.
    let instance = format!("opentelemetry-{}", std::process::id());
    let resource = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", "opentelemetry"),
        KeyValue::new("service.instance.id", instance),
    ]);
    let view = |instrument: &Instrument| {
        let stream = Stream::builder().with_cardinality_limit(MAX_STATES);
        (instrument.name() == "plugin.state").then(|| stream.build().ok()).flatten()
    };
    let builder = SdkMeterProvider::builder().with_resource(resource.build()).with_view(view);
    Ok(builder.with_reader(reader.build()).build())
}

/// A synchronous client, for the thread of the SDK's reader.
#[derive(Debug)]
struct Client(Agent);

impl Client {
    fn new() -> Self {
        let config = Agent::config_builder().http_status_as_error(false);
        Self(config.timeout_global(Some(POST_TIMEOUT)).build().into())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let response = self.0.run(Request::from_parts(head, body.to_vec()))?;
        let (head, mut body) = response.into_parts();
        Ok(Response::from_parts(head, body.read_to_vec()?.into()))
    }
}
