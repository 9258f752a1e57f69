//! How a run ends, and whether it counts as a crash.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::active_run::{ActiveRun, Liveness};
use super::{PluginTracker, TrackerContext, TrackerDetails};
use crate::engine::cpu_meter::ReadingSpan;
use crate::engine::effects::{Cause, Effects, PendingCrash, PendingExit, Warning};
use crate::history::packed::run_key;
use crate::history::run_log::RunRecord;
use crate::os::Probe;
use crate::os::reading::Reading;
use crate::snapshot::run::{ExitClass, ProcessExit, RunEnd, RunId};
use crate::snapshot::state::PluginState;
use crate::sync::command::ChildReading;
use crate::time::{MonoNanos, TimePoint};

/// A crash that only the sampler has detected is counted after this time: until then the host may
/// report that it was none.
const CRASH_GRACE_PERIOD: Duration = Duration::from_secs(1);

/// The number of exited children of one plugin whose readings are kept until the host's report.
/// There are several only if the host waits for them later than the sampler detects their exits.
const MAX_EXITED_CHILDREN: usize = 64;

/// A child whose exit was detected, and for which the host has not reported to have waited.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExitedChild {
    run: RunId,
    span: ReadingSpan,
    /// See [`ActiveRun::has_uncounted_children`].
    has_uncounted_children: bool,
    /// The newest tick when the run ended.
    tick: u64,
}

impl<P> TrackerDetails<P> {
    fn keep_exited_child(&mut self, child: ExitedChild) {
        let exited_children = &mut self.rare().exited_children;
        if exited_children.len() == MAX_EXITED_CHILDREN {
            // The oldest: a host that drops its children never reports them.
            exited_children.remove(0);
        }
        exited_children.push(child);
    }

    fn take_exited_child(&mut self, run: RunId) -> Option<ExitedChild> {
        let exited_children = &mut self.rare.as_mut()?.exited_children;
        let at = exited_children.iter().position(|child| child.run == run)?;
        Some(exited_children.remove(at))
    }
}

impl<P> PluginTracker<P> {
    /// The host has waited for the process of `run`.
    pub(super) fn exited<Pr: Probe<Process = P>>(
        &mut self,
        run: RunId,
        exit: ProcessExit,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let is_newest = self.is_newest(run);
        // While stopping also if the exit was processed before the announcement.
        let is_announced =
            self.has_announced_end(run) || is_newest && self.state() == PluginState::Stopping;
        let class = exit.class(context.clean_exit_codes);
        // A status from the host may be no exit status; that does not classify a run as a crash.
        let is_clean = class != ExitClass::Unclean;
        // The host has reaped it: nothing is left to read, and the pid may belong to another one.
        if is_newest {
            self.details.set_surviving_process(None);
        }
        if self.awaits_status {
            self.on_unreported_exit(run, exit, context.probe);
        }
        self.on_reaped_root(run, context);
        let record = match self.active.take_if(|active| active.about.run == run) {
            Some(mut active) => {
                active.check_oom_kill(exit, context.probe);
                Self::release_tree(self.details.record.slot, &mut active, context);
                self.finish_run(active, context.now, context.tick)
            }
            None => match self.run_mut(run) {
                Some(record) => record,
                None => return self.warn_of_unknown_run(run, context.effects),
            },
        };
        record.update_end(exit.run_end());
        let end = record.end_times();
        let was_unknown = std::mem::replace(&mut record.counts_as_unknown, false);
        let was_classified = std::mem::replace(&mut record.classified, true);
        if was_unknown {
            self.details.record.unknown_end_count -= 1;
        }
        if was_classified {
            return;
        }
        let is_crash = !is_announced && !is_clean;
        if is_newest {
            let state = if is_crash { PluginState::Crashed } else { PluginState::Stopped };
            self.set_state(state, context.now.wall);
        }
        if is_crash {
            self.count_crash(run, end);
        }
    }

    fn warn_of_unknown_run(&mut self, run: RunId, effects: &mut Effects) {
        if !std::mem::replace(&mut self.details.rare().has_warned_of_unknown_run, true) {
            let plugin = Arc::clone(self.name());
            effects.warnings.push(Warning { plugin, cause: Cause::UnknownRun(run) });
        }
    }

    /// The host has waited for a child, and has read it before it was reaped.
    pub(super) fn child_exited<Pr: Probe<Process = P>>(
        &mut self,
        run: RunId,
        exit: ProcessExit,
        last: Option<ChildReading>,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let before_report = self.details.take_exited_child(run);
        if let Some(last) = last {
            let has_uncounted_children = match (&self.active, before_report) {
                (Some(active), _) if active.about.run == run => active.has_uncounted_children(),
                (_, before_report) => before_report.is_some_and(|it| it.has_uncounted_children),
            };
            if has_uncounted_children {
                self.on_final_unfollowed(last, context);
            } else {
                self.on_final_root(run, last, context);
            }
        }
        if let Some(last) = last.map(Reading::from) {
            match (&mut self.active, before_report) {
                (Some(active), _) if active.about.run == run => active.push_last(&last),
                (_, Some(child)) => self.add_last_reading(&child, &last, context.tick),
                // A report has ended the run while the process lived: the rest is not part of it.
                (_, None) => {}
            }
        }
        self.exited(run, exit, context);
        self.details.take_exited_child(run);
    }

