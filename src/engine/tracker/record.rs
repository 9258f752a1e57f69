//! Records one plugin's sample of a tick.

use std::sync::Arc;

use super::active_run::{ActiveRun, NoReading, TickReading};
use super::{PluginTracker, TrackerContext};
use crate::engine::cpu_meter::ReadingSpan;
use crate::engine::tree_meter::TreeTick;
use crate::history::frame::{KindCount, TickTotals};
use crate::history::metric::Metric;
use crate::history::packed::{Memory, PackedSample};
use crate::history::tree_row::{ProcessRow, TreeRow};
use crate::history::units::{CpuShare, CpuTime};
use crate::os::Probe;
use crate::snapshot::read_error::ReadError;
use crate::time::MonoNanos;

/// The samples and totals of a tick, filled plugin by plugin.
#[derive(Debug)]
pub(crate) struct TickRecorder<'a> {
    pub samples: &'a mut Vec<PackedSample>,
    pub totals: &'a mut Vec<TickTotals>,
    /// By slot, of the plugins whose tree has other values than its root.
    pub trees: &'a mut Vec<TreeRow>,
    /// By slot, the root first, of the plugins that have such a row.
    pub processes: &'a mut Vec<ProcessRow>,
    /// By slot, of the plugins that have kinds of events.
    pub kind_counts: &'a mut Vec<KindCount>,
    /// Some plugin differs from its published record.
    pub is_changed: bool,
}

impl TickRecorder<'_> {
    /// Records that no plugin has this slot.
    pub(crate) fn skip(&mut self) {
        self.samples.push(PackedSample::MISSING);
        self.totals.push(TickTotals::default());
    }

    /// Records the tree of `slot`, whose sample was recorded before. Slots come in ascending order.
    ///
    /// Returns whether it has a row: only then, its processes are listed.
    pub(crate) fn record_tree(&mut self, slot: u32, tree: &TreeTick) -> bool {
        let at = slot as usize;
        let (Some(&own), Some(totals)) = (self.samples.get(at), self.totals.get_mut(at)) else {
            return false;
        };
        totals.others_cpu = tree.others_cpu;
        let row = tree.row(own).map(|values| TreeRow { slot, values });
        self.trees.extend(row);
        row.is_some()
    }
}

impl<P> PluginTracker<P> {
    /// Reads the process, and records a sample and the plugin's totals.
    #[inline]
    pub(crate) fn sample<Pr: Probe<Process = P>>(
        &mut self,
        context: &mut TrackerContext<'_, Pr>,
        recorder: &mut TickRecorder<'_>,
    ) {
        let began = |active: &ActiveRun<P>| active.span.as_ref().map(ReadingSpan::first_at);
        let since = if Pr::READS_TREES { self.active.as_ref().and_then(began) } else { None };
        let reading = self.active.as_mut().map(|active| active.read(context.probe));
        if Pr::READS_TREES {
            self.push_tree_reading(&reading, since, context.probe);
        } else {
            self.set_root_reading(&reading, context);
        }
        self.record_sample(reading, context, recorder);
    }

    /// Records a sample without values because the read has panicked.
    pub(crate) fn sample_after_panic<Pr: Probe<Process = P>>(
        &mut self,
        context: &mut TrackerContext<'_, Pr>,
        recorder: &mut TickRecorder<'_>,
    ) {
        let failed = self.active.as_ref().map(|_| Err(NoReading::Failed(ReadError::UNKNOWN)));
        self.record_sample(failed, context, recorder);
    }

    #[inline]
    fn record_sample<Pr: Probe<Process = P>>(
        &mut self,
        reading: Option<Result<TickReading, NoReading>>,
        context: &mut TrackerContext<'_, Pr>,
        recorder: &mut TickRecorder<'_>,
    ) {
        if self.awaits_status {
            self.request_late_statuses(context);
        }
        let mut memory = Memory::Unknown;
        let mut cpu = None;
        if let (Some(active), Some(reading)) = (&mut self.active, reading) {
            match reading {
                Ok(TickReading { reading, attached_now, is_first }) => {
                    memory = reading.resident.map_or(Memory::Unknown, Memory::Resident);
                    self.min_nanos = active.min_nanos;
                    let is_newest = |span: &&mut ReadingSpan| span.last_at() == reading.at;
                    let has_span = active.span.is_some();
                    let span = active.span.as_mut().filter(is_newest);
                    let is_measured = span.as_ref().is_some_and(|span| span.has_two_readings());
                    cpu = self.meter.take(span, self.min_nanos);
                    if is_first && has_span {
                        self.set_first_read(context.now.mono);
                    } else if !is_measured {
                        self.set_share_without_run(cpu, context.now.mono);
                    }
                    if let Some(is_suspended) = reading.is_suspended {
                        self.set_suspended(Some(is_suspended), context.now.wall);
                    }
                    self.set_read_error(None, context.effects);
                    if attached_now {
                        self.set_process_start(&context.now);
                    }
                }
                // The sample has no values; the CPU interval continues.
                Err(NoReading::Exited(exit, _)) => {
                    memory = Memory::Exited;
                    let run = active.about.run;
                    self.queue_exit(run, exit, context);
                }
                Err(NoReading::AlreadyExited) => memory = Memory::Exited,
                Err(NoReading::Failed(error)) => {
                    // The interval of the active run continues: it has no end at this tick.
                    cpu = self.meter.take(None, self.min_nanos);
                    self.set_share_without_run(cpu, context.now.mono);
                    context.effects.failed_reads += 1;
                    self.set_read_error(Some(error), context.effects);
                }
            }
        } else {
            cpu = self.meter.take(None, self.min_nanos);
            if let Some(began) = self.meter.drop_ended() {
                self.exclude_from_shares(began);
            }
        }
        let counted =
            if self.events.has_kinds() { self.record_kinds(recorder) } else { self.events.own() };
        let new_events = counted.saturating_sub(self.recorded.events);
        let events = u32::try_from(new_events).unwrap_or(u32::MAX);
        let unrecorded = new_events - u64::from(events);
        let crashes = self.crash_count.saturating_sub(self.recorded.crashes);
        let crashes = u32::try_from(crashes).unwrap_or(u32::MAX);
        let (run, run_cpu) = match &self.active {
            Some(active) => (self.run_number, active.cpu_used.unwrap_or_default()),
            None => (0, CpuTime::default()),
        };
        recorder.samples.push(PackedSample::pack(cpu, memory, events, crashes, run, self.state));
        self.recorded.events += u64::from(events);
        self.recorded.crashes += u64::from(crashes);
        // The totals are the counters themselves: an increment that does not fit into a sample is
        // recorded by later samples.
        let totals = TickTotals {
            events: self.recorded.events + unrecorded,
            unrecorded_events: unrecorded,
            crashes: self.crash_count,
            run_cpu,
            others_cpu: self.others_cpu,
        };
        recorder.totals.push(totals);
        if Pr::READS_TREES && self.has_tree_readings {
            self.record_tree_reading(recorder);
        }
        recorder.is_changed |= self.is_changed;
    }

