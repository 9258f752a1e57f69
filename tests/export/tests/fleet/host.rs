//! A host: ten plugins, a page for those that scrape, and a thread that pushes.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use plugmeter::otlp::{Delivery, Encoder};
use plugmeter::prometheus::{self, Format};
use plugmeter::{Collector, Config, Plugin, PluginState, Reader, RunId};
use plugmeter_test_support::{ChildGuard, shell, sleeper, wait_for_plugin};
use ureq::Agent;

use crate::engines::Engine;

/// The plugins of a host: these, and idle ones.
const ACTIVE: [&str; 3] = [BUSY, "crashing", "stopping"];
pub(crate) const BUSY: &str = "busy";
pub(crate) const PLUGINS: usize = 10;

const POLL_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) collector: Collector,
    pub(crate) page: SocketAddr,
    plugins: Vec<(Plugin, RunId, ChildGuard)>,
    pushing: Option<JoinHandle<()>>,
}

impl Host {
    pub(crate) fn start(name: &'static str, receiver: &Engine) -> Self {
        let collector = Collector::start(Config::default().poll_interval(POLL_INTERVAL)).unwrap();
        let idle = (ACTIVE.len()..PLUGINS).map(|i| format!("idle-{i}"));
        let names = ACTIVE.into_iter().map(str::to_owned).chain(idle);
        let plugins = names.enumerate().map(|(i, name)| {
            let plugin = collector.register(&name).unwrap();
            // Busy at changing rates, for percentiles that differ.
            let process = match name.as_str() {
                BUSY => shell(
                    "while :; do for n in 1 2 3 4 5 6 7 8 9; do i=0; \
                     while [ $i -lt $((n * 2000)) ]; do i=$((i+1)); done; sleep 0.1; done; done",
                ),
                _ => sleeper(),
            };
            let run = plugin.started(process.pid(), "1.0");
            plugin.events().add(17 * (i as u64 + 1));
            (plugin, run, process)
        });
        let plugins = plugins.collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let page = listener.local_addr().unwrap();
        let reader = collector.reader();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // An error is that of a client that has gone.
                let _ = stream.and_then(|stream| respond(&stream, &reader));
            }
        });
        let (reader, url) = (collector.reader(), receiver.url("/opentelemetry/v1/metrics"));
        let pushing = Some(thread::spawn(move || push(name, &reader, &url)));
        Self { name, collector, page, plugins, pushing }
    }

    fn plugin(&mut self, name: &str) -> &mut (Plugin, RunId, ChildGuard) {
        self.plugins.iter_mut().find(|(plugin, ..)| plugin.name() == name).unwrap()
    }

    /// Stops a plugin, and returns when.
    pub(crate) fn stop(&mut self, name: &str) -> SystemTime {
        let (plugin, _, process) = self.plugin(name);
        plugin.set_state(PluginState::Stopping);
        process.kill();
        process.wait();
        // It may have crashed before.
        plugin.stopped();
        SystemTime::now()
    }

    /// Kills the process of a plugin, and waits until that is counted as a crash.
    pub(crate) fn crash(&mut self, name: &str) {
        let (plugin, run, process) = self.plugin(name);
        process.kill();
        plugin.exited(*run, process.wait());
        wait_for_plugin(&self.collector, name, "a crash", |view| view.crash_count() == 1);
    }

    /// Stops the busy plugin, whose totals change.
    pub(crate) fn stop_busy(&mut self) {
        self.stop(BUSY);
        self.collector.sample_now().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.collector.stop();
        if let Some(pushing) = self.pushing.take() {
            let result = pushing.join();
            assert!(result.is_ok() || thread::panicking(), "the thread that pushes has panicked");
        }
    }
}

/// Responds with the page; not at all once the collector has stopped.
fn respond(mut stream: &TcpStream, reader: &Reader) -> io::Result<()> {
    let mut request = BufReader::new(stream);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let snapshot = reader.snapshot();
    if snapshot.is_stopped() {
        return Ok(());
    }
    let format = Format::Prometheus;
    let page = prometheus::render(&snapshot, format);
    let (content_type, length) = (format.content_type(), page.len());
    let head = "HTTP/1.1 200 OK\r\nConnection: close";
    write!(
        stream,
        "{head}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{page}"
    )
}

/// Pushes each tick, until the collector has stopped.
fn push(host: &str, reader: &Reader, url: &str) {
    let instance = format!("{host}-1");
    let mut encoder = Encoder::new([
        ("service.name", "fleet"),
        ("service.instance.id", instance.as_str()),
        ("host", host),
        ("job", "pushed"),
    ]);
    let config = Agent::config_builder().http_status_as_error(false);
    let agent: Agent = config.timeout_global(Some(Duration::from_secs(10))).build().into();
    let mut snapshot = reader.snapshot();
    loop {
        while let Some(request) = encoder.encode(&snapshot) {
            let post = agent.post(url).header("Content-Type", request.content_type());
            let response = post.send(request.body());
            let Ok(response) = response else { break };
            match Delivery::of_response(response.status().as_u16(), &[]) {
                Delivery::Accepted => encoder.acknowledge(request),
                Delivery::RetryLater => break,
                other => panic!("{other:?}: {response:?}"),
            }
        }
        match reader.wait_for_newer(&snapshot, Duration::from_secs(60)) {
            Some(newer) => snapshot = newer,
            None if snapshot.is_stopped() => return,
            None => {}
        }
    }
}
