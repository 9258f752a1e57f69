//! The configuration of a store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::error::StoreConfigError;
use crate::format::seconds::{Seconds, read_seconds};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest time for which anything is kept.
pub(super) const MIN_RETENTION: Duration = Duration::from_secs(60 * 60);
/// The longest time for which anything is kept.
pub(super) const MAX_RETENTION: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);
/// The smallest limit of the file's size.
pub(super) const MIN_BYTES: u64 = 1 << 20;
/// The shortest time between two writes.
pub(super) const MIN_WRITE_INTERVAL: Duration = Duration::from_millis(100);
/// The longest time between two writes: the history in memory is the buffer.
pub(super) const MAX_WRITE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The configuration of a store: see [`Store::open`](crate::Store::open), which checks it.
///
/// Default, for a given path: samples are kept for 24 hours, rollups of a minute for 7 days, those of an
/// hour for 400 days, in a file of at most 256 MB; a write each minute.
///
/// Its serde form is `{"path": "plugmeter.db", "retention": 86400, "minutes": 604800, "hours": 34560000,
/// "max_bytes": 268435456, "write_interval": 60}`: times are in seconds, whole or fractional; a missing key
/// other than the path takes its default; an unknown key is an error.
///
/// ```
/// use plugmeter::StoreConfig;
/// use std::time::Duration;
///
/// let config = StoreConfig::new("plugmeter.db").retention(Duration::from_secs(2 * 86_400));
/// # let json = r#"{"path": "plugmeter.db", "retention": 172800}"#;
/// # assert_eq!(serde_json::from_str::<StoreConfig>(json).unwrap(), config);
/// ```
#[must_use = "a config does nothing until a store is opened with it"]
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    path: PathBuf,
    #[serde(default = "default_retention", deserialize_with = "read_seconds")]
    retention: Duration,
    #[serde(default = "default_minutes", deserialize_with = "read_seconds")]
    minutes: Duration,
    #[serde(default = "default_hours", deserialize_with = "read_seconds")]
    hours: Duration,
    #[serde(default = "default_max_bytes")]
    max_bytes: u64,
    #[serde(default = "default_write_interval", deserialize_with = "read_seconds")]
    write_interval: Duration,
}

const fn default_retention() -> Duration {
    DAY
}

const fn default_minutes() -> Duration {
    DAY.saturating_mul(7)
}

const fn default_hours() -> Duration {
    DAY.saturating_mul(400)
}

const fn default_max_bytes() -> u64 {
    256 << 20
}

const fn default_write_interval() -> Duration {
    Duration::from_secs(60)
}

impl StoreConfig {
    /// The defaults, for a file at this path. Its folder must exist; it should not be on NFS.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            retention: default_retention(),
            minutes: default_minutes(),
            hours: default_hours(),
            max_bytes: default_max_bytes(),
            write_interval: default_write_interval(),
        }
    }

    /// How long samples are kept: an hour to a hundred years.
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How long rollups of a minute are kept: an hour to a hundred years.
    pub const fn minutes(mut self, minutes: Duration) -> Self {
        self.minutes = minutes;
        self
    }

    /// How long rollups of an hour, runs and notifications are kept: an hour to a hundred years.
    pub const fn hours(mut self, hours: Duration) -> Self {
        self.hours = hours;
        self
    }

    /// The size of the file from which on the oldest values are removed earlier, samples first: at
    /// least 1 MB (1,048,576 bytes). The write-ahead log beside it has a few MB more.
    pub const fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The time between two writes: 100 milliseconds to ten minutes. What came after the newest write
    /// is lost if the host is killed. The first write after each ten minutes also updates the file's view of
    /// minutes, the first one after each hour that of hours; readers show all samples that were written.
    pub const fn write_interval(mut self, interval: Duration) -> Self {
        self.write_interval = interval;
        self
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn validate(self) -> Result<StoreSettings, StoreConfigError> {
        let Self { path, retention, minutes, hours, max_bytes, write_interval } = self;
        if path.as_os_str().is_empty() {
            return Err(StoreConfigError::NoPath);
        }
        for (key, value) in [("retention", retention), ("minutes", minutes), ("hours", hours)] {
            if !(MIN_RETENTION..=MAX_RETENTION).contains(&value) {
                let (min, max) = (MIN_RETENTION, MAX_RETENTION);
                return Err(StoreConfigError::Retention { key, value, min, max });
            }
        }
        if max_bytes < MIN_BYTES {
            return Err(StoreConfigError::MaxBytes { value: max_bytes, min: MIN_BYTES });
        }
        let (min, max) = (MIN_WRITE_INTERVAL, MAX_WRITE_INTERVAL);
        if !(min..=max).contains(&write_interval) {
            return Err(StoreConfigError::WriteInterval { value: write_interval, min, max });
        }
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Ok(StoreSettings {
            path,
            raw_ms: millis(retention),
            minutes_ms: millis(minutes),
            hours_ms: millis(hours),
            max_bytes,
            write_interval,
        })
    }
}

