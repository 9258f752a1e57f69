//! The CPU share between readings of one plugin's processes.

use crate::history::units::{CpuShare, CpuTime};
use crate::os::reading::Reading;
use crate::time::MonoNanos;

/// The readings of one run since its plugin's last sample with a CPU value: the parts of the first
/// and the last reading that a share needs.
///
/// The two times stand side by side, and so do the two CPU times: then copying the last to the
/// first is two words. As one double word the copy would wait for its halves, stored just before,
/// to reach the cache, and that wait was measured to be longer than all other recording of a plugin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadingSpan {
    first_at: MonoNanos,
    last_at: MonoNanos,
    first_cpu: CpuTime,
    last_cpu: CpuTime,
}

impl ReadingSpan {
    /// `None` if the reading has no CPU time.
    #[inline]
    pub(crate) fn starting_with(reading: &Reading) -> Option<Self> {
        let &Reading { at, cpu_time, .. } = reading;
        let cpu = cpu_time?;
        Some(Self { first_at: at, last_at: at, first_cpu: cpu, last_cpu: cpu })
    }

    /// A span that begins where this one ends.
    pub(crate) const fn continued(mut self) -> Self {
        self.restart();
        self
    }

    /// When the interval began.
    pub(crate) const fn first_at(&self) -> MonoNanos {
        self.first_at
    }

    /// When the last reading was taken.
    pub(crate) const fn last_at(&self) -> MonoNanos {
        self.last_at
    }

    /// Whether there is a later reading than the one with which the interval began.
    pub(crate) fn has_two_readings(&self) -> bool {
        self.last_at > self.first_at
    }

    /// The CPU time at the beginning of the interval.
    pub(crate) const fn first_cpu(&self) -> CpuTime {
        self.first_cpu
    }

    /// The CPU time of the last reading.
    pub(crate) const fn last_cpu(&self) -> CpuTime {
        self.last_cpu
    }

    /// The first reading of a run: CPU time up to `from` does not belong to it.
    pub(crate) fn count_from(&mut self, from: CpuTime) {
        self.first_cpu = self.first_cpu.max(from);
        self.last_cpu = self.last_cpu.max(from);
    }

    /// CPU time between the first and the last reading.
    pub(crate) const fn busy(&self) -> CpuTime {
        CpuTime(self.last_cpu.0 - self.first_cpu.0)
    }

    #[inline]
    const fn restart(&mut self) {
        self.first_at = self.last_at;
        self.first_cpu = self.last_cpu;
    }

    /// Adds a later reading, and returns the CPU time since the previous one.
    ///
    /// `None` if the reading has no CPU time: then the span continues. `None` also if CPU time went
    /// down: then the counter was reset, the difference is unknown, and the span restarts with this
    /// reading.
    #[inline]
    pub(crate) fn push(&mut self, reading: &Reading) -> Option<CpuTime> {
        let cpu_time = reading.cpu_time?;
        let used = cpu_time.0.checked_sub(self.last_cpu.0);
        (self.last_at, self.last_cpu) = (reading.at, cpu_time);
        if used.is_none() {
            self.restart();
        }
        used.map(CpuTime)
    }

    /// Adds the last reading of a process, and returns the CPU time since the previous one.
    ///
    /// Another thread has taken it, so it may be older than the previous one, which then read the
    /// same final value, or a value with a coarser step.
    pub(crate) fn push_last(&mut self, last: &Reading) -> CpuTime {
        let at = last.at.max(self.last_at);
        let cpu_time = last.cpu_time.map_or(self.last_cpu, |cpu| cpu.max(self.last_cpu));
        self.push(&Reading::new(at, cpu_time, None)).unwrap_or_default()
    }

