//! The small charts of a row.

use serde::Serialize;

use super::super::history_range::HistoryRange;
use super::chart::{Scale, Trace, largest, smallest};
use super::threshold::{threshold, thresholds};
use super::time_range::time_range;
use crate::format::number::BYTES_PER_MB;
use crate::{LimitMetric, PluginView, Window};

/// SVG paths over the whole history.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Sparklines {
    pub cpu: String,
    pub memory: String,
    pub cpu_limit: String,
    pub memory_limit: String,
    pub restarts: String,
    pub crashes: String,
}

/// The whole history.
const RANGE: HistoryRange = HistoryRange { window: Window::All, zoom: None };

/// The size in units of the SVG, which are pixels in the style sheet.
const WIDTH: f64 = 96.0;
const HEIGHT: f64 = 24.0;
/// As many points as can be distinguished in that width.
const MAX_POINTS: usize = 48;

impl Sparklines {
    /// The CPU axis ranges from 0 to at least the limit (half a core without one), so that an idle plugin has a flat line
    /// and a busy one stands out.
    pub(super) fn new(view: PluginView<'_>) -> Self {
        let trace = Trace::of_view(view, RANGE, MAX_POINTS);
        let (from, to) = time_range(view.snapshot(), RANGE);
        let scale = |low, high| Scale { from, to, low, high, width: WIDTH, height: HEIGHT };
        let min_top = threshold(view, LimitMetric::CpuPercent).unwrap_or(50.0).clamp(1.0, 100.0);
        let cpu = scale(0.0, largest(&trace.cpu).unwrap_or(0.0).max(min_top));
        let limits = thresholds(view, LimitMetric::MemoryMb, BYTES_PER_MB);
        let (low, high) = memory_range(&trace, &limits);
        let memory = scale(low, high);
        Self {
            cpu: cpu.line(&trace.cpu),
            memory: memory.line(&trace.memory),
            cpu_limit: cpu.horizontal_lines(&thresholds(view, LimitMetric::CpuPercent, 1.0)),
            memory_limit: memory.horizontal_lines(&limits),
            restarts: cpu.vertical_lines(&trace.restarts),
            crashes: cpu.dots(&trace.crashes),
        }
    }
}

/// The range of the memory axis: at least a tenth of the largest value and at least a megabyte, so
/// that small changes do not look large. It contains the limits that are at most half as high again.
fn memory_range(trace: &Trace, limits: &[f64]) -> (f64, f64) {
    let low = smallest(&trace.memory).unwrap_or(0.0);
    let high = largest(&trace.memory).unwrap_or(0.0);
    let near = limits.iter().filter(|&&limit| limit >= low && limit <= high * 1.5);
    let high = near.fold(high, |high, &limit| high.max(limit));
    let min_range = (high / 10.0).max(1_048_576.0);
    let missing = (min_range - (high - low)).max(0.0);
    (low - missing / 2.0, high + missing / 2.0)
}
