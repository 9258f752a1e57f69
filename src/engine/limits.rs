//! The limits of one plugin: their evaluation, sample by sample. The definition is in the docs of
//! [`Limit`].

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::history::limit_row::{LimitRecord, LimitRow};
use crate::snapshot::limit::{Limit, LimitMetric, LimitState, LimitStatus, MAX_CRASHES};
use crate::snapshot::notification::{ClearReason, NotificationKind};
use crate::time::{MonoNanos, TimePoint};

/// After so many samples without a value in succession, a row that has not lasted is forgotten.
const MAX_MISSING: u32 = 3;
/// A gap of so many poll intervals between two ticks has the same effect.
const GAP_INTERVALS: u32 = 3;

/// A row of samples that violate a limit, or of samples that clear it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    first: TimePoint,
    samples: u32,
}

impl Row {
    const fn new(first: TimePoint) -> Self {
        Self { first, samples: 1 }
    }

    const fn extend(&mut self) {
        self.samples = self.samples.saturating_add(1);
    }

    fn has_lasted(&self, newest: &TimePoint, time: Duration, min_samples: u32) -> bool {
        self.samples >= min_samples && newest.mono.since(self.first.mono) >= time
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Progress {
    Ok,
    Pending { row: Row, peak: f64 },
    Exceeded { since: TimePoint, peak: f64, below: Option<Row> },
}

/// One limit and its progress.
#[derive(Clone, Debug)]
struct LimitTracker {
    limit: Limit,
    /// Of the limits of one plugin, each has another one.
    id: u32,
    progress: Progress,
    value: Option<f64>,
    /// Samples without a value since the newest one with a value.
    missing: u32,
}

impl LimitTracker {
    const fn new(limit: Limit, id: u32) -> Self {
        Self { limit, id, progress: Progress::Ok, value: None, missing: 0 }
    }

    /// Evaluates the newest value. Returns the change, if the limit is exceeded or cleared by it.
    fn push(&mut self, at: &TimePoint, value: Option<f64>) -> Option<NotificationKind> {
        let Limit { above, clear_below, lasting, clear_after, .. } = self.limit;
        self.value = value;
        let Some(value) = value else {
            self.missing = self.missing.saturating_add(1);
            if self.missing >= MAX_MISSING {
                self.forget_row();
            }
            return None;
        };
        self.missing = 0;
        let is_above = value > above;
        match &mut self.progress {
            Progress::Ok if is_above => {
                self.progress = Progress::Pending { row: Row::new(*at), peak: value };
            }
            Progress::Ok => {}
            Progress::Pending { row, peak } if is_above => {
                row.extend();
                *peak = peak.max(value);
            }
            Progress::Pending { .. } => self.progress = Progress::Ok,
            Progress::Exceeded { peak, below, .. } => {
                *peak = peak.max(value);
                // Nothing is below zero.
                let is_below = value < clear_below || value == 0.0;
                match below {
                    Some(row) if is_below => row.extend(),
                    None if is_below => *below = Some(Row::new(*at)),
                    Some(_) | None => *below = None,
                }
            }
        }
        // Crashes are counted, not measured.
        let min_samples = if self.limit.metric.is_crashes() { 1 } else { 2 };
        match self.progress {
            Progress::Pending { row, peak } if row.has_lasted(at, lasting, min_samples) => {
                self.progress = Progress::Exceeded { since: row.first, peak, below: None };
                Some(NotificationKind::LimitExceeded(self.status()))
            }
            Progress::Exceeded { below: Some(row), .. }
                if row.has_lasted(at, clear_after, min_samples) =>
            {
                self.clear(at, ClearReason::Below)
            }
            Progress::Ok | Progress::Pending { .. } | Progress::Exceeded { .. } => None,
        }
    }

    /// Without data, no row continues. An exceeded limit stays exceeded.
    const fn forget_row(&mut self) {
        match &mut self.progress {
            Progress::Ok => {}
            Progress::Pending { .. } => self.progress = Progress::Ok,
            Progress::Exceeded { below, .. } => *below = None,
        }
    }

    /// Starts from the beginning. Returns the change, if the limit was exceeded.
    fn clear(&mut self, at: &TimePoint, reason: ClearReason) -> Option<NotificationKind> {
        let status = self.status();
        let was = std::mem::replace(&mut self.progress, Progress::Ok);
        match was {
            Progress::Ok | Progress::Pending { .. } => None,
            Progress::Exceeded { since, .. } => {
                let lasted = at.mono.since(since.mono);
                Some(NotificationKind::LimitCleared { status, lasted, reason })
            }
        }
    }

    const fn state(&self) -> LimitState {
        match self.progress {
            Progress::Ok => LimitState::Ok,
            Progress::Pending { row, .. } => LimitState::Pending(row.first.wall),
            Progress::Exceeded { since, .. } => LimitState::Exceeded(since.wall),
        }
    }

    const fn peak(&self) -> Option<f64> {
        match self.progress {
            Progress::Ok => None,
            Progress::Pending { peak, .. } | Progress::Exceeded { peak, .. } => Some(peak),
        }
    }

    const fn status(&self) -> LimitStatus {
        let (state, peak) = (self.state(), self.peak());
        LimitStatus { limit: self.limit, state, value: self.value, peak }
    }
}

/// The values of one plugin at a tick.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TickValues {
    pub cpu_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub process_count: Option<u32>,
    /// The event counter.
    pub events: u64,
    /// It has increased since the tick before.
    pub has_events: bool,
}

/// The limits of one plugin.
#[derive(Clone, Debug)]
pub(crate) struct LimitSet {
    trackers: Vec<LimitTracker>,
    /// The id of the next new limit.
    next_id: u32,
    /// When the active run was reported; `None` without one.
    run_since: Option<MonoNanos>,
    /// The newest tick, and the event counter at that tick.
    previous: Option<(MonoNanos, u64)>,
    /// The newest tick that has counted an event; before the first one, when the limits were set.
    last_event: MonoNanos,
    /// When crashes were counted, oldest first, as long as a limit of crashes counts them.
    crashes: VecDeque<MonoNanos>,
    /// States, or values of limits of crashes, differ from the record that was built last.
    is_changed: bool,
}

impl LimitSet {
    /// Limits that are set at `now`, of a plugin with an active run that began at `run_since`, if it has one.
    /// Their ids begin with `first_id`.
    pub(crate) fn new(
        limits: &[Limit],
        first_id: u32,
        run_since: Option<MonoNanos>,
        now: MonoNanos,
    ) -> Self {
        let ids = first_id..;
        Self {
            trackers: limits
                .iter()
                .zip(ids)
                .map(|(&limit, id)| LimitTracker::new(limit, id))
                .collect(),
            next_id: first_id.wrapping_add(limits.len() as u32),
            run_since,
            previous: None,
            last_event: now,
            crashes: VecDeque::new(),
            is_changed: true,
        }
    }

