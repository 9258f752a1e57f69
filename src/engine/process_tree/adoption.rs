//! How a process is taken in: whether it belongs to a tree, and whether all of its time counts.

use super::ProcessTrees;
use super::members::{Hold, LastReading, Member, MemberIndex, Seen};
use super::tree::{AddedAfter, TreeIndex};
use crate::history::units::CpuTime;
use crate::os::tree::{MemberReading, Open, ProcessStat, TreeSource};

/// Whether all CPU time of a new member counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It was born since the last pass.
    Newborn,
    /// All processes were listed. Those are newborn of which the pid was assigned since the last pass, those
    /// that had no room then, and if nothing was missed in the last pass, those of which the parent was known.
    Unlisted,
    /// It existed when the root was added.
    Existing,
    /// It is below this root, of which all descendants count from their start. Others are not taken in.
    Below(MemberIndex),
}

/// Where a process belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    tree: TreeIndex,
    parent: Option<MemberIndex>,
    proofs: [Option<MemberIndex>; 2],
}

impl<M> ProcessTrees<M> {
    /// Takes in the processes that belong to a tree. `true` if some of them do not exist.
    pub(super) fn adopt<S: TreeSource<Member = M>>(
        &mut self,
        source: &mut S,
        pids: &mut Vec<u32>,
        age: Age,
        should_retry: bool,
    ) -> bool {
        let mut unplaced = std::mem::take(&mut self.discovery.unplaced);
        unplaced.clear();
        let known = self.members.len();
        let mut is_gone = false;
        for pid in pids.drain(..) {
            // Also opened twice, if a lap is shorter than the new pids.
            if self.members.with_pid(pid).is_some() {
                continue;
            }
            match self.open(source, pid, age) {
                Open::NotWanted(stat) => unplaced.push((pid, stat)),
                opened => is_gone |= self.take_in_opened(source, pid, opened, age, should_retry),
            }
        }
        // Parents have lower pids than their children, but for the end of a lap.
        loop {
            let before = unplaced.len();
            unplaced.retain(|&(pid, stat)| {
                if self.members.with_pid(pid).is_some() || self.place(pid, &stat).is_none() {
                    return self.members.with_pid(pid).is_none();
                }
                let opened = self.open(source, pid, age);
                is_gone |= self.take_in_opened(source, pid, opened, age, should_retry);
                false
            });
            if unplaced.len() == before || unplaced.is_empty() {
                break;
            }
        }
        for &(pid, stat) in &unplaced {
            let tree = self.discovery.without_room.get(&stat.parent).copied();
            if let Some(tree) = tree.filter(|&tree| self.is_newborn(age, tree, pid, None)) {
                self.discovery.remember_without_room(pid, tree);
            }
        }
        self.discovery.unplaced = unplaced;
        if self.members.len() > known {
            self.link_waiting();
        }
        is_gone
    }

    /// Takes in a process that was opened, or remembers that it could not be. `true` if it does not exist.
    fn take_in_opened<S: TreeSource<Member = M>>(
        &mut self,
        source: &mut S,
        pid: u32,
        opened: Open<M>,
        age: Age,
        should_retry: bool,
    ) -> bool {
        match opened {
            Open::Held(stat, held) => self.take_in(source, pid, stat, held, age),
            Open::Gone => {
                if should_retry && age == Age::Newborn {
                    self.discovery.retries.push(pid);
                }
                return true;
            }
            Open::Unreadable if matches!(age, Age::Existing | Age::Unlisted) => {
                self.discovery.has_skipped = true;
                if age == Age::Existing && should_retry {
                    self.discovery.retry_orphan(pid, false);
                }
            }
            Open::NotWanted(_) | Open::Unreadable => {}
        }
        false
    }

    fn open<S: TreeSource<Member = M>>(&mut self, source: &mut S, pid: u32, age: Age) -> Open<M> {
        let mut without_room = None;
        let opened = source.open(pid, &mut |stat| {
            let place = self.place(pid, stat);
            without_room = place.filter(|place| !self.has_room(place.tree));
            place.is_some() && without_room.is_none()
        });
        if let Some(Place { tree, parent, .. }) = without_room {
            let is_newborn = self.is_newborn(age, tree, pid, parent);
            if is_newborn {
                self.discovery.remember_without_room(pid, tree);
            }
            let Some(tree) = self.trees[tree].as_mut() else { return opened };
            self.is_limit_unreported |= !tree.is_over_limit;
            (tree.is_over_limit, tree.has_overflowed) = (true, true);
            tree.lacks_existing |= !is_newborn;
            // A list that finds it later does not find a newborn.
            self.discovery.is_partial = true;
            return Open::Unreadable;
        }
        opened
    }

    /// Whether a tree has room for processes that were not taken in for want of it.
    pub(super) fn has_room_again(&self) -> bool {
        let is_over = |at: &TreeIndex| self.trees[*at].as_ref().is_some_and(|t| t.is_over_limit);
        (0..self.trees.len()).filter(is_over).any(|at| self.has_room(at))
    }

    fn has_room(&self, tree: TreeIndex) -> bool {
        let tree = self.trees[tree].as_ref();
        self.members.len() < self.limits.of_all
            && tree.is_some_and(|tree| tree.members.len() < self.limits.of_tree)
    }

