//! The queries on one plugin of a snapshot.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::aggregates::{Aggregates, summarize};
use super::history::{Counts, History};
use super::problem::ReadError;
use super::reading::CpuShare;
use super::record::Record;
use super::run::Run;
use super::runs::{Entry, SHOWN};
use super::sample::{COLUMNS, Column, RUN_MASK, Row, Sample, low_bits};
use super::snapshot::Published;
use super::state::PluginState;

/// How much of the history a query looks at.
///
/// A window is counted back from the snapshot's tick on the monotonic clock; a sample exactly that
/// old is in it. It converts from a `Duration` and from an `Option<Duration>` (`None` is all).
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
    /// All of the history.
    #[default]
    All,
    /// The newest part of it.
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

/// One plugin of a [`Snapshot`](crate::Snapshot): its state at the revision, its history up to the
/// tick.
///
/// ```
/// use plugmeter::{Collector, Config, PluginState, Window};
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("dice")?;
/// plugin.started(std::process::id(), "1.0");
/// let snapshot = collector.sample_now()?;
///
/// let dice = snapshot.plugin("dice").expect("it is registered");
/// assert_eq!(dice.state(), PluginState::Running);
/// assert_eq!(dice.pid(), Some(std::process::id()));
/// for sample in dice.history(Window::All) {
///     println!("{:?} {:?}", sample.timestamp, sample.cpu_percent);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct PluginView<'a> {
    published: &'a Published,
    record: &'a Record,
}

impl<'a> PluginView<'a> {
    pub(crate) const fn new(published: &'a Published, record: &'a Record) -> Self {
        Self { published, record }
    }

