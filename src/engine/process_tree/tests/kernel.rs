//! A made-up kernel, which knows the CPU time that each tree has truly used. Events happen between any
//! two calls of its `TreeSource`.

use std::collections::VecDeque;

use crate::history::units::{CpuTime, ResidentBytes};
use crate::os::tree::{CommandName, MemberReading, Open, ProcessStat, TreeSource};
use crate::snapshot::read_error::ReadError;
use crate::time::MonoNanos;

const CLOCK_TICK: u64 = 10_000_000;
pub(super) const INIT: usize = 0;
pub(super) const HOST: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The pid is assigned, and there is no process yet.
    Unborn,
    Alive,
    Zombie,
    /// Waited for and counted to the parent, but still there.
    Dying,
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct Process {
    pub pid: u32,
    pub parent: usize,
    born_of: usize,
    pub state: State,
    pub group: u32,
    pub session: u32,
    user: u64,
    system: u64,
    children_user: u64,
    children_system: u64,
    ignores_sigchld: bool,
    pub is_subreaper: bool,
    /// The tree to which its CPU time from `base` on truly belongs.
    pub tree: Option<usize>,
    base: u64,
}

impl Process {
    pub(super) fn cpu(&self) -> u64 {
        self.user + self.system
    }

    pub(super) fn has_waited(&self) -> bool {
        self.children_user + self.children_system > 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Fork,
    Run,
    Exit,
    Wait,
    Setsid,
    Setpgid,
    IgnoreSigchld,
    Subreaper,
}

/// Something that happens to a process: one that is not alive continues on its way instead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub kind: EventKind,
    /// Modulo the number of processes.
    pub who: u16,
    pub amount: u32,
}

/// The settings of a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct KernelSettings {
    pub last_pid_of_lap: u32,
    pub reports_last_pid: bool,
    pub lists_children: bool,
    /// Processes exit only without children, and only if all theirs were waited for.
    pub is_polite: bool,
    /// Each so many readings in a pass, one fails.
    pub fails_every: Option<u32>,
    /// Of one tree, and of all together.
    pub limits: Option<[u8; 2]>,
    /// Prints what happens, for the analysis of a failed case.
    pub is_traced: bool,
}

const MAX_PROCESSES: usize = 45;

#[derive(Debug)]
pub(super) struct Kernel {
    pub processes: Vec<Process>,
    /// Those that are not gone.
    present: Vec<usize>,
    cursor: u32,
    pub settings: KernelSettings,
    /// Of trees: the CPU time of processes that have moved to another one.
    moved: Vec<u64>,
    /// Events of the call that runs, each with the number of calls of the source before it.
    pub during: VecDeque<(u8, Event)>,
    /// These neither exit nor are reaped unless the driver does it.
    pub immortal: Vec<usize>,
    pub forks_left: u32,
    pub can_fail: bool,
    pub can_list: bool,
    pub has_memory: bool,
    /// The source panics once after so many calls of the rule.
    pub panics_after: Option<u8>,
    /// The rule calls, not a tracker.
    pub is_source: bool,
    pub panics_at_open: bool,
    pub panics_at_read: bool,
    pub can_open: bool,
    pub can_stat: bool,
    /// These can be neither read nor opened.
    pub unavailable: Vec<usize>,
    /// The children of these cannot be listed.
    pub unlisted: Vec<usize>,
    /// Processes that could not be opened once.
    unreadable: Vec<usize>,
    pub max_processes: usize,
    calls: u32,
    pub counts: Counts,
}

/// Calls of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub last_pids: u32,
    pub opens: u32,
    pub stats: u32,
    pub reads: u32,
    pub lists: u32,
}

impl Kernel {
    pub(super) fn new(settings: KernelSettings) -> Self {
        let process = |pid, is_init| Process {
            pid,
            parent: INIT,
            born_of: INIT,
            state: State::Alive,
            group: pid,
            session: pid,
            user: 0,
            system: 0,
            children_user: 0,
            children_system: 0,
            ignores_sigchld: false,
            is_subreaper: is_init,
            tree: None,
            base: 0,
        };
        let mut kernel = Self {
            processes: vec![process(1, true), process(2, false)],
            present: vec![INIT, HOST],
            cursor: 2,
            settings,
            moved: Vec::new(),
            during: VecDeque::new(),
            immortal: vec![INIT, HOST],
            forks_left: 0,
            can_fail: false,
            can_list: true,
            has_memory: true,
            panics_after: None,
            is_source: false,
            panics_at_open: false,
            panics_at_read: false,
            can_open: true,
            can_stat: true,
            unavailable: Vec::new(),
            unlisted: Vec::new(),
            unreadable: Vec::new(),
            max_processes: MAX_PROCESSES.min(settings.last_pid_of_lap as usize * 2 / 5),
            calls: 0,
            counts: Counts::default(),
        };
        kernel.refill_forks();
        kernel
    }

