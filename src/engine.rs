//! The state machine of all plugins: apply an update, tick, build a snapshot. No thread, no clock,
//! no channel: time is an argument, and readings come from the probe that is passed in.

mod cgroup_meter;
pub(crate) mod cpu_meter;
pub(crate) mod effects;
pub(crate) mod limits;
#[cfg(not(feature = "store"))]
pub(crate) mod no_restore;
pub(crate) mod pass;
pub(crate) mod plugin_trees;
pub(crate) mod process_tree;
#[cfg(feature = "store")]
pub(crate) mod restore;
mod slots;
mod sums;
#[cfg(test)]
mod tests;
pub(crate) mod tracker;
pub(crate) mod tree_meter;

use std::sync::Arc;

#[cfg(not(feature = "store"))]
pub(crate) use self::no_restore as restore;

use self::effects::{Effects, Warning};
use self::pass::TickCost;
use self::plugin_trees::PluginTrees;
use self::slots::SlotAllocator;
use self::sums::TickSums;
use self::tracker::active_run::catch_probe_panic;
use self::tracker::notify::LimitTick;
use self::tracker::record::TickRecorder;
use self::tracker::{PluginTracker, TrackerContext};
use crate::config::Settings;
use crate::history::plugin_record::NameIndex;
use crate::history::writer::{HistoryWriter, SnapshotHeader};
use crate::os::Probe;
use crate::snapshot::inner::{CollectorInfo, SnapshotInner};
use crate::snapshot::limit::Limit;
use crate::snapshot::notification::NotificationKind;
use crate::snapshot::state::PluginState;
use crate::snapshot::system::{CollectorStatus, SamplerStats, SystemMetrics};
use crate::sync::command::{PluginId, PluginUpdate, SampleRequest};
use crate::sync::counter::EventCounter;
use crate::time::{MonoNanos, TimePoint};

/// All trackers, and the history.
#[derive(Debug)]
pub(crate) struct Engine<P, M> {
    info: CollectorInfo,
    /// By slot.
    trackers: Vec<Option<PluginTracker<P>>>,
    slots: SlotAllocator,
    trees: PluginTrees<M>,
    /// The slots in the order of the names.
    name_order: Vec<u32>,
    effects: Effects,
    history: HistoryWriter,
    revision: u64,
    /// Something differs from what was published.
    is_changed: bool,
    /// Plugins were registered or removed since the table was built.
    is_set_changed: bool,
    /// Of the newest tick, over the plugins that are still registered.
    sums: TickSums,
    /// Totals as they are published, except for the uptime.
    system: SystemMetrics,
    stats: SamplerStats,
    /// Requests that arrived after the tick of their pass: the next pass ticks for them.
    early_requests: Vec<SampleRequest>,
    /// Exit codes that count as clean besides the usual ones.
    clean_exit_codes: Arc<[i32]>,
    /// The limits of a plugin that has none of its own.
    limits: Arc<[Limit]>,
    /// Some plugin has limits, or had some.
    has_limits: bool,
    #[cfg(feature = "store")]
    unregistered: self::restore::Unregistered,
}

impl<P, M> Engine<P, M> {
    /// An engine without plugins.
    pub(crate) fn new(info: CollectorInfo, settings: &Settings) -> Self {
        Self {
            info,
            trackers: Vec::new(),
            slots: SlotAllocator::default(),
            trees: PluginTrees::new(info.process_trees),
            name_order: Vec::new(),
            effects: Effects::default(),
            history: HistoryWriter::new(settings.samples.get(), settings.poll_interval),
            revision: 0,
            is_changed: false,
            is_set_changed: false,
            sums: TickSums::default(),
            system: SystemMetrics::default(),
            stats: SamplerStats::default(),
            early_requests: Vec::new(),
            clean_exit_codes: Arc::clone(&settings.clean_exit_codes),
            limits: Arc::clone(&settings.limits),
            has_limits: !settings.limits.is_empty(),
            #[cfg(feature = "store")]
            unregistered: Default::default(),
        }
    }

    /// Whether something differs from what was published.
    pub(crate) const fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Whether the next pass has work to do even if nothing arrives.
    pub(crate) fn has_work(&self) -> bool {
        self.has_pending_exits() || !self.early_requests.is_empty()
    }

