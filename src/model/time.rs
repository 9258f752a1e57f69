//! One moment, on the three clocks that are needed. Asked for in `os/` alone; here it is a value.

use std::time::{Duration, Instant, SystemTime};

/// One moment on three clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Orders and measures: windows, deadlines, CPU shares. On Linux and macOS it stands still while
    /// the machine sleeps.
    pub mono: Instant,
    /// Is shown to people. May be set at any time, so nothing is computed from it.
    pub wall: SystemTime,
    /// Measures age: goes on while the machine sleeps. On Linux no one can set it; elsewhere it
    /// follows the wall clock when that is set forward.
    pub boot: Duration,
}

impl Now {
    /// The moment `later` than this one. Clocks that cannot reach so far stay where they are.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn after(self, later: Duration) -> Self {
        Self {
            mono: self.mono.checked_add(later).unwrap_or(self.mono),
            wall: self.wall.checked_add(later).unwrap_or(self.wall),
            boot: self.boot.saturating_add(later),
        }
    }

    /// The wall clock's time of a moment on the boot clock, which may lie before this one.
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

    #[test]
    fn the_wall_time_of_a_start_is_as_far_back_as_the_boot_clock_says() {
        let now = Now {
            mono: Instant::now(),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
            boot: Duration::from_secs(50),
        };
        let start = now.wall_of(Duration::from_secs(20)).unwrap();
        assert_eq!(start, SystemTime::UNIX_EPOCH + Duration::from_secs(970));
        let ahead = now.wall_of(Duration::from_secs(51)).unwrap();
        assert_eq!(ahead, SystemTime::UNIX_EPOCH + Duration::from_secs(1_001));
    }

    #[test]
    fn a_moment_beyond_what_a_clock_can_say_does_not_panic() {
        let now = Now { mono: Instant::now(), wall: SystemTime::now(), boot: Duration::ZERO };
        let far = now.after(Duration::MAX);
        assert!(far.mono >= now.mono && far.wall >= now.wall);
    }
}
