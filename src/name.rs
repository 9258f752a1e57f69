//! The rules for names and versions.

use std::sync::Arc;

use crate::error::{CounterError, NameError, RegisterError};

/// The longest name and version, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 128;

/// Checks the name of a plugin.
pub(crate) fn check_name(name: &str) -> Result<(), RegisterError> {
    // The error does not copy a name of any length.
    let invalid = |reason| RegisterError::InvalidName { name: truncate(name).to_owned(), reason };
    check(name).map_err(invalid)
}

/// Checks the name of a kind of events.
pub(crate) fn check_kind(kind: &str) -> Result<(), CounterError> {
    let invalid = |reason| CounterError::InvalidName { name: truncate(kind).to_owned(), reason };
    check(kind).map_err(invalid)
}

/// Names have 1 to 128 bytes and no control characters.
fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        Err(NameError::Empty)
    } else if name.len() > MAX_TEXT_BYTES {
        Err(NameError::TooLong { max: MAX_TEXT_BYTES })
    } else if name.contains(char::is_control) {
        Err(NameError::Control)
    } else {
        Ok(())
    }
}

/// The first 128 bytes, or slightly less, so that the cut is at a character boundary.
fn truncate(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// A version as it is stored: U+FFFD for each control character, then cut to 128 bytes; `None` if
/// it is empty.
pub(crate) fn clean_version(version: &str) -> Option<Arc<str>> {
    if version.is_empty() {
        return None;
    }
    if version.len() <= MAX_TEXT_BYTES && !version.contains(char::is_control) {
        return Some(Arc::from(version));
    }
    // Replacement may lengthen the text, so the cut comes after it. Characters that the cut removes
    // in any case are not replaced.
    let head: String = version.chars().take(MAX_TEXT_BYTES).collect();
    let clean = head.replace(char::is_control, "\u{fffd}");
    Some(Arc::from(truncate(&clean)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_has_1_to_128_bytes_without_controls() {
        for good in ["a", "..", "имя/\u{202e}x", &"ä".repeat(64), &"x".repeat(128)] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
        for (bad, expected) in [
            ("", NameError::Empty),
            (&*"x".repeat(129), NameError::TooLong { max: 128 }),
            (&*"ä".repeat(65), NameError::TooLong { max: 128 }),
            ("a\0b", NameError::Control),
            ("a\u{85}", NameError::Control),
        ] {
            match check_name(bad) {
                Err(RegisterError::InvalidName { reason, .. }) => assert_eq!(reason, expected),
                other => panic!("{bad:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn version_is_cleaned_then_cut_at_character() {
        let clean = |version: &str| clean_version(version).map(|v| v.to_string());
        assert_eq!(clean(""), None);
        assert_eq!(clean("1.0-β"), Some("1.0-β".to_owned()));
        assert_eq!(clean("1\n0\u{7f}"), Some("1\u{fffd}0\u{fffd}".to_owned()));
        assert_eq!(clean(&"x".repeat(500)), Some("x".repeat(128)));
        // Two bytes each: 127 bytes and half a character must not end in half a character.
        let odd = format!("x{}", "ä".repeat(100));
        assert_eq!(clean(&odd), Some(format!("x{}", "ä".repeat(63))));
        // A control character has one byte, its replacement three.
        assert_eq!(clean(&"\n".repeat(128)), Some("\u{fffd}".repeat(42)));
    }
}
