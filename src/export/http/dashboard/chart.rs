//! Charts: the values of a history, and the SVG paths that draw them. Pure functions.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::history_range::HistoryRange;
use crate::format::shown::Shown;
use crate::{Downsampler, PluginView, Point, RunId, Sample};

/// A time in seconds since 1970, and a value. `None` breaks the line.
pub(in crate::export::http) type Dot = (f64, Option<f64>);

/// The values and events of one plugin that a chart shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::export::http) struct Trace {
    /// Percent of one core.
    pub cpu: Vec<Dot>,
    /// Bytes.
    pub memory: Vec<Dot>,
    /// Events per second since the previous point.
    pub rate: Vec<Dot>,
    /// When a run began that was not the first.
    pub restarts: Vec<f64>,
    pub crashes: Vec<f64>,
    /// The newest values of CPU and memory, where the lines end higher.
    raised: Option<[Option<f64>; 2]>,
    /// The indexes of the dots that only break the line.
    breaks: Vec<usize>,
    /// The run of the newest point.
    last_run: Option<RunId>,
}

/// The values of a trace at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TracePoint {
    pub at: f64,
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
    pub rate: Option<f64>,
    pub has_restart: bool,
    pub has_crash: bool,
}

/// Seconds since 1970; 0 before that.
pub(in crate::export::http) fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Trace {
    /// A part of the history of a plugin in at most `max_points` points.
    pub(super) fn of_view(view: PluginView<'_>, range: HistoryRange, max_points: usize) -> Self {
        let (oldest, samples) = range.samples(view);
        let snapshot = view.snapshot();
        let shown = Shown::of(snapshot);
        Self::new(samples, oldest, snapshot.poll_interval(), max_points, shown)
    }

    /// The points, each with what happened since the one before it.
    pub(super) fn points(&self) -> impl Iterator<Item = TracePoint> {
        let mut before = f64::NEG_INFINITY;
        let last = self.cpu.len().saturating_sub(1);
        let values = self.cpu.iter().zip(&self.memory).zip(&self.rate).enumerate();
        let values = values.filter(|(index, _)| self.breaks.binary_search(index).is_err());
        values.map(move |(index, ((cpu, memory), rate))| {
            let raised = self.raised.filter(|_| index == last);
            let [cpu_value, memory_value] = raised.unwrap_or([cpu.1, memory.1]);
            let at = cpu.0;
            let has = |times: &[f64]| times.iter().any(|&time| time > before && time <= at);
            let point = TracePoint {
                at,
                cpu: cpu_value,
                memory: memory_value,
                rate: rate.1,
                has_restart: has(&self.restarts),
                has_crash: has(&self.crashes),
            };
            before = before.max(at);
            point
        })
    }

    /// Samples of consecutive ticks from `oldest` on, in at most `max_points` points. Besides, there
    /// is a break between two samples that are more than one and a half intervals apart, and where
    /// the clock was set back.
    fn new<'a>(
        samples: impl ExactSizeIterator<Item = Sample<'a>>,
        oldest: u64,
        interval: Duration,
        max_points: usize,
        shown: Shown,
    ) -> Self {
        let mut trace = Self::default();
        let max_gap = interval.as_secs_f64() * 1.5;
        let newest = (oldest + samples.len() as u64).saturating_sub(1).max(oldest);
        let mut downsampler = Downsampler::new(oldest, newest, max_points);
        let mut before: Option<Sample<'_>> = None;
        let mut run: Option<RunId> = None;
        let mut events: Option<(f64, u64)> = None;
        // If a bucket contains a gap, the line breaks before the bucket.
        let mut gap = None;
        for (tick, sample) in (oldest..).zip(samples) {
            let at = unix_seconds(sample.timestamp);
            if let Some(point) = downsampler.push(tick, &sample) {
                trace.push(&point, gap.take(), &mut events, shown);
            }
            if let Some(before) = before {
                let elapsed = at - unix_seconds(before.timestamp);
                if elapsed > max_gap || elapsed < 0.0 {
                    gap = Some(unix_seconds(before.timestamp));
                }
                if sample.crash_count > before.crash_count {
                    trace.crashes.push(at);
                }
            }
            if sample.run.is_some() && sample.run != run {
                if run.is_some() {
                    trace.restarts.push(at);
                }
                run = sample.run;
            }
            before = Some(sample);
        }
        let is_incomplete = !(newest + 1).is_multiple_of(downsampler.bucket_ticks());
        if let Some(point) = downsampler.finish() {
            let is_joined = is_incomplete && gap.is_none() && trace.last_run == point.run;
            trace.push(&point, gap, &mut events, shown);
            if is_joined {
                trace.raise_last();
            }
        }
        trace
    }

    /// The newest bucket is incomplete. The maximum of its few values is usually less than that of a
    /// complete bucket, so that the line would always fall at its end: this makes its value at least
    /// that of the previous bucket.
    fn raise_last(&mut self) {
        self.raised =
            self.cpu.last().zip(self.memory.last()).map(|(cpu, memory)| [cpu.1, memory.1]);
        for dots in [&mut self.cpu, &mut self.memory] {
            if let [.., (_, Some(before)), (_, Some(last))] = &mut dots[..] {
                *last = last.max(*before);
            }
        }
    }

    /// Adds a dot without values, which only breaks the lines.
    pub(in crate::export::http) fn break_line(&mut self, at: f64) {
        self.breaks.push(self.cpu.len());
        for dots in [&mut self.cpu, &mut self.memory, &mut self.rate] {
            dots.push((at, None));
        }
    }

    fn push(
        &mut self,
        point: &Point,
        gap: Option<f64>,
        events: &mut Option<(f64, u64)>,
        shown: Shown,
    ) {
        if let Some(at) = gap {
            self.break_line(at);
            *events = None;
        }
        self.last_run = point.run;
        let at = unix_seconds(point.timestamp);
        let rate = events.and_then(|(then, count)| {
            let elapsed = at - then;
            (elapsed > 0.0).then(|| point.event_count.saturating_sub(count) as f64 / elapsed)
        });
        *events = Some((at, point.event_count));
        self.cpu.push((at, shown.point_cpu(point).map(|cpu| cpu.max)));
        self.memory.push((at, shown.point_memory(point).map(|memory| memory.max)));
        self.rate.push((at, rate));
    }
}

