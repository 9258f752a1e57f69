//! How urgent something is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How urgent a finding or a limit is, in ascending order.
///
/// ```
/// use plugmeter::Severity;
///
/// assert!(Severity::Critical > Severity::Warning);
/// assert_eq!(Severity::Notice.to_string(), "notice");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information; the plugin does not need attention.
    Notice,
    /// The plugin needs attention.
    Warning,
    /// The plugin is down, or has to be acted on immediately.
    Critical,
}

impl Severity {
    /// Whether a plugin with a finding of this severity needs attention: true for
    /// [`Warning`](Self::Warning) and [`Critical`](Self::Critical).
    #[must_use]
    pub const fn needs_attention(self) -> bool {
        match self {
            Self::Notice => false,
            Self::Warning | Self::Critical => true,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}
