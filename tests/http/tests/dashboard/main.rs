//! The dashboard as the server sends it: its messages, hostile names and versions, links under
//! every mount path, and the data for its script.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod hostile_names;
mod links;
mod markup;
mod messages;
mod refresh;

use std::net::SocketAddr;
use std::time::Duration;

use plugmeter::http::{HttpConfig, HttpServer};
use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, PluginState, Reader};
use plugmeter_http_tests::get;
use plugmeter_test_support::names::HOSTILE_NAMES;
use serde_json::Value;

const MB: u64 = 1 << 20;
/// The start of a row's markup, up to its name.
const ROW: &str = "<tr role=\"row\" data-name=\"";

fn serve(reader: Reader) -> (HttpServer, SocketAddr) {
    plugmeter_http_tests::serve(reader, HttpConfig::default())
}

#[track_caller]
fn page(address: SocketAddr, target: &str) -> String {
    let response = get(address, target);
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    let content_type = response.header("content-type");
    assert_eq!(content_type.as_deref(), Some("text/html; charset=utf-8"), "{target}");
    response.text().to_owned()
}

#[track_caller]
fn json(address: SocketAddr, target: &str) -> Value {
    let response = get(address, target);
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    response.json()
}

fn every(seconds: u64) -> Config {
    Config::default().poll_interval(Duration::from_secs(seconds))
}

fn hostile() -> Simulation {
    let mut sim = Simulation::new(every(5)).unwrap();
    for (pid, name) in (1..).zip(HOSTILE_NAMES) {
        let plugin = sim.register(name).unwrap();
        plugin.started(pid, name);
        // Half of the plugins appear in the messages as well.
        if pid % 2 == 0 {
            plugin.set_state(PluginState::Unhealthy);
        }
    }
    for tick in 0..4 {
        let cpu_time = Duration::from_millis(100 * tick);
        sim.tick(|_| Usage { cpu_time, memory_bytes: MB });
    }
    sim
}