/// The largest value; `None` without values.
pub(super) fn largest(dots: &[Dot]) -> Option<f64> {
    dots.iter().filter_map(|dot| dot.1).reduce(f64::max)
}

/// The smallest value; `None` without values.
pub(super) fn smallest(dots: &[Dot]) -> Option<f64> {
    dots.iter().filter_map(|dot| dot.1).reduce(f64::min)
}

/// The smallest number of the form 1, 2, 2.5 or 5 times a power of ten that is at least `value`.
pub(super) fn round_up(value: f64) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return 1.0;
    }
    // `log10` and `powf` may be off by a little on some platforms, and 100 would become 200.
    let mut power = 1.0;
    while power * 10.0 <= value {
        power *= 10.0;
    }
    while power > value {
        power /= 10.0;
    }
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|&step| step >= value).unwrap_or(power * 10.0)
}

/// Maps times and values to the coordinates of a rectangle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub from: f64,
    pub to: f64,
    pub low: f64,
    pub high: f64,
    pub width: f64,
    pub height: f64,
}

/// Space for half of a stroke at the upper and the lower edge.
const INSET: f64 = 1.5;

impl Scale {
    fn x(&self, at: f64) -> f64 {
        share(at, self.from, self.to) * self.width
    }

    fn y(&self, value: f64) -> f64 {
        let inner = self.height - 2.0 * INSET;
        INSET + (1.0 - share(value, self.low, self.high)) * inner
    }

    /// The line through `dots`, broken where there is no value. A dot between two breaks is a line
    /// of no length, which a round end makes visible.
    pub(super) fn line(&self, dots: &[Dot]) -> String {
        let mut path = String::with_capacity(dots.len() * 9);
        for segment in segments(dots) {
            self.stroke(&mut path, segment);
            if segment.len() == 1 {
                path.push_str("h0");
            }
        }
        path
    }

