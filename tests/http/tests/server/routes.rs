//! Responses of each route to authorized requests.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use plugmeter::http::HttpConfig;
use plugmeter::prometheus::{self, Format};
use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{
    Collector, Config, Limit, LimitMetric, Limits, PluginState, PluginView, ProbeKind, Severity,
    Snapshot, Window,
};
use plugmeter_http_tests::{
    Response, connect, exchange, get, get_with_headers, percent_encode, send_request, serve,
};
use plugmeter_test_support::names::HOSTILE_NAMES;
use plugmeter_test_support::{manual_collector, wait_for};
use serde_json::{Value, json};

use super::{SECONDS, simulation, usage};

fn with_two_decimals(value: f64) -> f64 {
    format!("{value:.2}").parse().unwrap()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The expected JSON of a plugin, computed from the public API alone.
fn row(snapshot: &Snapshot, view: PluginView<'_>, status: &str) -> Value {
    let mut row = serde_json::to_value(view).unwrap();
    let time = |time| humantime::format_rfc3339_millis(time).to_string();
    row["status"] = status.into();
    row["state_since"] = time(view.state_since()).into();
    row["read_error"] = view.read_error().map(ToString::to_string).into();
    row["last_crash"] = view.last_crash().map(time).into();
    row["unknown_end_count"] = view.unknown_end_count().into();
    row["restart_count"] = view.restart_count().into();
    let aggregates = view.aggregates(Window::All);
    let crashes = aggregates.map_or(view.crash_count(), |aggregates| aggregates.crashes);
    row["crashes_in_window"] = crashes.into();
    let minute = SECONDS(60).max(snapshot.poll_interval() * 2);
    let rate = view.aggregates(minute).map_or(0.0, |aggregates| aggregates.events_per_second);
    row["events_per_second"] = with_two_decimals(rate).into();
    row
}

/// One plugin of each kind: idle, healthy, busy, large, unhealthy, unreadable, crashed, recovered,
/// failed.
fn all_kinds() -> (Simulation, Vec<(&'static str, &'static str)>) {
    let limit = |metric, above| Limit::new(metric, above).lasting(SECONDS(0)).grace(SECONDS(0));
    let limits = Limits::default()
        .rule(limit(LimitMetric::CpuPercent, 50.0))
        .rule(limit(LimitMetric::MemoryMb, 100.0));
    let mut sim = Simulation::new(Config::default().limits(limits)).unwrap();
    let expected = [
        ("idle", "ok"),
        ("well", "ok"),
        ("busy", "warning"),
        ("large", "warning"),
        ("unhealthy", "warning"),
        ("unreadable", "warning"),
        ("crashed", "error"),
        ("recovered", "warning"),
        ("healed", "ok"),
        ("failed", "error"),
    ];
    let plugins = expected.map(|(name, _)| sim.register(name).unwrap());
    let of = |name| &plugins[expected.iter().position(|(known, _)| *known == name).unwrap()];
    of("healed").started(9, "");
    of("healed").crashed();
    sim.advance(SECONDS(3_601));
    for (pid, name) in (1..).zip(["well", "busy", "large", "unhealthy", "crashed", "recovered"]) {
        of(name).started(pid, "1.0");
    }
    of("unreadable").started(20, "");
    of("healed").started(10, "2.0");
    of("recovered").crashed();
    of("recovered").started(7, "1.1");
    of("unhealthy").set_state(PluginState::Unhealthy);
    of("failed").set_state(PluginState::Failed);
    of("well").events().add(7);
    let mut busy = SECONDS(0);
    for tick in 1..=3 {
        busy += SECONDS(3);
        sim.tick(|pid| match pid {
            2 => Usage { cpu_time: busy, memory_bytes: 1 << 20 }.into(),
            3 => Usage { cpu_time: SECONDS(0), memory_bytes: 101 << 20 }.into(),
            5 if tick == 3 => Observed::Exited(3),
            20 => Observed::Denied,
            _ => Observed::Running(Usage { cpu_time: SECONDS(tick), memory_bytes: 1 << 20 }),
        });
        of("well").events().add(5 * tick);
    }
    // An unreported crash counts a second later.
    sim.advance(SECONDS(1));
    (sim, expected.to_vec())
}

#[test]
fn metrics_document_matches_snapshot() {
    let (sim, expected) = all_kinds();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let document = get(address, "/api/metrics").json();
    let snapshot = sim.snapshot();
    assert_eq!(document["schema"], 1);
    for key in ["timestamp", "tick", "revision", "system", "sampler"] {
        assert_eq!(document[key], serde_json::to_value(&snapshot).unwrap()[key], "{key}");
    }
    let started = humantime::format_rfc3339_millis(snapshot.started_at()).to_string();
    assert_eq!(document["started_at"], started);
    assert_eq!(document["poll_interval_seconds"], 5.0);
    assert_eq!(document["history_seconds"], 3600.0);
    assert_eq!(document["stopped"], false);
    assert_eq!(document["age_seconds"], 0.0, "the tick is ahead of the clock");
    assert_eq!(keys(&document).len(), 12);

    let plugins = document["plugins"].as_array().unwrap();
    assert_eq!(plugins.len(), expected.len());
    for (view, plugin) in snapshot.plugins().zip(plugins) {
        let (_, status) = expected.iter().find(|(name, _)| *name == view.name()).unwrap();
        assert_eq!(plugin, &row(&snapshot, view, status), "{}", view.name());
    }
    let of = |name: &str| plugins.iter().find(|plugin| plugin["plugin_name"] == name).unwrap();
    // From the first sample at 7 events to 22, in ten seconds.
    assert_eq!(of("well")["events_per_second"], 1.5);
    assert_eq!(of("busy")["cpu_percent"], 60.0);
    assert_eq!(of("unreadable")["read_error"], "no permission to read the process");
    assert_eq!(of("healed")["crash_count"], 1);
    assert_eq!(of("healed")["crashes_in_window"], 0);
    assert_eq!(of("recovered")["crashes_in_window"], 0, "the crash was before the oldest sample");
    assert_eq!(of("crashed")["crashes_in_window"], 1);
    assert_eq!(of("crashed")["cpu_percent"], Value::Null);
}

#[test]
fn findings_document_has_findings_of_snapshot() {
    let (sim, _) = all_kinds();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let document = get(address, "/api/findings").json();
    let findings = serde_json::to_value(sim.snapshot().findings()).unwrap();
    assert!(findings["items"].as_array().unwrap().len() > 3, "{findings}");
    assert_eq!(document["findings"], findings);
    assert_eq!(document["revision"], sim.snapshot().revision());
    let current = format!("/api/findings?since={}", document["revision"]);
    assert_eq!(get(address, &current).status, 204);
    let plugin = get(address, "/api/plugin?name=failed").json();
    assert_eq!(plugin["findings"][0]["kind"], "down");
}

#[test]
fn status_has_severity_of_exceeded_limit() {
    let limit = |severity| {
        let limit = Limit::new(LimitMetric::CpuPercent, 50.0).grace(SECONDS(0));
        Limits::default().rule(limit.lasting(SECONDS(5)).severity(severity))
    };
    let plugins = [
        ("notice", Severity::Notice),
        ("warning", Severity::Warning),
        ("critical", Severity::Critical),
    ];
    let mut sim = Simulation::new(Config::default()).unwrap();
    for (pid, (name, severity)) in (1..).zip(plugins) {
        let plugin = sim.register(name).unwrap();
        plugin.set_limits(limit(severity)).unwrap();
        plugin.started(pid, "");
    }
    for tick in 1..=3 {
        sim.tick(|_| Usage { cpu_time: SECONDS(3) * tick, memory_bytes: 1 << 20 });
    }
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let document = get(address, "/api/metrics").json();
    let status = |index: usize| document["plugins"][index]["status"].as_str().unwrap().to_owned();
    // In order of their names: critical, notice, warning.
    assert_eq!([status(0), status(1), status(2)], ["error", "ok", "warning"]);
}

#[test]
fn unsampled_plugin_has_crashes_and_no_rate() {
    let mut sim = simulation();
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "");
    plugin.crashed();
    plugin.events().add(100);
    sim.advance(SECONDS(1));
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let document = get(address, "/api/metrics").json();
    let dice = &document["plugins"][0];
    assert_eq!((&dice["crash_count"], &dice["crashes_in_window"]), (&json!(1), &json!(1)));
    assert_eq!(dice["events_per_second"], 0.0);
    assert_eq!(document["tick"], 0);
    let one = get(address, "/api/plugin?name=dice").json();
    assert_eq!((&one["aggregates"], &one["history"]), (&Value::Null, &json!([])));
    assert_eq!(&one["current"], dice);
}

