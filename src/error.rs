//! One error type for each operation, with the rejected value and its bound.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::ProbeKind;
use crate::format::notification::LimitedValue;
use crate::snapshot::limit::LimitMetric;

/// Why a [`Config`](crate::Config) is invalid.
///
/// ```
/// use plugmeter::{Collector, Config, ConfigError, StartError};
/// use std::time::Duration;
///
/// let error = Collector::start(Config::default().poll_interval(Duration::ZERO)).unwrap_err();
/// assert!(matches!(error, StartError::Config(ConfigError::PollInterval { value, .. })
///     if value.is_zero()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The poll interval is out of range.
    PollInterval {
        /// The configured interval.
        value: Duration,
        /// The shortest valid interval.
        min: Duration,
        /// The longest valid interval.
        max: Duration,
    },
    /// The history is shorter than one poll interval: it would hold no sample.
    HistoryTooShort {
        /// The configured length.
        value: Duration,
        /// The poll interval: the shortest valid length.
        poll_interval: Duration,
    },
    /// The history would hold too many samples.
    HistoryTooLong {
        /// The length of the history divided by the poll interval.
        samples: u64,
        /// The largest valid number of samples.
        max: u64,
    },
    /// This build does not contain the probe: see the crate's features.
    ProbeNotBuilt(
        /// The configured probe.
        ProbeKind,
    ),
    /// A limit is invalid.
    Limit(
        /// The limit's error.
        LimitError,
    ),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PollInterval { value, min, max } => {
                write!(f, "poll interval {value:?} is not between {min:?} and {max:?}")
            }
            Self::HistoryTooShort { value, poll_interval } => {
                write!(
                    f,
                    "history of {value:?} is shorter than the poll interval {poll_interval:?}"
                )
            }
            Self::HistoryTooLong { samples, max } => {
                write!(f, "history of {samples} samples is longer than {max} samples")
            }
            Self::ProbeNotBuilt(probe) => {
                write!(f, "the {probe} probe is not part of this build (see the crate's features)")
            }
            Self::Limit(error) => error.fmt(f),
        }
    }
}

impl Error for ConfigError {}

impl From<LimitError> for ConfigError {
    fn from(error: LimitError) -> Self {
        Self::Limit(error)
    }
}

/// Why [`Limits`](crate::Limits) are invalid.
///
/// ```
/// use plugmeter::{Collector, Config, Limit, LimitError, LimitMetric, Limits};
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("dice")?;
/// let negative = Limit::new(LimitMetric::CpuPercent, -1.0);
/// let error = plugin.set_limits(Limits::default().rule(negative)).unwrap_err();
/// assert!(matches!(error, LimitError::Threshold { value, .. } if value == -1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub enum LimitError {
    /// The threshold is negative, not finite, or above the largest one for its metric.
    Threshold {
        /// The metric of the limit.
        metric: LimitMetric,
        /// The rejected threshold, in the unit of the metric.
        value: f64,
        /// The largest valid threshold of the metric.
        max: f64,
    },
    /// The value below which the limit clears is negative, not finite, or above the threshold.
    ClearBelow {
        /// The metric of the limit.
        metric: LimitMetric,
        /// The rejected value.
        value: f64,
        /// The threshold: the largest valid value.
        max: f64,
    },
    /// The time in which crashes are counted is zero, or longer than seven days.
    Within {
        /// The rejected time.
        value: Duration,
        /// The longest valid time.
        max: Duration,
    },
    /// There are more than 16 limits.
    TooMany {
        /// Their number.
        count: usize,
        /// The largest valid number.
        max: usize,
    },
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threshold { metric, value, max } if *max == f64::MAX => {
                let metric = LimitedValue(*metric);
                write!(f, "limit on {metric}: the threshold {value} is negative or not finite")
            }
            Self::Threshold { metric, value, max } => {
                let metric = LimitedValue(*metric);
                write!(f, "limit on {metric}: the threshold {value} is not between 0 and {max}")
            }
            Self::ClearBelow { metric, value, max } => {
                let metric = LimitedValue(*metric);
                write!(f, "limit on {metric}: clear_below is {value}, and not between 0 and {max}")
            }
            Self::Within { value, max } => {
                write!(f, "limit on crashes: the time {value:?} is zero or above {max:?}")
            }
            Self::TooMany { count, max } => {
                write!(f, "{count} limits of a plugin are more than {max}")
            }
        }
    }
}

