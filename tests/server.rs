//! The server's limits, with clients that do not behave. Each test waits for what the server does
//! about them, which takes as long as its limits are: ten seconds, or sixty.
#![cfg(all(feature = "http", feature = "testing", target_os = "linux"))]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

#[path = "support/client.rs"]
mod client;
mod support;
#[path = "support/world.rs"]
mod world;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use client::{connect, exchange, get, serve};
use plugmeter::Config;
use plugmeter::http::HttpConfig;
use plugmeter::testing::{Simulation, Usage};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::wait_for;
use world::{entered, most_resident, resident};

/// A limit of ten seconds is not reached before this, ...
const NINE: Duration = Duration::from_secs(9);
/// ... and long before this, however busy the machine is.
const FORTY: Duration = Duration::from_secs(40);

/// Enough plugins for an answer of megabytes: more than any buffer takes.
fn crowd() -> Simulation {
    let mut sim = Simulation::new(Config::default()).unwrap();
    for i in 0..10_000 {
        sim.register(&format!("a plugin with a name of some length, number {i}")).unwrap();
    }
    sim.tick(|_| None);
    sim
}

fn few() -> Simulation {
    let mut sim = Simulation::new(Config::default()).unwrap();
    sim.register("dice").unwrap();
    sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: 1 << 20 });
    sim
}

/// A connection whose kernel takes only a few bytes that nobody reads.
fn with_small_buffer(server: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&socket, 4_096).unwrap();
    rustix::net::connect(&socket, &server).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    stream
}

