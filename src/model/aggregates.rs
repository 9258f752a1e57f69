//! Average, minimum, maximum and 95th percentile, exact.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::sample::FIRST_ABSENT;

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
    /// Samples that have the value.
    pub count: usize,
    /// Arithmetic mean.
    pub avg: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Of the `n` values in ascending order the one at index `min(floor(n * 95 / 100), n - 1)`:
    /// a value that occurred, never an estimate. Where `n` is a multiple of 20 this is one above
    /// the textbook's nearest rank.
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
    /// The name that the host registered.
    pub plugin_name: Arc<str>,
    /// All samples of the window, with values or without.
    pub sample_count: usize,
    /// From the oldest to the newest of them, on the monotonic clock.
    pub time_span: Duration,
    /// CPU in percent of one core; `None` if no sample has a value.
    pub cpu: Option<Summary>,
    /// Resident memory in bytes; `None` if no sample has a value.
    pub memory: Option<Summary>,
    /// Events between the oldest and the newest sample.
    pub events: u64,
    /// The same over [`time_span`](Self::time_span); 0 for one sample.
    pub events_per_second: f64,
    /// Crashes counted since the oldest sample, up to the snapshot's revision.
    pub crashes: u64,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { values: Vec::new(), upper: Vec::new() }) };
}

/// Room for the values of a column, used again by every query of a thread.
#[derive(Default)]
struct Scratch {
    values: Vec<u32>,
    upper: Vec<u32>,
}

/// Summarizes what `fill` puts into the vector it is handed; `unit` is what one step is worth, as a
/// fraction, so that the division is the last step.
pub(crate) fn summarize(unit: (u32, u32), fill: impl FnOnce(&mut Vec<u32>)) -> Option<Summary> {
    // Taken out and put back: a thread that ends may ask once more when its room is gone.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.values.clear();
    fill(&mut scratch.values);
    let summary = of_values(&mut scratch).map(|whole| whole.in_units(unit));
    let _ = SCRATCH.try_with(|room| room.set(scratch));
    summary
}

/// A summary in whole steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Whole {
    count: usize,
    sum: u64,
    min: u32,
    max: u32,
    p95: u32,
}

impl Whole {
    fn in_units(self, (times, over): (u32, u32)) -> Summary {
        let one = |steps: u32| f64::from(steps) * f64::from(times) / f64::from(over);
        Summary {
            count: self.count,
            // The sum is an integer below 2^53 in any window that fits into memory.
            avg: self.sum as f64 * f64::from(times) / (self.count as f64 * f64::from(over)),
            min: one(self.min),
            max: one(self.max),
            p95: one(self.p95),
        }
    }
}

fn of_values(Scratch { values, upper }: &mut Scratch) -> Option<Whole> {
    let (mut sum, mut min, mut max) = sum_min_max(values);
    if max >= FIRST_ABSENT {
        // Rare enough to look twice: most windows have no gap.
        values.retain(|&value| value < FIRST_ABSENT);
        (sum, min, max) = sum_min_max(values);
    }
    let count = values.len();
    let rank = rank_of_p95(count)?;
    let p95 = if min == max { max } else { nth(values, rank, upper) };
    Some(Whole { count, sum, min, max, p95 })
}

/// The value at index `rank` of the ascending order, where `rank` is near the upper end.
///
/// The upper ones are copied out first, in one pass without a branch that could be mispredicted;
/// where they begin is told by a sample. Selecting among these few is cheap. If the sample was
/// misleading, it is selected among all.
fn nth(values: &mut [u32], rank: usize, upper: &mut Vec<u32>) -> u32 {
    /// Fewer are selected among as fast as they are copied.
    const FEW: usize = 256;
    const SAMPLE: usize = 64;
    let count = values.len();
    if count >= FEW {
        let mut sample: [u32; SAMPLE] = std::array::from_fn(|i| values[i * (count / SAMPLE)]);
        // Roughly an eighth is not below it: the upper twentieth hardly ever begins under it.
        let (_, &mut threshold, _) = sample.select_nth_unstable(SAMPLE * 7 / 8);
        if upper.len() < count {
            upper.resize(count, 0);
        }
        let room = &mut upper[..count];
        let mut end = 0;
        for &value in &*values {
            room[end] = value;
            end += usize::from(value >= threshold);
        }
        if let Some(rank) = rank.checked_sub(count - end) {
            let (_, &mut nth, _) = room[..end].select_nth_unstable(rank);
            return nth;
        }
    }
    let (_, &mut nth, _) = values.select_nth_unstable(rank);
    nth
}

