//! One plugin's values of one tick.

use std::time::{Duration, SystemTime};

use super::run::RunId;
use super::state::PluginState;
use crate::format::number::mebibytes;

/// One plugin's values of one tick.
///
/// [`PluginView::history`](crate::PluginView::history) and
/// [`PluginView::current`](crate::PluginView::current) return it. An unknown value is `None`, never zero.
/// `version`, `pid`, `run` and `uptime` are `None` without an active run.
///
/// CPU and memory are given twice: of the reported process alone, and of its process tree, which are
/// that process and its descendants. The tree's values are never less; for a plugin of one process
/// the two are equal. All values of trees are `None` without
/// [`Config::process_trees`](crate::Config::process_trees).
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Simulation, Usage};
/// use plugmeter::Config;
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
/// let plugin = sim.register("dice")?;
/// plugin.started(4711, "1.0");
/// plugin.events().add(3);
/// sim.tick(|_pid| Usage { cpu_time: Duration::from_secs(1), memory_bytes: 3 << 20 });
///
/// let snapshot = sim.snapshot();
/// let sample = snapshot.plugin("dice").unwrap().current().unwrap();
/// assert_eq!(sample.cpu_percent, Some(20.0)); // one second of CPU time in five
/// assert_eq!(sample.memory_mb(), Some(3.0));
/// assert_eq!(sample.event_count, 3);
/// // It has no descendants.
/// assert_eq!((sample.process_count, sample.tree_cpu_percent), (Some(1), Some(20.0)));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Wall-clock time of the tick.
    pub timestamp: SystemTime,
    /// The registered name.
    pub plugin_name: &'a str,
    /// Version of the active run, if the host reported one.
    pub version: Option<&'a str>,
    /// Process id of the active run.
    pub pid: Option<u32>,
    /// The active run. A tick may have CPU and no run: the CPU of a process that has exited since
    /// the previous tick.
    pub run: Option<RunId>,
    /// The plugin's state.
    pub state: PluginState,
    /// CPU time divided by wall time since the last sample that has a value, in percent of *one* core:
    /// four busy threads read 400. In steps of 0.001. `None` until a process was read twice, if it
    /// could not be read, and if too little time has passed (see
    /// [`Collector::sample_now`](crate::Collector::sample_now)).
    ///
    /// Both times are measured between readings of the process. For a process that has started or ended
    /// between two ticks, they cover only the time in which it lived: one that lived for a tenth of the
    /// interval, and was busy, reads 100. [`Aggregates::cpu_time`](crate::Aggregates::cpu_time) is exact
    /// in this case, too.
    ///
    /// On Linux the kernel accounts a process that does not sleep at the scheduler's tick, every 1
    /// to 10 ms: a busy thread may read slightly over or under 100, the more so the shorter the
    /// interval.
    pub cpu_percent: Option<f64>,
    /// Resident memory in bytes, rounded down to a multiple of 1,024. `None` without a process, if
    /// it could not be read, and from 4 TiB on. Shared pages count in each process; huge pages of
    /// hugetlbfs, which are in no resident set size, do not count (proc(5), `HugetlbPages`).
    ///
    /// On Linux this is the second field of `/proc/PID/statm` (proc(5)). It is exact on Linux 6.16
    /// and newer, and on 6.12 LTS with the backported fix; on older kernels up to 64 of the newest
    /// page faults of each thread are not counted yet.
    pub memory_bytes: Option<u64>,
    /// Living processes of the tree. 0 without an active run; more than 0 without one where
    /// descendants have survived the reported process. `None` if the process could not be read, or if
    /// some descendants may be missing: too many, not listed, or not read when the process was reported.
    pub process_count: Option<u32>,
    /// CPU of the tree, in percent of one core, as [`cpu_percent`](Self::cpu_percent); it includes the
    /// CPU time of descendants that have ended. `None` if `cpu_percent` is `None`. Without an active run
    /// it is the CPU of surviving descendants, and of processes that have ended since the previous tick.
    pub tree_cpu_percent: Option<f64>,
    /// Sum of the resident sizes of the tree's processes, in bytes. An upper bound of the memory that
    /// they occupy together: a page that several of them share counts in each, so that for a pool of
    /// forked workers the sum may be several times too high. `None` if the size of one of them is
    /// unknown, if `process_count` is, and without a process.
    pub tree_memory_bytes: Option<u64>,
    /// Whether the process is suspended: see
    /// [`CurrentUsage::is_suspended`](crate::CurrentUsage::is_suspended). `None` in all samples but the
    /// newest, and if it is unknown.
    pub is_suspended: Option<bool>,
    /// Time since the process started, as the operating system reports it; `None` if it does not.
    pub uptime: Option<Duration>,
    /// The plugin's event counter at the tick.
    pub event_count: u64,
    /// The plugin's crashes counted up to the tick.
    pub crash_count: u64,
}

impl Sample<'_> {
    /// Resident memory in MB of 1,048,576 bytes; `None` if it is unknown.
    #[must_use]
    pub fn memory_mb(&self) -> Option<f64> {
        self.memory_bytes.map(mebibytes)
    }

    /// Sum of the resident sizes of the tree's processes in MB of 1,048,576 bytes; `None` if it is
    /// unknown.
    #[must_use]
    pub fn tree_memory_mb(&self) -> Option<f64> {
        self.tree_memory_bytes.map(mebibytes)
    }
}
