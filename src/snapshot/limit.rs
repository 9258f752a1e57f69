//! Limits: the rules of the host, and their public status.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::severity::Severity;
use crate::error::LimitError;
use crate::format::seconds::Seconds;

/// The most limits of one plugin.
const MAX_LIMITS: usize = 16;
/// The largest threshold of a limit of crashes: the times of one more are kept.
pub(crate) const MAX_CRASHES: u32 = 4_096;
/// The longest time in which crashes are counted.
const MAX_WITHIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A value that a [`Limit`] bounds. CPU, memory and processes are those of the process tree, unless trees
/// are [switched off](crate::Config::process_trees).
///
/// ```
/// use plugmeter::LimitMetric;
///
/// assert_eq!(LimitMetric::MemoryMb.as_str(), "memory_mb");
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitMetric {
    /// CPU in percent of one core: see [`Sample::tree_cpu_percent`](crate::Sample::tree_cpu_percent).
    CpuPercent,
    /// Resident memory in MB of 1,048,576 bytes, an upper bound: see
    /// [`Sample::tree_memory_bytes`](crate::Sample::tree_memory_bytes).
    MemoryMb,
    /// Living processes: see [`Sample::process_count`](crate::Sample::process_count).
    ProcessCount,
    /// Events since the previous sample, divided by the time since then.
    EventsPerSecond,
    /// Seconds since the newest tick that has counted an event; before the first one, since the run began
    /// or since limits were set, whichever was later.
    SilentSeconds,
    /// Crashes that were counted in the newest part of the time, since the limit was set.
    Crashes {
        /// The length of that part: more than zero, at most seven days.
        within: Duration,
    },
}

impl LimitMetric {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CpuPercent => "cpu_percent",
            Self::MemoryMb => "memory_mb",
            Self::ProcessCount => "process_count",
            Self::EventsPerSecond => "events_per_second",
            Self::SilentSeconds => "silent_seconds",
            Self::Crashes { .. } => "crashes",
        }
    }

    pub(crate) const fn is_crashes(self) -> bool {
        matches!(self, Self::Crashes { .. })
    }
}

/// A rule of the host: a value may not be above a threshold for longer than some time.
///
/// It is evaluated at each tick, and limits of crashes also between ticks. A limit does nothing by
/// itself: the host acts on it, for example on
/// [`NotificationKind::LimitExceeded`](crate::NotificationKind::LimitExceeded).
///
/// # Definition
///
/// A sample violates the limit if its value is above the threshold; a value equal to the threshold does
/// not. The limit is *exceeded* once an unbroken sequence of at least two violating samples has lasted
/// for [`lasting`](Self::lasting), measured from its first to its newest sample on the monotonic clock.
/// It *clears* once a sequence of samples below [`clear_below`](Self::clear_below) has lasted for
/// [`clear_after`](Self::clear_after), by the same rule; a value of 0 always counts as below.
///
/// A sample without a value neither continues nor breaks a sequence. After three of them in succession,
/// or after a gap of three poll intervals between two ticks, the current sequence is discarded; an
/// exceeded limit stays exceeded.
///
/// The end of a run clears the limit. The next run has a [`grace`](Self::grace) in which nothing is
/// evaluated. Without an active run there are no values. Limits of crashes belong to the plugin, not
/// to the run, and have no grace; for them one evaluation is enough where `lasting` is zero.
///
/// ```
/// use plugmeter::{Limit, LimitMetric, Severity};
/// use std::time::Duration;
///
/// let limit = Limit::new(LimitMetric::CpuPercent, 80.0)
///     .lasting(Duration::from_secs(300))
///     .severity(Severity::Critical);
/// assert_eq!(limit.clear_below, 72.0);
/// assert_eq!(limit.clear_after, Duration::from_secs(300));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The value that is bounded.
    pub metric: LimitMetric,
    /// The threshold, in the unit of the metric.
    pub above: f64,
    /// How long values have to be above the threshold.
    pub lasting: Duration,
    /// Values below this one clear an exceeded limit, in the unit of the metric.
    pub clear_below: f64,
    /// How long values have to be below `clear_below`.
    pub clear_after: Duration,
    /// The time after the report of a run in which it is not evaluated.
    pub grace: Duration,
    /// The severity of the [finding](crate::findings) of an exceeded limit.
    pub severity: Severity,
    /// `clear_after` was set by itself.
    has_clear_after: bool,
}

