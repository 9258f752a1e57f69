//! Average, minimum, maximum and 95th percentile, exact.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::history::metric::{FIRST_MISSING, Metric};

/// Average, extremes and 95th percentile of the values of a window.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Simulation, Usage};
/// use plugmeter::{Config, Window};
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default())?;
/// sim.register("dice")?.started(4711, "");
/// for mb in [10, 20, 60] {
///     sim.tick(|_pid| Usage { cpu_time: Duration::ZERO, memory_bytes: mb << 20 });
/// }
/// let snapshot = sim.snapshot();
/// let aggregates = snapshot.plugin("dice").unwrap().aggregates(Window::All).unwrap();
/// let memory = aggregates.memory.unwrap();
/// assert_eq!((memory.count, memory.avg), (3, (30 << 20) as f64));
/// assert_eq!((memory.min, memory.max), ((10 << 20) as f64, (60 << 20) as f64));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The number of samples that have the value.
    pub count: usize,
    /// Arithmetic mean.
    pub avg: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// 95th percentile: of the `n` values in ascending order the one at the index
    /// `min(floor(n * 95 / 100), n - 1)`, counted from 0. It is a value that occurred, never an estimate.
    /// Where `n` is a multiple of 20, this is one rank above that of the nearest-rank method,
    /// `ceil(n * 95 / 100)`.
    pub p95: f64,
}

/// CPU, memory, events and crashes of one plugin over a window.
///
/// [`PluginView::aggregates`](crate::PluginView::aggregates) returns it.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::Simulation;
/// use plugmeter::{Config, Window};
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
/// let plugin = sim.register("dice")?;
/// for _ in 0..3 {
///     sim.tick(|_pid| None);
///     plugin.events().add(10);
/// }
/// let snapshot = sim.snapshot();
/// let aggregates = snapshot.plugin("dice").unwrap().aggregates(Window::All).unwrap();
/// assert_eq!(aggregates.sample_count, 3);
/// assert_eq!(aggregates.events_per_second, 2.0); // 20 in 10 seconds
/// assert_eq!(aggregates.cpu, None); // no process, no values
/// println!("{aggregates}");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregates {
    /// The registered name.
    pub plugin_name: Arc<str>,
    /// The number of samples of the window, with or without values.
    pub sample_count: usize,
    /// The time from the oldest to the newest of these samples, on the monotonic clock.
    pub time_span: Duration,
    /// CPU in percent of one core; `None` if no sample has a value.
    pub cpu: Option<Summary>,
    /// Resident memory in bytes; `None` if no sample has a value.
    pub memory: Option<Summary>,
    /// CPU of the process tree in percent of one core; `None` if no sample has a value.
    pub tree_cpu: Option<Summary>,
    /// Sum of the resident sizes of the process tree in bytes, an upper bound: see
    /// [`Sample::tree_memory_bytes`](crate::Sample::tree_memory_bytes). `None` if no sample has a
    /// value.
    pub tree_memory: Option<Summary>,
    /// CPU time that the process trees have used between the oldest and the newest sample; that of the
    /// reported processes, if trees are [switched off](crate::Config::process_trees).
    ///
    /// It is the sum of the samples' CPU percentages, each multiplied by the time that it covers. So it
    /// is as exact as their step of 0.001 %: 50 µs for an interval of five seconds.
    pub cpu_time: Duration,
    /// Events between the oldest and the newest sample.
    pub events: u64,
    /// [`events`](Self::events) divided by [`time_span`](Self::time_span), without a time in which there was
    /// no collector; 0 for one sample.
    pub events_per_second: f64,
    /// [`cpu_time`](Self::cpu_time) divided by [`events`](Self::events). `None` without events.
    pub cpu_per_event: Option<Duration>,
    /// Crashes counted since the oldest sample, up to the snapshot's revision.
    pub crashes: u64,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { values: Vec::new(), upper: Vec::new() }) };
}

/// Buffers for the values of a column, reused by every query of a thread.
#[derive(Default)]
struct Scratch {
    values: Vec<u32>,
    upper: Vec<u32>,
}

/// Summarizes the integers of a gauge column that `fill` appends to the buffer. `None` if none of
/// them is a value.
pub(crate) fn summarize(metric: Metric, fill: impl FnOnce(&mut Vec<u32>)) -> Option<Summary> {
    // Taken out and put back: a destructor of thread-local storage may query after this storage
    // was destroyed.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.values.clear();
    fill(&mut scratch.values);
    let summary = summarize_steps(&mut scratch).map(|summary| summary.scaled(metric.step()));
    let _ = SCRATCH.try_with(|cell| cell.set(scratch));
    summary
}

/// A summary in whole steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IntSummary {
    count: usize,
    sum: u64,
    min: u32,
    max: u32,
    p95: u32,
}

impl IntSummary {
    fn scaled(self, (numerator, denominator): (u32, u32)) -> Summary {
        let scale = |steps: u32| f64::from(steps) * f64::from(numerator) / f64::from(denominator);
        Summary {
            count: self.count,
            // The sum is an integer below 2^53 in any window that fits into memory.
            avg: self.sum as f64 * f64::from(numerator)
                / (self.count as f64 * f64::from(denominator)),
            min: scale(self.min),
            max: scale(self.max),
            p95: scale(self.p95),
        }
    }
}

fn summarize_steps(Scratch { values, upper }: &mut Scratch) -> Option<IntSummary> {
    let (mut sum, mut min, mut max) = sum_min_max(values);
    if max >= FIRST_MISSING {
        // Rare enough for a second pass: most windows have no gap.
        values.retain(|&value| value < FIRST_MISSING);
        (sum, min, max) = sum_min_max(values);
    }
    let count = values.len();
    let rank = rank_of_p95(count)?;
    let p95 = if min == max { max } else { select(values, rank, upper) };
    Some(IntSummary { count, sum, min, max, p95 })
}

