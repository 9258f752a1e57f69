//! The host's configuration, and the checked settings that the sampler uses.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ConfigError;
use crate::format::seconds::{Seconds, read_seconds};
use crate::snapshot::limit::{Limit, Limits};

/// The shortest poll interval.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The longest poll interval.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest history, in samples.
const MAX_SAMPLES: u64 = 1_048_576;

/// The configuration of a collector. [`Collector::start`](crate::Collector::start) checks it.
///
/// Default: enabled, a poll interval of 5 seconds, a history of one hour, the native probe, process
/// trees, no limits, and no further clean exit codes.
///
/// Its serde form is `{"enabled": true, "poll_interval": 5, "history_duration": 3600, "probe":
/// "native", "process_trees": true, "limits": [], "clean_exit_codes": []}`: times are in seconds, whole or
/// fractional; a missing key takes its default; an unknown key is an error. The format must be
/// self-describing, as JSON and TOML are.
///
/// ```
/// use plugmeter::Config;
/// use std::time::Duration;
///
/// let config = Config::default()
///     .poll_interval(Duration::from_millis(500))
///     .history_duration(Duration::from_secs(600));
/// # let json = serde_json::from_str::<Config>(r#"{"poll_interval": 0.5, "history_duration": 600}"#);
/// # assert_eq!(json.unwrap(), config);
/// ```
#[must_use = "a config does nothing until a collector is started with it"]
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    enabled: bool,
    #[serde(deserialize_with = "read_seconds")]
    poll_interval: Duration,
    #[serde(deserialize_with = "read_seconds")]
    history_duration: Duration,
    probe: ProbeKind,
    /// `None`: as the probe's default.
    #[serde(deserialize_with = "read_choice")]
    process_trees: Option<bool>,
    limits: Limits,
    clean_exit_codes: Vec<i32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            poll_interval: Duration::from_secs(5),
            history_duration: Duration::from_secs(60 * 60),
            probe: ProbeKind::Native,
            process_trees: None,
            limits: Limits::default(),
            clean_exit_codes: Vec::new(),
        }
    }
}

impl Config {
    /// Whether to sample at all. If not, there is no thread: counters work, other reports are
    /// dropped, and snapshots are empty. Default: true.
    pub const fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// The time between ticks: 10 milliseconds to one day. Default: 5 seconds.
    pub const fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// How long samples are kept: one to 1,048,576 poll intervals. That is
    /// `floor(history_duration / poll_interval)` samples of each plugin. Default: one hour.
    ///
    /// # Cost
    ///
    /// A sample of the newest hour takes about 24 bytes of memory. Older samples are packed without
    /// loss: in each 120 ticks, CPU, memory and events of a plugin take 0, 1, 2 or 4 bytes a sample
    /// each, depending on how much they vary. So a day at a poll interval of 5 s takes about 20 kB for a
    /// plugin that is idle, and 110 kB for one whose values change with each sample.
    ///
    /// At least the newest 120 samples are not packed, also if they cover more than an hour. A history is
    /// packed only if it has 240 samples or more besides those that are never packed.
    pub const fn history_duration(mut self, length: Duration) -> Self {
        self.history_duration = length;
        self
    }

    /// How processes are read. Default: [`ProbeKind::Native`].
    pub const fn probe(mut self, probe: ProbeKind) -> Self {
        self.probe = probe;
        self
    }

    /// Whether samples have the values of process trees: those of the reported process and its
    /// descendants together, beside those of the process alone. See the
    /// [crate documentation](crate#process-trees).
    ///
    /// Default: on where the probe is native ([`ProbeKind::Native`] on Linux), off with the portable
    /// probe, which has to list all processes of the machine in each tick, and does not count the CPU
    /// time that a descendant uses after its last tick. Process trees cannot be read at all where
    /// `/proc` belongs to another PID namespace; this is logged. Without them,
    /// [`Sample::process_count`](crate::Sample::process_count) and the other values of trees are `None`.
    ///
    /// ```
    /// use plugmeter::{Config, ProbeKind};
    ///
    /// // The default of a probe, made explicit.
    /// let native = Config::default();
    /// assert_eq!(native, native.clone().process_trees(cfg!(target_os = "linux")));
    /// let portable = Config::default().probe(ProbeKind::Portable);
    /// assert_eq!(portable, portable.clone().process_trees(false));
    /// ```
    pub const fn process_trees(mut self, process_trees: bool) -> Self {
        self.process_trees = Some(process_trees);
        self
    }

    /// With the defaults of a platform with a native probe, so that a simulation is the same on every one.
    #[cfg(feature = "testing")]
    pub(crate) const fn with_linux_defaults(mut self) -> Self {
        if self.process_trees.is_none() {
            self.process_trees = Some(matches!(self.probe, ProbeKind::Native));
        }
        self
    }

    /// The value that is in effect.
    const fn has_process_trees(&self) -> bool {
        match self.process_trees {
            Some(chosen) => chosen,
            None => crate::os::is_native(self.probe),
        }
    }

