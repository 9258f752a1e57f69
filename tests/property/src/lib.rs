//! Strategies that the property tests share.

use plugmeter_test_support::names::{HOSTILE_NAMES, MAX_NAME_BYTES};
use proptest::collection::{SizeRange, vec};
use proptest::prelude::*;
use proptest::sample::select;

/// Returns the longest prefix of `text` that is at most as long as a name.
pub fn truncated(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_NAME_BYTES)]
}

/// Concatenations of hostile names and of characters that are no control characters, truncated to
/// the longest name.
pub fn hostile_text(pieces: impl Into<SizeRange>) -> impl Strategy<Value = String> {
    let any = any::<char>().prop_map(|c| if c.is_control() { 'c' } else { c });
    let piece = prop_oneof![
        select(HOSTILE_NAMES.to_vec()).prop_map(str::to_owned),
        any.prop_map(String::from),
    ];
    vec(piece, pieces).prop_map(|pieces| truncated(&pieces.concat()).to_owned())
}
