//! Notifications about one plugin, and the evaluation of its limits.

use std::sync::Arc;
use std::time::Duration;

use super::{PluginTracker, TrackerDetails};
use crate::engine::effects::Effects;
use crate::engine::limits::{LimitSet, TickValues};
use crate::history::frame::{Frame, NewestTick};
use crate::history::metric::Metric;
use crate::history::run_log::RunRecord;
use crate::history::tree_row::TreeValues;
use crate::history::units::CpuShare;
use crate::snapshot::limit::Limit;
use crate::snapshot::notification::{Notification, NotificationKind};
use crate::snapshot::run::{ExitClass, ProcessExit, RunEnd};
use crate::time::TimePoint;

/// The values of a tick that are the same for all plugins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitTick {
    pub now: TimePoint,
    pub poll_interval: Duration,
    /// Whether samples have the values of trees.
    pub has_trees: bool,
}

/// Returns a function that adds a notification about `plugin`.
fn adder<'a>(
    plugin: &'a Arc<str>,
    now: &'a TimePoint,
    effects: &'a mut Effects,
) -> impl FnMut(NotificationKind) + 'a {
    move |kind| {
        let plugin = Arc::clone(plugin);
        effects.notifications.push(Notification { revision: 0, at: now.wall, plugin, kind });
    }
}

/// Whether the end of a run that has just ended is, or may become, a crash that is counted later.
fn is_crash_pending(record: &RunRecord, clean_exit_codes: &[i32]) -> bool {
    let exit = match record.run.end {
        Some(RunEnd::Exited(code)) => ProcessExit::Exited(code),
        Some(RunEnd::Signaled(signal)) => ProcessExit::Signaled(signal),
        Some(
            RunEnd::Replaced
            | RunEnd::Stopped
            | RunEnd::Crashed
            | RunEnd::Unknown
            | RunEnd::HostGone,
        )
        | None => {
            return false;
        }
    };
    !record.classified && exit.class(clean_exit_codes) == ExitClass::Unclean
}

impl<P> PluginTracker<P> {
    /// Adds a notification about this plugin.
    pub(crate) fn notify(&self, kind: NotificationKind, now: &TimePoint, effects: &mut Effects) {
        adder(self.name(), now, effects)(kind);
    }

    /// Adds the notifications about the changes of one input: the run that has ended, the one that
    /// has begun, the state, the crashes and the read error, in this order.
    pub(crate) fn notify_changes(
        &mut self,
        now: &TimePoint,
        clean_exit_codes: &[i32],
        effects: &mut Effects,
    ) {
        let TrackerDetails { record, rare, .. } = &mut *self.details;
        let mut limits = rare.as_mut().and_then(|rare| rare.limits.as_mut());
        // The record has the values of the previous input.
        let from = std::mem::replace(&mut record.state, self.state);
        let crashes =
            self.crash_count - std::mem::replace(&mut record.crash_count, self.crash_count);
        let read_error = std::mem::replace(&mut record.read_error, self.read_error);
        let mut notify = adder(&record.name, now, effects);
        // One input ends at most one run and begins at most one, after that.
        let mut changed = [None; 2];
        let unnoticed =
            |run: &&RunRecord| !run.start_noticed || (run.ended().is_some() && !run.end_noticed);
        for run in record.runs.iter().rev().take(2).filter(unnoticed) {
            changed.rotate_right(1);
            changed[0] = Some(run.run.id);
        }
        for run in changed.into_iter().flatten() {
            let Some(run) = record.runs.get_mut(run) else { continue };
            if !std::mem::replace(&mut run.start_noticed, true) {
                if let Some(limits) = &mut limits {
                    limits.start_run(now);
                }
                notify(NotificationKind::RunStarted(run.run.clone()));
            }
            if run.ended().is_some() && !std::mem::replace(&mut run.end_noticed, true) {
                let crash = crashes != 0 || is_crash_pending(run, clean_exit_codes);
                notify(NotificationKind::RunEnded { run: run.run.clone(), crash });
                if let Some(limits) = &mut limits {
                    limits.end_run(now, &mut notify);
                }
            }
        }
        if from != self.state {
            notify(NotificationKind::StateChanged { from, to: self.state });
        }
        if crashes != 0 {
            notify(NotificationKind::CrashCounted { crash_count: self.crash_count });
            if let Some(limits) = &mut limits {
                limits.count_crashes(crashes, now, &mut notify);
            }
        }
        if read_error != self.read_error {
            notify(match self.read_error {
                Some(error) => NotificationKind::ReadFailed(error),
                None => NotificationKind::ReadRecovered,
            });
        }
    }

    /// Adds the notifications about the removal of the plugin.
    pub(crate) fn notify_removal(&mut self, now: &TimePoint, effects: &mut Effects) {
        let TrackerDetails { record, rare, .. } = &mut *self.details;
        let mut notify = adder(&record.name, now, effects);
        if let Some(limits) = rare.as_mut().and_then(|rare| rare.limits.as_mut()) {
            limits.remove(now, &mut notify);
        }
        notify(NotificationKind::Removed);
    }

    /// Replaces the limits.
    pub(crate) fn set_limits(&mut self, limits: &[Limit], now: &TimePoint, effects: &mut Effects) {
        if self.details.rare.is_none() && limits.is_empty() {
            return;
        }
        self.details.rare();
        let TrackerDetails { record, rare: Some(rare), .. } = &mut *self.details else { return };
        match &mut rare.limits {
            None if limits.is_empty() => return,
            None => {
                let run_since = record.active_run().map(|run| run.began);
                let set = LimitSet::new(limits, rare.next_limit_id, run_since, now.mono);
                rare.limits = Some(Box::new(set));
            }
            Some(set) => set.replace(limits, now, adder(&record.name, now, effects)),
        }
        if limits.is_empty() {
            rare.next_limit_id = rare.limits.as_ref().map_or(0, |set| set.next_id());
            (rare.limits, record.limits) = (None, None);
        }
        self.is_changed = true;
    }

    /// Evaluates the limits with the values of the tick in `frame`, and records their values.
    #[inline]
    pub(crate) fn evaluate_limits(
        &mut self,
        tick: &LimitTick,
        frame: &Frame,
        newest: &mut NewestTick,
        effects: &mut Effects,
    ) {
        let TrackerDetails { record, rare, .. } = &mut *self.details;
        let limits = rare.as_mut().and_then(|rare| rare.limits.as_mut());
        let Some(limits) = limits else { return };
        let slot = record.slot;
        let own = frame.sample(slot);
        // Without values of trees, those of the process.
        let tree = if tick.has_trees { frame.tree(slot) } else { TreeValues::of_root(own) };
        let values = TickValues {
            cpu_percent: tree.cpu().map(CpuShare::percent),
            memory_bytes: tree.resident(),
            process_count: tree.process_count().filter(|_| tick.has_trees),
            events: newest.totals.get(slot as usize).map_or(0, |totals| totals.events),
            has_events: own.get(Metric::Events) > 0,
        };
        let notify = adder(&record.name, &tick.now, effects);
        limits.tick(&tick.now, &values, tick.poll_interval, notify);
        newest.limits.extend(limits.rows(slot));
        self.is_changed |= limits.is_changed();
    }
}