    fn has_pending_exits(&self) -> bool {
        !self.effects.pending_exits.is_empty()
    }

    fn pending_exits(&self) -> usize {
        self.effects.pending_exits.len()
    }

    /// When the next pending crash is due.
    pub(crate) fn next_crash_due(&self) -> Option<MonoNanos> {
        self.effects.pending_crashes.front().map(|crash| crash.due)
    }

    /// Removes and returns the warnings to log.
    pub(crate) fn take_warnings(&mut self) -> impl Iterator<Item = Warning> {
        self.effects.warnings.drain(..)
    }

    fn tracker(&mut self, id: PluginId) -> Option<&mut PluginTracker<P>> {
        let slot = self.slots.get(id)?;
        self.trackers.get_mut(slot as usize)?.as_mut()
    }

    /// The position of `name` in the order of the names, or where it would be inserted.
    fn name_position(&self, name: &str) -> usize {
        self.name_order.partition_point(|&slot| {
            self.trackers[slot as usize].as_ref().is_some_and(|tracker| **tracker.name() < *name)
        })
    }

    fn register(&mut self, id: PluginId, name: Arc<str>, events: EventCounter, now: &TimePoint) {
        #[cfg(feature = "store")]
        if self.register_restored(id, &name, now) {
            return;
        }
        let slot = self.slots.allocate(id);
        self.name_order.insert(self.name_position(&name), slot);
        let first_tick = self.history.tick() + 1;
        let mut tracker = PluginTracker::new(id, name, events, slot, first_tick, now);
        tracker.notify(NotificationKind::Registered, now, &mut self.effects);
        tracker.set_limits(&self.limits, now, &mut self.effects);
        let end = self.slots.end() as usize;
        if self.trackers.len() < end {
            self.trackers.resize_with(end, || None);
        }
        self.trackers[slot as usize] = Some(tracker);
        (self.is_changed, self.is_set_changed) = (true, true);
    }

    /// Whether a limit of the number of processes of trees was reached since the last call.
    pub(crate) fn take_tree_limit_warning(&mut self) -> bool {
        self.trees.take_limit_warning()
    }

    fn forget(&mut self, id: PluginId) {
        let Some(slot) = self.slots.release(id) else {
            return;
        };
        let tracker = self.trackers[slot as usize].as_ref();
        let position = tracker.map(|tracker| self.name_position(tracker.name()));
        let (Some(position), Some(tracker)) = (position, self.trackers[slot as usize].take())
        else {
            return;
        };
        self.name_order.remove(position);
        self.trackers.truncate(self.slots.end() as usize);
        // The totals are the tick's, over the plugins that were registered then and still are.
        if let Some(newest) = self.history.newest(slot, tracker.registered_tick()) {
            self.sums.remove(&newest, self.info.process_trees);
            self.sums.write_to(&mut self.system);
        }
        (self.is_changed, self.is_set_changed) = (true, true);
    }

    /// Processes the first `count` pending exits: those that were pending before the commands that
    /// were applied since. For a later exit the queue may still hold a report of the host.
    fn process_exits<Pr>(&mut self, count: usize, now: TimePoint, probe: &mut Pr)
    where
        Pr: Probe<Process = P, Member = M>,
    {
        let pending = &mut self.effects.pending_exits;
        let later = pending.split_off(count.min(pending.len()));
        for exit in std::mem::replace(pending, later) {
            self.with_tracker(exit.plugin, now, probe, |tracker, context| {
                tracker.process_exit(&exit, context);
            });
        }
    }

    /// Counts the pending crashes that are due; all of them if `is_end`.
    fn confirm_crashes(&mut self, now: &TimePoint, is_end: bool) {
        let is_due = |due: MonoNanos| is_end || due <= now.mono;
        while let Some(crash) = self.effects.pending_crashes.pop_front_if(|crash| is_due(crash.due))
        {
            let Some(slot) = self.slots.get(crash.plugin) else { continue };
            let Self { trackers, effects, clean_exit_codes, .. } = self;
            if let Some(tracker) = &mut trackers[slot as usize] {
                tracker.confirm_crash(&crash);
                tracker.notify_changes(now, clean_exit_codes, effects);
                self.is_changed |= tracker.is_changed();
            }
        }
    }

