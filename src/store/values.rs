//! The public values of a store.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::snapshot::downsample::ValueRange;
use crate::snapshot::state::PluginState;

/// How finely values of a store are read.
///
/// ```
#[doc = include_str!("example_setup.txt")]
/// let reader = store.reader();
/// let samples = reader.points("dice", yesterday..tomorrow, Resolution::Raw);
/// let minutes = reader.points("dice", yesterday..tomorrow, Resolution::Minute);
/// let sampled: u64 = minutes.iter().map(|minute| minute.sample_count).sum();
/// assert_eq!(sampled, samples.len() as u64);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Samples, as long as they are [kept](crate::StoreConfig::retention).
    Raw,
    /// Rollups of a minute.
    Minute,
    /// Rollups of an hour.
    Hour,
    /// Samples for a range of up to 6 hours, minutes for up to 72 hours, otherwise hours; or the next coarser
    /// one that is kept for the whole range.
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
///
/// ```
#[doc = include_str!("example_setup.txt")]
/// let plugins = store.reader().plugins();
/// assert_eq!((&*plugins[0].name, plugins[0].event_count), ("dice", 3));
/// assert!(plugins[0].removed_at.is_none());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPlugin {
    /// The registered name.
    pub name: Arc<str>,
    /// When it was recorded first.
    pub first_seen: SystemTime,
    /// When it was [removed](crate::Plugin::remove). After that the same name is another plugin.
    pub removed_at: Option<SystemTime>,
    /// Events since the first registration.
    pub event_count: u64,
    /// The kinds of events, in the order of their creation.
    pub event_counts: Vec<(Arc<str>, u64)>,
    /// Crashes since the first registration.
    pub crash_count: u64,
    /// Runs after the first, of another process than the one before. A run after one that was active when
    /// the host ended is not one of them.
    pub restart_count: u64,
    /// Runs whose end is unknown.
    pub unknown_end_count: u64,
    /// When the newest run that counted as a crash ended.
    pub last_crash: Option<SystemTime>,
    /// CPU time that the reported processes have used since the first registration.
    pub cpu_time: Duration,
    /// The same with the CPU time of their descendants.
    pub tree_cpu_time: Duration,
}

/// One sample, or the samples of one minute or hour.
///
/// ```
#[doc = include_str!("example_setup.txt")]
/// let points = store.reader().points("dice", yesterday..tomorrow, Resolution::Raw);
/// for point in &points {
///     println!("{:?}: {:?} bytes", point.timestamp, point.memory.map(|memory| memory.max));
/// }
/// assert_eq!(points.iter().map(|point| point.events).sum::<u64>(), 3);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPoint {
    /// When the sample was taken; the first moment of the minute or hour.
    pub timestamp: SystemTime,
    /// What the point covers: never [`Resolution::Auto`].
    pub resolution: Resolution,
    /// The number of samples.
    pub sample_count: u64,
    /// The time that the samples cover: since the sample before each, or since the host began to record.
    pub time_span: Duration,
    /// CPU in percent of one core; `None` if no sample has a value.
    pub cpu_percent: Option<ValueRange>,
    /// Resident memory in bytes; `None` if no sample has a value.
    pub memory: Option<ValueRange>,
    /// CPU of the process tree in percent of one core; `None` if no sample has a value.
    pub tree_cpu_percent: Option<ValueRange>,
    /// Sum of the resident sizes of the process tree in bytes, an upper bound.
    pub tree_memory: Option<ValueRange>,
    /// Events since the previous point.
    pub events: u64,
    /// Crashes since the previous point.
    pub crashes: u64,
    /// The state of the plugin; `None` unless the point is one sample.
    pub state: Option<PluginState>,
    pub(super) known: KnownCounts,
}

/// How many samples of a point have each value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct KnownCounts {
    pub cpu: u64,
    pub memory: u64,
    pub tree_cpu: u64,
    pub tree_memory: u64,
}

/// A percentile: the value at a rank.
///
/// ```
#[doc = include_str!("example_setup.txt")]
/// let aggregates = store.reader().aggregates("dice", yesterday..tomorrow);
/// let memory = aggregates.tree_memory.expect("one sample");
/// match memory.p95 {
///     Quantile::Within { value, relative_error } => {
///         println!("{value} bytes, plus or minus {:.0} %", relative_error * 100.0);
///     }
///     exact => assert_eq!(exact.value(), memory.max),
/// }
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantile {
    /// The value of the sample with this rank.
    Exact(f64),
    /// Computed from rollups, which store counts of similar values.
    Within {
        /// The value.
        value: f64,
        /// The largest difference from the exact value, as a fraction of it: 0.01 is one percent.
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
///
/// ```
#[doc = include_str!("example_setup.txt")]
/// let aggregates = store.reader().aggregates("dice", yesterday..tomorrow);
/// let memory = aggregates.memory.expect("one sample");
/// assert_eq!((memory.count, memory.avg, memory.min), (1, memory.max, memory.max));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
#[doc = include_str!("example_setup.txt")]
/// let aggregates = store.reader().aggregates("dice", yesterday..tomorrow);
/// assert_eq!((aggregates.sample_count, aggregates.events, aggregates.crashes), (1, 3, 0));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// CPU time of the process tree in the range.
    pub cpu_time: Duration,
    /// Events.
    pub events: u64,
    /// Events, divided by `time_span` in seconds; 0 if that is zero.
    pub events_per_second: f64,
    /// CPU time of the process tree, divided by the events; `None` without events.
    pub cpu_per_event: Option<Duration>,
    /// Crashes.
    pub crashes: u64,
}

/// A notification that was sent while a store recorded.
///
/// ```
#[doc = include_str!("example_setup.txt")]
/// let notifications = store.reader().notifications(yesterday..tomorrow);
/// let begun = notifications.iter().find(|one| one.kind == "run_started").expect("it was sent");
/// assert!(begun.text.starts_with("run began, pid "), "{}", begun.text);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNotification {
    /// When the sampler processed the change.
    pub at: SystemTime,
    /// The name of the plugin; empty if the notification is about none.
    pub plugin: Arc<str>,
    /// The name of its kind, as in JSON: `"run_ended"`.
    pub kind: String,
    /// The change as a sentence for people, as [`NotificationKind`](crate::NotificationKind) displays it.
    pub text: String,
    /// The whole notification in JSON, as [`Notification`](crate::Notification) serializes it.
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
