//! Queries over a window of one plugin's history.

use std::sync::Arc;
use std::time::Duration;

use super::aggregates::{Aggregates, Summary, summarize};
use super::cpu_walk::{ShareNanos, walk_parts};
use super::downsample::{Downsampler, Point};
use super::history::History;
use super::plugin_view::PluginView;
use super::versions::per_event;
use crate::history::metric::Metric;

/// The part of the history that a query covers.
///
/// A window is counted back from the snapshot's tick on the monotonic clock; a sample of exactly
/// that age is included. Queries also accept a `Duration`, and an `Option<Duration>` whose `None` is
/// the whole history.
///
/// ```
/// use plugmeter::Window;
/// use std::time::Duration;
///
/// assert_eq!(Window::from(Duration::from_secs(60)), Window::Last(Duration::from_secs(60)));
/// assert_eq!(Window::from(None), Window::All);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Window {
    /// The whole history.
    #[default]
    All,
    /// The newest part of the history, of this length.
    Last(Duration),
}

impl From<Duration> for Window {
    fn from(last: Duration) -> Self {
        Self::Last(last)
    }
}

impl From<Option<Duration>> for Window {
    fn from(last: Option<Duration>) -> Self {
        last.map_or(Self::All, Self::Last)
    }
}

impl<'a> PluginView<'a> {
    /// The samples of `window`, oldest first.
    ///
    /// # Cost
    ///
    /// A few nanoseconds for each sample that is taken. The first sample from the front also costs a pass
    /// over the event counts of the window. Samples that `nth`, `skip` or `step_by` skip cost a pass over
    /// their event counts, about a tenth of a nanosecond each. Allocates nothing.
    #[must_use = "iterators are lazy"]
    pub fn history(&self, window: impl Into<Window>) -> History<'a> {
        let newest = self.rows.inner.timeline.newest;
        let from = self.first_tick(window.into());
        History::new(self.rows, from, newest, self.rows.counters().unwrap_or_default())
    }

    /// Calls `each` with the time that the CPU share of each of the newest `count` samples covers, oldest
    /// first; `None` for a sample without a share.
    #[cfg(feature = "store")]
    pub(crate) fn covered_times(&self, count: usize, each: impl FnMut(Option<Duration>)) {
        let oldest = self.first_tick(Window::All);
        let first = (self.rows.inner.timeline.newest + 1).saturating_sub(count as u64);
        super::cpu_walk::covered_times(self.rows, oldest, first.max(oldest), each);
    }

    /// The samples of `window`, reduced to at most `max` points, oldest first: for a chart.
    ///
    /// Each point is a bucket of consecutive ticks. All buckets have the same size, a power of two, and
    /// begin at ticks that are multiples of it, so that later queries put the same samples into the same
    /// buckets, and a chart that is drawn again does not flicker. A new run begins a new bucket, as long
    /// as there are no more than `max`. There may be little more than half as many points as `max`; with
    /// a `max` of 0 there are none.
    ///
    /// # Cost
    ///
    /// That of [`history`](Self::history), and the returned vector.
    #[must_use]
    pub fn points(&self, window: impl Into<Window>, max: usize) -> Vec<Point> {
        if max == 0 {
            return Vec::new();
        }
        let history = self.history(window);
        let newest = self.rows.inner.timeline.newest;
        // Every tick records a sample of every registered plugin: there are no gaps.
        let oldest = newest + 1 - history.len() as u64;
        let mut points = Vec::with_capacity(max.min(history.len()));
        let mut downsampler = Downsampler::new(oldest, newest, max);
        points.extend((oldest..).zip(history).filter_map(|(tick, s)| downsampler.push(tick, &s)));
        points.extend(downsampler.finish());
        points
    }

    /// CPU and memory of this plugin over `window`, its events and crashes; `None` if the window
    /// holds no sample.
    ///
    /// # Cost
    ///
    /// Linear in the samples of the window, about 7 µs for 720. After the first call it allocates nothing:
    /// each calling thread keeps buffers for the largest window that it has queried, eight bytes a sample.
    #[must_use]
    pub fn aggregates(&self, window: impl Into<Window>) -> Option<Aggregates> {
        let timeline = &self.rows.inner.timeline;
        let record = self.rows.record;
        let from = self.first_tick(window.into());
        let time_span = self.time_span(from)?;
        let (mut cpu_time, mut events) = (ShareNanos::default(), 0);
        walk_parts(self.rows, from, |part| {
            cpu_time.add(part.cpu);
            events += part.events;
        });
        let cpu_time = cpu_time.cpu_time();
        let has_tree = timeline.has_tree(record.slot, from);
        let summary = |metric, of_tree| {
            summarize(metric, |values| {
                timeline.values(record.slot, metric, of_tree, from..timeline.newest + 1, values);
            })
        };
        let (cpu, memory) = (summary(Metric::Cpu, false), summary(Metric::Memory, false));
        let tree = |metric, own: Option<Summary>| {
            if !self.rows.inner.info.process_trees {
                return None;
            }
            if has_tree { summary(metric, true) } else { own }
        };
        Some(Aggregates {
            plugin_name: Arc::clone(&record.name),
            sample_count: (timeline.newest - from + 1) as usize,
            time_span,
            cpu,
            memory,
            tree_cpu: tree(Metric::Cpu, cpu),
            tree_memory: tree(Metric::Memory, memory),
            cpu_time,
            events,
            events_per_second: per_second(events, time_span - self.gap_time(from)),
            cpu_per_event: per_event(cpu_time, events),
            crashes: self.crashes_since(from),
        })
    }

    /// Events per second over `window`, as [`Aggregates::events_per_second`], at less cost; 0 with fewer
    /// than two samples.
    #[must_use]
    pub fn event_rate(&self, window: impl Into<Window>) -> f64 {
        let from = self.first_tick(window.into());
        let span = self.time_span(from).map(|span| span - self.gap_time(from));
        span.map_or(0.0, |span| per_second(self.rows.increments_after(from, Metric::Events), span))
    }

    /// Crashes counted in `window`, up to the snapshot's revision, at less cost than
    /// [`aggregates`](Self::aggregates).
    ///
    /// Where the window reaches back to the collector's first tick, or to a tick before the plugin's
    /// first sample, this includes the crashes before that sample. [`Aggregates::crashes`] does not,
    /// because it begins at the oldest sample.
    #[must_use]
    pub fn crashes(&self, window: impl Into<Window>) -> u64 {
        let first = self.window_start(window.into());
        if first == 1 || first < self.rows.record.first_tick {
            self.rows.record.crash_count - self.rows.record.crashes_before()
        } else {
            self.crashes_since(first)
        }
    }

    /// Crashes that were counted after the newest tick.
    pub(crate) fn crashes_since_tick(&self) -> u64 {
        let record = self.rows.record;
        let at_tick = self.rows.counters().map_or(record.crashes_before(), |at| at.crashes);
        record.crash_count.saturating_sub(at_tick)
    }

    /// The time between two ticks in which there was a collector, on the monotonic clock.
    #[cfg(feature = "http")]
    pub(crate) fn recorded_time(&self, from: u64, to: u64) -> Duration {
        let timeline = &self.rows.inner.timeline;
        match (timeline.mono(from), timeline.mono(to)) {
            (Some(from), Some(to)) => to.since(from).saturating_sub(timeline.gap_time(from, to)),
            _ => Duration::ZERO,
        }
    }

    /// The time between the newest sample and the one `back` ticks before it, on the monotonic clock:
    /// setting the wall clock does not change it. `None` if the plugin's history does not reach that far
    /// back.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use plugmeter::Config;
    /// use plugmeter::testing::Simulation;
    /// use std::time::Duration;
    ///
    /// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
    /// sim.register("dice")?;
    /// (0..3).for_each(|_| sim.tick(|_pid| None));
    /// let snapshot = sim.snapshot();
    /// let dice = snapshot.plugin("dice").unwrap();
    /// assert_eq!(dice.sample_age(2), Some(Duration::from_secs(10)));
    /// assert_eq!(dice.sample_age(3), None);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sample_age(&self, back: usize) -> Option<Duration> {
        let newest = self.rows.inner.timeline.newest;
        let tick = newest.checked_sub(u64::try_from(back).ok()?)?;
        let first = self.rows.inner.timeline.oldest.max(self.rows.record.first_tick);
        self.time_span(tick).filter(|_| tick >= first)
    }

    /// The time since tick `from` in which there was no collector.
    fn gap_time(&self, from: u64) -> Duration {
        let timeline = &self.rows.inner.timeline;
        match (timeline.mono(from), timeline.mono(timeline.newest)) {
            (Some(from), Some(newest)) => timeline.gap_time(from, newest),
            _ => Duration::ZERO,
        }
    }

    /// From the sample of tick `from` to the newest; `None` if there is none.
    fn time_span(&self, from: u64) -> Option<Duration> {
        let timeline = &self.rows.inner.timeline;
        if from > timeline.newest {
            return None;
        }
        Some(timeline.mono(timeline.newest)?.since(timeline.mono(from)?))
    }

    /// Crashes that are not counted in the sample of tick `from`.
    fn crashes_since(&self, from: u64) -> u64 {
        let count = self.rows.record.crash_count;
        // Most plugins have none, and then there is nothing to sum up.
        if count == 0 {
            return 0;
        }
        let at_newest = self.rows.counters().map_or(0, |counters| counters.crashes);
        count.saturating_sub(at_newest - self.rows.increments_after(from, Metric::Crashes))
    }

    /// The first tick of this plugin in the window; one after the newest if there is none.
    pub(super) fn first_tick(&self, window: Window) -> u64 {
        let first = self.window_start(window);
        first.max(self.rows.record.first_tick).min(self.rows.inner.timeline.newest + 1)
    }

    /// The first tick in the window, of any plugin.
    fn window_start(&self, window: Window) -> u64 {
        let timeline = &self.rows.inner.timeline;
        match window {
            Window::All => timeline.oldest,
            // A window that reaches back before the origin of the clock holds everything.
            Window::Last(last) => match self.rows.inner.sampled_at().mono.checked_sub(last) {
                Some(cutoff) => timeline.first_since(cutoff),
                None => timeline.oldest,
            },
        }
    }
}