/// Asks for megabytes.
fn ask_for_much(stream: &mut TcpStream) {
    stream.write_all(b"GET /api/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
}

/// Whether the server has closed the connection, after what it may have said.
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

/// How long it takes until a connection is free again, of a server that has one.
fn time_until_free(server: SocketAddr) -> Duration {
    let start = Instant::now();
    let answered = || {
        let mut stream = connect(server);
        let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        exchange(&mut stream, request).ok().map(|answer| assert_eq!(answer.status, 404))
    };
    loop {
        if answered().is_some() {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(120), "it is never free again");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn who_says_nothing_is_closed_in_ten_seconds_and_so_is_who_says_it_bit_by_bit() {
    let sim = few();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let start = Instant::now();
    let mut silent = connect(address);
    let mut trickling = connect(address);
    let head =
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nX: ".iter().chain([b'y'].iter().cycle());
    for byte in head {
        // Once it is closed writing fails, sooner or later.
        if trickling.write_all(&[*byte]).is_err() || is_closed(&mut trickling) {
            break;
        }
        assert!(start.elapsed() < FORTY);
        thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() > NINE, "{:?}", start.elapsed());
    wait_for("the silent one to be closed", || is_closed(&mut silent).then_some(()));
}

#[test]
fn a_connection_that_is_kept_open_and_idle_is_closed_in_ten_seconds() {
    let sim = few();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let mut idle = connect(address);
    let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(exchange(&mut idle, request).unwrap().status, 404);
    let start = Instant::now();
    wait_for("the idle one to be closed", || is_closed(&mut idle).then_some(()));
    assert!(start.elapsed() > NINE && start.elapsed() < FORTY, "{:?}", start.elapsed());
}

#[test]
fn a_client_on_a_beat_of_five_seconds_keeps_its_connection() {
    let sim = few();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let mut steady = connect(address);
    for _ in 0..4 {
        let request = b"GET /api/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(exchange(&mut steady, request).unwrap().status, 200);
        thread::sleep(Duration::from_secs(5)); // the beat is what is tried
    }
    assert!(!is_closed(&mut steady));
}

#[test]
fn who_says_that_it_has_said_all_is_answered_still() {
    let mut sim = crowd();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for target in ["/metrics", "/api/metrics", "/", "/health"] {
        // A new revision: the answer takes many turns to make, in which the end is read.
        sim.tick(|_| None);
        let mut stream = connect(address);
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = exchange(&mut stream, b"");
        assert_eq!(answer.unwrap_or_else(|e| panic!("{target}: {e}")).status, 200, "{target}");
        let end = stream.read(&mut [0]).unwrap();
        assert_eq!(end, 0, "{target}: nothing more can be asked, and it is closed");
    }
}

#[test]
fn an_idle_connection_makes_room_as_soon_as_its_client_is_gone_or_has_said_all() {
    let sim = few();
    let (_server, address) = serve(sim.reader(), HttpConfig::default().max_connections(1));
    let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (is_gone, more) in [(true, ""), (false, ""), (true, "GET /noth"), (false, "GET /noth")] {
        let mut idle = wait_for("room", || {
            let mut stream = connect(address);
            exchange(&mut stream, request).ok().map(|_| stream)
        });
        let start = Instant::now();
        idle.write_all(more.as_bytes()).unwrap();
        let held = (!is_gone).then(|| {
            idle.shutdown(Shutdown::Write).unwrap();
            idle
        });
        time_until_free(address);
        assert!(start.elapsed() < NINE, "gone: {is_gone}, {more:?}: {:?}", start.elapsed());
        drop(held);
    }
}

#[test]
fn who_takes_nothing_of_an_answer_is_closed_in_ten_seconds() {
    let sim = crowd();
    let (_server, address) = serve(sim.reader(), HttpConfig::default().max_connections(1));
    let mut deaf = with_small_buffer(address);
    ask_for_much(&mut deaf);
    let took = time_until_free(address);
    assert!(took > NINE && took < FORTY, "{took:?}");
    let mut said = Vec::new();
    let end = deaf.read_to_end(&mut said);
    assert!(end.is_err() || said.len() < 3_000_000, "it was cut: {} bytes", said.len());
}

#[test]
fn who_does_not_take_the_whole_answer_in_a_minute_is_closed() {
    let sim = crowd();
    let (_server, address) = serve(sim.reader(), HttpConfig::default().max_connections(1));
    let mut slow = with_small_buffer(address);
    ask_for_much(&mut slow);
    let start = Instant::now();
    let reading = thread::spawn(move || {
        // Always something, never enough: it would take minutes.
        let mut buffer = [0; 8_192];
        while start.elapsed() < Duration::from_secs(110) {
            if !matches!(slow.read(&mut buffer), Ok(1..)) {
                return;
            }
            thread::sleep(Duration::from_millis(500));
        }
    });
    let took = time_until_free(address);
    assert!(took > Duration::from_secs(55) && took < Duration::from_secs(100), "{took:?}");
    drop(reading);
}

#[test]
fn who_is_too_many_is_closed_at_once_and_the_others_are_answered() {
    let sim = few();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let mut held: Vec<_> = (0..256).map(|_| connect(address)).collect();
    // Each has been answered: the server has accepted it.
    for stream in &mut held {
        let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(exchange(stream, request).unwrap().status, 404);
    }
    let mut more: Vec<_> = (0..50).map(|_| connect(address)).collect();
    for stream in &mut more {
        wait_for("one too many to be closed", || is_closed(stream).then_some(()));
    }
    assert!(held.iter_mut().all(|stream| !is_closed(stream)));
    held.pop();
    wait_for("room for one", || {
        let mut stream = connect(address);
        exchange(&mut stream, b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()
    });
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_next_client_is_answered() {
    let sim = few();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let line = format!("X-Filler: {}\r\n", "x".repeat(1_000));
    let large = format!("GET /nothing HTTP/1.1\r\nHost: localhost\r\n{}\r\n", line.repeat(300));
    let many = format!("GET /nothing HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(70));
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(300_000));
    for request in [large, many, long] {
        let mut stream = connect(address);
        // Refused, or closed before all of it was sent.
        if let Ok(answer) = exchange(&mut stream, request.as_bytes()) {
            assert!([431, 414].contains(&answer.status), "{}", answer.status);
        }
        wait_for("it to be closed", || is_closed(&mut stream).then_some(()));
        assert_eq!(get(address, "/nothing").status, 404);
    }
    for nonsense in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"HELO\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let mut stream = connect(address);
        let answer = exchange(&mut stream, nonsense);
        assert!(answer.is_err() || answer.unwrap().status == 400);
        assert_eq!(get(address, "/nothing").status, 404);
    }
}

/// A hundred and fifty clients that do not behave, of every kind.
fn a_crowd_of_slow_clients(address: SocketAddr) -> Vec<TcpStream> {
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
                ask_for_much(&mut stream);
                stream
            }
        })
        .collect()
}

#[test]
fn slow_clients_do_not_keep_the_next_one_out() {
    let sim = crowd();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let mut slow = a_crowd_of_slow_clients(address);
    for _ in 0..20 {
        assert_eq!(get(address, "/nothing").status, 404);
    }
    // Nobody stood in line behind any of them: the first of them has not come to its limit.
    assert!(!is_closed(&mut slow[0]));
}

#[test]
fn it_stops_long_before_the_limits_of_whoever_is_there() {
    let sim = crowd();
    let (server, address) = serve(sim.reader(), HttpConfig::default());
    let slow = a_crowd_of_slow_clients(address);
    let mut idle = connect(address);
    exchange(&mut idle, b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let start = Instant::now();
    server.stop();
    // The idle one alone had ten seconds left.
    assert!(start.elapsed() < NINE, "{:?}", start.elapsed());
    assert!(TcpStream::connect(address).is_err());
    wait_for("the idle one to be closed", || is_closed(&mut idle).then_some(()));
    drop(slow);
}

#[test]
fn an_answer_under_way_is_finished_when_the_server_stops() {
    let sim = crowd();
    let (server, address) = serve(sim.reader(), HttpConfig::default());
    let whole = get(address, "/api/metrics").body.len();
    let mut stream = connect(address);
    ask_for_much(&mut stream);
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    let stopping = thread::spawn(move || server.stop());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > whole, "{} of {whole} bytes", rest.len());
    stopping.join().unwrap();
}

#[test]
fn without_descriptors_it_waits_a_moment_and_then_goes_on() {
    if !entered(without_descriptors_it_waits_a_moment_and_then_goes_on, &[]) {
        return;
    }
    let sim = few();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    assert_eq!(get(address, "/nothing").status, 404);
    let sockets: Vec<_> =
        (0..12).map(|_| socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()).collect();
    // The server may accept three.
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(open + 3), ..limit }).unwrap();
    let ask = |socket| {
        rustix::net::connect(&socket, &address).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let asked: Vec<_> = sockets.into_iter().map(ask).collect();
    // Each that was answered goes, and makes room for the next.
    for mut stream in asked {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert_eq!(exchange(&mut stream, b"").unwrap().status, 404);
    }
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Levels and texts of what this crate has logged.
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
fn who_opens_it_to_other_machines_without_a_token_is_warned_once() {
    if !entered(who_opens_it_to_other_machines_without_a_token_is_warned_once, &[]) {
        return;
    }
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let sim = few();
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
fn the_longest_history_is_answered_in_little_memory() {
    if !entered(the_longest_history_is_answered_in_little_memory, &[]) {
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
    let before = resident();
    let document = get(address, "/api/plugin?name=dice&points=10000").json();
    let most = most_resident();
    assert_eq!(document["aggregates"]["sample_count"], MOST);
    let history = document["history"].as_array().unwrap();
    assert!((5_000..=10_000).contains(&history.len()), "{} points", history.len());
    // The document, and what this test made of it. All samples would be a hundred times as much.
    assert!(most - before < 32 << 20, "{} MB", (most - before) >> 20);
}

#[test]
fn a_hundred_clients_that_take_nothing_hold_one_answer() {
    if !entered(a_hundred_clients_that_take_nothing_hold_one_answer, &[]) {
        return;
    }
    let sim = crowd();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let answer = get(address, "/api/metrics").body.len() as u64;
    assert!(answer > 3_000_000);
    let before = resident();
    let mut deaf: Vec<_> = (0..100).map(|_| with_small_buffer(address)).collect();
    for stream in &mut deaf {
        ask_for_much(stream);
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
    }
    assert_eq!(get(address, "/nothing").status, 404);
    let after = resident();
    let grown = after.saturating_sub(before);
    assert!(grown < answer * 10, "{} MB for answers of {} MB", grown >> 20, answer >> 20);
}
