//! Which requests are accepted: checks of host, method and token. Pure functions; the
//! [middleware](super::middleware) applies them in order.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::{fmt, str};

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Method, Uri, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq as _;

/// Why a request is rejected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The host is not allowed, or missing.
    Host(String),
    /// The method is neither GET nor HEAD.
    Method,
    /// The token is missing or wrong.
    Token,
}

/// A secret. Its `Debug` does not show it.
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(secret: &str) -> Self {
        Self(secret.to_owned())
    }

    /// Compares in constant time for a given length; the length is not secret.
    fn matches(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Checks that the request is for an IP address, `localhost`, or an allowed host.
///
/// This prevents DNS rebinding: a page of another site whose name resolves to this server's address
/// makes the browser send that name.
pub(super) fn check_host(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
    allowed: &[String],
) -> Result<(), Rejection> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Rejection::Host("the request has two Host headers".to_owned()));
    }
    // Servers differ in whether an absolute target or the header takes precedence, so both must be
    // allowed. From HTTP/2 on the target replaces the header.
    let target_host = uri.authority().map(|authority| authority.as_str().as_bytes());
    let is_required = target_host.is_none() || version < Version::HTTP_2;
    if is_required && host.is_none() {
        return Err(Rejection::Host("the request has no Host header".to_owned()));
    }
    for host in [host.map(|host| host.as_bytes()), target_host].into_iter().flatten() {
        let host = String::from_utf8_lossy(host);
        if !host_is_allowed(&host, allowed) {
            return Err(Rejection::Host(format!(
                "the host {host:?} is not allowed: add it by `HttpConfig::allow_host`, in JSON \
                 \"allowed_hosts\""
            )));
        }
    }
    Ok(())
}

/// Whether `host`, as written in a request, is an address, `localhost`, or one of `allowed`.
pub(crate) fn host_is_allowed(host: &str, allowed: &[String]) -> bool {
    let Some(host) = comparable_host(host) else {
        return false;
    };
    let is_v6 = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    is_v6 || host.parse::<Ipv4Addr>().is_ok() || host == "localhost" || allowed.contains(&host)
}

/// The host of `HOST[:PORT]` in the form for comparison: in lower case, without the port and without
/// a trailing dot. `None` if it is neither a host name nor an address.
pub(crate) fn comparable_host(given: &str) -> Option<String> {
    let (host, rest) = match given.strip_prefix('[') {
        Some(inside) => {
            let end = inside.find(']')?;
            let (inside, rest) = inside.split_at(end);
            inside.parse::<Ipv6Addr>().ok()?;
            (&given[..inside.len() + 2], &rest[1..])
        }
        None => given.split_at(given.find(':').unwrap_or(given.len())),
    };
    if let Some(port) = rest.strip_prefix(':') {
        // The port may be empty: RFC 3986, section 3.2.3.
        let is_number = port.is_empty() || port.parse::<u16>().is_ok();
        if !is_number || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    if host.starts_with('[') {
        return Some(host.to_ascii_lowercase());
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_name_byte)).then(|| host.to_ascii_lowercase())
}

/// Checks that the method is GET or HEAD.
pub(super) fn check_method(method: &Method) -> Result<(), Rejection> {
    if *method == Method::GET || *method == Method::HEAD { Ok(()) } else { Err(Rejection::Method) }
}

/// Checks that the request has the token, if one is set.
pub(super) fn check_token(headers: &HeaderMap, token: Option<&Secret>) -> Result<(), Rejection> {
    let Some(token) = token else {
        return Ok(());
    };
    let mut given = headers.get_all(AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (Some(one), None) if has_token(one.as_bytes(), token) => Ok(()),
        _ => Err(Rejection::Token),
    }
}

