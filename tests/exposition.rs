//! The pages for Prometheus, by simulation: against golden files, and read back by a parser that
//! takes nothing but what the grammar allows.
#![cfg(all(feature = "testing", feature = "prometheus"))]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fmt, fs};

use plugmeter::prometheus::{self, Exposition, Format};
use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, PluginState, Snapshot};
use proptest::prelude::*;

const FORMATS: [Format; 2] = [Format::OpenMetrics, Format::Prometheus];
const STATES: [&str; 7] =
    ["STOPPED", "STARTING", "RUNNING", "UNHEALTHY", "STOPPING", "CRASHED", "FAILED"];

fn config() -> Config {
    Config::default().poll_interval(Duration::from_secs(5))
}

fn usage(millis: u64, memory_bytes: u64) -> Usage {
    Usage { cpu_time: Duration::from_millis(millis), memory_bytes }
}

/// One plugin of each kind: idle, running, crashed, restarted between two ticks, removed.
fn fleet() -> Simulation {
    let mut sim = Simulation::new(config()).unwrap();
    let running = sim.register("dice").unwrap();
    sim.register("idle").unwrap();
    let crashed = sim.register("crashed").unwrap();
    let restarted = sim.register("restarted").unwrap();
    let removed = sim.register("removed").unwrap();
    let quoted = sim.register(r#"a "quoted\name""#).unwrap();
    running.started(1, "1.0");
    running.events().add(17);
    crashed.started(2, "0.9");
    let first = restarted.started(3, "1.0");
    removed.started(4, "");
    quoted.started(5, r#"1.0 "beta\2""#);
    sim.tick(|pid| usage(u64::from(pid) * 617, u64::from(pid) << 20));
    sim.tick(|pid| match pid {
        2 => Observed::Signaled(11),
        5 => Observed::Denied,
        pid => usage(u64::from(pid) * 1_234, u64::from(pid) << 21).into(),
    });
    sim.advance(Duration::from_secs(2));
    // What the tick has read is of a run that is over; of the open one there is nothing yet.
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

// -- a page, read back -----------------------------------------------------------------------

type Labels = BTreeMap<String, String>;

#[derive(Debug, Default)]
struct Parsed {
    /// In the order of the page.
    samples: Vec<(String, Labels, f64)>,
    /// Comments, as they are.
    comments: Vec<String>,
}

impl Parsed {
    #[track_caller]
    fn of(page: &str) -> Self {
        assert!(page.ends_with('\n'));
        let mut parsed = Self::default();
        for line in page.split_terminator('\n') {
            if line.starts_with('#') {
                parsed.comments.push(line.to_owned());
            } else {
                parsed.samples.push(sample(line).unwrap_or_else(|| panic!("no sample: {line:?}")));
            }
        }
        parsed
    }

    fn rendered(snapshot: &Snapshot, format: Format) -> Self {
        Self::of(&prometheus::render(snapshot, format))
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Labels =
            labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let found = self.samples.iter().find(|sample| sample.0 == name && sample.1 == labels);
        found.map(|sample| sample.2)
    }

    fn of_plugin(&self, name: &str, plugin: &str) -> Option<f64> {
        self.value(name, &[("plugin", plugin)])
    }

    /// What the parsers of others accept although it is wrong.
    #[track_caller]
    fn assert_sound(&self, stateset: &str) {
        let mut seen = HashSet::new();
        for (name, labels, _) in &self.samples {
            assert!(seen.insert((name, labels)), "{name} {labels:?} is there twice");
        }
        let mut states: HashMap<&str, Vec<(&str, f64)>> = HashMap::new();
        for (name, labels, value) in &self.samples {
            if name == stateset {
                let of_plugin = states.entry(&labels["plugin"]).or_default();
                of_plugin.push((&labels[stateset], *value));
            }
        }
        for (plugin, states) in states {
            assert_eq!(states.iter().map(|state| state.0).collect::<Vec<_>>(), STATES, "{plugin}");
            assert!(states.iter().all(|state| [0.0, 1.0].contains(&state.1)), "{plugin}");
            assert_eq!(states.iter().filter(|state| state.1 == 1.0).count(), 1, "{plugin}");
        }
        // The series of a family stand together.
        let mut names: Vec<_> = self.samples.iter().map(|sample| &sample.0).collect();
        names.dedup();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `name{label="value",...} number`; `None` where it is anything else.
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            let new = labels.insert(key.to_owned(), value).is_none();
            if !new || !is_name(key) {
                return None;
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => break rest = after.strip_prefix('}')?,
            }
        }
    }
    let number = rest.strip_prefix(' ')?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte));
    (is_name(name) && plain).then_some((name.to_owned(), labels, number.parse().ok()?))
}

