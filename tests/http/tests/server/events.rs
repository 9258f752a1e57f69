//! The stream of server-sent events.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::http::HttpConfig;
use plugmeter::testing::Simulation;
use plugmeter::{Collector, Config, PluginState};
use plugmeter_http_tests::{connect, get, get_with_headers, serve};
use serde_json::Value;

use super::{simulation, usage};

/// A client of the stream.
struct Events(BufReader<TcpStream>);

impl Events {
    /// Connects, and checks the head of the response.
    fn connect(server: SocketAddr, target: &str, headers: &str) -> Self {
        let mut stream = connect(server);
        let request = format!("GET {target} HTTP/1.1\r\nhost: {server}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = Self(BufReader::new(stream));
        let head: Vec<_> =
            std::iter::from_fn(|| events.line().filter(|line| !line.is_empty())).collect();
        assert_eq!(head[0], "HTTP/1.1 200 OK");
        for expected in
            ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"]
        {
            assert!(head.iter().any(|line| line == expected), "{expected}: {head:?}");
        }
        events
    }

    /// The next line without its end; `None` at the end of the connection, also in the middle of a
    /// line.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) => line.strip_suffix('\n').map(|line| line.trim_end().to_owned()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next event: id and data. `None` at the end of the stream.
    fn next(&mut self) -> Option<(u64, Value)> {
        let mut id = None;
        loop {
            // Lines of the chunked encoding are in between.
            let line = self.line()?;
            if line == "0" {
                return None;
            }
            if let Some(number) = line.strip_prefix("id: ") {
                id = Some(number.parse().unwrap());
            }
            if let (Some(id), Some(data)) = (id, line.strip_prefix("data: ")) {
                return Some((id, serde_json::from_str(data).unwrap()));
            }
        }
    }
}

#[test]
fn event_follows_each_revision() {
    let mut sim = simulation();
    let plugin = sim.register("dice").unwrap();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let mut events = Events::connect(address, "/api/events", "");
    for tick in 1..4 {
        sim.tick(|_| usage(tick));
        let snapshot = sim.snapshot();
        let (id, data) = events.next().unwrap();
        assert_eq!((id, &data["tick"]), (snapshot.revision(), &tick.into()));
        assert_eq!((&data["revision"], &data["stopped"]), (&id.into(), &false.into()));
    }
    // Between ticks.
    plugin.set_state(PluginState::Failed);
    sim.advance(Duration::ZERO);
    assert_eq!(events.next().unwrap().0, sim.snapshot().revision());
}

#[test]
fn client_that_is_behind_receives_event_immediately() {
    let mut sim = simulation();
    (0..3).for_each(|tick| sim.tick(|_| usage(tick)));
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for (target, headers) in [
        ("/api/events?since=1", ""),
        // The header is newer than the query of the first request.
        ("/api/events?since=3", "last-event-id: 2\r\n"),
        // That of an earlier host.
        ("/api/events?since=77", ""),
        ("/api/events", "last-event-id: 77\r\n"),
    ] {
        let mut events = Events::connect(address, target, headers);
        assert_eq!(events.next().unwrap().0, 3, "{target} {headers}");
    }
    let mut current = Events::connect(address, "/api/events?since=1", "last-event-id: 3\r\n");
    sim.tick(|_| usage(3));
    assert_eq!(current.next().unwrap().0, 4);
    assert_eq!(get(address, "/api/events?since=x").status, 400);
}

#[test]
fn fast_publications_become_one_event() {
    let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(1))).unwrap();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let mut events = Events::connect(address, "/api/events?since=0", "");
    let (mut last, mut count) = (0, 0);
    (0..500).for_each(|tick| sim.tick(|_| usage(tick)));
    while last < 500 {
        let (id, _) = events.next().unwrap();
        assert!(id > last);
        (last, count) = (id, count + 1);
    }
    assert!(count < 500, "{count} events");
}

#[test]
fn stream_is_one_connection() {
    let sim = simulation();
    let (_server, address) = serve(sim.reader(), HttpConfig::default().max_connections(2));
    let _events = [(); 2].map(|()| Events::connect(address, "/api/events", ""));
    let mut refused = connect(address);
    drop(refused.write_all(format!("GET /health HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()));
    let mut line = String::new();
    let read = BufReader::new(refused).read_line(&mut line);
    assert!(read.is_err() || line.is_empty(), "{line}");
}

#[test]
fn server_stop_ends_stream_immediately() {
    let sim = simulation();
    let (server, address) = serve(sim.reader(), HttpConfig::default());
    let mut events = Events::connect(address, "/api/events", "");
    let start = Instant::now();
    server.stop();
    assert_eq!(events.next(), None);
    // A response that does not end by itself would be closed after a second.
    println!("stopped after {:?}", start.elapsed());
}

#[test]
fn collector_stop_is_last_event() {
    let collector = Collector::start(Config::default()).unwrap();
    let (_server, address) = serve(collector.reader(), HttpConfig::default());
    let mut events = Events::connect(address, "/api/events", "");
    collector.stop();
    let last = std::iter::from_fn(|| events.next()).last().unwrap();
    assert_eq!((last.0, &last.1["stopped"]), (collector.snapshot().revision(), &true.into()));
    // The client does not connect again.
    let id = format!("last-event-id: {}", last.0);
    assert_eq!(get_with_headers(address, "/api/events", &[&id]).status, 204);
}

/// A relay, as a proxy with a time limit: it closes each connection after `limit`, whatever is sent.
/// It lives as long as the test's process.
fn relay(server: SocketAddr, limit: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                // An error is the end of one of the two.
                thread::spawn(move || _ = io::copy(&mut from, &mut to));
            }
            thread::spawn(move || {
                thread::sleep(limit);
                for side in [client, server] {
                    let _ = side.shutdown(Shutdown::Both);
                }
            });
        }
    });
    address
}

#[test]
fn client_behind_time_limit_misses_no_revision() {
    const MIN_CUTS: u32 = 4;
    let mut sim = simulation();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    // Some events of each connection, which are 250 ms apart.
    let relay = relay(address, Duration::from_millis(700));
    let (mut last, mut cuts) = (0, 0);
    sim.tick(|_| usage(1));
    while cuts < MIN_CUTS || last < 8 {
        let mut stream = connect(relay);
        let request =
            format!("GET /api/events HTTP/1.1\r\nhost: {relay}\r\nlast-event-id: {last}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = Events(BufReader::new(stream));
        while let Some((id, data)) = events.next() {
            // One revision at a time: with the connection, and without it.
            assert_eq!((id, &data["tick"]), (last + 1, &id.into()));
            last = id;
            sim.tick(|_| usage(id));
        }
        cuts += 1;
    }
}
