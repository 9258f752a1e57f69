//! How severe a finding is, and how much of the machine it takes.

use super::finding::{Finding, FindingKind, RegressionMetric, Severity};
use crate::{LimitMetric, Snapshot};

/// More CPU than normal from which a shift is a warning, in percent of a core and as a share of the
/// machine.
const WARNING_CPU: f64 = 25.0;
const WARNING_SHARE: f64 = 0.1;
/// From this share of the machine on a shift is critical.
const CRITICAL_SHARE: f64 = 0.5;
/// A silent plugin with so much CPU keeps a core busy.
pub(super) const BUSY_PERCENT: f64 = 90.0;
/// Bytes of a megabyte in which limits are set.
const MIB: f64 = 1_048_576.0;
/// Growth is critical, or a warning, if memory runs out within these hours; also a warning from this
/// share an hour.
const CRITICAL_HOURS: f64 = 0.5;
const WARNING_HOURS: f64 = 24.0;
const WARNING_GROWTH: f64 = 0.1;

/// Sets severity and impact by kind and evidence.
pub(super) fn weigh(finding: &mut Finding, snapshot: &Snapshot) {
    use Severity::{Critical, Notice, Warning};
    let cores = snapshot.cpu_cores().max(1) as f64;
    let of_cores = |percent: f64| percent.max(0.0) / 100.0 / cores;
    let memory = snapshot.machine_memory_bytes().map(|bytes| bytes as f64);
    let or_notice = |is: bool, severity| if is { severity } else { Notice };
    let (severity, impact) = match &finding.kind {
        FindingKind::Down { .. } | FindingKind::CrashLoop { .. } => (Critical, 1.0),
        FindingKind::Suspended | FindingKind::Unhealthy => (Warning, 0.5),
        FindingKind::EndedUnknown | FindingKind::Crashed { .. } => (Warning, 0.2),
        FindingKind::Unreadable(_) | FindingKind::Survivors { .. } => (Warning, 0.1),
        FindingKind::Silence { cpu_percent, .. } => {
            let cpu = cpu_percent.unwrap_or(0.0);
            (if cpu >= BUSY_PERCENT { Critical } else { Warning }, 0.5 + of_cores(cpu))
        }
        FindingKind::Saturated { percent } => (Warning, of_cores(*percent)),
        FindingKind::CpuShift { before, now, .. } => {
            let share = of_cores(now - before);
            let is_large = now - before >= WARNING_CPU || share >= WARNING_SHARE;
            let severity =
                if share >= CRITICAL_SHARE { Critical } else { or_notice(is_large, Warning) };
            (severity, share)
        }
        FindingKind::Busier { before, now } => (Notice, of_cores(now - before)),
        FindingKind::CpuSpike { cpu_time, .. } => {
            (Notice, (cpu_time.as_secs_f64() / 600.0 / cores).min(0.2))
        }
        FindingKind::MemoryGrowth { now, per_hour, limit_in, .. } => {
            let to_limit = limit_in.map(|time| time.as_secs_f64() / 3_600.0);
            let room = memory.map(|memory| (memory - *now as f64).max(0.0));
            let to_end = room.map(|room| room / per_hour.max(1.0));
            let hours = to_limit.into_iter().chain(to_end).fold(f64::INFINITY, f64::min);
            let is_fast = hours < WARNING_HOURS || *per_hour > WARNING_GROWTH * *now as f64;
            let severity =
                if hours < CRITICAL_HOURS { Critical } else { or_notice(is_fast, Warning) };
            (severity, (1.0 / hours.max(0.1)).min(1.0))
        }
        FindingKind::MemoryStep { before, now } => {
            let rise = now.saturating_sub(*before) as f64;
            (Notice, memory.map_or(0.05, |memory| rise / memory.max(1.0)))
        }
        FindingKind::EventSurge { .. } => (Notice, 0.05),
        FindingKind::Regression { metric, before, now, .. } => {
            let impact = match metric {
                RegressionMetric::Cpu => of_cores(now - before),
                RegressionMetric::CpuPerEvent
                | RegressionMetric::Memory
                | RegressionMetric::Crashes => 0.1 * (now / before.max(1e-9)).min(5.0),
            };
            (or_notice(*now >= 2.0 * before, Warning), impact)
        }
        // The host has chosen the severity.
        FindingKind::LimitExceeded(status) => {
            let value = status.value.or(status.peak).unwrap_or(status.limit.above);
            let impact = match status.limit.metric {
                LimitMetric::CpuPercent => of_cores(value),
                LimitMetric::MemoryMb => {
                    memory.map_or(0.1, |memory| (value * MIB / memory.max(1.0)).min(1.0))
                }
                LimitMetric::SilentSeconds | LimitMetric::Crashes { .. } => 0.5,
                LimitMetric::ProcessCount | LimitMetric::EventsPerSecond => 0.1,
            };
            (status.limit.severity, impact)
        }
    };
    (finding.severity, finding.impact) = (severity, impact);
}
