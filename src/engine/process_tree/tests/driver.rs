//! Drives the trees as the engine does, and compares them with what was truly used.

use super::cases::{Call, Case};
use super::kernel::{HOST, Kernel, State};
use crate::engine::process_tree::roots::NewRoot;
use crate::engine::process_tree::{AddedRoot, FinalRoot, ProcessTrees, RootReading, TreeId};
use crate::history::units::CpuTime;
use crate::os::tree::{MemberReading, TreeSource};
use crate::time::MonoNanos;

/// The tracker of a plugin with its active run.
#[derive(Clone, Copy, Debug)]
struct Tracker {
    process: usize,
    /// Up to where its CPU time is counted.
    counted: Option<u64>,
}

/// A plugin: the tracker's count, over all runs, and the tree.
#[derive(Clone, Copy, Debug)]
struct Plugin {
    /// The tree in the kernel's accounts.
    account: usize,
    tracker: Option<Tracker>,
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

impl Driver {
    pub(super) fn new(kernel: Kernel) -> Self {
        let plugins = [None; 5];
        let trees = ProcessTrees::new();
        Self { kernel, trees, plugins, removed: Vec::new(), groups: Vec::new() }
    }

    /// Runs a case. An error if more is counted than was used, or a total decreases.
    pub(super) fn run(case: &Case) -> Result<Self, String> {
        let mut driver = Self::new(Kernel::new(case.settings));
        for (number, step) in case.steps.iter().enumerate() {
            for &event in &step.before {
                driver.kernel.happen(event);
            }
            if std::env::var_os("PLUGMETER_TREE_TRACE").is_some() {
                println!("step {number}: {:?}", step.call);
            }
            driver.kernel.during = step.during.iter().copied().collect();
            driver.call(step.call, case.settings.is_polite);
            driver.kernel.during.clear();
            if std::env::var_os("PLUGMETER_TREE_TRACE").is_some() {
                println!("{:#?}", driver.trees);
            }
            driver.check().map_err(|error| format!("step {number}: {error}"))?;
        }
        Ok(driver)
    }

    fn call(&mut self, call: Call, is_polite: bool) {
        match call {
            Call::Tick => self.tick(),
            Call::Spawn { slot, is_leader } => {
                self.release(slot, true);
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
                    self.release(slot, true);
                    self.add(slot, from[usize::from(pick) % from.len()], false);
                }
            }
            Call::RegisterHost { slot } => {
                self.release(slot, true);
                self.add(slot, HOST, false);
            }
            Call::Exited { slot, is_waited_for, has_children_cpu } => {
                self.exited(slot, is_waited_for, has_children_cpu);
            }
            Call::Release { slot, should_read } => self.release(slot, should_read),
            Call::Remove { slot } => self.remove(slot),
        }
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

    /// Reads a root through its tracker, which counts it.
    fn read_root(&mut self, slot: u8) -> Option<RootReading> {
        let plugin = self.plugins[usize::from(slot)].as_mut()?;
        let tracker = plugin.tracker.as_mut()?;
        let reading = Self::read(&mut self.kernel, tracker.process);
        if let RootReading::Alive { cpu_time: Some(cpu) }
        | RootReading::Zombie { cpu_time: Some(cpu) } = reading
        {
            Self::count(plugin, cpu.0);
        }
        self.trees.set_root_reading(TreeId(slot.into()), reading);
        Some(reading)
    }

    fn count(plugin: &mut Plugin, cpu: u64) {
        let Some(tracker) = plugin.tracker.as_mut() else { return };
        let before = tracker.counted.unwrap_or(cpu);
        plugin.own_cpu += cpu.saturating_sub(before);
        tracker.counted = Some(cpu.max(before));
    }

    pub(super) fn tick(&mut self) {
        self.kernel.be_born();
        self.kernel.refill_forks();
        self.kernel.can_fail = true;
        self.trees.begin_pass(&mut self.kernel);
        for slot in 0..5 {
            self.read_root(slot);
        }
        self.trees.finish_pass();
        self.kernel.can_fail = false;
    }

