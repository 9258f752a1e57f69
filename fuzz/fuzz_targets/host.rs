//! Any text as the header `Host`: no panic, and only IP addresses, `localhost` and allowed hosts are
//! accepted, in every spelling.
#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use plugmeter::fuzzing::host_is_allowed;

const ALLOWED: &str = "bot.example";

/// An independent check by the standard library's parsers: removes the port, then the dot.
fn expected(host: &str) -> bool {
    let is_port = |port: &str| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        digits && (port.is_empty() || port.parse::<u16>().is_ok())
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && !(name.starts_with('[') && !name.ends_with(']')) => {
            name
        }
        Some(_) | None => host,
    };
    if let Some(inside) = name.strip_prefix('[') {
        return inside.strip_suffix(']').is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok());
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name == ALLOWED || name.parse::<Ipv4Addr>().is_ok()
}

fuzz_target!(|host: &str| {
    let is_allowed = host_is_allowed(host, &[ALLOWED]).expect("it is a host name");
    assert_eq!(is_allowed, expected(host), "{host:?}");
    let upper = host_is_allowed(&host.to_ascii_uppercase(), &[ALLOWED]);
    assert_eq!(upper, Some(is_allowed), "{host:?}");
    // A host that the config accepts as allowed is accepted in a request.
    if let Some(is_allowed) = host_is_allowed(host, &[host]) {
        assert!(is_allowed, "{host:?}");
    }
});
