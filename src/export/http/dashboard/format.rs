//! Numbers and durations on a page.

use std::time::Duration;

use crate::format::display;
use crate::format::number::mebibytes;

/// Shown for a value of a process that is unknown.
pub(super) const UNKNOWN: &str = "unknown";
/// Shown for a value without a process.
pub(super) const NONE: &str = "\u{2013}";
const MINUS: char = '\u{2212}';

/// `97.1 %`.
pub(super) fn percent(value: f64) -> String {
    format!("{value:.1}\u{a0}%")
}

/// `140.2 MB`; from 1,000 MB on without a decimal.
pub(super) fn memory(bytes: u64) -> String {
    megabytes(mebibytes(bytes))
}

/// [`memory`] of a number of MB.
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

/// Events per second, with at least two significant digits where they matter.
pub(super) fn rate(value: f64) -> String {
    match value {
        ..0.005 => "0".to_owned(),
        0.005..0.995 => format!("{value:.2}"),
        0.995..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The words that follow "in the last": `hour`, `10 minutes`, `5 s`.
pub(super) fn span(time: Duration) -> String {
    let text = display::span(time);
    match text.strip_suffix(" s") {
        Some(seconds) => format!("{seconds}\u{a0}s"),
        None => text,
    }
}

/// `1 h`, `15 min`, `30 s`, for little space.
pub(super) fn short_duration(time: Duration) -> String {
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

/// `Data 3 s old`.
pub(super) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("Data {seconds}\u{a0}s old"),
        seconds @ 120..7_200 => format!("Data {}\u{a0}min old", seconds / 60),
        seconds => format!("Data {}\u{a0}h old", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_significant_digits() {
        assert_eq!(percent(97.06), "97.1\u{a0}%");
        assert_eq!(memory(147_010_355), "140.2\u{a0}MB");
        assert_eq!(memory(4 << 30), "4096\u{a0}MB");
        assert_eq!([0.0, 0.25, 3.2, 99.94, 250.4].map(rate), ["0", "0.25", "3.2", "99.9", "250"]);
        assert_eq!([7, 921, 1_000, 1_234_567].map(count), ["7", "921", "1,000", "1,234,567"]);
    }

    #[test]
    fn change_has_a_sign() {
        let changes = [change(40 << 20), change(-(3 << 19)), change(1_000), change(0)];
        let expected = ["+40.0\u{a0}MB", "\u{2212}1.5\u{a0}MB", "\u{b1}0", "\u{b1}0"];
        assert_eq!(changes, expected);
        assert!(change(i64::MIN).len() < 24);
    }

    #[test]
    fn short_duration_has_one_unit() {
        assert_eq!(short_duration(Duration::from_micros(250_500)), "250\u{a0}ms");
        let durations = [0, 30, 900, 3_600, 90_000, 90_001, 86_400].map(Duration::from_secs);
        let expected = ["0 s", "30 s", "15 min", "1 h", "25 h", "25 h", "1 d"];
        assert_eq!(durations.map(|time| short_duration(time).replace('\u{a0}', " ")), expected);
    }

    #[test]
    fn span_in_seconds_does_not_break() {
        assert_eq!(span(Duration::from_secs(5)), "5\u{a0}s");
        assert_eq!(span(Duration::from_secs(600)), "10 minutes");
    }

    #[test]
    fn age_has_one_unit() {
        let ages = [0.9, 3.0, 119.0, 120.0, 7_200.0].map(|s| age(Duration::from_secs_f64(s)));
        let expected = ["0\u{a0}s", "3\u{a0}s", "119\u{a0}s", "2\u{a0}min", "2\u{a0}h"];
        assert_eq!(ages, expected.map(|age| format!("Data {age} old")));
    }
}