impl Limit {
    /// Creates a limit that is exceeded by values above a threshold, in the unit of the metric.
    ///
    /// The threshold is 0 or more, and at most 4,095 for crashes; it is checked when the limit is set: see
    /// [`LimitError`].
    ///
    /// | default | CPU, processes, events, silence | memory | crashes |
    /// |---|---|---|---|
    /// | [`lasting`](Self::lasting) | 60 s | 15 s | 0 |
    /// | [`grace`](Self::grace) | 60 s | 0 | 0 |
    /// | [`clear_below`](Self::clear_below) | 0.9 times the threshold | the same | the same |
    /// | [`clear_after`](Self::clear_after) | as `lasting` | the same | the same |
    /// | [`severity`](Self::severity) | [`Warning`](Severity::Warning) | the same | the same |
    #[must_use]
    pub const fn new(metric: LimitMetric, above: f64) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        let (lasting, grace) = match metric {
            LimitMetric::MemoryMb => (Duration::from_secs(15), Duration::ZERO),
            LimitMetric::Crashes { .. } => (Duration::ZERO, Duration::ZERO),
            LimitMetric::CpuPercent
            | LimitMetric::ProcessCount
            | LimitMetric::EventsPerSecond
            | LimitMetric::SilentSeconds => (MINUTE, MINUTE),
        };
        Self {
            metric,
            above,
            lasting,
            clear_below: 0.9 * above,
            clear_after: lasting,
            grace,
            severity: Severity::Warning,
            has_clear_after: false,
        }
    }

    /// How long values have to be above the threshold. Also sets [`clear_after`](Self::clear_after), unless
    /// that was set by its own method.
    #[must_use]
    pub const fn lasting(mut self, time: Duration) -> Self {
        self.lasting = time;
        if !self.has_clear_after {
            self.clear_after = time;
        }
        self
    }

    /// Values below this one clear an exceeded limit; at most the threshold.
    #[must_use]
    pub const fn clear_below(mut self, value: f64) -> Self {
        self.clear_below = value;
        self
    }

    /// How long values have to be below [`clear_below`](Self::clear_below).
    #[must_use]
    pub const fn clear_after(mut self, time: Duration) -> Self {
        (self.clear_after, self.has_clear_after) = (time, true);
        self
    }

    /// The time after the report of a run in which it is not evaluated.
    #[must_use]
    pub const fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// The severity of the [finding](crate::findings) of an exceeded limit.
    #[must_use]
    pub const fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    fn check(&self) -> Result<(), LimitError> {
        let metric = self.metric;
        let max = match metric {
            LimitMetric::Crashes { within } if within.is_zero() || within > MAX_WITHIN => {
                return Err(LimitError::Within { value: within, max: MAX_WITHIN });
            }
            LimitMetric::Crashes { .. } => f64::from(MAX_CRASHES - 1),
            LimitMetric::CpuPercent
            | LimitMetric::MemoryMb
            | LimitMetric::ProcessCount
            | LimitMetric::EventsPerSecond
            | LimitMetric::SilentSeconds => f64::MAX,
        };
        if !(0.0..=max).contains(&self.above) {
            return Err(LimitError::Threshold { metric, value: self.above, max });
        }
        if !(0.0..=self.above).contains(&self.clear_below) {
            return Err(LimitError::ClearBelow {
                metric,
                value: self.clear_below,
                max: self.above,
            });
        }
        Ok(())
    }
}

