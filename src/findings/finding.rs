//! The types of findings.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

pub use crate::Severity;
use crate::{LimitStatus, PluginState, PluginView, ReadError, RunEnd, RunId};

/// When the condition of a finding began, as far as the history shows.
///
/// ```
/// use plugmeter::findings::Onset;
/// use std::time::SystemTime;
///
/// let now = SystemTime::now();
/// assert_eq!(Onset::At(now).time(), now);
/// assert!(!Onset::Before(now).is_exact());
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Onset {
    /// It began at this time.
    At(SystemTime),
    /// It held in the oldest sample already, which is of this time.
    Before(SystemTime),
}

impl Onset {
    /// The time of the onset, or the time before which it was.
    #[must_use]
    pub const fn time(self) -> SystemTime {
        match self {
            Self::At(at) | Self::Before(at) => at,
        }
    }

    /// Whether the time is the onset's own.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        match self {
            Self::At(_) => true,
            Self::Before(_) => false,
        }
    }
}

/// What a [regression](FindingKind::Regression) compares.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegressionMetric {
    /// CPU time per event, in milliseconds.
    CpuPerEvent,
    /// CPU in percent of one core, where there are too few events to compare their cost.
    Cpu,
    /// Resident memory in bytes.
    Memory,
    /// Crashes per hour of running.
    Crashes,
}

/// The condition of a finding, with its evidence: counts and levels, never a probability. CPU and memory
/// are those of the process tree, where the collector has trees.
///
/// ```
/// use plugmeter::findings::FindingKind;
///
/// assert_eq!(FindingKind::Unhealthy.name(), "unhealthy");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum FindingKind {
    /// The plugin has crashed or failed, and no process is running.
    Down {
        /// [`Crashed`](PluginState::Crashed) or [`Failed`](PluginState::Failed).
        state: PluginState,
        /// How its newest run ended; `None` without a run that has ended.
        end: Option<RunEnd>,
    },
    /// The newest run has ended, and neither the host nor the kernel has reported how.
    EndedUnknown,
    /// The process was reported, but cannot be read.
    Unreadable(ReadError),
    /// The process is stopped by a signal, by job control, or by a debugger.
    Suspended,
    /// The host reported the plugin as unhealthy.
    Unhealthy,
    /// Processes of a tree live on although its root has ended.
    Survivors {
        /// How many.
        processes: u32,
    },
    /// CPU has been higher, for longer, than ever before in the window, and more events do not explain
    /// it.
    #[non_exhaustive]
    CpuShift {
        /// The normal value before, in percent of one core: the median of the minutes' means.
        before: f64,
        /// The mean of the newest three minutes.
        now: f64,
        /// Samples before the shift to which it was compared.
        samples_before: usize,
        /// Samples since the shift.
        samples_since: usize,
        /// The CPU per event since, divided by that before; `None` with fewer than 20 events in one of
        /// the two times.
        per_event: Option<f64>,
        /// The level when it was found, divided by the one that it took: at least 1.
        margin: f64,
    },
    /// CPU has shifted, and the events have too: an event costs less than 1.4 times as much as before.
    Busier {
        /// As of [`CpuShift`](Self::CpuShift).
        before: f64,
        /// As of [`CpuShift`](Self::CpuShift).
        now: f64,
    },
    /// CPU was far above normal for at least three samples; it is over.
    CpuSpike {
        /// The normal value, in percent of one core.
        before: f64,
        /// The highest sample.
        peak: f64,
        /// CPU time beyond what is normal.
        cpu_time: Duration,
    },
    /// A whole core or more for at least three minutes: the plugin may be at its limit.
    Saturated {
        /// The mean since then, in percent of one core.
        percent: f64,
    },
    /// The memory below which the run never falls rises evenly, and still does.
    #[non_exhaustive]
    MemoryGrowth {
        /// The floor at the onset, in bytes.
        from: u64,
        /// The floor of the newest minute, in bytes.
        now: u64,
        /// The growth in bytes per hour.
        per_hour: f64,
        /// The lowest slope between floors.
        low: f64,
        /// The highest slope between floors.
        high: f64,
        /// The time until memory reaches the next [limit](crate::LimitMetric::MemoryMb) of the plugin
        /// at that rate; `None` without a limit above the present memory.
        limit_in: Option<Duration>,
    },
    /// Memory rose within a minute, to more than ever in the run, and stayed.
    MemoryStep {
        /// In bytes.
        before: u64,
        /// In bytes.
        now: u64,
    },
    /// At least three crashes within ten minutes, and no pause since that is much longer than those
    /// between them.
    CrashLoop {
        /// Crashes since the first of them.
        count: u64,
        /// When the last one happened.
        last: SystemTime,
    },
    /// The plugin crashed within the last hour. Not reported for a plugin that is [`Down`](Self::Down)
    /// by its only recent crash.
    Crashed {
        /// Crashes in that time, those before the plugin's first sample included; 0 if the last one
        /// is older than the history.
        count: u64,
        /// The last ten minutes if there was more than one crash in them, else the last hour; less if
        /// the history is shorter.
        within: Duration,
        /// When the last one happened.
        last: SystemTime,
    },
    /// No event for much longer than ever before in the run, although many were due.
    Silence {
        /// Events per second before.
        per_second: f64,
        /// The mean CPU since, in percent of one core: 100 is a loop, 0 a hang or no work. `None` if
        /// it is unknown.
        cpu_percent: Option<f64>,
    },
    /// Far more events than ever before in the window.
    EventSurge {
        /// Events per second before.
        before: f64,
        /// Events per second since.
        now: f64,
    },
    /// The newest version needs more than the one before it.
    #[non_exhaustive]
    Regression {
        /// The compared value, in whose unit `before` and `now` are.
        metric: RegressionMetric,
        /// The version before the newest one.
        old: Arc<str>,
        /// The newest version.
        new: Arc<str>,
        /// Of the old version.
        before: f64,
        /// Of the new version.
        now: f64,
        /// Minutes of both that were compared.
        minutes: [usize; 2],
    },
    /// A [limit](crate::Limit) of the host is exceeded. No other finding explains it, and it explains
    /// none: a limit is what the host demands, the other findings are what was found.
    LimitExceeded(LimitStatus),
}