/// The value of a label up to its quote, and what is after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.chars());
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
}

// -- golden files ----------------------------------------------------------------------------

/// A page without what is another every time: Unix times, and the crate's version.
fn steady(page: &str, start: SystemTime) -> String {
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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, page).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    assert_eq!(page, golden, "{file}; UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn pages_are_those_of_the_golden_files() {
    let snapshot = fleet().snapshot();
    for (format, file) in FORMATS.into_iter().zip(["openmetrics.txt", "prometheus.txt"]) {
        let page = steady(&prometheus::render(&snapshot, format), snapshot.started_at());
        assert_golden(file, &page);
    }
}

#[test]
fn the_lines_of_samples_are_the_same_in_both_formats() {
    let snapshot = fleet().snapshot();
    let [one, other] = FORMATS.map(|format| {
        let page = prometheus::render(&snapshot, format);
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples.map(str::to_owned).collect::<Vec<_>>()
    });
    assert!(one.len() > 70);
    assert_eq!(one, other);
}

// -- what is there, and what is not ------------------------------------------------------------

#[test]
fn what_describes_a_process_is_of_the_open_run_or_is_not_there() {
    let snapshot = fleet().snapshot();
    let page = Parsed::rendered(&snapshot, Format::OpenMetrics);
    page.assert_sound("plugin_state");
    let of_process =
        ["plugin_cpu_percent", "plugin_resident_memory_bytes", "plugin_start_time_seconds"];
    for (plugin, up, expected) in [
        ("dice", 1.0, [true, true, true]),
        ("idle", 0.0, [false, false, false]),
        ("crashed", 0.0, [false, false, false]),
        // Started after the tick.
        ("restarted", 1.0, [false, false, true]),
        // It may not be read.
        (r#"a "quoted\name""#, 1.0, [false, false, true]),
    ] {
        assert_eq!(page.of_plugin("plugin_up", plugin), Some(up), "{plugin}");
        let there = of_process.map(|name| page.of_plugin(name, plugin).is_some());
        assert_eq!(there, expected, "{plugin}");
    }
    let mentions =
        |(_, labels, _): &&(String, Labels, f64)| labels.values().any(|v| v == "removed");
    assert!(page.samples.iter().find(mentions).is_none(), "what was removed is gone");
    assert_eq!(page.value("plugmeter_plugins", &[]), Some(5.0));

    let dice = snapshot.plugin("dice").unwrap();
    let sample = dice.current().unwrap();
    assert_eq!(page.of_plugin("plugin_cpu_percent", "dice"), sample.cpu_percent);
    let memory = sample.memory_bytes.map(|bytes| bytes as f64);
    assert_eq!(page.of_plugin("plugin_resident_memory_bytes", "dice"), memory);
    assert_eq!(page.of_plugin("plugin_cpu_seconds_total", "dice"), Some(1.234));
    assert_eq!(page.of_plugin("plugin_events_total", "dice"), Some(17.0));
    assert_eq!(page.of_plugin("plugin_crashes_total", "crashed"), Some(1.0));
    assert_eq!(page.of_plugin("plugin_restarts_total", "restarted"), Some(1.0));
    let crashed = [("plugin", "crashed"), ("plugin_state", "CRASHED")];
    assert_eq!(page.value("plugin_state", &crashed), Some(1.0));
    assert!(page.of_plugin("plugin_last_crash_timestamp_seconds", "crashed").is_some());
    assert!(page.of_plugin("plugin_last_crash_timestamp_seconds", "dice").is_none());
}

#[test]
fn counters_are_there_at_zero_from_registration_and_ticks_are_not_told_before_the_first() {
    let mut sim = Simulation::new(config()).unwrap();
    sim.register("dice").unwrap();
    sim.advance(Duration::from_secs(1));
    for format in FORMATS {
        let page = Parsed::rendered(&sim.snapshot(), format);
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
    let page = Parsed::rendered(&sim.snapshot(), Format::OpenMetrics);
    assert_eq!(page.value("plugmeter_ticks_total", &[]), Some(1.0));
    assert!(page.value("plugmeter_last_tick_duration_seconds", &[]).is_some());
}

#[test]
fn the_version_is_one_series_that_outlives_the_process() {
    let mut sim = Simulation::new(config()).unwrap();
    let plugin = sim.register("dice").unwrap();
    let versions = |sim: &Simulation| -> Vec<String> {
        let page = Parsed::rendered(&sim.snapshot(), Format::Prometheus);
        let infos = page.samples.iter().filter(|sample| sample.0 == "plugin_info");
        infos.map(|(_, labels, _)| labels["version"].clone()).collect()
    };
    plugin.started(1, "");
    sim.tick(|_| usage(0, 1 << 20));
    assert!(versions(&sim).is_empty(), "an empty version is none");
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
fn a_page_of_no_plugin_and_of_no_sampler_is_a_page() {
    let idle = Simulation::new(config()).unwrap();
    let disabled = Simulation::new(config().enabled(false)).unwrap();
    for (sim, format) in [&idle, &disabled].into_iter().zip(FORMATS) {
        let page = Parsed::rendered(&sim.snapshot(), format);
        page.assert_sound("plugin_state");
        assert_eq!(page.value("plugmeter_plugins", &[]), Some(0.0));
    }
}

// -- pages that are part of another --------------------------------------------------------------

#[test]
fn a_prefix_is_before_every_name_and_before_the_label_that_bears_one() {
    let snapshot = fleet().snapshot();
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
fn a_prefix_that_no_name_may_begin_with_is_refused() {
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
fn without_an_end_a_page_lacks_nothing_but_that() {
    let snapshot = fleet().snapshot();
    for (format, end) in FORMATS.into_iter().zip(["# EOF\n", ""]) {
        let mut open = String::from("before\n");
        Exposition::new(format).without_eof().write(&snapshot, &mut open).unwrap();
        let whole = prometheus::render(&snapshot, format);
        assert_eq!(open.strip_prefix("before\n"), whole.strip_suffix(end));
        assert_eq!(whole.matches("# EOF").count(), usize::from(!end.is_empty()));
    }
}

#[test]
fn the_errors_of_the_writer_are_returned() {
    struct Full(usize);
    impl fmt::Write for Full {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let snapshot = fleet().snapshot();
    let whole = prometheus::render(&snapshot, Format::OpenMetrics).len();
    let write = |room| Exposition::new(Format::OpenMetrics).write(&snapshot, &mut Full(room));
    assert!(write(whole).is_ok());
    for room in (0..whole).step_by(97) {
        assert!(write(room).is_err(), "{room} of {whole} bytes");
    }
}

// -- hostile text ------------------------------------------------------------------------------

/// Any text that may be a name or a version; the characters of the grammar are frequent.
fn hostile(least: usize) -> impl Strategy<Value = String> {
    let of_the_grammar = prop::sample::select(
        [
            "\\", "\"", "{", "}", ",", "=", "#", " ", "n", "\\n", "\u{2028}", "\u{a0}", "# EOF",
            "\"} 1",
        ]
        .to_vec(),
    )
    .prop_map(str::to_owned);
    let any = any::<char>().prop_filter("is no control character", |c| !c.is_control());
    let piece = prop_oneof![of_the_grammar, any.prop_map(String::from)];
    prop::collection::vec(piece, least..=20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn hostile_names_and_versions_come_back_as_they_were(
        plugins in prop::collection::btree_map(hostile(1), hostile(0), 0..6),
    ) {
        let mut sim = Simulation::new(config()).unwrap();
        for ((name, version), pid) in plugins.iter().zip(1..) {
            sim.register(name).unwrap().started(pid, version);
        }
        sim.tick(|_| usage(1_234, 1 << 20));
        let known = plugins.iter().filter(|(_, version)| !version.is_empty());
        let known: Vec<_> = known.map(|(name, version)| (name.clone(), version.clone())).collect();
        for format in FORMATS {
            let page = Parsed::rendered(&sim.snapshot(), format);
            page.assert_sound("plugin_state");
            let of = |family: &str| -> Vec<Labels> {
                let samples = page.samples.iter().filter(|sample| sample.0 == family);
                samples.map(|sample| sample.1.clone()).collect()
            };
            let up: Vec<_> = of("plugin_up").into_iter().map(|l| l["plugin"].clone()).collect();
            prop_assert_eq!(up, plugins.keys().cloned().collect::<Vec<_>>());
            let infos = of("plugin_info").into_iter();
            let infos: Vec<_> =
                infos.map(|l| (l["plugin"].clone(), l["version"].clone())).collect();
            prop_assert_eq!(&infos, &known);
        }
    }

    #[test]
    fn no_header_makes_negotiation_panic(accept in hostile(0)) {
        let _ = Format::negotiate(&accept);
        let _ = Format::negotiate(&format!("application/openmetrics-text;{accept}"));
    }
}
