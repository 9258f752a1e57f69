//! Findings about events: silence, and surges.

use super::columns::{Columns, MINUTE, is_known};
use super::episodes::{Rung, Series};
use super::finding::{Finding, FindingKind};
use super::ladder::Level;
use super::stats::{mean, quantile};

const RUNGS: [Rung; 2] = [
    Rung {
        level: Level::All9,
        factor: 1.4,
        over: Level::Med9,
        over_factor: 1.2,
        mean: Level::Raw,
        guard: 36,
        reference: 120,
        spreads: 6.0,
        ratio: 3.0,
        least: 5.0,
        single: 0.99,
        single_ratio: 0.0,
        is_brief: false,
    },
    Rung {
        level: Level::All27,
        factor: 1.3,
        over: Level::Med27,
        over_factor: 1.1,
        mean: Level::Raw,
        guard: 81,
        reference: 120,
        spreads: 6.0,
        ratio: 2.5,
        least: 5.0,
        single: 0.95,
        single_ratio: 0.0,
        is_brief: false,
    },
];
/// `series` is a buffer.
pub(super) fn judge(columns: &Columns<'_>, series: &mut Series, out: &mut Vec<Finding>) {
    let Some(first) = columns.events.iter().position(|&events| events > 0) else { return };
    out.extend(silence(columns, first, &mut series.buffer));
    out.extend(surge(columns, first, series));
}

fn surge(columns: &Columns<'_>, first: usize, series: &mut Series) -> Option<Finding> {
    series.clear();
    for (sample, &events) in columns.events.iter().enumerate().skip(first) {
        series.push(sample, events);
    }
    let n = series.values.len();
    let episode = series.episodes(&RUNGS, columns.first).pop().filter(|last| last.to == n)?;
    let after = series.level_at_entry(&episode);
    let from = series.onset(&episode, after);
    let rate = |values: &[f32]| mean(values) / columns.seconds;
    let (before, now) = (rate(&series.values[..from]), rate(&series.values[from..]));
    let since = columns.onset(series.sample(from));
    Some(Finding::new(columns.view(), since, FindingKind::EventSurge { before, now }))
}

/// Samples without events, and samples of events before.
const SILENT_SAMPLES: usize = MINUTE;
const BEFORE_SAMPLES: usize = 10 * MINUTE;
/// Events come like clockwork if the longest gap is at most this many times the median and a sample; then
/// twice the longest gap is silence, and two events are due.
const REGULAR: f32 = 1.5;
const REGULAR_GAPS: usize = 6;
const REGULAR_TIMES: f32 = 2.0;
const REGULAR_DUE: f64 = 2.0;
/// Else at least three times the longest gap is; more, where that one is much longer than the others.
const OTHER_GAPS: usize = 20;
const OTHER_TIMES: f32 = 3.0;
const OTHER_DUE: f64 = 30.0;

/// No event for much longer than ever before, although many were due, of a process that runs.
fn silence(columns: &Columns<'_>, first: usize, gaps: &mut Vec<f32>) -> Option<Finding> {
    let (events, n) = (columns.events, columns.len());
    let last = events.iter().rposition(|&events| events > 0)?;
    let (quiet, before) = (n - 1 - last, last + 1 - first);
    if quiet < SILENT_SAMPLES || before < BEFORE_SAMPLES {
        return None;
    }
    // Of a plugin that is down, or started since, that is what there is to say.
    let run = columns.run[n - 1];
    if run == 0 || columns.run[last..].iter().any(|&other| other != run) {
        return None;
    }
    gaps.clear();
    let (mut gap, mut total) = (0f32, 0u64);
    for &count in &events[first + 1..=last] {
        if count == 0 {
            gap += 1.0;
        } else {
            gaps.push(gap);
            gap = 0.0;
            total += u64::from(count);
        }
    }
    if gaps.len() < REGULAR_GAPS {
        return None;
    }
    gaps.sort_unstable_by(f32::total_cmp);
    let (usual, high, longest) = (quantile(gaps, 0.5), quantile(gaps, 0.9), gaps[gaps.len() - 1]);
    let is_regular = longest <= REGULAR * usual + 1.0;
    let (least_gaps, times, least_due) = if is_regular {
        (REGULAR_GAPS, REGULAR_TIMES, REGULAR_DUE)
    } else {
        (OTHER_GAPS, OTHER_TIMES.max(longest / high.max(1.0)), OTHER_DUE)
    };
    if gaps.len() < least_gaps || (quiet as f32) < times * longest {
        return None;
    }
    // The lower one of two rates, so that an evening, which comes slowly, is no silence.
    let recent = &events[last + 1 - BEFORE_SAMPLES..=last];
    let recent: u64 = recent.iter().map(|&count| u64::from(count)).sum();
    let rate = (total as f64 / before as f64).min(recent as f64 / BEFORE_SAMPLES as f64);
    if rate * (quiet as f64) < least_due {
        return None;
    }
    let (mut sum, mut known) = (0.0, 0u32);
    for &cpu in columns.cpu[last + 1..].iter().filter(|&&cpu| is_known(cpu)) {
        sum += f64::from(cpu) / 1e3;
        known += 1;
    }
    let kind = FindingKind::Silence {
        per_second: rate / columns.seconds,
        cpu_percent: (known > 0).then(|| sum / f64::from(known)),
    };
    Some(Finding::new(columns.view(), columns.onset(last + 1), kind))
}
