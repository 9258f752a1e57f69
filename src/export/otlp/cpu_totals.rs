//! CPU time at ticks of the past. A snapshot has the totals of its newest tick, and samples have the
//! CPU percentage of each tick.

use std::time::{Duration, SystemTime};

use crate::Sample;

/// The totals at consecutive ticks: those between two known totals are placed by the percentages.
///
/// They do not decrease, and the last one is exact.
pub(super) struct CpuTotals {
    from: Duration,
    to: Duration,
    /// The CPU time by the percentages, up to and including each tick, in seconds.
    sums: Vec<f64>,
}

impl CpuTotals {
    /// `known` is the total before the first of the `ticks`, if it was exported; `newest` is the total
    /// at the last of them. `before` is the time of the tick before them.
    pub(super) fn new<'a>(
        known: Option<Duration>,
        newest: Duration,
        before: SystemTime,
        ticks: impl Iterator<Item = Sample<'a>>,
        percent: impl Fn(&Sample<'a>) -> Option<f64>,
    ) -> Self {
        let (mut sum, mut last) = (0.0, before);
        let sums: Vec<_> = ticks
            .map(|sample| {
                let interval = sample.timestamp.duration_since(last).unwrap_or_default();
                last = sample.timestamp;
                sum += percent(&sample).unwrap_or(0.0).max(0.0) / 100.0 * interval.as_secs_f64();
                sum
            })
            .collect();
        let in_ticks = Duration::try_from_secs_f64(sum).unwrap_or_default();
        let from = known.unwrap_or_else(|| newest.saturating_sub(in_ticks)).min(newest);
        Self { from, to: newest, sums }
    }

    /// The total at the tick with this position.
    pub(super) fn at(&self, position: usize) -> Duration {
        let (Some(sum), Some(all)) = (self.sums.get(position), self.sums.last()) else {
            return self.to;
        };
        if position + 1 == self.sums.len() {
            return self.to;
        }
        let share = if *all > 0.0 { (sum / all).clamp(0.0, 1.0) } else { 0.0 };
        let total = self.from + (self.to - self.from).mul_f64(share);
        total.min(self.to)
    }
}
