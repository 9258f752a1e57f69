//! The process tree of one plugin: when its root is added, read and released.

use std::sync::Arc;

use super::active_run::{ActiveRun, Checked, Liveness, NoReading, TickReading};
use super::record::TickRecorder;
use super::{PluginTracker, TrackerContext};
use crate::engine::effects::{Cause, Warning};
use crate::engine::process_tree::{FinalRoot, RootReading};
use crate::history::metric::Metric;
use crate::history::tree_row::ProcessRow;
use crate::history::units::CpuTime;
use crate::os::Probe;
use crate::snapshot::run::RunId;
use crate::sync::command::ChildReading;

impl<P> PluginTracker<P> {
    /// Checks the process of a run that has ended, or may have, with its tree: the times of children
    /// that it has waited for are lost once it is reaped.
    pub(super) fn check_with_tree<Pr: Probe<Process = P>>(
        slot: u32,
        active: &mut ActiveRun<P>,
        context: &mut TrackerContext<'_, Pr>,
    ) -> Liveness {
        if active.has_exited() {
            return Liveness::AlreadyExited;
        }
        context.trees.begin_exit_pass(slot, context.probe);
        let Checked { liveness, root } = active.check(context.probe);
        context.trees.finish_exit_pass(slot, root);
        liveness
    }

    /// Adds the process of the active run as the root of the plugin's tree, once it is attached.
    pub(super) fn follow_tree<Pr: Probe<Process = P>>(
        slot: u32,
        active: &mut ActiveRun<P>,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let Some(root) = active.new_root().filter(|_| !active.has_exited()) else { return };
        let (run, now) = (active.about.run, context.now.mono);
        active.about.is_followed = true;
        if let Some(from) = context.trees.follow(slot, run, root, now, context.probe) {
            active.count_from(from);
        }
    }

    /// The active run ends: its process is no longer the root.
    pub(super) fn release_tree<Pr: Probe<Process = P>>(
        slot: u32,
        active: &mut ActiveRun<P>,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let (is_waited_for, counted) = (active.about.is_waited_for, active.counted_cpu());
        let TrackerContext { trees, probe, .. } = context;
        trees.release(slot, is_waited_for, counted, *probe, |probe| active.read_root(probe));
    }

    /// The plugin is removed.
    pub(crate) fn remove_tree<Pr: Probe<Process = P>>(
        &mut self,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let slot = self.details.record.slot;
        if let Some(active) = &mut self.active {
            Self::release_tree(slot, active, context);
        }
        context.trees.remove(slot);
    }

    /// The host has reaped the process of a run without a reading of it.
    pub(super) fn on_reaped_root<Pr: Probe<Process = P>>(
        &self,
        run: RunId,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let slot = self.details.record.slot;
        if self.active.as_ref().is_some_and(|active| active.about.run == run) {
            context.trees.begin_exit_pass(slot, context.probe);
            context.trees.finish_exit_pass(slot, RootReading::Reaped);
        }
    }

    /// The host has reaped the child of a run after a reading of it.
    pub(super) fn on_final_root<Pr: Probe<Process = P>>(
        &self,
        run: RunId,
        last: ChildReading,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let last = FinalRoot { cpu_time: last.cpu_time, children_cpu: last.children_cpu };
        context.trees.set_final_root(self.details.record.slot, run, last, context.probe);
    }

    /// The host has reaped the child of a run that was never attached, after a reading of it: the
    /// children for which that has waited count as well.
    pub(super) fn on_final_unfollowed<Pr: Probe<Process = P>>(
        &self,
        last: ChildReading,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let (slot, now) = (self.details.record.slot, context.now.mono);
        let last = FinalRoot { cpu_time: last.cpu_time, children_cpu: last.children_cpu };
        context.trees.count_unfollowed(slot, last, now);
    }

    /// Stores a tick's reading of the process.
    #[inline]
    pub(super) fn set_root_reading<Pr: Probe<Process = P>>(
        &self,
        reading: &Option<Result<TickReading, NoReading>>,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let Some(active) = &self.active else { return };
        let root = match reading {
            Some(Ok(_)) => RootReading::Alive { cpu_time: active.counted_cpu() },
            Some(Err(NoReading::Exited(_, root))) => *root,
            Some(Err(NoReading::AlreadyExited | NoReading::Failed(_))) | None => return,
        };
        context.trees.set_root_reading(self.details.record.slot, root);
    }

    /// The tick has detected the exit of the process, and all processes were read: reads the tree once
    /// more, as long as the process is a zombie.
    pub(crate) fn read_tree_of_exited<Pr: Probe<Process = P>>(
        &mut self,
        context: &mut TrackerContext<'_, Pr>,
    ) {
        let slot = self.details.record.slot;
        let Some(active) = &mut self.active else { return };
        context.trees.begin_exit_pass(slot, context.probe);
        let root = active.read_root(context.probe);
        context.trees.finish_exit_pass(slot, root);
    }

    /// CPU time of the processes of all runs.
    pub(super) fn own_cpu(&self) -> CpuTime {
        let active = self.active.as_ref().and_then(|active| active.cpu_used);
        let CpuTime(ended) = self.details.record.ended_cpu.into();
        CpuTime(ended.saturating_add(active.unwrap_or_default().0))
    }

    /// Records the values of the tree beside the sample of this tick.
    pub(crate) fn record_tick_tree<Pr: Probe<Process = P>>(
        &mut self,
        context: &mut TrackerContext<'_, Pr>,
        recorder: &mut TickRecorder<'_>,
    ) {
        let slot = self.details.record.slot;
        if let Some(active) = &mut self.active
            && context.trees.is_unfollowed(slot)
        {
            Self::follow_tree(slot, active, context);
        }
        let Some(&own) = recorder.samples.get(slot as usize) else { return };
        let now = context.now.mono;
        let (own_cpu, min_nanos) = (|| self.own_cpu(), self.min_nanos);
        let Some(tree) = context.trees.tick_values(slot, own, own_cpu, now, min_nanos) else {
            return;
        };
        if let Some(survivors) = tree.survivors {
            self.set_survivors(survivors, context.now.wall);
            recorder.is_changed |= self.is_changed;
        }
        if let Some(error) = context.trees.take_cgroup_failure(slot)
            && self.active.is_some()
        {
            // After the end of a run it is usual that the host removes the cgroup.
            let plugin = Arc::clone(self.name());
            context.effects.warnings.push(Warning { plugin, cause: Cause::Cgroup(error) });
        }
        if !self.record_tree(&tree, recorder) {
            return;
        }
        let mut listed = 0;
        if let Some(active) = self.active.as_ref().filter(|active| !active.has_exited()) {
            listed = 1;
            recorder.processes.push(ProcessRow {
                slot,
                pid: active.about.pid,
                parent: 0,
                cpu: own.get(Metric::Cpu),
                kib: own.get(Metric::Memory),
                name: active.about.name,
            });
        }
        context.trees.list(slot, listed, recorder.processes);
    }
}
