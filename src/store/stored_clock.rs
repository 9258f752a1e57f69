//! The time in a store, which never goes back.

use super::row::TickTime;

/// A difference that two readings of clocks one after the other explain.
const TOLERANCE_MS: i64 = 1_000;

/// Turns the wall clock into times that increase. Where it was set back, time goes on by the boot clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredClock {
    last: TickTime,
    /// The earliest time of the next tick. The first may be in the millisecond of the start.
    next_ms: i64,
    /// How far stored times are ahead of the wall clock.
    step_ms: i64,
}

impl StoredClock {
    /// The clock of a new session. `last` is the newest time in the store, `is_same_boot` whether the
    /// machine was not started since.
    pub(super) fn begin(
        wall_ms: i64,
        boot_ms: i64,
        last: Option<TickTime>,
        is_same_boot: bool,
    ) -> Self {
        let earliest = last.map_or(i64::MIN, |last| {
            let gap = if is_same_boot { boot_ms - last.boot_ms } else { 1 };
            // A gap of less than the tolerance: the clocks were read one after the other.
            let is_close = last.at_ms + gap - wall_ms <= TOLERANCE_MS;
            last.at_ms + if is_close { 1 } else { gap.max(1) }
        });
        let at_ms = wall_ms.max(earliest);
        Self { last: TickTime { at_ms, boot_ms }, next_ms: at_ms, step_ms: at_ms - wall_ms }
    }

    /// The newest time.
    pub(super) const fn last(&self) -> TickTime {
        self.last
    }

    /// How far stored times are ahead of the wall clock, because that was set back.
    pub(super) const fn step_ms(&self) -> i64 {
        self.step_ms
    }

    /// The stored time of a tick.
    pub(super) fn tick(&mut self, wall_ms: i64, boot_ms: i64) -> TickTime {
        let boot_ms = boot_ms.max(self.last.boot_ms);
        let expected = self.last.at_ms + (boot_ms - self.last.boot_ms);
        let at_ms = if expected - wall_ms <= TOLERANCE_MS {
            wall_ms.max(self.next_ms)
        } else {
            expected.max(self.next_ms)
        };
        self.last = TickTime { at_ms, boot_ms };
        self.next_ms = at_ms + 1;
        self.step_ms = at_ms - wall_ms;
        self.last
    }

    /// The stored time of another time on the wall clock.
    pub(super) const fn stored(&self, wall_ms: i64) -> i64 {
        wall_ms.saturating_add(self.step_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn first_tick_may_be_in_millisecond_of_start() {
        let mut clock = StoredClock::begin(1_000_000, 500, None, false);
        assert_eq!(clock.tick(1_000_000, 500).at_ms, 1_000_000);
        assert_eq!(clock.tick(1_000_000, 500).at_ms, 1_000_001);
        // After an earlier session that has ended in the same millisecond, it is the next one.
        let mut clock = StoredClock::begin(1_000_000, 500, Some(clock.last()), true);
        assert_eq!(clock.tick(1_000_000, 500).at_ms, 1_000_002);
    }

    #[test]
    fn time_is_that_of_the_wall_clock() {
        let mut clock = StoredClock::begin(1_000_000, 500, None, false);
        assert_eq!(clock.last().at_ms, 1_000_000);
        for step in 1..100 {
            let at = clock.tick(1_000_000 + 5_000 * step, 500 + 5_001 * step);
            assert_eq!(at.at_ms, 1_000_000 + 5_000 * step);
        }
        // Set forward.
        assert_eq!(clock.tick(9_000_000, 600_000).at_ms, 9_000_000);
        assert_eq!(clock.step_ms(), 0);
    }

    #[test]
    fn clock_set_back_continues_by_boot_clock() {
        let mut clock = StoredClock::begin(10 * HOUR, 0, None, false);
        clock.tick(10 * HOUR + 5_000, 5_000);
        assert_eq!(clock.tick(9 * HOUR + 10_000, 10_000).at_ms, 10 * HOUR + 10_000);
        assert_eq!(clock.step_ms(), HOUR);
        assert_eq!(clock.tick(9 * HOUR + 15_000, 15_000).at_ms, 10 * HOUR + 15_000);
        assert_eq!(clock.stored(9 * HOUR), 10 * HOUR);
        // Set forward again.
        assert_eq!(clock.tick(10 * HOUR + 20_000, 20_000).at_ms, 10 * HOUR + 20_000);
        assert_eq!(clock.step_ms(), 0);
    }

    /// A second is the readings of two clocks, more is a clock that was set back.
    #[test]
    fn clock_that_is_back_by_a_second_is_the_wall_clock() {
        let tick = |back: i64| {
            let mut clock = StoredClock::begin(10 * HOUR, 0, None, false);
            clock.tick(10 * HOUR, 0);
            (clock.tick(10 * HOUR + 5_000 - back, 5_000).at_ms - 10 * HOUR, clock.step_ms())
        };
        assert_eq!((tick(1_000), tick(1_001)), ((4_000, 0), (5_000, 1_001)));
        let last = Some(TickTime { at_ms: 10 * HOUR, boot_ms: 0 });
        let begin = |back: i64, gap: i64| {
            let clock = StoredClock::begin(10 * HOUR + gap - back, gap, last, true);
            clock.last().at_ms - 10 * HOUR
        };
        assert_eq!((begin(1_000, 5_000), begin(1_001, 5_000)), (4_000, 5_000));
        // Time goes on by a millisecond at least.
        assert_eq!((begin(1_000, 0), begin(2_000, 0), begin(2_000, -3)), (1, 1, 1));
        // Two ticks while the boot clock stands still.
        let mut clock = StoredClock::begin(10 * HOUR, 0, None, false);
        let times = [5_000, 5_000, 4_000].map(|boot| clock.tick(5 * HOUR, boot));
        assert_eq!(times.map(|time| time.at_ms - 10 * HOUR), [5_000, 5_001, 5_002]);
        assert!(times.iter().all(|time| time.boot_ms == 5_000));
    }

    #[test]
    fn session_begins_after_the_newest_time() {
        let last = Some(TickTime { at_ms: 10 * HOUR, boot_ms: 2 * HOUR });
        // The same boot: by the boot clock, unless the wall clock is ahead.
        let begin = |wall, boot, same| StoredClock::begin(wall, boot, last, same);
        let clock = begin(9 * HOUR, 3 * HOUR, true);
        assert_eq!((clock.last().at_ms, clock.step_ms()), (11 * HOUR, 2 * HOUR));
        assert_eq!(begin(12 * HOUR, 3 * HOUR, true).last().at_ms, 12 * HOUR);
        assert_eq!(begin(11 * HOUR - 3, 3 * HOUR, true).last().at_ms, 11 * HOUR - 3);
        // Another boot: 1 ms after the newest time.
        let clock = begin(9 * HOUR, 5, false);
        assert_eq!((clock.last().at_ms, clock.step_ms()), (10 * HOUR + 1, HOUR + 1));
        assert_eq!(begin(12 * HOUR, 5, false).last().at_ms, 12 * HOUR);
    }
}