    /// Replaces the limits. A limit that stays the same keeps its progress.
    pub(crate) fn replace(
        &mut self,
        limits: &[Limit],
        at: &TimePoint,
        mut notify: impl FnMut(NotificationKind),
    ) {
        let mut old = std::mem::take(&mut self.trackers);
        for limit in limits {
            let same = old.iter().position(|tracker| tracker.limit == *limit);
            let next_id = &mut self.next_id;
            let new = || LimitTracker::new(*limit, std::mem::replace(next_id, *next_id + 1));
            let tracker = same.map_or_else(new, |i| old.remove(i));
            self.trackers.push(tracker);
        }
        for mut tracker in old {
            let metric = std::mem::discriminant(&tracker.limit.metric);
            let has_metric =
                limits.iter().any(|limit| std::mem::discriminant(&limit.metric) == metric);
            let reason = if has_metric { ClearReason::Changed } else { ClearReason::Removed };
            tracker.clear(at, reason).map(&mut notify);
        }
        self.is_changed = true;
    }

    /// The id of the next new limit.
    pub(crate) const fn next_id(&self) -> u32 {
        self.next_id
    }

    /// Clears all limits, because the plugin is removed.
    pub(crate) fn remove(&mut self, at: &TimePoint, notify: impl FnMut(NotificationKind)) {
        self.clear(at, ClearReason::Removed, |_| true, notify);
    }

    /// A run was reported. Its grace begins.
    pub(crate) const fn start_run(&mut self, at: &TimePoint) {
        self.run_since = Some(at.mono);
    }

    /// A run has ended: what was measured belongs to it. Crashes belong to the plugin.
    pub(crate) fn end_run(&mut self, at: &TimePoint, notify: impl FnMut(NotificationKind)) {
        self.run_since = None;
        self.clear(at, ClearReason::RunEnded, |metric| !metric.is_crashes(), notify);
    }

