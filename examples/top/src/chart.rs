//! Graphs of block characters: a column for each part of the time, blank where no value is known.

use std::time::Duration;

use plugmeter::{History, Sample};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

const BLOCKS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The time that a graph covers, up to the newest tick.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub span: Duration,
    /// The time between two samples.
    pub interval: Duration,
}

impl Axis {
    /// Returns the largest value in each of `width` equal parts of the time, or `None` without one.
    ///
    /// A sample covers the interval before it. The graph has a gap where a sample has no value, and
    /// where samples are missing because a tick was late.
    pub fn columns<'a>(
        &self,
        history: History<'a>,
        width: u16,
        value: impl Fn(&Sample<'a>) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let mut columns = vec![None; usize::from(width)];
        let (mut back, mut later) = (Duration::ZERO, None);
        for sample in history.rev() {
            if let Some(later) = later.replace(sample.timestamp) {
                // If the clock was set back in between, the ticks were still one interval apart.
                back += later.duration_since(sample.timestamp).unwrap_or(self.interval);
            }
            let Some(value) = value(&sample) else { continue };
            for column in self.covered(back, &mut columns) {
                *column = Some(column.map_or(value, |largest: f64| largest.max(value)));
            }
        }
        columns
    }

    /// The columns of the interval before a sample of this age.
    fn covered<'c>(&self, back: Duration, columns: &'c mut [Option<f64>]) -> &'c mut [Option<f64>] {
        let width = columns.len();
        let scale = width as f64 / self.span.as_secs_f64();
        // Columns from the right; a sample on the edge between two belongs to one of them only.
        let newest = (back.as_secs_f64() * scale + 1e-6).floor() as usize;
        let oldest = ((back + self.interval).as_secs_f64() * scale - 1e-6).ceil() as usize;
        let (from, to) = (width.saturating_sub(oldest), width.saturating_sub(newest));
        columns.get_mut(from..to).unwrap_or_default()
    }
}

/// Returns the top of the scale for these columns: a round number, at least `lowest`.
///
/// A value that exceeds it by less than 1 % is drawn at the top: a busy thread may read 100.4 % of
/// a core.
pub fn scale(columns: &[Option<f64>], lowest: f64) -> f64 {
    let largest = columns.iter().copied().flatten().fold(lowest / 1.05, f64::max);
    let ten = 10f64.powf(largest.log10().floor());
    let round = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0].map(|digit| digit * ten);
    round.into_iter().find(|top| largest <= top * 1.05).unwrap_or(10.0 * ten).max(lowest)
}

/// Draws columns in the height of `area`, from 0 to `top`. A known value is never blank, not even
/// 0.
pub fn draw(buf: &mut Buffer, area: Rect, columns: &[Option<f64>], top: f64, style: Style) {
    let area = area.intersection(buf.area);
    let steps = f64::from(area.height) * BLOCKS.len() as f64;
    for (x, value) in (area.left()..area.right()).zip(columns) {
        let Some(value) = value else { continue };
        let mut filled = (value / top * steps).round().clamp(1.0, steps) as usize;
        for y in (area.top()..area.bottom()).rev() {
            if filled == 0 {
                break;
            }
            let here = filled.min(BLOCKS.len());
            buf[(x, y)].set_symbol(BLOCKS[here - 1]).set_style(style);
            filled -= here;
        }
    }
}