    /// Fewer pids are assigned between two passes than there are.
    pub(super) fn refill_forks(&mut self) {
        self.forks_left = self.settings.last_pid_of_lap * 2 / 5;
    }

    fn is_taken(&self, pid: u32) -> bool {
        self.present
            .iter()
            .map(|&at| &self.processes[at])
            .any(|process| process.pid == pid || process.session == pid || process.group == pid)
    }

    pub(super) fn fork(&mut self, parent: usize) -> Option<usize> {
        if self.present.len() >= self.max_processes || self.forks_left == 0 {
            return None;
        }
        self.forks_left -= 1;
        let last = self.settings.last_pid_of_lap;
        loop {
            self.cursor = if self.cursor >= last { 3 } else { self.cursor + 1 };
            if !self.is_taken(self.cursor) {
                break;
            }
        }
        let from = &self.processes[parent];
        let child = Process {
            pid: self.cursor,
            parent,
            born_of: parent,
            state: State::Unborn,
            user: 0,
            system: 0,
            children_user: 0,
            children_system: 0,
            is_subreaper: false,
            base: 0,
            ..from.clone()
        };
        self.processes.push(child);
        self.present.push(self.processes.len() - 1);
        Some(self.processes.len() - 1)
    }

    /// A child of the host that is alive.
    pub(super) fn spawn(&mut self, is_leader: bool) -> Option<usize> {
        let at = self.fork(HOST)?;
        let process = &mut self.processes[at];
        process.state = State::Alive;
        if is_leader {
            (process.session, process.group) = (process.pid, process.pid);
        }
        Some(at)
    }

    pub(super) fn new_tree(&mut self) -> usize {
        self.moved.push(0);
        self.moved.len() - 1
    }

    /// From now on, the time of a process and of all that were born below it in its tree belongs to
    /// `tree`; if `from_start`, all time of those that were in none. Returns the trees it touches.
    pub(super) fn watch(&mut self, root: usize, tree: usize, from_start: bool) -> Vec<usize> {
        let from = self.processes[root].tree;
        let mut is_below = vec![false; self.processes.len()];
        let mut touched: Vec<usize> = from.into_iter().collect();
        // Parents come before their children.
        for at in root..self.processes.len() {
            let process = &mut self.processes[at];
            is_below[at] = at == root || is_below[process.born_of];
            if !is_below[at] {
                continue;
            }
            touched.extend(process.tree);
            if process.tree != from {
                continue;
            }
            let used = process.cpu() - process.base;
            match from {
                Some(from) => self.moved[from] += used,
                None if from_start => {
                    process.tree = Some(tree);
                    continue;
                }
                None => {}
            }
            process.base = process.cpu();
            process.tree = Some(tree);
        }
        touched
    }

    /// The CPU time that a tree has truly used.
    pub(super) fn truth(&self, tree: usize) -> u64 {
        let of_tree = self.processes.iter().filter(|process| process.tree == Some(tree));
        self.moved[tree] + of_tree.map(|process| process.cpu() - process.base).sum::<u64>()
    }

    pub(super) fn present(&self) -> &[usize] {
        &self.present
    }

    fn children_of(&self, of: usize) -> Vec<usize> {
        let is_child = |&at: &usize| at != INIT && self.processes[at].parent == of;
        self.present.iter().copied().filter(is_child).collect()
    }

    pub(super) fn run(&mut self, at: usize, nanos: u64) {
        self.processes[at].user += nanos / 3;
        self.processes[at].system += nanos - nanos / 3;
    }

    pub(super) fn exit(&mut self, at: usize) {
        let children = self.children_of(at);
        if self.settings.is_polite && !children.is_empty() {
            return;
        }
        let mut reaper = self.processes[at].parent;
        while !(self.processes[reaper].is_subreaper && self.processes[reaper].state == State::Alive)
        {
            reaper = self.processes[reaper].parent;
        }
        self.processes[at].state = State::Zombie;
        for child in children {
            self.processes[child].parent = reaper;
            let is_ended = self.processes[child].state == State::Zombie;
            if is_ended && self.processes[reaper].ignores_sigchld {
                self.release(child);
            }
        }
        if self.processes[self.processes[at].parent].ignores_sigchld {
            self.release(at);
        }
    }

