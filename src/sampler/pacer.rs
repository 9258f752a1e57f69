//! When the next tick is due.

use std::time::{Duration, Instant};

/// Absolute deadlines: the start, and every interval after it. A tick that is late delays none
/// after it; deadlines that have passed are counted, not made up for.
#[derive(Debug)]
pub(crate) struct Pacer {
    start: Instant,
    interval: Duration,
    /// Number of the next deadline; the start is number 0.
    next: u64,
    missed: u64,
}

impl Pacer {
    pub(crate) const fn new(start: Instant, interval: Duration) -> Self {
        Self { start, interval, next: 0, missed: 0 }
    }

    /// The next deadline; `None` if the clock does not reach so far.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let interval = u64::try_from(self.interval.as_nanos()).ok()?;
        self.start.checked_add(Duration::from_nanos(interval.checked_mul(self.next)?))
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// A tick happens at `now`. If one was due, it is for the latest deadline that has passed, and
    /// those between were missed.
    pub(crate) fn tick(&mut self, now: Instant) {
        if !self.is_due(now) {
            return;
        }
        let since = now.duration_since(self.start).as_nanos();
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

    #[test]
    fn the_first_deadline_is_the_start_and_each_is_an_interval_after_the_one_before() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, INTERVAL);
        for k in 0..100 {
            let deadline = start + INTERVAL * k;
            assert_eq!(pacer.deadline(), Some(deadline));
            assert!(!pacer.is_due(deadline - Duration::from_nanos(1)) || k == 0);
            // However late within its interval a tick is, the next deadline stays where it is.
            pacer.tick(deadline + INTERVAL.mul_f64(f64::from(k % 10) / 10.0));
        }
        assert_eq!(pacer.missed(), 0);
    }

    #[test]
    fn deadlines_that_have_passed_are_counted_and_not_made_up_for() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, INTERVAL);
        pacer.tick(start);
        // Due at 5; it is 17: those of 5 and 10 are missed, this tick is for 15.
        pacer.tick(start + Duration::from_secs(17));
        assert_eq!(pacer.missed(), 2);
        assert_eq!(pacer.deadline(), Some(start + Duration::from_secs(20)));
        assert!(!pacer.is_due(start + Duration::from_secs(19)));
    }

    #[test]
    fn an_extra_tick_moves_no_deadline() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start, INTERVAL);
        pacer.tick(start);
        pacer.tick(start + Duration::from_secs(2));
        assert_eq!(pacer.deadline(), Some(start + INTERVAL));
        assert_eq!(pacer.missed(), 0);
    }
}