    /// The name that the host registered.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.record.name
    }

    /// Version of the newest run, open or not; `None` if the host gave none.
    #[must_use]
    pub fn version(&self) -> Option<&'a str> {
        self.record.runs.last()?.run.version.as_deref()
    }

    /// Process id of the open run; `None` without one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.run().map(|run| run.pid)
    }

    /// What the plugin is doing.
    #[must_use]
    pub fn state(&self) -> PluginState {
        self.record.state
    }

    /// When the state last changed, or the newest run began, whichever is later.
    #[must_use]
    pub fn state_since(&self) -> SystemTime {
        self.record.since
    }

    /// The open run; `None` if no process was named, or if it has ended.
    #[must_use]
    pub fn run(&self) -> Option<&'a Run> {
        self.record.open().map(|entry| &entry.run)
    }

    /// The runs that overlap the history, oldest first; at most the newest 256 of them.
    ///
    /// The history reaches back to its oldest sample, and at least its configured length.
    #[must_use = "iterators are lazy"]
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &'a Run> + Clone + use<'a> {
        let begin = self.published.horizon();
        let overlaps =
            |e: &&Entry| e.ended.is_none_or(|ended| begin.is_none_or(|begin| ended >= begin));
        // Runs end in their order, so those that overlap the history are the newest ones.
        let runs = &self.record.runs;
        let first = runs.iter().rev().take(SHOWN).take_while(overlaps).last();
        let first = first.map_or(u64::MAX, |entry| entry.seq);
        runs.iter().filter(move |entry| entry.seq >= first).map(|entry| &entry.run)
    }

    /// The event counter at the tick; 0 before the plugin's first sample.
    #[must_use]
    pub fn event_count(&self) -> u64 {
        self.published.total(self.record).map_or(0, |total| total.events)
    }

    /// Crashes so far, of all runs.
    #[must_use]
    pub fn crash_count(&self) -> u64 {
        self.record.crash_count
    }

    /// When the newest run that counted as a crash ended; `None` if none did.
    #[must_use]
    pub fn last_crash(&self) -> Option<SystemTime> {
        self.record.last_crash
    }

    /// Runs after the first, of another process than the one before.
    #[must_use]
    pub fn restart_count(&self) -> u64 {
        self.record.restarts
    }

    /// CPU time known to have been used, of all runs together. Never goes down.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let open = self.record.open().and_then(|open| {
            // The tick may be older than the run that is open now.
            let of_the_tick = self.newest_row()?.run()?;
            let total = self.published.total(self.record)?;
            (of_the_tick == low_bits(open.seq)).then(|| Duration::from(total.run_cpu))
        });
        self.record.ended_cpu + open.unwrap_or_default()
    }

    /// Why there is no reading although a process was named; `None` if there is one, or nothing to
    /// read.
    #[must_use]
    pub fn read_error(&self) -> Option<&'a ReadError> {
        self.record.problem.as_ref()
    }

    /// The newest sample: that of the tick. `None` until there is one.
    ///
    /// State, pid and version of a sample are those of its tick; those of the view may be newer.
    #[must_use]
    pub fn current(&self) -> Option<Sample<'a>> {
        let row = self.newest_row()?;
        let total = self.published.total(self.record)?;
        let counts = Counts { events: total.events, crashes: total.crashes };
        self.sample(self.published.timeline.newest, row, counts, &mut None)
    }

    /// The samples of `window`, oldest first.
    ///
    /// # Cost
    ///
    /// Linear in the window: one pass over its event counts, then a few nanoseconds a sample.
    /// Allocates nothing.
    #[must_use = "iterators are lazy"]
    pub fn history(&self, window: impl Into<Window>) -> History<'a> {
        let newest = self.published.timeline.newest;
        let from = self.first_tick(window.into());
        let back = self.published.total(self.record).map_or(Counts::default(), |total| Counts {
            events: total.events,
            crashes: total.crashes,
        });
        let front = back.minus(Counts {
            events: self.added_after(from, Column::Events),
            crashes: self.added_after(from, Column::Crashes),
        });
        History::new(*self, from, newest, front, back)
    }

    /// CPU and memory of this plugin over `window`, its events and crashes; `None` if the window
    /// holds no sample.
    ///
    /// # Cost
    ///
    /// Linear in the samples of the window; allocates nothing once warm: each thread that asks keeps
    /// room for the largest window that it has asked for, eight bytes a sample. It works on this
    /// snapshot, so it never waits and never disagrees with another query on the same one.
    #[must_use]
    pub fn aggregates(&self, window: impl Into<Window>) -> Option<Aggregates> {
        let timeline = &self.published.timeline;
        let from = self.first_tick(window.into());
        let time_span = self.time_span(from)?;
        let events = self.added_after(from, Column::Events);
        let column = |column, unit| {
            summarize(unit, |values| {
                timeline.column(self.record.slot, column, from, |piece| {
                    values.extend_from_slice(piece);
                });
            })
        };
        Some(Aggregates {
            plugin_name: Arc::clone(&self.record.name),
            sample_count: (timeline.newest - from + 1) as usize,
            time_span,
            cpu: column(Column::Cpu, (1, CpuShare::PER_PERCENT)),
            memory: column(Column::Kib, (1_024, 1)),
            events,
            events_per_second: per_second(events, time_span),
            crashes: self.crashes_since(from),
        })
    }

    /// As [`aggregates`](Self::aggregates) has it, without the rest of it; 0 without a sample.
    #[cfg(feature = "http")]
    pub(crate) fn events_per_second(&self, window: impl Into<Window>) -> f64 {
        let from = self.first_tick(window.into());
        let span = self.time_span(from);
        span.map_or(0.0, |span| per_second(self.added_after(from, Column::Events), span))
    }

    /// As [`aggregates`](Self::aggregates) has it, without the rest of it; all of them without a
    /// sample.
    #[cfg(feature = "http")]
    pub(crate) fn crashes(&self, window: impl Into<Window>) -> u64 {
        self.crashes_since(self.first_tick(window.into()))
    }

    /// The same, and those from before the plugin's first sample, if the window reaches back to
    /// them: to a tick that was before it. A window that holds the first of all ticks does.
    #[cfg(feature = "http")]
    pub(crate) fn crashes_lately(&self, window: impl Into<Window>) -> u64 {
        let first = self.window_start(window.into());
        if first == 1 || first < self.record.first_tick {
            self.crash_count()
        } else {
            self.crashes_since(first)
        }
    }

    /// How much older, on the monotonic clock, the sample is that was so many before the newest;
    /// `None` if it is not held.
    #[cfg(feature = "http")]
    pub(crate) fn age_of_sample(&self, back: usize) -> Option<Duration> {
        self.time_span(self.published.timeline.newest.checked_sub(back as u64)?)
    }

    /// From the sample of tick `from` to the newest; `None` if there is none.
    fn time_span(&self, from: u64) -> Option<Duration> {
        let timeline = &self.published.timeline;
        if from > timeline.newest {
            return None;
        }
        Some(timeline.at(timeline.newest)?.mono.duration_since(timeline.at(from)?.mono))
    }

    /// Crashes that the sample of tick `from` did not know of.
    fn crashes_since(&self, from: u64) -> u64 {
        // Mostly there are none: nothing has to be looked at then.
        if self.record.crash_count == 0 {
            return 0;
        }
        let total = self.published.total(self.record).map_or(0, |total| total.crashes);
        let known = total - self.added_after(from, Column::Crashes);
        self.record.crash_count.saturating_sub(known)
    }

    /// CPU, memory and uptime of the process that is running now. Nothing of a run that is over:
    /// after a publication between ticks the newest sample may be of one.
    pub(crate) fn live(&self) -> Live {
        let open = self.run().map(|run| run.id);
        match self.current() {
            Some(sample) if open.is_some() && sample.run == open => Live {
                cpu_percent: sample.cpu_percent,
                memory_bytes: sample.memory_bytes,
                uptime: sample.uptime,
            },
            Some(_) | None => Live::default(),
        }
    }

    /// What is shown of the plugin now: state, run and crashes of the revision, events of the tick,
    /// and the values of the process that is running.
    pub(crate) fn as_sample(&self) -> Sample<'a> {
        let live = self.live();
        Sample {
            timestamp: self.sampled_at(),
            plugin_name: self.name(),
            version: self.version(),
            pid: self.pid(),
            run: self.run().map(|run| run.id),
            state: self.state(),
            cpu_percent: live.cpu_percent,
            memory_bytes: live.memory_bytes,
            uptime: live.uptime,
            event_count: self.event_count(),
            crash_count: self.crash_count(),
        }
    }

    /// The moment of the tick.
    fn sampled_at(&self) -> SystemTime {
        self.published.tick_at().wall
    }

    /// The first tick of this plugin in the window; one after the newest if there is none.
    fn first_tick(&self, window: Window) -> u64 {
        let first = self.window_start(window);
        first.max(self.record.first_tick).min(self.published.timeline.newest + 1)
    }

    /// The first tick in the window, of whichever plugin.
    fn window_start(&self, window: Window) -> u64 {
        let timeline = &self.published.timeline;
        match window {
            Window::All => timeline.oldest,
            // A window that reaches back before the clock began holds everything.
            Window::Last(last) => match self.published.tick_at().mono.checked_sub(last) {
                Some(cut) => timeline.first_since(cut),
                None => timeline.oldest,
            },
        }
    }

    fn newest_row(&self) -> Option<Row> {
        let timeline = &self.published.timeline;
        let sampled = self.record.first_tick <= timeline.newest;
        sampled.then(|| timeline.row(timeline.newest, self.record.slot))
    }

    /// What one of the counters was raised by in the ticks after `tick`.
    fn added_after(&self, tick: u64, column: Column) -> u64 {
        let mut sum = 0;
        self.published.timeline.column(self.record.slot, column, tick + 1, |piece| {
            sum += piece.iter().map(|&added| u64::from(added)).sum::<u64>();
        });
        sum
    }

    pub(crate) fn row(&self, tick: u64) -> Row {
        self.published.timeline.row(tick, self.record.slot)
    }

    /// Unpacks a row. `known` is the run that the row before referred to: mostly it is the same.
    pub(crate) fn sample(
        &self,
        tick: u64,
        row: Row,
        counts: Counts,
        known: &mut Option<&'a Entry>,
    ) -> Option<Sample<'a>> {
        let at = self.published.timeline.at(tick)?;
        let state = row.state()?;
        let run = row.run().and_then(|low| match known {
            Some(entry) if low_bits(entry.seq) == low => Some(*entry),
            _ => {
                *known = self.record.runs.by_low_bits(low, RUN_MASK);
                *known
            }
        });
        let began = run.and_then(|entry| entry.began).filter(|_| !row.found_gone());
        Some(Sample {
            timestamp: at.wall,
            plugin_name: &self.record.name,
            version: run.and_then(|entry| entry.run.version.as_deref()),
            pid: run.map(|entry| entry.run.pid),
            run: run.map(|entry| entry.run.id),
            state,
            cpu_percent: row
                .cpu()
                .map(|share| f64::from(share.0) / f64::from(CpuShare::PER_PERCENT)),
            memory_bytes: row.resident(),
            // Where two clocks disagree, a process may seem to begin in the future.
            uptime: began.map(|began| at.boot.saturating_sub(began)),
            event_count: counts.events,
            crash_count: counts.crashes,
        })
    }
}