    /// Adds the last reading to a run whose exit was detected before, without that reading.
    ///
    /// The host may take it long after the exit, so it counts as taken when the run ended. If a tick has
    /// recorded a sample since then, it has no part in a share: that of the next sample covers a later
    /// time.
    fn add_last_reading(&mut self, child: &ExitedChild, last: &Reading, tick: u64) {
        let mut span = child.span.continued();
        let ended = self.details.record.runs.get_mut(child.run).map(|record| record.ended_mono);
        let last = Reading { at: ended.map_or(last.at, |ended| last.at.min(ended)), ..*last };
        let more = Duration::from(span.push_last(&last));
        let is_in_next_share = tick == child.tick;
        if is_in_next_share {
            self.meter.keep(&span);
        }
        self.change().ended_cpu += more;
        if let Some(record) = self.run_mut(child.run) {
            record.run.cpu_time = Some(record.run.cpu_time.unwrap_or_default() + more);
            if is_in_next_share {
                record.is_read_since_share |= span.last_at() > record.last_read;
                record.last_read = record.last_read.max(span.last_at());
            }
        }
    }

    /// The host ends the child of `run`.
    pub(super) fn child_stopping<Pr: Probe<Process = P>>(
        &mut self,
        run: RunId,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        // The state of the plugin does not depend on an older run, which was replaced.
        if self.active.as_ref().is_some_and(|active| active.about.run == run) {
            self.stopping(context);
        }
    }

    /// The host ends the process of the active run, if there is one.
    pub(super) fn stopping<Pr: Probe<Process = P>>(
        &mut self,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        if let Some(active) = &mut self.active {
            active.about.is_announced = true;
        }
        self.set_state(PluginState::Stopping, context.now.wall);
    }

