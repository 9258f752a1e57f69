//! The history of a plugin as a file: CSV or JSON.

use std::fmt::Write as _;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_DISPOSITION;
use axum::response::Response;
use serde::Serialize;
use tokio::task::yield_now;

use super::history_range::HistoryRange;
use super::to_json::append_json;
#[cfg(feature = "store")]
use crate::StoredPoint;
use crate::format::number::{megabytes, round2, timestamp};
use crate::{Downsampler, PluginState, PluginView, Point, RunId, ValueRange};

pub(super) const CSV: &str = "text/csv; charset=utf-8";
/// Samples that are read before other tasks of the thread can run.
const SAMPLES_PER_YIELD: u64 = 4_096;

/// The columns of the CSV, and the keys of the JSON.
const COLUMNS: [&str; 13] = [
    "timestamp",
    "plugin",
    "run",
    "version",
    "state",
    "cpu_percent",
    "cpu_average",
    "memory_mb",
    "tree_cpu_percent",
    "tree_cpu_average",
    "tree_memory_mb",
    "event_count",
    "crash_count",
];

/// A point of the history: one sample, or the largest values and the average of several.
#[derive(Debug, Serialize)]
struct HistoryRow<'a> {
    timestamp: String,
    plugin: &'a str,
    run: Option<RunId>,
    version: Option<&'a str>,
    state: PluginState,
    cpu_percent: Option<f64>,
    cpu_average: Option<f64>,
    memory_mb: Option<f64>,
    tree_cpu_percent: Option<f64>,
    tree_cpu_average: Option<f64>,
    tree_memory_mb: Option<f64>,
    event_count: u64,
    crash_count: u64,
}

fn max(range: Option<ValueRange>) -> Option<f64> {
    range.map(|range| round2(range.max))
}

fn avg(range: Option<ValueRange>) -> Option<f64> {
    range.map(|range| round2(range.avg))
}

fn mb(range: Option<ValueRange>) -> Option<f64> {
    range.map(|range| megabytes(range.max as u64))
}

/// A cell with a number; empty if it is unknown.
fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

impl<'a> HistoryRow<'a> {
    /// `version` is that of the point's run, which may be older than those that the view lists.
    fn new(view: PluginView<'a>, point: &Point, version: Option<&'a str>) -> Self {
        Self {
            timestamp: timestamp(point.timestamp),
            plugin: view.name(),
            run: point.run,
            version,
            state: point.state,
            cpu_percent: max(point.cpu_percent),
            cpu_average: avg(point.cpu_percent),
            memory_mb: mb(point.memory),
            tree_cpu_percent: max(point.tree_cpu_percent),
            tree_cpu_average: avg(point.tree_cpu_percent),
            tree_memory_mb: mb(point.tree_memory),
            event_count: point.event_count,
            crash_count: point.crash_count,
        }
    }

    /// A line of the CSV, in the order of [`COLUMNS`]. Unknown values are empty.
    fn write_csv(&self, out: &mut String) {
        let run = serde_json::to_string(&self.run).unwrap_or_default();
        let cells = [
            self.timestamp.clone(),
            text_cell(self.plugin),
            if self.run.is_some() { run } else { String::new() },
            text_cell(self.version.unwrap_or_default()),
            self.state.to_string(),
            number(self.cpu_percent),
            number(self.cpu_average),
            number(self.memory_mb),
            number(self.tree_cpu_percent),
            number(self.tree_cpu_average),
            number(self.tree_memory_mb),
            self.event_count.to_string(),
            self.crash_count.to_string(),
        ];
        let _ = write!(out, "{}\r\n", cells.join(","));
    }
}

