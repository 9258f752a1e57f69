//! One plugin of a snapshot: its current values.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::Snapshot;
use super::limit::LimitStatus;
use super::process_info::ProcessInfo;
use super::read_error::ReadError;
use super::rows::PluginRows;
use super::run::Run;
use super::sample::Sample;
use super::state::PluginState;
use crate::history::packed::run_key;
use crate::history::plugin_record::PluginRecord;
use crate::history::run_log::{MAX_SHOWN, RunRecord};

/// One plugin of a [`Snapshot`]: its state at the snapshot's revision, and its history up to the
/// snapshot's tick.
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
    snapshot: &'a Snapshot,
    pub(super) rows: PluginRows<'a>,
}

/// CPU, memory and uptime of the process of the active run, and CPU and memory of its process tree,
/// as of the newest sample.
///
/// [`PluginView::usage`] returns it. A value is `None` if it is unknown, without an active run, and
/// if the newest sample belongs to another run. Without an active run, the values of the tree are
/// those of descendants that have survived their root.
///
/// ```
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("dice")?;
/// plugin.started(std::process::id(), "1.0");
/// let snapshot = collector.sample_now()?;
/// let usage = snapshot.plugin("dice").unwrap().usage();
/// assert!(usage.memory_bytes.is_some_and(|bytes| bytes > 0));
///
/// plugin.stopped();
/// let snapshot = collector.sample_now()?;
/// assert_eq!(snapshot.plugin("dice").unwrap().usage().memory_bytes, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CurrentUsage {
    /// In percent of one core: see [`Sample::cpu_percent`].
    pub cpu_percent: Option<f64>,
    /// Resident memory in bytes: see [`Sample::memory_bytes`].
    pub memory_bytes: Option<u64>,
    /// Living processes of the tree: see [`Sample::process_count`].
    pub process_count: Option<u32>,
    /// CPU of the tree in percent of one core: see [`Sample::tree_cpu_percent`].
    pub tree_cpu_percent: Option<f64>,
    /// Sum of the resident sizes of the tree in bytes, an upper bound: see
    /// [`Sample::tree_memory_bytes`].
    pub tree_memory_bytes: Option<u64>,
    /// Time since the process started.
    pub uptime: Option<Duration>,
    /// Whether the process is suspended: stopped by SIGSTOP, by job control, or by a debugger.
    ///
    /// On Linux it is detected by a tick in which the process used no CPU time, usually the second tick
    /// after the suspension. With more than a few dozen idle processes it takes longer, because at most
    /// ten processes a second are checked. On other platforms it is unknown.
    pub is_suspended: Option<bool>,
}