/// Two limits are equal if they have the same effect.
impl PartialEq for Limit {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            metric,
            above,
            lasting,
            clear_below,
            clear_after,
            grace,
            severity,
            has_clear_after: _,
        } = self;
        *metric == other.metric
            && above.to_bits() == other.above.to_bits()
            && *lasting == other.lasting
            && clear_below.to_bits() == other.clear_below.to_bits()
            && *clear_after == other.clear_after
            && *grace == other.grace
            && *severity == other.severity
    }
}

impl Eq for Limit {}

/// The keys of a limit. Those that are missing take their default.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitKeys {
    metric: MetricKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<Seconds>,
    above: f64,
    #[serde(rename = "for", default)]
    lasting: Option<Seconds>,
    #[serde(default)]
    clear_below: Option<f64>,
    #[serde(default)]
    clear_after: Option<Seconds>,
    #[serde(default)]
    grace: Option<Seconds>,
    #[serde(default)]
    severity: Option<Severity>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MetricKey {
    CpuPercent,
    MemoryMb,
    ProcessCount,
    EventsPerSecond,
    SilentSeconds,
    Crashes,
}

/// `{"metric": "cpu_percent", "above": 80, "for": 300, "clear_below": 70, "clear_after": 60, "grace":
/// 60, "severity": "critical"}`, with `"within"` for crashes; times are in seconds.
impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (metric, within) = match self.metric {
            LimitMetric::CpuPercent => (MetricKey::CpuPercent, None),
            LimitMetric::MemoryMb => (MetricKey::MemoryMb, None),
            LimitMetric::ProcessCount => (MetricKey::ProcessCount, None),
            LimitMetric::EventsPerSecond => (MetricKey::EventsPerSecond, None),
            LimitMetric::SilentSeconds => (MetricKey::SilentSeconds, None),
            LimitMetric::Crashes { within } => (MetricKey::Crashes, Some(Seconds(within))),
        };
        let keys = LimitKeys {
            metric,
            within,
            above: self.above,
            lasting: Some(Seconds(self.lasting)),
            clear_below: Some(self.clear_below),
            clear_after: Some(Seconds(self.clear_after)),
            grace: Some(Seconds(self.grace)),
            severity: Some(self.severity),
        };
        keys.serialize(serializer)
    }
}

/// A missing key takes its default; an unknown key is an error.
impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = LimitKeys::deserialize(deserializer)?;
        let metric = match (keys.metric, keys.within) {
            (MetricKey::Crashes, Some(Seconds(within))) => LimitMetric::Crashes { within },
            (MetricKey::Crashes, None) => return Err(de::Error::missing_field("within")),
            (_, Some(_)) => {
                return Err(de::Error::custom("only a limit of crashes has the key `within`"));
            }
            (MetricKey::CpuPercent, None) => LimitMetric::CpuPercent,
            (MetricKey::MemoryMb, None) => LimitMetric::MemoryMb,
            (MetricKey::ProcessCount, None) => LimitMetric::ProcessCount,
            (MetricKey::EventsPerSecond, None) => LimitMetric::EventsPerSecond,
            (MetricKey::SilentSeconds, None) => LimitMetric::SilentSeconds,
        };
        let mut limit = Self::new(metric, keys.above);
        if let Some(Seconds(time)) = keys.lasting {
            limit = limit.lasting(time);
        }
        if let Some(value) = keys.clear_below {
            limit = limit.clear_below(value);
        }
        if let Some(Seconds(time)) = keys.clear_after {
            limit = limit.clear_after(time);
        }
        if let Some(Seconds(time)) = keys.grace {
            limit = limit.grace(time);
        }
        if let Some(severity) = keys.severity {
            limit = limit.severity(severity);
        }
        Ok(limit)
    }
}

