//! Whether the sampler does what it should.

use std::time::Duration;

use crate::Snapshot;

/// How much older than three intervals a tick may be.
const GRACE: Duration = Duration::from_secs(1);

/// Why the values are not those of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ailment {
    Stopped,
    Late { by_now: Duration },
}

/// Since the tick of the snapshot, on the monotonic clock.
pub(super) fn age(snapshot: &Snapshot) -> Duration {
    snapshot.sampled_at_instant().elapsed()
}

/// What is wrong, if something is. A publication between ticks makes nothing younger.
pub(super) fn ailment(snapshot: &Snapshot, age: Duration) -> Option<Ailment> {
    if snapshot.is_stopped() {
        return Some(Ailment::Stopped);
    }
    let longest = snapshot.poll_interval().saturating_mul(3).saturating_add(GRACE);
    (age > longest).then_some(Ailment::Late { by_now: age })
}

impl Ailment {
    pub(super) fn reason(self) -> String {
        match self {
            Self::Stopped => "the collector is stopped".to_owned(),
            Self::Late { by_now } => {
                format!("the last tick was {:.1} seconds ago", by_now.as_secs_f64())
            }
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::Config;
    use crate::testing::Simulation;

    #[test]
    fn a_tick_may_be_three_intervals_and_a_second_old() {
        let interval = Duration::from_secs(5);
        let sim = Simulation::new(Config::default().poll_interval(interval)).unwrap();
        let snapshot = sim.snapshot();
        let longest = interval * 3 + Duration::from_secs(1);
        assert_eq!(ailment(&snapshot, longest), None);
        let by_now = longest + Duration::from_nanos(1);
        let late = ailment(&snapshot, by_now);
        assert_eq!(late, Some(Ailment::Late { by_now }));
        assert_eq!(late.unwrap().reason(), "the last tick was 16.0 seconds ago");
    }
}