    /// The runs since `began` have ended, and have no part in a share.
    #[cold]
    fn exclude_from_shares(&mut self, began: MonoNanos) {
        self.change().runs.exclude_from_shares(began);
    }

    /// The active run was read for the first time, at this tick: a share cannot cover it before.
    #[cold]
    fn set_first_read(&mut self, at: MonoNanos) {
        let Some(run) = self.active.as_ref().map(|active| active.about.run) else { return };
        if let Some(record) = self.run_mut(run) {
            // Shares of earlier ticks were taken before it began.
            (record.began, record.missed_first_share) = (record.began.max(at), false);
        }
    }

    /// Records that the active run has no part in the share of this tick, if there is one: it is of runs that
    /// have ended since the previous share.
    #[cold]
    fn set_share_without_run(&mut self, share: Option<CpuShare>, at: MonoNanos) {
        let Some(run) = self.active.as_ref().map(|active| active.about.run) else { return };
        if share.is_some()
            && let Some(record) = self.run_mut(run)
            && record.began < at
        {
            record.missed_first_share = true;
        }
    }

    /// Records the counts of the kinds of events. Returns the plugin's total, of which they are a part.
    #[cold]
    fn record_kinds(&mut self, recorder: &mut TickRecorder<'_>) -> u64 {
        let slot = self.details.record.slot;
        let mut total = self.events.own();
        let first = recorder.kind_counts.len();
        for kind in self.events.kinds() {
            let count = kind.counter.own();
            total = total.saturating_add(count);
            recorder.kind_counts.push(KindCount { slot, count });
        }
        let recorded = self.details.record.event_kinds.as_ref().map_or(0, |kinds| kinds.len());
        // A kind that was added since it was counted is recorded by the next tick.
        let counted = recorder.kind_counts.len() - first;
        if counted > recorded {
            let names = self.events.kinds().take(counted).map(|kind| Arc::clone(&kind.name));
            let names = Arc::new(names.collect());
            self.change().event_kinds = Some(names);
        }
        total
    }

    /// Adds the reading of the tree that comes with a reading of its process. `since` is when the
    /// share of the process began before this reading.
    #[inline]
    fn push_tree_reading<Pr: Probe<Process = P>>(
        &mut self,
        reading: &Option<Result<TickReading, NoReading>>,
        since: Option<MonoNanos>,
        probe: &Pr,
    ) {
        let Some(Ok(TickReading { reading, .. })) = reading else { return };
        let process = self.active.as_ref().and_then(|active| active.process.as_ref());
        let tree = process.and_then(|process| probe.tree(process));
        if tree.is_some() || self.has_tree_readings {
            self.has_tree_readings = true;
            self.details.rare().tree.push(tree, reading.at, since.unwrap_or(reading.at));
        }
    }

    /// Records the tree of a plugin whose readings come with readings of the tree.
    #[cold]
    fn record_tree_reading(&mut self, recorder: &mut TickRecorder<'_>) {
        let Some(&own) = recorder.samples.last() else { return };
        let tick = self.details.rare().tree.take(own, self.min_nanos);
        if !self.record_tree(&tick, recorder) {
            return;
        }
        // Such readings do not list the descendants.
        if let Some(about) = self.active.as_ref().map(|active| &active.about) {
            recorder.processes.push(ProcessRow {
                slot: self.details.record.slot,
                pid: about.pid,
                parent: 0,
                cpu: own.get(Metric::Cpu),
                kib: own.get(Metric::Memory),
                name: about.name,
            });
        }
    }

    /// Records the tree's values of the tick whose sample was recorded before; returns whether they
    /// are others than those of the process, so that the processes are to be listed.
    pub(crate) fn record_tree(&mut self, tree: &TreeTick, recorder: &mut TickRecorder<'_>) -> bool {
        // Also kept for the ticks in which there is no tree.
        let restored = self.details.record.restored.as_ref();
        let restored = restored.map_or(0, |restored| restored.others_cpu.0);
        let used = tree.others_cpu.0.saturating_add(restored);
        self.others_cpu = self.others_cpu.max(CpuTime(used));
        let tree = TreeTick { others_cpu: self.others_cpu, ..*tree };
        recorder.record_tree(self.details.record.slot, &tree)
    }
}