impl<'a> PluginView<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, record: &'a PluginRecord) -> Self {
        Self { snapshot, rows: PluginRows { inner: &snapshot.0, record } }
    }

    const fn record(&self) -> &'a PluginRecord {
        self.rows.record
    }

    /// The snapshot to which the view belongs.
    #[must_use]
    pub const fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// Whether both views show the same tick, and the plugin has not changed between their revisions:
    /// then all queries of the plugin have the same results.
    pub(crate) fn is_same_plugin(&self, other: PluginView<'_>) -> bool {
        let (inner, others) = (self.rows.inner, other.rows.inner);
        // The records are immutable, and the snapshots keep them: one address is one record.
        std::ptr::eq(self.record(), other.record())
            && inner.timeline.newest == others.timeline.newest
            && inner.info.started_instant == others.info.started_instant
    }

    /// Whether its totals continue those of an earlier collector.
    #[cfg(feature = "otlp")]
    pub(crate) fn is_restored(&self) -> bool {
        self.record().restored.is_some()
    }

    /// How many processes live on although the reported one that they belonged to has ended, and since when
    /// there were any.
    pub(crate) fn survivors(&self) -> Option<(u32, SystemTime)> {
        self.record().survivors.as_deref().copied()
    }

    /// The name as each registration has one of its own: another pointer is another registration.
    #[cfg(feature = "store")]
    pub(crate) fn shared_name(&self) -> &'a std::sync::Arc<str> {
        &self.record().name
    }

    /// The registered name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.record().name
    }

    /// The version of the newest run, active or not; `None` if the host reported none.
    #[must_use]
    pub fn version(&self) -> Option<&'a str> {
        self.record().runs.last()?.run.version.as_deref()
    }

    /// The process id of the active run; `None` without one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.run().map(|run| run.pid)
    }

    /// The plugin's state.
    #[must_use]
    pub fn state(&self) -> PluginState {
        self.record().state
    }

    /// When the state last changed, or the newest run began, whichever is later.
    #[must_use]
    pub fn state_since(&self) -> SystemTime {
        self.record().state_since
    }

    /// The active run; `None` if no process was reported, or if it has ended.
    #[must_use]
    pub fn run(&self) -> Option<&'a Run> {
        self.record().active_run().map(|record| &record.run)
    }

    /// The runs that overlap the history, oldest first; at most the newest 256 of them.
    ///
    /// The history reaches back to its oldest sample, or its configured length, whichever is longer.
    #[must_use = "iterators are lazy"]
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &'a Run> + Clone + use<'a> {
        self.run_records().map(|record| &record.run)
    }

    /// The runs to which samples refer, and others, oldest first: more than [`runs`](Self::runs) if there are
    /// many.
    pub(crate) fn kept_runs(&self) -> impl Iterator<Item = &'a Run> + use<'a> {
        self.record().runs.iter().map(|record| &record.run)
    }

    /// The runs of [`runs`](Self::runs), each with whether it has counted as a crash.
    #[cfg(feature = "store")]
    pub(crate) fn judged_runs(&self) -> impl Iterator<Item = (&'a Run, bool)> + use<'a> {
        self.run_records().map(|record| (&record.run, record.counts_as_crash))
    }

    fn run_records(&self) -> impl DoubleEndedIterator<Item = &'a RunRecord> + Clone + use<'a> {
        let start = self.rows.inner.history_start();
        let overlaps = |record: &&RunRecord| {
            record.ended().is_none_or(|ended| start.is_none_or(|start| ended >= start))
        };
        // Runs end in order, so those that overlap the history are the newest ones.
        let runs = &self.record().runs;
        let first = runs.iter().rev().take(MAX_SHOWN).take_while(overlaps).last();
        let first = first.map_or(u64::MAX, |record| record.number);
        runs.iter().filter(move |record| record.number >= first)
    }

    /// The event counter at the tick; 0 before the plugin's first sample.
    #[must_use]
    pub fn event_count(&self) -> u64 {
        self.rows.counters().map_or(0, |counters| counters.events)
    }

    /// The counts of the kinds of events at the tick, in the order in which the host first requested
    /// their [counters](crate::Plugin::event_counter). They are a part of
    /// [`event_count`](Self::event_count), which also includes events without a kind.
    ///
    /// A kind is listed from the tick after its first request on. Kinds have no history of their own.
    #[must_use = "iterators are lazy"]
    pub fn event_counts(&self) -> impl ExactSizeIterator<Item = (&'a str, u64)> + Clone + use<'a> {
        self.rows.kind_counts()
    }

    /// Crashes of all runs so far.
    #[must_use]
    pub fn crash_count(&self) -> u64 {
        self.record().crash_count
    }

    /// Runs whose end is unknown: they were reaped elsewhere, and the kernel does not report their
    /// status any more. They do not count as crashes. A status that is reported later, by
    /// [`exited`](crate::Plugin::exited) or by the kernel, decides whether the run was a crash, and
    /// takes it out of this number.
    #[must_use]
    pub fn unknown_end_count(&self) -> u64 {
        u64::from(self.record().unknown_end_count)
    }

    /// Runs whose end was unknown when it was detected. Unlike
    /// [`unknown_end_count`](Self::unknown_end_count) this never decreases.
    #[must_use]
    pub fn unknown_ends_detected(&self) -> u64 {
        u64::from(self.record().unknown_ends_detected)
    }

    /// When the newest run that counted as a crash ended; `None` if none did.
    #[must_use]
    pub fn last_crash(&self) -> Option<SystemTime> {
        self.record().last_crash
    }

    /// The number of restarts: runs after the first whose process differs from that of the previous run.
    #[must_use]
    pub fn restart_count(&self) -> u64 {
        self.record().restart_count
    }

    /// CPU time of the processes of all runs together, without their descendants, as far as it was read.
    /// Never decreases.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let active = self.record().active_run().and_then(|active| {
            // The tick may be older than the active run.
            let run_of_tick = self.rows.newest_packed()?.run()?;
            let totals = self.rows.inner.totals_of(self.record())?;
            (run_of_tick == run_key(active.number)).then(|| Duration::from(totals.run_cpu))
        });
        self.record().ended_cpu + active.unwrap_or_default()
    }

    /// CPU time of all runs together, with that of the descendants of their processes. Never
    /// decreases, and never less than [`cpu_time`](Self::cpu_time).
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use plugmeter::Config;
    /// use plugmeter::testing::{Observed, Simulation, Usage};
    /// use std::time::Duration;
    ///
    /// let mut sim = Simulation::new(Config::default())?;
    /// sim.register("build")?.started(4711, "");
    /// let usage = |seconds| Usage { cpu_time: Duration::from_secs(seconds), memory_bytes: 1 << 20 };
    /// let tree = Observed::RunningTree { main: usage(1), tree: usage(4), processes: 3 };
    /// sim.tick(|_pid| tree);
    /// let snapshot = sim.snapshot();
    /// let build = snapshot.plugin("build").unwrap();
    /// assert_eq!(build.cpu_time(), Duration::from_secs(1));
    /// assert_eq!(build.tree_cpu_time(), Duration::from_secs(4));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tree_cpu_time(&self) -> Duration {
        let totals = self.rows.inner.totals_of(self.record());
        let others = totals.map_or(Duration::ZERO, |totals| totals.others_cpu.into());
        self.cpu_time() + others
    }

    /// The processes of the tree at the tick: the reported process first, then those with the most CPU,
    /// at most 64 in all. [`CurrentUsage::process_count`] is the number of all processes.
    ///
    /// The CPU time of children that have ended is in no entry, so
    /// [`tree_cpu_percent`](crate::Sample::tree_cpu_percent) may be more than the sum of the entries.
    ///
    /// Empty where the number of processes is `None`: the tick's sample belongs to another run, or it
    /// has no values of trees.
    #[must_use = "iterators are lazy"]
    pub fn processes(&self) -> impl Iterator<Item = ProcessInfo<'a>> + Clone + use<'a> {
        self.rows.processes(self.current().filter(|sample| self.is_of_active_run(sample)))
    }

    /// Whether the sample belongs to the active run, or neither to a run nor is there one.
    fn is_of_active_run(&self, sample: &Sample<'_>) -> bool {
        sample.run == self.run().map(|run| run.id)
    }

    /// When the process of the active run was found to be [suspended](CurrentUsage::is_suspended);
    /// `None` if it is not.
    #[must_use]
    pub fn suspended_since(&self) -> Option<SystemTime> {
        self.record().suspended_since.as_deref().copied()
    }

    /// Why the reported process could not be read; `None` if it was read, or if there is no process.
    #[must_use]
    pub fn read_error(&self) -> Option<&'a ReadError> {
        self.record().read_error.as_ref()
    }

    /// The limits of the plugin and their states, in the order in which they were set. States, and the
    /// values of limits of crashes, are those at the revision; other values are those of the tick.
    #[must_use = "iterators are lazy"]
    pub fn limits(&self) -> impl ExactSizeIterator<Item = LimitStatus> + Clone + use<'a> {
        self.rows.limits(self.current().is_some_and(|sample| self.is_of_active_run(&sample)))
    }

    /// The newest sample, which belongs to the snapshot's tick. `None` before the plugin's first.
    ///
    /// State, pid and version of a sample are those at its tick; [`state`](Self::state),
    /// [`pid`](Self::pid) and [`version`](Self::version) of the view may be newer.
    #[must_use]
    pub fn current(&self) -> Option<Sample<'a>> {
        let packed = self.rows.newest_packed()?;
        let newest = self.rows.inner.timeline.newest;
        self.rows.unpack(newest, packed, self.rows.counters()?, &mut None)
    }

    /// CPU, memory and uptime of the process of the active run, and CPU and memory of its tree. Between
    /// two ticks the newest sample may belong to a run that has ended: then its values are left out.
    #[must_use]
    pub fn usage(&self) -> CurrentUsage {
        let sample = self.current().filter(|sample| self.is_of_active_run(sample));
        let Some(sample) = sample else { return CurrentUsage::default() };
        // Without a run, the sample may have the CPU of a process that has ended: it is not running.
        let has_processes = sample.run.is_some() || sample.process_count > Some(0);
        CurrentUsage {
            cpu_percent: sample.cpu_percent.filter(|_| sample.run.is_some()),
            memory_bytes: sample.memory_bytes,
            process_count: sample.process_count,
            tree_cpu_percent: sample.tree_cpu_percent.filter(|_| has_processes),
            tree_memory_bytes: sample.tree_memory_bytes,
            uptime: sample.uptime,
            is_suspended: sample.is_suspended,
        }
    }

    /// The plugin's row in a serialized snapshot: state, run and crashes of the revision, events of
    /// the tick, and the values of the process that is running.
    pub(crate) fn as_sample(&self) -> Sample<'a> {
        let usage = self.usage();
        Sample {
            timestamp: self.rows.inner.sampled_at().wall,
            plugin_name: self.name(),
            version: self.version(),
            pid: self.pid(),
            run: self.run().map(|run| run.id),
            state: self.state(),
            cpu_percent: usage.cpu_percent,
            memory_bytes: usage.memory_bytes,
            process_count: usage.process_count,
            tree_cpu_percent: usage.tree_cpu_percent,
            tree_memory_bytes: usage.tree_memory_bytes,
            is_suspended: usage.is_suspended,
            uptime: usage.uptime,
            event_count: self.event_count(),
            crash_count: self.crash_count(),
        }
    }
}

impl PartialEq for PluginView<'_> {
    /// Two views are equal if they show the same plugin of the same publication.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.rows.inner, other.rows.inner)
            && std::ptr::eq(self.rows.record, other.rows.record)
    }
}

impl Eq for PluginView<'_> {}

impl fmt::Debug for PluginView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginView")
            .field("name", &self.name())
            .field("state", &self.state())
            .field("pid", &self.pid())
            .field("tick", &self.rows.inner.timeline.newest)
            .finish()
    }
}
