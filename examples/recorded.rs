//! The six example plugins with a history that survives this program: kill it, start it again, and the
//! counters, the page's last hour and the runs go on.
//!
//! ```sh
//! cargo run --release --features http,store --example recorded -- plugmeter.db
//! ```
//!
//! Compared with the example `dashboard`, a host opens a store, resumes from it, and records.

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use plugmeter::http::{self, HttpConfig};
use plugmeter::{Collector, Config, Store, StoreConfig};
use plugmeter_demo::{Host, Role, WORKER};

/// The interval between two checks of the children.
const TEND_INTERVAL: Duration = Duration::from_millis(20);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let mut http = HttpConfig::default(); // 127.0.0.1:8080
    let path = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // This process is a child: run the role of a plugin.
        [WORKER, name] => return Ok(Role::named(name).ok_or("no such worker")?.work()?),
        [path] => path,
        ["--port", port, path] => {
            http = http.port(port.parse()?);
            path
        }
        _ => return Err("usage: recorded [--port PORT] FILE".into()),
    };

    // In a real host the default of a minute is often enough.
    let store = Store::open(StoreConfig::new(path).write_interval(Duration::from_secs(2)))?;
    let config = Config::default().poll_interval(Duration::from_secs(1));
    let collector = Collector::resume(config, store.saved())?;
    let _recorder = store.record(collector.reader())?; // until it is dropped

    let server = http::serve(collector.reader(), http.store(store.reader()))?;
    let mut host = Host::with_children(&collector)?;
    let address = server.local_addr().expect("it is enabled");
    writeln!(
        io::stdout(),
        "http://{address}/ shows six plugins. Kill this program, and start it again: they go on."
    )?;
    loop {
        host.tend()?;
        thread::sleep(TEND_INTERVAL);
    }
}