#[test]
fn current_revision_is_204() {
    let mut sim = simulation();
    sim.register("dice").unwrap();
    sim.tick(|_| None);
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let revision = sim.snapshot().revision();
    let same = get(address, &format!("/api/metrics?since={revision}"));
    assert_eq!((same.status, same.body.len()), (204, 0));
    for other in [revision - 1, revision + 1, u64::MAX] {
        let response = get(address, &format!("/api/metrics?since={other}"));
        assert_eq!(response.json()["revision"], revision, "the host may have restarted");
    }
    assert_eq!(get(address, &format!("/api/metrics?since={}0", u64::MAX)).status, 200);
    sim.tick(|_| None);
    assert_eq!(get(address, &format!("/api/metrics?since={revision}")).status, 200);
    for bad in ["x", "", "-1", "1.5", "1&since=1"] {
        let response = get(address, &format!("/api/metrics?since={bad}"));
        assert_eq!(response.status, 400, "{bad}");
        assert!(response.error_message().starts_with("since is "), "{}", response.error_message());
    }
}

#[test]
fn age_is_current_in_cached_document() {
    let collector = manual_collector(ProbeKind::Native);
    collector.register("dice").unwrap();
    collector.sample_now().unwrap();
    let (_server, address) = serve(collector.reader(), HttpConfig::default());
    let age = || get(address, "/api/metrics").json()["age_seconds"].as_f64().unwrap();
    let first = age();
    wait_for("the age to grow", || (age() > first).then_some(()));
    let later = age();
    assert!(
        later
            <= with_two_decimals(collector.snapshot().sampled_at_instant().elapsed().as_secs_f64())
    );
}

