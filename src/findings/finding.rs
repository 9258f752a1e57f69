//! The types of findings.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

pub use crate::Severity;
use crate::{LimitStatus, PluginState, ReadError, RunEnd, RunId};

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

/// The condition of a finding, with its evidence.
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
    /// The plugin crashed recently. Not reported for a plugin that is [`Down`](Self::Down) by its
    /// only recent crash.
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
    /// A limit of the host is exceeded.
    LimitExceeded(
        /// The limit, with its newest value.
        LimitStatus,
    ),
    /// The resident memory of the process has grown within the history.
    #[non_exhaustive]
    MemoryGrowth {
        /// The oldest known value of the run in the history, in bytes.
        from: u64,
        /// The newest value, in bytes.
        now: u64,
        /// The time between these, on the monotonic clock.
        over: Duration,
        /// The growth in bytes per hour, if it went on as in that time.
        per_hour: f64,
    },
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
            Self::Crashed { .. } => "crashed",
            Self::LimitExceeded(_) => "limit_exceeded",
            Self::MemoryGrowth { .. } => "memory_growth",
        }
    }

    /// The severity of a finding of this kind.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Down { .. } => Severity::Critical,
            Self::EndedUnknown
            | Self::Unreadable(_)
            | Self::Suspended
            | Self::Unhealthy
            | Self::Crashed { .. } => Severity::Warning,
            Self::LimitExceeded(status) => status.limit.severity,
            Self::MemoryGrowth { .. } => Severity::Notice,
        }
    }
}

/// A statement about a plugin that needs attention, with evidence and onset.
///
/// [`Display`](std::fmt::Display) writes one sentence; `Serialize` writes
/// `{"plugin", "run", "severity", "since", "is_since_exact", "kind", "details", "oom_killed", "message"}`, where
/// `details` has the evidence, with units in its keys.
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::findings::Onset;
/// use plugmeter::testing::Simulation;
/// use plugmeter::{Config, PluginState};
///
/// let mut sim = Simulation::new(Config::default())?;
/// sim.register("dice")?.set_state(PluginState::Unhealthy);
/// sim.tick(|_pid| None);
///
/// let snapshot = sim.snapshot();
/// let view = snapshot.plugin("dice").unwrap();
/// let finding = &view.findings()[0];
/// assert_eq!(finding.since, Onset::At(view.state_since()));
/// assert!(finding.to_string().starts_with("dice: unhealthy since "));
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
    /// When the condition began. For crashes: the last one.
    pub since: Onset,
    /// The condition, with its evidence.
    pub kind: FindingKind,
    /// For a plugin that is down: whether the kernel's OOM killer has killed its newest process; see
    /// [`Run::oom_killed`](crate::Run::oom_killed).
    pub oom_killed: Option<bool>,
}

/// Two onsets of the same condition may differ by this much.
const SAME_ONSET: Duration = Duration::from_secs(60);

impl Finding {
    /// Whether an earlier snapshot's finding is the same one: of the same plugin and kind (and the
    /// same limit), with an onset within a minute. Use it to notify once.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use plugmeter::testing::{Simulation, Usage};
    /// use plugmeter::{Config, Limit, LimitMetric, Limits};
    /// use std::time::Duration;
    ///
    /// let limit = Limit::new(LimitMetric::MemoryMb, 100.0).lasting(Duration::ZERO);
    /// let mut sim = Simulation::new(Config::default().limits(Limits::default().rule(limit)))?;
    /// sim.register("dice")?.started(4711, "1.0");
    /// let mut tick = |mb: u64| {
    ///     sim.tick(|_pid| Usage { cpu_time: Duration::ZERO, memory_bytes: mb << 20 });
    ///     sim.snapshot().findings().items.into_iter().next()
    /// };
    /// assert_eq!(tick(200), None, "one sample is no row");
    /// let (earlier, later) = (tick(200).unwrap(), tick(201).unwrap());
    /// assert!(later != earlier && later.is_same(&earlier));
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
        let is_same_kind = match (&self.kind, &earlier.kind) {
            (FindingKind::LimitExceeded(now), FindingKind::LimitExceeded(then)) => {
                now.limit == then.limit
            }
            (now, then) => discriminant(now) == discriminant(then),
        };
        self.plugin == earlier.plugin && is_same_kind && is_same_onset
    }
}

/// The findings of a snapshot: see [`Snapshot::findings`](crate::Snapshot::findings).
///
/// [`Display`](std::fmt::Display) writes one sentence a line, or states that there is no finding;
/// `Serialize` writes `{"items", "judged"}`.
///
/// ```
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// collector.register("dice")?;
/// let findings = collector.sample_now()?.findings();
/// assert_eq!(findings.to_string(), "no findings for 1 plugin");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Findings {
    /// The most severe first; those of equal severity by the plugin's name.
    pub items: Vec<Finding>,
    /// The number of plugins that were judged: all of the snapshot.
    pub judged: usize,
}
