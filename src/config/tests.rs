use super::*;

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
        r#"{"enabled":true,"poll_interval":5,"history_duration":3600,"probe":"native","process_trees":true,"clean_exit_codes":[]}"#
    );
    for config in [
        Config::default(),
        config(Duration::from_millis(250), Duration::from_micros(10_000_001)),
        Config::default().enabled(false).probe(ProbeKind::Portable).clean_exit_codes(&[3, -1]),
        Config::default().process_trees(false),
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
