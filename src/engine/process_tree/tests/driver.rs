//! Drives the trees as the engine does, and compares them with what was truly used.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::cases::{Call, Case};
use super::kernel::{HOST, Kernel, State};
use crate::engine::process_tree::roots::NewRoot;
use crate::engine::process_tree::{
    AddedRoot, FinalRoot, MemberLimits, ProcessTrees, RootReading, TreeId,
};
use crate::history::units::CpuTime;
use crate::os::tree::{MemberReading, TreeSource};
use crate::time::MonoNanos;

/// The tracker of a plugin with its active run.
#[derive(Clone, Copy, Debug)]
struct Tracker {
    process: usize,
    /// The CPU times between which the tracker counts since the last tick.
    span: Option<(u64, u64)>,
    /// Its exit was detected: it is not read again.
    has_exited: bool,
    /// The crate waits for it.
    is_waited_for: bool,
    root: Root,
    /// CPU time that another plugin has counted, because both had reported the process.
    shared: u64,
}

/// Whether the process is the root of the plugin's tree. As long as it is not, its own time is not
/// compared: it may count in the tree of another plugin as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    None,
    Own,
    /// The pid is that of the root of another tree.
    Of(TreeId),
}

/// A plugin: the tracker's count, over all runs, and the tree.
#[derive(Clone, Copy, Debug)]
struct Plugin {
    /// The tree in the kernel's accounts.
    account: usize,
    tracker: Option<Tracker>,
    /// The process of the last run, its CPU time that was counted, and whether it was detected to have
    /// exited before the host has delivered its last times.
    ended: Option<(usize, u64)>,
    own_cpu: u64,
    others_cpu: u64,
}

pub(super) struct Driver {
    pub kernel: Kernel,
    pub trees: ProcessTrees<usize>,
    plugins: [Option<Plugin>; 5],
    /// What removed plugins had counted, by account.
    removed: Vec<(usize, u64)>,
    /// Of each account, the group of accounts that are nested in one another.
    groups: Vec<usize>,
}

const SLOTS: std::ops::Range<u8> = 0..5;

impl Driver {
    pub(super) fn new(kernel: Kernel) -> Self {
        let plugins = [None; 5];
        let trees = ProcessTrees::new();
        Self { kernel, trees, plugins, removed: Vec::new(), groups: Vec::new() }
    }

    /// Runs a case. An error if more is counted than was used, or a total decreases.
    pub(super) fn run(case: &Case) -> Result<Self, String> {
        let is_traced = case.settings.is_traced;
        let mut driver = Self::new(Kernel::new(case.settings));
        if let Some([of_tree, of_all]) = case.settings.limits {
            driver.trees.limits = MemberLimits { of_tree: of_tree.into(), of_all: of_all.into() };
        }
        for (number, step) in case.steps.iter().enumerate() {
            for &event in &step.before {
                driver.kernel.happen(event);
            }
            if is_traced {
                println!("step {number}: {:?}", step.call);
            }
            driver.kernel.during = step.during.iter().copied().collect();
            driver.kernel.panics_after = step.panics_after;
            driver.call(step.call, case.settings.is_polite);
            driver.kernel.panics_after = None;
            driver.kernel.during.clear();
            if is_traced {
                driver.trace();
            }
            driver.check().map_err(|error| format!("step {number}: {error}"))?;
        }
        Ok(driver)
    }

    fn trace(&self) {
        println!("{:?}", self.trees.discovery);
        for (at, member) in self.trees.members.iter() {
            println!("{at}: {member:?}");
        }
        for tree in &self.trees.trees {
            println!("{tree:?}");
        }
        for plugin in self.plugins.iter().flatten() {
            println!("{plugin:?}");
        }
    }

