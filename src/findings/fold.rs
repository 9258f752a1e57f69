//! One cause, one finding: what a finding explains becomes its evidence.

use std::time::{Duration, SystemTime};

use super::finding::{Finding, FindingKind, RegressionMetric};

/// Onsets of one cause differ by at most this, or by two samples.
const SAME_CAUSE: Duration = Duration::from_secs(120);

/// Moves findings of one plugin into the evidence of those that explain them. `sample` is the length of a
/// sample.
pub(super) fn fold(findings: &mut Vec<Finding>, sample: Duration) {
    let tolerance = SAME_CAUSE.max(sample.saturating_mul(2));
    let mut index = 0;
    while index < findings.len() {
        let effect = &findings[index];
        let explains = |cause: &Finding| {
            explains(&cause.kind, &effect.kind)
                && (!needs_same_onset(&cause.kind, &effect.kind)
                    || distance(cause.since.time(), effect.since.time()) <= tolerance)
        };
        // Of several causes the first in this order; causes come before what they explain.
        let cause = (0..findings.len())
            .filter(|&other| other != index && explains(&findings[other]))
            .min_by_key(|&other| precedence(&findings[other].kind));
        match cause {
            Some(cause) => {
                let effect = findings.remove(index);
                let cause = &mut findings[cause - usize::from(cause > index)];
                cause.evidence.push(effect.kind);
                cause.evidence.extend(effect.evidence);
                cause.oom_killed = cause.oom_killed.or(effect.oom_killed);
                cause.severity = cause.severity.max(effect.severity);
                cause.impact = cause.impact.max(effect.impact);
            }
            None => index += 1,
        }
    }
}

const fn precedence(kind: &FindingKind) -> u8 {
    match kind {
        FindingKind::CrashLoop { .. } | FindingKind::Suspended => 0,
        FindingKind::Silence { .. } => 1,
        FindingKind::Regression { .. } => 2,
        _ => 3,
    }
}

const fn explains(cause: &FindingKind, effect: &FindingKind) -> bool {
    match cause {
        FindingKind::CrashLoop { .. } => matches!(
            effect,
            FindingKind::Down { .. }
                | FindingKind::Crashed { .. }
                | FindingKind::Regression { metric: RegressionMetric::Crashes, .. }
        ),
        FindingKind::Suspended => matches!(effect, FindingKind::Silence { .. }),
        FindingKind::Silence { .. } => is_cpu(effect),
        FindingKind::Regression { metric, .. } => match metric {
            RegressionMetric::CpuPerEvent | RegressionMetric::Cpu => is_cpu(effect),
            RegressionMetric::Memory => matches!(effect, FindingKind::MemoryStep { .. }),
            RegressionMetric::Crashes => matches!(effect, FindingKind::Crashed { .. }),
        },
        FindingKind::EventSurge { .. } => matches!(effect, FindingKind::Busier { .. }),
        FindingKind::CpuShift { .. } => matches!(effect, FindingKind::Saturated { .. }),
        _ => false,
    }
}

const fn is_cpu(effect: &FindingKind) -> bool {
    matches!(
        effect,
        FindingKind::CpuShift { .. } | FindingKind::Busier { .. } | FindingKind::Saturated { .. }
    )
}

/// Crashes and a suspension explain by what they are.
const fn needs_same_onset(cause: &FindingKind, effect: &FindingKind) -> bool {
    !matches!(cause, FindingKind::CrashLoop { .. } | FindingKind::Suspended)
        && !matches!(effect, FindingKind::Crashed { .. })
}

fn distance(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|error| error.duration())
}