/// The value at index `rank` of the ascending order, for a `rank` near the upper end.
///
/// The upper values are copied out first, in one pass without a branch that could be mispredicted;
/// a sample of the values gives the threshold. Selecting among these few is cheap. If the sample
/// was misleading, the selection is among all values.
fn select(values: &mut [u32], rank: usize, upper: &mut Vec<u32>) -> u32 {
    /// Selecting among fewer is as fast as copying them.
    const FEW: usize = 256;
    const SAMPLE: usize = 64;
    let count = values.len();
    if count >= FEW {
        let mut sample: [u32; SAMPLE] = std::array::from_fn(|i| values[i * (count / SAMPLE)]);
        // About an eighth of the values is not below it: the upper twentieth rarely begins below.
        let (_, &mut threshold, _) = sample.select_nth_unstable(SAMPLE * 7 / 8);
        if upper.len() < count {
            upper.resize(count, 0);
        }
        let copied = &mut upper[..count];
        let mut end = 0;
        for &value in &*values {
            copied[end] = value;
            end += usize::from(value >= threshold);
        }
        if let Some(rank) = rank.checked_sub(count - end) {
            let (_, &mut selected, _) = copied[..end].select_nth_unstable(rank);
            return selected;
        }
    }
    let (_, &mut selected, _) = values.select_nth_unstable(rank);
    selected
}

/// One pass that the compiler vectorizes: integer sums do not depend on the order.
fn sum_min_max(values: &[u32]) -> (u64, u32, u32) {
    values.iter().fold((0, u32::MAX, 0), |(sum, min, max), &value| {
        (sum + u64::from(value), value.min(min), value.max(max))
    })
}

/// The index of the 95th percentile of `count` ascending values; `None` without values.
fn rank_of_p95(count: usize) -> Option<usize> {
    let last = count.checked_sub(1)?;
    Some((count * 95 / 100).min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_in_thread_local_destructor_succeeds() {
        struct QueriesOnDrop;

        impl Drop for QueriesOnDrop {
            fn drop(&mut self) {
                let summary = summarize(Metric::Events, |values| values.extend([1, 2, 3]));
                assert_eq!(summary.map(|summary| summary.max), Some(3.0));
            }
        }

        thread_local!(static VALUE: QueriesOnDrop = const { QueriesOnDrop });
        let thread = || {
            // Destructors run in reverse order of first use.
            VALUE.with(|_| ());
            summarize(Metric::Events, |values| values.push(1)).unwrap();
        };
        assert!(std::thread::spawn(thread).join().is_ok());
    }

    fn summary_of(values: &[u32]) -> Option<IntSummary> {
        summarize_steps(&mut Scratch { values: values.to_vec(), upper: Vec::new() })
    }

    #[test]
    fn p95_is_value_at_defined_rank() {
        let longest = if cfg!(miri) { 1_000 } else { 17_280 };
        let short = (1..=400).step_by(if cfg!(miri) { 40 } else { 1 });
        for len in short.chain([719, 720, 1_000, longest]) {
            let values: Vec<u32> = (0..len as u32).map(|i| i.wrapping_mul(7919) % 101).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let summary = summary_of(&values).unwrap();
            assert_eq!(summary.p95, sorted[(len * 95 / 100).min(len - 1)], "of {len} values");
            assert_eq!(summary.min, sorted[0]);
            assert_eq!(summary.max, sorted[len - 1]);
            assert_eq!(summary.sum, values.iter().map(|&v| u64::from(v)).sum::<u64>());
        }
    }

    #[test]
    fn p95_is_exact_where_the_sampled_threshold_misleads() {
        // Every eleventh is huge, or tiny; all alike but one; rising, falling, scattered.
        let series: [fn(u32) -> u32; 6] = [
            |i| if i % 11 == 0 { 1_000_000 + i } else { i },
            |i| if i % 11 == 0 { 0 } else { 1_000 + i % 97 },
            |i| u32::from(i == 500),
            |i| i,
            |i| 100_000 - i,
            |i| i.wrapping_mul(2_654_435_761) >> 8,
        ];
        for (index, value) in series.into_iter().enumerate() {
            for len in [255, 256, 257, 704, 720, 4_096, 17_280] {
                if cfg!(miri) && len > 257 {
                    continue;
                }
                let values: Vec<u32> = (0..len).map(value).collect();
                let mut sorted = values.clone();
                sorted.sort_unstable();
                let rank = (values.len() * 95 / 100).min(values.len() - 1);
                let p95 = summary_of(&values).unwrap().p95;
                assert_eq!(p95, sorted[rank], "series {index} of {len}");
            }
        }
    }

    #[test]
    fn p95_of_twenty_values_is_the_largest() {
        let p95 = |n: u32| summary_of(&(1..=n).collect::<Vec<_>>()).unwrap().p95;
        assert_eq!(p95(20), 20);
        assert_eq!(p95(100), 96);
        assert_eq!(p95(1), 1);
    }

    #[test]
    fn unknown_values_enter_no_aggregate() {
        let summary = summary_of(&[10, u32::MAX, 30, FIRST_MISSING]).unwrap();
        assert_eq!((summary.count, summary.sum, summary.min, summary.max), (2, 40, 10, 30));
        assert_eq!(summary_of(&[u32::MAX; 5]), None);
        assert_eq!(summary_of(&[]), None);
    }
}
