//! The six example plugins, for a Prometheus server to scrape. Runs until it is interrupted:
//!
//! ```sh
//! cargo run --release --features prometheus --example scrape
//! curl http://127.0.0.1:9184/metrics
//! prometheus --config.file examples/prometheus/prometheus.yml --storage.tsdb.path /tmp/plugmeter
//! ```
//!
//! The server accepts any path, and handles one request at a time: enough for a Prometheus server
//! on the same machine, and unsuitable for a public network. In a host with an HTTP server, a
//! handler does what `respond` does.

use std::env;
use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::prometheus::{self, Format};
use plugmeter::{Collector, Config, Reader};
use plugmeter_demo::{Host, Role, WORKER};

/// The target of the configuration in `examples/prometheus`.
const ADDRESS: &str = "127.0.0.1:9184";
/// The interval between two checks of the children.
const TEND_INTERVAL: Duration = Duration::from_millis(20);
/// The time for one request and its response. After it the connection is closed, because the next
/// client waits.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a request's header.
const MAX_HEADER_BYTES: u64 = 16 * 1_024;
/// The maximum number of lines in it.
const MAX_HEADER_LINES: usize = 100;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let address = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // This process is a child: run the role of a plugin.
        [WORKER, name] => return Ok(Role::named(name).ok_or("no such worker")?.work()?),
        [] => ADDRESS,
        [address] => address,
        _ => return Err("usage: scrape [ADDRESS:PORT]".into()),
    };
    let listener = TcpListener::bind(address)?;
    let collector = Collector::start(Config::default().poll_interval(Duration::from_secs(1)))?;
    let mut host = Host::with_children(&collector)?;
    writeln!(io::stdout(), "http://{}/metrics", listener.local_addr()?)?;
    let reader = collector.reader();
    thread::spawn(move || serve(&listener, &reader));
    loop {
        host.tend()?;
        thread::sleep(TEND_INTERVAL);
    }
}

/// Handles one request after the other. Errors are ignored: the client sees a closed connection.
fn serve(listener: &TcpListener, reader: &Reader) {
    for stream in listener.incoming() {
        let _ = stream.and_then(|stream| respond(&stream, reader));
    }
}

/// Reads the request's `Accept` header, and sends the page in the preferred format.
fn respond(stream: &TcpStream, reader: &Reader) -> io::Result<()> {
    let mut client = Client { stream, deadline: Instant::now() + CONNECTION_TIMEOUT };
    let headers =
        BufReader::new((&mut client).take(MAX_HEADER_BYTES)).lines().map_while(Result::ok);
    let headers = headers.take_while(|line| !line.is_empty()).take(MAX_HEADER_LINES);
    let accept = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("accept").then(|| value.to_owned())
    });
    let format = Format::negotiate(&accept.collect::<Vec<_>>().join(","));
    let (kind, page) = (format.content_type(), prometheus::render(&reader.snapshot(), format));
    let length = page.len();
    write!(client, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n")?;
    write!(client, "Connection: close\r\n\r\n{page}")
}

/// A connection whose reads and writes fail after the deadline, even if data still arrives.
struct Client<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl Client<'_> {
    /// The timeout of the next call. After the deadline it is zero, which a socket rejects.
    fn remaining(&self) -> Option<Duration> {
        Some(self.deadline.saturating_duration_since(Instant::now()))
    }
}

impl Read for Client<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.remaining())?;
        self.stream.read(buf)
    }
}

impl Write for Client<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.remaining())?;
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
