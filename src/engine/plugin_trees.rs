//! The process trees of the plugins: connects the trackers, which read the roots, with the rule, which
//! counts the descendants.

use super::cgroup_meter::{CgroupMeter, NewRun};
use super::process_tree::roots::NewRoot;
use super::process_tree::{
    AddedRoot, FinalRoot, ProcessTrees, RootReading, TreeId, TreeProcess, TreeUsage,
};
use super::tracker::active_run::catch_probe_panic;
use super::tree_meter::TreeTick;
use crate::history::metric::{FIRST_MISSING, UNKNOWN};
use crate::history::packed::PackedSample;
use crate::history::tree_row::{MAX_LISTED, ProcessRow};
use crate::history::units::{CpuShare, CpuTime, ResidentBytes};
use crate::os::Probe;
use crate::snapshot::run::RunId;
use crate::sync::cgroup::{CgroupReadError, CgroupReader};
use crate::time::MonoNanos;

/// The trees of all plugins. `M` is what the probe keeps for a descendant.
#[derive(Debug)]
pub(crate) struct PluginTrees<M> {
    rule: ProcessTrees<M>,
    is_enabled: bool,
    /// By slot.
    plugins: Vec<PluginTree>,
    /// In the order of the slots: of plugins for which the host has named a cgroup.
    cgroups: Vec<(u32, CgroupMeter)>,
    /// A pass of the rule has begun, and was not finished.
    is_in_pass: bool,
    /// The descendants were read in the current tick.
    is_tick_read: bool,
    /// Slots of the roots whose exits the current tick has detected.
    exited: Vec<u32>,
    listed: Vec<TreeProcess>,
}

/// The tree of one plugin.
#[derive(Clone, Copy, Debug, Default)]
struct PluginTree {
    root: Root,
    /// The run whose process is the root, or was the last one.
    run: Option<RunId>,
    /// CPU time that descendants have used while the process was the root of another plugin's tree.
    shared_cpu: CpuTime,
    /// The last share that was taken, and when.
    share: Option<CpuShare>,
    share_at: MonoNanos,
}

/// Whether the process of the active run is the root of a tree.
#[derive(Clone, Copy, Debug, Default)]
enum Root {
    #[default]
    None,
    Own,
    /// Two plugins have reported the same process, which is the root of the other one's tree.
    Of {
        tree: TreeId,
        pid: u32,
        others_cpu: CpuTime,
    },
}

impl<M> PluginTrees<M> {
    pub(crate) fn new(is_enabled: bool) -> Self {
        Self {
            rule: ProcessTrees::new(),
            is_enabled,
            plugins: Vec::new(),
            cgroups: Vec::new(),
            is_in_pass: false,
            is_tick_read: false,
            exited: Vec::new(),
            listed: Vec::new(),
        }
    }

    pub(crate) const fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    fn root(&self, slot: u32) -> Root {
        self.plugins.get(slot as usize).map_or(Root::None, |plugin| plugin.root)
    }

    fn is_root(&self, slot: u32) -> bool {
        matches!(self.root(slot), Root::Own)
    }

    /// Calls the rule with the probe's source of descendants. `None` if there is none, and if the
    /// source has panicked.
    fn with_source<Pr: Probe<Member = M>, T>(
        &mut self,
        probe: &mut Pr,
        act: impl FnOnce(&mut ProcessTrees<M>, &mut Pr::Trees) -> T,
    ) -> Option<T> {
        if !self.is_enabled {
            return None;
        }
        let rule = &mut self.rule;
        catch_probe_panic(|| probe.trees().map(|source| act(rule, source))).ok().flatten()
    }

    /// Follows the tree of a run's process, which the tracker has attached. Returns from which CPU time
    /// on the tracker counts the process: what is below counts elsewhere.
    pub(crate) fn follow<Pr: Probe<Member = M>>(
        &mut self,
        slot: u32,
        run: RunId,
        root: NewRoot,
        now: MonoNanos,
        probe: &mut Pr,
    ) -> Option<CpuTime> {
        let id = TreeId(slot);
        let added = self.with_source(probe, |rule, source| rule.add_root(id, root, now, source));
        if !self.is_enabled {
            return None;
        }
        let (root, counts_from) = match added {
            Some(AddedRoot::Followed { counts_from }) => (Root::Own, counts_from),
            // It was added by a call that has panicked.
            Some(AddedRoot::RootOf(tree)) if tree == id => (Root::Own, None),
            Some(AddedRoot::RootOf(tree)) => {
                let others_cpu = self.rule.usage(tree).map_or(CpuTime(0), |usage| usage.others_cpu);
                (Root::Of { tree, pid: root.pid, others_cpu }, None)
            }
            // The next tick tries again.
            None => (Root::None, None),
        };
        let plugin = self.plugin_mut(slot);
        (plugin.root, plugin.run) = (root, Some(run));
        counts_from
    }

