//! The name of a process, in sixteen bytes.

use std::borrow::Cow;
use std::fmt;

/// The name of the executed file: at most 15 bytes (`comm` of proc(5)). Empty if it is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CommandName([u8; 16]);

impl CommandName {
    /// Cut to 15 bytes.
    pub(crate) fn new(name: &[u8]) -> Self {
        let mut bytes = [0; 16];
        let len = name.len().min(15);
        bytes[..len].copy_from_slice(&name[..len]);
        Self(bytes)
    }

    /// The bytes up to the first NUL; usually UTF-8.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// Bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl fmt::Debug for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_name_is_cut_to_fifteen_bytes() {
        let name = CommandName::new(b"a-long-command-name");
        assert_eq!(name.as_bytes(), b"a-long-command-");
        assert_eq!(CommandName::new(b"sh").text(), "sh");
        assert_eq!(CommandName::default().text(), "");
    }

    #[test]
    fn command_name_that_is_not_utf8_is_shown_with_replacement() {
        assert_eq!(CommandName::new(b"a\xffb").text(), "a\u{fffd}b");
    }
}
