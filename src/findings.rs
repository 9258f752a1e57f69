//! What needs attention in a snapshot: findings, each with severity, onset and evidence.
//!
//! A finding is a statement about one plugin, by [`Snapshot::findings`] or [`PluginView::findings`]. It is
//! a pure function of a [`Snapshot`]: no clock is read and no state is kept, so the same snapshot always
//! has the same findings, wherever they are shown. A finding that lasts does not flicker, because each
//! judgement replays the history: a condition that has begun goes on until it has clearly ended.
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
//! // dice: crashed, down since 2025-11-24T12:34:14Z
//! // 1 plugin judged over 0.0 s
//! println!("{findings}");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Kinds
//!
//! Severities: C critical, W warning, N notice. Times are for poll intervals of at most 5 s: samples of
//! shorter intervals are merged into samples of 5 s, or of up to twice that where 5 s is no multiple of the
//! interval. With a longer interval the times are longer in
//! proportion. "The window" is the newest 720 samples, an hour; "points" are percentage points of one
//! core.
//!
//! | kind | severity | condition |
//! |---|---|---|
//! | [`Down`](FindingKind::Down) | C | the state is Crashed or Failed |
//! | [`CrashLoop`](FindingKind::CrashLoop) | C | three crashes in ten minutes, and no long pause since; not with poll intervals of more than five minutes |
//! | [`Crashed`](FindingKind::Crashed) | W | the last crash was at most an hour before the tick |
//! | [`EndedUnknown`](FindingKind::EndedUnknown) | W | the newest run has ended, and its exit status is [unknown](PluginView::unknown_end_count) |
//! | [`Suspended`](FindingKind::Suspended) | W | the process is [suspended](PluginView::suspended_since) |
//! | [`Unhealthy`](FindingKind::Unhealthy) | W | the host has set the state [`Unhealthy`](crate::PluginState::Unhealthy) |
//! | [`Unreadable`](FindingKind::Unreadable) | W | there is a [read error](PluginView::read_error) |
//! | [`Survivors`](FindingKind::Survivors) | W | descendants of a reported process are alive 30 s after it has ended, also beside the next run |
//! | [`Silence`](FindingKind::Silence) | W; C if the plugin uses 90 % of a core or more | no event for much longer than ever before, although many were due |
//! | [`Saturated`](FindingKind::Saturated) | W | a core or more for three minutes |
//! | [`CpuShift`](FindingKind::CpuShift) | N; W from 25 points or a tenth of the machine, C from half of the machine | CPU has been higher for 45 s, 2¼ or 7 minutes than ever before in the window |
//! | [`Busier`](FindingKind::Busier) | N | the same, but events have risen as much |
//! | [`CpuSpike`](FindingKind::CpuSpike) | N | the same, or more than 80 points above normal for 15 s, and it has ended; shown for half an hour |
//! | [`MemoryGrowth`](FindingKind::MemoryGrowth) | N; W from 10 % an hour on, or if a limit or the machine's memory is reached within a day; C within half an hour | memory rises evenly: a span of 10 minutes to an hour is divided into five to eight equal parts, and the least value of each part is higher than that of the part before. The first quarter of an hour of a run is not judged, unless a limit or the machine's memory would be reached within an hour |
//! | [`MemoryStep`](FindingKind::MemoryStep) | N | at least 25 % and 16 MB more within a minute |
//! | [`EventSurge`](FindingKind::EventSurge) | N | about three times as many events as ever before in the window, for 45 s or 2¼ minutes |
//! | [`Regression`](FindingKind::Regression) | N; W from twice on | the newest version needs more than the one before it |
//! | [`LimitExceeded`](FindingKind::LimitExceeded) | that of the limit | a [limit](crate::Limit) is exceeded. It is never evidence of another finding |
//!
//! A finding that explains others of the same plugin has them as its [evidence](Finding::evidence). The
//! page `docs/findings.md` in the repository states when each kind is found, how often findings are
//! false, and what cannot be found.
//!
//! The age of a snapshot is not a finding: see [`Snapshot::is_stale`] and [`Snapshot::status`].

mod columns;
mod conditions;
mod cpu;
mod crash_loop;
mod crashes;
mod episodes;
mod events;
mod finding;
mod fold;
mod growth;
mod json;
mod ladder;
mod memory_change;
mod memory_step;
mod message;
mod onset;
#[cfg(test)]
mod random;
mod regression;
mod stats;
mod text;
mod weight;

#[cfg(all(test, feature = "testing"))]
mod tests;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use self::columns::{ColumnBuffers, Columns};
pub use self::crashes::crash_window;
use self::episodes::Series;
pub use self::finding::{Finding, FindingKind, Findings, Onset, RegressionMetric, Severity};
use self::growth::Minutes;
pub use self::memory_change::MemoryChange;
pub use self::message::MessagePart;
use self::regression::Versions;
use crate::{PluginView, Snapshot, Window};

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Buffers, reused by every judgement of a thread. No result depends on what they held.
#[derive(Debug, Default)]
struct Scratch {
    columns: ColumnBuffers,
    series: Series,
    minutes: Minutes,
    versions: Versions,
}

