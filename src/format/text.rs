//! `Display` of the public values, for a terminal or a chat message.

use std::fmt;

use unicode_width::UnicodeWidthStr;

use super::number::{human_duration, mebibytes, precise_duration};
use crate::snapshot::Snapshot;
use crate::snapshot::aggregates::{Aggregates, Summary};
use crate::snapshot::system::SystemMetrics;

/// A name that is safe in a line of text. Names have no control characters; but U+2028 and U+2029
/// begin a new line, and the characters that embed, override or isolate a direction (Unicode Standard
/// Annex 9, section 2) reorder the rest of the line: each of these becomes U+FFFD.
pub(crate) fn sanitize(name: &str) -> String {
    let is_unsafe = |c| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    name.replace(is_unsafe, "\u{fffd}")
}

fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

fn write_summary(
    f: &mut fmt::Formatter<'_>,
    summary: &Summary,
    scale: f64,
    unit: &str,
) -> fmt::Result {
    let Summary { avg, min, max, p95, count: _ } = *summary;
    for (name, value) in [("avg", avg), ("min", min), ("max", max), ("p95", p95)] {
        write!(f, "  {name} {:>8.2}", value / scale)?;
    }
    write!(f, "  {unit}")
}

impl fmt::Display for Aggregates {
    /// Four lines: the samples, CPU, memory, events and crashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = if self.sample_count == 1 { "sample" } else { "samples" };
        let name = sanitize(&self.plugin_name);
        writeln!(
            f,
            "{name}: {} {samples} over {}",
            self.sample_count,
            precise_duration(self.time_span)
        )?;
        f.write_str("  CPU   ")?;
        match &self.cpu {
            Some(cpu) => write_summary(f, cpu, 1.0, "% of one core")?,
            None => f.write_str("  unknown")?,
        }
        f.write_str("\n  memory")?;
        match &self.memory {
            Some(memory) => write_summary(f, memory, 1_048_576.0, "MB")?,
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
            "{} {plugins}, {} running, {} crashed; {} events, {:.2} MB resident (sum), up {}",
            self.total_plugins,
            self.plugins_running,
            self.plugins_crashed,
            self.total_events,
            mebibytes(self.total_memory_bytes),
            human_duration(self.uptime),
        )
    }
}

const HEADINGS: [&str; 7] =
    ["PLUGIN", "STATE", "CPU % OF A CORE", "MEMORY MB", "EVENTS", "CRASHES", "UPTIME"];

impl fmt::Display for Snapshot {
    /// A table of all plugins, and a line of totals. State and crashes are the revision's; CPU,
    /// memory and uptime those of the running process, or `-`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        for plugin in self.plugins() {
            let usage = plugin.usage();
            rows.push([
                sanitize(plugin.name()),
                plugin.state().to_string(),
                or_dash(usage.cpu_percent, |cpu| format!("{cpu:.2}")),
                or_dash(usage.memory_bytes, |bytes| format!("{:.2}", mebibytes(bytes))),
                plugin.event_count().to_string(),
                plugin.crash_count().to_string(),
                or_dash(usage.uptime, human_duration),
            ]);
        }
        // Some characters take two columns of a terminal, and some none.
        let width = |column: usize| {
            rows.iter().map(|row| UnicodeWidthStr::width(row[column].as_str())).max().unwrap_or(0)
        };
        let widths: [usize; HEADINGS.len()] = std::array::from_fn(width);
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let pad = widths[column] - UnicodeWidthStr::width(cell.as_str());
                let gap = if column == 0 { "" } else { "  " };
                // Text is left-aligned, numbers are right-aligned.
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn aggregates_text_states_units_and_unknown_values() {
        let aggregates = Aggregates {
            plugin_name: Arc::from("dice"),
            sample_count: 1,
            time_span: Duration::ZERO,
            cpu: Some(Summary { count: 1, avg: 12.5, min: 1.0, max: 120.0, p95: 99.999 }),
            memory: None,
            tree_cpu: None,
            tree_memory: None,
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