    fn call(&mut self, call: Call, is_polite: bool) {
        self.kernel.can_fail = true;
        match call {
            Call::Tick => self.tick(),
            Call::Spawn { slot, is_leader } => {
                if let Some(root) = self.kernel.spawn(is_leader) {
                    if is_polite {
                        self.kernel.immortal.push(root);
                    }
                    self.add(slot, root, true);
                }
            }
            Call::Register { slot, pick } => {
                let processes = &self.kernel.processes;
                let mut alive: Vec<usize> = self.kernel.present().to_vec();
                alive.retain(|&at| at > HOST && processes[at].state == State::Alive);
                let in_tree: Vec<usize> =
                    alive.iter().copied().filter(|&at| processes[at].tree.is_some()).collect();
                let from = if pick % 8 == 0 || in_tree.is_empty() { alive } else { in_tree };
                if !from.is_empty() {
                    self.add(slot, from[usize::from(pick) % from.len()], false);
                }
            }
            Call::RegisterHost { slot } => self.add(slot, HOST, false),
            Call::End { slot } => {
                if let Some(tracker) = self.tracker(slot)
                    && self.kernel.processes[tracker.process].state == State::Alive
                    && tracker.process != HOST
                {
                    self.kernel.exit(tracker.process);
                }
            }
            Call::Exited { slot, should_read_others } => self.exited(slot, should_read_others),
            Call::Reap { slot } => self.reap(slot),
            Call::Delivered { slot, has_children_cpu } => self.delivered(slot, has_children_cpu),
            Call::Release { slot } => self.stop(slot),
            Call::Remove { slot } => self.remove(slot),
        }
        self.kernel.can_fail = false;
    }

    /// Calls the rule with its source, which may panic.
    pub(super) fn with_source<T>(
        &mut self,
        act: impl FnOnce(&mut ProcessTrees<usize>, &mut Kernel) -> T,
    ) -> Option<T> {
        let Self { kernel, trees, .. } = self;
        kernel.is_source = true;
        let result = catch_unwind(AssertUnwindSafe(|| act(trees, kernel)));
        kernel.is_source = false;
        result.ok()
    }

    fn read(kernel: &mut Kernel, process: usize) -> RootReading {
        match kernel.read(&process) {
            MemberReading::Alive { cpu_time, .. } => {
                RootReading::Alive { cpu_time: Some(cpu_time) }
            }
            MemberReading::Zombie { cpu_time, .. } => {
                RootReading::Zombie { cpu_time: Some(cpu_time) }
            }
            MemberReading::Reaped => RootReading::Reaped,
            MemberReading::Failed => RootReading::Failed,
        }
    }

    /// Reads the process of a run, and counts it.
    fn read_run(&mut self, slot: u8) -> RootReading {
        let Some(Tracker { process, has_exited: false, .. }) = self.tracker(slot) else {
            return RootReading::Failed;
        };
        let reading = Self::read(&mut self.kernel, process);
        match reading {
            RootReading::Alive { cpu_time: Some(CpuTime(cpu)) } => self.count(slot, cpu),
            RootReading::Zombie { cpu_time: Some(CpuTime(cpu)) } => {
                self.count(slot, cpu);
                self.set_exited(slot);
            }
            RootReading::Reaped => self.set_exited(slot),
            RootReading::Alive { cpu_time: None }
            | RootReading::Zombie { cpu_time: None }
            | RootReading::Failed => {}
        }
        reading
    }

    fn set_exited(&mut self, slot: u8) {
        if let Some(tracker) = self.tracker_mut(slot) {
            tracker.has_exited = true;
        }
    }

    fn count(&mut self, slot: u8, cpu: u64) {
        let Some(plugin) = self.plugins[usize::from(slot)].as_mut() else { return };
        let Some(tracker) = plugin.tracker.as_mut() else { return };
        let (first, last) = tracker.span.unwrap_or((cpu, cpu));
        let more = cpu.saturating_sub(last);
        if tracker.root == Root::Own {
            plugin.own_cpu += (last + more).saturating_sub(last.max(tracker.shared));
        }
        tracker.span = Some((first, last + more));
    }

    fn is_own(&self, slot: u8) -> bool {
        self.tracker(slot).is_some_and(|tracker| tracker.root == Root::Own)
    }

    pub(super) fn tick(&mut self) {
        self.kernel.be_born();
        self.kernel.refill_forks();
        self.kernel.can_fail = true;
        let is_read = self.with_source(ProcessTrees::begin_pass).is_some();
        let mut exited = Vec::new();
        for slot in SLOTS {
            let before = self.tracker(slot);
            let Some(Tracker { has_exited: false, .. }) = before else { continue };
            let reading = self.read_run(slot);
            if self.is_own(slot) {
                self.trees.set_root_reading(TreeId(slot.into()), reading);
            }
            if let Some(tracker) = self.tracker_mut(slot) {
                tracker.span = tracker.span.map(|(_, last)| (last, last));
                if tracker.has_exited {
                    exited.push(slot);
                }
            }
        }
        if is_read {
            self.trees.finish_pass();
        }
        for &slot in exited.iter().filter(|_| is_read) {
            self.read_tree_of_exited(slot);
        }
        for slot in SLOTS {
            let is_followed = match self.tracker(slot) {
                None | Some(Tracker { has_exited: true, .. }) => true,
                Some(Tracker { root: Root::None, .. }) => false,
                Some(Tracker { root: Root::Own, .. }) => true,
                Some(Tracker { root: Root::Of(tree), process, .. }) => {
                    self.trees.root_pid(tree) == Some(self.kernel.processes[process].pid)
                }
            };
            if !is_followed {
                self.follow(slot, false);
            }
        }
        // The exits that were detected are processed after the tick.
        for slot in exited {
            self.release(slot);
        }
        self.kernel.can_fail = false;
    }

