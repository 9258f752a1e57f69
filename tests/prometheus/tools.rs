//! Expositions, alerts and configuration as other programs read them: `promtool`, the parser of
//! Python's `prometheus_client`, and a Prometheus server.
//!
//! A test whose tool is missing reports that and passes. With `CI` in the environment it fails.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plugmeter::prometheus::{self, Exposition, Format};
use plugmeter::{Collector, Config, PluginState, Reader, Snapshot, Window};
use plugmeter_test_support::names::HOSTILE_NAMES;
use plugmeter_test_support::prometheus_server::{Server, has_tool};
use plugmeter_test_support::{ChildGuard, shell, sleeper, wait_for, wait_for_plugin};
use serde_json::Value;

/// Runs a command with `input` as its standard input and returns its output.
fn run_with_input(command: &mut Command, input: &str) -> Output {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // A tool may close its input before the end.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output().unwrap()
    })
}

#[track_caller]
fn assert_succeeds(output: &Output) {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Snapshots of no plugin, and of plugins with hostile names and versions, some of them running.
fn snapshots() -> [Snapshot; 2] {
    let collector = Collector::start(Config::default()).unwrap();
    let empty = collector.snapshot();
    for (i, name) in HOSTILE_NAMES.into_iter().enumerate() {
        let plugin = collector.register(name).unwrap();
        if i % 2 == 0 {
            plugin.started(std::process::id(), name);
        }
        if i == 2 {
            plugin.crashed();
        }
    }
    [empty, collector.sample_now().unwrap()]
}

#[test]
fn promtool_accepts_metrics() {
    if !has_tool("promtool", &["--version"]) {
        return;
    }
    for snapshot in snapshots() {
        for prefix in ["", "bot_"] {
            let mut page = String::new();
            let exposition = Exposition::new(Format::Prometheus).prefix(prefix).unwrap();
            exposition.write(&snapshot, &mut page).unwrap();
            let output = run_with_input(Command::new("promtool").args(["check", "metrics"]), &page);
            assert_succeeds(&output);
            assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        }
    }
}

#[test]
fn alerts_fire_as_documented() {
    if !has_tool("promtool", &["--version"]) {
        return;
    }
    for (args, file) in [
        (["check", "rules"], "examples/prometheus/alerts.yml"),
        (["check", "config"], "examples/prometheus/prometheus.yml"),
        (["test", "rules"], "tests/prometheus/golden/alerts.yml"),
    ] {
        let mut command = Command::new("promtool");
        assert_succeeds(&command.args(args).arg(in_repository(file)).output().unwrap());
    }
}

/// Prints the parsed page as JSON: types and units of the families, and all samples.
const PARSE: &str = r#"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.buffer.read().decode()))
print(json.dumps({
    "families": {family.name: [family.type, family.unit] for family in families},
    "samples": [[s.name, s.labels, float(s.value)] for f in families for s in f.samples],
}))
"#;

#[test]
fn python_client_parses_openmetrics() {
    if !has_tool("python3", &["-c", "import prometheus_client.openmetrics.parser"]) {
        return;
    }
    for snapshot in snapshots() {
        let page = prometheus::render(&snapshot, Format::OpenMetrics);
        let output = run_with_input(Command::new("python3").args(["-c", PARSE]), &page);
        assert_succeeds(&output);
        let parsed: Value = serde_json::from_slice(&output.stdout).unwrap();

        let families = &parsed["families"];
        assert_eq!(families.as_object().unwrap().len(), 28);
        for (name, kind, unit) in [
            ("plugin_cpu_seconds", "counter", "seconds"),
            ("plugin_cpu_percent", "gauge", "percent"),
            ("plugin_resident_memory_bytes", "gauge", "bytes"),
            ("plugin_state", "stateset", ""),
            ("plugin", "info", ""),
            ("plugmeter_ticks", "counter", ""),
            ("plugmeter_build", "info", ""),
        ] {
            assert_eq!(families[name], serde_json::json!([kind, unit]), "{name}");
        }

        let samples = parsed["samples"].as_array().unwrap();
        let lines = page.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(samples.len(), lines);
        let ups: Vec<_> = samples.iter().filter(|sample| sample[0] == "plugin_up").collect();
        assert_eq!(ups.len(), snapshot.plugins().len());
        for (view, up) in snapshot.plugins().zip(ups) {
            assert_eq!(up[1]["plugin"], view.name());
            assert_eq!(up[2], if view.run().is_some() { 1.0 } else { 0.0 });
        }
        let versions = samples.iter().filter(|sample| sample[0] == "plugin_info");
        for info in versions {
            assert_eq!(info[1]["version"], info[1]["plugin"], "version equals name");
        }
    }
}

/// Serves expositions until the process exits: in the older format at `/old`, in the negotiated
/// format elsewhere. Sends the format of each response.
fn serve(reader: Reader) -> (SocketAddr, Receiver<Format>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (served, formats) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (reader, served) = (reader.clone(), served.clone());
            thread::spawn(move || respond(&stream?, &reader, &served));
        }
    });
    (address, formats)
}

