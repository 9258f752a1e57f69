//! The deadlines of ticks.

use std::time::Duration;

use crate::time::MonoNanos;

/// Absolute deadlines: the start, and every interval after it. A late tick delays none after it;
/// deadlines that have passed are counted as missed and not made up for.
#[derive(Debug)]
pub(crate) struct TickSchedule {
    start: MonoNanos,
    interval: Duration,
    /// Number of the next deadline; the start is number 0.
    next: u64,
    missed: u64,
}

impl TickSchedule {
    pub(crate) const fn new(start: MonoNanos, interval: Duration) -> Self {
        Self { start, interval, next: 0, missed: 0 }
    }

    /// The next deadline; `None` beyond the end of the clock.
    pub(crate) fn deadline(&self) -> Option<MonoNanos> {
        let interval = u64::try_from(self.interval.as_nanos()).ok()?;
        self.start.checked_add(Duration::from_nanos(interval.checked_mul(self.next)?))
    }

    pub(crate) fn is_due(&self, now: MonoNanos) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// A tick happens at `now`. If one was due, it is the one of the latest deadline that has
    /// passed, and those between were missed.
    pub(crate) fn tick(&mut self, now: MonoNanos) {
        if !self.is_due(now) {
            return;
        }
        let since = now.since(self.start).as_nanos();
        let latest = u64::try_from(since / self.interval.as_nanos()).unwrap_or(u64::MAX - 1);
        self.missed += latest - self.next;
        self.next = latest + 1;
    }

    pub(crate) const fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);
    const START: MonoNanos = MonoNanos(7_000);

    fn after(time: Duration) -> MonoNanos {
        START.checked_add(time).unwrap()
    }

    /// However late within its interval a tick is, the next deadline does not move.
    #[test]
    fn deadlines_are_start_plus_multiples_of_interval() {
        let mut schedule = TickSchedule::new(START, INTERVAL);
        for k in 0..100 {
            let deadline = after(INTERVAL * k);
            assert_eq!(schedule.deadline(), Some(deadline));
            assert!(!schedule.is_due(MonoNanos(deadline.0 - 1)));
            let late = INTERVAL.mul_f64(f64::from(k % 10) / 10.0);
            schedule.tick(after(INTERVAL * k + late));
        }
        assert_eq!(schedule.missed(), 0);
    }

    #[test]
    fn missed_deadlines_are_counted_and_skipped() {
        let mut schedule = TickSchedule::new(START, INTERVAL);
        schedule.tick(START);
        // Due at 5; it is 17: those at 5 and 10 are missed, this tick is the one of 15.
        schedule.tick(after(Duration::from_secs(17)));
        assert_eq!(schedule.missed(), 2);
        assert_eq!(schedule.deadline(), Some(after(Duration::from_secs(20))));
        assert!(!schedule.is_due(after(Duration::from_secs(19))));
    }

    #[test]
    fn extra_tick_moves_no_deadline() {
        let mut schedule = TickSchedule::new(START, INTERVAL);
        schedule.tick(START);
        schedule.tick(after(Duration::from_secs(2)));
        assert_eq!(schedule.deadline(), Some(after(INTERVAL)));
        assert_eq!(schedule.missed(), 0);
    }
}
