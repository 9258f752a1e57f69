//! A history of any length, reduced to a limited number of points.
//!
//! The points are buckets of ticks whose size is a power of two, and a bucket begins where the
//! number of a tick is a multiple of the size. So later queries put the same samples into the same
//! bucket, and a chart that is drawn again moves on without flickering.

use std::time::SystemTime;

use super::run::RunId;
use super::sample::Sample;
use super::state::PluginState;

/// Minimum, average and maximum of the known values of one [`Point`].
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
/// let memory = snapshot.plugin("dice").unwrap().points(Window::All, 1)[0].memory.unwrap();
/// assert_eq!((memory.min, memory.avg), ((10 << 20) as f64, (30 << 20) as f64));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueRange {
    /// The smallest value.
    pub min: f64,
    /// Arithmetic mean.
    pub avg: f64,
    /// The largest value.
    pub max: f64,
}

/// Consecutive samples, reduced to one point of a chart: see
/// [`PluginView::points`](crate::PluginView::points).
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Simulation, Usage};
/// use plugmeter::{Config, Window};
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
/// sim.register("dice")?.started(4711, "");
/// for seconds in 1..=100 {
///     sim.tick(|_pid| Usage { cpu_time: Duration::from_secs(seconds), memory_bytes: 1 << 20 });
/// }
/// let snapshot = sim.snapshot();
/// let points = snapshot.plugin("dice").unwrap().points(Window::All, 10);
/// assert!(points.len() <= 10);
/// assert_eq!(points[0].cpu_percent.unwrap().avg, 20.0);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Wall-clock time of the newest sample.
    pub timestamp: SystemTime,
    /// The number of samples.
    pub sample_count: usize,
    /// CPU in percent of one core; `None` if no sample has a value.
    pub cpu_percent: Option<ValueRange>,
    /// Resident memory in bytes; `None` if no sample has a value.
    pub memory: Option<ValueRange>,
    /// CPU of the process tree in percent of one core; `None` if no sample has a value.
    pub tree_cpu_percent: Option<ValueRange>,
    /// Sum of the resident sizes of the process tree in bytes, an upper bound: see
    /// [`Sample::tree_memory_bytes`]. `None` if no sample has a value.
    pub tree_memory: Option<ValueRange>,
    /// The newest sample's event count.
    pub event_count: u64,
    /// The newest sample's crash count.
    pub crash_count: u64,
    /// The newest sample's state.
    pub state: PluginState,
    /// The newest sample's run.
    pub run: Option<RunId>,
}

/// Turns samples, pushed in order of time, into points, as [`PluginView::points`] does: for callers
/// that do other work in between, or do not need a vector.
///
/// [`PluginView::points`]: crate::PluginView::points
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::Simulation;
/// use plugmeter::{Config, Downsampler, Window};
///
/// let mut sim = Simulation::new(Config::default())?;
/// sim.register("dice")?;
/// for _ in 0..100 {
///     sim.tick(|_pid| None);
/// }
/// let snapshot = sim.snapshot();
/// let view = snapshot.plugin("dice").unwrap();
/// let history = view.history(Window::All);
/// // Every tick records a sample of every registered plugin.
/// let oldest = snapshot.tick() + 1 - history.len() as u64;
///
/// let mut downsampler = Downsampler::new(oldest, snapshot.tick(), 10);
/// let mut points = Vec::new();
/// for (tick, sample) in (oldest..).zip(history) {
///     points.extend(downsampler.push(tick, &sample));
/// }
/// points.extend(downsampler.finish());
/// assert_eq!(points, view.points(Window::All, 10));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Downsampler {
    /// Ticks in a bucket: two to the power of this.
    shift: u32,
    /// The number of buckets allowed besides those that begin at a multiple.
    spare_buckets: usize,
    current: Option<Bucket>,
    /// The newest run so far.
    run: Option<RunId>,
}

#[derive(Debug)]
struct Bucket {
    /// The number of its ticks over the bucket size.
    number: u64,
    newest: Newest,
    sample_count: usize,
    cpu: Accumulator,
    memory: Accumulator,
    tree_cpu: Accumulator,
    tree_memory: Accumulator,
}

/// The values that a point takes from its newest sample.
#[derive(Debug)]
struct Newest {
    timestamp: SystemTime,
    event_count: u64,
    crash_count: u64,
    state: PluginState,
    run: Option<RunId>,
}

