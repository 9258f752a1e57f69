//! Public values, and the queries on them, which run on the reader's thread. No thread, no clock,
//! no I/O, no atomics.

pub(crate) mod aggregates;
pub(crate) mod columns;
mod cpu_walk;
pub(crate) mod downsample;
pub(crate) mod history;
pub(crate) mod inner;
pub(crate) mod limit;
pub(crate) mod notification;
pub(crate) mod plugin_view;
pub(crate) mod process_info;
pub(crate) mod query;
pub(crate) mod read_error;
mod rows;
pub(crate) mod run;
pub(crate) mod sample;
pub(crate) mod severity;
pub(crate) mod state;
pub(crate) mod system;
pub(crate) mod versions;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use self::inner::SnapshotInner;
use self::plugin_view::PluginView;
use self::system::{CollectorStatus, SamplerStats, SystemMetrics};
#[cfg(any(feature = "http", all(test, feature = "testing")))]
use crate::history::timeline::Timeline;

/// The history up to a tick, and the state of every plugin at a revision.
///
/// A snapshot does not change and outlives the collector. All of its samples and totals belong to
/// one tick, all states, runs and crash counts to one revision. Cloning is cheap; take one from a
/// [`Reader`](crate::Reader) and query it as often as needed: no query waits, takes a lock or makes
/// a system call.
///
/// [`Display`](fmt::Display) writes a table of all plugins.
///
/// ```
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("dice")?;
/// plugin.started(std::process::id(), "1.0");
///
/// let snapshot = collector.sample_now()?;
/// drop(collector);
/// let dice = snapshot.plugin("dice").expect("it is registered");
/// assert_eq!(dice.version(), Some("1.0"));
/// println!("{snapshot}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshot(pub(crate) Arc<SnapshotInner>);

impl Snapshot {
    /// The number of the newest tick of the history; 0 before the first.
    #[must_use]
    pub fn tick(&self) -> u64 {
        self.0.timeline.newest
    }

    /// The number of the publication. It increases with each tick, and between ticks when a plugin is
    /// registered or removed, or when its state, a run, its crash count, its limits or a read error
    /// changes. Such changes are published immediately, but not more often than every 10 ms.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// The wall-clock time of the tick; before the first tick, that of the collector's start.
    #[must_use]
    pub fn sampled_at(&self) -> SystemTime {
        self.0.sampled_at().wall
    }

    /// The wall-clock time of the oldest tick of the history; before the first tick, that of the
    /// collector's start. After `Collector::resume` (feature `store`) it may be earlier than the start.
    #[must_use]
    pub fn oldest_sampled_at(&self) -> SystemTime {
        let timeline = &self.0.timeline;
        timeline.at(timeline.oldest).unwrap_or(self.0.info.started).wall
    }

    /// The time of the tick on the monotonic clock; before the first tick, that of the collector's
    /// start.
    #[must_use]
    pub fn sampled_at_instant(&self) -> Instant {
        let (info, mono) = (&self.0.info, self.0.sampled_at().mono);
        let (start, started) = (info.started_instant, info.started.mono);
        // A tick that was restored lies before the start.
        let instant = if mono < started {
            start.checked_sub(started.since(mono))
        } else {
            start.checked_add(mono.since(started))
        };
        instant.unwrap_or(start)
    }

    /// Whether the collector still samples, and if not, why.
    #[must_use]
    pub fn status(&self) -> CollectorStatus {
        self.0.status
    }