/// Every key, with the value that is in effect.
impl Serialize for StoreConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("StoreConfig", 6)?;
        out.serialize_field("path", &self.path)?;
        out.serialize_field("retention", &Seconds(self.retention))?;
        out.serialize_field("minutes", &Seconds(self.minutes))?;
        out.serialize_field("hours", &Seconds(self.hours))?;
        out.serialize_field("max_bytes", &self.max_bytes)?;
        out.serialize_field("write_interval", &Seconds(self.write_interval))?;
        out.end()
    }
}

/// A checked config.
#[derive(Clone, Debug)]
pub(super) struct StoreSettings {
    pub path: PathBuf,
    pub raw_ms: i64,
    pub minutes_ms: i64,
    pub hours_ms: i64,
    pub max_bytes: u64,
    pub write_interval: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_survives_serialization() {
        let config = StoreConfig::new("a.db")
            .retention(Duration::from_secs(7_200))
            .minutes(Duration::from_millis(7_200_500))
            .hours(Duration::from_secs(10_000))
            .max_bytes(2 << 20)
            .write_interval(Duration::from_millis(250));
        let json = serde_json::to_string(&config).unwrap();
        assert!(json.contains(r#""minutes":7200.5"#), "{json}");
        assert_eq!(serde_json::from_str::<StoreConfig>(&json).unwrap(), config);
        let short = serde_json::from_str::<StoreConfig>(r#"{"path": "a.db"}"#).unwrap();
        assert_eq!(short, StoreConfig::new("a.db"));
        for wrong in [r#"{"path": "a", "minute": 1}"#, "{}", r#"{"path": "a", "hours": -1}"#] {
            assert!(serde_json::from_str::<StoreConfig>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bounds_are_accepted_and_values_beyond_them_are_not() {
        let valid = |change: &dyn Fn(StoreConfig) -> StoreConfig| {
            change(StoreConfig::new("a.db")).validate().is_ok()
        };
        let millisecond = Duration::from_millis(1);
        let (hour, years) = (Duration::from_secs(3_600), Duration::from_secs(36_600 * 24 * 3_600));
        for (time, is_valid) in
            [(hour - millisecond, false), (hour, true), (years, true), (years + millisecond, false)]
        {
            assert_eq!(valid(&|config| config.retention(time)), is_valid);
            assert_eq!(valid(&|config| config.minutes(time)), is_valid);
            assert_eq!(valid(&|config| config.hours(time)), is_valid);
        }
        assert!(valid(&|config| config.max_bytes(1 << 20)));
        assert!(!valid(&|config| config.max_bytes((1 << 20) - 1)));
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(600));
        assert!(
            [shortest, longest].iter().all(|&time| valid(&|config| config.write_interval(time)))
        );
        assert!(!valid(&|config| config.write_interval(shortest - millisecond)));
        assert!(!valid(&|config| config.write_interval(longest + millisecond)));
    }

    /// The documented defaults, in the units of the settings.
    #[test]
    fn defaults_are_as_documented() {
        let settings = StoreConfig::new("a.db").validate().unwrap();
        let days = |days: i64| days * 24 * 3_600 * 1_000;
        let times = (settings.raw_ms, settings.minutes_ms, settings.hours_ms);
        assert_eq!(times, (days(1), days(7), days(400)));
        assert_eq!(settings.max_bytes, 268_435_456);
        assert_eq!(settings.write_interval, Duration::from_secs(60));
    }

    #[test]
    fn values_out_of_range_are_rejected() {
        let valid = StoreConfig::new("a.db");
        assert!(valid.clone().validate().is_ok());
        let short = Duration::from_secs(3_599);
        for (config, text) in [
            (StoreConfig::new(""), "the path of the store is empty"),
            (valid.clone().minutes(short), "minutes of 3599s is not between 3600s and 3162240000s"),
            (valid.clone().max_bytes(1), "max_bytes of 1 is less than 1048576"),
            (
                valid.clone().write_interval(Duration::ZERO),
                "write interval 0ns is not between 100ms and 600s",
            ),
        ] {
            assert_eq!(config.validate().unwrap_err().to_string(), text);
        }
    }
}
