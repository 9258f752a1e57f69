//! What the operating system said of a process, and the CPU share between two of these.

use std::num::NonZeroU64;
use std::time::Duration;

use super::sample::FIRST_ABSENT;

/// A size in memory as the OS said it. Zero is not an answer: it is what is said of a process whose
/// memory is gone, or may not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub NonZeroU64);

impl Bytes {
    #[inline]
    pub(crate) fn known(resident: u64) -> Option<Self> {
        NonZeroU64::new(resident).map(Self)
    }
}

/// A moment on the monotonic clock, in nanoseconds since one that is the same for all readings. Half the
/// size of an `Instant`, and a difference of two is a subtraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mono(pub u64);

/// CPU time in nanoseconds; 584 years fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CpuTime(pub u64);

impl From<Duration> for CpuTime {
    fn from(time: Duration) -> Self {
        Self(nanos(time))
    }
}

impl From<CpuTime> for Duration {
    fn from(time: CpuTime) -> Self {
        Self::from_nanos(time.0)
    }
}

/// What the OS said of one process: a counter that only grows while the process lives, and a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Taken beside the CPU time, not once for all processes.
    pub at: Mono,
    /// Since the process started.
    pub cpu_time: CpuTime,
    /// `None` where the OS did not say; a size of zero is not an answer.
    pub resident: Option<Bytes>,
}

/// A share of one core, in thousandths of a percent: an integer, so that sums are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CpuShare(pub u32);

impl CpuShare {
    /// Thousandths of a percent in one percent.
    pub(crate) const PER_PERCENT: u32 = 1_000;
    const PER_CORE: u32 = 100 * Self::PER_PERCENT;

    /// `busy` over `wall` nanoseconds, to the nearest step. `None` for no time at all, and for a share beyond
    /// what a row can hold (42,949 cores): that is no share but a fault in what was read.
    #[inline]
    pub(crate) fn from_times(CpuTime(busy): CpuTime, wall: u64) -> Option<Self> {
        if wall == 0 {
            return None;
        }
        let share = match busy.checked_mul(u64::from(Self::PER_CORE)) {
            Some(scaled) => scaled.checked_add(wall / 2)? / wall,
            // 51 hours of CPU time in one interval: rare, so it may take the slow division.
            None => {
                let scaled = u128::from(busy) * u128::from(Self::PER_CORE);
                u64::try_from((scaled + u128::from(wall / 2)) / u128::from(wall)).ok()?
            }
        };
        u32::try_from(share).ok().filter(|&share| share < FIRST_ABSENT).map(Self)
    }
}

/// In a `u64`, where the conversion of the standard library goes by way of a `u128`.
#[inline]
fn nanos(time: Duration) -> u64 {
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(time.subsec_nanos()))
}

/// The readings of one run since its plugin's last sample that had a CPU value: what of the first
/// and of the last is needed for a share.
///
/// The two moments stand side by side, and so do the two times: then copying the last to the first is
/// two words. As one double word it would have to wait for its halves, stored a moment ago, to reach
/// the cache, and that wait was longer than all the rest of recording a plugin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    first_at: Mono,
    last_at: Mono,
    first_cpu: CpuTime,
    last_cpu: CpuTime,
}

impl Span {
    pub(crate) const fn starting_with(reading: &Reading) -> Self {
        let &Reading { at, cpu_time, .. } = reading;
        Self { first_at: at, last_at: at, first_cpu: cpu_time, last_cpu: cpu_time }
    }

    /// A span that begins where this one ends.
    pub(crate) const fn continued(mut self) -> Self {
        self.restart();
        self
    }

    #[inline]
    const fn restart(&mut self) {
        self.first_at = self.last_at;
        self.first_cpu = self.last_cpu;
    }

    /// Takes in a later reading, and returns the CPU time since the one before.
    ///
    /// `None` if CPU time went down: then it is not the counter it was, and nothing is known of
    /// the difference. The span begins anew with it.
    #[inline]
    pub(crate) fn push(&mut self, reading: &Reading) -> Option<CpuTime> {
        let used = reading.cpu_time.0.checked_sub(self.last_cpu.0);
        (self.last_at, self.last_cpu) = (reading.at, reading.cpu_time);
        if used.is_none() {
            self.restart();
        }
        used.map(CpuTime)
    }

