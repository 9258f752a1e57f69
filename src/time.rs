//! Points in time as values. Clocks are read in `os/` alone.

use std::time::{Duration, SystemTime};

/// Nanoseconds on the operating system's monotonic clock; 584 years fit.
///
/// Half the size of an `Instant`, and a difference is one subtraction. Readings, deadlines and the
/// history share this one origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MonoNanos(pub u64);

impl MonoNanos {
    /// The time from `earlier` to this; zero if `earlier` is later.
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `None` beyond the end of the clock.
    pub(crate) fn checked_add(self, time: Duration) -> Option<Self> {
        self.0.checked_add(u64::try_from(time.as_nanos()).ok()?).map(Self)
    }

    /// `None` before the origin of the clock.
    pub(crate) fn checked_sub(self, time: Duration) -> Option<Self> {
        self.0.checked_sub(u64::try_from(time.as_nanos()).ok()?).map(Self)
    }
}

/// In a `u64`, where the conversion of the standard library goes by way of a `u128`.
#[inline]
pub(crate) fn duration_nanos(time: Duration) -> u64 {
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(time.subsec_nanos()))
}

/// One point in time on three clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimePoint {
    /// Orders and measures: windows, deadlines, CPU shares. On Linux and macOS it does not advance
    /// while the machine sleeps.
    pub mono: MonoNanos,
    /// For display. It may be set at any time, so nothing is computed from it.
    pub wall: SystemTime,
    /// Measures age: advances while the machine sleeps. On Linux it cannot be set; elsewhere it
    /// follows the wall clock when that is set forward.
    pub boot: Duration,
}

impl TimePoint {
    /// This time point plus `time`. A clock that would overflow stays where it is.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn after(self, time: Duration) -> Self {
        Self {
            mono: self.mono.checked_add(time).unwrap_or(self.mono),
            wall: self.wall.checked_add(time).unwrap_or(self.wall),
            boot: self.boot.saturating_add(time),
        }
    }

    /// The wall clock's time of a time on the boot clock, which may be earlier than this one.
    pub(crate) fn wall_of(&self, boot: Duration) -> Option<SystemTime> {
        match self.boot.checked_sub(boot) {
            Some(ago) => self.wall.checked_sub(ago),
            None => self.wall.checked_add(boot - self.boot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_boot(boot: u64) -> TimePoint {
        TimePoint {
            mono: MonoNanos(1_000),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
            boot: Duration::from_secs(boot),
        }
    }

    #[test]
    fn wall_time_follows_boot_clock_distance() {
        let start = at_boot(50).wall_of(Duration::from_secs(20)).unwrap();
        assert_eq!(start, SystemTime::UNIX_EPOCH + Duration::from_secs(970));
        let ahead = at_boot(50).wall_of(Duration::from_secs(51)).unwrap();
        assert_eq!(ahead, SystemTime::UNIX_EPOCH + Duration::from_secs(1_001));
    }

    #[test]
    fn time_point_overflow_keeps_the_clock() {
        let now = at_boot(0);
        let far = now.after(Duration::MAX);
        assert!(far.mono >= now.mono && far.wall >= now.wall);
    }

    #[test]
    fn mono_nanos_out_of_range_is_none() {
        let now = MonoNanos(5_000_000_000);
        assert_eq!(now.checked_sub(Duration::from_secs(5)), Some(MonoNanos(0)));
        assert_eq!(now.checked_sub(Duration::from_nanos(5_000_000_001)), None);
        assert_eq!(now.checked_add(Duration::MAX), None);
        assert_eq!(now.since(MonoNanos(2_000_000_000)), Duration::from_secs(3));
        assert_eq!(MonoNanos(0).since(now), Duration::ZERO);
        assert_eq!(duration_nanos(Duration::MAX), u64::MAX);
    }
}
