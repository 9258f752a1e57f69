//! The types of findings.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

pub use crate::Severity;
use crate::{LimitStatus, PluginState, PluginView, ReadError, RunEnd, RunId};

/// When the condition of a finding began, as far as the history shows it.
///
/// ```
/// use plugmeter::findings::Onset;
/// use std::time::SystemTime;
///
/// let now = SystemTime::now();
/// assert_eq!(Onset::At(now).time(), now);
/// assert!(!Onset::Before(now).is_exact());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Onset {
    /// It began at this time.
    At(SystemTime),
    /// It began before this time, or at it: from then on the history shows that it held, and what was before
    /// is not in the history, or not judged.
    Before(SystemTime),
}

impl Onset {
    /// The time of the onset, or the time before which it began.
    #[must_use]
    pub const fn time(self) -> SystemTime {
        match self {
            Self::At(at) | Self::Before(at) => at,
        }
    }

    /// Whether the time is that of the onset itself: [`At`](Self::At).
    #[must_use]
    pub const fn is_exact(self) -> bool {
        match self {
            Self::At(_) => true,
            Self::Before(_) => false,
        }
    }
}

/// The value that a [regression](FindingKind::Regression) compares.
///
/// ```
/// use plugmeter::findings::{FindingKind, RegressionMetric};
///
/// /// The unit of the fields `before` and `now`.
/// fn unit(kind: &FindingKind) -> Option<&'static str> {
///     let FindingKind::Regression { metric, .. } = kind else { return None };
///     Some(match metric {
///         RegressionMetric::CpuPerEvent => "ms of CPU per event",
///         RegressionMetric::Cpu => "% of one core",
///         RegressionMetric::Memory => "bytes",
///         RegressionMetric::Crashes => "crashes per hour",
///         _ => "",
///     })
/// }
/// # assert_eq!(unit(&FindingKind::Unhealthy), None);
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegressionMetric {
    /// CPU time per event, in milliseconds.
    CpuPerEvent,
    /// CPU in percent of one core, where there are too few events to compare CPU time per event.
    Cpu,
    /// Resident memory in bytes.
    Memory,
    /// Crashes per hour in which a process was running.
    Crashes,
}

