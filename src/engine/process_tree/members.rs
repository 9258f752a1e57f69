//! The processes of all trees: an arena with an index by pid.

use std::collections::HashMap;

use super::tree::{HIDDEN_NANOS, TreeIndex};
use crate::history::units::{CpuShare, CpuTime, ResidentBytes};
use crate::os::tree::{CommandName, ProcessStat};
use crate::time::MonoNanos;

/// A place in the arena. It is reused after the process was removed.
pub(super) type MemberIndex = usize;

/// Who holds and reads the process.
#[derive(Debug)]
pub(super) enum Hold<M> {
    /// The tracker of the plugin: the root of the tree.
    Tracker,
    /// The trees.
    Trees(M),
    /// Nobody: it was a root that could not be opened or read when it was released. The next passes
    /// open it again.
    Lost(PidReuse),
}

/// Whether the pid of a lost process was assigned again since the process had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PidReuse {
    No,
    Yes,
    /// Not known: the assigned pids were not followed.
    Unknown,
}

/// A proven reading of this pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Neither read nor known to be reaped: nothing that was read by its pid counts.
    Unread,
    Alive,
    Zombie,
    Reaped,
    /// The host has waited for it, and its final times are known.
    Final,
}

impl Seen {
    /// Whether the process had its pid until after everything else that was read in this pass.
    pub(super) const fn is_proof(self) -> bool {
        match self {
            Self::Alive | Self::Zombie | Self::Final => true,
            Self::Unread | Self::Reaped => false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LastReading {
    pub at: MonoNanos,
    pub cpu_time: CpuTime,
    pub resident: Option<ResidentBytes>,
}

/// A process of a tree.
#[derive(Debug)]
pub(super) struct Member<M> {
    pub pid: u32,
    pub hold: Hold<M>,
    pub tree: TreeIndex,
    pub parent: Option<MemberIndex>,
    /// `parent` was an ancestor and is perhaps not the parent.
    pub is_orphan: bool,
    /// A root of which `stat` could not be read yet: it may have a parent among the members.
    pub is_unplaced: bool,
    pub parent_pid: u32,
    /// That parent was reaped.
    pub has_lost_parent: bool,
    pub name: CommandName,
    pub leads_session: bool,
    /// Only of roots: see [`place`](super::ProcessTrees::place).
    pub leads_group: bool,
    /// In the last pass in which it was read.
    pub is_alive: bool,
    /// The value of its CPU clock up to which its time is counted, or does not count because it is
    /// older than the registration. `None`: not known yet, so the next reading is the baseline.
    pub counted: Option<CpuTime>,
    /// The same for `children_cpu`.
    pub children_counted: Option<CpuTime>,
    /// Charges that `children_cpu` contains without showing it, at most.
    pub hidden_charge: u64,
    /// Charges of children of which the end was known when `children_cpu` was read in this pass.
    pub old_charge: u64,
    /// Charges of children of which the end is known only since the last such reading.
    pub young_charge: u64,
    /// Of a member that is no root: its CPU clock just before `children_cpu` was read. It has not waited if
    /// it has not run since.
    pub clock_at_stat: Option<CpuTime>,
    /// Of a root that was added since the last pass of a tick: the pid that was assigned last then.
    pub known_since: Option<u32>,
    /// It was taken in since the last pass, and is older.
    pub is_old_find: bool,
    /// It was the root of its tree.
    pub was_root: bool,
    /// It belonged to an earlier root of its tree, or is a descendant of such a process.
    pub is_of_earlier_root: bool,
    /// Read in this pass.
    pub stat: Option<ProcessStat>,
    pub seen: Seen,
    /// The last `children_cpu` of a root that the host has waited for.
    pub final_children: Option<CpuTime>,
    /// It is about to be removed.
    pub is_leaving: bool,
    pub reading: Option<LastReading>,
    /// It belongs to the tree if one of these is seen after its own `stat` was read. Both `None`:
    /// it is proven.
    pub proofs: [Option<MemberIndex>; 2],
    /// CPU time that was counted since the last share was taken, and that moment.
    pub busy: u64,
    pub taken_at: MonoNanos,
    pub share: Option<CpuShare>,
}

impl<M> Member<M> {
    /// A process of which nothing is counted.
    pub(super) fn new(pid: u32, hold: Hold<M>, tree: TreeIndex, taken_at: MonoNanos) -> Self {
        Self {
            pid,
            hold,
            tree,
            parent: None,
            is_orphan: false,
            is_unplaced: false,
            parent_pid: 0,
            has_lost_parent: false,
            name: CommandName::default(),
            leads_session: false,
            leads_group: false,
            is_alive: true,
            counted: None,
            children_counted: None,
            hidden_charge: 0,
            old_charge: 0,
            young_charge: 0,
            clock_at_stat: None,
            known_since: None,
            is_old_find: false,
            was_root: false,
            is_of_earlier_root: false,
            stat: None,
            seen: Seen::Unread,
            final_children: None,
            is_leaving: false,
            reading: None,
            proofs: [None, None],
            busy: 0,
            taken_at,
            share: None,
        }
    }

    pub(super) const fn is_root(&self) -> bool {
        matches!(self.hold, Hold::Tracker)
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proofs == [None, None]
    }

    /// Keeps the parts of `stat` that are not counted.
    pub(super) fn set_stat(&mut self, stat: &ProcessStat) {
        self.is_unplaced = false;
        self.parent_pid = stat.parent;
        self.has_lost_parent = false;
        self.name = stat.name;
        self.leads_session = stat.session == self.pid;
    }

    /// The part of its time that is counted already, or does not count: it will also be in the
    /// `children_cpu` of the process that waits for it. The maximum if it is unknown.
    pub(super) fn charge(&self) -> u64 {
        match (self.counted, self.children_counted) {
            (Some(own), Some(children)) => {
                own.0.saturating_add(children.0).saturating_add(self.hidden_charge)
            }
            (None, Some(_)) | (Some(_) | None, None) => u64::MAX,
        }
    }

    /// Counts a reading of the CPU clock, and returns the growth.
    pub(super) fn count_own(&mut self, cpu_time: CpuTime) -> u64 {
        let before = self.counted.unwrap_or(cpu_time);
        let after = cpu_time.max(before);
        self.counted = Some(after);
        after.0 - before.0
    }

    /// What `children_cpu` contains now does not count, nor what it does not show of that yet.
    pub(super) fn set_children_baseline(&mut self, children_cpu: CpuTime) {
        self.children_counted = self.children_counted.max(Some(children_cpu));
        self.hidden_charge = HIDDEN_NANOS;
    }

    /// Counts a reading of `children_cpu`, and returns the growth that its own charges leave.
    pub(super) fn count_children(&mut self, children_cpu: CpuTime) -> u64 {
        let Some(before) = self.children_counted else {
            self.set_children_baseline(children_cpu);
            return 0;
        };
        let after = children_cpu.max(before);
        self.children_counted = Some(after);
        let mut growth = after.0 - before.0;
        let charges = [&mut self.old_charge, &mut self.young_charge, &mut self.hidden_charge];
        for charge in charges {
            pay(&mut growth, charge);
        }
        // What this reading has not paid is not in it, or hidden.
        let hidden = self.hidden_charge.saturating_add(std::mem::take(&mut self.old_charge));
        self.hidden_charge = hidden.min(HIDDEN_NANOS);
        growth
    }
}

/// Reduces both by what the growth can pay of the charge.
pub(super) fn pay(growth: &mut u64, charge: &mut u64) {
    let paid = (*growth).min(*charge);
    *growth -= paid;
    *charge -= paid;
}

/// The arena.
#[derive(Debug)]
pub(super) struct Members<M> {
    slots: Vec<Option<Member<M>>>,
    free: Vec<MemberIndex>,
    by_pid: HashMap<u32, MemberIndex, foldhash::fast::FixedState>,
}

impl<M> Members<M> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), by_pid: HashMap::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_pid.len()
    }