/// A cell with a text of the host, by RFC 4180. A spreadsheet would compute a text that starts like a
/// formula: an apostrophe before it makes it a text.
fn text_cell(text: &str) -> String {
    let first = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control());
    let is_formula = first
        .starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
        || text.starts_with(['\t', '\r', '\n']);
    let apostrophe = if is_formula { "'" } else { "" };
    if is_formula || text.contains([',', '"', '\r', '\n', ';', '\t', '\'']) {
        format!("\"{apostrophe}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The points of the range, at most `max`.
async fn for_each_point<'a>(
    view: PluginView<'a>,
    range: HistoryRange,
    max: usize,
    mut write: impl FnMut(HistoryRow<'a>),
) {
    let (oldest, samples) = range.samples(view);
    let newest = (oldest + samples.len() as u64).saturating_sub(1).max(oldest);
    let mut downsampler = Downsampler::new(oldest, newest, max);
    // A point has the run of its newest sample.
    let mut version = None;
    for (tick, sample) in (oldest..).zip(samples) {
        if let Some(point) = downsampler.push(tick, &sample) {
            write(HistoryRow::new(view, &point, version));
        }
        version = sample.version;
        if (tick + 1).is_multiple_of(SAMPLES_PER_YIELD) {
            yield_now().await;
        }
    }
    if let Some(point) = downsampler.finish() {
        write(HistoryRow::new(view, &point, version));
    }
}

/// The points as CSV, under a line with the columns' names.
pub(super) async fn csv(view: PluginView<'_>, range: HistoryRange, max: usize) -> Bytes {
    let mut out = COLUMNS.join(",") + "\r\n";
    for_each_point(view, range, max, |row| row.write_csv(&mut out)).await;
    out.into()
}

/// The points as JSON: an array of objects.
pub(super) async fn json(view: PluginView<'_>, range: HistoryRange, max: usize) -> Bytes {
    let mut out = vec![b'['];
    for_each_point(view, range, max, |row| {
        out.extend_from_slice(if out.len() > 1 { b",\n" } else { b"\n" });
        append_json(&mut out, &row);
    })
    .await;
    out.extend_from_slice(b"\n]\n");
    out.into()
}

/// The columns of the CSV with values of a store. A point of it is a sample, or the largest values and the
/// averages of a minute, an hour or more of them.
#[cfg(feature = "store")]
const STORED_COLUMNS: [&str; 12] = [
    "timestamp",
    "plugin",
    "sample_count",
    "state",
    "cpu_percent",
    "cpu_average",
    "memory_mb",
    "tree_cpu_percent",
    "tree_cpu_average",
    "tree_memory_mb",
    "events",
    "crashes",
];

/// Points of a store as CSV, under a line with the columns' names. Unknown values are empty.
#[cfg(feature = "store")]
pub(super) fn stored_csv(name: &str, points: &[StoredPoint]) -> Bytes {
    let mut out = STORED_COLUMNS.join(",") + "\r\n";
    for point in points {
        let cells = [
            timestamp(point.timestamp),
            text_cell(name),
            point.sample_count.to_string(),
            point.state.map_or_else(String::new, |state| state.to_string()),
            number(max(point.cpu_percent)),
            number(avg(point.cpu_percent)),
            number(mb(point.memory)),
            number(max(point.tree_cpu_percent)),
            number(avg(point.tree_cpu_percent)),
            number(mb(point.tree_memory)),
            point.events.to_string(),
            point.crashes.to_string(),
        ];
        let _ = write!(out, "{}\r\n", cells.join(","));
    }
    out.into()
}

/// Points of a store as JSON: an array of objects.
#[cfg(feature = "store")]
pub(super) fn stored_json(points: &[StoredPoint]) -> Bytes {
    let mut out = vec![b'['];
    for (index, point) in points.iter().enumerate() {
        out.extend_from_slice(if index > 0 { b",\n" } else { b"\n" });
        append_json(&mut out, point);
    }
    out.extend_from_slice(b"\n]\n");
    out.into()
}

/// Makes the response a file to save. Its name is that of the plugin without the characters that have a
/// meaning in a path or a header.
pub(super) fn as_file(mut response: Response, name: &str, extension: &str) -> Response {
    const MAX_CHARS: usize = 64;
    let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name: String =
        name.chars().take(MAX_CHARS).map(|c| if is_safe(c) { c } else { '_' }).collect();
    let value = format!("attachment; filename=\"plugmeter-{name}.{extension}\"");
    let value = HeaderValue::from_str(&value).expect("the name is ASCII without quotes");
    response.headers_mut().insert(CONTENT_DISPOSITION, value);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cell_is_no_formula() {
        for (text, cell) in [
            ("dice", "dice"),
            ("", ""),
            ("a b-c=d", "a b-c=d"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-2", "\"'-2\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            (" =1", "\"' =1\""),
            ("\t=1", "\"'\t=1\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
            ("\rx", "\"'\rx\""),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
        ] {
            assert_eq!(text_cell(text), cell, "{text:?}");
        }
    }

    #[test]
    fn file_name_has_no_special_characters() {
        let name = |name: &str| {
            let response = as_file(Response::default(), name, "csv");
            response.headers()[CONTENT_DISPOSITION].to_str().unwrap().to_owned()
        };
        assert_eq!(name("dice"), "attachment; filename=\"plugmeter-dice.csv\"");
        let hostile = "../\"; filename=\"a.exe";
        let expected = "attachment; filename=\"plugmeter-______filename__a_exe.csv\"";
        assert_eq!(name(hostile), expected);
        assert!(name(&"\u{fc}".repeat(200)).len() < 110);
    }
}