fn respond(mut stream: &TcpStream, reader: &Reader, served: &Sender<Format>) -> io::Result<()> {
    let mut request = BufReader::new(stream);
    let (mut first, mut accept) = (String::new(), String::new());
    request.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        request.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("accept") {
            accept = value.to_owned();
        }
    }
    let old = first.starts_with("GET /old ");
    let format = if old { Format::Prometheus } else { Format::negotiate(&accept) };
    let page = prometheus::render(&reader.snapshot(), format);
    let (content_type, length) = (format.content_type(), page.len());
    let head = "HTTP/1.1 200 OK\r\nConnection: close";
    write!(
        stream,
        "{head}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{page}"
    )?;
    // The receiver is gone when the test is over.
    let _ = served.send(format);
    Ok(())
}

/// Starts a process that uses as much of a core as it gets.
fn busy() -> ChildGuard {
    shell("while :; do :; done")
}

/// Returns the cores that the plugin "busy" has used in the last five seconds: by `rate` of the
/// server, and by the samples of the same time. `None` if there are too few of them.
fn rates(server: &Server, collector: &Collector, job: &str) -> Option<(f64, f64)> {
    let now = SystemTime::now();
    let snapshot = collector.snapshot();
    let series = format!(r#"plugin_cpu_seconds_total{{plugin="busy",job="{job}"}}[5s]"#);
    let rate = server.query(&format!("rate({series})"), now)?;
    let rate: f64 = rate.first()?["value"][1].as_str()?.parse().ok()?;
    let scraped = server.query(&series, now)?;
    let scraped = scraped.first()?["values"].as_array()?;
    let time = |value: &Value| Some(UNIX_EPOCH + Duration::from_secs_f64(value[0].as_f64()?));
    let (first, last) = (time(scraped.first()?)?, time(scraped.last()?)?);
    // The first page shows a tick before it, so only later ticks are in the rate.
    let in_window = |at: SystemTime| first < at && at <= last;
    let history = snapshot.plugin("busy")?.history(Window::All);
    // Each value covers the time since the previous one, and intervals differ.
    let (mut samples, mut busy, mut wall, mut before) = (0, 0.0, 0.0, None);
    for sample in history {
        let Some(percent) = sample.cpu_percent else { continue };
        let since = before.replace(sample.timestamp);
        if let Some(since) = since.filter(|_| in_window(sample.timestamp)) {
            let interval = sample.timestamp.duration_since(since).ok()?.as_secs_f64();
            (samples, busy, wall) =
                (samples + 1, busy + percent / 100.0 * interval, wall + interval);
        }
    }
    (samples > 5 && busy > 0.0).then_some((rate, busy / wall))
}

#[test]
fn prometheus_scrapes_snapshot_values() {
    if !has_tool("prometheus", &["--version"]) {
        return;
    }
    let interval = Duration::from_millis(100);
    let collector = Collector::start(Config::default().poll_interval(interval)).unwrap();
    let processes = [busy(), sleeper(), sleeper()];
    let names = ["busy", "crashing", "leaving"];
    let plugins = names.map(|name| collector.register(name).unwrap());
    for (plugin, process) in plugins.iter().zip(&processes) {
        plugin.started(process.pid(), "1.0");
    }
    let [_busy, mut crashing, _leaving] = processes;
    let [_, _, leaving] = plugins;

    let (target, formats) = serve(collector.reader());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus-server");
    let jobs = [("new", "/metrics"), ("old", "/old")];
    let mut server = Server::scraping(target, &jobs, &folder);

    server.wait_for(r#"up{job=~"new|old"}"#, &[1.0, 1.0]);
    server.wait_for("plugin_up", &[1.0; 6]);
    server.wait_for(r#"plugin_state == 1 and plugin_state{plugin_state="RUNNING"}"#, &[1.0; 6]);

    // Both jobs have scraped more than a window.
    let enough = r#"min(count_over_time(plugin_cpu_seconds_total{plugin="busy"}[1m])) >= bool 32"#;
    server.wait_for(enough, &[1.0]);
    // Rates are extrapolated to the window, so they differ where scrapes were late.
    for job in ["new", "old"] {
        wait_for(&format!("the rate of {job} to equal that of the samples"), || {
            let (rate, expected) = rates(&server, &collector, job)?;
            ((rate - expected).abs() <= expected * 0.1).then_some(())
        });
    }

    // A zombie, whose status is known.
    crashing.kill();
    wait_for_plugin(&collector, "crashing", "crashed", |view| {
        view.state() == PluginState::Crashed && view.crash_count() == 1
    });
    leaving.remove();
    server.wait_for(r#"plugin_up{plugin="crashing"}"#, &[0.0, 0.0]);
    server.wait_for(r#"plugin_state{plugin="crashing",plugin_state="CRASHED"}"#, &[1.0, 1.0]);
    server.wait_for(r#"plugin_crashes_total{plugin="crashing"}"#, &[1.0, 1.0]);
    server.wait_for(r#"plugin_resident_memory_bytes{plugin="crashing"}"#, &[]);
    server.wait_for(r#"{plugin="leaving"}"#, &[]);
    server.wait_for(r#"plugin_up{plugin="busy"}"#, &[1.0, 1.0]);
    server.wait_for(r#"up{job=~"new|old"}"#, &[1.0, 1.0]);

    let formats: BTreeSet<_> = formats.try_iter().map(Format::content_type).collect();
    assert_eq!(formats.len(), 2, "both formats were requested: {formats:?}");
}
