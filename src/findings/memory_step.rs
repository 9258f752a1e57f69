//! Memory that rose within a minute, and stayed.

use super::columns::{Columns, is_known};
use super::episodes::{Rung, Series};
use super::finding::{Finding, FindingKind};
use super::growth::median_kib;
use super::ladder::Level;

const RUNGS: [Rung; 1] = [Rung {
    level: Level::All9,
    factor: 1.05,
    over: Level::Med9,
    over_factor: 1.05,
    mean: Level::Raw,
    guard: 36,
    reference: 60,
    spreads: 6.0,
    ratio: 1.25,
    least: 16_384.0,
    single: 1.0,
    single_ratio: 0.0,
    is_brief: false,
}];
/// This share of the rise is to happen within a minute, or it is growth.
const SUDDEN: f32 = 0.6;
/// Samples whose median is a value.
const SAMPLES: usize = 9;

/// From the sample `start` on, which is of the active run; `series` is a buffer.
pub(super) fn judge(columns: &Columns<'_>, start: usize, series: &mut Series) -> Option<Finding> {
    series.clear();
    for (sample, &kib) in columns.kib.iter().enumerate().skip(start) {
        if is_known(kib) {
            series.push(sample, kib);
        }
    }
    let n = series.values.len();
    let episode = series.episodes(&RUNGS, columns.first).pop().filter(|last| last.to == n)?;
    let after = series.level_at_entry(&episode);
    let from = series.onset(&episode, after);
    let (values, buffer) = (&series.values, &mut series.buffer);
    let before = median_kib(&values[from.saturating_sub(SAMPLES)..from.max(1)], buffer);
    let then = median_kib(&values[from..(from + SAMPLES).min(n)], buffer);
    let rise = (after - episode.before) * 1_024.0;
    if (then as f32 - before as f32) < SUDDEN * rise {
        return None;
    }
    let now = median_kib(&values[from.max(n.saturating_sub(SAMPLES))..], buffer);
    let kind = FindingKind::MemoryStep { before, now };
    Some(Finding::new(columns.view(), columns.onset(series.sample(from)), kind))
}
