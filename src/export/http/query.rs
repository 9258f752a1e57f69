//! The query parameters of a request.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::percent_decode_str;

use crate::Window;

/// The number of points in a history if the request has no `points`.
const DEFAULT_POINTS: usize = 720;
/// The end of the year 9999, which every clock can represent.
const MAX_MILLIS: u64 = 253_402_300_799_999;
/// The largest valid `points`.
const MAX_POINTS: usize = 10_000;

/// A parameter is invalid: one sentence that begins with its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueryError(pub String);

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The parameters of one request. Unknown parameters are ignored.
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Of the part of a target after the `?`.
    pub(crate) fn new(query: Option<&'a str>) -> Self {
        Self(query.unwrap_or_default())
    }

    /// The decoded value of `key`; `None` if it is missing.
    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, QueryError> {
        let pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut values = pairs.filter(|(name, _)| decode(name).is_ok_and(|name| name == key));
        let Some((_, value)) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(QueryError(format!("{key} is given twice")));
        }
        decode(value).map(Some).map_err(|()| QueryError(format!("{key} is not UTF-8")))
    }

    /// `since`: the revision that the client has.
    pub(crate) fn since(&self) -> Result<Option<u64>, QueryError> {
        let value = self.text("since")?;
        value
            .map(|value| digits(&value).ok_or_else(|| invalid("since", "a revision", &value)))
            .transpose()
    }

    /// `window`: seconds, whole or fractional. A window longer than the history is all of it.
    pub(crate) fn window(&self) -> Result<Window, QueryError> {
        let Some(value) = self.text("window")? else {
            return Ok(Window::All);
        };
        let seconds = value.parse::<f64>().ok().filter(|s| s.is_finite() && !s.is_sign_negative());
        let seconds =
            seconds.ok_or_else(|| invalid("window", "a number of seconds from 0 on", &value))?;
        Ok(Duration::try_from_secs_f64(seconds).map_or(Window::All, Window::Last))
    }

    /// `from` and `to`: a part of the history, in milliseconds since 1970. `None` without both.
    pub(crate) fn zoom(&self) -> Result<Option<[SystemTime; 2]>, QueryError> {
        let (from, to) = (self.millis("from")?, self.millis("to")?);
        match (from, to) {
            (None, None) => Ok(None),
            (Some(from), Some(to)) if from < to => Ok(Some([from, to])),
            (Some(_), Some(_)) => Err(QueryError("from is not before to".to_owned())),
            (Some(_), None) => Err(QueryError("to is missing".to_owned())),
            (None, Some(_)) => Err(QueryError("from is missing".to_owned())),
        }
    }

    fn millis(&self, key: &str) -> Result<Option<SystemTime>, QueryError> {
        let Some(value) = self.text(key)? else {
            return Ok(None);
        };
        let at = digits(&value).filter(|&millis| millis <= MAX_MILLIS);
        let at = at.ok_or_else(|| invalid(key, "a number of milliseconds since 1970", &value))?;
        Ok(Some(UNIX_EPOCH + Duration::from_millis(at)))
    }

    /// `points`: the maximum number of points in a history.
    pub(crate) fn points(&self) -> Result<usize, QueryError> {
        self.points_or(DEFAULT_POINTS)
    }

    /// `points`, of a download: every sample, unless there are more than a request can have.
    pub(crate) fn downloaded_points(&self) -> Result<usize, QueryError> {
        self.points_or(MAX_POINTS)
    }

    fn points_or(&self, default: usize) -> Result<usize, QueryError> {
        let Some(value) = self.text("points")? else {
            return Ok(default);
        };
        let points = digits(&value).and_then(|points| usize::try_from(points).ok());
        points
            .filter(|points| (1..=MAX_POINTS).contains(points))
            .ok_or_else(|| invalid("points", &format!("a number from 1 to {MAX_POINTS}"), &value))
    }
}

fn invalid(key: &str, expected: &str, given: &str) -> QueryError {
    QueryError(format!("{key} is not {expected}: {given:?}"))
}

/// A number that consists of digits only; `u64::MAX` if it is larger than that.
fn digits(value: &str) -> Option<u64> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(u64::MAX))
}

