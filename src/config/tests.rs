use super::*;
use crate::error::LimitError;
use crate::snapshot::limit::LimitMetric;
use crate::snapshot::severity::Severity;

const DAY: Duration = Duration::from_secs(86_400);

fn config(poll_interval: Duration, history_duration: Duration) -> Config {
    Config::default().poll_interval(poll_interval).history_duration(history_duration)
}

#[test]
fn the_default_is_an_hour_at_five_seconds() {
    let settings = Config::default().validate().unwrap();
    assert!(settings.enabled);
    assert_eq!(settings.samples.get(), 720);
}

#[test]
fn a_poll_interval_is_ten_milliseconds_to_a_day_and_the_error_names_value_and_bounds() {
    for good in [MIN_POLL_INTERVAL, MAX_POLL_INTERVAL] {
        assert!(config(good, good).validate().is_ok());
    }
    let ns = Duration::from_nanos(1);
    for bad in [Duration::ZERO, MIN_POLL_INTERVAL - ns, MAX_POLL_INTERVAL + ns, Duration::MAX] {
        let error = config(bad, Duration::MAX).validate().unwrap_err();
        let expected = ConfigError::PollInterval {
            value: bad,
            min: MIN_POLL_INTERVAL,
            max: MAX_POLL_INTERVAL,
        };
        assert_eq!(error, expected);
        assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
    }
}

#[test]
fn a_history_holds_one_sample_at_least() {
    let second = Duration::from_secs(1);
    for (length, samples) in [(second, 1), (second * 2 - Duration::from_nanos(1), 1)] {
        assert_eq!(config(second, length).validate().unwrap().samples.get(), samples);
    }
    for value in [Duration::ZERO, Duration::from_millis(999)] {
        assert_eq!(
            config(second, value).validate().unwrap_err(),
            ConfigError::HistoryTooShort { value, poll_interval: second }
        );
    }
}

#[test]
fn a_history_holds_a_mebi_of_samples_at_most() {
    let most = 1_048_576u32;
    assert_eq!(config(DAY, DAY * most).validate().unwrap().samples.get(), most as usize);
    for (length, samples) in
        [(MIN_POLL_INTERVAL * (most + 1), u64::from(most) + 1), (Duration::MAX, u64::MAX)]
    {
        assert_eq!(
            config(MIN_POLL_INTERVAL, length).validate().unwrap_err(),
            ConfigError::HistoryTooLong { samples, max: u64::from(most) }
        );
    }
}

#[test]
fn a_config_is_checked_also_if_it_is_disabled() {
    assert!(config(Duration::ZERO, DAY).enabled(false).validate().is_err());
}

#[test]
fn json_goes_both_ways() {
    let json = serde_json::to_string(&Config::default()).unwrap();
    assert_eq!(
        json,
        r#"{"enabled":true,"poll_interval":5,"history_duration":3600,"probe":"native","process_trees":true,"limits":[],"clean_exit_codes":[]}"#
    );
    for config in [
        Config::default(),
        config(Duration::from_millis(250), Duration::from_micros(10_000_001)),
        Config::default().enabled(false).probe(ProbeKind::Portable).clean_exit_codes(&[3, -1]),
        Config::default().process_trees(false),
        Config::default().limits(all_limits()),
        Config::default().probe(ProbeKind::Portable).process_trees(true),
    ] {
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config, "{json}");
    }
}

