//! Numbers and times as a person reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::format::number::{human_duration, mebibytes, timestamp};

/// In the place of a value that a process should have, and that is not known.
pub(super) const UNKNOWN: &str = "unknown";
/// In the place of a value that there cannot be: there is no process.
pub(super) const NONE: &str = "\u{2013}";
const MINUS: char = '\u{2212}';

/// `97.1 %`.
pub(super) fn percent(value: f64) -> String {
    format!("{value:.1}\u{a0}%")
}

/// `97 %`; with a decimal where it is needed to tell it from nothing.
pub(super) fn about(value: f64) -> String {
    if value < 10.0 { percent(value) } else { format!("{value:.0}\u{a0}%") }
}

/// `140.2 MB`, as far as three digits and more tell something.
pub(super) fn memory(bytes: u64) -> String {
    megabytes(mebibytes(bytes))
}

/// The same of a number of MB.
pub(super) fn megabytes(mb: f64) -> String {
    let decimals = usize::from(mb < 1_000.0);
    format!("{mb:.decimals$}\u{a0}MB")
}

/// `+40.2 MB`, `−1.5 MB`, `±0`.
pub(super) fn change(bytes: i64) -> String {
    let size = mebibytes(bytes.unsigned_abs());
    if size < 0.05 {
        return "\u{b1}0".to_owned();
    }
    let sign = if bytes < 0 { MINUS } else { '+' };
    format!("{sign}{}", megabytes(size))
}

/// Events per second.
pub(super) fn rate(value: f64) -> String {
    match value {
        ..0.005 => "0".to_owned(),
        0.005..0.995 => format!("{value:.2}"),
        0.995..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// `once`, `twice`, `3 times`.
pub(super) fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{count} times"),
    }
}

/// `hour`, `10 minutes`, `5 s`: what comes after "in the last".
pub(super) fn span(time: Duration) -> String {
    let one = |count: u64, unit: &str| match count {
        1 => unit.to_owned(),
        _ => format!("{count} {unit}s"),
    };
    match time.as_secs() {
        0 => format!("{:.1}\u{a0}s", time.as_secs_f64()),
        seconds @ 1..120 => format!("{seconds}\u{a0}s"),
        seconds @ 120..7_200 if seconds.abs_diff(3_600) < 60 => one(1, "hour"),
        seconds @ 120..7_200 => one(seconds / 60, "minute"),
        seconds @ 7_200..172_800 => one(seconds.div_ceil(60) / 60, "hour"),
        seconds => one(seconds / 86_400, "day"),
    }
}

/// `1 h`, `15 min`, `30 s`: where there is little room.
pub(super) fn brief(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0 if !time.is_zero() => (time.as_millis() as u64, "ms"),
        seconds if seconds % 86_400 == 0 && seconds > 0 => (seconds / 86_400, "d"),
        seconds if seconds % 3_600 == 0 && seconds > 0 => (seconds / 3_600, "h"),
        seconds if seconds % 60 == 0 && seconds > 0 => (seconds / 60, "min"),
        0..7_200 => (seconds, "s"),
        _ => (seconds / 3_600, "h"),
    };
    format!("{count}\u{a0}{unit}")
}

/// `921,540`.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (nth, digit) in digits.char_indices() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How long something took: to the tenth where it was short.
pub(super) fn length(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        format!("{:.1}s", time.as_secs_f64())
    } else {
        human_duration(time)
    }
}

/// `Data 3 s old`.
pub(super) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("Data {seconds}\u{a0}s old"),
        seconds @ 120..7_200 => format!("Data {}\u{a0}min old", seconds / 60),
        seconds => format!("Data {}\u{a0}h old", seconds / 3_600),
    }
}

/// One moment. In the page it is in UTC, for those without a script; the script shows it in the
/// browser's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub at: SystemTime,
    /// What is of another day is told with its date.
    pub now: SystemTime,
}

impl Moment {
    /// As `datetime` has it.
    pub(super) fn machine(self) -> String {
        timestamp(self.at)
    }

