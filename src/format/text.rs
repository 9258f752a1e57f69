//! `Display` of the public values, for a terminal or a chat message.

use std::fmt;

use unicode_width::UnicodeWidthStr;

use super::number::{counted, human_duration, mebibytes, precise_duration};
use super::report::Cost;
use super::shown::Shown;
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

/// The text of a summary after its `label`.
fn write_part(
    f: &mut fmt::Formatter<'_>,
    label: &str,
    summary: Option<&Summary>,
    scale: f64,
    unit: &str,
) -> fmt::Result {
    f.write_str(label)?;
    match summary {
        Some(summary) => write_summary(f, summary, scale, unit),
        None => f.write_str("  unknown"),
    }
}

impl fmt::Display for Aggregates {
    /// A line each for the samples, CPU, memory, and events with crashes. CPU and memory are those of
    /// the process tree; where they differ, those of the main process follow.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = sanitize(&self.plugin_name);
        let samples = counted(self.sample_count as u64, "sample", "samples");
        writeln!(f, "{name}: {samples} over {}", precise_duration(self.time_span))?;
        let (cpu_unit, mb) = ("% of one core", 1_048_576.0);
        let (cpu, memory) = (self.cpu.as_ref(), self.memory.as_ref());
        let (tree_cpu, tree_memory) = (self.tree_cpu.as_ref(), self.tree_memory.as_ref());
        // Without values of trees, there are no two values to tell apart.
        let has_tree = tree_cpu.is_some() || tree_memory.is_some();
        if has_tree && (tree_cpu, tree_memory) != (cpu, memory) {
            write_part(f, "  CPU   ", tree_cpu, 1.0, cpu_unit)?;
            write_part(f, "\n  memory", tree_memory, mb, "MB resident (sum)")?;
            write_part(f, "\n  main process\n  CPU   ", cpu, 1.0, cpu_unit)?;
        } else {
            write_part(f, "  CPU   ", cpu, 1.0, cpu_unit)?;
        }
        write_part(f, "\n  memory", memory, mb, "MB")?;
        let Self { events, events_per_second, crashes, .. } = self;
        write!(f, "\n  events  {events} ({events_per_second:.2} per second")?;
        if let Some(cost) = self.cpu_per_event {
            write!(f, ", {} CPU each", Cost(cost))?;
        }
        write!(f, ")  crashes {crashes}")
    }
}

impl fmt::Display for SystemMetrics {
    /// One line of totals. CPU and memory are those of the process trees; the number of processes is
    /// included if it is larger than the number of running plugins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} running, {} crashed; ",
            counted(self.total_plugins as u64, "plugin", "plugins"),
            self.plugins_running,
            self.plugins_crashed,
        )?;
        if self.process_count > self.plugins_running {
            let processes = counted(self.process_count as u64, "process", "processes");
            write!(f, "{processes}, ")?;
        }
        write!(
            f,
            "{}, {:.2} MB resident (sum), up {}",
            counted(self.total_events, "event", "events"),
            mebibytes(self.total_tree_memory_bytes),
            human_duration(self.uptime),
        )
    }
}

const HEADINGS: [&str; 8] =
    ["PLUGIN", "STATE", "PROCESSES", "CPU % OF A CORE", "MEMORY MB", "EVENTS", "CRASHES", "UPTIME"];
/// The column that is left out if no plugin has more than one process.
const PROCESSES: usize = 2;

impl fmt::Display for Snapshot {
    /// A table of all plugins, and a line of totals. State and crashes are those at the revision; CPU and
    /// memory those of the running process and its descendants, where memory is a sum of resident sizes;
    /// uptime is that of the process. Unknown values are `-`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        let (shown, mut has_trees) = (Shown::of(self), false);
        for plugin in self.plugins() {
            let usage = plugin.usage();
            has_trees |= usage.process_count > Some(1);
            rows.push([
                sanitize(plugin.name()),
                plugin.state().to_string(),
                or_dash(usage.process_count, |count| count.to_string()),
                or_dash(shown.cpu(&usage), |cpu| format!("{cpu:.2}")),
                or_dash(shown.memory(&usage), |bytes| format!("{:.2}", mebibytes(bytes))),
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
            let is_shown = |column| column != PROCESSES || has_trees;
            for (column, cell) in row.iter().enumerate().filter(|(column, _)| is_shown(*column)) {
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
            cpu_time: Duration::from_millis(1_250),
            events: 3,
            events_per_second: 0.0,
            cpu_per_event: Some(Duration::from_micros(416_667)),
            crashes: 2,
        };
        let expected = "\
dice: 1 sample over 0.0s
  CPU     avg    12.50  min     1.00  max   120.00  p95   100.00  % of one core
  memory  unknown
  events  3 (0.00 per second, 416.67 ms CPU each)  crashes 2";
        assert_eq!(aggregates.to_string(), expected);
        // The same values in both are stated once.
        let same = Aggregates { tree_cpu: aggregates.cpu, ..aggregates.clone() };
        assert_eq!(same.to_string(), expected);
    }

    #[test]
    fn aggregates_text_has_tree_before_main_process() {
        let summary =
            |value: f64| Summary { count: 1, avg: value, min: value, max: value, p95: value };
        let mb = |mb: f64| Some(summary(mb * 1_048_576.0));
        let aggregates = Aggregates {
            plugin_name: Arc::from("dice"),
            sample_count: 2,
            time_span: Duration::from_secs(5),
            cpu: Some(summary(1.0)),
            memory: mb(8.0),
            tree_cpu: Some(summary(120.5)),
            tree_memory: mb(64.0),
            cpu_time: Duration::ZERO,
            events: 0,
            events_per_second: 0.0,
            cpu_per_event: None,
            crashes: 0,
        };
        let expected = "\
dice: 2 samples over 5.0s
  CPU     avg   120.50  min   120.50  max   120.50  p95   120.50  % of one core
  memory  avg    64.00  min    64.00  max    64.00  p95    64.00  MB resident (sum)
  main process
  CPU     avg     1.00  min     1.00  max     1.00  p95     1.00  % of one core
  memory  avg     8.00  min     8.00  max     8.00  p95     8.00  MB
  events  0 (0.00 per second)  crashes 0";
        assert_eq!(aggregates.to_string(), expected);
    }
}