#[test]
fn process_trees_are_on_by_default_with_native_probe_only() {
    let json = |config: &Config| serde_json::to_value(config).unwrap()["process_trees"].clone();
    for (probe, on) in [(ProbeKind::Native, true), (ProbeKind::Portable, false)] {
        // The probe may be set before or after.
        let config = Config::default().probe(probe);
        assert_eq!(json(&config), on);
        assert_eq!(json(&config.clone().process_trees(!on)), !on);
        assert_eq!(json(&Config::default().process_trees(!on).probe(probe)), !on);
        assert_ne!(config.clone().process_trees(!on), config);
        let settings = Config { probe: ProbeKind::Native, ..config.process_trees(on) };
        assert_eq!(settings.validate().unwrap().process_trees, on);
    }
    let read = |json| serde_json::from_str::<Config>(json).unwrap();
    assert!(!read(r#"{"process_trees": false}"#).validate().unwrap().process_trees);
    assert_eq!(json(&read(r#"{"probe": "portable", "process_trees": true}"#)), true);
}

#[test]
fn json_takes_defaults_for_what_is_missing_and_refuses_what_it_does_not_know() {
    let read = serde_json::from_str::<Config>;
    assert_eq!(read("{}").unwrap(), Config::default());
    let half = read(r#"{"poll_interval": 0.5}"#).unwrap();
    assert_eq!(half, Config::default().poll_interval(Duration::from_millis(500)));
    for (bad, said) in [
        (r#"{"poll_intervall": 5}"#, "unknown field"),
        (r#"{"poll_interval": -5}"#, "non-negative"),
        (r#"{"poll_interval": -0.5}"#, "non-negative"),
        (r#"{"poll_interval": 1e300}"#, "non-negative"),
        (r#"{"poll_interval": "5s"}"#, "number of seconds"),
        (r#"{"poll_interval": null}"#, "number of seconds"),
        (r#"{"probe": "magic"}"#, "unknown variant"),
        (r#"{"enabled": 1}"#, "boolean"),
        (r#"{"process_trees": "yes"}"#, "boolean"),
        (r#"{"process_trees": null}"#, "boolean"),
    ] {
        let error = read(bad).unwrap_err().to_string();
        assert!(error.contains(said), "{bad}: {error}");
    }
}

/// A limit of each metric, with the values of `json` where they are not the default.
fn all_limits() -> Limits {
    let seconds = Duration::from_secs;
    let cpu = Limit::new(LimitMetric::CpuPercent, 80.0).lasting(seconds(300)).clear_below(70.0);
    Limits::default()
        .rule(cpu.clear_after(seconds(60)).grace(seconds(30)).severity(Severity::Critical))
        .rule(Limit::new(LimitMetric::MemoryMb, 512.0))
        .rule(Limit::new(LimitMetric::ProcessCount, 20.0))
        .rule(Limit::new(LimitMetric::EventsPerSecond, 0.5))
        .rule(Limit::new(LimitMetric::SilentSeconds, 900.0))
        .rule(Limit::new(LimitMetric::Crashes { within: seconds(600) }, 3.0))
}

#[test]
fn limits_are_read_with_their_defaults() {
    let json = r#"{"limits": [
        {"metric": "cpu_percent", "above": 80, "for": 300, "clear_below": 70, "clear_after": 60,
            "grace": 30, "severity": "critical"},
        {"metric": "memory_mb", "above": 512}, {"metric": "process_count", "above": 20},
        {"metric": "events_per_second", "above": 0.5}, {"metric": "silent_seconds", "above": 900},
        {"metric": "crashes", "within": 600, "above": 3}]}"#;
    let config: Config = serde_json::from_str(json).unwrap();
    assert_eq!(config, Config::default().limits(all_limits()));
    let memory = Limit::new(LimitMetric::MemoryMb, 512.0);
    let values = (memory.lasting, memory.clear_after, memory.grace, memory.severity);
    let quarter = Duration::from_secs(15);
    assert_eq!(values, (quarter, quarter, Duration::ZERO, Severity::Warning));
    let cpu = Limit::new(LimitMetric::CpuPercent, 100.0);
    let minute = Duration::from_secs(60);
    let values = (cpu.lasting, cpu.clear_after, cpu.grace, cpu.clear_below);
    assert_eq!(values, (minute, minute, minute, 90.0));
    for (bad, reason) in [
        (r#"{"metric": "crashes", "above": 3}"#, "missing field `within`"),
        (r#"{"metric": "cpu_percent", "above": 3, "within": 5}"#, "only a limit of crashes"),
        (r#"{"metric": "cpu_percent"}"#, "missing field `above`"),
        (r#"{"metric": "disk", "above": 3}"#, "unknown variant"),
        (r#"{"metric": "cpu_percent", "above": 3, "lasting": 5}"#, "unknown field"),
        (r#"{"metric": "cpu_percent", "above": 3, "for": -5}"#, "non-negative"),
        (r#"{"metric": "cpu_percent", "above": 3, "severity": "fatal"}"#, "unknown variant"),
    ] {
        let error = serde_json::from_str::<Limit>(bad).unwrap_err().to_string();
        assert!(error.contains(reason), "{bad}: {error}");
    }
}

#[test]
fn invalid_limits_are_rejected_with_value_and_bound() {
    let error = |limit| {
        let config = Config::default().limits(Limits::default().rule(limit));
        config.validate().unwrap_err()
    };
    let cpu = |above| Limit::new(LimitMetric::CpuPercent, above);
    for value in [-0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let expected =
            LimitError::Threshold { metric: LimitMetric::CpuPercent, value, max: f64::MAX };
        assert_eq!(error(cpu(value)), ConfigError::Limit(expected), "{value}");
    }
    for value in [80.1, -0.1, f64::NAN] {
        let expected = LimitError::ClearBelow { metric: LimitMetric::CpuPercent, value, max: 80.0 };
        assert_eq!(error(cpu(80.0).clear_below(value)), ConfigError::Limit(expected));
    }
    let week = 7 * DAY;
    for value in [Duration::ZERO, week + Duration::from_nanos(1)] {
        let crashes = Limit::new(LimitMetric::Crashes { within: value }, 3.0);
        let expected = LimitError::Within { value, max: week };
        assert_eq!(error(crashes), ConfigError::Limit(expected));
    }
    let crashes = Limit::new(LimitMetric::Crashes { within: week }, 4_096.0);
    let expected = LimitError::Threshold { metric: crashes.metric, value: 4_096.0, max: 4_095.0 };
    assert_eq!(error(crashes), ConfigError::Limit(expected));
    let many = |count| (0..count).fold(Limits::default(), |limits, _| limits.rule(cpu(80.0)));
    assert!(Config::default().limits(many(16)).validate().is_ok());
    let expected = LimitError::TooMany { count: 17, max: 16 };
    assert_eq!(many(17).validate().unwrap_err(), expected);
    let text = |limit| error(limit).to_string();
    let expected = "limit on CPU: the threshold -1 is negative or not finite";
    assert!(text(cpu(-1.0)).ends_with(expected), "{}", text(cpu(-1.0)));
    let silent = Limit::new(LimitMetric::SilentSeconds, 60.0).clear_below(61.0);
    let expected = "limit on silence: clear_below is 61, and not between 0 and 60";
    assert!(text(silent).ends_with(expected), "{}", text(silent));
    let expected = "limit on crashes: the threshold 4096 is not between 0 and 4095";
    assert!(text(crashes).ends_with(expected), "{}", text(crashes));
    // At the bounds.
    for limit in [cpu(80.0).clear_below(80.0), cpu(0.0), cpu(f64::MAX)] {
        assert!(Limits::default().rule(limit).validate().is_ok());
    }
}