    /// The area under that line.
    pub(super) fn area(&self, dots: &[Dot]) -> String {
        let mut path = String::with_capacity(dots.len() * 9);
        for segment in segments(dots).filter(|segment| segment.len() > 1) {
            self.stroke(&mut path, segment);
            path.push('V');
            number(&mut path, self.height);
            path.push('H');
            number(&mut path, self.x(segment[0].0));
            path.push('Z');
        }
        path
    }

    fn stroke(&self, path: &mut String, segment: &[Dot]) {
        for (nth, (at, value)) in segment.iter().enumerate() {
            path.push(if nth == 0 { 'M' } else { 'L' });
            number(path, self.x(*at));
            path.push(' ');
            number(path, self.y(value.unwrap_or(self.low)));
        }
    }

    /// A vertical line at each of the times that are in the rectangle; a short one at the lower edge, if
    /// there are so many that they would cover the values.
    pub(super) fn vertical_lines(&self, times: &[f64]) -> String {
        const MIN_DISTANCE: f64 = 12.0;
        let is_dense = self.inside(times).count() as f64 * MIN_DISTANCE > self.width;
        let top = if is_dense { self.height * 0.94 } else { 0.0 };
        let mut path = String::new();
        for &at in self.inside(times) {
            path.push('M');
            number(&mut path, self.x(at));
            path.push(' ');
            number(&mut path, top);
            path.push('V');
            number(&mut path, self.height);
        }
        path
    }

    /// A dot at the top at each of the times that are in the rectangle: a line of length 0 with a thick
    /// round stroke, which keeps its shape when the rectangle is stretched.
    pub(super) fn dots(&self, times: &[f64]) -> String {
        let mut path = String::new();
        for &at in self.inside(times) {
            path.push('M');
            number(&mut path, self.x(at).clamp(2.0, (self.width - 2.0).max(2.0)));
            path.push_str(" 4h0");
        }
        path
    }

    /// A horizontal line at each of the values that are in the rectangle.
    pub(super) fn horizontal_lines(&self, values: &[f64]) -> String {
        let mut path = String::new();
        for &value in values.iter().filter(|value| (self.low..=self.high).contains(*value)) {
            path.push_str("M0 ");
            number(&mut path, self.y(value));
            path.push('H');
            number(&mut path, self.width);
        }
        path
    }

    /// A rectangle of the full height from one time to another, and at least as wide as a few pixels.
    /// Nothing outside of the range.
    pub(super) fn span(&self, from: f64, to: f64) -> String {
        const MIN_WIDTH: f64 = 4.0;
        if to < self.from || from > self.to {
            return String::new();
        }
        let end = self.x(to).max((self.x(from) + MIN_WIDTH).min(self.width));
        let start = self.x(from).min(end - MIN_WIDTH);
        let mut path = String::from("M");
        number(&mut path, start);
        path.push_str(" 0H");
        number(&mut path, end);
        path.push('V');
        number(&mut path, self.height);
        path.push('H');
        number(&mut path, start);
        path.push('Z');
        path
    }

    fn inside<'a>(&self, times: &'a [f64]) -> impl Iterator<Item = &'a f64> {
        let (from, to) = (self.from, self.to);
        times.iter().filter(move |&&at| at >= from && at <= to)
    }
}

/// The longest sequences of dots that have a value.
fn segments(dots: &[Dot]) -> impl Iterator<Item = &[Dot]> {
    dots.split(|dot| dot.1.is_none()).filter(|segment| !segment.is_empty())
}

/// The position of `value` between `low` and `high`, from 0 to 1.
fn share(value: f64, low: f64, high: f64) -> f64 {
    let share = (value - low) / (high - low);
    if share.is_nan() { 0.5 } else { share.clamp(0.0, 1.0) }
}

/// Writes one decimal, and only if it is not zero, because paths are most of the transmitted data.
fn number(path: &mut String, value: f64) {
    let tenths = (value * 10.0).round() as i64;
    let _ = match tenths % 10 {
        0 => write!(path, "{}", tenths / 10),
        decimal => write!(path, "{}.{decimal}", tenths / 10),
    };
}

#[cfg(test)]
mod tests;
