//! Whether the collector samples as it should.

use std::time::Duration;

use crate::Snapshot;

/// Why the values of a snapshot are not current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthProblem {
    Stopped,
    Stale { age: Duration },
}

impl HealthProblem {
    /// `None` if the values are current. Reads the clock.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        if snapshot.is_stopped() {
            return Some(Self::Stopped);
        }
        snapshot.is_stale().then(|| Self::Stale { age: snapshot.age() })
    }

    pub(super) fn reason(self) -> String {
        match self {
            Self::Stopped => "the collector is stopped".to_owned(),
            Self::Stale { age } => {
                format!("the last tick was {:.1} seconds ago", age.as_secs_f64())
            }
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::Simulation;
    use crate::{Collector, Config};

    #[test]
    #[cfg_attr(miri, ignore = "Miri runs no such system calls")]
    fn stopped_collector_is_unhealthy() {
        let collector = Collector::start(Config::default()).unwrap();
        assert_eq!(HealthProblem::of(&collector.sample_now().unwrap()), None);
        collector.stop();
        assert_eq!(HealthProblem::of(&collector.snapshot()), Some(HealthProblem::Stopped));
    }

    #[test]
    fn reason_states_age_of_last_tick() {
        let sim = Simulation::new(Config::default()).unwrap();
        assert_eq!(HealthProblem::of(&sim.snapshot()), None);
        let stale = HealthProblem::Stale { age: Duration::from_millis(16_040) };
        assert_eq!(stale.reason(), "the last tick was 16.0 seconds ago");
    }
}
