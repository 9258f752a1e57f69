//! The status of a plugin: the highest severity of its findings in one of three words.

use serde::Serialize;

use crate::findings::{Finding, Severity};

/// In ascending order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PluginStatus {
    Ok,
    Warning,
    Error,
}

impl PluginStatus {
    pub(super) fn of_findings(findings: &[Finding]) -> Self {
        Self::from_severity(findings.iter().map(|finding| finding.severity).max())
    }

    const fn from_severity(highest: Option<Severity>) -> Self {
        match highest {
            Some(Severity::Critical) => Self::Error,
            Some(Severity::Warning) => Self::Warning,
            Some(Severity::Notice) | None => Self::Ok,
        }
    }

    /// The name in JSON.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
