//! The charts on the page of a plugin, with their numbers and labels.

use std::time::SystemTime;

use serde::Serialize;

use super::chart::{Dot, Scale, largest, round_up, smallest};
use super::finding_marks::{ChartKind, FindingMarks};
use super::format::{self, NONE};
use super::range_values::RangeValues;
use super::row::Row;
use super::threshold::thresholds;
use crate::findings::Finding;
use crate::format::number::BYTES_PER_MB;
use crate::{LimitMetric, PluginView};

/// The size in units of the SVG; the style sheet stretches it.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 160.0;
/// An axis contains a limit that is at most this many times the largest value. Others are stated.
const MAX_LIMIT_RATIO: f64 = 4.0;

/// One chart.
#[derive(Debug, Serialize)]
pub(super) struct ChartPanel {
    #[serde(skip)]
    pub key: &'static str,
    #[serde(skip)]
    pub title: &'static str,
    pub now: String,
    /// A description for screen readers.
    pub summary: String,
    /// Average, minimum, p95, maximum, and the limits; the latter are empty without any.
    pub stats: [String; 5],
    pub line: String,
    pub area: String,
    pub limit: String,
    pub restarts: String,
    pub crashes: String,
    pub marks: FindingMarks,
    /// At the top, the middle and the bottom of the axis.
    pub labels: [String; 3],
    /// The lowest and the highest value of the axis, in the unit of the script's points.
    pub range: [f64; 2],
    /// Whether the window has no value.
    pub is_empty: bool,
}

/// The charts of CPU, memory and events.
pub(super) fn chart_panels(
    view: PluginView<'_>,
    row: &Row<'_>,
    values: &RangeValues,
) -> [ChartPanel; 3] {
    let snapshot = view.snapshot();
    let RangeValues { trace, time_range: (from, to), in_range, stats, .. } = values;
    let (from, to) = (*from, *to);
    let scale = |low, high| Scale { from, to, low, high, width: WIDTH, height: HEIGHT };
    let marks = Marks {
        restarts: &trace.restarts,
        crashes: &trace.crashes,
        findings: &row.findings,
        now: snapshot.sampled_at(),
    };

    let limits = thresholds(view, LimitMetric::CpuPercent, 1.0);
    let top = round_up(with_limits(largest(&trace.cpu).unwrap_or(0.0), &limits).max(1.0));
    let cpu = ChartSource {
        key: "cpu",
        kind: ChartKind::Cpu,
        title: "CPU, % of one core",
        now: row.cpu.clone(),
        dots: &trace.cpu,
        scale: scale(0.0, top),
        unit: 1.0,
        limits: &limits,
        format: &|value| format::percent(value),
        label: &|value| axis_label(value, top),
    };
    let cpu = cpu.panel(stats.cpu, in_range, marks);

    let limits = thresholds(view, LimitMetric::MemoryMb, BYTES_PER_MB);
    let (min, max) = (smallest(&trace.memory), largest(&trace.memory));
    let max = max.map(|max| with_limits(max, &limits));
    let [min, max] = [min, max].map(|bytes| bytes.unwrap_or(0.0) / BYTES_PER_MB);
    let (low, high) = round_range(min, max);
    let memory = ChartSource {
        key: "memory",
        kind: ChartKind::Memory,
        title: if snapshot.has_process_trees() {
            "Resident memory (sum), MB"
        } else {
            "Memory, MB"
        },
        now: row.memory.clone(),
        dots: &trace.memory,
        scale: scale(low * BYTES_PER_MB, high * BYTES_PER_MB),
        unit: BYTES_PER_MB,
        limits: &limits,
        format: &|value| format::megabytes(value / BYTES_PER_MB),
        label: &|value| axis_label(value / BYTES_PER_MB, high - low),
    };
    let memory = memory.panel(stats.memory, in_range, marks);

    let limits = thresholds(view, LimitMetric::EventsPerSecond, 1.0);
    let top = round_up(with_limits(largest(&trace.rate).unwrap_or(0.0), &limits).max(1.0));
    let rate = ChartSource {
        key: "rate",
        kind: ChartKind::Rate,
        title: "Events per second",
        now: row.rate.clone(),
        dots: &trace.rate,
        scale: scale(0.0, top),
        unit: 1.0,
        limits: &limits,
        format: &|value| format::rate(value),
        label: &|value| axis_label(value, top),
    };
    let mut rate = rate.panel(None, in_range, marks);
    if !rate.is_empty {
        let (min, max) = (smallest(&trace.rate), largest(&trace.rate));
        let [min, max] = [min, max].map(|rate| format::rate(rate.unwrap_or(0.0)));
        let average = format::rate(stats.events_per_second);
        let events = stats.events;
        rate.summary = format!("{in_range} {events} events, {average} per second; at most {max}.");
        let [.., limits] = rate.stats;
        rate.stats = [average, min, NONE.to_owned(), max, limits];
    }
    [cpu, memory, rate]
}

