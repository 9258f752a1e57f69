use std::net::Ipv6Addr;

use super::*;

#[track_caller]
fn assert_invalid(config: &HttpConfig, setting: &str, expected: &str) {
    let error = config.validate().unwrap_err();
    assert!(matches!(error, HttpError::Config { setting: s, .. } if s == setting), "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn invalid_setting_error_names_setting_and_value() {
    let config = HttpConfig::default;
    assert_invalid(&config().token(""), "token", "empty");
    assert_invalid(&config().token("secret\n"), "token", "whitespace");
    assert_invalid(&config().token("sec\u{7f}ret"), "token", "control");
    assert_invalid(&config().max_connections(0), "max_connections", "0");
    for bad in ["", ".", "bot.example:80", "http://bot", "a/b", "bö.example", "a b", "u@h", "*"] {
        assert_invalid(&config().allow_host(bad), "allowed_hosts", &format!("{bad:?}"));
    }
    for bad in ["plugins", "//", "/a//b", "/a?b", "/a/../b", "/%2e%2e", "/b\u{f6}t", "/\\evil"] {
        assert_invalid(&config().base_path(bad), "base_path", &format!("{bad:?}"));
    }
    for good in ["bot", "Bot.Example.", "xn--bt-fka.example", "[::1]", "under_score"] {
        assert!(config().allow_host(good).validate().is_ok(), "{good}");
    }
}

#[test]
fn error_does_not_show_the_token() {
    let error = HttpConfig::default().token(" hunter2").validate().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn config_round_trips_through_json() {
    let json = serde_json::to_string(&HttpConfig::default()).unwrap();
    assert_eq!(
        json,
        r#"{"enabled":true,"host":"127.0.0.1","port":8080,"allowed_hosts":[],"token":null,"max_connections":256,"base_path":""}"#
    );
    let config = HttpConfig::default()
        .enabled(false)
        .host(IpAddr::V6(Ipv6Addr::LOCALHOST))
        .port(0)
        .allow_host("bot.example")
        .token("s3cret")
        .max_connections(3)
        .base_path("/plugins/");
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<HttpConfig>(&json).unwrap(), config, "{json}");
}

#[test]
fn json_has_defaults_and_rejects_unknown_keys() {
    let read = serde_json::from_str::<HttpConfig>;
    assert_eq!(read("{}").unwrap(), HttpConfig::default());
    assert_eq!(read(r#"{"host": "LocalHost"}"#).unwrap(), HttpConfig::default());
    let every = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    assert_eq!(read(r#"{"host": "::"}"#).unwrap(), HttpConfig::default().host(every));
    for (bad, expected) in [
        (r#"{"hosts": []}"#, "unknown field"),
        (r#"{"warn_cpu_percent": 50}"#, "unknown field"),
        (r#"{"host": "example.com"}"#, "an address"),
        (r#"{"host": "[::1]"}"#, "an address"),
        (r#"{"port": 65536}"#, "u16"),
        (r#"{"port": -1}"#, "u16"),
        (r#"{"token": 5}"#, "string"),
        (r#"{"max_connections": 0.5}"#, "usize"),
    ] {
        let error = read(bad).unwrap_err().to_string();
        assert!(error.contains(expected), "{bad}: {error}");
    }
}

#[test]
fn debug_does_not_show_the_token() {
    let config = HttpConfig::default().token("hunter2");
    let settings = config.validate().unwrap();
    assert!(!format!("{config:?} {settings:?}").contains("hunter2"));
}