    /// Whether `run` is active, and the host has announced its end.
    fn has_announced_end(&self, run: RunId) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.about.run == run && active.about.is_announced)
    }

    pub(super) fn stopped<Pr: Probe<Process = P>>(&mut self, context: &mut TrackerContext<'_, Pr>) {
        self.classify_newest(RunEnd::Stopped, context);
        self.set_state(PluginState::Stopped, context.now.wall);
        self.set_read_error(None, context.effects);
    }

    pub(super) fn crashed<Pr: Probe<Process = P>>(&mut self, context: &mut TrackerContext<'_, Pr>) {
        let newest = self.details.record.runs.last().map(|record| record.run.id);
        let end = self.classify_newest(RunEnd::Crashed, context);
        if let (Some(newest), Some(end)) = (newest, end) {
            self.count_crash(newest, Some(end));
        }
        self.set_state(PluginState::Crashed, context.now.wall);
        self.set_read_error(None, context.effects);
    }

    /// Ends the active run without counting it. A crash that is already pending stays pending.
    pub(super) fn failed<Pr: Probe<Process = P>>(&mut self, context: &mut TrackerContext<'_, Pr>) {
        if let Some(active) = self.active.take() {
            self.end_by_report(active, RunEnd::Unknown, context);
        }
        self.set_state(PluginState::Failed, context.now.wall);
    }

    /// Classifies the newest run by a report without a status, and returns when it ended; `None` if
    /// there is no run, or if it was classified before.
    fn classify_newest<Pr: Probe<Process = P>>(
        &mut self,
        end: RunEnd,
        context: &mut TrackerContext<'_, Pr>,
    ) -> Option<(MonoNanos, SystemTime)> {
        if let Some(active) = self.active.take() {
            self.end_by_report(active, end, context);
            return Some((context.now.mono, context.now.wall));
        }
        let newest = self.details.record.runs.last().filter(|record| !record.classified)?.run.id;
        let record = self.run_mut(newest)?;
        record.classified = true;
        record.update_end(end);
        let times = record.end_times();
        if std::mem::replace(&mut record.counts_as_unknown, false) {
            self.details.record.unknown_end_count -= 1;
        }
        times
    }

    /// Ends the active run because of a report without a status.
    fn end_by_report<Pr: Probe<Process = P>>(
        &mut self,
        mut active: ActiveRun<P>,
        end: RunEnd,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let slot = self.details.record.slot;
        let liveness = Self::check_with_tree(slot, &mut active, context);
        Self::release_tree(slot, &mut active, context);
        if let Liveness::Alive = liveness {
            self.details.set_surviving_process(active.identity(context.probe));
        }
        if liveness.has_exited_without_status() {
            self.hold_unreported(active.about.run, active.process.take());
        }
        let record = self.finish_run(active, context.now, context.tick);
        record.classified = true;
        record.update_end(end);
        if let Liveness::Exited(exit) = liveness {
            record.update_end(exit.run_end());
        }
    }

    /// Records the end of a run: its time and its CPU time.
    pub(super) fn finish_run(
        &mut self,
        active: ActiveRun<P>,
        at: TimePoint,
        tick: u64,
    ) -> &mut RunRecord {
        if let Some(span) = &active.span {
            self.meter.keep(span);
            // It may have ended before a tick could read it.
            self.min_nanos = active.min_nanos;
        }
        if self.has_tree_readings {
            self.details.rare().tree.end_run();
        }
        if let Some(span) = active.span_before_report() {
            self.details.keep_exited_child(ExitedChild {
                run: active.about.run,
                span,
                has_uncounted_children: active.has_uncounted_children(),
                tick,
            });
        }
        // A read error and a suspension end with the run to which they belong.
        self.read_error = None;
        self.set_suspended(None, at.wall);
        let cpu_time = active.cpu_used.map(Duration::from);
        let plugin = self.change();
        plugin.ended_cpu += cpu_time.unwrap_or_default();
        let before = plugin.runs.len().checked_sub(2).and_then(|before| plugin.runs.get(before));
        let read_before = before.map_or(MonoNanos(0), |record| record.last_read);
        let record = plugin.runs.get_mut(active.about.run).expect("an active run is in the log");
        let last_tick = if tick >= active.about.first_tick { tick } else { 0 };
        record.finish(&at, last_tick);
        // In the order of the runs: a reading of the current pass may be later than the pass, and one of
        // the run before later than those of a child that the host has started and reaped before the pass.
        let last_read = active.span.as_ref().map_or(record.began, ReadingSpan::last_at);
        record.last_read = last_read.max(read_before).min(at.mono);
        record.is_read_since_share =
            active.span.as_ref().is_some_and(ReadingSpan::has_two_readings);
        record.run.cpu_time = cpu_time;
        record.run.peak_memory_bytes = Some(active.peak_memory).filter(|&bytes| bytes != 0);
        record.run.oom_killed = active.about.oom_killed;
        record
    }

    /// Queues a detected exit, to be processed after the host's earlier reports.
    pub(super) fn queue_exit<Pr: Probe>(
        &self,
        run: RunId,
        exit: ProcessExit,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let plugin = self.details.id;
        context.effects.pending_exits.push(PendingExit { plugin, run, exit, at: context.now });
    }

    /// The process of the run with this key is reported to have exited: checks it, and queues the
    /// exit. The notification may be late, and the run no longer active.
    pub(crate) fn on_exit_notification<Pr: Probe<Process = P>>(
        &mut self,
        key: u32,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        if run_key(self.run_number) != key {
            return;
        }
        let slot = self.details.record.slot;
        let Some(active) = &mut self.active else { return };
        let run = active.about.run;
        if let Liveness::Exited(exit) = Self::check_with_tree(slot, active, context) {
            self.queue_exit(run, exit, context);
        }
    }

    /// Processes an exit that was queued: one that was detected, or the status of one that was
    /// detected before, which arrives late.
    pub(crate) fn process_exit<Pr: Probe<Process = P>>(
        &mut self,
        pending: &PendingExit,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let class = pending.exit.class(context.clean_exit_codes);
        if self.awaits_status && class != ExitClass::Unknown {
            self.release_unreported(pending.run);
        }
        if let Some(mut active) = self.active.take_if(|active| active.about.run == pending.run) {
            let is_announced = active.about.is_announced;
            let before = if is_announced { PluginState::Stopping } else { self.state() };
            self.set_state(before.after_exit(class), pending.at.wall);
            Self::release_tree(self.details.record.slot, &mut active, context);
            if class == ExitClass::Unknown {
                self.hold_unreported(pending.run, active.process.take());
            }
            self.finish_run(active, pending.at, context.tick).classified = is_announced;
        } else if class == ExitClass::Unclean
            && self.is_newest(pending.run)
            && self.run_mut(pending.run).is_some_and(|record| record.counts_as_unknown)
        {
            // Shown as stopped until now, because the status was unknown.
            self.set_state(self.state().after_late_crash(), pending.at.wall);
        }
        // The run may have been ended by a report since the exit was queued.
        let Some(record) = self.run_mut(pending.run) else { return };
        record.update_end(pending.exit.run_end());
        record.crash_pending = !record.classified && class == ExitClass::Unclean;
        let counted = record.counts_as_unknown;
        record.counts_as_unknown = !record.classified && record.run.end == Some(RunEnd::Unknown);
        let (counts, is_crash_pending) = (record.counts_as_unknown, record.crash_pending);
        match (counted, counts) {
            (false, true) => {
                let record = &mut self.details.record;
                record.unknown_end_count = record.unknown_end_count.saturating_add(1);
                record.unknown_ends_detected = record.unknown_ends_detected.saturating_add(1);
            }
            (true, false) => self.details.record.unknown_end_count -= 1,
            (false, false) | (true, true) => {}
        }
        if is_crash_pending {
            let due = pending.at.mono.checked_add(CRASH_GRACE_PERIOD).unwrap_or(pending.at.mono);
            let crash = PendingCrash { due, plugin: self.details.id, run: pending.run };
            context.effects.pending_crashes.push_back(crash);
        }
    }
}
