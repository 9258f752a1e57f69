//! A Prometheus server scrapes the HTTP server.

use std::path::Path;
use std::time::Duration;

use plugmeter::http::{self, HttpConfig};
use plugmeter::{Collector, Config};
use plugmeter_test_support::names::HOSTILE_NAMES;
use plugmeter_test_support::prometheus_server::{Server, has_tool};

#[test]
fn prometheus_scrapes_http_server() {
    if !has_tool("prometheus", &["--version"]) {
        return;
    }
    let interval = Duration::from_millis(100);
    let collector = Collector::start(Config::default().poll_interval(interval)).unwrap();
    for name in HOSTILE_NAMES {
        collector.register(name).unwrap().started(std::process::id(), name);
    }
    let served = http::serve(collector.reader(), HttpConfig::default().port(0)).unwrap();
    let target = served.local_addr().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus-http-server");
    let mut server = Server::scraping(target, &[("plugins", "/metrics")], &folder);
    server.wait_for("up", &[1.0]);
    server.wait_for("plugin_up", &[1.0; HOSTILE_NAMES.len()]);
    server.wait_for("count(plugin_info)", &[HOSTILE_NAMES.len() as f64]);
    server.wait_for("count(plugin_state == 1)", &[HOSTILE_NAMES.len() as f64]);
    // A stopped collector has no current values: the scrape fails, and the series end.
    collector.stop();
    server.wait_for("up", &[0.0]);
    server.wait_for("plugin_up", &[]);
}
