//! What each version of a plugin has used.

use std::sync::Arc;
use std::time::Duration;

use super::aggregates::{Summary, summarize};
use super::cpu_walk::{Part, ShareNanos, walk_parts};
use super::plugin_view::PluginView;
use super::query::Window;
use crate::history::metric::Metric;
use crate::history::packed::{RUN_KEY_MASK, run_key_of};
use crate::history::run_log::RunRecord;
use crate::history::timeline::Timeline;

/// CPU, memory, events and crashes of one version of a plugin over a window, and its CPU time per event:
/// to compare a version with the one before it.
///
/// [`PluginView::versions`](crate::PluginView::versions) returns it.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Simulation, Usage};
/// use plugmeter::{Config, Window};
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
/// let plugin = sim.register("dice")?;
/// // Each of the two versions handles ten events a tick; the second one needs three times the CPU.
/// for (version, pid, millis) in [("1.0", 1, 100), ("2.0", 2, 300)] {
///     plugin.started(pid, version);
///     for tick in 1..=12 {
///         plugin.events().add(10);
///         sim.tick(|_pid| Usage { cpu_time: Duration::from_millis(millis * tick), memory_bytes: 1 << 20 });
///     }
/// }
/// let snapshot = sim.snapshot();
/// let versions = snapshot.plugin("dice").unwrap().versions(Window::All);
/// let cost: Vec<_> = versions.iter().map(|usage| usage.cpu_per_event.unwrap()).collect();
/// assert_eq!(cost, [Duration::from_millis(10), Duration::from_millis(30)]);
/// println!("{}\n{}", versions[0], versions[1]);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct VersionUsage {
    /// The version; `None` for runs without one.
    pub version: Option<Arc<str>>,
    /// Runs of the version that overlap the window, also those that ended before they had a sample.
    pub runs: usize,
    /// Samples of its runs.
    pub sample_count: usize,
    /// The time that these samples cover: each covers the time since the previous sample, except the
    /// oldest sample of the window, which covers none.
    pub time: Duration,
    /// CPU in percent of one core; `None` if no sample has a value. Of the process trees, unless these
    /// are [switched off](crate::Config::process_trees).
    pub cpu: Option<Summary>,
    /// Resident memory in bytes; `None` if no sample has a value. Of the process trees, as
    /// [`cpu`](Self::cpu): a sum of resident sizes.
    pub memory: Option<Summary>,
    /// CPU time in that time, as in [`Aggregates::cpu_time`](crate::Aggregates::cpu_time).
    pub cpu_time: Duration,
    /// Events in that time.
    pub events: u64,
    /// [`cpu_time`](Self::cpu_time) divided by [`events`](Self::events); `None` without events.
    pub cpu_per_event: Option<Duration>,
    /// Crashes of its runs that began before the newest tick and have ended since the oldest sample of the
    /// window, up to the snapshot's revision. A crash belongs to the version that crashed, also if the next one is already running.
    pub crashes: u64,
}

/// `cpu_time` over `events`; `None` without events.
pub(super) fn per_event(cpu_time: Duration, events: u64) -> Option<Duration> {
    let nanos = cpu_time.as_nanos().checked_div(events.into())?;
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

/// The parts of one version.
struct Group<'a> {
    version: Option<&'a Arc<str>>,
    newest_run: u64,
    runs: usize,
    crashes: u64,
    samples: usize,
    time: Duration,
    cpu: ShareNanos,
    events: u64,
    /// The first ticks and lengths of its samples.
    ticks: Vec<(u64, usize)>,
}

struct Groups<'a>(Vec<Group<'a>>);