    /// Places of the arena, with and without a member.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn insert(&mut self, member: Member<M>) -> MemberIndex {
        let pid = member.pid;
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[at] = Some(member);
        self.by_pid.insert(pid, at);
        at
    }

    /// Leaves links to it: the caller replaces them.
    pub(super) fn remove(&mut self, at: MemberIndex) -> Option<Member<M>> {
        let member = self.slots[at].take()?;
        self.free.push(at);
        if self.by_pid.get(&member.pid) == Some(&at) {
            self.by_pid.remove(&member.pid);
        }
        Some(member)
    }

    pub(super) fn with_pid(&self, pid: u32) -> Option<MemberIndex> {
        self.by_pid.get(&pid).copied()
    }

    pub(super) fn get(&self, at: MemberIndex) -> Option<&Member<M>> {
        self.slots.get(at)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: MemberIndex) -> Option<&mut Member<M>> {
        self.slots.get_mut(at)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberIndex, &Member<M>)> {
        self.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (MemberIndex, &mut Member<M>)> {
        self.slots.iter_mut().enumerate().filter_map(|(at, slot)| Some((at, slot.as_mut()?)))
    }

    /// The ancestors among the members, from `at` itself upwards.
    pub(super) fn chain(&self, at: Option<MemberIndex>) -> impl Iterator<Item = MemberIndex> {
        let next = move |&at: &MemberIndex| self.get(at)?.parent;
        // Links never form a circle; the bound keeps a fault in them from becoming an endless loop.
        std::iter::successors(at, next).take(self.slots.len())
    }

    /// Sets a link, unless it would close a circle.
    pub(super) fn link(&mut self, at: MemberIndex, parent: Option<MemberIndex>, is_orphan: bool) {
        let is_circle = self.chain(parent).any(|above| above == at);
        if let Some(member) = self.get_mut(at)
            && !is_circle
        {
            (member.parent, member.is_orphan) = (parent, is_orphan);
        }
    }

    /// Members that are about to be removed prove nothing any more. New members without another proof
    /// are removed as well.
    pub(super) fn drop_proofs(&mut self, scope: &[MemberIndex]) {
        loop {
            let mut is_changed = false;
            for &at in scope {
                let Some(member) = self.get(at).filter(|member| !member.is_proven()) else {
                    continue;
                };
                let is_kept =
                    |&proof: &MemberIndex| self.get(proof).is_some_and(|proof| !proof.is_leaving);
                let before = member.proofs;
                let proofs = before.map(|proof| proof.filter(is_kept));
                if proofs == before || member.is_leaving {
                    continue;
                }
                let Some(member) = self.get_mut(at) else { continue };
                if proofs == [None, None] {
                    member.is_leaving = true;
                } else {
                    member.proofs = proofs;
                }
                is_changed = true;
            }
            if !is_changed {
                break;
            }
        }
    }

    /// Children of members that are about to be removed continue below what is above those.
    pub(super) fn lift_children(&mut self, scope: &[MemberIndex]) {
        for &at in scope {
            let parent = self.get(at).and_then(|member| member.parent);
            let leaves = |&up: &MemberIndex| self.get(up).is_none_or(|member| member.is_leaving);
            if parent.is_some_and(|up| leaves(&up)) {
                let above = self.chain(parent).find(|up| !leaves(up));
                if let Some(member) = self.get_mut(at) {
                    (member.parent, member.is_orphan) = (above, true);
                    member.has_lost_parent = true;
                }
            }
        }
    }
}