    /// For the title: with date and zone.
    pub(super) fn full(self) -> String {
        let text = timestamp(self.at);
        format!("{} {} UTC", &text[..10], &text[11..19])
    }

    /// `14:02`, or `11-23 14:02` of another day.
    pub(super) fn short(self) -> String {
        let (text, now) = (timestamp(self.at), timestamp(self.now));
        if text[..10] == now[..10] {
            text[11..16].to_owned()
        } else {
            format!("{} {}", &text[5..10], &text[11..16])
        }
    }

    /// With the seconds.
    pub(super) fn exact(self) -> String {
        let (text, now) = (timestamp(self.at), timestamp(self.now));
        if text[..10] == now[..10] {
            text[11..19].to_owned()
        } else {
            format!("{} {}", &text[5..10], &text[11..19])
        }
    }

    /// For the script.
    pub(super) fn millis(self) -> u64 {
        millis(self.at)
    }
}

/// Milliseconds since 1970; 0 for what is before.
pub(super) fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_tell_something() {
        assert_eq!(percent(97.06), "97.1\u{a0}%");
        assert_eq!([about(9.96), about(97.06)], ["10.0\u{a0}%", "97\u{a0}%"]);
        assert_eq!(memory(147_010_355), "140.2\u{a0}MB");
        assert_eq!(memory(4 << 30), "4096\u{a0}MB");
        assert_eq!(
            [change(40 << 20), change(-(3 << 19))],
            ["+40.0\u{a0}MB", "\u{2212}1.5\u{a0}MB"]
        );
        assert_eq!([change(0), change(-50_000), change(i64::MIN)].map(|s| s.len() < 24), [true; 3]);
        assert_eq!(change(1_000), "\u{b1}0");
        assert_eq!([0.0, 0.25, 3.2, 99.94, 250.4].map(rate), ["0", "0.25", "3.2", "99.9", "250"]);
        assert_eq!([7, 921, 1_000, 1_234_567].map(count), ["7", "921", "1,000", "1,234,567"]);
        assert_eq!(brief(Duration::from_micros(250_500)), "250\u{a0}ms");
        let told = [0, 30, 900, 3_600, 90_000, 90_001, 86_400].map(Duration::from_secs).map(brief);
        let expected = ["0 s", "30 s", "15 min", "1 h", "25 h", "25 h", "1 d"];
        assert_eq!(told.map(|text| text.replace('\u{a0}', " ")), expected);
        assert_eq!([1, 2, 3].map(times), ["once", "twice", "3 times"]);
    }

    #[test]
    fn a_span_is_told_as_one_says_it() {
        let told = [0, 5, 600, 3_595, 3_600, 5_400, 7_200, 86_400, 604_800];
        let told = told.map(|seconds| span(Duration::from_secs(seconds)));
        let expected = [
            "0.0\u{a0}s",
            "5\u{a0}s",
            "10 minutes",
            "hour",
            "hour",
            "90 minutes",
            "2 hours",
            "24 hours",
            "7 days",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_moment_of_another_day_is_told_with_its_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_763_987_654);
        let moment = |ago| Moment { at: now - Duration::from_secs(ago), now };
        assert_eq!(moment(60).short(), "12:33");
        assert_eq!(moment(60).exact(), "12:33:14");
        assert_eq!(moment(60).full(), "2025-11-24 12:33:14 UTC");
        assert_eq!(moment(86_400).short(), "11-23 12:34");
        assert_eq!(Moment { at: UNIX_EPOCH - Duration::from_secs(5), now }.millis(), 0);
    }

    #[test]
    fn the_age_is_told_in_one_unit() {
        let told = [0.9, 3.0, 119.0, 120.0, 7_200.0].map(|s| age(Duration::from_secs_f64(s)));
        let expected = ["0\u{a0}s", "3\u{a0}s", "119\u{a0}s", "2\u{a0}min", "2\u{a0}h"];
        assert_eq!(told, expected.map(|age| format!("Data {age} old")));
    }
}
