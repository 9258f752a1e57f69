//! The clocks. Twin implementations with one face.

use std::time::{Instant, SystemTime};

use crate::model::time::Now;

pub(crate) use self::platform::thread_cpu_time;

/// This moment on the monotonic clock, for readings.
pub(crate) use self::platform::mono;

/// This moment.
pub(crate) fn now() -> Now {
    Now { mono: Instant::now(), wall: SystemTime::now(), boot: platform::boot() }
}

#[cfg(all(target_os = "linux", not(miri)))] // Miri has two clocks, those of the other twin
mod platform {
    use std::time::Duration;

    use rustix::time::{ClockId, Timespec, clock_gettime};

    use crate::model::reading::Mono;

    fn duration(time: Timespec) -> Duration {
        let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        Duration::new(secs.unwrap_or(0), nanos.unwrap_or(0))
    }

    /// Time since the machine was started, also that during which it slept: `CLOCK_BOOTTIME`, see
    /// clock_gettime(2). It is the clock of the start times in `/proc/PID/stat`.
    pub(super) fn boot() -> Duration {
        duration(clock_gettime(ClockId::Boottime))
    }

    pub(crate) fn mono() -> Mono {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
        Mono(tv_sec as u64 * 1_000_000_000 + tv_nsec as u64)
    }

    /// CPU time of the calling thread: `CLOCK_THREAD_CPUTIME_ID`.
    pub(crate) fn thread_cpu_time() -> Option<Duration> {
        Some(duration(clock_gettime(ClockId::ThreadCPUTime)))
    }
}

#[cfg(any(not(target_os = "linux"), miri))]
mod platform {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use crate::model::reading::{CpuTime, Mono};

    fn since_1970() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// Time since 1970 as the wall clock said it first, and from then on by the monotonic clock.
    fn anchored() -> Duration {
        static ANCHOR: OnceLock<(Instant, Duration)> = OnceLock::new();
        let (at, since) = ANCHOR.get_or_init(|| (Instant::now(), since_1970()));
        *since + at.elapsed()
    }

    pub(crate) fn mono() -> Mono {
        Mono(CpuTime::from(anchored()).0)
    }

    /// Time since 1970, which is what start times are said in here. By the wall clock where that is
    /// ahead: the monotonic clock of macOS stands still while the machine sleeps, and a process that was
    /// started after that must not seem to begin in the future. Where the wall clock was set back, by
    /// the monotonic one.
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
    fn all_clocks_go_forward() {
        let (a, b) = (now(), now());
        assert!(b.mono >= a.mono && b.boot >= a.boot);
        assert!(a.boot > std::time::Duration::ZERO);
    }
}
