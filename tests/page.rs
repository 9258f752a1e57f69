//! The dashboard as it is served: what it says, that what others chose (names, versions) is nothing
//! but text in it, and that its links hold wherever it is mounted.

#![cfg(all(feature = "http", feature = "testing"))]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

#[path = "page/asked.rs"]
mod asked;
#[path = "support/client.rs"]
mod client;
#[path = "page/markup.rs"]
mod markup;
#[path = "page/mounted.rs"]
mod mounted;
#[path = "page/names.rs"]
mod names;
#[path = "page/said.rs"]
mod said;
#[path = "support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use client::get;
use plugmeter::http::{HttpConfig, HttpServer};
use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, PluginState, Reader};
use serde_json::Value;

const MB: u64 = 1 << 20;
/// What the markup of a row begins with; its name comes next.
const ROW: &str = "<tr role=\"row\" data-name=\"";

fn serve(reader: Reader) -> (HttpServer, SocketAddr) {
    client::serve(reader, HttpConfig::default())
}

#[track_caller]
fn page(address: SocketAddr, target: &str) -> String {
    let answer = get(address, target);
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    let content_type = answer.header("content-type");
    assert_eq!(content_type.as_deref(), Some("text/html; charset=utf-8"), "{target}");
    answer.text().to_owned()
}

#[track_caller]
fn json(address: SocketAddr, target: &str) -> Value {
    let answer = get(address, target);
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    answer.json()
}

fn every(seconds: u64) -> Config {
    Config::default().poll_interval(Duration::from_secs(seconds))
}

/// Names that mean something elsewhere: in markup, in an address, in a template, to a reader's eye.
const HOSTILE: [&str; 18] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></style></script></template><svg onload=alert(1)>",
    "<!--",
    "]]>",
    "{{ name }}{% if %}",
    "${alert(1)}`",
    "javascript:alert(1)",
    "..",
    ".",
    "a/b/../c",
    "a?b=c&d#e%2f%00+f g",
    "&lt;b&gt;&amp;",
    "\u{202e}gnp.exe\u{2066}",
    "\u{2028}\u{2029}\u{feff}",
    "日本語 \u{1f3b2} e\u{301}",
    "a;b,c:d@e!f$g*h(i)~j|k\\l^m",
];

fn hostile() -> Simulation {
    let mut sim = Simulation::new(every(5)).unwrap();
    for (pid, name) in (1..).zip(HOSTILE) {
        let plugin = sim.register(name).unwrap();
        plugin.started(pid, name);
        // Half of them are to be in the sentences, too.
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
