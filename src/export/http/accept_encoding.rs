//! The content coding of a response: RFC 9110, section 12.5.3.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use axum::http::request::Parts;

/// The content coding of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
}

/// The largest weight, in thousandths.
const MAX_WEIGHT: u16 = 1_000;

impl Encoding {
    /// The coding that the request prefers. Without the header it is identity: a client that accepts
    /// gzip has the header. If the client accepts neither, it is identity too.
    pub(super) fn negotiate(headers: &HeaderMap) -> Self {
        let (mut gzip, mut identity, mut any) = (None, None, None);
        let values =
            headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for (coding, weight) in values.flat_map(|value| value.split(',')).filter_map(parse_element)
        {
            let weights = match coding.to_ascii_lowercase().as_str() {
                // Section 8.4.1.3: equivalent.
                "gzip" | "x-gzip" => &mut gzip,
                "identity" => &mut identity,
                "*" => &mut any,
                _ => continue,
            };
            // If a coding is listed twice, a refusal takes precedence.
            *weights = Some(weights.map_or(weight, |other: u16| other.min(weight)));
        }
        // An unlisted identity is acceptable, but any listed coding is preferred to it.
        let (gzip, identity) = (gzip.or(any).unwrap_or(0), identity.or(any).unwrap_or(0));
        if gzip > 0 && gzip >= identity { Self::Gzip } else { Self::Identity }
    }
}

impl<S: Sync> FromRequestParts<S> for Encoding {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::negotiate(&parts.headers))
    }
}

/// A coding and its weight in thousandths. `None` if the element is malformed, so that a coding is
/// not used because of it.
fn parse_element(element: &str) -> Option<(&str, u16)> {
    let (coding, weight) = match element.split_once(';') {
        None => (element, MAX_WEIGHT),
        Some((coding, parameter)) => {
            let (name, value) = parameter.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("q") {
                return None;
            }
            (coding, parse_weight(value.trim())?)
        }
    };
    Some((coding.trim(), weight))
}

/// A weight has at most three decimals, and is at most 1: section 12.4.2.
fn parse_weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || !matches!(whole, "0" | "1") {
        return None;
    }
    let weight = format!("{whole}{decimals:0<3}").parse().ok()?;
    (weight <= MAX_WEIGHT).then_some(weight)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn negotiate(values: &[&str]) -> Encoding {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        Encoding::negotiate(&headers)
    }

    #[test]
    fn weights_select_the_coding() {
        for header in [
            "gzip",
            "GZIP",
            "x-gzip",
            "gzip, deflate, br, zstd",
            "deflate,gzip",
            " br ; q=1.0 , gzip ; q=0.8 ",
            "gzip;q=0.001",
            "gzip;Q=1",
            "gzip;q=1.000",
            "*",
            "*;q=0.1",
            "br, *;q=0.5",
            "gzip, *;q=0",
            "gzip;q=0.5, identity;q=0.5",
            "gzip;q=0.5, identity;q=0.4",
            "gzip;q=0.5, identity;q=0",
            "identity;q=0, *",
        ] {
            assert_eq!(negotiate(&[header]), Encoding::Gzip, "{header}");
        }
        for header in [
            "",
            "identity",
            "deflate, br",
            "gzip;q=0",
            "gzip;q=0.",
            "gzip;q=0.000",
            "gzip;q=0, *",
            "x-gzip;q=0, gzip",
            "*;q=0",
            "identity;q=0",
            "identity;q=0, *;q=0",
            "gzip;q=0.5, identity",
            "gzip;q=0.5, identity;q=0.501",
            "gzip;q=0.3, *;q=0.4",
            "gzipped",
            "gzip;q",
            "gzip;q=",
            "gzip;q=1.001",
            "gzip;q=2",
            "gzip;q=-1",
            "gzip;q=0.0001",
            "gzip;q=.5",
            "gzip;q=1e0",
            "gzip;level=9",
            "g zip",
        ] {
            assert_eq!(negotiate(&[header]), Encoding::Identity, "{header}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        assert_eq!(negotiate(&[]), Encoding::Identity);
        assert_eq!(negotiate(&["br", "gzip"]), Encoding::Gzip);
        assert_eq!(negotiate(&["gzip", "gzip;q=0"]), Encoding::Identity);
        assert_eq!(negotiate(&["gzip;q=0.5", "identity;q=0.6"]), Encoding::Identity);
    }
}
