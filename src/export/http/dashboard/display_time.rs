//! A point in time on a page.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Snapshot;
use crate::format::number::timestamp;

/// A point in time. The server renders it in UTC; the script shows it in the browser's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DisplayTime {
    pub at: SystemTime,
    /// A time of another day than this one is shown with its date.
    pub now: SystemTime,
}

impl DisplayTime {
    /// A time on a page that shows this snapshot.
    pub(super) fn new(at: SystemTime, snapshot: &Snapshot) -> Self {
        Self { at, now: snapshot.sampled_at() }
    }

    pub(super) fn from_millis(millis: u64, snapshot: &Snapshot) -> Self {
        Self::new(UNIX_EPOCH + Duration::from_millis(millis), snapshot)
    }

    /// The value of the attribute `datetime`.
    pub(super) fn machine_readable(self) -> String {
        timestamp(self.at)
    }

    /// With date and time zone, for the attribute `title`.
    pub(super) fn full(self) -> String {
        let text = timestamp(self.at);
        format!("{} {} UTC", &text[..10], &text[11..19])
    }

    /// `14:02`; on another day `11-23 14:02`.
    pub(super) fn short(self) -> String {
        self.until_column(16)
    }

    /// `14:02:31`; on another day `11-23 14:02:31`.
    pub(super) fn exact(self) -> String {
        self.until_column(19)
    }

    fn until_column(self, end: usize) -> String {
        let (text, now) = (timestamp(self.at), timestamp(self.now));
        if text[..10] == now[..10] {
            text[11..end].to_owned()
        } else {
            format!("{} {}", &text[5..10], &text[11..end])
        }
    }

    /// For the script.
    pub(super) fn millis(self) -> u64 {
        unix_millis(self.at)
    }
}

/// Milliseconds since 1970; 0 before that.
pub(super) fn unix_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_another_day_has_its_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_763_987_654);
        let time = |ago| DisplayTime { at: now - Duration::from_secs(ago), now };
        assert_eq!(time(60).short(), "12:33");
        assert_eq!(time(60).exact(), "12:33:14");
        assert_eq!(time(60).full(), "2025-11-24 12:33:14 UTC");
        assert_eq!(time(86_400).short(), "11-23 12:34");
        assert_eq!(unix_millis(UNIX_EPOCH - Duration::from_secs(5)), 0);
    }
}