    pub(super) fn add(&mut self, slot: u8, process: usize, counts_from_start: bool) {
        let id = TreeId(slot.into());
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
        let cpu_time = match Self::read(&mut self.kernel, process) {
            RootReading::Alive { cpu_time } | RootReading::Zombie { cpu_time } => cpu_time,
            RootReading::Reaped | RootReading::Failed => None,
        };
        let pid = self.kernel.processes[process].pid;
        let root = NewRoot { pid, cpu_time, counts_from_start };
        let mut added = self.trees.add_root(id, root, MonoNanos(1), &mut self.kernel);
        if let AddedRoot::RootOf(TreeId(other)) = added {
            // Its tracker finds that the pid was reused.
            if self.tracker(other as u8).is_some_and(|tracker| tracker.process != process) {
                self.release(other as u8, true);
                added = self.trees.add_root(id, root, MonoNanos(1), &mut self.kernel);
            }
        }
        let plugin = self.plugins[usize::from(slot)].get_or_insert(Plugin {
            account,
            tracker: None,
            own_cpu: 0,
            others_cpu: 0,
        });
        match added {
            AddedRoot::Followed { counts_from } => {
                let counted = counts_from.map(|cpu| cpu.0);
                plugin.tracker = Some(Tracker { process, counted });
            }
            AddedRoot::RootOf(_) => {}
        }
    }

    fn tracker(&self, slot: u8) -> Option<Tracker> {
        self.plugins[usize::from(slot)]?.tracker
    }

    fn exited(&mut self, slot: u8, is_waited_for: bool, has_children_cpu: bool) {
        let is_exited = |&slot: &u8| {
            self.tracker(slot).is_some_and(|tracker| {
                match self.kernel.processes[tracker.process].state {
                    State::Unborn | State::Alive => false,
                    State::Zombie | State::Dying | State::Gone => true,
                }
            })
        };
        let Some(slot) = (slot..slot + 5).map(|slot| slot % 5).find(is_exited) else { return };
        let Some(Tracker { process, .. }) = self.tracker(slot) else { return };
        let is_zombie = self.kernel.processes[process].state == State::Zombie;
        let id = TreeId(slot.into());
        self.kernel.can_fail = true;
        if is_waited_for && is_zombie && self.kernel.processes[process].parent == HOST {
            let cpu_time = CpuTime(self.kernel.processes[process].cpu());
            let children_cpu = has_children_cpu.then(|| self.kernel.children_cpu(process));
            self.kernel.wait_for(process);
            if let Some(plugin) = self.plugins[usize::from(slot)].as_mut() {
                Self::count(plugin, cpu_time.0);
            }
            let last = FinalRoot { cpu_time, children_cpu };
            self.trees.exit_pass(id, &mut self.kernel, Some(last));
        } else {
            self.trees.begin_exit_pass(id, &mut self.kernel, None);
            self.read_root(slot);
            if has_children_cpu {
                (0..5).filter(|&other| other != slot).for_each(|other| {
                    self.read_root(other);
                });
            }
            self.trees.finish_pass();
        }
        self.kernel.can_fail = false;
        self.release(slot, false);
    }

    pub(super) fn release(&mut self, slot: u8, should_read: bool) {
        let Some(Tracker { process, .. }) = self.tracker(slot) else { return };
        if should_read {
            self.read_root(slot);
        }
        self.release_root(slot, process);
        if let Some(plugin) = self.plugins[usize::from(slot)].as_mut() {
            plugin.tracker = None;
        }
    }

    fn release_root(&mut self, slot: u8, process: usize) {
        let id = TreeId(slot.into());
        let counted = self.tracker(slot).and_then(|tracker| tracker.counted).map(CpuTime);
        if let Some(root) = self.trees.release_root(id, counted, &mut self.kernel) {
            let reading = Self::read(&mut self.kernel, process);
            self.trees.hold_root(root, reading);
        }
    }

    fn remove(&mut self, slot: u8) {
        let Some(plugin) = self.plugins[usize::from(slot)].take() else { return };
        self.removed.push((plugin.account, plugin.own_cpu + plugin.others_cpu));
        if let Some(Tracker { process, .. }) = plugin.tracker {
            self.release_root(slot, process);
        }
        self.trees.remove_tree(TreeId(slot.into()));
    }

    pub(super) fn check(&mut self) -> Result<(), String> {
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

    /// The CPU time that was used and is not counted.
    pub(super) fn lost(&self) -> u64 {
        let counted: u64 =
            self.plugins.iter().flatten().map(|plugin| plugin.own_cpu + plugin.others_cpu).sum();
        let used: u64 = (0..self.groups.len()).map(|account| self.kernel.truth(account)).sum();
        used - counted
    }
}