    fn read_tree_of_exited(&mut self, slot: u8) {
        let id = TreeId(slot.into());
        if !self.is_own(slot) {
            return;
        }
        let Some(Tracker { process, .. }) = self.tracker(slot) else { return };
        let begun = self.with_source(|trees, source| trees.begin_exit_pass(id, source, None));
        if begun.is_some() {
            let reading = Self::read(&mut self.kernel, process);
            self.trees.set_root_reading(id, reading);
            self.trees.finish_pass();
        }
    }

    /// Checks the process of a run that has ended, or may have, with its tree.
    fn check_with_tree(&mut self, slot: u8, should_read_others: bool) {
        let id = TreeId(slot.into());
        let Some(Tracker { has_exited: false, .. }) = self.tracker(slot) else { return };
        let is_own = self.is_own(slot);
        let begun = is_own
            && self.with_source(|trees, source| trees.begin_exit_pass(id, source, None)).is_some();
        let reading = self.read_run(slot);
        if is_own {
            self.trees.set_root_reading(id, reading);
        }
        if begun {
            for other in SLOTS.filter(|&other| other != slot && should_read_others) {
                if self.is_own(other) {
                    let reading = self.read_run(other);
                    self.trees.set_root_reading(TreeId(other.into()), reading);
                }
            }
            self.trees.finish_pass();
        }
    }

    /// A process is reported: the active run ends.
    pub(super) fn add(&mut self, slot: u8, process: usize, counts_from_start: bool) {
        let account = match self.plugins[usize::from(slot)] {
            Some(plugin) => plugin.account,
            None => self.kernel.new_tree(),
        };
        if self.groups.len() <= account {
            self.groups.push(account);
        }
        // What happens during the call may count.
        for other in self.kernel.watch(process, account, counts_from_start) {
            let (from, to) = (self.groups[other], self.groups[account]);
            self.groups.iter_mut().filter(|group| **group == from).for_each(|group| *group = to);
        }
        // The new process is attached first.
        let cpu_time = match Self::read(&mut self.kernel, process) {
            RootReading::Alive { cpu_time } | RootReading::Zombie { cpu_time } => cpu_time,
            RootReading::Reaped | RootReading::Failed => None,
        };
        let previous = self.tracker(slot);
        self.check_with_tree(slot, false);
        let is_same = previous.is_some_and(|previous| previous.process == process)
            && self.tracker(slot).is_some_and(|tracker| !tracker.has_exited);
        if is_same {
            // It stays the root.
            return;
        }
        self.release(slot);
        let plugin = self.plugins[usize::from(slot)].get_or_insert(Plugin {
            account,
            tracker: None,
            ended: None,
            own_cpu: 0,
            others_cpu: 0,
        });
        let first = if counts_from_start { Some(CpuTime(0)) } else { cpu_time };
        plugin.ended = None;
        plugin.tracker = Some(Tracker {
            process,
            span: first.map(|first| (first.0, first.0)),
            has_exited: false,
            is_waited_for: counts_from_start,
            root: Root::Own,
            shared: 0,
        });
        if let Some(CpuTime(cpu)) = cpu_time {
            self.count(slot, cpu);
        }
        self.follow(slot, counts_from_start);
    }

