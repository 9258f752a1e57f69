//! The public values of a store.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::snapshot::downsample::ValueRange;
use crate::snapshot::state::PluginState;

/// How finely values of a store are read.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Samples, as long as they are [kept](crate::StoreConfig::retention).
    Raw,
    /// Rollups of a minute.
    Minute,
    /// Rollups of an hour.
    Hour,
    /// The finest that reaches back far enough and gives a few thousand points at most.
    #[default]
    Auto,
}

impl Resolution {
    pub(super) const HOUR: Duration = Duration::from_secs(3_600);

    /// The finest resolution that is sensible for a chart of this range.
    pub(super) fn of_range(range: &Range<SystemTime>) -> Self {
        let span = range.end.duration_since(range.start).unwrap_or_default();
        if span <= 6 * Self::HOUR {
            Self::Raw
        } else if span <= 72 * Self::HOUR {
            Self::Minute
        } else {
            Self::Hour
        }
    }
}

/// A plugin in a store: a name, from its first registration to its removal, over all sessions of the host.
///
/// The counters are those of the newest write.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPlugin {
    /// The registered name.
    pub name: Arc<str>,
    /// When it was recorded first.
    pub first_seen: SystemTime,
    /// When it was [removed](crate::Plugin::remove). After that the same name is another plugin.
    pub removed_at: Option<SystemTime>,
    /// Events.
    pub event_count: u64,
    /// The kinds of events, in the order of their creation.
    pub event_counts: Vec<(Arc<str>, u64)>,
    /// Crashes of all runs.
    pub crash_count: u64,
    /// Runs after the first, of another process than the one before. A run after the end of the host is
    /// not one of them.
    pub restart_count: u64,
    /// Runs whose end is unknown.
    pub unknown_end_count: u64,
    /// When the newest run that counted as a crash ended.
    pub last_crash: Option<SystemTime>,
    /// CPU time of the reported processes.
    pub cpu_time: Duration,
    /// CPU time with that of their descendants.
    pub tree_cpu_time: Duration,
}

/// One sample, or the samples of one minute or hour.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPoint {
    /// When the sample was taken; the begin of the minute or hour.
    pub timestamp: SystemTime,
    /// What the point covers: never [`Resolution::Auto`].
    pub resolution: Resolution,
    /// The number of samples.
    pub sample_count: u64,
    /// CPU in percent of one core; `None` if no sample has a value.
    pub cpu_percent: Option<ValueRange>,
    /// Resident memory in bytes; `None` if no sample has a value.
    pub memory: Option<ValueRange>,
    /// CPU of the process tree in percent of one core; `None` if no sample has a value.
    pub tree_cpu_percent: Option<ValueRange>,
    /// Sum of the resident sizes of the process tree in bytes, an upper bound.
    pub tree_memory: Option<ValueRange>,
    /// Events since the point before.
    pub events: u64,
    /// Crashes since the point before.
    pub crashes: u64,
    /// The state of the plugin; `None` unless the point is one sample.
    pub state: Option<PluginState>,
}

/// A value at a rank.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantile {
    /// The value of the sample with this rank.
    Exact(f64),
    /// From sketches: the exact value differs by at most this part of it.
    Within {
        /// The value.
        value: f64,
        /// The largest error, as a part of the exact value.
        relative_error: f64,
    },
}

impl Quantile {
    /// The value, exact or not.
    #[must_use]
    pub const fn value(&self) -> f64 {
        match *self {
            Self::Exact(value) | Self::Within { value, .. } => value,
        }
    }
}

/// A summary of the known values of a range of time.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoredSummary {
    /// The number of values.
    pub count: u64,
    /// Arithmetic mean.
    pub avg: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The value at the rank of [`Summary::p95`](crate::Summary::p95).
    pub p95: Quantile,
}

/// CPU and memory of a plugin over a range of time, its events and crashes.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAggregates {
    /// The name of the plugin.
    pub plugin_name: Arc<str>,
    /// What the values were computed from: samples, or the minutes or hours that overlap the range.
    pub resolution: Resolution,
    /// The number of samples.
    pub sample_count: u64,
    /// The time that the samples cover. Times in which the host did not record are no part of it.
    pub time_span: Duration,
    /// CPU in percent of one core; `None` if no sample has a value.
    pub cpu: Option<StoredSummary>,
    /// Resident memory in bytes; `None` if no sample has a value.
    pub memory: Option<StoredSummary>,
    /// CPU of the process tree in percent of one core.
    pub tree_cpu: Option<StoredSummary>,
    /// Sum of the resident sizes of the process tree in bytes, an upper bound.
    pub tree_memory: Option<StoredSummary>,
    /// CPU time of the process tree: the share of each sample of the time that it covers.
    pub cpu_time: Duration,
    /// Events.
    pub events: u64,
    /// Events by the time that the samples cover; 0 without samples.
    pub events_per_second: f64,
    /// CPU time by events; `None` without events.
    pub cpu_per_event: Option<Duration>,
    /// Crashes.
    pub crashes: u64,
}

/// A notification that was sent while a store recorded.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNotification {
    /// When the change was processed.
    pub at: SystemTime,
    /// The plugin; empty for a notification about none.
    pub plugin: Arc<str>,
    /// The name of its kind, as in JSON: `"run_ended"`.
    pub kind: String,
    /// The change, for people.
    pub text: String,
    /// All of it, in JSON.
    pub json: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ranges_have_coarse_resolutions() {
        let of = |span: Duration| {
            let start = SystemTime::UNIX_EPOCH;
            Resolution::of_range(&(start..start + span))
        };
        let (hour, millisecond) = (Resolution::HOUR, Duration::from_millis(1));
        assert_eq!((of(Duration::ZERO), of(6 * hour)), (Resolution::Raw, Resolution::Raw));
        let minutes = (of(6 * hour + millisecond), of(72 * hour));
        assert_eq!(minutes, (Resolution::Minute, Resolution::Minute));
        assert_eq!(of(72 * hour + millisecond), Resolution::Hour);
        let start = SystemTime::UNIX_EPOCH;
        assert_eq!(Resolution::of_range(&(start + hour..start)), Resolution::Raw);
    }

    #[test]
    fn quantile_has_a_value_exact_or_not() {
        assert_eq!(Quantile::Exact(2.5).value(), 2.5);
        assert_eq!(Quantile::Within { value: 7.5, relative_error: 0.01 }.value(), 7.5);
    }
}
