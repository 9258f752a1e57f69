//! Numbers, durations and times as text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A megabyte in text and JSON has this many bytes.
pub(crate) const BYTES_PER_MB: f64 = 1_048_576.0;

/// MB of 1,048,576 bytes.
#[allow(clippy::cast_precision_loss)] // exact up to 2^53 bytes, and rounded for display anyway
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / BYTES_PER_MB
}

/// `value` with this many decimals, rounded as `{:.N}` rounds.
pub(crate) fn rounded(value: f64, decimals: u8) -> f64 {
    // Exact, which `powi` does not guarantee.
    let scale = f64::from(10_u32.pow(u32::from(decimals)));
    let scaled = value * scale;
    // The product is off by less than a millionth where it is below a thousand million. Farther
    // from a tie than that it rounds as the value itself does, and the quotient of two exact
    // numbers is what their decimals would be parsed as.
    let from_tie = (scaled.abs().fract() - 0.5).abs();
    if scaled.abs() < 1e9 && from_tie > 1e-6 {
        return scaled.round() / scale;
    }
    // Formatting rounds the exact value of the number.
    let decimals = usize::from(decimals);
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

pub(crate) fn round2(value: f64) -> f64 {
    rounded(value, 2)
}

/// Bytes as MB of 1,048,576 bytes with two decimals.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    round2(mebibytes(bytes))
}

/// A number with the noun that fits it: `1 event`, `2 events`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// RFC 3339, UTC, milliseconds. Times outside the years of the format become its first or last.
pub(crate) fn timestamp(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_millis(253_402_300_799_999);
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

/// A duration in its two leading units, rounded down: `42s`, `17m`, `2h 34m`, `3d 5h`.
pub(crate) fn human_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m"),
        3_600..86_400 => format!("{hours}h {}m", minutes % 60),
        86_400.. => format!("{days}d {}h", hours % 24),
    }
}

/// [`human_duration`], but with one decimal under a minute.
pub(crate) fn precise_duration(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        format!("{:.1}s", time.as_secs_f64())
    } else {
        human_duration(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn round2_rounds_like_formatting() {
        for (value, expected) in [(1.005, 1.0), (2.675, 2.67), (0.125, 0.12), (12.345_6, 12.35)] {
            assert_eq!(round2(value).to_bits(), f64::to_bits(expected), "{value}");
        }
    }

    #[test]
    fn rounding_agrees_with_formatting_at_ties() {
        let by_formatting = |value: f64, decimals: u8| -> f64 {
            let decimals = usize::from(decimals);
            format!("{value:.decimals$}").parse().unwrap()
        };
        let mut values = vec![0.0, -0.0, f64::MIN_POSITIVE, f64::MAX, 1e15, 9_999_999.995, 1e-300];
        // So large that the fast path would lose the second decimal.
        values.push(1e15 + 0.875);
        for i in 0..if cfg!(miri) { 3 } else { 40_000u32 } {
            // Ties, as near as there are numbers, and those on both sides of them.
            let tie = f64::from(i) / 200.0;
            values.extend([tie, tie.next_up(), tie.next_down(), tie + 5e-9, tie - 5e-9]);
            let random = f64::from(i.wrapping_mul(2_654_435_761)) / 4_096.7;
            values.extend([random, -random, random / 1e5]);
        }
        for value in values {
            for decimals in [1, 2, 4, 6] {
                let (actual, expected) = (rounded(value, decimals), by_formatting(value, decimals));
                assert_eq!(actual.to_bits(), expected.to_bits(), "{value:e} to {decimals}");
            }
        }
    }

    #[test]
    fn timestamps_are_clamped_to_rfc_3339() {
        assert_eq!(timestamp(at(1_763_987_654_321)), "2025-11-24T12:34:14.321Z");
        assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        let far = UNIX_EPOCH + Duration::from_secs(400_000_000_000);
        assert_eq!(timestamp(far), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn precise_duration_has_decimal_under_a_minute() {
        for (millis, expected) in [(0, "0.0s"), (4_321, "4.3s"), (59_900, "59.9s"), (60_000, "1m")]
        {
            assert_eq!(precise_duration(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn human_duration_rounds_down_to_two_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (17 * 60 + 59, "17m"),
            (3_600, "1h 0m"),
            (2 * 3_600 + 34 * 60 + 59, "2h 34m"),
            (86_399, "23h 59m"),
            (86_400, "1d 0h"),
            (3 * 86_400 + 5 * 3_600 + 3_599, "3d 5h"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(seconds)), expected);
        }
    }
}