    /// For the analysis of a failed case.
    fn trace(&self, what: impl std::fmt::Debug, at: usize) {
        if self.settings.is_traced {
            let process = &self.processes[at];
            let parent = self.processes[process.parent].pid;
            println!("{what:?}: parent {parent}, {process:?}");
        }
    }

    fn release(&mut self, at: usize) {
        self.processes[at].state = State::Gone;
        self.present.retain(|&other| other != at);
    }

    /// The parent of a zombie waits for it.
    pub(super) fn wait_for(&mut self, at: usize) {
        let Process { user, system, children_user, children_system, parent, .. } =
            self.processes[at];
        self.trace("wait for", at);
        self.processes[at].state = State::Dying;
        let parent = &mut self.processes[parent];
        parent.children_user += user + children_user;
        parent.children_system += system + children_system;
    }

    pub(super) fn happen(&mut self, event: Event) {
        let at = self.present[usize::from(event.who) % self.present.len()];
        let parent = self.processes[at].parent;
        match self.processes[at].state {
            State::Unborn => self.processes[at].state = State::Alive,
            State::Dying => self.release(at),
            State::Zombie => {
                if parent == INIT || parent == HOST && !self.immortal.contains(&at) {
                    self.wait_for(at);
                }
            }
            State::Gone => {}
            State::Alive if at == INIT => {}
            State::Alive => self.act(at, event),
        }
    }

    fn act(&mut self, at: usize, event: Event) {
        self.trace(event.kind, at);
        let pid = self.processes[at].pid;
        match event.kind {
            EventKind::Fork => {
                self.fork(at);
            }
            EventKind::Run => self.run(at, u64::from(event.amount)),
            EventKind::Exit => {
                if !self.immortal.contains(&at) {
                    self.exit(at);
                }
            }
            EventKind::Wait => {
                let mut zombies = self.children_of(at);
                zombies.retain(|&child| {
                    self.processes[child].state == State::Zombie && !self.immortal.contains(&child)
                });
                if !zombies.is_empty() {
                    // Whoever waits runs.
                    self.run(at, 1 + u64::from(event.amount % 100_000));
                    self.wait_for(zombies[event.amount as usize % zombies.len()]);
                }
            }
            EventKind::Setsid => {
                (self.processes[at].session, self.processes[at].group) = (pid, pid);
            }
            EventKind::Setpgid => self.processes[at].group = pid,
            EventKind::IgnoreSigchld => {
                self.processes[at].ignores_sigchld ^= at != HOST;
            }
            EventKind::Subreaper => self.processes[at].is_subreaper ^= true,
        }
    }

    /// All that have a pid become processes: that takes less than the time between two ticks.
    pub(super) fn be_born(&mut self) {
        for &at in &self.present {
            if self.processes[at].state == State::Unborn {
                self.processes[at].state = State::Alive;
            }
        }
    }

    fn find(&self, pid: u32) -> Option<usize> {
        let is_visible = |&at: &usize| {
            self.processes[at].pid == pid && self.processes[at].state != State::Unborn
        };
        self.present.iter().copied().find(is_visible)
    }

    fn meanwhile(&mut self) {
        self.calls += 1;
        if self.is_source
            && let Some(after) = &mut self.panics_after
        {
            match after.checked_sub(1) {
                Some(rest) => *after = rest,
                None => {
                    self.panics_after = None;
                    // Without a message.
                    std::panic::resume_unwind(Box::new("as required by the test"));
                }
            }
        }
        while let Some((wait, event)) = self.during.front_mut() {
            if *wait > 0 {
                *wait -= 1;
                break;
            }
            let event = *event;
            self.during.pop_front();
            self.happen(event);
        }
    }

    fn fails(&self) -> bool {
        self.can_fail
            && self.settings.fails_every.is_some_and(|every| self.calls.is_multiple_of(every))
    }

    fn fails_rarely(&self) -> bool {
        self.fails() && self.calls.is_multiple_of(4)
    }

    pub(super) fn children_cpu(&self, at: usize) -> CpuTime {
        let whole = |nanos: u64| nanos / CLOCK_TICK * CLOCK_TICK;
        let process = &self.processes[at];
        CpuTime(whole(process.children_user) + whole(process.children_system))
    }

