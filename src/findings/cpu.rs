//! Findings about CPU: shifts, spikes that are over, and saturation.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::columns::{Columns, MINUTE, is_known};
use super::episodes::{Episode, Rung, Series};
use super::finding::{Finding, FindingKind, Onset};
use super::ladder::Level;
use super::stats::{mean, median_in_place};

/// The first samples of a run, which are not judged: it starts.
pub(super) const WARM_UP: usize = MINUTE;

/// Spans of 15 s (found once they are over), 45 s, 2¼ minutes and 7 minutes.
const RUNGS: [Rung; 4] = [
    Rung {
        factor: 1.5,
        over_factor: 1.2,
        guard: 18,
        spreads: 8.0,
        single: 0.995,
        ratio: 4.0,
        least: 80_000.0,
        is_brief: true,
        ..Rung::cpu(Level::All3, Level::Med3, Level::Raw)
    },
    Rung {
        factor: 1.05,
        spreads: 4.0,
        single: 0.995,
        single_ratio: 8.0,
        ..Rung::cpu(Level::All9, Level::Med9, Level::Mean9)
    },
    Rung {
        factor: 1.4,
        over_factor: 1.2,
        guard: 81,
        spreads: 4.0,
        ratio: 1.4,
        ..Rung::cpu(Level::All27, Level::Med27, Level::Mean27)
    },
    Rung {
        factor: 1.4,
        over_factor: 1.1,
        guard: 162,
        reference: 162,
        spreads: 7.0,
        ratio: 1.6,
        single: 0.5,
        ..Rung::cpu(Level::All81, Level::Med81, Level::Mean81)
    },
];

/// What a spike cost more than normal, at least, in CPU seconds and on average in percent.
const SPIKE_SECONDS: f64 = 10.0;
const SPIKE_PERCENT: f64 = 20.0;
/// A spike is found for this long, in samples of the default interval: half an hour.
const SPIKE_AGE: usize = 30 * MINUTE;
/// The newest value is at most this many samples old, if something is said to last.
pub(super) const FRESH: usize = 3;
/// More CPU per event than this explains that CPU has risen; below, it has risen with the events.
const DEARER: f64 = 1.4;
/// Events before and since that it takes to compare their cost.
const EVENTS_COMPARED: u64 = 20;

/// `series` is a buffer.
pub(super) fn judge(columns: &Columns<'_>, series: &mut Series, out: &mut Vec<Finding>) {
    series.fill(columns, columns.cpu, WARM_UP);
    let n = series.values.len();
    let is_fresh = n > 0 && series.sample(n - 1) + FRESH >= columns.len();
    for episode in series.episodes(&RUNGS, columns.first) {
        let lasts = episode.to == n && is_fresh;
        if lasts && episode.is_brief {
            continue;
        }
        out.extend(if lasts {
            Some(shift(columns, series, &episode))
        } else {
            spike(columns, series, &episode)
        });
    }
    if is_fresh {
        out.extend(saturated(columns, series));
    }
}

fn shift(columns: &Columns<'_>, series: &mut Series, episode: &Episode) -> Finding {
    let n = series.values.len();
    let after = series.level_at_entry(episode);
    let from = series.onset(episode, after);
    let now = mean(&series.values[from.max(n.saturating_sub(3 * MINUTE))..]) / 1e3;
    let before = normal_minute(&series.values[..from], &mut series.buffer) / 1e3;
    let since = series.sample(from);
    let per_event = cost_ratio(columns, since);
    let kind = match per_event {
        Some(ratio) if ratio < DEARER => FindingKind::Busier { before, now },
        _ => FindingKind::CpuShift {
            before,
            now,
            samples_before: episode.reference,
            samples_since: n - from,
            per_event,
            margin: f64::from(episode.margin),
        },
    };
    Finding::new(columns.view(), columns.onset(since), kind)
}