    /// Earliest and latest reading and the CPU time between, if there were two.
    #[inline]
    fn measured(&self) -> Option<Measured> {
        (self.last_at > self.first_at).then(|| Measured {
            earliest: self.first_at,
            latest: self.last_at,
            busy: CpuTime(self.last_cpu.0 - self.first_cpu.0),
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    earliest: Mono,
    latest: Mono,
    busy: CpuTime,
}

impl Measured {
    fn and(self, other: Self) -> Self {
        Self {
            earliest: self.earliest.min(other.earliest),
            latest: self.latest.max(other.latest),
            busy: CpuTime(self.busy.0.saturating_add(other.busy.0)),
        }
    }
}

/// The CPU share of one plugin over all of its runs, from one sample to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    /// Of the runs that have ended since.
    ended: Option<Measured>,
}

impl Meter {
    /// Keeps what was measured of a run that is over.
    pub(crate) fn keep(&mut self, span: &Span) {
        self.ended = match (self.ended, span.measured()) {
            (Some(ended), Some(more)) => Some(ended.and(more)),
            (ended, more) => ended.or(more),
        };
    }

    /// The share since the last value, and a new beginning; or `None`, and the interval goes on,
    /// if it is shorter than `shortest`.
    #[inline]
    pub(crate) fn take(&mut self, open: Option<&mut Span>, shortest: Duration) -> Option<CpuShare> {
        let running = open.as_ref().and_then(|span| span.measured());
        let all = match (self.ended, running) {
            (Some(ended), Some(running)) => ended.and(running),
            (ended, running) => ended.or(running)?,
        };
        let wall = all.latest.0.saturating_sub(all.earliest.0);
        if wall < nanos(shortest) {
            return None;
        }
        self.ended = None;
        if let Some(span) = open {
            span.restart();
        }
        CpuShare::from_times(all.busy, wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn share(busy: Duration, wall: Duration) -> Option<CpuShare> {
        CpuShare::from_times(busy.into(), nanos(wall))
    }

    fn reading(at_ms: u32, cpu_ms: u32) -> Reading {
        Reading {
            at: Mono(1_000_000 * u64::from(at_ms)),
            cpu_time: (cpu_ms * MS).into(),
            resident: None,
        }
    }

    #[test]
    fn one_hundred_percent_is_one_core_and_four_busy_threads_read_four_hundred() {
        assert_eq!(share(5_000 * MS, 5_000 * MS), Some(CpuShare(100_000)));
        assert_eq!(share(4_000 * MS, 1_000 * MS), Some(CpuShare(400_000)));
        assert_eq!(share(MS, 3_000 * MS), Some(CpuShare(33)));
        assert_eq!(share(2 * MS, 3_000 * MS), Some(CpuShare(67)));
    }

    #[test]
    fn a_share_that_no_machine_can_have_is_no_share() {
        assert_eq!(share(Duration::MAX, MS), None);
        assert_eq!(share(MS, Duration::ZERO), None);
        let long = Duration::from_secs(400_000_000);
        assert_eq!(share(long, long), Some(CpuShare(100_000)));
        // The largest that a row can hold, and the next.
        let steps = |steps: u32| CpuShare::from_times(CpuTime(steps.into()), 100_000);
        assert_eq!(steps(u32::MAX - 2), Some(CpuShare(u32::MAX - 2)));
        assert_eq!(steps(u32::MAX - 1), None);
        assert_eq!(steps(u32::MAX), None);
    }

    #[test]
    fn a_share_is_rounded_to_the_nearest_step_also_of_times_too_long_for_the_fast_way() {
        for unit in [MS, Duration::from_secs(100_000_000)] {
            for (busy, expected) in [(1, 33_333), (2, 66_667), (3, 100_000)] {
                assert_eq!(share(unit * busy, unit * 3), Some(CpuShare(expected)));
            }
        }
    }

    #[test]
    fn an_interval_that_is_too_short_gives_no_value_and_goes_on() {
        let mut span = Span::starting_with(&reading(0, 0));
        let mut meter = Meter::default();
        span.push(&reading(50, 50));
        assert_eq!(meter.take(Some(&mut span), 100 * MS), None);
        span.push(&reading(100, 50));
        assert_eq!(meter.take(Some(&mut span), 100 * MS), Some(CpuShare(50_000)));
        span.push(&reading(200, 75));
        assert_eq!(meter.take(Some(&mut span), 100 * MS), Some(CpuShare(25_000)));
    }

    #[test]
    fn two_runs_in_one_interval_are_summed_over_the_time_from_first_to_last_reading() {
        let mut meter = Meter::default();
        let mut first = Span::starting_with(&reading(0, 0));
        first.push(&reading(100, 40));
        meter.keep(&first);
        let mut second = Span::starting_with(&reading(150, 0));
        second.push(&reading(200, 10));
        // 40 ms and 10 ms over the 200 ms from the first reading to the last.
        assert_eq!(meter.take(Some(&mut second), MS), Some(CpuShare(25_000)));
        assert_eq!(meter.take(None, MS), None);
    }

    #[test]
    fn a_run_that_was_read_once_says_nothing_and_is_not_part_of_the_interval() {
        let mut meter = Meter::default();
        meter.keep(&Span::starting_with(&reading(0, 700)));
        let mut second = Span::starting_with(&reading(900, 0));
        assert_eq!(meter.take(Some(&mut second), MS), None);
        second.push(&reading(1_000, 30));
        assert_eq!(meter.take(Some(&mut second), MS), Some(CpuShare(30_000)));
    }

    #[test]
    fn cpu_time_that_goes_down_yields_no_difference_and_a_new_beginning() {
        let mut span = Span::starting_with(&reading(0, 500));
        assert_eq!(span.push(&reading(100, 20)), None);
        assert_eq!(span.push(&reading(200, 30)), Some((10 * MS).into()));
        assert_eq!(Meter::default().take(Some(&mut span), MS), Some(CpuShare(10_000)));
    }
}