    fn stat_at(&self, at: usize) -> ProcessStat {
        let process = &self.processes[at];
        ProcessStat {
            parent: if at == INIT { 0 } else { self.processes[process.parent].pid },
            group: process.group,
            session: process.session,
            children_cpu: self.children_cpu(at),
            name: CommandName::new(b"made-up"),
        }
    }
}

impl TreeSource for Kernel {
    /// Of the process itself.
    type Member = usize;

    fn last_pid(&mut self) -> Option<u32> {
        self.meanwhile();
        self.counts.last_pids += 1;
        (self.settings.reports_last_pid && !self.fails_rarely()).then_some(self.cursor)
    }

    fn pid_range(&mut self) -> (u32, u32) {
        (3, self.settings.last_pid_of_lap)
    }

    fn list(&mut self, pids: &mut Vec<u32>) -> Result<(), ReadError> {
        self.meanwhile();
        self.counts.lists += 1;
        if !self.can_list || self.fails() {
            return Err(ReadError::UNKNOWN);
        }
        let visible = self.present.iter().map(|&at| &self.processes[at]);
        let visible = visible.filter(|process| process.state != State::Unborn);
        let start = pids.len();
        pids.extend(visible.map(|process| process.pid));
        pids[start..].sort_unstable();
        Ok(())
    }

    fn children(&mut self, pid: u32, pids: &mut Vec<u32>) -> bool {
        self.meanwhile();
        if self.fails() {
            return false;
        }
        let at = self.find(pid);
        if at.is_some_and(|at| self.unlisted.contains(&at)) {
            return false;
        }
        if self.settings.lists_children
            && let Some(at) = at
        {
            let children = self.children_of(at);
            pids.extend(children.into_iter().map(|child| self.processes[child].pid));
        }
        self.settings.lists_children
    }

    fn open(&mut self, pid: u32, is_wanted: &mut dyn FnMut(&ProcessStat) -> bool) -> Open<usize> {
        self.meanwhile();
        self.counts.opens += 1;
        assert!(!self.panics_at_open, "as required by the test");
        let Some(at) = self.find(pid) else { return Open::Gone };
        // Otherwise it is a process of which nothing is ever known.
        if !self.can_open || self.unavailable.contains(&at) {
            return Open::Unreadable;
        }
        if self.fails() && !self.unreadable.contains(&at) {
            self.unreadable.push(at);
            return Open::Unreadable;
        }
        let stat = self.stat_at(at);
        self.meanwhile();
        if !is_wanted(&stat) {
            return Open::NotWanted(stat);
        }
        self.meanwhile();
        if self.processes[at].state == State::Gone {
            return Open::Gone;
        }
        Open::Held(stat, at)
    }

    fn cpu_clock(&mut self, &member: &usize) -> Option<CpuTime> {
        self.meanwhile();
        let at = self.find(self.processes[member].pid)?;
        (!self.fails()).then_some(CpuTime(self.processes[at].cpu()))
    }

    fn stat(&mut self, &member: &usize) -> Option<ProcessStat> {
        self.stat_of(self.processes[member].pid)
    }

    fn stat_of(&mut self, pid: u32) -> Option<ProcessStat> {
        self.meanwhile();
        self.counts.stats += 1;
        let at = self.find(pid)?;
        (self.can_stat && !self.fails()).then(|| self.stat_at(at))
    }

    fn read(&mut self, &member: &usize) -> MemberReading {
        self.meanwhile();
        self.counts.reads += 1;
        assert!(!self.panics_at_read, "as required by the test");
        let clock = self.find(self.processes[member].pid).map(|at| self.processes[at].cpu());
        self.meanwhile();
        let at = MonoNanos(1_000 * u64::from(self.calls));
        if self.unavailable.contains(&member) || self.fails() {
            return MemberReading::Failed;
        }
        match (self.processes[member].state, clock) {
            (State::Alive, Some(cpu)) => MemberReading::Alive {
                at,
                cpu_time: CpuTime(cpu),
                resident: ResidentBytes::new(4_096).filter(|_| self.has_memory),
            },
            (State::Zombie, Some(cpu)) => MemberReading::Zombie { at, cpu_time: CpuTime(cpu) },
            (State::Dying | State::Gone, _) => MemberReading::Reaped,
            (State::Alive | State::Zombie | State::Unborn, _) => MemberReading::Failed,
        }
    }
}