/// The findings of one plugin.
#[derive(Clone, Debug)]
struct Judgement {
    /// Ranked.
    findings: Vec<Finding>,
    is_too_young: bool,
    over: Duration,
}

/// Known samples of CPU from which on shifts of 45 s can be found.
const LEAST_SAMPLES: usize = 156;

fn judge(view: PluginView<'_>) -> Judgement {
    // Taken out and put back: a destructor of thread-local storage may judge after this storage was
    // destroyed.
    let mut scratch = SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default();
    let judgement = scratch.judge(view);
    let _ = SCRATCH.try_with(|cell| cell.set(Some(scratch)));
    judgement
}

impl Scratch {
    fn judge(&mut self, view: PluginView<'_>) -> Judgement {
        let Self { columns, series, minutes, versions } = self;
        let columns = Columns::read(view, columns);
        let mut findings = Vec::new();
        conditions::judge(view, &mut findings);
        findings.extend(crash_loop::judge(&columns));
        let mut is_too_young = view.run().is_some();
        if columns.len() > 0 {
            cpu::judge(&columns, series, &mut findings);
            is_too_young &= series.values.len() < LEAST_SAMPLES;
            if let Some(start) = growth::run_start(&columns) {
                findings.extend(growth::judge(&columns, start, minutes));
                findings.extend(memory_step::judge(&columns, start, series));
            }
            events::judge(&columns, series, &mut findings);
            regression::judge(&columns, versions, &mut findings);
        }
        findings.iter_mut().for_each(|finding| weight::weigh(finding, view.snapshot()));
        fold::fold(&mut findings, Duration::try_from_secs_f64(columns.seconds).unwrap_or_default());
        findings.sort_by(Finding::by_rank);
        Judgement { findings, is_too_young, over: columns.span() }
    }
}

impl Snapshot {
    /// Returns the findings of all plugins, the most urgent first.
    ///
    /// # Cost
    ///
    /// Computed at each call, in some 20 µs for a plugin with an hour of history. Where it is needed
    /// often, cache the result by [`revision`](Self::revision). Allocates little besides the result: each
    /// calling thread keeps buffers for one plugin.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let mut builder = FindingsBuilder::default();
        self.plugins().for_each(|view| builder.judge(view));
        builder.finish()
    }
}

/// Judges plugin by plugin, so that other work can be done in between.
#[derive(Debug, Default)]
pub(crate) struct FindingsBuilder {
    judgements: Vec<Judgement>,
    too_young: Vec<Arc<str>>,
    /// Of an earlier snapshot, and the position in it.
    earlier: Option<(Arc<Judgements>, usize)>,
}

/// The judgements of all plugins of a snapshot, for a later one of the same tick: in a tick of many
/// publications, most plugins have not changed.
#[derive(Debug)]
pub(crate) struct Judgements {
    /// Without its history.
    snapshot: Snapshot,
    /// In the order of its plugins.
    of_plugins: Vec<Judgement>,
}

impl FindingsBuilder {
    /// Judges only what differs from an earlier snapshot.
    #[cfg(any(feature = "http", all(test, feature = "testing")))]
    pub(crate) fn since(earlier: Option<Arc<Judgements>>) -> Self {
        Self { earlier: earlier.map(|earlier| (earlier, 0)), ..Self::default() }
    }

    /// Adds the findings of a plugin: of the snapshot's plugins, in their order.
    pub(crate) fn judge(&mut self, view: PluginView<'_>) {
        let judgement = self.judged_earlier(view).unwrap_or_else(|| judge(view));
        if judgement.is_too_young {
            self.too_young.push(Arc::from(view.name()));
        }
        self.judgements.push(judgement);
    }

    fn judged_earlier(&mut self, view: PluginView<'_>) -> Option<Judgement> {
        let (earlier, at) = self.earlier.as_mut()?;
        while let Some(known) = earlier.snapshot.plugin_at(*at)
            && known.name() < view.name()
        {
            *at += 1;
        }
        let known = earlier.snapshot.plugin_at(*at)?;
        known.is_same_plugin(view).then(|| earlier.of_plugins[*at].clone())
    }

    /// Ranks the findings of all plugins.
    pub(crate) fn finish(self) -> Findings {
        let Self { judgements, too_young, .. } = self;
        let judged = judgements.len();
        let over = judgements.iter().map(|judgement| judgement.over).max().unwrap_or_default();
        let findings = judgements.into_iter().flat_map(|judgement| judgement.findings);
        let mut items: Vec<_> = findings.collect();
        items.sort_by(Finding::by_rank);
        Findings { items, judged, too_young, over }
    }

    /// The same, with the judgements for a later snapshot.
    #[cfg(any(feature = "http", all(test, feature = "testing")))]
    pub(crate) fn finish_with_judgements(self, snapshot: &Snapshot) -> (Findings, Judgements) {
        let of_plugins = self.judgements.clone();
        (self.finish(), Judgements { snapshot: snapshot.without_history(), of_plugins })
    }
}

impl PluginView<'_> {
    /// Returns the findings of this plugin, the most urgent first.
    ///
    /// # Cost
    ///
    /// That of one plugin in [`Snapshot::findings`].
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        judge(*self).findings
    }

    /// How the memory of the active run's process tree has changed within `window`; `None` with fewer
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