impl<'a> Groups<'a> {
    /// The group of the run's version.
    fn of(&mut self, record: &'a RunRecord) -> &mut Group<'a> {
        let Self(groups) = self;
        let version = record.run.version.as_ref();
        // The usual version is that of the run before.
        let at = groups.iter().rposition(|group| group.version == version);
        let at = at.unwrap_or_else(|| {
            groups.push(Group {
                version,
                newest_run: record.number,
                runs: 0,
                crashes: 0,
                samples: 0,
                time: Duration::ZERO,
                cpu: ShareNanos::default(),
                events: 0,
                ticks: Vec::new(),
            });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.newest_run = group.newest_run.max(record.number);
        group
    }
}

impl Group<'_> {
    fn add(&mut self, part: &Part, timeline: &Timeline) {
        self.cpu.add(part.cpu);
        self.events += part.events;
        if part.run == 0 {
            return;
        }
        self.samples += part.samples;
        self.time += part.until.since(part.since) - timeline.gap_time(part.since, part.until);
        match self.ticks.last_mut() {
            Some((first, len)) if *first + *len as u64 == part.tick => *len += part.samples,
            Some(_) | None => self.ticks.push((part.tick, part.samples)),
        }
    }
}

impl PluginView<'_> {
    /// The values of each version over `window`, in the order of their newest runs: the last one is the
    /// version that runs now, or that ran last, and the one before it is the version that it has
    /// replaced. A version that was used again later is one entry.
    ///
    /// Each sample belongs to the version of its run. Events and CPU time of a tick in which the run
    /// changed belong to the newer run; those of a tick in which a run ended, and none is active at
    /// its sample, to the run that ended. Samples without a run belong to no version.
    ///
    /// Empty if no run overlaps the window. `runs` and `crashes` count the runs that are still recorded:
    /// of runs that ended before they had a sample, only the newest 256 are.
    ///
    /// # Cost
    ///
    /// About that of [`aggregates`](Self::aggregates), and the returned vector; about three times that
    /// if the run changes at every tick.
    #[must_use]
    pub fn versions(&self, window: impl Into<Window>) -> Vec<VersionUsage> {
        let (rows, timeline) = (self.rows, &self.rows.inner.timeline);
        let record = rows.record;
        let from = self.first_tick(window.into());
        let (Some(oldest), Some(newest)) = (timeline.mono(from), timeline.mono(timeline.newest))
        else {
            return Vec::new();
        };
        let mut groups = Groups(Vec::new());
        // A run that was read for the first time at the newest tick has its sample there.
        let key = run_key_of(rows.packed(timeline.newest).get(Metric::RunAndState));
        let has_begun = |run: &&RunRecord| run.began < newest || (key != 0 && run.has_key(key));
        for run in record.runs.since(oldest).take_while(has_begun) {
            let group = groups.of(run);
            group.runs += 1;
            group.crashes += u64::from(run.counts_as_crash);
        }
        let mut owner: Option<&RunRecord> = None;
        walk_parts(rows, from, |part| {
            owner = match part.run {
                0 => record.runs.last_ended(part.since, part.until).or_else(|| {
                    // The tick before has detected the end of its run.
                    owner.filter(|run| {
                        run.ended() == Some(part.since) && run.last_tick + 1 == part.tick
                    })
                }),
                key => match owner {
                    Some(run) if run.has_key(key) => owner,
                    Some(_) | None => record.runs.by_key(key, RUN_KEY_MASK),
                },
            };
            if let Some(run) = owner {
                groups.of(run).add(&part, timeline);
            }
        });
        let Groups(mut groups) = groups;
        groups.sort_by_key(|group| group.newest_run);
        let has_tree = rows.inner.info.process_trees && timeline.has_tree(record.slot, from);
        let summary = |metric, ticks: &[(u64, usize)]| {
            summarize(metric, |values| {
                for &(first, len) in ticks {
                    timeline.values(
                        record.slot,
                        metric,
                        has_tree,
                        first..first + len as u64,
                        values,
                    );
                }
            })
        };
        let usage = |group: &Group<'_>| {
            let cpu_time = group.cpu.cpu_time();
            VersionUsage {
                version: group.version.cloned(),
                runs: group.runs,
                sample_count: group.samples,
                time: group.time,
                cpu: summary(Metric::Cpu, &group.ticks),
                memory: summary(Metric::Memory, &group.ticks),
                cpu_time,
                events: group.events,
                cpu_per_event: per_event(cpu_time, group.events),
                crashes: group.crashes,
            }
        };
        groups.iter().map(usage).collect()
    }
}
