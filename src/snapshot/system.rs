//! Totals over all plugins, and the collector's own status and cost.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Totals over all registered plugins.
///
/// Events, CPU, memory and processes are those of the tick, over the plugins that are still registered;
/// the numbers of plugins are those at the revision. A process is part of one tree only, that of its
/// nearest registered ancestor, so the sums count it once. Without
/// [`Config::process_trees`](crate::Config::process_trees) they count the reported processes alone.
///
/// ```
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// collector.register("dice")?;
/// collector.register("8ball")?;
/// let system = collector.sample_now()?.system();
/// assert_eq!(system.total_plugins, 2);
/// assert_eq!(system.plugins_running, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SystemMetrics {
    /// Time since the collector was started; continues while the machine sleeps.
    pub uptime: Duration,
    /// Registered plugins.
    pub total_plugins: usize,
    /// Plugins in state [`Running`](crate::PluginState::Running) with an active run.
    pub plugins_running: usize,
    /// Plugins in state [`Crashed`](crate::PluginState::Crashed).
    pub plugins_crashed: usize,
    /// Sum of the event counts.
    pub total_events: u64,
    /// Sum of the known resident sizes of the reported processes, in bytes. It is not the memory that the
    /// plugins occupy together: a page shared by two plugins counts twice, and huge pages of hugetlbfs
    /// do not count at all.
    pub total_memory_bytes: u64,
    /// Sum of the known CPU values of the process trees, in percent of one core.
    pub cpu_percent: f64,
    /// Sum of the known values of [`Sample::tree_memory_bytes`](crate::Sample::tree_memory_bytes), in
    /// bytes: an upper bound.
    pub total_tree_memory_bytes: u64,
    /// Sum of the known process counts.
    pub process_count: usize,
}

/// The sampler's work so far, and its cost.
///
/// ```
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let stats = collector.sample_now()?.sampler();
/// assert!(stats.ticks >= 1);
/// println!("the sampler used {:?} so far", stats.cpu_time);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SamplerStats {
    /// Ticks so far, including those of [`sample_now`](crate::Collector::sample_now).
    pub ticks: u64,
    /// Deadlines that passed without a tick because the sampler was late.
    pub missed_ticks: u64,
    /// Reads that failed or panicked; each cost one plugin one tick.
    pub failed_reads: u64,
    /// Duration of the last tick, from its start until all plugins were recorded; zero before the first.
    pub last_tick_duration: Duration,
    /// CPU time of the sampler's thread; `None` if the operating system does not report it.
    pub cpu_time: Option<Duration>,
    /// [`cpu_time`](Self::cpu_time) divided by the time since the start, in percent of one core; `None`
    /// if that is unknown.
    pub overhead_percent: Option<f64>,
    /// Notifications that were dropped because the queue of their subscriber was full: see
    /// [`Subscription`](crate::Subscription).
    pub dropped_notifications: u64,
}

/// Whether a collector samples, and if not, why: see [`Snapshot::status`](crate::Snapshot::status).
///
/// ```
/// use plugmeter::{Collector, CollectorStatus, Config};
///
/// let collector = Collector::start(Config::default())?;
/// assert_eq!(collector.snapshot().status(), CollectorStatus::Running);
/// collector.stop();
/// assert_eq!(collector.snapshot().status().to_string(), "STOPPED");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CollectorStatus {
    /// It samples.
    Running,
    /// It was stopped; the snapshot is the last one.
    Stopped,
    /// It was started with [`enabled(false)`](crate::Config::enabled) and never samples.
    Disabled,
    /// The sampler's thread has panicked; the snapshot is the last one.
    Failed,
}

impl CollectorStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
            Self::Disabled => "DISABLED",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for CollectorStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
