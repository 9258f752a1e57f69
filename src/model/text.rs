//! The values as text for a terminal or a chat message.

use std::fmt;
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::aggregates::{Aggregates, Summary};
use super::mebibytes;
use super::snapshot::Snapshot;
use super::system::SystemMetrics;

/// A length of time in its two leading units, rounded down: `42s`, `17m`, `2h 34m`, `3d 5h`.
pub(crate) fn human(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m"),
        3_600..86_400 => format!("{hours}h {}m", minutes % 60),
        86_400.. => format!("{days}d {}h", hours % 24),
    }
}

/// The same, but with one decimal where only seconds are said: a rate stands beside it.
fn precise(time: Duration) -> String {
    if time < Duration::from_secs(60) { format!("{:.1}s", time.as_secs_f64()) } else { human(time) }
}

/// A name as it may stand in a line of text. Control characters it has none; but U+2028 and U+2029
/// begin a new line, and the characters that embed, override or isolate a direction (Unicode Standard
/// Annex 9, section 2) turn the rest of the line: of each of these there is U+FFFD instead.
fn tame(name: &str) -> String {
    let unruly = |c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    name.replace(unruly, "\u{fffd}")
}

fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// Four numbers under their names: CPU and memory of a plugin.
fn four(f: &mut fmt::Formatter<'_>, summary: &Summary, scale: f64, unit: &str) -> fmt::Result {
    let Summary { avg, min, max, p95, count: _ } = *summary;
    for (name, value) in [("avg", avg), ("min", min), ("max", max), ("p95", p95)] {
        write!(f, "  {name} {:>8.2}", value / scale)?;
    }
    write!(f, "  {unit}")
}

impl fmt::Display for Aggregates {
    /// Four lines: what was sampled, CPU, memory, events and crashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = if self.sample_count == 1 { "sample" } else { "samples" };
        let name = tame(&self.plugin_name);
        writeln!(f, "{name}: {} {samples} over {}", self.sample_count, precise(self.time_span))?;
        f.write_str("  CPU   ")?;
        match &self.cpu {
            Some(cpu) => four(f, cpu, 1.0, "% of one core")?,
            None => f.write_str("  unknown")?,
        }
        f.write_str("\n  memory")?;
        match &self.memory {
            Some(memory) => four(f, memory, 1_048_576.0, "MB")?,
            None => f.write_str("  unknown")?,
        }
        let Self { events, events_per_second, crashes, .. } = self;
        write!(f, "\n  events  {events} ({events_per_second:.2} per second)  crashes {crashes}")
    }
}

impl fmt::Display for SystemMetrics {
    /// One line of totals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugins = if self.total_plugins == 1 { "plugin" } else { "plugins" };
        write!(
            f,
            "{} {plugins}, {} running, {} crashed; {} events, {:.2} MB, up {}",
            self.total_plugins,
            self.plugins_running,
            self.plugins_crashed,
            self.total_events,
            mebibytes(self.total_memory_bytes),
            human(self.uptime),
        )
    }
}

const HEADINGS: [&str; 7] =
    ["PLUGIN", "STATE", "CPU % OF A CORE", "MEMORY MB", "EVENTS", "CRASHES", "UPTIME"];

impl fmt::Display for Snapshot {
    /// A table of all plugins, and a line of totals. State and crashes are of the revision; CPU,
    /// memory and uptime of the process that runs now, or `-`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        for plugin in self.plugins() {
            let live = plugin.live();
            rows.push([
                tame(plugin.name()),
                plugin.state().to_string(),
                or_dash(live.cpu_percent, |cpu| format!("{cpu:.2}")),
                or_dash(live.memory_bytes, |bytes| format!("{:.2}", mebibytes(bytes))),
                plugin.event_count().to_string(),
                plugin.crash_count().to_string(),
                or_dash(live.uptime, human),
            ]);
        }
        // Terminals give some characters two columns and some none.
        let width = |column: usize| {
            rows.iter().map(|row| UnicodeWidthStr::width(row[column].as_str())).max().unwrap_or(0)
        };
        let widths: [usize; HEADINGS.len()] = std::array::from_fn(width);
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let pad = widths[column] - UnicodeWidthStr::width(cell.as_str());
                let gap = if column == 0 { "" } else { "  " };
                // Words to the left, numbers to the right.
                if column < 2 {
                    write!(f, "{gap}{cell}{:pad$}", "")?;
                } else {
                    write!(f, "{gap}{:pad$}{cell}", "")?;
                }
            }
            f.write_str("\n")?;
        }
        self.system().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn seconds_have_a_decimal_and_a_minute_has_none() {
        for (millis, expected) in [(0, "0.0s"), (4_321, "4.3s"), (59_900, "59.9s"), (60_000, "1m")]
        {
            assert_eq!(precise(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn a_length_of_time_is_told_in_its_leading_units_and_rounded_down() {
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
            assert_eq!(human(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn aggregates_tell_what_is_unknown_and_say_of_what_a_percentage_is() {
        let aggregates = Aggregates {
            plugin_name: Arc::from("dice"),
            sample_count: 1,
            time_span: Duration::ZERO,
            cpu: Some(Summary { count: 1, avg: 12.5, min: 1.0, max: 120.0, p95: 99.999 }),
            memory: None,
            events: 3,
            events_per_second: 0.0,
            crashes: 2,
        };
        let expected = "\
dice: 1 sample over 0.0s
  CPU     avg    12.50  min     1.00  max   120.00  p95   100.00  % of one core
  memory  unknown
  events  3 (0.00 per second)  crashes 2";
        assert_eq!(aggregates.to_string(), expected);
    }
}
