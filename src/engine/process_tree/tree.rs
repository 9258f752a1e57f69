//! One tree: its members, its total, and the charges that any of its members may pay.

use super::TreeId;
use super::members::{MemberIndex, pay};
use crate::history::units::CpuTime;
use crate::time::MonoNanos;

pub(super) type TreeIndex = usize;

/// What `children_cpu` may contain without showing it: less than a clock tick in each of its two
/// numbers. There are 100 clock ticks a second on all of Linux's ABIs (`USER_HZ`).
pub(super) const HIDDEN_NANOS: u64 = 20_000_000;

/// A root that was seen to be reaped before its last `children_cpu` was known.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReapedRoot {
    /// `None`: unknown, or counted by an enclosing tree.
    pub children_counted: Option<CpuTime>,
    /// Charges that its last `children_cpu` may contain, at most.
    pub hidden_charge: u64,
    /// Its last `children_cpu`, which this pass counts.
    pub last_children: Option<CpuTime>,
}

#[derive(Debug)]
pub(super) struct Tree {
    /// `None`: removed, and followed only as long as an enclosing tree may wait for its processes.
    pub id: Option<TreeId>,
    pub root: Option<MemberIndex>,
    /// Without the root.
    pub members: Vec<MemberIndex>,
    /// There was a root that is none any more.
    pub had_root: bool,
    pub others_cpu: CpuTime,
    pub charges: SharedCharges,
    /// The ancestors of the root. Some of them takes the orphans of the tree.
    pub above: Vec<u32>,
    /// No pass since the root was added: processes with pids up to this one, by the order in which
    /// they were assigned, existed before.
    pub added_after: Option<AddedAfter>,
    /// Not all processes that existed when the root was added are known, because the source has failed or
    /// because there was no room for them. What they have used before would be in the growth of
    /// `children_cpu`, so that it does not count.
    pub is_incomplete: bool,
    pub reaped_root: Option<ReapedRoot>,
    /// A member refers to one of another tree, or the other way round, or did so in the last pass of a
    /// tick.
    pub is_linked: bool,
    /// It is part of this pass.
    pub is_in_pass: bool,
    /// In this pass, of its members or of those of an enclosed tree.
    pub has_reaped: bool,
    /// The `children_cpu` of a member was not read in this pass.
    pub has_unread: bool,
    /// A member of it or of an enclosed tree was not read in this pass. It may have been reaped, so the
    /// `children_cpu` of this pass may have it, and do not count.
    pub is_uncertain: bool,
    /// What of those members is counted.
    pub uncertain_charge: u64,
    /// A process was not taken in, because there were too many, and no list since then has had room for
    /// all.
    pub is_over_limit: bool,
    /// The same, in the current list.
    pub has_overflowed: bool,
    /// One of those has perhaps existed before the root was added: the tree stays incomplete.
    pub lacks_existing: bool,
    /// CPU time since the last share that no living member accounts for.
    pub loose_busy: u64,
    pub taken_at: MonoNanos,
}

/// The last assigned pid at the moment at which a root was added.
#[derive(Clone, Copy, Debug)]
pub(super) enum AddedAfter {
    Pid(u32),
    Unknown,
}

impl Tree {
    pub(super) fn new(id: TreeId, now: MonoNanos) -> Self {
        Self {
            id: Some(id),
            root: None,
            members: Vec::new(),
            had_root: false,
            others_cpu: CpuTime::default(),
            charges: SharedCharges::default(),
            above: Vec::new(),
            added_after: None,
            is_incomplete: false,
            reaped_root: None,
            is_linked: false,
            is_in_pass: false,
            has_reaped: false,
            has_unread: false,
            is_uncertain: false,
            uncertain_charge: 0,
            is_over_limit: false,
            has_overflowed: false,
            lacks_existing: false,
            loose_busy: 0,
            taken_at: now,
        }
    }

    /// Removes what an earlier pass has found.
    pub(super) fn clear_pass(&mut self) {
        self.has_reaped = false;
        self.has_unread = false;
        self.is_uncertain = false;
        self.uncertain_charge = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none() && self.members.is_empty()
    }

    pub(super) fn count(&mut self, busy: u64) {
        self.others_cpu.0 = self.others_cpu.0.saturating_add(busy);
    }

    /// Counts the growth of a `children_cpu`.
    pub(super) fn count_growth(&mut self, mut growth: u64) {
        self.charges.pay(&mut growth);
        self.count_loose(growth);
    }

    /// Counts time of processes that were no members.
    pub(super) fn count_loose(&mut self, busy: u64) {
        self.count(busy);
        self.loose_busy += busy;
    }
}

/// Charges of which it is not known which member has them in its `children_cpu`.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedCharges {
    /// Since the last pass that has read all members.
    posted: u64,
    waiting: Vec<WaitingCharge>,
    /// What may be hidden of those that are forgiven.
    hidden: u64,
    /// The number of members that a charge can pass through, at most.
    depth: u32,
}

#[derive(Clone, Copy, Debug)]
struct WaitingCharge {
    amount: u64,
    /// Full passes that could have paid it.
    passes: u32,
}

impl SharedCharges {
    pub(super) fn post(&mut self, charge: u64, depth: u32) {
        self.posted = self.posted.saturating_add(charge);
        self.depth = self.depth.max(depth);
    }

    /// What the members may hide of forgiven charges, in all.
    pub(super) fn hidden(&self) -> u64 {
        self.hidden
    }

    pub(super) fn pay(&mut self, growth: &mut u64) {
        for waiting in &mut self.waiting {
            pay(growth, &mut waiting.amount);
        }
        pay(growth, &mut self.posted);
        pay(growth, &mut self.hidden);
    }

    /// Charges of a tree from which members have moved into this one.
    pub(super) fn add(&mut self, other: &Self) {
        self.posted = self.posted.saturating_add(other.posted);
        self.hidden = self.hidden.saturating_add(other.hidden);
        self.depth = self.depth.max(other.depth);
        self.waiting.extend(&other.waiting);
    }

    /// Ends a full pass that has read all members.
    ///
    /// A charge that was not paid is in no `children_cpu`, unless it is in that of a member that was reaped
    /// before it was read: then the next one above has it. After as many passes as there are members
    /// above, no such member is left.
    pub(super) fn end_pass(&mut self, has_reaped: bool, members: usize) {
        for waiting in &mut self.waiting {
            waiting.passes += 1;
        }
        let (depth, hidden) = (self.depth, &mut self.hidden);
        self.waiting.retain(|waiting| {
            let is_forgiven = !has_reaped || waiting.passes > depth;
            if is_forgiven {
                *hidden = hidden.saturating_add(waiting.amount);
            }
            !is_forgiven
        });
        self.hidden = self.hidden.min(HIDDEN_NANOS.saturating_mul(members as u64));
        let amount = std::mem::take(&mut self.posted);
        if amount > 0 {
            self.waiting.push(WaitingCharge { amount, passes: 0 });
        }
        if self.waiting.is_empty() {
            self.depth = 0;
        }
    }
}
