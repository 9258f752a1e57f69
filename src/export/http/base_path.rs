//! The path under which a proxy or a host serves the routes, and the path of a request within it.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

/// A valid base path: empty, or segments that each begin with a slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BasePath(String);

/// The meaning of a request's path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// A path that the routes may have. It begins with one slash.
    Route(Cow<'a, str>),
    /// The base path without the slash that links require.
    Bare,
    /// Not within the base path.
    Outside,
}

impl BasePath {
    pub(super) const ROOT: Self = Self(String::new());

    /// Parses a setting. An error is the reason.
    pub(super) fn parse(given: &str) -> Result<Self, String> {
        let invalid = |reason: &str| Err(format!("{given:?} {reason}"));
        let path = given.strip_suffix('/').unwrap_or(given);
        if path.is_empty() {
            return Ok(Self::default());
        }
        let Some(segments) = path.strip_prefix('/') else {
            return invalid("does not begin with a slash");
        };
        for segment in segments.split('/') {
            if segment.is_empty() {
                return invalid("has an empty segment");
            }
            if !has_path_characters_only(segment) {
                return invalid("has a character that a path cannot have: percent-encode it");
            }
            let decoded: Vec<u8> = percent_decode_str(segment).collect();
            if matches!(&decoded[..], b"." | b"..") {
                return invalid("has a segment `.` or `..`");
            }
        }
        Ok(Self(path.to_owned()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the path of a request within the base path. Several slashes count as one, because a
    /// proxy may put its own before the client's. Segments are compared in their decoded form.
    pub(super) fn resolve<'a>(&self, path: &'a str) -> Target<'a> {
        let path = collapse_slashes(path);
        let mut rest = &*path;
        for segment in self.0.split('/').skip(1) {
            let Some(inside) = rest.strip_prefix('/') else {
                return Target::Outside;
            };
            let (given, after) = inside.split_at(inside.find('/').unwrap_or(inside.len()));
            if !percent_decode_str(given).eq(percent_decode_str(segment)) {
                return Target::Outside;
            }
            rest = after;
        }
        if rest.is_empty() {
            return if self.is_empty() { Target::Route(path) } else { Target::Bare };
        }
        let start = path.len() - rest.len();
        Target::Route(match path {
            Cow::Borrowed(path) => Cow::Borrowed(&path[start..]),
            Cow::Owned(mut path) => {
                path.drain(..start);
                Cow::Owned(path)
            }
        })
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether all characters are those of a path's segment: RFC 3986, section 3.3. A backslash is not
/// one of them, which browsers treat as a slash.
fn has_path_characters_only(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let is_valid = match byte {
            b'%' => {
                let mut is_digit = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                is_digit() && is_digit()
            }
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte),
        };
        if !is_valid {
            return false;
        }
    }
    true
}

fn collapse_slashes(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return path.into();
    }
    let mut collapsed = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !collapsed.ends_with('/') {
            collapsed.push(character);
        }
    }
    collapsed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_path_is_normalized() {
        for (given, expected) in [
            ("", ""),
            ("/", ""),
            ("/plugins", "/plugins"),
            ("/plugins/", "/plugins"),
            ("/a/b.c/d~e", "/a/b.c/d~e"),
            ("/b%C3%B6t", "/b%C3%B6t"),
            ("/it's:@!$&()*+,;=", "/it's:@!$&()*+,;="),
            ("/...", "/..."),
        ] {
            assert_eq!(BasePath::parse(given), Ok(BasePath(expected.to_owned())), "{given}");
        }
    }

    #[test]
    fn invalid_path_is_rejected_with_reason() {
        for (given, reason) in [
            ("plugins", "begin with a slash"),
            ("plugins/", "begin with a slash"),
            ("http://a/b", "begin with a slash"),
            ("//", "empty segment"),
            ("//evil", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a//", "empty segment"),
            ("/a?b", "character"),
            ("/a#b", "character"),
            ("/a b", "character"),
            ("/\\evil", "character"),
            ("/b\u{f6}t", "character"),
            ("/a\n", "character"),
            ("/a\"b", "character"),
            ("/a<b", "character"),
            ("/a%", "character"),
            ("/a%4", "character"),
            ("/a%4g", "character"),
            ("/..", "`..`"),
            ("/a/../b", "`..`"),
            ("/a/.", "`.`"),
            ("/%2e%2E/b", "`..`"),
            ("/.%2e", "`..`"),
        ] {
            let error = BasePath::parse(given).unwrap_err();
            assert!(error.contains(reason) && error.contains(&format!("{given:?}")), "{error}");
        }
    }

    #[test]
    fn request_is_resolved_within_base_path() {
        let route = |path: &'static str| Target::Route(path.into());
        for (base, path, expected) in [
            ("", "/", route("/")),
            ("", "/api/metrics", route("/api/metrics")),
            ("", "//api//metrics", route("/api/metrics")),
            ("", "///", route("/")),
            ("", "/api/plugin/a%2F%2Fb", route("/api/plugin/a%2F%2Fb")),
            ("", "*", route("*")),
            ("", "", route("")),
            ("/plugins", "/plugins", Target::Bare),
            ("/plugins", "//plugins", Target::Bare),
            ("/plugins", "/plugins/", route("/")),
            ("/plugins", "//plugins//", route("/")),
            ("/plugins", "/plugins/api/metrics", route("/api/metrics")),
            ("/plugins", "/plugins///page.js", route("/page.js")),
            ("/plugins", "/plugins/plugins", route("/plugins")),
            ("/plugins", "/%70lugins/page.js", route("/page.js")),
            ("/plugins", "/", Target::Outside),
            ("/plugins", "/pluginsx", Target::Outside),
            ("/plugins", "/plugin", Target::Outside),
            ("/plugins", "/Plugins/", Target::Outside),
            ("/plugins", "/api/metrics", Target::Outside),
            ("/plugins", "/plugins%2Fpage.js", Target::Outside),
            ("/plugins", "*", Target::Outside),
            ("/a/b%c3%b6t", "/a/b%C3%B6t/x", route("/x")),
            ("/a/b", "/a/b", Target::Bare),
            ("/a/b", "/a", Target::Outside),
            ("/a/b", "/a/", Target::Outside),
        ] {
            assert_eq!(BasePath::parse(base).unwrap().resolve(path), expected, "{base} {path}");
        }
    }
}
