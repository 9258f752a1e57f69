//! The six example plugins on a dashboard in the browser. Runs until it is interrupted:
//!
//! ```sh
//! cargo run --release --features http --example dashboard
//! ```
//!
//! A host adds only the line with `http::serve`.

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use plugmeter::http::{self, HttpConfig, HttpError};
use plugmeter::{Collector, Config, Limit, LimitMetric, Limits};
use plugmeter_demo::{Host, Role, WORKER};

/// The interval between two checks of the children.
const TEND_INTERVAL: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("dashboard: {error}");
        if matches!(error.downcast_ref(), Some(HttpError::Bind { .. })) {
            eprintln!("to use another port: --port PORT; for any free port: --port 0");
        }
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let mut config = HttpConfig::default(); // 127.0.0.1:8080
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // This process is a child: run the role of a plugin.
        [WORKER, name] => return Ok(Role::named(name).ok_or("no such worker")?.work()?),
        [] => {}
        ["--port", port] => {
            let port = port.parse().map_err(|_| format!("{port:?} is not a port number"))?;
            config = config.port(port);
        }
        _ => return Err("usage: dashboard [--port PORT]".into()),
    }

    // In a real host with the default interval, a limit lasts a minute or more.
    let limit = |metric, above| Limit::new(metric, above).lasting(Duration::from_secs(2));
    let limits = Limits::default()
        .rule(limit(LimitMetric::CpuPercent, 50.0).grace(Duration::ZERO))
        .rule(limit(LimitMetric::MemoryMb, 100.0));
    let config_of_collector =
        Config::default().poll_interval(Duration::from_secs(1)).limits(limits);
    let collector = Collector::start(config_of_collector)?;
    let server = http::serve(collector.reader(), config)?;
    let mut host = Host::with_children(&collector)?;
    let address = server.local_addr().expect("it is enabled");
    writeln!(
        io::stdout(),
        "http://{address}/ shows six plugins. Ctrl-C stops them and this program."
    )?;
    loop {
        host.tend()?;
        thread::sleep(TEND_INTERVAL);
    }
}
