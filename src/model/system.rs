//! Totals over all plugins, and what the sampler costs.

use std::time::Duration;

/// Totals over all registered plugins.
///
/// Events and memory are those of the tick, over the plugins that are still registered; the rest is
/// of the revision.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemMetrics {
    /// Since the collector was started; goes on while the machine sleeps.
    pub uptime: Duration,
    /// Registered plugins.
    pub total_plugins: usize,
    /// Plugins in state [`Running`](crate::PluginState::Running) with an open run.
    pub plugins_running: usize,
    /// Plugins in state [`Crashed`](crate::PluginState::Crashed).
    pub plugins_crashed: usize,
    /// Sum of the event counts.
    pub total_events: u64,
    /// Sum of the resident sizes that are known. Pages that two plugins share count twice.
    pub total_memory_bytes: u64,
}

/// What the sampler has done, and what that has cost.
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
    /// Ticks so far, those of [`sample_now`](crate::Collector::sample_now) included.
    pub ticks: u64,
    /// Deadlines that passed without a tick because the sampler was late.
    pub missed_ticks: u64,
    /// Reads that failed or panicked; each cost one plugin one tick.
    pub failed_reads: u64,
    /// How long the last tick took, from its moment until all plugins were recorded.
    pub last_tick_duration: Duration,
    /// CPU time of the sampler's thread; `None` where the operating system does not say.
    pub cpu_time: Option<Duration>,
    /// [`cpu_time`](Self::cpu_time) over the time since the start, in percent of one core.
    pub overhead_percent: Option<f64>,
}
