//! The units of stored values, as types.

use std::num::NonZeroU64;
use std::time::Duration;

use super::metric::FIRST_MISSING;
use crate::time::duration_nanos;

/// A resident size in bytes. Never zero: the kernel reports zero for a process whose memory is
/// gone or may not be inspected, so zero is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResidentBytes(pub NonZeroU64);

impl ResidentBytes {
    /// `None` for zero.
    #[inline]
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        NonZeroU64::new(bytes).map(Self)
    }
}

/// CPU time in nanoseconds; 584 years fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CpuTime(pub u64);

impl From<Duration> for CpuTime {
    fn from(time: Duration) -> Self {
        Self(duration_nanos(time))
    }
}

impl From<CpuTime> for Duration {
    fn from(time: CpuTime) -> Self {
        Self::from_nanos(time.0)
    }
}

/// A share of one core, in thousandths of a percent: an integer, so that sums are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CpuShare(pub u32);

impl CpuShare {
    /// Thousandths of a percent in one percent.
    pub(crate) const PER_PERCENT: u32 = 1_000;
    /// Thousandths of a percent in one core.
    pub(crate) const PER_CORE: u32 = 100 * Self::PER_PERCENT;

    /// `busy` over `wall` nanoseconds, to the nearest step. `None` if `wall` is zero, and for a
    /// share that a packed sample cannot hold (42,949 cores): such a share is a faulty reading.
    #[inline]
    pub(crate) fn from_times(CpuTime(busy): CpuTime, wall: u64) -> Option<Self> {
        if wall == 0 {
            return None;
        }
        let share = match busy.checked_mul(u64::from(Self::PER_CORE)) {
            Some(scaled) => scaled.checked_add(wall / 2)? / wall,
            // 51 hours of CPU time in one interval: rare, so the slow division is acceptable.
            None => {
                let scaled = u128::from(busy) * u128::from(Self::PER_CORE);
                u64::try_from((scaled + u128::from(wall / 2)) / u128::from(wall)).ok()?
            }
        };
        u32::try_from(share).ok().filter(|&share| share < FIRST_MISSING).map(Self)
    }

    /// In percent of one core.
    pub(crate) fn percent(self) -> f64 {
        f64::from(self.0) / f64::from(Self::PER_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn share(busy: Duration, wall: Duration) -> Option<CpuShare> {
        CpuShare::from_times(busy.into(), duration_nanos(wall))
    }

    #[test]
    fn cpu_share_of_one_busy_core_is_one_hundred_percent() {
        assert_eq!(share(5_000 * MS, 5_000 * MS), Some(CpuShare(100_000)));
        assert_eq!(share(4_000 * MS, 1_000 * MS), Some(CpuShare(400_000)));
        assert_eq!(share(MS, 3_000 * MS), Some(CpuShare(33)));
        assert_eq!(share(2 * MS, 3_000 * MS), Some(CpuShare(67)));
    }

    #[test]
    fn impossible_cpu_share_is_none() {
        assert_eq!(share(Duration::MAX, MS), None);
        assert_eq!(share(MS, Duration::ZERO), None);
        let long = Duration::from_secs(400_000_000);
        assert_eq!(share(long, long), Some(CpuShare(100_000)));
        // The largest share that a packed sample can hold, and the next two.
        let steps = |steps: u32| CpuShare::from_times(CpuTime(steps.into()), 100_000);
        assert_eq!(steps(u32::MAX - 2), Some(CpuShare(u32::MAX - 2)));
        assert_eq!(steps(u32::MAX - 1), None);
        assert_eq!(steps(u32::MAX), None);
    }

    /// Also for times that are too long for the fast division.
    #[test]
    fn cpu_share_is_rounded_to_nearest_step() {
        for unit in [MS, Duration::from_secs(100_000_000)] {
            for (busy, expected) in [(1, 33_333), (2, 66_667), (3, 100_000)] {
                assert_eq!(share(unit * busy, unit * 3), Some(CpuShare(expected)));
            }
        }
    }
}
