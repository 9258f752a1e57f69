//! A history of any length, reduced to a limited number of points.
//!
//! The points are buckets of ticks whose size is a power of two, and a bucket begins where the
//! number of a tick is a multiple of the size. So later queries put the same samples into the same
//! bucket, and a chart that is drawn again moves on without flickering.

use std::time::SystemTime;

use super::run::RunId;
use super::sample::Sample;
use super::state::PluginState;

/// Minimum, average and maximum of the known values of one bucket.
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

/// The samples of one bucket of ticks: see [`PluginView::points`](crate::PluginView::points).
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
    /// The newest sample's event count.
    pub event_count: u64,
    /// The newest sample's crash count.
    pub crash_count: u64,
    /// The newest sample's state.
    pub state: PluginState,
    /// The newest sample's run.
    pub run: Option<RunId>,
}

/// Turns samples, pushed in order of time, into points: [`PluginView::points`] step by step, for
/// callers that do other work in between or need no vector.
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
    /// For the consecutive ticks from `oldest` to `newest` in at most `max` points. Without ticks,
    /// `oldest` is `newest + 1`; `max` is at least 1, and 0 counts as 1.
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

    /// Ticks in a bucket, except in buckets that a new run has split.
    #[must_use]
    pub const fn bucket_ticks(&self) -> u64 {
        1 << self.shift
    }

    /// Adds the sample of `tick`; returns the previous bucket if it is complete.
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

    /// Returns the last bucket.
    #[must_use]
    pub fn finish(self) -> Option<Point> {
        self.current.map(Bucket::into_point)
    }
}

impl Bucket {
    fn new(number: u64, sample: &Sample<'_>) -> Self {
        let (cpu, memory) = (Accumulator::EMPTY, Accumulator::EMPTY);
        let mut bucket = Self { number, newest: sample.into(), sample_count: 0, cpu, memory };
        bucket.add(sample);
        bucket
    }

    fn add(&mut self, sample: &Sample<'_>) {
        self.newest = sample.into();
        self.sample_count += 1;
        self.cpu.add(sample.cpu_percent);
        self.memory.add(sample.memory_bytes.map(|bytes| bytes as f64));
    }