    fn follow(&mut self, slot: u8, counts_from_start: bool) {
        let id = TreeId(slot.into());
        let Some(Tracker { process, span, root: before, .. }) = self.tracker(slot) else { return };
        let pid = self.kernel.processes[process].pid;
        let cpu_time = span.map(|(_, last)| CpuTime(last));
        let new = NewRoot { pid, cpu_time, counts_from_start };
        let added = self.with_source(|trees, source| trees.add_root(id, new, MonoNanos(1), source));
        let (root, from) = match added {
            Some(AddedRoot::Followed { counts_from }) => (Root::Own, counts_from),
            Some(AddedRoot::RootOf(tree)) if tree == id => (Root::Own, None),
            Some(AddedRoot::RootOf(tree)) => (Root::Of(tree), None),
            None => (Root::None, None),
        };
        let Some(plugin) = self.plugins[usize::from(slot)].as_mut() else { return };
        let Some(tracker) = plugin.tracker.as_mut() else { return };
        tracker.root = root;
        if let (Root::Of(_), Root::Own) = (before, root) {
            tracker.shared = self.kernel.processes[process].cpu();
        }
        if let (Some(CpuTime(from)), Some((first, last))) = (from, span) {
            let after = (first.max(from), last.max(from));
            if before == Root::Own {
                plugin.own_cpu -= (last - first) - (after.1 - after.0);
            }
            tracker.span = Some(after);
        } else if let Some((first, last)) = span
            && (before, root == Root::Own) == (Root::Own, false)
        {
            plugin.own_cpu -= last - first;
        }
    }

    fn tracker(&self, slot: u8) -> Option<Tracker> {
        self.plugins[usize::from(slot)]?.tracker
    }

    fn tracker_mut(&mut self, slot: u8) -> Option<&mut Tracker> {
        self.plugins[usize::from(slot)].as_mut()?.tracker.as_mut()
    }

    fn is_state(&self, process: usize, states: &[State]) -> bool {
        states.contains(&self.kernel.processes[process].state)
    }

    /// The exit of the process of this plugin, or of the next one with such a process, is detected.
    fn exited(&mut self, slot: u8, should_read_others: bool) {
        let is_exited = |&slot: &u8| {
            let ended = [State::Zombie, State::Dying, State::Gone];
            self.tracker(slot).is_some_and(|tracker| self.is_state(tracker.process, &ended))
        };
        let Some(slot) = (slot..slot + 5).map(|slot| slot % 5).find(is_exited) else { return };
        self.check_with_tree(slot, should_read_others);
        if self.tracker(slot).is_some_and(|tracker| tracker.has_exited) {
            self.release(slot);
        }
    }

    /// The host's thread waits for a child, after it has read the child's last times.
    fn reap(&mut self, slot: u8) {
        let Some(process) = self.child(slot) else { return };
        if self.is_state(process, &[State::Zombie]) {
            self.kernel.wait_for(process);
        }
    }

    /// The child of the host for which the crate waits: of the active run, or of the last one.
    fn child(&self, slot: u8) -> Option<usize> {
        let plugin = self.plugins[usize::from(slot)]?;
        let process = match (plugin.tracker, plugin.ended) {
            (Some(tracker), _) if tracker.is_waited_for => tracker.process,
            (None, Some((process, _))) => process,
            (Some(_) | None, _) => return None,
        };
        (self.kernel.processes[process].parent == HOST).then_some(process)
    }

    /// The last times of a child arrive after the host's thread has waited for it.
    fn delivered(&mut self, slot: u8, has_children_cpu: bool) {
        self.reap(slot);
        let Some(process) = self.child(slot) else { return };
        if !self.is_state(process, &[State::Dying, State::Gone]) {
            return;
        }
        let cpu_time = CpuTime(self.kernel.processes[process].cpu());
        let children_cpu = has_children_cpu.then(|| self.kernel.children_cpu(process));
        let last = FinalRoot { cpu_time, children_cpu };
        let id = TreeId(slot.into());
        self.with_source(|trees, source| trees.exit_pass(id, source, Some(last)));
        // What a process has used between its last reading and its end, if that was detected before
        // the last times have arrived, counts in a tree around it as well.
        let Some(plugin) = self.plugins[usize::from(slot)] else { return };
        let group = self.groups[plugin.account];
        let is_nested = self.groups.iter().filter(|&&other| other == group).count() > 1;
        if let Some(tracker) = self.tracker(slot) {
            if !(tracker.has_exited && is_nested) {
                self.count(slot, cpu_time.0);
            }
            self.set_exited(slot);
            let begun = self.with_source(|trees, source| trees.begin_exit_pass(id, source, None));
            if begun.is_some() {
                self.trees.set_root_reading(id, RootReading::Reaped);
                self.trees.finish_pass();
            }
            self.release(slot);
        } else if let Some(plugin) = self.plugins[usize::from(slot)].as_mut()
            && let Some((_, counted)) = plugin.ended.filter(|_| !is_nested)
        {
            plugin.own_cpu += cpu_time.0.saturating_sub(counted);
        }
        if let Some(plugin) = self.plugins[usize::from(slot)].as_mut() {
            plugin.ended = None;
        }
    }

