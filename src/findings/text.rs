//! Findings as sentences.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::finding::{Finding, Findings, Onset};
use super::message::MessagePart;
use crate::format::display::length;
use crate::format::text::sanitize;

/// Names of plugins whose CPU cannot be judged, in a sentence.
const MAX_NAMES: usize = 5;

/// With times in UTC.
impl fmt::Display for MessagePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Since(Onset::At(at)) => write!(f, "since {}", time(*at)),
            Self::Since(Onset::Before(at)) => write!(f, "since before {}", time(*at)),
            Self::At(at) => write!(f, "at {}", time(*at)),
        }
    }
}

/// Without the plugin's name.
pub(super) fn sentence(finding: &Finding) -> String {
    finding.message().iter().map(MessagePart::to_string).collect()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", sanitize(&self.plugin), sentence(self))
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        f.write_str(&self.judgement())
    }
}

impl Findings {
    /// The plugins that were judged: `12 plugins judged over 58 minutes; too young for findings about CPU: dice`.
    /// The named ones are among the 12, because other findings, as a crash loop, need no history.
    pub(super) fn judgement(&self) -> String {
        let Self { items, judged, too_young, over } = self;
        let plugins = if *judged == 1 { "plugin" } else { "plugins" };
        let none = if items.is_empty() { "no findings: " } else { "" };
        let mut text = format!("{none}{judged} {plugins} judged over {}", length(*over));
        if !too_young.is_empty() {
            let names: Vec<_> =
                too_young.iter().take(MAX_NAMES).map(|name| sanitize(name)).collect();
            text += &format!("; too young for findings about CPU: {}", names.join(", "));
            let others = too_young.len() - names.len();
            if others > 0 {
                text += &format!(" and {others} more");
            }
        }
        text
    }
}

/// RFC 3339 in UTC, to the second.
fn time(at: SystemTime) -> humantime::Rfc3339Timestamp {
    // Formatting fails before 1970.
    humantime::format_rfc3339_seconds(at.max(UNIX_EPOCH))
}
