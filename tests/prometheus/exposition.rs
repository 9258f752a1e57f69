//! Expositions of a simulation: compared with golden files, and read back by a strict parser.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fmt, fs};

use plugmeter::prometheus::{self, Exposition, Format};
use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, Limit, LimitMetric, Limits, PluginState, Snapshot};
use plugmeter_test_support::exposition::{Labels, Parsed};

const FORMATS: [Format; 2] = [Format::OpenMetrics, Format::Prometheus];

fn parsed(snapshot: &Snapshot, format: Format) -> Parsed {
    Parsed::of(&prometheus::render(snapshot, format))
}

fn config() -> Config {
    Config::default().poll_interval(Duration::from_secs(5))
}

fn usage(millis: u64, memory_bytes: u64) -> Usage {
    Usage { cpu_time: Duration::from_millis(millis), memory_bytes }
}

/// One plugin of each kind: idle, running, crashed, restarted between two ticks, removed, quoted.
fn all_kinds() -> Simulation {
    let mut sim = Simulation::new(config()).unwrap();
    let running = sim.register("dice").unwrap();
    sim.register("idle").unwrap();
    let crashed = sim.register("crashed").unwrap();
    let restarted = sim.register("restarted").unwrap();
    let removed = sim.register("removed").unwrap();
    let quoted = sim.register(r#"a "quoted\name""#).unwrap();
    // Two of one metric, of which one is exceeded: one series.
    let limit = |metric, above| Limit::new(metric, above).lasting(Duration::ZERO);
    let limits = Limits::default()
        .rule(limit(LimitMetric::MemoryMb, 100.0))
        .rule(limit(LimitMetric::ProcessCount, 2.0))
        .rule(limit(LimitMetric::MemoryMb, 0.5));
    running.set_limits(limits).unwrap();
    let crashes = LimitMetric::Crashes { within: Duration::from_secs(600) };
    crashed.set_limits(Limits::default().rule(Limit::new(crashes, 0.0))).unwrap();
    running.started(1, "1.0");
    running.events().add(17);
    restarted.event_counter("message").unwrap().add(3);
    restarted.event_counter(r#"a "quoted\kind""#).unwrap();
    restarted.events().increment();
    crashed.started(2, "0.9");
    let first = restarted.started(3, "1.0");
    removed.started(4, "");
    quoted.started(5, r#"1.0 "beta\2""#);
    sim.tick(|pid| usage(u64::from(pid) * 617, u64::from(pid) << 20));
    sim.tick(|pid| match pid {
        2 => Observed::Signaled(11),
        5 => Observed::Denied,
        // The only one with descendants.
        1 => Observed::RunningTree {
            main: usage(1_234, 1 << 21),
            tree: usage(5_617, 9 << 20),
            processes: 3,
        },
        pid => usage(u64::from(pid) * 1_234, u64::from(pid) << 21).into(),
    });
    sim.advance(Duration::from_secs(2));
    // The values of the tick belong to the run that has ended; the active run has none yet.
    restarted.exited(first, exit_status(0));
    restarted.started(6, "1.1");
    quoted.set_state(PluginState::Unhealthy);
    removed.remove();
    sim.advance(Duration::from_secs(1));
    sim
}

#[cfg(unix)]
fn exit_status(code: i32) -> std::process::ExitStatus {
    std::os::unix::process::ExitStatusExt::from_raw(code << 8)
}

#[cfg(windows)]
fn exit_status(code: i32) -> std::process::ExitStatus {
    std::os::windows::process::ExitStatusExt::from_raw(code as u32)
}

/// Replaces the parts of a page that differ between runs: Unix times and the crate's version.
fn without_varying_parts(page: &str, start: SystemTime) -> String {
    let start = start.duration_since(UNIX_EPOCH).unwrap();
    let line = |line: &str| {
        if let Some((series, value)) = line.rsplit_once(' ')
            && !line.starts_with('#')
            && (series.contains("_time_seconds") || series.contains("_timestamp_seconds"))
        {
            let (secs, nanos) = value.split_once('.').unwrap_or((value, ""));
            let nanos = format!("{nanos:0<9}").parse().unwrap();
            let since = Duration::new(secs.parse().unwrap(), nanos) - start;
            return format!("{series} START+{since:?}\n");
        }
        format!("{}\n", line.replace(env!("CARGO_PKG_VERSION"), "VERSION"))
    };
    page.lines().map(line).collect()
}

#[track_caller]
fn assert_golden(file: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prometheus/golden").join(file);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, page).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    assert_eq!(page, golden, "{file}; UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn pages_match_golden_files() {
    let snapshot = all_kinds().snapshot();
    for (format, file) in FORMATS.into_iter().zip(["openmetrics.txt", "prometheus.txt"]) {
        let page =
            without_varying_parts(&prometheus::render(&snapshot, format), snapshot.started_at());
        assert_golden(file, &page);
    }
}

#[test]
fn sample_lines_are_equal_in_both_formats() {
    let snapshot = all_kinds().snapshot();
    let [one, other] = FORMATS.map(|format| {
        let page = prometheus::render(&snapshot, format);
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples.map(str::to_owned).collect::<Vec<_>>()
    });
    assert!(one.len() > 70);
    assert_eq!(one, other);
}

#[test]
fn process_series_exist_only_for_active_run() {
    let snapshot = all_kinds().snapshot();
    let page = parsed(&snapshot, Format::OpenMetrics);
    page.assert_sound("plugin_state");
    let of_process =
        ["plugin_cpu_percent", "plugin_resident_memory_bytes", "plugin_start_time_seconds"];
    for (plugin, up, expected) in [
        ("dice", 1.0, [true, true, true]),
        ("idle", 0.0, [false, false, false]),
        ("crashed", 0.0, [false, false, false]),
        // Started after the tick.
        ("restarted", 1.0, [false, false, true]),
        // Its process cannot be read.
        (r#"a "quoted\name""#, 1.0, [false, false, true]),
    ] {
        assert_eq!(page.of_plugin("plugin_up", plugin), Some(up), "{plugin}");
        let there = of_process.map(|name| page.of_plugin(name, plugin).is_some());
        assert_eq!(there, expected, "{plugin}");
    }
    let mentions =
        |(_, labels, _): &&(String, Labels, f64)| labels.values().any(|v| v == "removed");
    assert!(page.samples.iter().find(mentions).is_none(), "removed plugins have no series");
    assert_eq!(page.value("plugmeter_plugins", &[]), Some(5.0));

    let dice = snapshot.plugin("dice").unwrap();
    let sample = dice.current().unwrap();
    assert_eq!(page.of_plugin("plugin_cpu_percent", "dice"), sample.cpu_percent);
    assert_eq!(page.of_plugin("plugin_tree_cpu_percent", "dice"), sample.tree_cpu_percent);
    assert_eq!(page.of_plugin("plugin_tree_cpu_seconds_total", "dice"), Some(5.617));
    assert_eq!(page.of_plugin("plugin_tree_memory_bytes", "dice"), Some((9 << 20) as f64));
    let processes = |plugin| page.of_plugin("plugin_processes", plugin);
    assert_eq!([processes("dice"), processes("idle")], [Some(3.0), Some(0.0)]);
    assert_eq!([processes("crashed"), processes("restarted")], [None, None], "unknown");
    let memory = sample.memory_bytes.map(|bytes| bytes as f64);
    assert_eq!(page.of_plugin("plugin_resident_memory_bytes", "dice"), memory);
    assert_eq!(page.of_plugin("plugin_cpu_seconds_total", "dice"), Some(1.234));
    assert_eq!(page.of_plugin("plugin_events_total", "dice"), Some(17.0));
    assert_eq!(page.of_plugin("plugin_events_total", "restarted"), Some(4.0));
    for (kind, count) in [("message", 3.0), (r#"a "quoted\kind""#, 0.0)] {
        let labels = [("plugin", "restarted"), ("kind", kind)];
        assert_eq!(page.value("plugin_events_total", &labels), Some(count), "{kind}");
    }
    assert_eq!(page.of_plugin("plugin_crashes_total", "crashed"), Some(1.0));
    assert_eq!(page.of_plugin("plugin_restarts_total", "restarted"), Some(1.0));
    let crashed = [("plugin", "crashed"), ("plugin_state", "CRASHED")];
    assert_eq!(page.value("plugin_state", &crashed), Some(1.0));
    assert!(page.of_plugin("plugin_last_crash_timestamp_seconds", "crashed").is_some());
    assert!(page.of_plugin("plugin_last_crash_timestamp_seconds", "dice").is_none());
}

#[test]
fn trees_that_are_off_have_no_series() {
    let mut sim = Simulation::new(config().process_trees(false)).unwrap();
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_| usage(1_000, 1 << 20));
    let page = parsed(&sim.snapshot(), Format::OpenMetrics);
    for name in [
        "plugin_processes",
        "plugin_tree_cpu_seconds_total",
        "plugin_tree_cpu_percent",
        "plugin_tree_memory_bytes",
    ] {
        assert_eq!(page.of_plugin(name, "dice"), None, "{name}");
    }
    assert!(page.of_plugin("plugin_resident_memory_bytes", "dice").is_some());
}

#[test]
fn counters_start_at_zero_before_first_tick() {
    let mut sim = Simulation::new(config()).unwrap();
    sim.register("dice").unwrap();
    sim.advance(Duration::from_secs(1));
    for format in FORMATS {
        let page = parsed(&sim.snapshot(), format);
        for name in ["events_total", "crashes_total", "restarts_total", "cpu_seconds_total", "up"] {
            assert_eq!(page.of_plugin(&format!("plugin_{name}"), "dice"), Some(0.0), "{name}");
        }
        assert_eq!(page.value("plugmeter_ticks_total", &[]), Some(0.0));
        assert_eq!(page.value("plugmeter_poll_interval_seconds", &[]), Some(5.0));
        for name in ["timestamp", "duration"] {
            let name = format!("plugmeter_last_tick_{name}_seconds");
            assert_eq!(page.value(&name, &[]), None, "{name}");
            assert!(page.comments.iter().any(|line| line.contains(&name)), "{name} has metadata");
        }
    }
    sim.tick(|_| Observed::Gone);
    let page = parsed(&sim.snapshot(), Format::OpenMetrics);
    assert_eq!(page.value("plugmeter_ticks_total", &[]), Some(1.0));
    assert!(page.value("plugmeter_last_tick_duration_seconds", &[]).is_some());
}

/// An increment that is larger than the column of a sample.
#[test]
fn large_increment_is_in_next_exposition() {
    const MANY: u64 = 10_000_000_000;
    let mut sim = Simulation::new(config()).unwrap();
    let plugin = sim.register("dice").unwrap();
    plugin.events().add(MANY);
    for _ in 0..3 {
        sim.tick(|_| Observed::Gone);
        for format in FORMATS {
            let text = prometheus::render(&sim.snapshot(), format);
            let line = format!("plugin_events_total{{plugin=\"dice\"}} {MANY}");
            assert!(text.lines().any(|found| found == line), "{text}");
        }
    }
}

#[test]
fn version_series_outlives_process() {
    let mut sim = Simulation::new(config()).unwrap();
    let plugin = sim.register("dice").unwrap();
    let versions = |sim: &Simulation| -> Vec<String> {
        let page = parsed(&sim.snapshot(), Format::Prometheus);
        let infos = page.samples.iter().filter(|sample| sample.0 == "plugin_info");
        infos.map(|(_, labels, _)| labels["version"].clone()).collect()
    };
    plugin.started(1, "");
    sim.tick(|_| usage(0, 1 << 20));
    assert!(versions(&sim).is_empty(), "an empty version has no series");
    plugin.started(2, "1.0");
    sim.tick(|_| usage(0, 1 << 20));
    plugin.started(3, "1.1");
    sim.tick(|_| usage(0, 1 << 20));
    assert_eq!(versions(&sim), ["1.1"]);
    plugin.stopped();
    for _ in 0..2_000 {
        sim.tick(|_| usage(0, 1 << 20));
    }
    assert_eq!(versions(&sim), ["1.1"]);
}

#[test]
fn page_without_plugins_is_valid() {
    let idle = Simulation::new(config()).unwrap();
    let disabled = Simulation::new(config().enabled(false)).unwrap();
    for (sim, format) in [&idle, &disabled].into_iter().zip(FORMATS) {
        let page = parsed(&sim.snapshot(), format);
        page.assert_sound("plugin_state");
        assert_eq!(page.value("plugmeter_plugins", &[]), Some(0.0));
    }
}

#[test]
fn prefix_precedes_every_name() {
    let snapshot = all_kinds().snapshot();
    for format in FORMATS {
        let mut page = String::new();
        let exposition = Exposition::new(format).prefix("bot_").unwrap();
        exposition.write(&snapshot, &mut page).unwrap();
        Parsed::of(&page).assert_sound("bot_plugin_state");
        let plain = prometheus::render(&snapshot, format);
        let prefixed: String = plain
            .split_inclusive('\n')
            .map(|line| match line.split_once(' ') {
                Some(("#", "EOF\n")) => line.to_owned(),
                Some(("#", rest)) => {
                    let (what, rest) = rest.split_once(' ').unwrap();
                    format!("# {what} bot_{rest}")
                }
                _ => format!("bot_{}", line.replace(",plugin_state=", ",bot_plugin_state=")),
            })
            .collect();
        assert_eq!(page, prefixed);
    }
}

#[test]
fn invalid_prefix_is_rejected() {
    let prefixed = |prefix| Exposition::new(Format::OpenMetrics).prefix(prefix);
    for good in ["", "a", "bot_", "Bot2_", "x__"] {
        assert!(prefixed(good).is_ok(), "{good:?}");
    }
    for bad in ["_", "__a", "1a", ":", "a:b", "my-bot_", "a b", "ä", "a\n", "{", "a.b"] {
        let error = prefixed(bad).unwrap_err();
        assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
    }
}

#[test]
fn without_eof_omits_only_the_end() {
    let snapshot = all_kinds().snapshot();
    for (format, end) in FORMATS.into_iter().zip(["# EOF\n", ""]) {
        let mut open = String::from("before\n");
        Exposition::new(format).without_eof().write(&snapshot, &mut open).unwrap();
        let whole = prometheus::render(&snapshot, format);
        assert_eq!(open.strip_prefix("before\n"), whole.strip_suffix(end));
        assert_eq!(whole.matches("# EOF").count(), usize::from(!end.is_empty()));
    }
}

#[test]
fn writer_errors_are_returned() {
    struct Full(usize);
    impl fmt::Write for Full {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let snapshot = all_kinds().snapshot();
    let whole = prometheus::render(&snapshot, Format::OpenMetrics).len();
    let write =
        |capacity| Exposition::new(Format::OpenMetrics).write(&snapshot, &mut Full(capacity));
    assert!(write(whole).is_ok());
    for capacity in (0..whole).step_by(97) {
        assert!(write(capacity).is_err(), "{capacity} of {whole} bytes");
    }
}
