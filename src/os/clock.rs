//! The clocks, on each platform.

use std::time::{Instant, SystemTime};

pub(crate) use self::platform::{mono, thread_cpu_time};
use crate::time::TimePoint;

/// The current time on all clocks.
pub(crate) fn now() -> TimePoint {
    TimePoint { mono: mono(), wall: SystemTime::now(), boot: platform::boot() }
}

/// The current time, and the same time as an `Instant`.
pub(crate) fn now_with_instant() -> (TimePoint, Instant) {
    let instant = Instant::now();
    (now(), instant)
}

#[cfg(all(target_os = "linux", not(miri)))] // Miri supports the clocks of the other one only
mod platform {
    use std::time::Duration;

    use rustix::time::{ClockId, Timespec, clock_gettime};

    use crate::time::MonoNanos;

    fn duration(time: Timespec) -> Duration {
        let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        Duration::new(secs.unwrap_or(0), nanos.unwrap_or(0))
    }

    /// The time since the machine was started, including suspension: `CLOCK_BOOTTIME` of
    /// clock_gettime(2). Start times in `/proc/PID/stat` are on this clock.
    pub(super) fn boot() -> Duration {
        duration(clock_gettime(ClockId::Boottime))
    }

    /// The reading of the monotonic clock at the start of the machine: room for the times of samples that
    /// are restored from before that, up to a hundred days.
    const MONO_AT_BOOT: u64 = 100 * 24 * 60 * 60 * 1_000_000_000;

    /// `CLOCK_MONOTONIC`, which is also the clock of `Instant`, with another origin.
    pub(crate) fn mono() -> MonoNanos {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
        MonoNanos(MONO_AT_BOOT + tv_sec as u64 * 1_000_000_000 + tv_nsec as u64)
    }

    /// The CPU time of the calling thread: `CLOCK_THREAD_CPUTIME_ID`.
    pub(crate) fn thread_cpu_time() -> Option<Duration> {
        Some(duration(clock_gettime(ClockId::ThreadCPUTime)))
    }
}

#[cfg(any(not(target_os = "linux"), miri))]
mod platform {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use crate::time::{MonoNanos, duration_nanos};

    fn since_1970() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// The time since 1970: the wall clock at the first call, continued by the monotonic clock.
    fn anchored() -> Duration {
        static ANCHOR: OnceLock<(Instant, Duration)> = OnceLock::new();
        let (at, since) = ANCHOR.get_or_init(|| (Instant::now(), since_1970()));
        *since + at.elapsed()
    }

    pub(crate) fn mono() -> MonoNanos {
        MonoNanos(duration_nanos(anchored()))
    }

    /// The time since 1970, the clock of start times on these platforms: the later of the wall
    /// clock and the monotonic clock.
    ///
    /// The monotonic clock of macOS does not advance while the machine sleeps, and a process that
    /// starts after that must not seem to start in the future. The wall clock may be set back.
    pub(super) fn boot() -> Duration {
        anchored().max(since_1970())
    }

    pub(crate) const fn thread_cpu_time() -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_never_go_back() {
        let (a, b) = (now(), now());
        assert!(b.mono >= a.mono && b.boot >= a.boot);
        assert!(a.boot > std::time::Duration::ZERO);
    }
}