/// The largest value that an axis contains: the largest limit that is near `max`, or `max`.
fn with_limits(max: f64, limits: &[f64]) -> f64 {
    let near = limits.iter().filter(|&&limit| limit <= max * MAX_LIMIT_RATIO);
    near.fold(max, |top, &limit| top.max(limit))
}

/// The times of restarts and crashes, and the findings.
#[derive(Clone, Copy)]
struct Marks<'a> {
    restarts: &'a [f64],
    crashes: &'a [f64],
    findings: &'a [Finding],
    now: SystemTime,
}

/// The values and the formats of a chart.
struct ChartSource<'a> {
    key: &'static str,
    kind: ChartKind,
    title: &'static str,
    now: String,
    dots: &'a [Dot],
    scale: Scale,
    /// One of the script's units, in those of the scale.
    unit: f64,
    limits: &'a [f64],
    format: &'a dyn Fn(f64) -> String,
    label: &'a dyn Fn(f64) -> String,
}

impl ChartSource<'_> {
    fn panel(self, stats: Option<[f64; 4]>, in_range: &str, marks: Marks<'_>) -> ChartPanel {
        let Self { key, kind, title, now, dots, scale, unit, limits, format, label } = self;
        let stats = stats.map(|stats| stats.map(format));
        let limit_texts: Vec<_> = limits.iter().map(|&limit| format(limit)).collect();
        let limit_text = limit_texts.join(", ");
        let mut summary = stats.as_ref().map_or_else(
            || format!("{in_range} no known values."),
            |[avg, min, p95, max]| {
                format!("{in_range} on average {avg}, from {min} to {max}; p95 {p95}; now {now}.")
            },
        );
        if !limits.is_empty() {
            summary.push_str(&format!(" Limit {limit_text}."));
        }
        let middle = f64::midpoint(scale.low, scale.high);
        let [avg, min, p95, max] = stats.unwrap_or_else(|| [(); 4].map(|()| NONE.to_owned()));
        ChartPanel {
            key,
            title,
            now,
            summary,
            stats: [avg, min, p95, max, limit_text],
            line: scale.line(dots),
            // A filled area implies that the axis begins at 0.
            area: if scale.low == 0.0 { scale.area(dots) } else { String::new() },
            limit: scale.horizontal_lines(limits),
            restarts: scale.vertical_lines(marks.restarts),
            crashes: scale.dots(marks.crashes),
            marks: FindingMarks::new(marks.findings, kind, scale, marks.now),
            labels: [scale.high, middle, scale.low].map(label),
            range: [scale.low / unit, scale.high / unit],
            is_empty: largest(dots).is_none(),
        }
    }
}

/// A label of an axis of that length, with the decimals that distinguish the labels.
fn axis_label(value: f64, length: f64) -> String {
    let decimals = match length {
        8.0.. => 0,
        0.8..8.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// Round numbers below and above these, and not too close to each other.
fn round_range(low: f64, high: f64) -> (f64, f64) {
    let step = round_up(((high - low) / 2.0).max(high / 40.0).max(0.5));
    let bottom = (low / step).floor() * step;
    let mut top = bottom + 2.0 * step;
    while top < high {
        top += 2.0 * step;
    }
    (bottom, top)
}
