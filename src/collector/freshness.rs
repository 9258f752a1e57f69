//! How old a snapshot is: the two queries that read a clock.

use std::time::Duration;

use crate::snapshot::Snapshot;

/// A tick may be this much later than three intervals before its snapshot counts as stale.
const STALE_MARGIN: Duration = Duration::from_secs(1);

impl Snapshot {
    /// The time from the tick until now, on the monotonic clock. Reads the clock.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.sampled_at_instant().elapsed()
    }

    /// Whether the tick is older than three poll intervals and a second: then the sampler is late,
    /// or was stopped that long ago. Reads the clock.
    ///
    /// A publication between two ticks does not count as a tick.
    ///
    /// ```
    /// use plugmeter::{Collector, Config};
    ///
    /// let collector = Collector::start(Config::default())?;
    /// assert!(!collector.sample_now()?.is_stale());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.is_stale_at(self.age())
    }

    /// Whether the snapshot is stale at this age.
    pub(crate) fn is_stale_at(&self, age: Duration) -> bool {
        age > self.poll_interval().saturating_mul(3).saturating_add(STALE_MARGIN)
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::Config;
    use crate::testing::Simulation;

    #[test]
    fn snapshot_is_stale_after_three_intervals_and_a_second() {
        let interval = Duration::from_secs(5);
        let sim = Simulation::new(Config::default().poll_interval(interval)).unwrap();
        let snapshot = sim.snapshot();
        let max = interval * 3 + Duration::from_secs(1);
        assert!(!snapshot.is_stale_at(max));
        assert!(snapshot.is_stale_at(max + Duration::from_nanos(1)));
    }
}