    /// Below the member that is its parent, or in the tree of the leader of its session or group.
    ///
    /// No process joins a session, and a pid is not assigned as long as a session or group goes by it. So
    /// a process in the session of a living leader was born below the leader. A group can be
    /// joined by siblings of its leader: the children of the root's own parent are no proof.
    fn place(&self, pid: u32, stat: &ProcessStat) -> Option<Place> {
        let leader_of = |number: u32, is_leader: fn(&Member<M>) -> bool| {
            let leader = self.members.with_pid(number).filter(|_| number != pid)?;
            let member = self.members.get(leader).filter(|member| is_leader(member))?;
            Some((leader, member.tree))
        };
        let by_session = leader_of(stat.session, |member| member.leads_session);
        let by_group = leader_of(stat.group, |member| member.leads_group);
        if let Some(parent) = self.members.with_pid(stat.parent) {
            let tree = self.members.get(parent)?.tree;
            let leader = by_session.filter(|&(_, other)| other == tree).map(|(leader, _)| leader);
            return Some(Place { tree, parent: Some(parent), proofs: [Some(parent), leader] });
        }
        // A true orphan. A parent that lives and is not known may wait for it unnoticed.
        let is_above = |tree: TreeIndex, from: usize| {
            let above =
                self.trees[tree].as_ref().map(|tree| &tree.above[from.min(tree.above.len())..]);
            above.is_some_and(|above| above.contains(&stat.parent))
        };
        let by_session = by_session.filter(|&(_, tree)| is_above(tree, 0));
        let by_group = by_group.filter(|&(_, tree)| is_above(tree, 1));
        let (leader, tree) = by_session.or(by_group)?;
        Some(Place { tree, parent: None, proofs: [Some(leader), None] })
    }

    /// Whether a process that is placed in a tree was born in it since the plugin was registered, so that
    /// all of its time counts.
    fn is_newborn(&self, age: Age, tree: TreeIndex, pid: u32, parent: Option<MemberIndex>) -> bool {
        let window = self.discovery.window;
        let Some(added_after) = self.trees[tree].as_ref().map(|tree| tree.added_after) else {
            return false;
        };
        match (age, added_after) {
            (Age::Newborn | Age::Unlisted, Some(AddedAfter::Pid(last))) => {
                window.contains(pid) && window.position(pid) > window.position(last)
            }
            (Age::Newborn, None) => true,
            (Age::Unlisted, None) if window.contains(pid) => true,
            (Age::Below(root), _) => self.members.chain(parent).any(|above| above == root),
            (Age::Unlisted, None) => {
                let had_no_room = self.discovery.without_room.get(&pid) == Some(&tree);
                let parent = parent.and_then(|parent| self.members.get(parent));
                let is_parent_known = parent.is_some_and(|parent| !parent.is_old_find);
                had_no_room || (!self.discovery.is_partial && is_parent_known)
            }
            (Age::Newborn | Age::Unlisted, Some(AddedAfter::Unknown)) | (Age::Existing, _) => false,
        }
    }

    fn take_in<S: TreeSource<Member = M>>(
        &mut self,
        source: &mut S,
        pid: u32,
        stat: ProcessStat,
        held: M,
        age: Age,
    ) {
        let Some(place) = self.place(pid, &stat) else { return };
        let Some(taken_at) = self.trees[place.tree].as_ref().map(|tree| tree.taken_at) else {
            return;
        };
        let is_newborn = self.is_newborn(age, place.tree, pid, place.parent);
        if matches!(age, Age::Below(_)) && !is_newborn {
            return;
        }
        let mut member = Member::new(pid, Hold::Trees(held), place.tree, taken_at);
        member.set_stat(&stat);
        member.stat = Some(stat);
        member.is_old_find = !is_newborn;
        (member.parent, member.proofs) = (place.parent, place.proofs);
        let origin = place.parent.or(place.proofs[0]).and_then(|at| self.members.get(at));
        member.is_of_earlier_root = origin.is_some_and(|origin| origin.is_of_earlier_root);
        if is_newborn {
            member.counted = Some(CpuTime::default());
            member.children_counted = Some(CpuTime::default());
        } else {
            let Hold::Trees(held) = &member.hold else { return };
            let reading = source.read(held);
            // Its time is in the `children_cpu` of its parent, which is read after this.
            if reading == MemberReading::Reaped {
                self.discovery.has_skipped = true;
                return;
            }
            member.set_reading(reading);
            if let Some(LastReading { at, cpu_time, .. }) = member.reading {
                (member.taken_at, member.counted) = (at, Some(cpu_time));
            }
            member.set_children_baseline(stat.children_cpu);
            // Only a pass proves.
            member.seen = Seen::Unread;
        }
        let at = self.members.insert(member);
        if let Some(tree) = self.trees[place.tree].as_mut() {
            tree.members.push(at);
        }
    }

    /// Links members that were known before their parent was.
    pub(super) fn link_waiting(&mut self) {
        for at in 0..self.members.slots() {
            let Some(member) = self.members.get(at) else { continue };
            if member.parent.is_some() && !member.is_orphan {
                continue;
            }
            let parent = member.parent;
            let tree = self.trees[member.tree].as_ref();
            // An orphan may have gone to any of those above the root: its pid is not read again before
            // it runs.
            let above = tree.into_iter().flat_map(|tree| &tree.above).copied();
            let own = (!member.has_lost_parent).then_some(member.parent_pid);
            let own = own.and_then(|pid| self.members.with_pid(pid));
            let mut above = above.filter_map(|pid| self.members.with_pid(pid));
            let found = own.or_else(|| above.next());
            let is_above = |up: MemberIndex| self.members.chain(found).any(|above| above == up);
            // Marked as an orphan, until `stat` confirms it.
            let is_better = own.is_some() || parent.is_none_or(is_above);
            if found != parent && is_better {
                self.members.link(at, found, true);
                self.mark_links(at);
            }
        }
    }
}