/// Decodes as in HTML forms, where a plus is a space.
fn decode(text: &str) -> Result<String, ()> {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { text.into() };
    percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(query: &str) -> Result<Option<String>, QueryError> {
        Query::new(Some(query)).text("name")
    }

    #[test]
    fn value_is_decoded_as_in_forms() {
        for (query, expected) in [
            ("name=dice", "dice"),
            ("a=b&name=dice&c", "dice"),
            ("name=%22a%26b%22+c%2Bd", "\"a&b\" c+d"),
            ("name=a=b", "a=b"),
            ("name=", ""),
            ("name", ""),
            ("n%61me=x", "x"),
            ("name=%C3%BC", "\u{fc}"),
            ("name=100%", "100%"),
            ("name=..", ".."),
        ] {
            assert_eq!(text(query).unwrap().as_deref(), Some(expected), "{query}");
        }
        for query in ["", "Name=x", "names=x", "&&", "=name", "%ff=x"] {
            assert_eq!(text(query), Ok(None), "{query}");
        }
        assert_eq!(Query::new(None).text("name"), Ok(None));
    }

    #[test]
    fn duplicate_or_non_utf8_value_is_an_error() {
        for query in ["name=a&name=a", "name&name=x", "name=a&b&n%61me=", "name=%ff", "name=%c3"] {
            let error = text(query).unwrap_err().to_string();
            assert!(error.starts_with("name is "), "{query}: {error}");
        }
    }

    #[test]
    fn since_is_a_number() {
        let since = |query: &str| Query::new(Some(query)).since();
        assert_eq!(since("since=17"), Ok(Some(17)));
        assert_eq!(since("since=007"), Ok(Some(7)));
        assert_eq!(since("since=99999999999999999999999"), Ok(Some(u64::MAX)));
        assert_eq!(since(""), Ok(None));
        for bad in ["since=", "since", "since=-1", "since=%2B1", "since=1.0", "since=x", "since=1+"]
        {
            let error = since(bad).unwrap_err().to_string();
            assert!(error.starts_with("since is not a revision"), "{bad}: {error}");
        }
    }

    #[test]
    fn zoom_has_a_start_before_its_end() {
        let zoom = |query: &str| Query::new(Some(query)).zoom();
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!(zoom(""), Ok(None));
        assert_eq!(zoom("from=0&to=1500"), Ok(Some([at(0), at(1_500)])));
        assert_eq!(zoom("to=253402300799999&from=7"), Ok(Some([at(7), at(MAX_MILLIS)])));
        for (bad, start) in [
            ("from=2&to=2", "from is not before to"),
            ("from=3&to=2", "from is not before to"),
            ("from=3", "to is missing"),
            ("to=3", "from is missing"),
            ("from=-1&to=3", "from is not a number of milliseconds"),
            ("from=1&to=253402300800000", "to is not a number of milliseconds"),
            ("from=1&to=99999999999999999999", "to is not a number of milliseconds"),
            ("from=1&to=1e9", "to is not a number of milliseconds"),
        ] {
            let error = zoom(bad).unwrap_err().to_string();
            assert!(error.starts_with(start), "{bad}: {error}");
        }
    }

    #[test]
    fn window_is_a_number_of_seconds() {
        let window = |query: &str| Query::new(Some(query)).window();
        let last = |seconds| Ok(Window::Last(Duration::from_secs_f64(seconds)));
        assert_eq!(window(""), Ok(Window::All));
        for (query, seconds) in [("0", 0.0), ("60", 60.0), ("0.25", 0.25), ("1e2", 100.0)] {
            assert_eq!(window(&format!("window={query}")), last(seconds));
        }
        assert_eq!(window("window=1e300"), Ok(Window::All), "longer than any history");
        for bad in ["", "-1", "-0", "nan", "inf", "-inf", "infinity", "1s", "1e999", "0x10", "1,5"]
        {
            let error = window(&format!("window={bad}")).unwrap_err().to_string();
            assert!(error.starts_with("window is not a number of seconds"), "{bad}: {error}");
        }
    }

    #[test]
    fn points_are_one_to_ten_thousand() {
        let points = |query: &str| Query::new(Some(query)).points();
        for (query, expected) in [("", 720), ("points=1", 1), ("points=10000", 10_000)] {
            assert_eq!(points(query), Ok(expected));
        }
        for bad in ["", "0", "10001", "-5", "1.5", "many", "99999999999999999999"] {
            let error = points(&format!("points={bad}")).unwrap_err().to_string();
            assert!(error.contains("a number from 1 to 10000"), "{bad}: {error}");
        }
    }
}