/// `Bearer TOKEN`, or `Basic` with the token as the password: RFC 6750, RFC 7617.
fn has_token(credentials: &[u8], token: &Secret) -> bool {
    let Some(space) = credentials.iter().position(|&byte| byte == b' ') else {
        return false;
    };
    let (scheme, rest) = credentials.split_at(space);
    let given = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return token.matches(given);
    }
    if scheme.eq_ignore_ascii_case(b"basic")
        && let Ok(decoded) = BASE64.decode(given)
        && let Some(colon) = decoded.iter().position(|&byte| byte == b':')
    {
        return token.matches(&decoded[colon + 1..]);
    }
    false
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allowed() -> Vec<String> {
        ["bot.example", "[2001:db8::1]"].map(str::to_owned).to_vec()
    }

    #[test]
    fn addresses_localhost_and_listed_hosts_are_allowed() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "10.1.2.3",
            "0.0.0.0:1",
            "[::1]",
            "[::1]:8080",
            "[::]",
            "[2001:DB8::1]:443",
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "localhost.:80",
            "localhost:",
            "127.0.0.1.",
            "bot.example",
            "BOT.example.:65535",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(host_is_allowed(host, &allowed()), "{host}");
        }
    }

    #[test]
    fn other_and_malformed_hosts_are_rejected() {
        for host in [
            "",
            ".",
            "evil.example",
            "xbot.example",
            "bot.example.evil",
            "localhost.evil",
            "evil.localhost",
            "bot.example..",
            "127.0.0.1.evil",
            "127.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:x",
            "[fe80::1%25eth0]",
            "[]",
            "[evil]",
            "localhost:http",
            "localhost:+80",
            "localhost:65536",
            "localhost:80:80",
            "user@localhost",
            "localhost/",
            "localhost#",
            " localhost",
            "localhost ",
            "lo calhost",
            "localhost\0",
            "localhost,evil",
            "*",
            "%6cocalhost",
            "l\u{f6}calhost",
            "\u{ff4c}ocalhost",
            "127.0.0.1:80/evil",
        ] {
            assert!(!host_is_allowed(host, &allowed()), "{host:?}");
        }
    }

    fn check(version: Version, uri: &str, hosts: &[&str]) -> Result<(), Rejection> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        check_host(version, &uri.parse().unwrap(), &headers, &allowed())
    }

    #[test]
    fn host_header_and_absolute_target_must_be_allowed() {
        let ok = |version, uri, hosts: &[&str]| check(version, uri, hosts).is_ok();
        let (one, old, two) = (Version::HTTP_11, Version::HTTP_10, Version::HTTP_2);
        assert!(ok(one, "/", &["localhost"]));
        assert!(ok(old, "/", &["localhost"]));
        assert!(!ok(one, "/", &[]));
        assert!(!ok(old, "/", &[]));
        assert!(!ok(one, "/", &["localhost", "localhost"]));
        assert!(!ok(one, "/", &["localhost", "evil"]));
        assert!(ok(one, "http://bot.example/", &["localhost"]));
        assert!(!ok(one, "http://evil/", &["localhost"]));
        assert!(!ok(one, "http://localhost/", &["evil"]));
        assert!(!ok(one, "http://localhost/", &[]));
        assert!(!ok(one, "http://user@localhost/", &["localhost"]));
        assert!(ok(two, "http://localhost/", &[]));
        assert!(!ok(two, "http://evil/", &[]));
        assert!(!ok(two, "/", &[]));
    }

    #[test]
    fn host_rejection_names_the_setting() {
        let Err(Rejection::Host(text)) = check(Version::HTTP_11, "/", &["evil.example"]) else {
            panic!("the host is not allowed");
        };
        assert!(text.contains("evil.example") && text.contains("allowed_hosts"), "{text}");
        assert!(text.contains("allow_host"), "{text}");
    }

    fn accepts(given: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        check_token(&headers, Some(&Secret::new("s3:cret \u{fc}"))).is_ok()
    }

    #[test]
    fn token_is_bearer_or_basic_password() {
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair)).into_bytes();
        assert!(accepts(&["Bearer s3:cret \u{fc}".as_bytes()]));
        assert!(accepts(&["bEARER   s3:cret \u{fc} ".as_bytes()]));
        assert!(accepts(&[&basic("user:s3:cret \u{fc}")]));
        assert!(accepts(&[&basic(":s3:cret \u{fc}")]));
        for wrong in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer s3:cret",
            b"Bearers3:cret",
            b"Basic !!!",
            b"Basic",
            b"Digest s3:cret",
            b"s3:cret",
        ] {
            assert!(!accepts(&[wrong]), "{}", String::from_utf8_lossy(wrong));
        }
        assert!(!accepts(&[&basic("s3:cret \u{fc}")]), "the first colon ends the user name");
        assert!(!accepts(&[&basic("x:s3:cret \u{fc}x")]));
        assert!(!accepts(&[]));
        let right = "Bearer s3:cret \u{fc}".as_bytes();
        assert!(!accepts(&[right, right]), "ambiguous");
    }

    #[test]
    fn request_without_configured_token_is_accepted() {
        assert_eq!(check_token(&HeaderMap::new(), None), Ok(()));
    }

    #[test]
    fn only_get_and_head_are_accepted() {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(check_method(&method), Ok(()));
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT]
        {
            assert_eq!(check_method(&method), Err(Rejection::Method));
        }
    }
}
