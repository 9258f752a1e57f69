//! A host with its own axum server, and the dashboard under a path of it. Runs until it is
//! interrupted:
//!
//! ```sh
//! cargo run --release -p plugmeter-async-hosts --bin axum_host
//! curl http://127.0.0.1:8081/plugins/api/metrics
//! ```

use std::error::Error;
use std::process::{Command, Stdio};

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use plugmeter::http::{self, HttpConfig};
use plugmeter::{Collector, Config};

const ADDRESS: &str = "127.0.0.1:8081";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let collector = Collector::start(Config::default())?;
    let plugin = collector.register("dice")?;
    // A real host also waits for it: see `tokio_host`.
    let _dice = plugin.spawn(&mut dice(), "1.0")?;

    let plugins = http::router(collector.reader(), HttpConfig::default())?;
    let app = Router::new()
        .route("/", get(async || Html("A bot. <a href=\"/plugins\">Its plugins</a>")))
        // `nest_service` serves `/plugins/` as well as `/plugins`.
        .nest_service("/plugins", plugins);

    let address = std::env::args().nth(1).unwrap_or_else(|| ADDRESS.to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{}/plugins", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// A plugin that waits for its host: `cat` exits when the pipe to its standard input is closed.
fn dice() -> Command {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command
}
