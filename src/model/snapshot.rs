//! What is published.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::frame::Total;
use super::record::{Record, Table};
use super::system::{SamplerStats, SystemMetrics};
use super::time::Now;
use super::timeline::Timeline;
use super::view::PluginView;

/// What does not change while a collector lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub started: Now,
    pub poll_interval: Duration,
    pub history_duration: Duration,
}

/// One publication. Nothing in it is atomic, locked or mutable: it is immutable by type.
#[derive(Debug)]
pub(crate) struct Published {
    pub origin: Origin,
    pub revision: u64,
    pub stopped: bool,
    pub timeline: Timeline,
    /// By slot, of the newest tick.
    pub totals: Arc<Vec<Total>>,
    pub table: Arc<Table>,
    pub system: SystemMetrics,
    pub sampler: SamplerStats,
}

impl Published {
    /// What is seen before the first tick; and for ever, where there is no sampler.
    pub(crate) fn before_the_first_tick(origin: Origin, stopped: bool) -> Self {
        Self {
            origin,
            revision: 0,
            stopped,
            timeline: Timeline::empty(),
            totals: Arc::default(),
            table: Arc::default(),
            system: SystemMetrics::default(),
            sampler: SamplerStats::default(),
        }
    }

    /// The moment of the newest tick; of the start, before the first.
    pub(crate) fn tick_at(&self) -> &Now {
        self.timeline.at(self.timeline.newest).unwrap_or(&self.origin.started)
    }

    /// The counters of a plugin at the newest tick, if it was registered by then.
    pub(crate) fn total(&self, record: &Record) -> Option<&Total> {
        let sampled = record.first_tick <= self.timeline.newest;
        self.totals.get(record.slot as usize).filter(|_| sampled)
    }
}

/// The history up to a tick, and the state of every plugin at a revision.
///
/// A snapshot does not change and outlives the collector. All of its samples and totals are of one
/// tick, all states, runs and crash counts of one revision. Cloning it is cheap; take one from a
/// [`Reader`](crate::Reader) and ask it as often as you like: no query on it waits, takes a lock
/// or makes a system call.
///
/// Printed, it is a table of all plugins.
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
pub struct Snapshot(pub(crate) Arc<Published>);

impl Snapshot {
    /// Number of the tick up to which the history goes; 0 before the first.
    #[must_use]
    pub fn tick(&self) -> u64 {
        self.0.timeline.newest
    }

    /// Rises with every publication: each tick, and between ticks when a plugin was registered or
    /// removed, or when its state, a run, its crash count or a problem has changed. Such changes are
    /// published at once, but not more often than every 10 ms.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// The wall clock's time of the tick; of the collector's start, before the first.
    #[must_use]
    pub fn sampled_at(&self) -> SystemTime {
        self.0.tick_at().wall
    }

    /// The same on the monotonic clock: `sampled_at_instant().elapsed()` is the age of the data.
    #[must_use]
    pub fn sampled_at_instant(&self) -> Instant {
        self.0.tick_at().mono
    }

    /// The interval that the collector was started with.
    #[must_use]
    pub fn poll_interval(&self) -> Duration {
        self.0.origin.poll_interval
    }

    /// The length of the history that the collector was started with.
    #[must_use]
    pub fn history_duration(&self) -> Duration {
        self.0.origin.history_duration
    }

    /// When the collector was started.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.0.origin.started.wall
    }

    /// Whether no newer snapshot will come: the collector was stopped, or never sampled.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.stopped
    }

    /// All plugins, by name.
    #[must_use = "iterators are lazy"]
    pub fn plugins(
        &self,
    ) -> impl DoubleEndedIterator<Item = PluginView<'_>> + ExactSizeIterator + Clone {
        self.0.table.records.iter().map(|record| PluginView::new(&self.0, record))
    }

    /// The plugin of that name; `None` if none is registered.
    ///
    /// # Cost
    ///
    /// One look-up in a hash table.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<PluginView<'_>> {
        let table = &self.0.table;
        let record = table.records.get(table.names.position(name)?)?;
        Some(PluginView::new(&self.0, record))
    }

    /// Totals over all plugins.
    #[must_use]
    pub fn system(&self) -> SystemMetrics {
        self.0.system
    }

    /// What the sampler has done and cost, as of the tick.
    #[must_use]
    pub fn sampler(&self) -> SamplerStats {
        self.0.sampler
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
            .field("stopped", &self.is_stopped())
            .finish()
    }
}