    /// The interval from the first to the last reading and its CPU time; `None` with one reading.
    #[inline]
    fn measured(&self) -> Option<BusyInterval> {
        self.has_two_readings().then(|| BusyInterval {
            start: self.first_at,
            end: self.last_at,
            busy: self.busy(),
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct BusyInterval {
    start: MonoNanos,
    end: MonoNanos,
    busy: CpuTime,
}

impl BusyInterval {
    fn and(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
            busy: CpuTime(self.busy.0.saturating_add(other.busy.0)),
        }
    }
}

/// The CPU share of one plugin over all of its runs, from one sample to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuMeter {
    /// Of the runs that have ended since the last sample with a value.
    ended: Option<BusyInterval>,
}

impl CpuMeter {
    /// Keeps the interval of a run that has ended.
    pub(crate) fn keep(&mut self, span: &ReadingSpan) {
        self.ended = match (self.ended, span.measured()) {
            (Some(ended), Some(more)) => Some(ended.and(more)),
            (ended, more) => ended.or(more),
        };
    }

    /// The share since the last value; a new interval begins. `None` if the interval is shorter than
    /// `min_nanos`: then it continues.
    #[inline]
    pub(crate) fn take(
        &mut self,
        active: Option<&mut ReadingSpan>,
        min_nanos: u64,
    ) -> Option<CpuShare> {
        let running = active.as_ref().and_then(|span| span.measured());
        let all = match (self.ended, running) {
            (Some(ended), Some(running)) => ended.and(running),
            (ended, running) => ended.or(running)?,
        };
        let wall = all.end.0.saturating_sub(all.start.0);
        if wall < min_nanos {
            return None;
        }
        self.ended = None;
        if let Some(span) = active {
            span.restart();
        }
        CpuShare::from_times(all.busy, wall)
    }

    /// Drops the interval of ended runs that was too short for a share, and returns when it began.
    ///
    /// A tick without an active run calls it. The next run may begin much later, and the time until then
    /// would be part of its first share.
    #[inline]
    pub(crate) fn drop_ended(&mut self) -> Option<MonoNanos> {
        self.ended.take().map(|ended| ended.start)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A millisecond in nanoseconds.
    const MS: u64 = 1_000_000;

    fn cpu(millis: u32) -> CpuTime {
        Duration::from_millis(millis.into()).into()
    }

    fn reading(at_ms: u32, cpu_ms: u32) -> Reading {
        Reading::new(MonoNanos(1_000_000 * u64::from(at_ms)), cpu(cpu_ms), None)
    }

    #[test]
    fn short_interval_gives_no_value_and_continues() {
        let mut span = ReadingSpan::starting_with(&reading(0, 0)).unwrap();
        let mut meter = CpuMeter::default();
        span.push(&reading(50, 50));
        assert_eq!(meter.take(Some(&mut span), 100 * MS), None);
        span.push(&reading(100, 50));
        assert_eq!(meter.take(Some(&mut span), 100 * MS), Some(CpuShare(50_000)));
        span.push(&reading(200, 75));
        assert_eq!(meter.take(Some(&mut span), 100 * MS), Some(CpuShare(25_000)));
    }

    /// Over the time from the first to the last reading.
    #[test]
    fn two_runs_in_one_interval_are_summed() {
        let mut meter = CpuMeter::default();
        let mut first = ReadingSpan::starting_with(&reading(0, 0)).unwrap();
        first.push(&reading(100, 40));
        meter.keep(&first);
        let mut second = ReadingSpan::starting_with(&reading(150, 0)).unwrap();
        second.push(&reading(200, 10));
        // 40 ms and 10 ms over the 200 ms from the first reading to the last.
        assert_eq!(meter.take(Some(&mut second), MS), Some(CpuShare(25_000)));
        assert_eq!(meter.take(None, MS), None);
    }

    #[test]
    fn run_with_one_reading_is_not_part_of_interval() {
        let mut meter = CpuMeter::default();
        meter.keep(&ReadingSpan::starting_with(&reading(0, 700)).unwrap());
        let mut second = ReadingSpan::starting_with(&reading(900, 0)).unwrap();
        assert_eq!(meter.take(Some(&mut second), MS), None);
        second.push(&reading(1_000, 30));
        assert_eq!(meter.take(Some(&mut second), MS), Some(CpuShare(30_000)));
    }

    #[test]
    fn last_reading_never_reduces_time_or_cpu() {
        let mut span = ReadingSpan::starting_with(&reading(0, 0)).unwrap();
        assert_eq!(span.push_last(&reading(100, 40)), cpu(40));
        // The sampler's own reading was later: of the same value, then with a coarser step.
        assert_eq!(span.push_last(&reading(90, 40)), CpuTime::default());
        assert_eq!(span.push_last(&reading(90, 30)), CpuTime::default());
        assert_eq!(CpuMeter::default().take(Some(&mut span), MS), Some(CpuShare(40_000)));
    }

    #[test]
    fn decreasing_cpu_time_restarts_span() {
        let mut span = ReadingSpan::starting_with(&reading(0, 500)).unwrap();
        assert_eq!(span.push(&reading(100, 20)), None);
        assert_eq!(span.push(&reading(200, 30)), Some(cpu(10)));
        assert_eq!(CpuMeter::default().take(Some(&mut span), MS), Some(CpuShare(10_000)));
    }

    #[test]
    fn reading_without_cpu_time_continues_span() {
        let unknown = |at_ms| Reading { cpu_time: None, ..reading(at_ms, 0) };
        assert!(ReadingSpan::starting_with(&unknown(0)).is_none());
        let mut span = ReadingSpan::starting_with(&reading(0, 0)).unwrap();
        assert_eq!(span.push(&unknown(100)), None);
        assert_eq!(CpuMeter::default().take(Some(&mut span), MS), None);
        assert_eq!(span.push(&reading(200, 50)), Some(cpu(50)));
        assert_eq!(CpuMeter::default().take(Some(&mut span), MS), Some(CpuShare(25_000)));
    }
}
