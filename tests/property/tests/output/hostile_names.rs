//! Names and versions of arbitrary characters, up to the longest. They are exact in the table, in
//! JSON and in both exposition formats, and do not alter their structure.

use std::time::Duration;

use plugmeter::prometheus::{self, Format};
use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, Window};
use plugmeter_property_tests::{hostile_text, truncated};
use plugmeter_test_support::names::MAX_NAME_BYTES;
use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

/// Names of one character to 128 bytes, and often of exactly 128.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![hostile_text(1..8), hostile_text(60..120)]
}

/// Line separators and bidirectional controls.
fn is_unruly(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

proptest! {
    // Without a file of failures: inputs that failed once are in `HOSTILE_NAMES`.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_names_are_exact_in_every_output(
        names in prop::collection::btree_set(name(), 1..6),
    ) {
        let second = Duration::from_secs(1);
        let config = Config::default().poll_interval(second).history_duration(second * 10);
        let mut sim = Simulation::new(config).unwrap();
        for (name, pid) in names.iter().zip(1..) {
            let plugin = sim.register(name).unwrap();
            prop_assert_eq!(plugin.name(), name);
            plugin.started(pid, name);
        }
        sim.tick(|_| Usage { cpu_time: second / 4, memory_bytes: 1 << 20 });
        let snapshot = sim.snapshot();
        let listed: Vec<&str> = snapshot.plugins().map(|view| view.name()).collect();
        prop_assert_eq!(&listed, &names.iter().map(String::as_str).collect::<Vec<_>>());

        // The table: one line for each plugin between the headings and the totals, all of the same
        // width.
        let table = snapshot.to_string();
        prop_assert!(!table.contains(is_unruly), "{:?}", table);
        let lines: Vec<&str> = table.split('\n').collect();
        prop_assert_eq!(lines.len(), names.len() + 2);
        for line in &lines[..lines.len() - 1] {
            prop_assert_eq!(line.width(), lines[0].width(), "{:?}", table);
        }
        for (line, name) in lines[1..].iter().zip(&names) {
            let shown = name.replace(is_unruly, "\u{fffd}");
            prop_assert!(line.starts_with(&shown), "{:?}", line);
            prop_assert!(line.ends_with("1.00       0        0      1s"), "{:?}", line);
        }

        for name in &names {
            let aggregates = snapshot.plugin(name).unwrap().aggregates(Window::All).unwrap();
            let text = aggregates.to_string();
            prop_assert!(!text.contains(is_unruly), "{:?}", text);
            prop_assert_eq!(text.split('\n').count(), 4);
            let json = serde_json::to_string(&aggregates).unwrap();
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(json["plugin_name"].as_str(), Some(&**name));
        }

        // JSON: names and versions are unchanged.
        let json: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(&snapshot).unwrap()).unwrap();
        for (row, name) in json["plugins"].as_array().unwrap().iter().zip(&names) {
            prop_assert_eq!(row["plugin_name"].as_str(), Some(&**name));
            prop_assert_eq!(row["version"].as_str(), Some(&**name));
        }

        // The exposition: one series of each family for each plugin. `exposition.rs` checks the
        // labels.
        for format in [Format::OpenMetrics, Format::Prometheus] {
            let page = prometheus::render(&snapshot, format);
            let series = |family: &str| page.lines().filter(|line| line.starts_with(family)).count();
            prop_assert_eq!(series("plugin_up{"), names.len());
            prop_assert_eq!(series("plugin_info{"), names.len());
            prop_assert_eq!(page.lines().filter(|line| *line == "# EOF").count(),
                usize::from(format == Format::OpenMetrics));
        }
    }
}

/// The longest names of characters of every UTF-8 length are accepted; one more byte is rejected.
#[test]
fn names_up_to_128_bytes_are_accepted() {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let mut names: Vec<String> = ["x", "ä", "骰"]
        .into_iter()
        .map(|c| truncated(&c.repeat(MAX_NAME_BYTES)).to_owned())
        .collect();
    names.push("\u{10ffff}".repeat(32));
    names.push("骰".repeat(42) + "xx");
    for name in &names {
        assert!(name.len() > MAX_NAME_BYTES - 3);
        sim.register(name).unwrap();
        let longer = format!("{name}{}", "y".repeat(MAX_NAME_BYTES + 1 - name.len()));
        assert_eq!(longer.len(), MAX_NAME_BYTES + 1);
        sim.register(&longer).unwrap_err();
    }
    sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: 0 });
    let snapshot = sim.snapshot();
    assert_eq!(snapshot.plugins().len(), names.len());
    for name in &names {
        assert_eq!(snapshot.plugin(name).unwrap().name(), name);
    }
}
