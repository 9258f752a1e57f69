//! The values of the charts as numbers: for the cursor, and as a table.

use serde::Serialize;

use super::chart::{Trace, TracePoint};
use super::display_time::DisplayTime;
use super::format::{self, NONE};
use crate::Snapshot;
use crate::format::number::{BYTES_PER_MB, round2};

/// Milliseconds since 1970, CPU in percent, memory in MB, events per second, and what happened since
/// the point before.
pub(super) type ChartPoint = (u64, Option<f64>, Option<f64>, Option<f64>, &'static str);

fn millis(seconds: f64) -> u64 {
    (seconds * 1_000.0).round() as u64
}

const fn note(point: &TracePoint) -> &'static str {
    match (point.has_restart, point.has_crash) {
        (false, false) => "",
        (true, false) => "restart",
        (false, true) => "crash",
        (true, true) => "crash, restart",
    }
}

/// The points of the charts, without those that only break the line.
pub(super) fn chart_points(trace: &Trace) -> Vec<ChartPoint> {
    let point = |point: TracePoint| {
        let memory = point.memory.map(|bytes| round2(bytes / BYTES_PER_MB));
        let note = note(&point);
        (millis(point.at), point.cpu.map(round2), memory, point.rate.map(round2), note)
    };
    trace.points().map(point).collect()
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct DataRow {
    pub at: u64,
    #[serde(skip)]
    pub time: DisplayTime,
    /// CPU, memory, events per second, and what happened since the row before.
    pub cells: [String; 4],
}

/// The points as rows, oldest first.
pub(super) fn data_rows(trace: &Trace, snapshot: &Snapshot) -> Vec<DataRow> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let row = |point: TracePoint| DataRow {
        at: millis(point.at),
        time: DisplayTime::from_millis(millis(point.at), snapshot),
        cells: [
            or_none(point.cpu.map(format::percent)),
            or_none(point.memory.map(|bytes| format::megabytes(bytes / BYTES_PER_MB))),
            or_none(point.rate.map(format::rate)),
            note(&point).to_owned(),
        ],
    };
    trace.points().map(row).collect()
}
