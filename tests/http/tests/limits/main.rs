//! Limits of the server, with clients that violate them.
//!
//! Tests that wait for the real limits of ten and sixty seconds run with `PLUGMETER_REAL_LIMITS=1`
//! only; without it they report that they are skipped. All other tests always run.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::Config;
use plugmeter::http::HttpConfig;
use plugmeter::testing::{Simulation, Usage};
use plugmeter_http_tests::{connect, exchange, get, serve};
use plugmeter_test_support::isolated_process::{
    enter_isolated, peak_resident_bytes, resident_bytes,
};
use plugmeter_test_support::{HANG_TIMEOUT, report_skipped, wait_for};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A limit of ten seconds is not reached before this.
const LIMIT_LOW: Duration = Duration::from_secs(9);
/// Bound for a limit of ten seconds on a busy machine.
const LIMIT_HIGH: Duration = Duration::from_secs(40);

/// Returns whether a test that waits for a real limit is to be skipped, and reports it.
fn skips_real_limit(test: &str) -> bool {
    let skips = std::env::var_os("PLUGMETER_REAL_LIMITS").is_none();
    if skips {
        report_skipped("PLUGMETER_REAL_LIMITS is not set", test);
    }
    skips
}

/// Repeats `round` until one ends before a limit of ten seconds can have expired, and returns its
/// result. On a busy machine a round may take longer, and then its result proves nothing.
fn before_limit<T>(what: &str, mut round: impl FnMut() -> T) -> T {
    wait_for(what, || {
        let start = Instant::now();
        let result = round();
        (start.elapsed() < LIMIT_LOW).then_some(result)
    })
}

/// Enough plugins for a response of megabytes, which is more than any buffer holds.
fn many_plugins() -> Simulation {
    let mut sim = Simulation::new(Config::default()).unwrap();
    for i in 0..10_000 {
        sim.register(&format!("a plugin with a name of some length, number {i}")).unwrap();
    }
    sim.tick(|_| None);
    sim
}

fn one_plugin() -> Simulation {
    let mut sim = Simulation::new(Config::default()).unwrap();
    sim.register("dice").unwrap();
    sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: 1 << 20 });
    sim
}

/// A connection with a small receive buffer in the kernel.
fn with_small_buffer(server: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&socket, 4_096).unwrap();
    rustix::net::connect(&socket, &server).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(HANG_TIMEOUT)).unwrap();
    stream
}

/// Requests megabytes.
fn request_megabytes(stream: &mut TcpStream) {
    stream.write_all(b"GET /api/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
}

/// Returns whether the server has closed the connection, after reading what it has sent.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4_096];
    let closed = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
            Err(_) => break true,
        }
    };
    stream.set_nonblocking(false).unwrap();
    closed
}