    fn clear(
        &mut self,
        at: &TimePoint,
        reason: ClearReason,
        is_cleared: impl Fn(LimitMetric) -> bool,
        mut notify: impl FnMut(NotificationKind),
    ) {
        for tracker in self.trackers.iter_mut().filter(|tracker| is_cleared(tracker.limit.metric)) {
            self.is_changed |= tracker.progress != Progress::Ok;
            tracker.clear(at, reason).map(&mut notify);
            (tracker.value, tracker.missing) = (None, 0);
        }
    }

    /// Records that `count` crashes were counted, and evaluates the limits of crashes.
    pub(crate) fn count_crashes(
        &mut self,
        count: u64,
        at: &TimePoint,
        mut notify: impl FnMut(NotificationKind),
    ) {
        for _ in 0..count.min(u64::from(MAX_CRASHES)) {
            self.crashes.push_back(at.mono);
        }
        let surplus = self.crashes.len().saturating_sub(MAX_CRASHES as usize);
        self.crashes.drain(..surplus);
        self.evaluate_crashes(at, &mut notify);
    }

    fn evaluate_crashes(&mut self, at: &TimePoint, notify: &mut impl FnMut(NotificationKind)) {
        let Self { trackers, crashes, is_changed, .. } = self;
        let mut longest = Duration::ZERO;
        for tracker in trackers {
            let LimitMetric::Crashes { within } = tracker.limit.metric else { continue };
            longest = longest.max(within);
            let old = crashes.partition_point(|&crash| at.mono.since(crash) >= within);
            let (was, value) = (tracker.state(), (crashes.len() - old) as f64);
            *is_changed |= tracker.value != Some(value);
            tracker.push(at, Some(value)).map(&mut *notify);
            *is_changed |= tracker.state() != was;
        }
        while crashes.front().is_some_and(|&crash| at.mono.since(crash) >= longest) {
            crashes.pop_front();
        }
    }

    /// Evaluates the values of a tick.
    pub(crate) fn tick(
        &mut self,
        at: &TimePoint,
        values: &TickValues,
        poll_interval: Duration,
        mut notify: impl FnMut(NotificationKind),
    ) {
        let previous = self.previous.replace((at.mono, values.events));
        if values.has_events {
            self.last_event = at.mono;
        }
        let is_gap =
            previous.is_some_and(|(mono, _)| at.mono.since(mono) >= poll_interval * GAP_INTERVALS);
        for tracker in &mut self.trackers {
            let metric = tracker.limit.metric;
            if metric.is_crashes() {
                continue;
            }
            let was = tracker.state();
            if is_gap {
                tracker.forget_row();
            }
            let run_since =
                self.run_since.filter(|&since| at.mono.since(since) >= tracker.limit.grace);
            if let Some(run_since) = run_since {
                let value = match metric {
                    LimitMetric::CpuPercent => values.cpu_percent,
                    LimitMetric::MemoryMb => {
                        values.memory_bytes.map(|bytes| bytes as f64 / 1_048_576.0)
                    }
                    LimitMetric::ProcessCount => values.process_count.map(f64::from),
                    LimitMetric::EventsPerSecond => previous.and_then(|(mono, events)| {
                        let time = at.mono.since(mono).as_secs_f64();
                        (time > 0.0).then(|| (values.events - events) as f64 / time)
                    }),
                    LimitMetric::SilentSeconds => {
                        Some(at.mono.since(self.last_event.max(run_since)).as_secs_f64())
                    }
                    LimitMetric::Crashes { .. } => None,
                };
                tracker.push(at, value).map(&mut notify);
            } else {
                tracker.value = None;
            }
            self.is_changed |= tracker.state() != was;
        }
        self.evaluate_crashes(at, &mut notify);
    }

    /// Whether the records to publish differ from those that were built last.
    pub(crate) const fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Whether it has changed since the last call.
    pub(crate) const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.is_changed, false)
    }

    /// The states to publish.
    pub(crate) fn records(&self) -> Arc<Vec<LimitRecord>> {
        let record = |tracker: &LimitTracker| LimitRecord {
            limit: tracker.limit,
            id: tracker.id,
            state: tracker.state(),
            crashes: tracker.value.filter(|_| tracker.limit.metric.is_crashes()),
        };
        Arc::new(self.trackers.iter().map(record).collect())
    }

    /// The values of the tick, in the order of the limits.
    pub(crate) fn rows(&self, slot: u32) -> impl Iterator<Item = LimitRow> {
        let row = move |tracker: &LimitTracker| LimitRow {
            slot,
            id: tracker.id,
            value: tracker.value,
            peak: tracker.peak(),
        };
        self.trackers.iter().map(row)
    }
}