    /// Records the cost of the tick that has just been made.
    fn set_tick_cost(&mut self, cost: &TickCost) {
        let since_start = cost.end.since(self.info.started.mono);
        self.stats.last_tick_duration = cost.duration;
        self.stats.cpu_time = cost.cpu_time;
        self.stats.overhead_percent = cost
            .cpu_time
            .filter(|_| !since_start.is_zero())
            .map(|cpu| cpu.as_secs_f64() / since_start.as_secs_f64() * 100.0);
    }

    const fn set_missed_ticks(&mut self, missed: u64) {
        self.stats.missed_ticks = missed;
    }

    /// Builds the snapshot of the current state, to be published.
    fn build_snapshot(&mut self, now: &TimePoint, status: CollectorStatus) -> Arc<SnapshotInner> {
        if self.is_changed {
            self.update_table();
        }
        self.revision += 1;
        self.system.uptime = now.boot.saturating_sub(self.info.started.boot);
        self.history.build_snapshot(SnapshotHeader {
            info: self.info,
            revision: self.revision,
            status,
            system: self.system,
            sampler: self.stats,
        })
    }

    fn retire_snapshot(&mut self, old: Arc<SnapshotInner>) {
        self.history.retire_snapshot(old);
    }

    fn update_table(&mut self) {
        let Self { trackers, name_order, history, is_set_changed, system, .. } = self;
        (system.plugins_running, system.plugins_crashed) = (0, 0);
        system.total_plugins = name_order.len();
        history.update_table(|table, current| {
            table.names = if *is_set_changed {
                let named = name_order.iter().filter_map(|&slot| trackers[slot as usize].as_ref());
                let names = named.map(|tracker| Arc::clone(tracker.name()));
                Arc::new(NameIndex::from_sorted(names))
            } else {
                Arc::clone(&current.names)
            };
            table.records.truncate(name_order.len());
            for (position, &slot) in name_order.iter().enumerate() {
                let Some(tracker) = &mut trackers[slot as usize] else {
                    unreachable!("the name order contains the slots in use");
                };
                let state = tracker.state();
                let is_running = state == PluginState::Running && tracker.has_active_run();
                system.plugins_running += usize::from(is_running);
                system.plugins_crashed += usize::from(state == PluginState::Crashed);
                // Most records are unchanged since this table was last in use: comparing two
                // pointers is cheaper than counting one more owner.
                let record = tracker.record();
                match table.records.get_mut(position) {
                    Some(old) if Arc::ptr_eq(old, record) => {}
                    Some(old) => *old = Arc::clone(record),
                    None => table.records.push(Arc::clone(record)),
                }
            }
        });
        (self.is_changed, self.is_set_changed) = (false, false);
    }
}

impl<P, M> Engine<P, M> {
    /// Applies a report of the host. Exits that are detected by it become pending.
    fn update<Pr: Probe<Process = P, Member = M>>(
        &mut self,
        id: PluginId,
        update: PluginUpdate,
        now: TimePoint,
        probe: &mut Pr,
    ) {
        self.has_limits |= matches!(update, PluginUpdate::Limits(_));
        let begins_run =
            matches!(update, PluginUpdate::Started(_) | PluginUpdate::ChildStarted(..));
        self.with_tracker(id, now, probe, |tracker, context| tracker.apply(update, context));
        let oldest = self.history.oldest();
        if begins_run && let Some(tracker) = self.tracker(id) {
            tracker.prune_runs(oldest);
        }
    }

    fn remove<Pr>(&mut self, id: PluginId, now: TimePoint, probe: &mut Pr)
    where
        Pr: Probe<Process = P, Member = M>,
    {
        self.with_tracker(id, now, probe, |tracker, context| {
            tracker.remove_tree(context);
            tracker.notify_removal(&now, context.effects);
        });
        self.forget(id);
    }

    /// The process of `token` is reported to have exited.
    fn on_exit_notification<Pr: Probe<Process = P, Member = M>>(
        &mut self,
        token: u64,
        now: TimePoint,
        probe: &mut Pr,
    ) {
        let (slot, run_key) = ((token >> 32) as usize, token as u32);
        let tracker = self.trackers.get(slot).and_then(Option::as_ref);
        let Some(id) = tracker.map(PluginTracker::id) else {
            return;
        };
        self.with_tracker(id, now, probe, |tracker, context| {
            tracker.on_exit_notification(run_key, context);
        });
    }

