//! How the memory of a process tree has changed.

use std::time::{Duration, SystemTime};

use crate::format::shown::Shown;
use crate::{PluginView, Window};

/// How the resident memory of the active run's process tree has changed within a window. Without
/// [`Config::process_trees`](crate::Config::process_trees) it is that of the process alone.
///
/// [`PluginView::memory_change`] returns it.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Simulation, Usage};
/// use plugmeter::{Config, Window};
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(5)))?;
/// sim.register("dice")?.started(4711, "1.0");
/// for mb in [30, 60, 50] {
///     sim.tick(|_pid| Usage { cpu_time: Duration::ZERO, memory_bytes: mb << 20 });
/// }
/// let snapshot = sim.snapshot();
/// let change = snapshot.plugin("dice").unwrap().memory_change(Window::All).unwrap();
/// assert_eq!(change.bytes(), 20 << 20);
/// assert_eq!(change.over, Duration::from_secs(10));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryChange {
    /// The run's oldest known value in the window, in bytes.
    pub from: u64,
    /// The newest value, in bytes.
    pub now: u64,
    /// Wall-clock time of the oldest value.
    pub since: SystemTime,
    /// The time between the oldest and the newest value, on the monotonic clock.
    pub over: Duration,
}

impl MemoryChange {
    pub(super) fn of(view: PluginView<'_>, window: Window) -> Option<Self> {
        let shown = Shown::of(view.snapshot());
        let now = shown.memory(&view.usage())?;
        let run = view.run()?.id;
        let mut samples = view.history(window);
        let mut of_run = samples.by_ref().filter(|sample| sample.run == Some(run));
        let (from, since) =
            of_run.find_map(|sample| Some((shown.sample_memory(&sample)?, sample.timestamp)))?;
        // Of the newest sample the age is zero.
        let over = view.sample_age(samples.len()).filter(|over| !over.is_zero())?;
        Some(Self { from, now, since, over })
    }

    /// The difference in bytes; negative if the memory has shrunk.
    #[must_use]
    pub const fn bytes(&self) -> i64 {
        self.now.wrapping_sub(self.from) as i64
    }
}