/// The limits of a plugin, at most 16: see [`Limit`]. The default has none.
///
/// They are set for all plugins by [`Config::limits`](crate::Config::limits), or for one plugin by
/// [`Plugin::set_limits`](crate::Plugin::set_limits), and checked there. The serde form is a list.
///
/// ```
/// use plugmeter::{Limit, LimitMetric, Limits};
///
/// let limits = Limits::default()
///     .rule(Limit::new(LimitMetric::CpuPercent, 80.0))
///     .rule(Limit::new(LimitMetric::MemoryMb, 512.0));
/// let json = r#"[{"metric": "cpu_percent", "above": 80}, {"metric": "memory_mb", "above": 512}]"#;
/// # let read = serde_json::from_str::<Limits>(json);
/// # assert_eq!(read.unwrap(), limits);
/// ```
#[must_use = "limits do nothing until they are set"]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limits(Vec<Limit>);

impl Limits {
    /// Adds a limit.
    pub fn rule(mut self, limit: Limit) -> Self {
        self.0.push(limit);
        self
    }

    /// The limits, in the order in which they were added.
    #[must_use = "iterators are lazy"]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Limit> + Clone {
        self.0.iter()
    }

    pub(crate) fn validate(&self) -> Result<Arc<[Limit]>, LimitError> {
        if self.0.len() > MAX_LIMITS {
            return Err(LimitError::TooMany { count: self.0.len(), max: MAX_LIMITS });
        }
        self.0.iter().try_for_each(Limit::check)?;
        Ok(Arc::from(self.0.as_slice()))
    }
}

/// Whether a limit is exceeded, and since when.
///
/// ```
/// use plugmeter::LimitState;
/// use std::time::SystemTime;
///
/// let now = SystemTime::now();
/// assert_eq!(LimitState::Exceeded(now).since(), Some(now));
/// assert_eq!(LimitState::Ok.to_string(), "ok");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitState {
    /// There is no current sequence of violating samples.
    Ok,
    /// The newest samples violate the limit, but not for long enough yet. The time is that of the first
    /// of them.
    Pending(SystemTime),
    /// The limit is exceeded. The time is that of the first violating sample.
    Exceeded(SystemTime),
}

impl LimitState {
    /// When the first violating sample was taken; `None` without one.
    #[must_use]
    pub const fn since(self) -> Option<SystemTime> {
        match self {
            Self::Ok => None,
            Self::Pending(since) | Self::Exceeded(since) => Some(since),
        }
    }

    /// Whether it is [`Exceeded`](Self::Exceeded).
    #[must_use]
    pub const fn is_exceeded(self) -> bool {
        matches!(self, Self::Exceeded(_))
    }

    /// The name in JSON: `ok`, `pending`, `exceeded`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending(_) => "pending",
            Self::Exceeded(_) => "exceeded",
        }
    }
}

/// A limit of one plugin and its state: see [`PluginView::limits`](crate::PluginView::limits).
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use plugmeter::testing::{Simulation, Usage};
/// use plugmeter::{Config, Limit, LimitMetric, Limits};
/// use std::time::Duration;
///
/// let memory = Limit::new(LimitMetric::MemoryMb, 512.0).lasting(Duration::from_secs(5));
/// let mut sim = Simulation::new(Config::default().limits(Limits::default().rule(memory)))?;
/// sim.register("dice")?.started(4711, "");
/// let usage = Usage { cpu_time: Duration::ZERO, memory_bytes: 600 << 20 };
/// sim.tick(|_pid| usage);
/// sim.tick(|_pid| usage);
///
/// let snapshot = sim.snapshot();
/// let status = snapshot.plugin("dice").unwrap().limits().next().unwrap();
/// assert!(status.state.is_exceeded());
/// assert_eq!(status.peak, Some(600.0));
/// assert_eq!(status.to_string(), "memory 600.00 MB, limit 512 MB: exceeded");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitStatus {
    /// The limit.
    pub limit: Limit,
    /// Its state.
    pub state: LimitState,
    /// The value of the newest evaluation, in the unit of the metric; `None` if it is unknown, or
    /// nothing was evaluated.
    pub value: Option<f64>,
    /// The largest value since the first violating sample; `None` without one.
    pub peak: Option<f64>,
}
