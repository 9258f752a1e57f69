//! Charts: what is drawn of a history, and the paths of an SVG that draw it. Pure functions.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Downsampler, Point, RunId, Sample};

/// A moment and a value, in seconds since 1970. `None` breaks the line.
pub(super) type Dot = (f64, Option<f64>);

/// What is drawn of the history of one plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Trace {
    /// Percent of one core.
    pub cpu: Vec<Dot>,
    /// Bytes.
    pub memory: Vec<Dot>,
    /// Events per second, since the point before.
    pub rate: Vec<Dot>,
    /// When a process was followed by another.
    pub restarts: Vec<f64>,
    pub crashes: Vec<f64>,
    /// Of the newest point.
    run_of_last: Option<RunId>,
}

/// Seconds since 1970; before it, 0.
pub(super) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Trace {
    /// Of samples of the ticks from `oldest` on, thinned to `points` at most, but for the breaks
    /// where more than one and a half intervals lie between two of them, or the clock was set back.
    pub(super) fn of<'a>(
        samples: impl ExactSizeIterator<Item = Sample<'a>>,
        oldest: u64,
        interval: Duration,
        points: usize,
    ) -> Self {
        let mut trace = Self::default();
        let longest = interval.as_secs_f64() * 1.5;
        let newest = (oldest + samples.len() as u64).saturating_sub(1).max(oldest);
        let mut downsampler = Downsampler::new(oldest, newest, points);
        let mut before: Option<Sample<'_>> = None;
        let mut run: Option<RunId> = None;
        let mut events: Option<(f64, u64)> = None;
        // Where a bucket has a gap in it the line breaks before the bucket.
        let mut gap = None;
        for (tick, sample) in (oldest..).zip(samples) {
            let at = seconds(sample.timestamp);
            let closed = downsampler.push(tick, &sample);
            if let Some(point) = closed {
                trace.push(&point, gap.take(), &mut events);
            }
            if let Some(before) = before {
                let passed = at - seconds(before.timestamp);
                if passed > longest || passed < 0.0 {
                    gap = Some(seconds(before.timestamp));
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
        let is_cut = !(newest + 1).is_multiple_of(downsampler.bucket_ticks());
        if let Some(point) = downsampler.finish() {
            let joins = is_cut && gap.is_none() && trace.run_of_last == point.run;
            trace.push(&point, gap, &mut events);
            if joins {
                trace.join_last();
            }
        }
        trace
    }

    /// The newest bucket is not full yet. The largest of its few values is mostly less than that of
    /// a full one, and the line would fall at its end, always: the largest of both is drawn there.
    fn join_last(&mut self) {
        for dots in [&mut self.cpu, &mut self.memory] {
            if let [.., (_, Some(before)), (_, Some(last))] = &mut dots[..] {
                *last = last.max(*before);
            }
        }
    }

    fn push(&mut self, point: &Point, gap: Option<f64>, events: &mut Option<(f64, u64)>) {
        if let Some(at) = gap {
            for dots in [&mut self.cpu, &mut self.memory, &mut self.rate] {
                dots.push((at, None));
            }
            *events = None;
        }
        self.run_of_last = point.run;
        let at = seconds(point.timestamp);
        let rate = events.and_then(|(then, count)| {
            let passed = at - then;
            (passed > 0.0).then(|| point.event_count.saturating_sub(count) as f64 / passed)
        });
        *events = Some((at, point.event_count));
        self.cpu.push((at, point.cpu_percent.map(|cpu| cpu.max)));
        self.memory.push((at, point.memory.map(|memory| memory.max)));
        self.rate.push((at, rate));
    }
}

/// The largest value; `None` without one.
pub(super) fn largest(dots: &[Dot]) -> Option<f64> {
    dots.iter().filter_map(|dot| dot.1).reduce(f64::max)
}

/// The smallest value; `None` without one.
pub(super) fn smallest(dots: &[Dot]) -> Option<f64> {
    dots.iter().filter_map(|dot| dot.1).reduce(f64::min)
}

/// The least number of the form 1, 2, 2.5 or 5 times a power of ten that is not below `value`.
pub(super) fn round_up(value: f64) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|&step| step >= value).unwrap_or(power * 10.0)
}

/// A rectangle, and which moments and values its edges are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub from: f64,
    pub to: f64,
    pub low: f64,
    pub high: f64,
    pub width: f64,
    pub height: f64,
}

/// Room for half of a stroke at the upper and the lower edge.
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
        for piece in pieces(dots) {
            self.stroke(&mut path, piece);
            if piece.len() == 1 {
                path.push_str("h0");
            }
        }
        path
    }

    /// What is under that line.
    pub(super) fn area(&self, dots: &[Dot]) -> String {
        let mut path = String::with_capacity(dots.len() * 9);
        for piece in pieces(dots).filter(|piece| piece.len() > 1) {
            self.stroke(&mut path, piece);
            path.push('V');
            number(&mut path, self.height);
            path.push('H');
            number(&mut path, self.x(piece[0].0));
            path.push('Z');
        }
        path
    }

    fn stroke(&self, path: &mut String, piece: &[Dot]) {
        for (nth, (at, value)) in piece.iter().enumerate() {
            path.push(if nth == 0 { 'M' } else { 'L' });
            number(path, self.x(*at));
            path.push(' ');
            number(path, self.y(value.unwrap_or(self.low)));
        }
    }

    /// A line from top to bottom at each moment that is in the rectangle.
    pub(super) fn uprights(&self, moments: &[f64]) -> String {
        let mut path = String::new();
        for &at in self.inside(moments) {
            path.push('M');
            number(&mut path, self.x(at));
            path.push_str(" 0V");
            number(&mut path, self.height);
        }
        path
    }

    /// A point at the top at each moment that is in the rectangle: its stroke is thick and round,
    /// so it keeps its shape however the rectangle is stretched.
    pub(super) fn marks(&self, moments: &[f64]) -> String {
        let mut path = String::new();
        for &at in self.inside(moments) {
            path.push('M');
            number(&mut path, self.x(at).clamp(2.0, (self.width - 2.0).max(2.0)));
            path.push_str(" 4h0");
        }
        path
    }

    /// A line across, if `value` is inside.
    pub(super) fn level(&self, value: f64) -> String {
        if !(self.low..=self.high).contains(&value) {
            return String::new();
        }
        let mut path = String::from("M0 ");
        number(&mut path, self.y(value));
        path.push('H');
        number(&mut path, self.width);
        path
    }

    fn inside<'a>(&self, moments: &'a [f64]) -> impl Iterator<Item = &'a f64> {
        let (from, to) = (self.from, self.to);
        moments.iter().filter(move |&&at| at >= from && at <= to)
    }
}

/// Dots with a value that have no dot without one between them.
fn pieces(dots: &[Dot]) -> impl Iterator<Item = &[Dot]> {
    dots.split(|dot| dot.1.is_none()).filter(|piece| !piece.is_empty())
}

/// Where `value` is between `low` and `high`, from 0 to 1.
fn share(value: f64, low: f64, high: f64) -> f64 {
    let share = (value - low) / (high - low);
    if share.is_nan() { 0.5 } else { share.clamp(0.0, 1.0) }
}

/// With one decimal, and that only where it is not zero: paths are most of what is sent.
fn number(path: &mut String, value: f64) {
    let tenths = (value * 10.0).round() as i64;
    let _ = match tenths % 10 {
        0 => write!(path, "{}", tenths / 10),
        decimal => write!(path, "{}.{decimal}", tenths / 10),
    };
}

#[cfg(test)]
mod tests;