impl FindingKind {
    /// The name in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Down { .. } => "down",
            Self::EndedUnknown => "ended_unknown",
            Self::Unreadable(_) => "unreadable",
            Self::Suspended => "suspended",
            Self::Unhealthy => "unhealthy",
            Self::Survivors { .. } => "survivors",
            Self::CpuShift { .. } => "cpu_shift",
            Self::Busier { .. } => "busier",
            Self::CpuSpike { .. } => "cpu_spike",
            Self::Saturated { .. } => "saturated",
            Self::MemoryGrowth { .. } => "memory_growth",
            Self::MemoryStep { .. } => "memory_step",
            Self::CrashLoop { .. } => "crash_loop",
            Self::Crashed { .. } => "crashed",
            Self::Silence { .. } => "silence",
            Self::EventSurge { .. } => "event_surge",
            Self::Regression { .. } => "regression",
            Self::LimitExceeded(_) => "limit_exceeded",
        }
    }

    /// Whether both are of the same kind, and compare the same where kinds of one name differ in that.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Regression { metric, .. }, Self::Regression { metric: other, .. }) => {
                metric == other
            }
            (Self::LimitExceeded(status), Self::LimitExceeded(other)) => {
                status.limit == other.limit
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// A statement about a plugin that needs attention, with evidence and onset.
///
/// [`Display`](std::fmt::Display) writes one sentence; `Serialize` writes `{"plugin", "run", "severity",
/// "impact", "since", "is_since_exact", "until", "kind", "details", "evidence", "oom_killed",
/// "message"}`, where `details` has the evidence of the kind, with units in its keys, and `evidence` is
/// an array of `{"kind", "details"}`.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::findings::{FindingKind, Onset};
/// use plugmeter::testing::{Simulation, Usage};
/// use plugmeter::Config;
/// use std::time::Duration;
///
/// let mut sim = Simulation::new(Config::default())?;
/// sim.register("dice")?.started(4711, "1.0");
/// for tick in 1..=60 {
///     sim.tick(|_pid| Usage { cpu_time: Duration::from_secs(5 * tick), memory_bytes: 1 << 20 });
/// }
/// let snapshot = sim.snapshot();
/// let finding = &snapshot.plugin("dice").unwrap().findings()[0];
/// assert!(matches!(finding.kind, FindingKind::Saturated { percent } if percent > 99.0));
/// assert!(finding.to_string().starts_with("dice: a whole core (100 %) since "));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The registered name.
    pub plugin: Arc<str>,
    /// The active run, to which the values belong; for a plugin without one, its newest run.
    pub run: Option<RunId>,
    /// How urgent it is.
    pub severity: Severity,
    /// A share of the machine, by which findings of the same severity are ranked: of its CPU, or of what
    /// the plugin is for. Growth of memory weighs more, the sooner it fills the machine.
    pub impact: f64,
    /// When the condition began. For [`Crashed`](FindingKind::Crashed): the last crash.
    pub since: Onset,
    /// When it ended; `None` while it lasts.
    pub until: Option<SystemTime>,
    /// The condition, with its evidence.
    pub kind: FindingKind,
    /// Further conditions of the plugin that have the same cause.
    pub evidence: Vec<FindingKind>,
    /// For a plugin that is down: whether the kernel's OOM killer has killed its newest process; see
    /// [`Run::oom_killed`](crate::Run::oom_killed).
    pub oom_killed: Option<bool>,
}

