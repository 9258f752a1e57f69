//! Links to the page of a plugin.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All characters except the unreserved ones of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name as the value of a query parameter.
pub(super) fn encode(name: &str) -> String {
    utf8_percent_encode(name, QUERY).to_string()
}

/// The link to the page of the plugin.
pub(super) fn plugin(base: &str, name: &str) -> String {
    format!("{base}plugin?name={}", encode(name))
}