/// Returns the time until the only connection of a server is free again.
fn wait_until_free(server: SocketAddr) -> Duration {
    let start = Instant::now();
    let try_request = || {
        let mut stream = connect(server);
        let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        exchange(&mut stream, request).ok().map(|response| assert_eq!(response.status, 404))
    };
    loop {
        if try_request().is_some() {
            return start.elapsed();
        }
        assert!(start.elapsed() < HANG_TIMEOUT, "the connection stays occupied");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn silent_or_trickling_request_is_closed() {
    if skips_real_limit("silent_or_trickling_request_is_closed") {
        return;
    }
    let sim = one_plugin();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let start = Instant::now();
    let mut silent = connect(address);
    let mut trickling = connect(address);
    let head =
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nX: ".iter().chain([b'y'].iter().cycle());
    for byte in head {
        // Writes fail at some point after the connection is closed.
        if trickling.write_all(&[*byte]).is_err() || is_closed(&mut trickling) {
            break;
        }
        assert!(start.elapsed() < LIMIT_HIGH);
        thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() > LIMIT_LOW, "{:?}", start.elapsed());
    wait_for("the silent connection to be closed", || is_closed(&mut silent).then_some(()));
}

#[test]
fn idle_connection_is_closed() {
    if skips_real_limit("idle_connection_is_closed") {
        return;
    }
    let sim = one_plugin();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let mut idle = connect(address);
    let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(exchange(&mut idle, request).unwrap().status, 404);
    let start = Instant::now();
    wait_for("the idle connection to be closed", || is_closed(&mut idle).then_some(()));
    assert!(start.elapsed() > LIMIT_LOW && start.elapsed() < LIMIT_HIGH, "{:?}", start.elapsed());
}

#[test]
fn client_polling_every_5_s_stays_connected() {
    if skips_real_limit("client_polling_every_5_s_stays_connected") {
        return;
    }
    let sim = one_plugin();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let mut steady = connect(address);
    for _ in 0..4 {
        let request = b"GET /api/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(exchange(&mut steady, request).unwrap().status, 200);
        thread::sleep(Duration::from_secs(5)); // longer than half of the limit
    }
    assert!(!is_closed(&mut steady));
}

#[test]
fn half_closed_client_gets_response() {
    let mut sim = many_plugins();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for target in ["/metrics", "/api/metrics", "/", "/health"] {
        // A new revision, whose response takes long enough that the server reads the end of the
        // request before it has finished.
        sim.tick(|_| None);
        let mut stream = connect(address);
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let response = exchange(&mut stream, b"");
        assert_eq!(response.unwrap_or_else(|e| panic!("{target}: {e}")).status, 200, "{target}");
        let end = stream.read(&mut [0]).unwrap();
        assert_eq!(end, 0, "{target}: the connection is closed");
    }
}

#[test]
fn closed_client_frees_connection_early() {
    let sim = one_plugin();
    let (_server, address) = serve(sim.reader(), HttpConfig::default().max_connections(1));
    let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (is_gone, more) in [(true, ""), (false, ""), (true, "GET /noth"), (false, "GET /noth")] {
        before_limit(&format!("a connection, gone: {is_gone}, {more:?}, to be free"), || {
            let mut idle = wait_for("a free connection", || {
                let mut stream = connect(address);
                exchange(&mut stream, request).ok().map(|_| stream)
            });
            idle.write_all(more.as_bytes()).unwrap();
            let held = (!is_gone).then(|| {
                idle.shutdown(Shutdown::Write).unwrap();
                idle
            });
            wait_until_free(address);
            drop(held);
        });
    }
}

#[test]
fn client_reading_nothing_is_closed() {
    if skips_real_limit("client_reading_nothing_is_closed") {
        return;
    }
    let sim = many_plugins();
    let (_server, address) = serve(sim.reader(), HttpConfig::default().max_connections(1));
    let mut stalled = with_small_buffer(address);
    request_megabytes(&mut stalled);
    let took = wait_until_free(address);
    assert!(took > LIMIT_LOW && took < LIMIT_HIGH, "{took:?}");
    let mut received = Vec::new();
    let end = stalled.read_to_end(&mut received);
    assert!(end.is_err() || received.len() < 3_000_000, "truncated: {} bytes", received.len());
}

#[test]
fn client_reading_slowly_is_closed() {
    if skips_real_limit("client_reading_slowly_is_closed") {
        return;
    }
    let sim = many_plugins();
    let (_server, address) = serve(sim.reader(), HttpConfig::default().max_connections(1));
    let mut slow = with_small_buffer(address);
    request_megabytes(&mut slow);
    let start = Instant::now();
    let reading = thread::spawn(move || {
        // Never idle and never done: the whole response would take minutes.
        let mut buffer = [0; 8_192];
        while start.elapsed() < Duration::from_secs(110) {
            if !matches!(slow.read(&mut buffer), Ok(1..)) {
                return;
            }
            thread::sleep(Duration::from_millis(500));
        }
    });
    let took = wait_until_free(address);
    assert!(took > Duration::from_secs(55) && took < Duration::from_secs(100), "{took:?}");
    drop(reading);
}

#[test]
fn excess_connection_is_closed() {
    let sim = one_plugin();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let are_open = before_limit("excess connections to be closed", || {
        let mut held: Vec<_> = wait_for("256 free connections", || {
            let mut streams: Vec<_> = (0..256).map(|_| connect(address)).collect();
            // A response shows that the server has accepted the connection.
            let accepted =
                |stream| exchange(stream, request).is_ok_and(|response| response.status == 404);
            streams.iter_mut().all(accepted).then_some(streams)
        });
        let mut more: Vec<_> = (0..50).map(|_| connect(address)).collect();
        for stream in &mut more {
            wait_for("an excess connection to be closed", || is_closed(stream).then_some(()));
        }
        let are_open = held.iter_mut().all(|stream| !is_closed(stream));
        held.pop();
        wait_for("a free connection", || exchange(&mut connect(address), request).ok());
        are_open
    });
    assert!(are_open, "the connections within the limit stay open");
}

#[test]
fn oversized_header_is_rejected() {
    let sim = one_plugin();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let line = format!("X-Filler: {}\r\n", "x".repeat(1_000));
    let large = format!("GET /nothing HTTP/1.1\r\nHost: localhost\r\n{}\r\n", line.repeat(300));
    let many = format!("GET /nothing HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(70));
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(300_000));
    for request in [large, many, long] {
        let mut stream = connect(address);
        // Rejected, or closed before the whole request was sent.
        if let Ok(response) = exchange(&mut stream, request.as_bytes()) {
            assert!([431, 414].contains(&response.status), "{}", response.status);
        }
        wait_for("the connection to be closed", || is_closed(&mut stream).then_some(()));
        assert_eq!(get(address, "/nothing").status, 404);
    }
    for nonsense in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"HELO\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let mut stream = connect(address);
        let response = exchange(&mut stream, nonsense);
        assert!(response.is_err() || response.unwrap().status == 400);
        assert_eq!(get(address, "/nothing").status, 404);
    }
}

/// 150 slow clients of three kinds.
fn slow_clients(address: SocketAddr) -> Vec<TcpStream> {
    (0..150)
        .map(|i| match i % 3 {
            0 => connect(address),
            1 => {
                let mut stream = connect(address);
                stream.write_all(b"GET /nothing HT").unwrap();
                stream
            }
            _ => {
                let mut stream = with_small_buffer(address);
                request_megabytes(&mut stream);
                stream
            }
        })
        .collect()
}

#[test]
fn slow_clients_do_not_block_others() {
    let sim = many_plugins();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let is_first_open = before_limit("responses beside slow clients", || {
        let mut slow = slow_clients(address);
        for _ in 0..20 {
            assert_eq!(get(address, "/nothing").status, 404);
        }
        !is_closed(&mut slow[0])
    });
    assert!(is_first_open, "no request has waited for a slow client to reach its limit");
}

#[test]
fn stop_does_not_wait_for_client_limits() {
    let sim = many_plugins();
    before_limit("stop to return before a client reaches its limit", || {
        let (server, address) = serve(sim.reader(), HttpConfig::default());
        let slow = slow_clients(address);
        let mut idle = connect(address);
        exchange(&mut idle, b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        server.stop();
        assert!(TcpStream::connect(address).is_err());
        wait_for("the idle connection to be closed", || is_closed(&mut idle).then_some(()));
        drop(slow);
    });
}

#[test]
fn stop_finishes_response_in_progress() {
    let sim = many_plugins();
    let (server, address) = serve(sim.reader(), HttpConfig::default());
    let whole = get(address, "/api/metrics").body.len();
    let mut stream = connect(address);
    request_megabytes(&mut stream);
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    let stopping = thread::spawn(move || server.stop());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > whole, "{} of {whole} bytes", rest.len());
    stopping.join().unwrap();
}

#[test]
fn accept_resumes_after_descriptor_shortage() {
    if !enter_isolated(accept_resumes_after_descriptor_shortage, &[]) {
        return;
    }
    let sim = one_plugin();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    assert_eq!(get(address, "/nothing").status, 404);
    let sockets: Vec<_> =
        (0..12).map(|_| socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()).collect();
    // The server can accept three connections.
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(open + 3), ..limit }).unwrap();
    let send = |socket| {
        rustix::net::connect(&socket, &address).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let sent: Vec<_> = sockets.into_iter().map(send).collect();
    // Each closed connection makes room for the next one.
    for mut stream in sent {
        stream.set_read_timeout(Some(HANG_TIMEOUT)).unwrap();
        assert_eq!(exchange(&mut stream, b"").unwrap().status, 404);
    }
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Levels and texts of this crate's log lines.
static LOGGED: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("plugmeter") {
            LOGGED.lock().unwrap().push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

#[test]
fn public_address_without_token_warns_once() {
    if !enter_isolated(public_address_without_token_warns_once, &[]) {
        return;
    }
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let sim = one_plugin();
    let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    for (config, warnings) in [
        (HttpConfig::default(), 0),
        (HttpConfig::default().host(everywhere).token("s3cret"), 0),
        (HttpConfig::default().host(everywhere), 1),
    ] {
        LOGGED.lock().unwrap().clear();
        let (server, address) = serve(sim.reader(), config);
        let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
        for _ in 0..3 {
            get(loopback, "/nothing");
        }
        server.stop();
        let logged = LOGGED.lock().unwrap();
        let warned: Vec<_> =
            logged.iter().filter(|(level, _)| *level == log::Level::Warn).collect();
        assert_eq!(warned.len(), warnings, "{warned:?}");
        assert!(warned.iter().all(|(_, text)| text.contains("token")), "{warned:?}");
        assert!(!format!("{logged:?}").contains("s3cret"));
        assert!(logged.iter().any(|(_, text)| text.contains(&address.to_string())), "{logged:?}");
    }
}

#[test]
fn longest_history_response_uses_little_memory() {
    if !enter_isolated(longest_history_response_uses_little_memory, &[]) {
        return;
    }
    const MOST: u32 = 1_048_576;
    let interval = Duration::from_secs(5);
    let config = Config::default().poll_interval(interval).history_duration(interval * MOST);
    let mut sim = Simulation::new(config).unwrap();
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    for tick in 0..u64::from(MOST) {
        sim.tick(|_| Usage { cpu_time: Duration::from_secs(tick), memory_bytes: 1 << 20 });
    }
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    get(address, "/nothing");
    let before = resident_bytes();
    let document = get(address, "/api/plugin?name=dice&points=10000").json();
    let most = peak_resident_bytes();
    assert_eq!(document["aggregates"]["sample_count"], MOST);
    let history = document["history"].as_array().unwrap();
    assert!((5_000..=10_000).contains(&history.len()), "{} points", history.len());
    // The response and its parsed document. All samples would need a hundred times as much.
    assert!(most - before < 32 << 20, "{} MB", (most - before) >> 20);
}

#[test]
fn stalled_clients_share_one_response() {
    if !enter_isolated(stalled_clients_share_one_response, &[]) {
        return;
    }
    let sim = many_plugins();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let response = get(address, "/api/metrics").body.len() as u64;
    assert!(response > 3_000_000);
    let before = resident_bytes();
    let mut stalled: Vec<_> = (0..100).map(|_| with_small_buffer(address)).collect();
    for stream in &mut stalled {
        request_megabytes(stream);
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
    }
    assert_eq!(get(address, "/nothing").status, 404);
    let after = resident_bytes();
    let grown = after.saturating_sub(before);
    assert!(grown < response * 10, "{} MB for responses of {} MB", grown >> 20, response >> 20);
}