    /// Whether the tree of a plugin whose process is attached has to be followed by
    /// [`follow`](Self::follow).
    pub(crate) fn is_unfollowed(&self, slot: u32) -> bool {
        self.is_enabled
            && match self.root(slot) {
                Root::None => true,
                Root::Own => false,
                // The other plugin's run has ended.
                Root::Of { tree, pid, .. } => self.rule.root_pid(tree) != Some(pid),
            }
    }

    /// The next run has the same process.
    pub(crate) fn continue_root(&mut self, slot: u32, run: RunId) {
        if let Some(plugin) = self.plugins.get_mut(slot as usize) {
            plugin.run = Some(run);
        }
    }

    /// The place of a plugin's meter, or where it would be inserted.
    fn cgroup_place(&self, slot: u32) -> Result<usize, usize> {
        self.cgroups.binary_search_by_key(&slot, |(slot, _)| *slot)
    }

    fn cgroup(&mut self, slot: u32) -> Option<&mut CgroupMeter> {
        // Most hosts name none.
        if self.cgroups.is_empty() {
            return None;
        }
        let at = self.cgroup_place(slot).ok()?;
        Some(&mut self.cgroups[at].1)
    }

    /// A run begins, whose root was [followed](Self::follow) or [continues](Self::continue_root).
    /// `own` is the CPU time of the plugin's processes so far.
    pub(crate) fn begin_run(
        &mut self,
        slot: u32,
        cgroup: Option<Box<dyn CgroupReader>>,
        is_same_process: bool,
        now: MonoNanos,
        own: impl FnOnce() -> CpuTime,
    ) {
        let place = self.cgroup_place(slot);
        if !self.is_enabled || (cgroup.is_none() && place.is_err()) {
            return;
        }
        let previous = place.ok().map(|at| self.cgroups.remove(at).1);
        let usage = self.rule.usage(TreeId(slot));
        let has_survivors = is_same_process || usage.is_some_and(|usage| usage.processes > 0);
        let rule = self.others_by_rule(slot, usage);
        let run = NewRun { cgroup, own: own(), rule, has_survivors, now };
        let (Ok(at) | Err(at)) = place;
        self.cgroups.insert(at, (slot, CgroupMeter::new(run, previous)));
    }

    /// Why the cgroup of a plugin is not read any more. Only the first call returns it.
    pub(crate) fn take_cgroup_failure(&mut self, slot: u32) -> Option<CgroupReadError> {
        self.cgroup(slot)?.take_failure()
    }

    /// Begins to read the tree of a run that has ended, or may have. After that the tracker reads the
    /// process, as the order of the rule requires, and finishes by
    /// [`finish_exit_pass`](Self::finish_exit_pass).
    pub(crate) fn begin_exit_pass<Pr: Probe<Member = M>>(&mut self, slot: u32, probe: &mut Pr) {
        if let Some(cgroup) = self.cgroup(slot) {
            cgroup.read();
        }
        if self.is_root(slot) {
            let id = TreeId(slot);
            let begun =
                self.with_source(probe, |rule, source| rule.begin_exit_pass(id, source, None));
            self.is_in_pass = begun.is_some();
        }
    }

    pub(crate) fn finish_exit_pass(&mut self, slot: u32, root: RootReading) {
        // The tracker has counted the reading, even if the source has panicked.
        if self.is_root(slot) {
            self.rule.set_root_reading(TreeId(slot), root);
        }
        if std::mem::take(&mut self.is_in_pass) {
            self.rule.finish_pass();
        }
    }

    /// Counts the last times of a root, which the host's thread has read before it reaped the process.
    pub(crate) fn set_final_root<Pr: Probe<Member = M>>(
        &mut self,
        slot: u32,
        run: RunId,
        last: FinalRoot,
        probe: &mut Pr,
    ) {
        let plugin = self.plugins.get(slot as usize);
        if plugin.is_some_and(|plugin| plugin.run == Some(run)) {
            let id = TreeId(slot);
            self.with_source(probe, |rule, source| rule.exit_pass(id, source, Some(last)));
        }
    }

    /// Counts the children of a run's process that was reaped before its tree could be followed.
    pub(crate) fn count_unfollowed(&mut self, slot: u32, last: FinalRoot, now: MonoNanos) {
        if self.is_enabled {
            self.plugin_mut(slot);
            // This process has waited for it.
            self.rule.count_unfollowed(TreeId(slot), last, std::process::id(), now);
        }
    }

