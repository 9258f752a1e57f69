//! Requests per second and the 99th percentile of the latency over loopback, measured by `wrk` while
//! the sampler runs. The number of ticks that were missed during the measurement is printed too.
//!
//! The lower bound ("floor") is a server with one route that returns a constant body of the same
//! length, also on one thread and with the same libraries.
//!
//! It has its own harness, because another program generates and measures the load.
#![allow(missing_docs)] // a bench has no public API

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use plugmeter::http::{self, HttpConfig};
use plugmeter::{Collector, Config};

/// The duration of each measurement.
const SECONDS: u64 = 8;
/// Concurrent connections.
const CONNECTIONS: u32 = 32;

fn main() {
    if !std::env::args().any(|arg| arg == "--bench") {
        eprintln!("SKIPPED: runs only with cargo bench");
        return;
    }
    if Command::new("wrk").arg("--version").output().is_err() {
        eprintln!("SKIPPED: `wrk` is not installed");
        return;
    }
    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores, {CONNECTIONS} connections, {SECONDS} s each");
    println!("{:<34} {:>10} {:>10} {:>10} {:>8}", "", "bytes", "requests/s", "p99", "missed");
    for plugins in [10, 1_000] {
        // A new snapshot every second.
        let config = Config::default().poll_interval(Duration::from_secs(1));
        let collector = Collector::start(config).expect("the config is good");
        for i in 0..plugins {
            let plugin = collector.register(&format!("plugin-{i}")).expect("the name is good");
            plugin.started(std::process::id(), "1.0");
        }
        collector.sample_now().expect("it samples");
        let server = http::serve(collector.reader(), HttpConfig::default().port(0));
        let server = server.expect("a port is free");
        let address = server.local_addr().expect("it is enabled");
        for target in ["/health", "/metrics", "/api/metrics"] {
            let before = collector.snapshot().sampler().missed_ticks;
            let bytes = length(address, target);
            let (rate, slow) = load(address, target);
            let missed = collector.snapshot().sampler().missed_ticks - before;
            let label = format!("{plugins} plugins, {target}");
            println!("{label:<34} {bytes:>10} {rate:>10} {slow:>10} {missed:>8}");
            let (rate, slow) = load(floor(bytes), "/");
            println!("{:<34} {bytes:>10} {rate:>10} {slow:>10}", "  floor: as many bytes");
        }
    }
}

/// Starts a server that always returns the same body, and runs until this process exits.
fn floor(bytes: usize) -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.set_nonblocking(true).expect("a listener can be");
    let address = listener.local_addr().expect("it listens");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let body = Bytes::from(vec![b'x'; bytes]);
            let app = Router::new().route("/", get(async move || body));
            let listener = tokio::net::TcpListener::from_std(listener).expect("it listens");
            axum::serve(listener, app).await.expect("it serves until the process exits");
        });
    });
    address
}

/// Returns the length of a response's body.
fn length(server: SocketAddr, target: &str) -> usize {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(server).expect("it listens");
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("it responds");
    let head = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a header");
    response.len() - head - 4
}

/// Returns the result of `wrk`: requests per second, and the 99th percentile of the latency.
fn load(server: SocketAddr, target: &str) -> (String, String) {
    let output = Command::new("wrk")
        .args(["--latency", "-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s")])
        .arg(format!("http://{server}{target}"))
        .output()
        .expect("`wrk` is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "{text}");
    let after = |key: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(key));
        found.unwrap_or_else(|| panic!("no {key} in {text}")).trim().to_owned()
    };
    (after("Requests/sec:"), after("99%"))
}
