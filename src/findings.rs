//! What needs attention in a snapshot: findings, each with severity, onset and evidence.
//!
//! A finding is a statement about one plugin. It is a pure function of a [`Snapshot`]: no clock is
//! read and no state is kept, so the same snapshot always has the same findings, and anything that
//! shows them (a page, a terminal, a log) agrees with everything else.
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! use plugmeter::Config;
//! use plugmeter::findings::{FindingKind, Severity};
//! use plugmeter::testing::Simulation;
//!
//! let mut sim = Simulation::new(Config::default())?;
//! let plugin = sim.register("dice")?;
//! plugin.started(4711, "1.0");
//! plugin.crashed();
//! sim.tick(|_pid| None);
//!
//! let findings = sim.snapshot().findings();
//! assert_eq!(findings.items[0].severity, Severity::Critical);
//! assert!(matches!(findings.items[0].kind, FindingKind::Down { .. }));
//! println!("{findings}"); // dice: crashed, down since 2025-11-24T12:34:14Z
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Kinds
//!
//! | kind | severity | condition |
//! |---|---|---|
//! | [`Down`](FindingKind::Down) | critical | the state is Crashed or Failed |
//! | [`EndedUnknown`](FindingKind::EndedUnknown) | warning | the newest run has ended, and its exit status is [unknown](PluginView::unknown_end_count) |
//! | [`Suspended`](FindingKind::Suspended) | warning | the process is [suspended](PluginView::suspended_since) |
//! | [`Unhealthy`](FindingKind::Unhealthy) | warning | the state is Unhealthy |
//! | [`Unreadable`](FindingKind::Unreadable) | warning | there is a [read error](PluginView::read_error) |
//! | [`Crashed`](FindingKind::Crashed) | warning | the last crash was at most an hour before the tick |
//! | [`CpuAboveThreshold`](FindingKind::CpuAboveThreshold), [`MemoryAboveThreshold`](FindingKind::MemoryAboveThreshold) | warning | the value of the active run's process is above a [threshold](Thresholds) |
//! | [`MemoryGrowth`](FindingKind::MemoryGrowth) | notice | the memory of the active run's process has grown, within the history, by more than 10 MB and by more than 10 % |
//!
//! The age of a snapshot is not a finding: see [`Snapshot::is_stale`] and [`Snapshot::status`].

mod conditions;
mod crashes;
mod finding;
mod json;
mod memory_change;
mod onset;
pub(crate) mod text;
mod thresholds;

#[cfg(all(test, feature = "testing"))]
mod tests;

use self::conditions::Conditions;
pub use self::crashes::crash_window;
pub use self::finding::{Finding, FindingKind, Findings, Onset, Severity};
pub use self::memory_change::MemoryChange;
pub use self::thresholds::Thresholds;
use crate::{PluginView, Snapshot, Window};

impl Snapshot {
    /// The findings of all plugins, with the default [`Thresholds`].
    ///
    /// # Cost
    ///
    /// Judged again at each call: one look at the newest values of every plugin, and one pass over
    /// the history of those with a finding or a running process. Cache the result by
    /// [`revision`](Self::revision) where it is needed often.
    #[must_use]
    pub fn findings(&self) -> Findings {
        self.findings_with(&Thresholds::default())
    }

    /// The findings of all plugins, with these thresholds.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use plugmeter::Config;
    /// use plugmeter::findings::Thresholds;
    /// use plugmeter::testing::{Simulation, Usage};
    /// use std::time::Duration;
    ///
    /// let mut sim = Simulation::new(Config::default())?;
    /// sim.register("dice")?.started(4711, "1.0");
    /// sim.tick(|_pid| Usage { cpu_time: Duration::ZERO, memory_bytes: 300 << 20 });
    ///
    /// let large = Thresholds { memory_mb: 512.0, ..Thresholds::default() };
    /// assert_eq!(sim.snapshot().findings_with(&large).items.len(), 0);
    /// assert_eq!(sim.snapshot().findings().items.len(), 1);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn findings_with(&self, thresholds: &Thresholds) -> Findings {
        let plugins = self.plugins();
        let judged = plugins.len();
        let mut items: Vec<_> = plugins.flat_map(|view| view.findings_with(thresholds)).collect();
        // Stable: plugins stay in order of their names, and the findings of each in their order.
        items.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Findings { items, judged }
    }
}

impl PluginView<'_> {
    /// The findings of this plugin, with the default [`Thresholds`], the most severe first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.findings_with(&Thresholds::default())
    }

    /// The findings of this plugin, with these thresholds, the most severe first.
    ///
    /// # Cost
    ///
    /// One pass over the history at most; a few look-ups for a plugin without a process.
    #[must_use]
    pub fn findings_with(&self, thresholds: &Thresholds) -> Vec<Finding> {
        Conditions::of(*self, thresholds).findings()
    }

    /// The highest severity among the [findings](Self::findings_with) that need attention:
    /// [`Warning`](Severity::Warning) or [`Critical`](Severity::Critical). `None` without such a
    /// finding.
    ///
    /// # Cost
    ///
    /// A few look-ups: it determines no onset and no growth, and does not read the history.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use plugmeter::findings::{Severity, Thresholds};
    /// use plugmeter::testing::Simulation;
    /// use plugmeter::{Config, PluginState};
    ///
    /// let mut sim = Simulation::new(Config::default())?;
    /// sim.register("dice")?.set_state(PluginState::Unhealthy);
    /// sim.tick(|_pid| None);
    ///
    /// let snapshot = sim.snapshot();
    /// let dice = snapshot.plugin("dice").unwrap();
    /// assert_eq!(dice.attention(&Thresholds::default()), Some(Severity::Warning));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn attention(&self, thresholds: &Thresholds) -> Option<Severity> {
        Conditions::of(*self, thresholds).severity()
    }

    /// How the memory of the active run's process has changed within `window`; `None` with fewer
    /// than two samples of that run, or if its memory is unknown. Different runs are never compared.
    ///
    /// # Cost
    ///
    /// One pass over the samples of the window that are older than the run.
    #[must_use]
    pub fn memory_change(&self, window: impl Into<Window>) -> Option<MemoryChange> {
        MemoryChange::of(*self, window.into())
    }
}