    fn into_point(self) -> Point {
        let Newest { timestamp, event_count, crash_count, state, run } = self.newest;
        Point {
            timestamp,
            sample_count: self.sample_count,
            cpu_percent: self.cpu.range(),
            memory: self.memory.range(),
            event_count,
            crash_count,
            state,
            run,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample(tick: u64, run: Option<u64>, cpu: Option<f64>) -> Sample<'static> {
        Sample {
            timestamp: SystemTime::UNIX_EPOCH + Duration::from_secs(tick),
            plugin_name: "dice",
            version: None,
            pid: None,
            run: run.map(RunId),
            state: if run.is_some() { PluginState::Running } else { PluginState::Stopped },
            cpu_percent: cpu,
            memory_bytes: cpu.map(|cpu| cpu as u64),
            uptime: None,
            event_count: tick,
            crash_count: tick / 10,
        }
    }

    fn downsampled(samples: &[(u64, Sample<'_>)], points: usize) -> Vec<Point> {
        let ends = samples.first().zip(samples.last());
        let Some(((oldest, _), (newest, _))) = ends else {
            return Vec::new();
        };
        let mut downsampler = Downsampler::new(*oldest, *newest, points);
        let mut out: Vec<_> =
            samples.iter().filter_map(|(tick, sample)| downsampler.push(*tick, sample)).collect();
        out.extend(downsampler.finish());
        out
    }

    fn ticks(from: u64, to: u64) -> Vec<(u64, Sample<'static>)> {
        (from..=to).map(|tick| (tick, sample(tick, Some(1), Some(tick as f64)))).collect()
    }

    /// The last tick of each point.
    fn last_ticks(points: &[Point]) -> Vec<u64> {
        points.iter().map(|point| point.event_count).collect()
    }

    #[test]
    fn history_that_fits_is_unchanged() {
        let samples = ticks(5, 14);
        let points = downsampled(&samples, 10);
        assert_eq!(points.len(), 10);
        for ((_, sample), point) in samples.iter().zip(&points) {
            assert_eq!(point.timestamp, sample.timestamp);
            let cpu = sample.cpu_percent.unwrap();
            assert_eq!(point.cpu_percent, Some(ValueRange { min: cpu, avg: cpu, max: cpu }));
            assert_eq!(point.memory, point.cpu_percent);
            assert_eq!(point.sample_count, 1);
            assert_eq!((point.event_count, point.run), (sample.event_count, sample.run));
        }
    }

    #[test]
    fn empty_history_has_no_points() {
        for newest in [0, 7] {
            assert_eq!(Downsampler::new(newest + 1, newest, 720).finish(), None);
        }
    }

    /// The size is the smallest power of two that fits.
    #[test]
    fn buckets_begin_at_multiples_of_their_size() {
        // Buckets of two would be six: 5, 6-7, 8-9, 10-11, 12-13, 14.
        let points = downsampled(&ticks(5, 14), 5);
        assert_eq!(last_ticks(&points), [7, 11, 14]);
        let six = downsampled(&ticks(5, 14), 6);
        assert_eq!(last_ticks(&six), [5, 7, 9, 11, 13, 14]);
        let (first, last) = (&points[0], &points[2]);
        assert_eq!(first.cpu_percent, Some(ValueRange { min: 5.0, avg: 6.0, max: 7.0 }));
        assert_eq!(last.memory, Some(ValueRange { min: 12.0, avg: 13.0, max: 14.0 }));
        assert_eq!((first.sample_count, last.sample_count), (3, 3));
    }

    #[test]
    fn buckets_are_the_same_one_tick_later() {
        for points in [199, 200, 201, 202, 400] {
            let [now, later] =
                [100, 101].map(|first| downsampled(&ticks(first, first + 799), points));
            let shared = &now[1..now.len() - 1];
            assert!(later.windows(shared.len()).any(|window| window == shared), "in {points}");
        }
    }

    #[test]
    fn points_are_limited_and_cover_all_samples() {
        for (from, to) in [(1, 1), (1, 2), (7, 8), (1_023, 1_024), (1, 1_000), (999, 4_097)] {
            for max in [1, 2, 3, 10, 720] {
                let mut samples = ticks(from, to);
                for (tick, sample) in &mut samples {
                    sample.run = (*tick % 3 != 0).then_some(RunId(*tick / 5));
                }
                let points = downsampled(&samples, max);
                assert!((1..=max).contains(&points.len()), "{from}..={to} in {max}");
                assert_eq!(points.last().unwrap().event_count, to);
                let samples: usize = points.iter().map(|point| point.sample_count).sum();
                assert_eq!(samples as u64, to - from + 1);
                let largest = points.iter().filter_map(|point| point.memory).map(|m| m.max as u64);
                assert_eq!(largest.max(), Some(to));
            }
        }
    }

    #[test]
    fn single_point_covers_any_ticks() {
        let large = u64::from(u32::MAX);
        for (from, to) in [(1, 1), (1_023, 1_024), (large, large + 1), (1, 1 << 62)] {
            let downsampler = Downsampler::new(from, to, 1);
            assert_eq!(
                (from >> downsampler.shift, downsampler.spare_buckets),
                (to >> downsampler.shift, 0)
            );
        }
    }

    #[test]
    fn new_run_begins_bucket_while_there_is_room() {
        // Buckets of four: 0-3, 4-7, 8-11; five are allowed.
        let run = |tick| match tick {
            0..=4 => Some(1),
            5 => None,
            6 => Some(2),
            7..=9 => Some(3),
            _ => Some(4),
        };
        let samples: Vec<_> =
            (0..12).map(|tick| (tick, sample(tick, run(tick), Some(tick as f64)))).collect();
        assert_eq!(last_ticks(&downsampled(&samples, 5)), [3, 5, 6, 7, 11]);
        let four = downsampled(&samples, 4);
        assert_eq!(last_ticks(&four), [3, 5, 7, 11]);
        assert_eq!(four[1].run, None, "its newest sample has none");
        assert_eq!(four[2].run, Some(RunId(3)));
    }

    #[test]
    fn unknown_values_enter_no_point() {
        let cpu = [None, None, None, Some(3.0), Some(6.0), None, None, Some(0.0)];
        let samples: Vec<_> =
            (0..8).zip(cpu).map(|(tick, cpu)| (tick, sample(tick, Some(1), cpu))).collect();
        let points = downsampled(&samples, 5);
        let cpu: Vec<_> =
            points.iter().map(|point| point.cpu_percent.map(|cpu| (cpu.max, cpu.avg))).collect();
        assert_eq!(cpu, [None, Some((3.0, 3.0)), Some((6.0, 6.0)), Some((0.0, 0.0))]);
        assert_eq!(points[0].memory, None);
    }
}
