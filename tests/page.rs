//! The dashboard as it is served: what it says, that what others chose (names, versions) is nothing
//! but text in it, and that its links hold wherever it is mounted.

#![cfg(all(feature = "http", feature = "testing"))]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

#[path = "page/asked.rs"]
mod asked;
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

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use plugmeter::http::{self, HttpConfig, HttpServer};
use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, PluginState, Reader};
use serde_json::Value;

const MB: u64 = 1 << 20;
/// What the markup of a row begins with; its name comes next.
const ROW: &str = "<tr role=\"row\" data-name=\"";

fn serve(reader: Reader) -> (HttpServer, SocketAddr) {
    let server = http::serve(reader, HttpConfig::default().port(0)).unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

/// Status, head and body.
fn get(address: SocketAddr, target: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[track_caller]
fn page(address: SocketAddr, target: &str) -> String {
    let (status, head, body) = get(address, target);
    assert_eq!(status, 200, "{target}: {body}");
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    body
}

#[track_caller]
fn json(address: SocketAddr, target: &str) -> Value {
    let (status, _, body) = get(address, target);
    assert_eq!(status, 200, "{target}: {body}");
    serde_json::from_str(&body).unwrap()
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