    fn with_tracker<Pr: Probe<Process = P, Member = M>>(
        &mut self,
        id: PluginId,
        now: TimePoint,
        probe: &mut Pr,
        act: impl FnOnce(&mut PluginTracker<P>, &mut TrackerContext<'_, Pr>),
    ) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        let Self { trackers, trees, effects, history, clean_exit_codes, .. } = self;
        let Some(tracker) = &mut trackers[slot as usize] else {
            return;
        };
        let tick = history.tick();
        let mut context = TrackerContext { probe, trees, effects, now, tick, clean_exit_codes };
        act(tracker, &mut context);
        if tracker.is_changed() {
            tracker.notify_changes(&now, clean_exit_codes, effects);
        }
        self.is_changed |= tracker.is_changed();
    }

    /// Reads every process once and records a sample of every plugin.
    fn tick<Pr: Probe<Process = P, Member = M>>(&mut self, now: TimePoint, probe: &mut Pr) {
        let poll_interval = self.info.poll_interval;
        let Self { trackers, trees, effects, history, sums, system, stats, .. } = self;
        let clean_exit_codes = &*self.clean_exit_codes;
        let processes = trackers.iter().flatten().filter_map(PluginTracker::process);
        // If this panics, the reads that follow fail, and each is counted.
        let _: Result<(), _> = catch_probe_panic(|| probe.begin_tick(processes));
        trees.begin_tick(probe);
        let mut pending = history.begin_tick(now, trackers.len());
        let (frame, newest) = pending.parts();
        let tick = history.tick();
        let mut context = TrackerContext { probe, trees, effects, now, tick, clean_exit_codes };
        let mut recorder = TickRecorder {
            samples: &mut frame.samples,
            totals: &mut newest.totals,
            trees: &mut frame.trees,
            processes: &mut newest.processes,
            kind_counts: &mut newest.kind_counts,
            is_changed: false,
        };
        loop {
            let done = catch_probe_panic(|| {
                for tracker in &mut trackers[recorder.samples.len()..] {
                    match tracker {
                        Some(tracker) => tracker.sample(&mut context, &mut recorder),
                        None => recorder.skip(),
                    }
                }
            });
            // The read that panicked is the one whose sample is missing.
            let at = recorder.samples.len();
            if done.is_ok() || at == trackers.len() {
                break;
            }
            if let Some(tracker) = &mut trackers[at] {
                tracker.sample_after_panic(&mut context, &mut recorder);
            }
        }
        if !Pr::READS_TREES {
            record_trees(trackers, &mut context, &mut recorder);
        }
        let is_changed = recorder.is_changed;
        self.is_changed |= is_changed;
        stats.failed_reads += std::mem::take(&mut context.effects.failed_reads);
        if is_changed {
            for tracker in trackers.iter_mut().flatten().filter(|tracker| tracker.is_changed()) {
                tracker.notify_changes(&now, clean_exit_codes, effects);
            }
        }
        if self.has_limits {
            let tick = LimitTick { now, poll_interval, has_trees: self.info.process_trees };
            for tracker in trackers.iter_mut().flatten() {
                tracker.evaluate_limits(&tick, frame, newest, effects);
                self.is_changed |= tracker.is_changed();
            }
        }
        *sums = TickSums::of(frame, newest, self.info.process_trees);
        sums.write_to(system);
        stats.ticks += 1;
        history.commit(pending);
        #[cfg(feature = "store")]
        self.update_unregistered();
    }
}

/// Finishes the readings of the process trees in a tick, and records their values.
fn record_trees<P, Pr: Probe<Process = P>>(
    trackers: &mut [Option<PluginTracker<P>>],
    context: &mut TrackerContext<'_, Pr>,
    recorder: &mut TickRecorder<'_>,
) {
    if !context.trees.is_enabled() {
        return;
    }
    context.trees.finish_tick();
    while let Some(slot) = context.trees.pop_exited() {
        if let Some(Some(tracker)) = trackers.get_mut(slot as usize) {
            tracker.read_tree_of_exited(context);
        }
    }
    for tracker in trackers.iter_mut().flatten() {
        tracker.record_tick_tree(context, recorder);
    }
}