    /// The limits of every plugin that has none of its own: see [`Limits`]. Default: none.
    ///
    /// ```
    /// use plugmeter::{Config, Limit, LimitMetric, Limits};
    ///
    /// let memory = Limit::new(LimitMetric::MemoryMb, 512.0);
    /// let config = Config::default().limits(Limits::default().rule(memory));
    /// # let json = r#"{"limits": [{"metric": "memory_mb", "above": 512}]}"#;
    /// # assert_eq!(serde_json::from_str::<Config>(json).unwrap(), config);
    /// ```
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Exit codes that count as a clean end, besides 0 and the codes by which shells and runtimes
    /// report the signals HUP, INT, PIPE and TERM (129, 130, 141, 143). For plugins that use other
    /// codes for an intended exit. Replaces those of an earlier call. Default: none.
    ///
    /// ```
    /// use plugmeter::Config;
    ///
    /// let config = Config::default().clean_exit_codes(&[75]); // EX_TEMPFAIL: started again later
    /// # let json = serde_json::from_str::<Config>(r#"{"clean_exit_codes": [75]}"#);
    /// # assert_eq!(json.unwrap(), config);
    /// ```
    pub fn clean_exit_codes(mut self, codes: &[i32]) -> Self {
        self.clean_exit_codes = codes.to_vec();
        self
    }

    /// Checks all values, once: settings cannot be invalid.
    pub(crate) fn validate(&self) -> Result<Settings, ConfigError> {
        let &Self { enabled, poll_interval, history_duration, probe, .. } = self;
        if !(MIN_POLL_INTERVAL..=MAX_POLL_INTERVAL).contains(&poll_interval) {
            return Err(ConfigError::PollInterval {
                value: poll_interval,
                min: MIN_POLL_INTERVAL,
                max: MAX_POLL_INTERVAL,
            });
        }
        let samples = history_duration.as_nanos() / poll_interval.as_nanos();
        let samples = u64::try_from(samples).unwrap_or(u64::MAX);
        if samples > MAX_SAMPLES {
            return Err(ConfigError::HistoryTooLong { samples, max: MAX_SAMPLES });
        }
        let samples = usize::try_from(samples).ok().and_then(NonZeroUsize::new);
        let samples = samples
            .ok_or(ConfigError::HistoryTooShort { value: history_duration, poll_interval })?;
        if !crate::os::is_built(probe) {
            return Err(ConfigError::ProbeNotBuilt(probe));
        }
        let limits = self.limits.validate().map_err(ConfigError::Limit)?;
        Ok(Settings {
            enabled,
            poll_interval,
            history_duration,
            samples,
            probe,
            process_trees: self.has_process_trees(),
            limits,
            clean_exit_codes: Arc::from(self.clean_exit_codes.as_slice()),
        })
    }
}

/// Two configs are equal if they have the same effect: a default is equal to the same value chosen
/// explicitly.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            enabled,
            poll_interval,
            history_duration,
            probe,
            process_trees: _,
            limits,
            clean_exit_codes,
        } = self;
        *enabled == other.enabled
            && *poll_interval == other.poll_interval
            && *history_duration == other.history_duration
            && *probe == other.probe
            && self.has_process_trees() == other.has_process_trees()
            && *limits == other.limits
            && *clean_exit_codes == other.clean_exit_codes
    }
}

impl Eq for Config {}

/// Every key, with the value that is in effect.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Config", 7)?;
        out.serialize_field("enabled", &self.enabled)?;
        out.serialize_field("poll_interval", &Seconds(self.poll_interval))?;
        out.serialize_field("history_duration", &Seconds(self.history_duration))?;
        out.serialize_field("probe", &self.probe)?;
        out.serialize_field("process_trees", &self.has_process_trees())?;
        out.serialize_field("limits", &self.limits)?;
        out.serialize_field("clean_exit_codes", &self.clean_exit_codes)?;
        out.end()
    }
}

/// A checked config.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub enabled: bool,
    /// 10 ms to one day.
    pub poll_interval: Duration,
    /// At least one poll interval.
    pub history_duration: Duration,
    /// Samples kept of each plugin.
    pub samples: NonZeroUsize,
    /// Part of this build.
    pub probe: ProbeKind,
    pub process_trees: bool,
    /// Of the plugins that have none of their own.
    pub limits: Arc<[Limit]>,
    /// Besides the usual ones.
    pub clean_exit_codes: Arc<[i32]>,
}

/// How processes are read.
///
/// ```
/// use plugmeter::ProbeKind;
///
/// assert_eq!(ProbeKind::default(), ProbeKind::Native);
/// assert_eq!(ProbeKind::Portable.to_string(), "portable");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// The platform's own interfaces on Linux; elsewhere the same as [`Portable`](Self::Portable).
    #[default]
    Native,
    /// The crate sysinfo (feature `portable`), on any platform. See [Platforms](crate#platforms) for the
    /// differences.
    Portable,
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Portable => "portable",
        })
    }
}

/// A key that is present has a value: `null` is an error, as for the other keys.
fn read_choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    bool::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
