//! Counts and durations in words, for sentences.

use std::time::Duration;

/// `once`, `twice`, `3 times`.
pub(crate) fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{count} times"),
    }
}

/// The words that follow "in the last": `hour`, `10 minutes`, `5 s`.
pub(crate) fn span(time: Duration) -> String {
    let plural = |count: u64, unit: &str| match count {
        1 => unit.to_owned(),
        _ => format!("{count} {unit}s"),
    };
    match time.as_secs() {
        0 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 1..120 => format!("{seconds} s"),
        // The history of an hour spans one interval less than an hour.
        seconds @ 120..7_200 if seconds.abs_diff(3_600) < 60 => plural(1, "hour"),
        seconds @ 120..7_200 => plural(seconds / 60, "minute"),
        seconds @ 7_200..172_800 => plural(seconds.div_ceil(60) / 60, "hour"),
        seconds => plural(seconds / 86_400, "day"),
    }
}

/// With an article: `an hour`, `10 minutes`, `5 s`.
pub(crate) fn length(time: Duration) -> String {
    let text = span(time);
    // Minutes and days are never single.
    if text == "hour" { format!("an {text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_has_words_for_one_and_two() {
        assert_eq!([1, 2, 3].map(times), ["once", "twice", "3 times"]);
    }

    #[test]
    fn span_uses_largest_fitting_unit() {
        for (seconds, expected) in [
            (0, "0.0 s"),
            (5, "5 s"),
            (600, "10 minutes"),
            (3_595, "hour"),
            (3_600, "hour"),
            (5_400, "90 minutes"),
            (7_200, "2 hours"),
            (86_400, "24 hours"),
            (604_800, "7 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn length_of_an_hour_has_an_article() {
        for (seconds, expected) in [(59, "59 s"), (3_595, "an hour"), (7_200, "2 hours")] {
            assert_eq!(length(Duration::from_secs(seconds)), expected);
        }
        // The shortest and the longest of each unit.
        for seconds in [120, 7_199, 172_799, 172_800] {
            assert!(length(Duration::from_secs(seconds)).ends_with('s'), "{seconds}");
        }
    }
}