    /// The last times of all children that were waited for arrive.
    pub(super) fn deliver_all(&mut self) {
        for slot in SLOTS {
            if let Some(process) = self.child(slot)
                && self.is_state(process, &[State::Dying, State::Gone])
            {
                self.delivered(slot, true);
            }
        }
    }

    /// The host reports that a run has ended, or that it does not follow it any more.
    pub(super) fn stop(&mut self, slot: u8) {
        self.check_with_tree(slot, false);
        self.release(slot);
    }

    /// The active run ends.
    fn release(&mut self, slot: u8) {
        let id = TreeId(slot.into());
        let Some(Tracker { process, span, has_exited, is_waited_for, root, .. }) =
            self.tracker(slot)
        else {
            return;
        };
        if root == Root::Own {
            let counted = span.map(|(_, last)| CpuTime(last));
            let released =
                self.with_source(|trees, source| trees.release_root(id, counted, source));
            if let Some(Some(released)) = released {
                let reading = Self::read(&mut self.kernel, process);
                self.trees.hold_root(released, reading);
            }
            if !is_waited_for {
                self.trees.forget_reaped_root(id);
            }
        }
        if let Some(plugin) = self.plugins[usize::from(slot)].as_mut() {
            let is_kept = is_waited_for && has_exited && root == Root::Own;
            plugin.ended = span.filter(|_| is_kept).map(|(_, last)| (process, last));
            plugin.tracker = None;
        }
    }

    pub(super) fn remove(&mut self, slot: u8) {
        self.release(slot);
        let Some(plugin) = self.plugins[usize::from(slot)].take() else { return };
        self.removed.push((plugin.account, plugin.own_cpu + plugin.others_cpu));
        self.trees.remove_tree(TreeId(slot.into()));
    }

    pub(super) fn check(&mut self) -> Result<(), String> {
        self.check_links()?;
        let mut counted = vec![0; self.groups.len()];
        let mut used = vec![0; self.groups.len()];
        for &(account, total) in &self.removed {
            counted[self.groups[account]] += total;
        }
        for (slot, plugin) in self.plugins.iter_mut().enumerate() {
            let Some(plugin) = plugin else { continue };
            let usage = self.trees.usage(TreeId(slot as u32));
            let others_cpu = usage.map_or(0, |usage| usage.others_cpu.0);
            if others_cpu < plugin.others_cpu {
                return Err(format!("tree {slot} decreases"));
            }
            plugin.others_cpu = others_cpu;
            counted[self.groups[plugin.account]] += plugin.own_cpu + others_cpu;
        }
        for (account, &group) in self.groups.iter().enumerate() {
            used[group] += self.kernel.truth(account);
        }
        let is_over = |&group: &usize| counted[group] > used[group];
        match (0..counted.len()).find(is_over) {
            Some(group) => {
                Err(format!("group {group}: counted {} of {}", counted[group], used[group]))
            }
            None => Ok(()),
        }
    }

    /// Members refer to members that exist, and each is in the list of its tree.
    fn check_links(&self) -> Result<(), String> {
        let members = &self.trees.members;
        for (at, member) in members.iter() {
            if member.links().into_iter().flatten().any(|link| members.get(link).is_none()) {
                return Err(format!("member {at} refers to a removed one: {member:?}"));
            }
            let tree = self.trees.trees[member.tree].as_ref();
            let mut others = member.links().into_iter().flatten().filter_map(|at| members.get(at));
            let is_linked =
                |tree: usize| self.trees.trees[tree].as_ref().is_some_and(|tree| tree.is_linked);
            if others
                .any(|o| o.tree != member.tree && !(is_linked(o.tree) && is_linked(member.tree)))
            {
                return Err(format!("the tree of member {at} does not stand alone: {member:?}"));
            }
            if member.is_unplaced && !self.trees.has_unplaced {
                return Err(format!("member {at} is not placed: {member:?}"));
            }
            let places = tree.map_or(0, |tree| {
                let lists = tree.members.iter().chain(&tree.root);
                lists.filter(|&&other| other == at).count()
            });
            if places != 1 {
                return Err(format!("member {at} is {places} times in its tree: {member:?}"));
            }
        }
        Ok(())
    }

    /// The CPU time that was used and is not counted.
    pub(super) fn lost(&self) -> u64 {
        let counted: u64 =
            self.plugins.iter().flatten().map(|plugin| plugin.own_cpu + plugin.others_cpu).sum();
        let used: u64 = (0..self.groups.len()).map(|account| self.kernel.truth(account)).sum();
        used - counted
    }
}