impl PartialEq for PluginView<'_> {
    /// Two views are equal if they are of the same plugin of the same publication.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.published, other.published) && std::ptr::eq(self.record, other.record)
    }
}

impl Eq for PluginView<'_> {}

impl fmt::Debug for PluginView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginView")
            .field("name", &self.name())
            .field("state", &self.state())
            .field("pid", &self.pid())
            .field("tick", &self.published.timeline.newest)
            .finish()
    }
}

impl Published {
    /// Where the history begins: what ended before it is not part of it. Its configured length
    /// before the tick; further back where ticks were late, or the machine has slept, so that the
    /// oldest sample is older. `None`: before the clock began.
    fn horizon(&self) -> Option<Instant> {
        let asked = self.tick_at().mono.checked_sub(self.origin.history_duration)?;
        let oldest = self.timeline.at(self.timeline.oldest).map(|at| at.mono);
        Some(oldest.map_or(asked, |oldest| oldest.min(asked)))
    }
}

fn per_second(events: u64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { events as f64 / span.as_secs_f64() }
}

/// See [`PluginView::live`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Live {
    pub cpu_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub uptime: Option<Duration>,
}

const _: () = assert!(COLUMNS * 4 == size_of::<Row>(), "a row is its five columns");

#[cfg(all(test, feature = "testing", feature = "http"))]
mod tests {
    use std::time::Duration;

    use crate::testing::{Simulation, Usage};
    use crate::{Config, Window};

    #[test]
    fn crashes_before_the_first_sample_count_where_the_window_reaches_back_to_a_tick_before_it() {
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
        // Its first sample is the fourth, of seven.
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        for (seconds, lately) in [(3, 1), (4, 2), (6, 2)] {
            let window = Window::Last(second * seconds);
            assert_eq!(view.crashes(window), 1, "{seconds} s");
            assert_eq!(view.crashes_lately(window), lately, "{seconds} s");
        }
        assert_eq!((view.crashes(Window::All), view.crashes_lately(Window::All)), (1, 2));
        // When the history has left that behind, only the later one is left, and then none.
        tick(&mut sim, 7);
        let snapshot = sim.snapshot();
        assert_eq!(snapshot.plugin("dice").unwrap().crashes_lately(Window::All), 1);
        tick(&mut sim, 10);
        let snapshot = sim.snapshot();
        assert_eq!(snapshot.plugin("dice").unwrap().crashes_lately(Window::All), 0);
    }
}