impl Error for LimitError {}

/// Bit by bit, so that a rejected NaN equals itself.
impl PartialEq for LimitError {
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (
                Self::Threshold { metric, value, max },
                Self::Threshold { metric: metric2, value: value2, max: max2 },
            )
            | (
                Self::ClearBelow { metric, value, max },
                Self::ClearBelow { metric: metric2, value: value2, max: max2 },
            ) => {
                metric == metric2
                    && value.to_bits() == value2.to_bits()
                    && max.to_bits() == max2.to_bits()
            }
            (Self::Within { value, max }, Self::Within { value: value2, max: max2 }) => {
                (value, max) == (value2, max2)
            }
            (Self::TooMany { count, max }, Self::TooMany { count: count2, max: max2 }) => {
                (count, max) == (count2, max2)
            }
            (
                Self::Threshold { .. }
                | Self::ClearBelow { .. }
                | Self::Within { .. }
                | Self::TooMany { .. },
                _,
            ) => false,
        }
    }
}

impl Eq for LimitError {}

/// Why a collector could not be started. Nothing is left running.
///
/// ```
/// use plugmeter::{Collector, Config};
/// use std::time::Duration;
///
/// let config = Config::default().history_duration(Duration::from_secs(1));
/// let error = Collector::start(config).unwrap_err();
/// assert_eq!(error.to_string(), "history of 1s is shorter than the poll interval 5s");
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum StartError {
    /// A value of the config is invalid.
    Config(ConfigError),
    /// The operating system did not provide the thread, or the descriptors that reading processes
    /// needs.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "the sampler could not be started: {error}"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Its text is the text of this error already.
            Self::Config(_) => None,
            Self::Thread(error) => Some(error),
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Why the process-wide collector could not be started: see [`init`](crate::init).
///
/// ```
/// use plugmeter::{Config, InitError};
///
/// plugmeter::init(Config::default())?;
/// assert!(matches!(plugmeter::init(Config::default()), Err(InitError::AlreadyInitialized)));
/// # Ok::<(), InitError>(())
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum InitError {
    /// The process-wide collector exists already; [`global`](crate::global) returns it.
    AlreadyInitialized,
    /// It could not be started; a later call may succeed.
    Start(StartError),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyInitialized => f.write_str("the process-wide collector exists already"),
            Self::Start(error) => error.fmt(f),
        }
    }
}

impl Error for InitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::AlreadyInitialized => None,
            Self::Start(error) => error.source(),
        }
    }
}

/// Why the name of a plugin, or of a kind of events, is invalid.
///
/// ```
/// use plugmeter::{Collector, Config, NameError, RegisterError};
///
/// let collector = Collector::start(Config::default())?;
/// let error = collector.register("two\nlines").unwrap_err();
/// assert!(matches!(error, RegisterError::InvalidName { reason: NameError::Control, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameError {
    /// It is empty.
    Empty,
    /// It is too long.
    TooLong {
        /// The largest valid length in bytes.
        max: usize,
    },
    /// It contains a control character.
    Control,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong { max } => write!(f, "it is longer than {max} bytes"),
            Self::Control => f.write_str("it has a control character"),
        }
    }
}

impl Error for NameError {}

/// Why a plugin could not be registered. Registered plugins are not affected.
///
/// ```
/// use plugmeter::{Collector, Config, RegisterError};
///
/// let collector = Collector::start(Config::default())?;
/// collector.register("dice")?;
/// let error = collector.register("dice").unwrap_err();
/// assert_eq!(error, RegisterError::AlreadyRegistered { name: "dice".into() });
/// assert!(collector.plugin("dice").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// The name is invalid: a name has 1 to 128 bytes and no control characters.
    InvalidName {
        /// The rejected name, cut if it is too long.
        name: String,
        /// Why it is invalid.
        reason: NameError,
    },
    /// A plugin with this name exists; [`Collector::plugin`](crate::Collector::plugin) returns it.
    AlreadyRegistered {
        /// The name.
        name: String,
    },
    /// 65,536 plugins are registered: the largest number.
    TooManyPlugins {
        /// The largest number of plugins at the same time.
        max: usize,
    },
    /// The collector was stopped, or this is a forked child, in which it does not run.
    Stopped,
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name, reason } => {
                write!(f, "{name:?} cannot be the name of a plugin: {reason}")
            }
            Self::AlreadyRegistered { name } => {
                write!(f, "a plugin named {name:?} is registered already")
            }
            Self::TooManyPlugins { max } => write!(f, "there are {max} plugins already"),
            Self::Stopped => StoppedError.fmt(f),
        }
    }
}

