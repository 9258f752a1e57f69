//! Readers against writers: threads that load and check snapshots while others publish them.
//!
//! Each test runs until readers and writers have met [`GOAL`] times, or for ten seconds if they have
//! met at least [`MIN_COLLISIONS`] times by then. It fails if they have not after 120 seconds.
//! `PLUGMETER_STRESS_SECONDS` sets the least number of seconds.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod many_collectors;
mod one_collector;

use std::time::{Duration, Instant};

use plugmeter_test_support::HANG_TIMEOUT;

const POLL: Duration = Duration::from_secs(1);
/// Two and a half blocks, so that the window turns over all the time.
const SAMPLES: u32 = 75;
/// Publications during a read without which a test proves nothing.
const MIN_COLLISIONS: u64 = 101;
/// Publications during a read after which a test may end early.
const GOAL: u64 = 5_000;
const USUAL_DURATION: Duration = Duration::from_secs(10);

/// Determines how long a test runs.
struct Deadline {
    start: Instant,
    least: Duration,
}

impl Deadline {
    fn start() -> Self {
        let seconds = std::env::var("PLUGMETER_STRESS_SECONDS").ok();
        let seconds = seconds.map_or(0, |text| text.parse().expect("a number of seconds"));
        Self { start: Instant::now(), least: Duration::from_secs(seconds) }
    }

    /// Returns whether the test continues. `is_incomplete` is set while goals other than the number
    /// of collisions are not met.
    fn is_open(&self, collisions: u64, is_incomplete: bool) -> bool {
        let elapsed = self.start.elapsed();
        let goal = if elapsed < USUAL_DURATION { GOAL } else { MIN_COLLISIONS };
        let bound = self.least + HANG_TIMEOUT;
        elapsed < self.least || (elapsed < bound && (collisions < goal || is_incomplete))
    }
}
