//! The limits of the server, on real sockets, each reached in milliseconds.

#![allow(clippy::unwrap_used)] // a panic fails the test

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::limits::ServerLimits;
use super::{HttpConfig, HttpServer};
use crate::Config;
use crate::testing::Simulation;

/// A limit that no test reaches.
const NEVER: Duration = Duration::from_secs(3_600);
/// A limit that the test reaches.
const SHORT: Duration = Duration::from_millis(40);
/// A bound against hanging.
const HANG: Duration = Duration::from_secs(60);

const UNLIMITED: ServerLimits = ServerLimits {
    header_read_timeout: NEVER,
    write_timeout: NEVER,
    response_timeout: NEVER,
    shutdown_grace: NEVER,
    accept_retry_delay: Duration::from_millis(1),
};

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// With [`LARGE`] plugins, its response is larger than all buffers.
const LARGE_REQUEST: &[u8] = b"GET /api/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LARGE: u32 = 2_000;
/// The response has more bytes than this.
const MIN_LARGE_RESPONSE: usize = 700_000;

fn simulation(plugins: u32) -> Simulation {
    let mut sim = Simulation::new(Config::default()).unwrap();
    for i in 0..plugins {
        sim.register(&format!("a plugin with a name of some length, number {i}")).unwrap();
    }
    sim.tick(|_pid| None);
    sim
}

fn serve(sim: &Simulation, config: HttpConfig, limits: ServerLimits) -> (HttpServer, SocketAddr) {
    let server = HttpServer::start_with_limits(sim.reader(), &config.port(0), limits).unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}

/// A connection whose kernel accepts few bytes that are not read.
fn connect_with_small_buffer(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}

/// The status of the next response, whose body is read too; `None` if the connection is closed.
fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    head.split(' ').nth(1).map(|status| status.parse().unwrap())
}

fn exchange(stream: &mut TcpStream, request: &[u8]) -> Option<u16> {
    stream.write_all(request).ok()?;
    status(stream)
}

/// Waits until the server has closed the connection, and discards what it has sent.
#[track_caller]
fn wait_until_closed(stream: &mut TcpStream) {
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                let is_timeout =
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!is_timeout, "the connection is still open");
                return;
            }
        }
    }
}

/// Waits until the only connection of a server is free again.
#[track_caller]
fn wait_until_free(address: SocketAddr) {
    let start = Instant::now();
    while exchange(&mut connect(address), REQUEST).is_none() {
        assert!(start.elapsed() < HANG, "the connection is still occupied");
        thread::yield_now();
    }
}

#[test]
fn real_limits_are_the_documented_ones() {
    let ServerLimits {
        header_read_timeout, write_timeout, response_timeout, shutdown_grace, ..
    } = ServerLimits::REAL;
    assert_eq!([header_read_timeout, write_timeout].map(|limit| limit.as_secs()), [10, 10]);
    assert_eq!([response_timeout, shutdown_grace].map(|limit| limit.as_secs()), [60, 1]);
}

