//! The charts on the page of a plugin, with their numbers and labels.

use serde::Serialize;

use super::chart::{Dot, Scale, largest, round_up, smallest};
use super::format::{self, NONE};
use super::row::Row;
use super::threshold::threshold;
use super::window_values::WindowValues;
use crate::{LimitMetric, PluginView};

/// The size in units of the SVG; the style sheet stretches it.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 160.0;

const BYTES_PER_MB: f64 = 1_048_576.0;

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
    /// Average, minimum, p95, maximum.
    pub stats: [String; 4],
    pub line: String,
    pub area: String,
    pub limit: String,
    pub restarts: String,
    pub crashes: String,
    /// At the top, the middle and the bottom of the axis.
    pub labels: [String; 3],
    /// Whether the window has no value.
    pub is_empty: bool,
}

/// The charts of CPU, memory and events.
pub(super) fn chart_panels(
    view: PluginView<'_>,
    row: &Row<'_>,
    values: &WindowValues,
) -> [ChartPanel; 3] {
    let WindowValues { trace, range: (from, to), .. } = values;
    let (from, to) = (*from, *to);
    let scale = |low, high| Scale { from, to, low, high, width: WIDTH, height: HEIGHT };
    let span = format::span(values.length);
    let marks = Marks { restarts: &trace.restarts, crashes: &trace.crashes };

    let top = round_up(largest(&trace.cpu).unwrap_or(0.0).max(1.0));
    let cpu = ChartSource {
        key: "cpu",
        title: "CPU, % of one core",
        now: row.cpu.clone(),
        dots: &trace.cpu,
        scale: scale(0.0, top),
        limit: threshold(view, LimitMetric::CpuPercent).unwrap_or(f64::INFINITY),
        format: &|value| format::percent(value),
        label: &|value| axis_label(value, top),
    };
    let cpu = cpu.panel(values.cpu, &span, marks);

    let (min, max) = (smallest(&trace.memory), largest(&trace.memory));
    let [min, max] = [min, max].map(|bytes| bytes.unwrap_or(0.0) / BYTES_PER_MB);
    let (low, high) = round_range(min, max);
    let memory = ChartSource {
        key: "memory",
        title: if view.snapshot().has_process_trees() {
            "Resident memory (sum), MB"
        } else {
            "Memory, MB"
        },
        now: row.memory.clone(),
        dots: &trace.memory,
        scale: scale(low * BYTES_PER_MB, high * BYTES_PER_MB),
        limit: threshold(view, LimitMetric::MemoryMb).map_or(f64::INFINITY, |mb| mb * BYTES_PER_MB),
        format: &|value| format::megabytes(value / BYTES_PER_MB),
        label: &|value| axis_label(value / BYTES_PER_MB, high - low),
    };
    let memory = memory.panel(values.memory, &span, marks);

    let top = round_up(largest(&trace.rate).unwrap_or(0.0).max(1.0));
    let rate = ChartSource {
        key: "rate",
        title: "Events per second",
        now: row.rate.clone(),
        dots: &trace.rate,
        scale: scale(0.0, top),
        limit: threshold(view, LimitMetric::EventsPerSecond).unwrap_or(f64::INFINITY),
        format: &|value| format::rate(value),
        label: &|value| axis_label(value, top),
    };
    let mut rate = rate.panel(None, &span, marks);
    if !rate.is_empty {
        let (min, max) = (smallest(&trace.rate), largest(&trace.rate));
        let [min, max] = [min, max].map(|rate| format::rate(rate.unwrap_or(0.0)));
        let average = format::rate(values.events_per_second);
        let events = values.events;
        rate.summary =
            format!("In the last {span} {events} events, {average} per second; at most {max}.");
        rate.stats = [average, min, NONE.to_owned(), max];
    }
    [cpu, memory, rate]
}

/// The times of restarts and crashes.
#[derive(Clone, Copy)]
struct Marks<'a> {
    restarts: &'a [f64],
    crashes: &'a [f64],
}

/// The values and the formats of a chart.
struct ChartSource<'a> {
    key: &'static str,
    title: &'static str,
    now: String,
    dots: &'a [Dot],
    scale: Scale,
    limit: f64,
    format: &'a dyn Fn(f64) -> String,
    label: &'a dyn Fn(f64) -> String,
}

impl ChartSource<'_> {
    fn panel(self, stats: Option<[f64; 4]>, span: &str, marks: Marks<'_>) -> ChartPanel {
        let Self { key, title, now, dots, scale, limit, format, label } = self;
        let stats = stats.map(|stats| stats.map(format));
        let summary = stats.as_ref().map_or_else(
            || format!("No known values in the last {span}."),
            |[avg, min, p95, max]| {
                format!("In the last {span} on average {avg}, from {min} to {max}; p95 {p95}; now {now}.")
            },
        );
        let middle = f64::midpoint(scale.low, scale.high);
        ChartPanel {
            key,
            title,
            now,
            summary,
            stats: stats.unwrap_or_else(|| [(); 4].map(|()| NONE.to_owned())),
            line: scale.line(dots),
            // A filled area implies that the axis begins at 0.
            area: if scale.low == 0.0 { scale.area(dots) } else { String::new() },
            limit: scale.horizontal_line(limit),
            restarts: scale.vertical_lines(marks.restarts),
            crashes: scale.dots(marks.crashes),
            labels: [scale.high, middle, scale.low].map(label),
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
