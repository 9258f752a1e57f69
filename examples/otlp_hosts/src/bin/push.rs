//! A synchronous host that pushes every tick of its plugins to a receiver of OTLP over HTTP, and misses
//! none while the receiver is away.
//!
//! ```sh
//! victoria-metrics -opentelemetry.usePrometheusNaming &
//! cargo run --release -p plugmeter-otlp-hosts --bin push -- \
//!     http://127.0.0.1:8428/opentelemetry/v1/metrics
//! ```
//!
//! The path is `/v1/metrics` for the Collector of OpenTelemetry, and `/opentelemetry/v1/metrics` for
//! VictoriaMetrics. Runs until it is interrupted, or for the seconds in a second argument.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::otlp::{Delivery, Encoder, Request};
use plugmeter::{Collector, Config, Reader};
use plugmeter_demo::{Host, Role, WORKER};
use ureq::Agent;

/// The interval between two checks of the children.
const TEND_INTERVAL: Duration = Duration::from_millis(20);
/// The time for one request and its response. It is lost at the end for a receiver that is silent.
const POST_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let (url, seconds) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // This process is a child: run the role of a plugin.
        [WORKER, name] => return Ok(Role::named(name).ok_or("no such worker")?.work()?),
        [url] => (url.to_owned(), None),
        [url, seconds] => (url.to_owned(), Some(Duration::from_secs(seconds.parse()?))),
        _ => return Err("usage: push URL [SECONDS]".into()),
    };
    let collector = Collector::start(Config::default().poll_interval(Duration::from_secs(1)))?;
    let mut host = Host::with_children(&collector)?;
    let reader = collector.reader();
    let pushing = thread::spawn(move || push(&reader, &url));

    let start = Instant::now();
    while seconds.is_none_or(|seconds| start.elapsed() < seconds) {
        host.tend()?;
        thread::sleep(TEND_INTERVAL);
    }
    host.stop()?;
    collector.sample_now()?;
    collector.stop();
    // It returns, because no snapshot follows.
    pushing.join().map_err(|_| "the thread that pushes has panicked")?;
    Ok(ExitCode::SUCCESS)
}

/// Posts what each snapshot has that was not delivered. Returns once the collector has stopped.
fn push(reader: &Reader, url: &str) {
    // An id that is unique among the hosts; a real host has a better one.
    let instance = format!("push-{}", std::process::id());
    let mut encoder =
        Encoder::new([("service.name", "push"), ("service.instance.id", instance.as_str())]);
    let config = Agent::config_builder().http_status_as_error(false);
    let agent: Agent = config.timeout_global(Some(POST_TIMEOUT)).build().into();
    let mut snapshot = reader.snapshot();
    loop {
        // While the receiver is away, one attempt a tick.
        while let Some(request) = encoder.encode(&snapshot) {
            let delivery = post(&agent, url, &request);
            println!("{} ticks, {} points: {delivery:?}", request.ticks(), request.points());
            match delivery {
                Delivery::RetryLater => break,
                Delivery::Accepted | Delivery::PartlyRejected { .. } | Delivery::Refused => {
                    encoder.acknowledge(request);
                }
            }
        }
        // A `None` in between: the collector has ended, or the machine was suspended.
        match reader.wait_for_newer(&snapshot, Duration::from_secs(60)) {
            Some(newer) => snapshot = newer,
            None if snapshot.is_stopped() => return,
            None => snapshot = reader.snapshot(),
        }
    }
}

/// Posts one request. A connection that fails and a receiver that is silent are tried again.
fn post(agent: &Agent, url: &str, request: &Request) -> Delivery {
    let post = agent.post(url).header("Content-Type", request.content_type());
    let response = post.send(request.body()).and_then(|mut response| {
        Ok((response.status().as_u16(), response.body_mut().read_to_vec()?))
    });
    response.map_or(Delivery::RetryLater, |(status, body)| Delivery::of_response(status, &body))
}