fn per_second(events: u64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { events as f64 / span.as_secs_f64() }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::time::Duration;

    use crate::testing::{Simulation, Usage};
    use crate::{Config, Window};

    /// A history that has lost its oldest samples: the share before the first one was taken a poll interval
    /// before, not when the run began.
    #[cfg(feature = "store")]
    #[test]
    fn first_share_of_cut_history_covers_one_interval() {
        let second = Duration::from_secs(1);
        let config = Config::default().poll_interval(second).history_duration(second * 10);
        let mut sim = Simulation::new(config).unwrap();
        let plugin = sim.register("dice").unwrap();
        plugin.started(1, "");
        sim.advance(second / 2);
        for tick in 1..=30u32 {
            let cpu_time = (second * tick).mul_f64(0.2);
            sim.tick(|_pid| Usage { cpu_time, memory_bytes: 1 });
            let snapshot = sim.snapshot();
            let view = snapshot.plugin("dice").unwrap();
            for count in [1, 4, 10, 50] {
                let mut covered = Vec::new();
                view.covered_times(count, |time| covered.push(time));
                let samples = count.min(tick.min(10) as usize);
                assert_eq!(covered.len(), samples, "tick {tick}");
                // As long as the history has the first sample, that one covers the run from its start.
                let first = if samples as u32 == tick { second * 3 / 2 } else { second };
                assert_eq!(covered[0], Some(first), "{count} at tick {tick}");
                assert!(covered[1..].iter().all(|time| *time == Some(second)), "{covered:?}");
            }
        }
    }

    /// The crashes before the first sample count where the window reaches back to an earlier tick.
    #[test]
    fn crashes_before_first_sample_count_in_wide_window() {
        let second = Duration::from_secs(1);
        let config = Config::default().poll_interval(second).history_duration(second * 10);
        let mut sim = Simulation::new(config).unwrap();
        let tick = |sim: &mut Simulation, times| {
            for _ in 0..times {
                sim.tick(|_pid| Usage { cpu_time: Duration::ZERO, memory_bytes: 1 });
            }
        };
        tick(&mut sim, 3);
        let plugin = sim.register("dice").unwrap();
        plugin.started(1, "");
        plugin.crashed();
        plugin.started(2, "");
        tick(&mut sim, 3);
        plugin.crashed();
        tick(&mut sim, 1);
        // Its first sample is the fourth tick's, of seven.
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        for (seconds, crashes) in [(3, 1), (4, 2), (6, 2)] {
            let window = Window::Last(second * seconds);
            assert_eq!(view.aggregates(window).unwrap().crashes, 1, "{seconds} s");
            assert_eq!(view.crashes(window), crashes, "{seconds} s");
        }
        assert_eq!(view.aggregates(Window::All).unwrap().crashes, 1);
        assert_eq!(view.crashes(Window::All), 2);
        // Once the first crash has left the history, only the later one remains, and then none.
        for (ticks, crashes) in [(7, 1), (10, 0)] {
            tick(&mut sim, ticks);
            let snapshot = sim.snapshot();
            assert_eq!(snapshot.plugin("dice").unwrap().crashes(Window::All), crashes);
        }
    }
}
