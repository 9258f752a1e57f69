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

/// The tooltip of that link: the name, which may be cut in the text; something else for a name that nobody
/// could see.
pub(super) fn title(name: &str) -> &str {
    let is_invisible =
        |c: char| c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}');
    if name.chars().all(is_invisible) { "a name without visible characters" } else { name }
}
