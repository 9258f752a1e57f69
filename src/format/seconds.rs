//! Seconds in the configuration.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Seconds: whole ones as an integer, so that a value written by hand is read back unchanged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seconds(pub Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanos() {
            0 => serializer.serialize_u64(self.0.as_secs()),
            _ => serializer.serialize_f64(self.0.as_secs_f64()),
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_seconds(deserializer).map(Self)
    }
}

/// Reads a non-negative number of seconds.
pub(crate) fn read_seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    struct SecondsVisitor;

    impl de::Visitor<'_> for SecondsVisitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a non-negative number of seconds")
        }

        fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }

        fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
            let wrong = || E::invalid_value(de::Unexpected::Signed(seconds), &self);
            u64::try_from(seconds).map(Duration::from_secs).map_err(|_| wrong())
        }

        fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Duration, E> {
            let wrong = |_| E::invalid_value(de::Unexpected::Float(seconds), &self);
            Duration::try_from_secs_f64(seconds).map_err(wrong)
        }
    }

    deserializer.deserialize_any(SecondsVisitor)
}