    fn plugin_mut(&mut self, slot: u32) -> &mut PluginTree {
        let at = slot as usize;
        if self.plugins.len() <= at {
            self.plugins.resize(at + 1, PluginTree::default());
        }
        &mut self.plugins[at]
    }

    /// The active run ends. If its process lives, it goes on as a descendant. `counted` is the CPU time
    /// up to which the tracker has counted it, and `read` reads it through the tracker.
    pub(crate) fn release<Pr: Probe<Member = M>>(
        &mut self,
        slot: u32,
        is_waited_for: bool,
        counted: Option<CpuTime>,
        probe: &mut Pr,
        read: impl FnOnce(&mut Pr) -> RootReading,
    ) {
        let Some(plugin) = self.plugins.get_mut(slot as usize) else { return };
        let Root::Own = std::mem::take(&mut plugin.root) else { return };
        let id = TreeId(slot);
        let root = self.with_source(probe, |rule, source| rule.release_root(id, counted, source));
        if let Some(Some(root)) = root {
            let reading = read(probe);
            self.rule.hold_root(root, reading);
        }
        // The last times of a child may arrive later than its exit was detected.
        if !is_waited_for {
            self.rule.forget_reaped_root(id);
        }
    }

    /// The active run has ended, and its tracker has forgotten the process, which may live.
    pub(crate) fn lose(&mut self, slot: u32, counted: Option<CpuTime>) {
        let Some(plugin) = self.plugins.get_mut(slot as usize) else { return };
        if let Root::Own = std::mem::take(&mut plugin.root) {
            self.rule.lose_root(TreeId(slot), counted);
        }
    }

    /// The plugin was removed, after its active run was [released](Self::release).
    pub(crate) fn remove(&mut self, slot: u32) {
        if let Some(plugin) = self.plugins.get_mut(slot as usize) {
            *plugin = PluginTree::default();
            self.rule.remove_tree(TreeId(slot));
        }
        self.cgroups.retain(|(other, _)| *other != slot);
    }

    /// Begins a tick: finds and reads the descendants. After that the trackers read the roots.
    pub(crate) fn begin_tick<Pr: Probe<Member = M>>(&mut self, probe: &mut Pr) {
        for (_, cgroup) in &mut self.cgroups {
            cgroup.read();
        }
        let begun = self.with_source(probe, ProcessTrees::begin_pass);
        self.is_tick_read = begun.is_some();
    }

    /// Stores the tick's reading of an active run's process.
    #[inline]
    pub(crate) fn set_root_reading(&mut self, slot: u32, reading: RootReading) {
        if self.is_root(slot) {
            // The tracker has counted the reading, even if the source has panicked.
            self.rule.set_root_reading(TreeId(slot), reading);
            let is_exited = matches!(reading, RootReading::Zombie { .. } | RootReading::Reaped);
            if self.is_tick_read && is_exited {
                self.exited.push(slot);
            }
        }
    }

    /// Finishes the readings of a tick.
    pub(crate) fn finish_tick(&mut self) {
        if self.is_tick_read {
            self.rule.finish_pass();
        }
    }

    /// Removes and returns the slot of a root whose exit the tick has detected.
    pub(crate) fn pop_exited(&mut self) -> Option<u32> {
        self.exited.pop()
    }

    /// Whether a limit of the number of processes was reached since the last call.
    pub(crate) fn take_limit_warning(&mut self) -> bool {
        self.rule.take_limit_warning()
    }