    /// Whether this is the last snapshot: the [status](Self::status) is not
    /// [`Running`](CollectorStatus::Running).
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.status != CollectorStatus::Running
    }

    /// The collector's poll interval.
    #[must_use]
    pub fn poll_interval(&self) -> Duration {
        self.0.info.poll_interval
    }

    /// The collector's configured length of the history.
    #[must_use]
    pub fn history_duration(&self) -> Duration {
        self.0.info.history_duration
    }

    /// Whether samples have the values of process trees: see
    /// [`Config::process_trees`](crate::Config::process_trees). If so, a value that is `None` is unknown.
    #[must_use]
    pub fn has_process_trees(&self) -> bool {
        self.0.info.process_trees
    }

    /// The number of processors that the collector's process could use when it was started; a
    /// simulation of the feature `testing` has four.
    #[must_use]
    pub fn cpu_cores(&self) -> usize {
        self.0.info.cpu_cores
    }

    /// The memory of the machine in bytes, as of the start of the collector; `None` if it is unknown.
    /// A simulation of the feature `testing` has 16 GiB.
    #[must_use]
    pub fn machine_memory_bytes(&self) -> Option<u64> {
        self.0.info.machine_memory
    }

    /// The wall-clock time at which the collector was started.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.0.info.started.wall
    }

    /// All registered plugins, in the order of their names.
    #[must_use = "iterators are lazy"]
    pub fn plugins(
        &self,
    ) -> impl DoubleEndedIterator<Item = PluginView<'_>> + ExactSizeIterator + Clone {
        self.0.table.records.iter().map(|record| PluginView::new(self, record))
    }

    /// The plugin with that name; `None` if none is registered.
    ///
    /// # Cost
    ///
    /// One look-up in a hash table.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<PluginView<'_>> {
        let table = &self.0.table;
        let record = table.records.get(table.names.position(name)?)?;
        Some(PluginView::new(self, record))
    }

    /// The plugin at this position of [`plugins`](Self::plugins).
    pub(crate) fn plugin_at(&self, position: usize) -> Option<PluginView<'_>> {
        Some(PluginView::new(self, self.0.table.records.get(position)?))
    }

    /// The plugins and the number of the tick, without the values of ticks: they occupy most of the
    /// memory of a snapshot.
    #[cfg(any(feature = "http", all(test, feature = "testing")))]
    pub(crate) fn without_history(&self) -> Self {
        let SnapshotInner { info, revision, status, system, sampler, .. } = *self.0;
        let newest = self.0.timeline.newest;
        Self(Arc::new(SnapshotInner {
            info,
            revision,
            status,
            timeline: Timeline { newest, ..Timeline::empty() },
            newest: Arc::default(),
            table: Arc::clone(&self.0.table),
            system,
            sampler,
        }))
    }

    /// Totals over all plugins.
    #[must_use]
    pub fn system(&self) -> SystemMetrics {
        self.0.system
    }

    /// The sampler's own work and cost, as of the tick.
    #[must_use]
    pub fn sampler(&self) -> SamplerStats {
        self.0.sampler
    }

    /// The newest tick of an earlier collector; 0 if this one was started without saved values.
    #[cfg(feature = "otlp")]
    pub(crate) fn restored_ticks(&self) -> u64 {
        self.0.info.resumed.map_or(0, |resumed| resumed.ticks)
    }
}

#[cfg(feature = "store")]
impl Snapshot {
    /// Whether a plugin is not registered any more in a later snapshot: its name is free there, or that of
    /// another registration.
    pub(crate) fn has_plugin_removed_by(&self, later: &Self) -> bool {
        let (old, new) = (&self.0.table, &later.0.table);
        // Each registration has a name of its own.
        let mut gone = old.records.iter().filter(|old| {
            let new = new.names.position(&old.name).and_then(|at| new.records.get(at));
            new.is_none_or(|new| !Arc::ptr_eq(&old.name, &new.name))
        });
        !Arc::ptr_eq(&old.names, &new.names) && gone.next().is_some()
    }

    /// The counts that continue an earlier collector; `None` if this one was started without saved values.
    pub(crate) fn resumed(&self) -> Option<inner::Resumed> {
        self.0.info.resumed
    }
}

/// Two snapshots are equal if they are the same publication.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Snapshot {}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("tick", &self.tick())
            .field("revision", &self.revision())
            .field("plugins", &self.0.table.records.len())
            .field("status", &self.status())
            .finish()
    }
}
