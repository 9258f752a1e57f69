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
//! | [`LimitExceeded`](FindingKind::LimitExceeded) | that of the limit | a [limit](crate::Limit) of the host is exceeded |
//! | [`MemoryGrowth`](FindingKind::MemoryGrowth) | notice | the memory of the active run's process has grown, within the history, by more than 10 MB and by more than 10 % |
//!
//! The age of a snapshot is not a finding: see [`Snapshot::is_stale`] and [`Snapshot::status`].

mod conditions;
mod crashes;
mod finding;
mod json;
mod limits;
mod memory_change;
mod onset;
pub(crate) mod text;

#[cfg(all(test, feature = "testing"))]
mod tests;

use self::conditions::Conditions;
pub use self::crashes::crash_window;
pub use self::finding::{Finding, FindingKind, Findings, Onset, Severity};
pub use self::memory_change::MemoryChange;
use crate::{PluginView, Snapshot, Window};

impl Snapshot {
    /// The findings of all plugins.
    ///
    /// # Cost
    ///
    /// Judged again at each call: one look at the newest values of every plugin, and one pass over
    /// the history of those with a finding or a running process. Cache the result by
    /// [`revision`](Self::revision) where it is needed often.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use plugmeter::testing::{Simulation, Usage};
    /// use plugmeter::{Config, Limit, LimitMetric, Limits};
    /// use std::time::Duration;
    ///
    /// let limit = Limit::new(LimitMetric::MemoryMb, 512.0).lasting(Duration::ZERO);
    /// let mut sim = Simulation::new(Config::default().limits(Limits::default().rule(limit)))?;
    /// sim.register("dice")?.started(4711, "1.0");
    /// for mb in [600, 600] {
    ///     sim.tick(|_pid| Usage { cpu_time: Duration::ZERO, memory_bytes: mb << 20 });
    /// }
    /// let findings = sim.snapshot().findings();
    /// assert!(findings.to_string().starts_with("dice: memory over the limit of 512 MB, now 600.00 MB"));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn findings(&self) -> Findings {
        let plugins = self.plugins();
        let judged = plugins.len();
        let mut items: Vec<_> = plugins.flat_map(|view| view.findings()).collect();
        // Stable: plugins stay in order of their names, and the findings of each in their order.
        items.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Findings { items, judged }
    }
}

impl PluginView<'_> {
    /// The findings of this plugin, the most severe first.
    ///
    /// # Cost
    ///
    /// One pass over the history at most; a few look-ups for a plugin without a process.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        Conditions::of(*self).findings()
    }

    /// The highest severity among the [findings](Self::findings) that need attention:
    /// [`Warning`](Severity::Warning) or [`Critical`](Severity::Critical). `None` without such a
    /// finding.
    ///
    /// # Cost
    ///
    /// A few look-ups: it determines no onset and no growth, and does not read the history.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use plugmeter::findings::Severity;
    /// use plugmeter::testing::Simulation;
    /// use plugmeter::{Config, PluginState};
    ///
    /// let mut sim = Simulation::new(Config::default())?;
    /// sim.register("dice")?.set_state(PluginState::Unhealthy);
    /// sim.tick(|_pid| None);
    ///
    /// let snapshot = sim.snapshot();
    /// let dice = snapshot.plugin("dice").unwrap();
    /// assert_eq!(dice.attention(), Some(Severity::Warning));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn attention(&self) -> Option<Severity> {
        Conditions::of(*self).severity()
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