    /// The values of a plugin's tree in this tick, beside the sample of its process. `None` if there
    /// is no tree: no run, and no process that has survived one.
    ///
    /// The share begins anew if the sample has one, as that of the process does. `own_cpu` is the CPU
    /// time of the plugin's processes so far.
    pub(crate) fn tick_values(
        &mut self,
        slot: u32,
        own: PackedSample,
        own_cpu: impl FnOnce() -> CpuTime,
        now: MonoNanos,
        min_nanos: u64,
    ) -> Option<TreeTick> {
        if !self.is_enabled {
            return None;
        }
        let (root, has_run) = (self.root(slot), own.run().is_some());
        let id = match root {
            Root::Of { tree, .. } => tree,
            Root::None | Root::Own => TreeId(slot),
        };
        let usage = self.rule.usage(id);
        if usage.is_none() && !has_run {
            return None;
        }
        if let (Root::Of { tree, pid, others_cpu: before }, Some(usage)) = (root, &usage)
            && let Some(plugin) = self.plugins.get_mut(slot as usize)
        {
            let growth = usage.others_cpu.0.saturating_sub(before.0);
            plugin.shared_cpu.0 = plugin.shared_cpu.0.saturating_add(growth);
            plugin.root = Root::Of { tree, pid, others_cpu: usage.others_cpu };
        }
        // A plugin that shows the tree of another one may have survivors of its own.
        let of_slot = if id == TreeId(slot) { usage } else { self.rule.usage(TreeId(slot)) };
        let mut others_cpu = self.others_by_rule(slot, of_slot);
        // Without a reading of the process, its part of the cgroup's CPU time is unknown.
        let is_own_read = !has_run || (own.cpu().is_some() && own.resident().is_some());
        if let Some(cgroup) = self.cgroup(slot) {
            if is_own_read {
                cgroup.count(own_cpu());
            }
            others_cpu = cgroup.total(others_cpu);
        }
        let unknown = TreeTick {
            others_cpu,
            others_share: None,
            processes: None,
            survivors: None,
            resident: None,
        };
        let is_followed = !has_run || !matches!(root, Root::None);
        let Some(usage) = usage.filter(|_| self.is_tick_read && is_followed) else {
            return Some(unknown);
        };
        // The interval continues if that of the process does.
        let others_share = if has_run && own.cpu().is_none() {
            None
        } else {
            let by_rule = self.share(id, now, min_nanos);
            match self.cgroup(slot) {
                Some(cgroup) => cgroup.take_share(others_cpu, by_rule, now, min_nanos),
                None => by_rule,
            }
        };
        if !usage.is_complete {
            return Some(TreeTick { others_share, ..unknown });
        }
        // A size below 1 KiB is recorded as 0, and known.
        let own_resident = own.resident().map(|bytes| bytes.max(1));
        let is_known = own.cpu().is_some() || own_resident.is_some();
        let (processes, resident) = if !has_run || own.is_exited() {
            (Some(usage.processes), usage.resident)
        } else {
            let resident = own_resident.zip(usage.resident);
            let sum = resident.map(|(own, others)| own.saturating_add(others));
            (is_known.then(|| usage.processes.saturating_add(1)), sum)
        };
        let resident = resident.and_then(ResidentBytes::new);
        let survivors = match root {
            // The tree is another plugin's. In its own one, a process that was replaced may be alive: only
            // without any process it is known that there are no survivors.
            Root::Of { .. } => {
                let is_empty = |tree: TreeUsage| tree.is_complete && tree.processes == 0;
                of_slot.is_none_or(is_empty).then_some(0)
            }
            Root::None | Root::Own if has_run && !own.is_exited() => Some(usage.survivors),
            Root::None | Root::Own => Some(usage.processes),
        };
        Some(TreeTick { others_share, processes, survivors, resident, ..unknown })
    }

    /// CPU time of a plugin's descendants so far, by the rule.
    fn others_by_rule(&self, slot: u32, usage: Option<TreeUsage>) -> CpuTime {
        let others = usage.map_or(0, |usage| usage.others_cpu.0);
        let shared = self.plugins.get(slot as usize).map_or(0, |plugin| plugin.shared_cpu.0);
        CpuTime(others.saturating_add(shared))
    }

    /// The share of a tree's descendants, which is taken once a tick.
    fn share(&mut self, id: TreeId, now: MonoNanos, min_nanos: u64) -> Option<CpuShare> {
        let plugin = self.plugins.get_mut(id.0 as usize)?;
        if plugin.share_at != now {
            plugin.share = self.rule.take_share(id, now, min_nanos);
            plugin.share_at = now;
        }
        plugin.share
    }

    /// Appends the rows of the descendants, the busiest first, after `listed` rows of the plugin.
    pub(crate) fn list(&mut self, slot: u32, listed: usize, rows: &mut Vec<ProcessRow>) {
        let id = match self.root(slot) {
            Root::Of { tree, .. } => tree,
            Root::None | Root::Own => TreeId(slot),
        };
        self.listed.clear();
        self.listed.extend(self.rule.processes(id));
        self.listed.sort_unstable_by_key(|process| {
            (std::cmp::Reverse(process.cpu.map_or(0, |share| share.0)), process.pid)
        });
        let known = |value: Option<u32>| value.filter(|&v| v < FIRST_MISSING).unwrap_or(UNKNOWN);
        let free = MAX_LISTED.saturating_sub(listed);
        rows.extend(self.listed.iter().take(free).map(|process| ProcessRow {
            slot,
            pid: process.pid,
            parent: process.parent_pid,
            cpu: known(process.cpu.map(|share| share.0)),
            kib: known(
                process.resident.and_then(|bytes| u32::try_from(bytes.0.get() / 1_024).ok()),
            ),
            name: process.name,
        }));
    }
}