/// The condition of a finding, with its evidence: counts and levels, never a probability. CPU and memory
/// are those of the process tree, unless trees are
/// [switched off](crate::Config::process_trees). The [module](crate::findings#kinds) has a table of all
/// kinds.
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
        /// How its newest run ended; `None` if no run has ended.
        end: Option<RunEnd>,
    },
    /// The newest run has ended, and neither the host nor the kernel has reported its exit status.
    EndedUnknown,
    /// The process was reported, but cannot be read.
    Unreadable(ReadError),
    /// The process is stopped by a signal, by job control, or by a debugger.
    Suspended,
    /// The host reported the plugin as unhealthy.
    Unhealthy,
    /// Descendants of a reported process are alive although it has ended, without a next run or beside it.
    Survivors {
        /// The number of these processes.
        processes: u32,
    },
    /// CPU has been higher, for longer, than ever before in the window, and more events do not explain
    /// it.
    CpuShift {
        /// The normal value before the shift, in percent of one core: the median of the means of whole
        /// minutes.
        before: f64,
        /// The mean of the newest three minutes, in percent of one core.
        now: f64,
        /// The number of samples before the shift, to which it was compared.
        samples_before: usize,
        /// The number of samples since the shift.
        samples_since: usize,
        /// CPU time per event since the shift, divided by that before; `None` with fewer than 20 events
        /// in one of these times.
        per_event: Option<f64>,
        /// The CPU level at which the shift was found, divided by the level that it had to exceed: at
        /// least 1.
        margin: f64,
    },
    /// CPU has shifted because there are more events: an event takes less than 1.4 times as much CPU time
    /// as before.
    Busier {
        /// The normal value before the shift, in percent of one core, as in [`CpuShift`](Self::CpuShift).
        before: f64,
        /// The mean of the newest three minutes, in percent of one core.
        now: f64,
    },
    /// CPU was far above normal for at least three samples, and is not any more.
    CpuSpike {
        /// The normal value, in percent of one core.
        before: f64,
        /// The highest sample, in percent of one core.
        peak: f64,
        /// CPU time above the normal value.
        cpu_time: Duration,
    },
    /// The plugin has used a whole core or more for at least three minutes. One thread cannot use more.
    Saturated {
        /// The mean since the onset, in percent of one core.
        percent: f64,
    },
    /// The memory of the active run grows: its *floor*, the least value of equal parts of the newest 10
    /// minutes to an hour, rises evenly from part to part, and still does.
    MemoryGrowth {
        /// The floor at the onset, in bytes.
        from: u64,
        /// The floor of the newest minute, in bytes.
        now: u64,
        /// The growth in bytes per hour.
        per_hour: f64,
        /// The lowest growth between two floors, in bytes per hour.
        low: f64,
        /// The highest growth between two floors, in bytes per hour.
        high: f64,
        /// The time until memory reaches the next [limit](crate::LimitMetric::MemoryMb) of the plugin
        /// at this rate; `None` without a limit above the current value.
        limit_in: Option<Duration>,
    },
    /// Memory rose within a minute to more than ever before in the run, and has not fallen since.
    MemoryStep {
        /// Resident memory before the rise, in bytes.
        before: u64,
        /// Resident memory now, in bytes.
        now: u64,
    },
    /// At least three crashes within ten minutes. It ends after three times the last interval between two
    /// crashes without a further one, and after two minutes at least. With a poll interval of more than five
    /// minutes none is found, because the times of crashes are those of ticks.
    CrashLoop {
        /// The number of crashes since the first of the loop that is in the window.
        count: u64,
        /// When the last one happened.
        last: SystemTime,
    },
    /// The plugin crashed within the last hour. Not reported if that is its only recent crash, and the
    /// reason why the plugin is [`Down`](Self::Down).
    Crashed {
        /// The number of crashes in the time `within`, including those before the plugin's first sample;
        /// 0 if the last one is older than the history.
        count: u64,
        /// The time in which crashes are counted: the last ten minutes if there was more than one crash
        /// in them, otherwise the last hour; less if the history is shorter.
        within: Duration,
        /// When the last one happened.
        last: SystemTime,
    },
    /// No event for much longer than ever before in the run, although many were due at the usual rate.
    Silence {
        /// Events per second before.
        per_second: f64,
        /// The mean CPU since the last event, in percent of one core: about 100 suggests an endless loop,
        /// 0 a hang or no work. `None` if it is unknown.
        cpu_percent: Option<f64>,
    },
    /// Far more events than ever before in the window.
    EventSurge {
        /// Events per second before.
        before: f64,
        /// Events per second since the onset.
        now: f64,
    },
    /// The newest version needs more than the one before it.
    Regression {
        /// The compared value. `before` and `now` are in its unit.
        metric: RegressionMetric,
        /// The version before the newest one.
        old: Arc<str>,
        /// The newest version.
        new: Arc<str>,
        /// The value of the old version.
        before: f64,
        /// The value of the new version.
        now: f64,
        /// The number of minutes of the old and of the new version that were compared.
        minutes: [usize; 2],
    },
    /// A [limit](crate::Limit) of the host is exceeded. It is never evidence of another finding, and has
    /// none itself.
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
    /// How urgent it is: the highest severity of the condition and of its evidence.
    pub severity: Severity,
    /// An estimate of the effect, usually from 0 to 1, by which findings of the same severity are ranked.
    /// For CPU and memory it is the share of the machine. For a plugin that does not work, for example one
    /// that is down, it is a constant. Growth of memory has the more impact, the sooner it reaches a limit or
    /// the machine's memory.
    pub impact: f64,
    /// When the condition began. For [`Crashed`](FindingKind::Crashed) it is the time of the last crash.
    pub since: Onset,
    /// When it ended; `None` while it lasts.
    pub until: Option<SystemTime>,
    /// The condition, with its evidence.
    pub kind: FindingKind,
    /// Further conditions of the plugin that have the same cause.
    pub evidence: Vec<FindingKind>,
    /// For a plugin that is down or in a crash loop: whether the kernel's OOM killer has killed its newest
    /// process; see [`Run::oom_killed`](crate::Run::oom_killed).
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

    /// Whether a finding of an earlier snapshot is the same one: of the same plugin and kind, with an
    /// onset within a minute, or of a condition that has held since [before](Onset::Before) what the history
    /// shows. With it a host can send one message for each finding.
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
            // What began before the history reaches back may have begun at any time before. It has held
            // since, so one that was found in between is no other.
            _ if !self.since.is_exact() => true,
            Ok(later_by) => later_by <= SAME_ONSET,
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
/// [`Display`](std::fmt::Display) writes one sentence a line, and in the last line the number of plugins
/// that were judged, because a plugin without findings differs from one that is too young to be judged.
/// `Serialize` writes `{"items", "judged", "too_young", "over_seconds", "message"}`.
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
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The most urgent first: by severity, those that last before those that are over, by impact, by the
    /// plugin's name.
    pub items: Vec<Finding>,
    /// The number of plugins that were judged: all of the snapshot.
    pub judged: usize,
    /// The running plugins whose history is too short for findings about CPU: fewer than 156 samples,
    /// which are 13 minutes at the default interval, without those of the first minute of each run.
    pub too_young: Vec<Arc<str>>,
    /// The time that was judged: the newest hour at the default interval, less if the history is
    /// shorter.
    pub over: Duration,
}
