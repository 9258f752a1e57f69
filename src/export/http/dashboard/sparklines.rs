//! The small charts of a row.

use serde::Serialize;

use super::chart::{Scale, Trace, largest, smallest};
use super::threshold::threshold;
use super::time_range::time_range;
use crate::{LimitMetric, PluginView, Window};

/// SVG paths over the whole history.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Sparklines {
    pub cpu: String,
    pub memory: String,
    pub restarts: String,
    pub crashes: String,
}

/// The size in units of the SVG, which are pixels in the style sheet.
const WIDTH: f64 = 96.0;
const HEIGHT: f64 = 24.0;
/// As many points as can be distinguished in that width.
const MAX_POINTS: usize = 48;

impl Sparklines {
    /// The CPU axis ranges from 0 to at least the limit (half a core without one), so that an idle plugin has a flat line
    /// and a busy one stands out.
    pub(super) fn new(view: PluginView<'_>) -> Self {
        let trace = Trace::of_view(view, Window::All, MAX_POINTS);
        let (from, to) = time_range(view.snapshot(), Window::All);
        let scale = |low, high| Scale { from, to, low, high, width: WIDTH, height: HEIGHT };
        let min_top = threshold(view, LimitMetric::CpuPercent).unwrap_or(50.0).clamp(1.0, 100.0);
        let cpu = scale(0.0, largest(&trace.cpu).unwrap_or(0.0).max(min_top));
        let (low, high) = memory_range(&trace);
        Self {
            cpu: cpu.line(&trace.cpu),
            memory: scale(low, high).line(&trace.memory),
            restarts: cpu.vertical_lines(&trace.restarts),
            crashes: cpu.dots(&trace.crashes),
        }
    }
}

/// The range of the memory axis: at least a tenth of the largest value and at least a megabyte, so
/// that small changes do not look large.
fn memory_range(trace: &Trace) -> (f64, f64) {
    let low = smallest(&trace.memory).unwrap_or(0.0);
    let high = largest(&trace.memory).unwrap_or(0.0);
    let min_range = (high / 10.0).max(1_048_576.0);
    let missing = (min_range - (high - low)).max(0.0);
    (low - missing / 2.0, high + missing / 2.0)
}