/// One pass that the compiler turns into vector instructions: integers in any order sum up alike.
fn sum_min_max(values: &[u32]) -> (u64, u32, u32) {
    values.iter().fold((0, u32::MAX, 0), |(sum, min, max), &value| {
        (sum + u64::from(value), value.min(min), value.max(max))
    })
}

/// Where the 95th percentile of `count` ascending values is; `None` without values.
fn rank_of_p95(count: usize) -> Option<usize> {
    let last = count.checked_sub(1)?;
    Some((count * 95 / 100).min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ends_may_ask_when_its_room_is_gone() {
        struct Asks;

        impl Drop for Asks {
            fn drop(&mut self) {
                let summary = summarize((1, 1), |values| values.extend([1, 2, 3]));
                assert_eq!(summary.map(|summary| summary.max), Some(3.0));
            }
        }

        thread_local!(static ASKS: Asks = const { Asks });
        let ends = || {
            // What was used last is destroyed first.
            ASKS.with(|_| ());
            summarize((1, 1), |values| values.push(1)).unwrap();
        };
        assert!(std::thread::spawn(ends).join().is_ok());
    }

    fn of_values(values: &[u32]) -> Option<Whole> {
        super::of_values(&mut Scratch { values: values.to_vec(), upper: Vec::new() })
    }

    #[test]
    fn p95_is_the_value_at_the_rank_its_definition_names() {
        for len in (1..=400usize).chain([719, 720, 1_000, 17_280]) {
            let values: Vec<u32> = (0..len as u32).map(|i| i.wrapping_mul(7919) % 101).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let whole = of_values(&values).unwrap();
            assert_eq!(whole.p95, sorted[(len * 95 / 100).min(len - 1)], "of {len} values");
            assert_eq!(whole.min, sorted[0]);
            assert_eq!(whole.max, sorted[len - 1]);
            assert_eq!(whole.sum, values.iter().map(|&v| u64::from(v)).sum::<u64>());
        }
    }

    #[test]
    fn p95_is_exact_also_where_a_few_values_mislead() {
        // Every eleventh is huge, or tiny; all alike but one; rising, falling.
        let series: [fn(u32) -> u32; 6] = [
            |i| if i % 11 == 0 { 1_000_000 + i } else { i },
            |i| if i % 11 == 0 { 0 } else { 1_000 + i % 97 },
            |i| u32::from(i == 500),
            |i| i,
            |i| 100_000 - i,
            |i| i.wrapping_mul(2_654_435_761) >> 8,
        ];
        for (nth_series, value) in series.into_iter().enumerate() {
            for len in [255, 256, 257, 704, 720, 4_096, 17_280] {
                let values: Vec<u32> = (0..len).map(value).collect();
                let mut sorted = values.clone();
                sorted.sort_unstable();
                let rank = (values.len() * 95 / 100).min(values.len() - 1);
                let p95 = of_values(&values).unwrap().p95;
                assert_eq!(p95, sorted[rank], "series {nth_series} of {len}");
            }
        }
    }

    #[test]
    fn of_twenty_values_it_is_the_largest_and_of_one_hundred_the_fifth_largest() {
        let p95 = |n: u32| of_values(&(1..=n).collect::<Vec<_>>()).unwrap().p95;
        assert_eq!(p95(20), 20);
        assert_eq!(p95(100), 96);
        assert_eq!(p95(1), 1);
    }

    #[test]
    fn what_is_not_known_enters_no_average() {
        let whole = of_values(&[10, u32::MAX, 30, FIRST_ABSENT]).unwrap();
        assert_eq!((whole.count, whole.sum, whole.min, whole.max), (2, 40, 10, 30));
        assert_eq!(of_values(&[u32::MAX; 5]), None);
        assert_eq!(of_values(&[]), None);
    }
}