#[test]
fn plugin_document_matches_snapshot() {
    let mut sim = simulation();
    let plugin = sim.register("dice").unwrap();
    plugin.started(4711, "1.0");
    for tick in 1..=20 {
        plugin.events().add(tick);
        sim.tick(|_| if tick == 12 { Observed::Exited(3) } else { usage(tick).into() });
        if tick == 14 {
            plugin.started(4712, "1.1");
        }
    }
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    let document = get(address, "/api/plugin?name=dice").json();
    assert_eq!(document, get(address, "/api/plugin/dice").json());
    for (key, expected) in [
        ("schema", json!(1)),
        ("tick", json!(20)),
        ("name", json!("dice")),
        ("version", json!("1.1")),
        ("state", json!("RUNNING")),
        ("pid", json!(4712)),
        ("current", row(&snapshot, view, "warning")),
        ("aggregates", serde_json::to_value(view.aggregates(Window::All)).unwrap()),
        ("runs", serde_json::to_value(view.runs().collect::<Vec<_>>()).unwrap()),
    ] {
        assert_eq!(document[key], expected, "{key}");
    }
    let history = document["history"].as_array().unwrap();
    assert_eq!(history.len(), 20);
    for (sample, point) in view.history(Window::All).zip(history) {
        let expected = serde_json::to_value(sample).unwrap();
        let of_tree = ["tree_cpu_percent", "tree_memory_mb"];
        let keys = ["timestamp", "cpu_percent", "memory_mb", "event_count", "state"];
        for key in keys.into_iter().chain(of_tree) {
            assert_eq!(point[key], expected[key], "{key}");
        }
        assert_eq!(point["cpu_average"], point["cpu_percent"]);
        assert_eq!(point["tree_cpu_average"], point["tree_cpu_percent"]);
        assert_eq!(point["run"], serde_json::to_value(sample.run).unwrap());
        assert_eq!(point["crash_count"], sample.crash_count);
    }
    assert_eq!(history[12]["cpu_percent"], Value::Null, "there was no process");

    let last = get(address, "/api/plugin?name=dice&window=10").json();
    assert_eq!(last["history"].as_array().unwrap().len(), 3);
    assert_eq!(last["history"][0], history[17]);
    assert_eq!(last["aggregates"]["sample_count"], 3);
    let thin = get(address, "/api/plugin/dice?points=6").json();
    let thin = thin["history"].as_array().unwrap();
    // Groups of four: 1-3, 4-7, 8-11, 12-14, 15 (the new run), 16-19, and 20 would be seven.
    let events: Vec<_> = thin.iter().map(|point| point["event_count"].as_u64().unwrap()).collect();
    let sum = |n: u64| n * (n + 1) / 2;
    assert_eq!(events, [3, 7, 11, 15, 19, 20].map(sum));
    assert_eq!(thin[1]["cpu_percent"], 20.0);
    assert_eq!(thin[1]["memory_mb"], 8.0);
    let one = get(address, "/api/plugin/dice?points=1").json();
    assert_eq!(one["history"].as_array().unwrap().len(), 1);
    let zero = get(address, "/api/plugin?window=0&name=dice").json();
    assert_eq!(zero["history"].as_array().unwrap().len(), 1, "the newest sample has age zero");
    let all = get(address, "/api/plugin?window=1e300&name=dice").json();
    assert_eq!(all["history"].as_array().unwrap().len(), 20);
}

