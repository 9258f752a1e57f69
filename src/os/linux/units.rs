//! The units of the numbers in `/proc`.

use std::time::Duration;

use crate::history::units::ResidentBytes;

/// The units of the numbers in `/proc`: pages and clock ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Units {
    page_size: u64,
    /// Clock ticks in a second: the unit of times in `/proc/PID/stat`.
    ticks_per_second: u64,
}

impl Units {
    pub(crate) fn new() -> Self {
        Self {
            page_size: rustix::param::page_size() as u64,
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
        }
    }

    pub(crate) fn ticks_to_time(self, ticks: u64) -> Duration {
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.ticks_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub(crate) fn resident(self, pages: u64) -> Option<ResidentBytes> {
        ResidentBytes::new(pages.saturating_mul(self.page_size))
    }
}