impl From<&Sample<'_>> for Newest {
    fn from(sample: &Sample<'_>) -> Self {
        Self {
            timestamp: sample.timestamp,
            event_count: sample.event_count,
            crash_count: sample.crash_count,
            state: sample.state,
            run: sample.run,
        }
    }
}

#[derive(Debug)]
struct Accumulator {
    count: u32,
    sum: f64,
    min: f64,
    max: f64,
}

impl Accumulator {
    const EMPTY: Self = Self { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.count += 1;
            self.sum += value;
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
    }

    fn range(&self) -> Option<ValueRange> {
        let &Self { count, sum, min, max } = self;
        (count > 0).then(|| ValueRange { min, avg: sum / f64::from(count), max })
    }
}

impl Downsampler {
    /// Creates a downsampler for the consecutive ticks from `oldest` to `newest`, in at most `max`
    /// points. A `max` of 0 counts as 1. If there are no ticks, pass `newest + 1` as `oldest`.
    #[must_use]
    pub fn new(oldest: u64, newest: u64, max: usize) -> Self {
        let max = max.max(1);
        let ticks = newest.saturating_add(1).saturating_sub(oldest);
        // The largest number of buckets for any first tick: so the size is the same a tick later.
        let buckets = |shift: u32| match shift {
            0 => ticks,
            _ => (ticks.saturating_add((1 << shift) - 2) >> shift) + 1,
        };
        let shift = (0..u64::BITS - 1).find(|&shift| buckets(shift) <= max as u64);
        // With one point no size is certain to fit: ticks may lie on both sides of a multiple.
        let shift = shift.unwrap_or(u64::BITS - 1);
        let aligned = ((newest >> shift) + 1).saturating_sub(oldest >> shift);
        let spare_buckets = max.saturating_sub(usize::try_from(aligned).unwrap_or(usize::MAX));
        Self { shift, spare_buckets, current: None, run: None }
    }

    /// The number of ticks in a bucket, except in buckets that a new run has split: a power of two.
    #[must_use]
    pub const fn bucket_ticks(&self) -> u64 {
        1 << self.shift
    }

    /// Adds the sample of `tick`. Returns the point of the previous bucket if that is complete.
    pub fn push(&mut self, tick: u64, sample: &Sample<'_>) -> Option<Point> {
        let number = tick >> self.shift;
        let begins_run = sample.run.is_some() && sample.run != self.run;
        self.run = sample.run.or(self.run);
        match &mut self.current {
            Some(current) if current.number == number => {
                if !begins_run || self.spare_buckets == 0 {
                    current.add(sample);
                    return None;
                }
                self.spare_buckets -= 1;
            }
            Some(_) | None => {}
        }
        self.current.replace(Bucket::new(number, sample)).map(Bucket::into_point)
    }

    /// Returns the point of the last bucket; `None` if no sample was pushed.
    #[must_use]
    pub fn finish(self) -> Option<Point> {
        self.current.map(Bucket::into_point)
    }
}

impl Bucket {
    fn new(number: u64, sample: &Sample<'_>) -> Self {
        let mut bucket = Self {
            number,
            newest: sample.into(),
            sample_count: 0,
            cpu: Accumulator::EMPTY,
            memory: Accumulator::EMPTY,
            tree_cpu: Accumulator::EMPTY,
            tree_memory: Accumulator::EMPTY,
        };
        bucket.add(sample);
        bucket
    }

    fn add(&mut self, sample: &Sample<'_>) {
        self.newest = sample.into();
        self.sample_count += 1;
        self.cpu.add(sample.cpu_percent);
        self.memory.add(sample.memory_bytes.map(|bytes| bytes as f64));
        self.tree_cpu.add(sample.tree_cpu_percent);
        self.tree_memory.add(sample.tree_memory_bytes.map(|bytes| bytes as f64));
    }

    fn into_point(self) -> Point {
        let Newest { timestamp, event_count, crash_count, state, run } = self.newest;
        Point {
            timestamp,
            sample_count: self.sample_count,
            cpu_percent: self.cpu.range(),
            memory: self.memory.range(),
            tree_cpu_percent: self.tree_cpu.range(),
            tree_memory: self.tree_memory.range(),
            event_count,
            crash_count,
            state,
            run,
        }
    }
}

#[cfg(test)]
mod tests;
