//! The plugins of the example `aggregates`, for a Prometheus server to scrape. Until it is
//! interrupted:
//!
//! ```sh
//! cargo run --release --features prometheus --example scrape
//! curl http://127.0.0.1:9184/metrics
//! prometheus --config.file examples/prometheus/prometheus.yml --storage.tsdb.path /tmp/plugmeter
//! ```
//!
//! One request after the other, whatever its path: enough for a Prometheus on the same machine, not
//! for the open network. A host that has an HTTP server does in a handler what `answer` does.

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

/// Where the configuration in `examples/prometheus` looks.
const ADDRESS: &str = "127.0.0.1:9184";
/// How often the host looks after its children.
const ROUND: Duration = Duration::from_millis(20);
/// Who has not asked, and taken the answer, within this time is hung up on: the next one waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read of a request.
const HEAD_BYTES: u64 = 16 * 1_024;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let address = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // This is a child: play a plugin.
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
        thread::sleep(ROUND);
    }
}

/// One request after the other; one that fails is the client's affair.
fn serve(listener: &TcpListener, reader: &Reader) {
    for stream in listener.incoming() {
        let _ = stream.and_then(|stream| answer(&stream, reader));
    }
}

/// Reads the request's `Accept`, and answers with the page in the format that it asks for.
fn answer(stream: &TcpStream, reader: &Reader) -> io::Result<()> {
    let mut client = Client { stream, deadline: Instant::now() + PATIENCE };
    let headers = BufReader::new((&mut client).take(HEAD_BYTES)).lines().map_while(Result::ok);
    let headers = headers.take_while(|line| !line.is_empty()).take(100);
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

/// A connection that fails once its time is over, however often a little comes or goes meanwhile.
struct Client<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl Client<'_> {
    /// Zero is an error to a socket: the time is over.
    fn left(&self) -> Option<Duration> {
        Some(self.deadline.saturating_duration_since(Instant::now()))
    }
}

impl Read for Client<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left())?;
        self.stream.read(buf)
    }
}

impl Write for Client<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left())?;
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
