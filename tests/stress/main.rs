//! Readers against writers: threads that load and check snapshots while others publish them.
//!
//! Each test runs until readers and writers have met often enough, for at most 120 seconds.
//! `PLUGMETER_STRESS_SECONDS` sets the least number of seconds; the bound is then 120 seconds later.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod many_collectors;
mod one_collector;

use std::time::{Duration, Instant};

use plugmeter_test_support::HANG_TIMEOUT;

const POLL: Duration = Duration::from_secs(1);
/// Two and a half blocks, so that the window turns over all the time.
const SAMPLES: u32 = 75;
/// Publications during a read that a test needs before it proves anything.
const MIN_COLLISIONS: u64 = 101;

/// How long a test runs: until it has met its goal, but for a least time and a bound.
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

    /// Returns whether the test goes on.
    fn is_open(&self, has_enough: bool) -> bool {
        let elapsed = self.start.elapsed();
        elapsed < self.least || (!has_enough && elapsed < self.least + HANG_TIMEOUT)
    }
}