/// An episode that is over, if it cost enough.
fn spike(columns: &Columns<'_>, series: &mut Series, episode: &Episode) -> Option<Finding> {
    let after = series.level_at_entry(episode);
    let from = series.onset(episode, after);
    let values = &series.values;
    let middle = f32::midpoint(episode.before, after);
    let last = (from..episode.to).rfind(|&at| values[at] > middle)?;
    if series.sample(last) + SPIKE_AGE < columns.len() {
        return None;
    }
    let spike = &values[from..=last];
    let before = f64::from(episode.before);
    let extra = (mean(spike) - before) / 1e3;
    let seconds = extra / 100.0 * spike.len() as f64 * columns.seconds;
    if seconds < SPIKE_SECONDS || extra < SPIKE_PERCENT {
        return None;
    }
    let kind = FindingKind::CpuSpike {
        before: before / 1e3,
        peak: f64::from(spike.iter().copied().fold(0.0, f32::max)) / 1e3,
        cpu_time: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
    };
    let mut finding = Finding::new(columns.view(), columns.onset(series.sample(from)), kind);
    finding.until = Some(columns.time(series.sample(last)));
    Some(finding)
}

/// The median of the minutes' means: bursts within a minute count, a bad minute does not.
fn normal_minute(values: &[f32], buffer: &mut Vec<f32>) -> f64 {
    buffer.clear();
    buffer.extend(values.chunks_exact(MINUTE).map(|minute| mean(minute) as f32));
    if buffer.is_empty() { mean(values) } else { f64::from(median_in_place(buffer)) }
}

/// The CPU per event since a sample, divided by that before; `None` with too few events.
fn cost_ratio(columns: &Columns<'_>, since: usize) -> Option<f64> {
    let cost = |samples: Range<usize>| {
        let (mut cpu, mut events) = (0.0, 0u64);
        for sample in samples.filter(|&sample| is_known(columns.cpu[sample])) {
            cpu += f64::from(columns.cpu[sample]);
            events += u64::from(columns.events[sample]);
        }
        (events >= EVENTS_COMPARED).then(|| cpu / events as f64)
    };
    let (before, since) = (cost(0..since)?, cost(since..columns.len())?);
    Some(since / before.max(1e-9))
}

/// A whole core or more for at least three minutes, until now.
///
/// Nearly all samples of some three minutes are at the limit, and few have been below it since. It is
/// absolute, so it also tells of what has always been so.
fn saturated(columns: &Columns<'_>, series: &Series) -> Option<Finding> {
    const FULL: f32 = 95_000.0;
    const NOT_FULL: f32 = 85_000.0;
    const LEAST: usize = 3 * MINUTE;
    /// Of twelve samples, that may be below.
    const BELOW: u32 = 3;
    let values = &series.values;
    let (mut below, mut since, mut full, mut was_full) = (0u32, values.len(), 0usize, false);
    let mut is_unbroken = true;
    for at in (0..values.len()).rev() {
        below = ((below << 1) | u32::from(values[at] < NOT_FULL)) & 0xfff;
        if below.count_ones() > BELOW {
            is_unbroken = false;
            break;
        }
        if values[at] >= FULL {
            full += 1;
            since = at;
        } else {
            full = full.saturating_sub(2);
        }
        was_full |= full >= LEAST - 4;
    }
    if !was_full || values.len() - since < LEAST {
        return None;
    }
    let kind = FindingKind::Saturated { percent: mean(&values[since..]) / 1e3 };
    let at = columns.time(series.sample(since));
    let onset = if !is_unbroken {
        Onset::At(at)
    } else if columns.age >= WARM_UP {
        // The oldest sample may be one of the few that are below.
        Onset::Before(columns.time(0))
    } else if has_older_run(columns) {
        // The window begins with a restart: what was before it, also for longer, is not judged.
        Onset::Before(at)
    } else {
        Onset::At(at)
    };
    Some(Finding::new(columns.view(), onset, kind))
}

/// Whether a run has samples before the window, and went on until it, or until a restart that took less than a
/// minute.
fn has_older_run(columns: &Columns<'_>) -> bool {
    let (oldest, sample) = (columns.time(0), columns.seconds);
    let seconds_before =
        |time: SystemTime| oldest.duration_since(time).map_or(0.0, |before| before.as_secs_f64());
    columns.view().kept_runs().any(|run| {
        // The first sample of a run is at most one later than its report.
        let is_older = seconds_before(run.reported_at) > sample;
        is_older && run.ended_at.is_none_or(|ended| seconds_before(ended) < sample * MINUTE as f64)
    })
}