#[test]
fn incomplete_head_is_closed_after_timeout() {
    let sim = simulation(1);
    let limits = ServerLimits { header_read_timeout: SHORT, ..UNLIMITED };
    let (_server, address) = serve(&sim, HttpConfig::default(), limits);
    let start = Instant::now();
    let mut silent = connect(address);
    let mut trickling = connect(address);
    // Single bytes do not extend the time.
    trickling.write_all(b"GET /health HTTP/1.1\r\nX: ").unwrap();
    while trickling.write_all(b"y").is_ok() {
        assert!(start.elapsed() < HANG, "the connection is still open");
        thread::sleep(Duration::from_millis(1));
    }
    wait_until_closed(&mut silent);
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn idle_connection_is_closed_after_timeout() {
    let sim = simulation(1);
    let limits = ServerLimits { header_read_timeout: SHORT, ..UNLIMITED };
    let (_server, address) = serve(&sim, HttpConfig::default(), limits);
    let mut idle = connect(address);
    // The server's timer starts after the request.
    let start = Instant::now();
    assert_eq!(exchange(&mut idle, REQUEST), Some(200));
    wait_until_closed(&mut idle);
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn client_that_does_not_read_is_closed() {
    let sim = simulation(LARGE);
    let limits = ServerLimits { write_timeout: SHORT, ..UNLIMITED };
    let (_server, address) = serve(&sim, HttpConfig::default().max_connections(1), limits);
    let mut deaf = connect_with_small_buffer(address);
    deaf.write_all(LARGE_REQUEST).unwrap();
    wait_until_free(address);
    let mut received = Vec::new();
    let end = deaf.read_to_end(&mut received);
    assert!(end.is_err() || received.len() < MIN_LARGE_RESPONSE, "{} bytes", received.len());
}

#[test]
fn client_that_reads_too_slowly_is_closed() {
    let sim = simulation(LARGE);
    let limits = ServerLimits { response_timeout: SHORT, ..UNLIMITED };
    let (_server, address) = serve(&sim, HttpConfig::default().max_connections(1), limits);
    let mut slow = connect_with_small_buffer(address);
    slow.write_all(LARGE_REQUEST).unwrap();
    let connection = slow.try_clone().unwrap();
    let reader = thread::spawn(move || {
        // Always some data, but the whole response would take a minute.
        let (mut buffer, mut received) = ([0; 4_096], 0);
        while let Ok(read @ 1..) = slow.read(&mut buffer) {
            received += read;
            thread::sleep(Duration::from_millis(50));
        }
        received
    });
    wait_until_free(address);
    // The rest is in the client's own buffer.
    let _: io::Result<()> = connection.shutdown(Shutdown::Both);
    assert!(reader.join().unwrap() < MIN_LARGE_RESPONSE);
}

#[test]
fn half_closed_client_gets_its_response() {
    let sim = simulation(1);
    let (_server, address) = serve(&sim, HttpConfig::default(), UNLIMITED);
    let mut stream = connect(address);
    stream.write_all(REQUEST).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(status(&mut stream), Some(200));
    wait_until_closed(&mut stream);
}

#[test]
fn too_many_connections_are_closed_immediately() {
    let sim = simulation(1);
    let (_server, address) = serve(&sim, HttpConfig::default().max_connections(2), UNLIMITED);
    let mut held = [connect(address), connect(address)];
    for stream in &mut held {
        assert_eq!(exchange(stream, REQUEST), Some(200));
    }
    wait_until_closed(&mut connect(address));
    for stream in &mut held {
        assert_eq!(exchange(stream, REQUEST), Some(200));
    }
    drop(held);
    wait_until_free(address);
}

#[test]
fn too_large_head_is_rejected() {
    let sim = simulation(1);
    let (_server, address) = serve(&sim, HttpConfig::default(), UNLIMITED);
    let large = format!("X: {}\r\n", "x".repeat(20_000));
    let many = "A: b\r\n".repeat(70);
    for headers in [large, many] {
        let mut stream = connect(address);
        let request = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        // The connection may be closed before all of the request is sent.
        let status = exchange(&mut stream, request.as_bytes());
        assert!(matches!(status, Some(431) | None), "{status:?}");
        wait_until_closed(&mut stream);
        assert_eq!(exchange(&mut connect(address), REQUEST), Some(200));
    }
}

#[test]
fn stop_closes_connections_after_grace() {
    let sim = simulation(LARGE);
    let limits = ServerLimits { shutdown_grace: SHORT, ..UNLIMITED };
    let (server, address) = serve(&sim, HttpConfig::default(), limits);
    let mut idle = connect(address);
    assert_eq!(exchange(&mut idle, REQUEST), Some(200));
    let mut deaf = connect_with_small_buffer(address);
    deaf.write_all(LARGE_REQUEST).unwrap();
    // The response has started.
    deaf.read_exact(&mut [0; 12]).unwrap();
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() >= SHORT);
    assert!(TcpStream::connect(address).is_err());
    wait_until_closed(&mut idle);
    wait_until_closed(&mut deaf);
}

#[test]
fn stop_lets_a_response_finish() {
    let sim = simulation(LARGE);
    let (server, address) = serve(&sim, HttpConfig::default(), UNLIMITED);
    let mut stream = connect_with_small_buffer(address);
    stream.write_all(LARGE_REQUEST).unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    let stopping = thread::spawn(move || server.stop());
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with('}') && rest.len() > MIN_LARGE_RESPONSE, "{} bytes", rest.len());
    stopping.join().unwrap();
}

#[test]
fn debug_shows_the_address() {
    let sim = simulation(1);
    let (server, address) = serve(&sim, HttpConfig::default(), UNLIMITED);
    assert_eq!(format!("{server:?}"), format!("HttpServer {{ address: Some({address}) }}"));
}