impl Error for RegisterError {}

/// Why the CPU time of a cgroup cannot be read: see
/// [`Plugin::started_in_cgroup`](crate::Plugin::started_in_cgroup). Nothing was reported.
///
/// ```
/// use plugmeter::{CgroupError, Collector, Config};
/// use std::path::Path;
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("dice")?;
/// let error = plugin.started_in_cgroup(1, "", Path::new("/")).unwrap_err();
/// assert!(matches!(error, CgroupError::NotCgroup2 { .. } | CgroupError::Unsupported));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum CgroupError {
    /// The path is not a folder of a cgroup2 file system.
    NotCgroup2 {
        /// The rejected path.
        path: PathBuf,
    },
    /// The cgroup has no file `cpu.stat`: the kernel does not count its CPU time (before Linux 4.15),
    /// or the cgroup was removed while it was opened.
    NoCpuStat {
        /// The folder of the cgroup.
        path: PathBuf,
    },
    /// The operating system has refused to open the folder or its `cpu.stat`.
    Io {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
    /// The collector does not read cgroups: it needs the native probe of Linux, and
    /// [process trees](crate::Config::process_trees).
    Unsupported,
}

impl fmt::Display for CgroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCgroup2 { path } => {
                write!(f, "{} is not a folder of a cgroup2 file system", path.display())
            }
            Self::NoCpuStat { path } => {
                write!(f, "the cgroup {} has no file cpu.stat", path.display())
            }
            Self::Io { path, error } => {
                write!(f, "the cgroup {} cannot be opened: {error}", path.display())
            }
            Self::Unsupported => f.write_str(
                "this collector does not read cgroups: that needs the native probe of Linux, with \
                 process trees",
            ),
        }
    }
}

impl Error for CgroupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::NotCgroup2 { .. } | Self::NoCpuStat { .. } | Self::Unsupported => None,
        }
    }
}

/// Why a counter of a kind of events could not be created: see
/// [`Plugin::event_counter`](crate::Plugin::event_counter).
///
/// ```
/// use plugmeter::{Collector, Config, CounterError, NameError};
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("dice")?;
/// let error = plugin.event_counter("").unwrap_err();
/// assert!(matches!(error, CounterError::InvalidName { reason: NameError::Empty, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterError {
    /// The name is invalid: the name of a kind has 1 to 128 bytes and no control characters.
    InvalidName {
        /// The rejected name, cut if it is too long.
        name: String,
        /// Why it is invalid.
        reason: NameError,
    },
    /// The plugin has 32 kinds: the largest number.
    TooManyKinds {
        /// The largest number of kinds of one plugin.
        max: usize,
    },
}

impl fmt::Display for CounterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name, reason } => {
                write!(f, "{name:?} cannot be the name of a kind of events: {reason}")
            }
            Self::TooManyKinds { max } => {
                write!(f, "the plugin has {max} kinds of events already")
            }
        }
    }
}

impl Error for CounterError {}

/// The collector is not running: it was stopped, it is disabled, or this is a forked child. Also returned
/// on the sampler's own thread: see [`Collector::sample_now`](crate::Collector::sample_now).
///
/// ```
/// use plugmeter::{Collector, Config, StoppedError};
///
/// let collector = Collector::start(Config::default())?;
/// collector.stop();
/// assert_eq!(collector.sample_now(), Err(StoppedError));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoppedError;

impl fmt::Display for StoppedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the collector is not running")
    }
}

impl Error for StoppedError {}