#[test]
fn hostile_names_round_trip() {
    let mut sim = simulation();
    for (pid, name) in (1..).zip(HOSTILE_NAMES) {
        sim.register(name).unwrap().started(pid, name);
    }
    sim.tick(|_| usage(1));
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let all = get(address, "/api/metrics").json();
    let plugins = all["plugins"].as_array().unwrap().iter();
    let names: BTreeSet<_> = plugins.map(|row| row["plugin_name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(HOSTILE_NAMES));
    for name in HOSTILE_NAMES {
        for target in [
            format!("/api/plugin?name={}", percent_encode(name)),
            format!("/api/plugin/{}", percent_encode(name)),
        ] {
            let document = get(address, &target).json();
            assert_eq!((&document["name"], &document["version"]), (&json!(name), &json!(name)));
            assert_eq!(document["history"].as_array().unwrap().len(), 1);
        }
    }
    // As a form encodes it.
    assert_eq!(get(address, "/api/plugin?name=50%2541+%2B+1").json()["name"], "50%41 + 1");
}

#[test]
fn invalid_parameters_are_named() {
    let mut sim = simulation();
    sim.register("dice").unwrap();
    sim.tick(|_| None);
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for (query, parameter) in [
        ("", "name"),
        ("name=dice&name=dice", "name"),
        ("name=%ff", "name"),
        ("name=dice&window=-1", "window"),
        ("name=dice&window=nan", "window"),
        ("name=dice&window=inf", "window"),
        ("name=dice&window=", "window"),
        ("name=dice&window=1&window=1", "window"),
        ("name=dice&points=0", "points"),
        ("name=dice&points=10001", "points"),
        ("name=dice&points=1.5", "points"),
        ("name=dice&points=-3", "points"),
        ("name=dice&points=7&points=7", "points"),
    ] {
        let response = get(address, &format!("/api/plugin?{query}"));
        assert_eq!(response.status, 400, "{query}");
        assert!(
            response.error_message().starts_with(parameter),
            "{query}: {}",
            response.error_message()
        );
        if let Some(rest) = query.strip_prefix("name=dice&").filter(|_| parameter != "name") {
            assert_eq!(get(address, &format!("/api/plugin/dice?{rest}")).status, 400, "{rest}");
        }
    }
    assert_eq!(get(address, "/api/plugin/%ff").status, 400);
    for unknown in ["/api/plugin?name=Dice", "/api/plugin/nobody", "/api/plugin?name="] {
        let response = get(address, unknown);
        assert_eq!(response.status, 404, "{unknown}");
        assert!(
            response.error_message().starts_with("no plugin is registered as"),
            "{}",
            response.error_message()
        );
    }
}

#[test]
fn removed_plugin_is_absent_everywhere() {
    let mut sim = simulation();
    let plugin = sim.register("dice").unwrap();
    sim.tick(|_| None);
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    assert_eq!(get(address, "/api/plugin/dice").status, 200);
    plugin.remove();
    sim.advance(SECONDS(1));
    assert_eq!(get(address, "/api/plugin/dice").status, 404);
    for target in ["/api/metrics", "/metrics", "/"] {
        let response = get(address, target);
        // What happened to it is kept.
        let text = response.text().split("<section class=\"timeline\"").next().unwrap();
        assert!(!text.contains("dice"), "{target}");
    }
}

#[test]
fn exposition_follows_accept_header() {
    let (mut sim, _) = all_kinds();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for _ in 0..2 {
        for (accept, format) in [
            (&["Accept: application/openmetrics-text"][..], Format::OpenMetrics),
            (&["Accept: text/plain"], Format::Prometheus),
            (&[], Format::Prometheus),
            (
                &["accept: text/plain;q=0.5", "ACCEPT: application/openmetrics-text;q=0.7"],
                Format::OpenMetrics,
            ),
        ] {
            let response = get_with_headers(address, "/metrics", accept);
            assert_eq!(response.text(), prometheus::render(&sim.snapshot(), format));
            assert_eq!(response.header("content-type").as_deref(), Some(format.content_type()));
            assert_eq!(response.header("vary").as_deref(), Some("Accept, Accept-Encoding"));
        }
        sim.tick(|_| None);
    }
}

#[test]
fn stopped_collector_serves_last_document_only() {
    let collector = Collector::start(Config::default()).unwrap();
    collector.register("dice").unwrap();
    collector.sample_now().unwrap();
    let (_server, address) = serve(collector.reader(), HttpConfig::default());
    let healthy = get(address, "/health");
    assert_eq!((healthy.status, healthy.text()), (200, r#"{"status":"ok"}"#));
    collector.stop();
    let unhealthy = get(address, "/health");
    assert_eq!((unhealthy.status, &unhealthy.json()["status"]), (503, &json!("error")));
    assert_eq!(unhealthy.json()["reason"], "the collector is stopped");
    assert_eq!(get(address, "/metrics").status, 503);
    assert_eq!(get(address, "/metrics").error_message(), "the collector is stopped");
    let document = get(address, "/api/metrics").json();
    assert_eq!(document["stopped"], true);
    assert_eq!(document["plugins"][0]["plugin_name"], "dice");
    assert_eq!(get(address, "/api/plugin/dice").status, 200);
    assert_eq!(get(address, "/").status, 200);
}

#[test]
fn late_tick_is_unhealthy_despite_publications() {
    let interval = Duration::from_millis(10);
    let mut sim = Simulation::new(Config::default().poll_interval(interval)).unwrap();
    let plugin = sim.register("dice").unwrap();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    assert_eq!(get(address, "/health").status, 200);
    let late = wait_for("the tick to be late", || {
        // A change of state is published without a tick.
        plugin.set_state(PluginState::Starting);
        plugin.set_state(PluginState::Stopped);
        sim.advance(Duration::from_nanos(1));
        Some(get(address, "/health")).filter(|response| response.status == 503)
    });
    let json = late.json();
    let reason = json["reason"].as_str().unwrap();
    let age = reason.strip_prefix("the last tick was ").and_then(|rest| rest.split_once(' '));
    let age: f64 = age.unwrap().0.parse().unwrap();
    // Three intervals and a second, rounded to a tenth.
    assert!(age >= 1.0, "{reason}");
}

fn head(address: SocketAddr, target: &str) -> Response {
    send_request(address, &format!("HEAD {target} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

#[test]
fn head_equals_get_without_body() {
    let (sim, _) = all_kinds();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for target in ["/", "/api/metrics", "/api/plugin/well", "/metrics", "/health", "/nothing"] {
        let (with, without) = (get(address, target), head(address, target));
        assert_eq!((without.status, without.body.len()), (with.status, 0), "{target}");
        for name in with.header_names().iter().filter(|name| *name != "date") {
            assert_eq!(without.header(name), with.header(name), "{target}: {name}");
        }
    }
}

#[test]
fn pipelined_responses_keep_order() {
    let (sim, _) = all_kinds();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let mut stream = connect(address);
    for target in ["/health", "/api/metrics", "/metrics", "/nothing", "/health", "/api/plugin/x"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let response = exchange(&mut stream, request.as_bytes()).unwrap();
        let alone = get(address, target);
        assert_eq!((response.status, response.text()), (alone.status, alone.text()), "{target}");
    }
    // Pipelined requests get their responses in order.
    let request = |target| format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let both = request("/health") + &request("/nothing");
    assert_eq!(exchange(&mut stream, both.as_bytes()).unwrap().status, 200);
    assert_eq!(exchange(&mut stream, b"").unwrap().status, 404);
}