/// Two onsets of the same condition may differ by this much.
const SAME_ONSET: Duration = Duration::from_secs(60);

impl Finding {
    /// A finding that lasts, not weighed yet.
    pub(super) fn new(view: PluginView<'_>, since: Onset, kind: FindingKind) -> Self {
        let run = view.run().or_else(|| view.runs().next_back());
        Self {
            plugin: Arc::from(view.name()),
            run: run.map(|run| run.id),
            severity: Severity::Notice,
            impact: 0.0,
            since,
            until: None,
            kind,
            evidence: Vec::new(),
            oom_killed: None,
        }
    }

    /// Whether an earlier snapshot's finding is the same one: of the same plugin and kind, with an
    /// onset within a minute. Use it to notify once.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use plugmeter::testing::{Simulation, Usage};
    /// use plugmeter::Config;
    /// use std::time::Duration;
    ///
    /// let mut sim = Simulation::new(Config::default())?;
    /// sim.register("dice")?.started(4711, "1.0");
    /// let mut busy = |ticks: std::ops::Range<u64>| {
    ///     for tick in ticks {
    ///         sim.tick(|_pid| Usage { cpu_time: Duration::from_secs(5 * tick), memory_bytes: 1 << 20 });
    ///     }
    ///     sim.snapshot().findings().items.into_iter().next().unwrap()
    /// };
    /// let (earlier, later) = (busy(1..60), busy(60..90));
    /// assert!(later.is_same(&earlier));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_same(&self, earlier: &Self) -> bool {
        let (now, then) = (self.since.time(), earlier.since.time());
        let is_same_onset = match now.duration_since(then) {
            // What began before the history reaches back may have begun at any time before.
            Ok(later_by) => later_by <= SAME_ONSET || !self.since.is_exact(),
            Err(error) => error.duration() <= SAME_ONSET,
        };
        self.plugin == earlier.plugin && self.kind.is_same(&earlier.kind) && is_same_onset
    }

    /// By severity, then those that last before those that are over, then by impact: the most urgent
    /// first. Findings that are equal in these are in order of their plugins' names.
    pub(super) fn by_rank(&self, other: &Self) -> Ordering {
        (other.severity.cmp(&self.severity))
            .then_with(|| self.until.is_some().cmp(&other.until.is_some()))
            .then_with(|| other.impact.total_cmp(&self.impact))
            .then_with(|| self.plugin.cmp(&other.plugin))
    }
}

/// The findings of a snapshot: see [`Snapshot::findings`](crate::Snapshot::findings).
///
/// [`Display`](std::fmt::Display) writes one sentence a line, and last what was judged: the absence of
/// findings differs from the absence of knowledge. `Serialize` writes `{"items", "judged", "too_young",
/// "over_seconds", "message"}`.
///
/// ```
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// collector.register("dice")?;
/// let findings = collector.sample_now()?.findings();
/// assert!(findings.to_string().starts_with("no findings: 1 plugin judged over "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The most urgent first: by severity, those that last before those that are over, by impact, by the
    /// plugin's name.
    pub items: Vec<Finding>,
    /// The number of plugins that were judged: all of the snapshot.
    pub judged: usize,
    /// The plugins with a process of which there is not enough history for findings about CPU: fewer
    /// than 156 samples, which are 13 minutes at the default interval.
    pub too_young: Vec<Arc<str>>,
    /// The time that was looked at: the newest hour at the default interval, less if the history is
    /// shorter.
    pub over: Duration,
}
