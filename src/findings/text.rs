//! Findings as sentences.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::finding::{Finding, FindingKind, Findings, Onset};
use crate::format::display::{span, times};
use crate::format::notification::{NewestValue, OverLimit};
use crate::format::number::mebibytes;
use crate::format::text::sanitize;
use crate::{PluginState, RunEnd};

/// Beside the signal by which a process was killed.
pub(crate) const OOM_KILLED: &str = ", killed by the OOM killer";
/// For an end that nobody has reported.
pub(crate) const NO_STATUS: &str = "and no exit status was reported";

/// Without the plugin's name.
pub(super) fn write_sentence(f: &mut impl fmt::Write, finding: &Finding) -> fmt::Result {
    match &finding.kind {
        FindingKind::Down { state, end } => {
            let what = if *state == PluginState::Failed { "failed" } else { "crashed" };
            write!(f, "{what}, down {}", Since(finding.since))?;
            match end {
                Some(end @ (RunEnd::Exited(_) | RunEnd::Signaled(_)))
                    if *state != PluginState::Failed =>
                {
                    let oom = if finding.oom_killed == Some(true) { OOM_KILLED } else { "" };
                    write!(f, " ({end}{oom})")
                }
                // The other ends add nothing to that.
                Some(_) | None => Ok(()),
            }
        }
        FindingKind::EndedUnknown => {
            write!(f, "ended at {}, {NO_STATUS}", time(finding.since.time()))
        }
        FindingKind::Suspended => write!(f, "suspended (SIGSTOP) {}", Since(finding.since)),
        FindingKind::Unreadable(error) => write!(f, "{error}, {}", Since(finding.since)),
        FindingKind::Unhealthy => write!(f, "unhealthy {}", Since(finding.since)),
        FindingKind::Crashed { count, within, last } if *count > 1 => {
            let (times, within) = (times(*count), span(*within));
            write!(f, "crashed {times} in the last {within}, last at {}", time(*last))
        }
        FindingKind::Crashed { last, .. } => write!(f, "crashed at {}", time(*last)),
        FindingKind::LimitExceeded(status) => {
            let (over, now, since) = (OverLimit(status), NewestValue(status), Since(finding.since));
            write!(f, "{over}, now {now}, {since}")
        }
        FindingKind::MemoryGrowth { from, now, over, .. } => {
            let mb = mebibytes(now.saturating_sub(*from));
            write!(f, "memory up {mb:.0} MB in the last {}", span(*over))
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", sanitize(&self.plugin))?;
        write_sentence(f, self)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.items.split_first() else {
            let plugins = if self.judged == 1 { "plugin" } else { "plugins" };
            return write!(f, "no findings for {} {plugins}", self.judged);
        };
        first.fmt(f)?;
        rest.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

/// `since 2025-11-24T12:34:14Z`.
struct Since(Onset);

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Onset::At(at) => write!(f, "since {}", time(at)),
            Onset::Before(at) => write!(f, "since before {}", time(at)),
        }
    }
}

/// RFC 3339 in UTC, to the second.
fn time(at: SystemTime) -> humantime::Rfc3339Timestamp {
    // Formatting fails before 1970.
    humantime::format_rfc3339_seconds(at.max(UNIX_EPOCH))
}
