//! Who may ask, and for what. Pure decisions; [`routes`](super::routes) asks them in their order.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::{fmt, str};

use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Method, Uri, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq as _;

/// Why a request goes no further.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is for a host that is not ours, or does not say for which.
    Host(String),
    /// It wants to change something.
    Method,
    /// It does not know the token.
    Token,
}

/// What is not for everybody. Its `Debug` does not show it.
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(secret: &str) -> Self {
        Self(secret.to_owned())
    }

    /// Takes as long wherever the two differ; how long it is is no secret.
    fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether the request is for a host that is ours: an address, `localhost`, or one that is allowed.
///
/// A browser that was told that the name of some page's site has our address sends that name: it is
/// how a page of another site would get at what we answer.
pub(super) fn check_host(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
    allowed: &[String],
) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::Host("the request has two Host headers".to_owned()));
    }
    // An absolute target takes precedence over the header for some servers, the header for others:
    // both must be ours. From HTTP/2 on the target is what the header was.
    let of_target = uri.authority().map(|authority| authority.as_str().as_bytes());
    let required = of_target.is_none() || version < Version::HTTP_2;
    if required && host.is_none() {
        return Err(Refusal::Host("the request does not say for which host it is".to_owned()));
    }
    for host in [host.map(|host| host.as_bytes()), of_target].into_iter().flatten() {
        let host = String::from_utf8_lossy(host);
        if !host_is_allowed(&host, allowed) {
            return Err(Refusal::Host(format!(
                "{host:?} is not a host that is answered: allow it by `HttpConfig::allow_host`, \
                 \"allowed_hosts\" in its JSON"
            )));
        }
    }
    Ok(())
}

/// Whether `host`, as a request has it, is an address, `localhost`, or one of `allowed`.
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

/// The host of `HOST[:PORT]` as it is compared: in lower case, without the port and the dot of the
/// root. `None` for what is not the name of a host or an address.
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
        // It may be empty, says RFC 3986.
        let number = port.is_empty() || port.parse::<u16>().is_ok();
        if !number || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    if host.starts_with('[') {
        return Some(host.to_ascii_lowercase());
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_of_name)).then(|| host.to_ascii_lowercase())
}

/// Nothing can be changed here.
pub(super) fn check_method(method: &Method) -> Result<(), Refusal> {
    if *method == Method::GET || *method == Method::HEAD { Ok(()) } else { Err(Refusal::Method) }
}

/// Whether the request knows the token, if there is one.
pub(super) fn check_token(headers: &HeaderMap, token: Option<&Secret>) -> Result<(), Refusal> {
    let Some(token) = token else {
        return Ok(());
    };
    let mut given = headers.get_all(AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (Some(one), None) if knows(one.as_bytes(), token) => Ok(()),
        _ => Err(Refusal::Token),
    }
}

/// `Bearer TOKEN`, or `Basic` with the token as the password (RFC 6750, RFC 7617).
fn knows(credentials: &[u8], token: &Secret) -> bool {
    let Some(space) = credentials.iter().position(|&byte| byte == b' ') else {
        return false;
    };
    let (scheme, rest) = credentials.split_at(space);
    let given = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return token.is(given);
    }
    if scheme.eq_ignore_ascii_case(b"basic")
        && let Ok(decoded) = BASE64.decode(given)
        && let Some(colon) = decoded.iter().position(|&byte| byte == b':')
    {
        return token.is(&decoded[colon + 1..]);
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
    fn addresses_localhost_and_what_is_allowed_are_ours() {
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
    fn other_names_and_nonsense_are_not() {
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

    fn check(version: Version, uri: &str, hosts: &[&str]) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        check_host(version, &uri.parse().unwrap(), &headers, &allowed())
    }

    #[test]
    fn a_request_says_once_for_which_host_it_is_and_an_absolute_target_must_agree() {
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
    fn the_refusal_names_the_setting() {
        let Err(Refusal::Host(text)) = check(Version::HTTP_11, "/", &["evil.example"]) else {
            panic!("it is not ours");
        };
        assert!(text.contains("evil.example") && text.contains("allowed_hosts"), "{text}");
        assert!(text.contains("allow_host"), "{text}");
    }

    fn knows_it(given: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        check_token(&headers, Some(&Secret::new("s3:cret \u{fc}"))).is_ok()
    }

    #[test]
    fn the_token_is_that_of_bearer_or_the_password_of_basic() {
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair)).into_bytes();
        assert!(knows_it(&["Bearer s3:cret \u{fc}".as_bytes()]));
        assert!(knows_it(&["bEARER   s3:cret \u{fc} ".as_bytes()]));
        assert!(knows_it(&[&basic("anybody:s3:cret \u{fc}")]));
        assert!(knows_it(&[&basic(":s3:cret \u{fc}")]));
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
            assert!(!knows_it(&[wrong]), "{}", String::from_utf8_lossy(wrong));
        }
        assert!(!knows_it(&[&basic("s3:cret \u{fc}")]), "the first colon ends the user's name");
        assert!(!knows_it(&[&basic("x:s3:cret \u{fc}x")]));
        assert!(!knows_it(&[]));
        let right = "Bearer s3:cret \u{fc}".as_bytes();
        assert!(!knows_it(&[right, right]), "which of them?");
    }

    #[test]
    fn without_a_token_nobody_is_asked_for_one() {
        assert_eq!(check_token(&HeaderMap::new(), None), Ok(()));
    }

    #[test]
    fn only_what_reads_is_answered() {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(check_method(&method), Ok(()));
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT]
        {
            assert_eq!(check_method(&method), Err(Refusal::Method));
        }
    }
}
