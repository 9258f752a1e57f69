//! Roots: when the host reports a start, an end, or removes a plugin.

use super::adoption::Age;
use super::members::{Hold, Member, MemberIndex, PidReuse, Seen};
use super::tree::{AddedAfter, SharedCharges, Tree, TreeIndex};
use super::{AddedRoot, FinalRoot, ProcessTrees, RootReading, TreeId};
use crate::history::units::CpuTime;
use crate::os::tree::{MemberReading, Open, TreeSource};
use crate::time::MonoNanos;

/// Ancestors of a root that are considered.
const MAX_ANCESTORS: usize = 64;

/// A process that becomes the root of a tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRoot {
    pub pid: u32,
    /// As the tracker has read it.
    pub cpu_time: Option<CpuTime>,
    /// The host has just spawned it: all that it uses counts, and all that its descendants use.
    pub counts_from_start: bool,
}

/// A root that was released from its tracker, and opened.
#[derive(Debug)]
pub(crate) struct ReleasedRoot<M> {
    at: MemberIndex,
    held: M,
}

impl<M> ProcessTrees<M> {
    /// Adds the root of a plugin's run, with the descendants that it has. The tracker must hold it
    /// already.
    ///
    /// If it is a member of a tree, what it and its descendants have used until now counts there, and
    /// from now on here.
    pub(crate) fn add_root<S: TreeSource<Member = M>>(
        &mut self,
        id: TreeId,
        root: NewRoot,
        now: MonoNanos,
        source: &mut S,
    ) -> AddedRoot {
        self.discovery.start(source);
        if let Some(at) = self.members.with_pid(root.pid)
            && let Some(member) = self.members.get(at)
        {
            let is_reaped = match &member.hold {
                Hold::Tracker => {
                    let other = self.trees[member.tree].as_ref().and_then(|tree| tree.id);
                    return AddedRoot::RootOf(other.unwrap_or(id));
                }
                Hold::Trees(held) => source.read(held) == MemberReading::Reaped,
                &Hold::Lost(reuse) => {
                    let known_since = member.known_since;
                    let now = self.discovery.reuse_since_pass(root.pid, known_since, source);
                    reuse.and(now) != PidReuse::No
                }
            };
            if is_reaped {
                self.remove_reaped(at);
            }
        }
        let cursor = self.discovery.begin_root();
        let tree = self.tree_for(id, now);
        self.lose_root(id, None);
        if !root.counts_from_start {
            self.discovery.forget_without_room(tree);
        }
        if let Some(tree) = self.trees[tree].as_mut() {
            tree.reaped_root = None;
            if tree.is_empty() {
                // Nobody is left who may have the members in its `children_cpu`.
                (tree.charges, tree.is_incomplete) = (SharedCharges::default(), false);
            }
        }
        let counts_from = match self.members.with_pid(root.pid) {
            Some(member) => self.promote(member, tree, &root, source),
            None => self.insert_root(tree, &root, source),
        };
        self.discovery.finish_root(cursor);
        AddedRoot::Followed { counts_from }
    }

    /// Counts the `children_cpu` of a process that was waited for before it could become a root.
    ///
    /// Its tracker has counted the process itself. If `parent`, which has waited for it, is in a tree,
    /// it has the same times in its own `children_cpu`.
    pub(crate) fn count_unfollowed(
        &mut self,
        id: TreeId,
        last: FinalRoot,
        parent: u32,
        now: MonoNanos,
    ) {
        let FinalRoot { cpu_time, children_cpu } = last;
        let children_cpu = children_cpu.unwrap_or_default();
        let parent = self.members.with_pid(parent).and_then(|at| self.members.get_mut(at));
        if let Some(parent) = parent {
            let charge = cpu_time.0.saturating_add(children_cpu.0);
            parent.young_charge = parent.young_charge.saturating_add(charge);
        }
        let tree = self.tree_for(id, now);
        if let Some(tree) = self.trees[tree].as_mut() {
            tree.count_loose(children_cpu.0);
        }
    }

    fn tree_for(&mut self, id: TreeId, now: MonoNanos) -> TreeIndex {
        if let Some(tree) = self.index_of(id) {
            return tree;
        }
        let free = self.trees.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.trees.push(None);
            self.trees.len() - 1
        });
        self.trees[at] = Some(Tree::new(id, now));
        let slot = id.0 as usize;
        if self.by_id.len() <= slot {
            self.by_id.resize(slot + 1, None);
        }
        self.by_id[slot] = Some(at);
        at
    }

    /// A member becomes a root, and what is below it in its tree moves with it.
    fn promote<S: TreeSource<Member = M>>(
        &mut self,
        at: MemberIndex,
        tree: TreeIndex,
        root: &NewRoot,
        source: &mut S,
    ) -> Option<CpuTime> {
        // Nothing is changed before the last call of the source, because it may panic.
        let stat = source.stat_of(root.pid);
        let parent_pid = match &stat {
            Some(stat) => stat.parent,
            None => self.members.get(at)?.parent_pid,
        };
        let above = self.ancestors(parent_pid, source);
        let last_pid = source.last_pid();
        let member = self.members.get_mut(at)?;
        let from = member.tree;
        let mut growth = 0;
        if !root.counts_from_start
            && let Some(cpu_time) = root.cpu_time
        {
            growth = member.count_own(cpu_time);
            if !member.is_proven() {
                growth = 0;
            }
        }
        let counts_from = member.counted;
        // The tracker counts the rest, up to its reading.
        if let Some(cpu_time) = root.cpu_time {
            member.count_own(cpu_time);
        }
        let busy = growth + std::mem::take(&mut member.busy);
        member.hold = Hold::Tracker;
        member.known_since = last_pid;
        member.proofs = [None, None];
        member.clock_at_stat = None;
        if let Some(stat) = stat {
            member.set_stat(&stat);
            member.leads_group = stat.group == root.pid;
        }
        if let Some(old) = self.trees[from].as_mut() {
            old.count(growth);
            old.loose_busy += busy;
            old.members.retain(|&other| other != at);
        }
        if let Some(new) = self.trees[tree].as_mut() {
            (new.root, new.above) = (Some(at), above);
        }
        if from != tree {
            self.move_subtree(at, from, tree);
        }
        self.belong_to_root(at);
        counts_from
    }

    /// The descendants of a member that has become a root again belong to it.
    fn belong_to_root(&mut self, root: MemberIndex) {
        for at in 0..self.members.slots() {
            if self.members.chain(Some(at)).any(|above| above == root)
                && let Some(member) = self.members.get_mut(at)
            {
                (member.was_root, member.is_of_earlier_root) = (false, false);
            }
        }
    }

    fn move_subtree(&mut self, root: MemberIndex, from: TreeIndex, to: TreeIndex) {
        self.ignore_reaped_root(from);
        // They take the charges along that may be in their `children_cpu`; these stay as well.
        let old = self.trees[from]
            .as_ref()
            .map(|tree| (tree.charges.clone(), tree.added_after, tree.is_incomplete));
        if let (Some((charges, added_after, is_incomplete)), Some(tree)) =
            (old, self.trees[to].as_mut())
        {
            tree.charges.add(&charges);
            tree.is_incomplete |= is_incomplete;
            // Processes below them may have existed before, too.
            tree.added_after = match (tree.added_after, added_after) {
                (Some(_), Some(_)) => Some(AddedAfter::Unknown),
                (one, other) => one.or(other),
            };
        }
        let is_of = |&at: &MemberIndex| {
            self.members.get(at).is_some_and(|member| member.tree == from && !member.is_root())
        };
        let is_below = |&at: &MemberIndex| {
            at == root || self.members.chain(Some(at)).find(|up| !is_of(up)) == Some(root)
        };
        let moved: Vec<MemberIndex> = (0..self.members.slots()).filter(is_below).collect();
        for at in moved {
            let Some(member) = self.members.get_mut(at) else { continue };
            member.tree = to;
            let busy = std::mem::take(&mut member.busy);
            if let Some(tree) = self.trees[from].as_mut() {
                tree.loose_busy += busy;
                tree.members.retain(|&other| other != at);
            }
            if at != root
                && let Some(tree) = self.trees[to].as_mut()
            {
                tree.members.push(at);
            }
        }
        for tree in [from, to] {
            if let Some(tree) = self.trees[tree].as_mut() {
                tree.is_linked = true;
            }
        }
        self.drop_if_done(from);
    }

    /// A process that is in no tree becomes a root.
    fn insert_root<S: TreeSource<Member = M>>(
        &mut self,
        tree: TreeIndex,
        root: &NewRoot,
        source: &mut S,
    ) -> Option<CpuTime> {
        let pid = root.pid;
        let last_pid = source.last_pid();
        // Children first: of those that are not in the list, all time is in `children_cpu` then.
        let mut found = Vec::new();
        let is_listed = source.children(pid, &mut found);
        let stat = source.stat_of(pid);
        let taken_at = self.trees[tree].as_ref()?.taken_at;
        let mut member = Member::new(pid, Hold::Tracker, tree, taken_at);
        member.counted = root.cpu_time;
        member.known_since = last_pid;
        if let Some(stat) = stat {
            member.set_stat(&stat);
            member.leads_group = stat.group == pid;
            member.set_children_baseline(stat.children_cpu);
        } else {
            (member.is_unplaced, self.has_unplaced, self.owes_full) = (true, true, true);
        }
        // Its tracker counts from its first reading: no tree has counted the process as a member.
        let mut counts_from = None;
        if root.counts_from_start {
            member.hidden_charge = 0;
            // The tracker counts all up to its reading.
            member.counted = Some(root.cpu_time.unwrap_or_default());
            member.children_counted = Some(CpuTime::default());
            counts_from = Some(CpuTime::default());
        }
        let above = self.ancestors(member.parent_pid, source);
        let mut known = above.iter().filter_map(|&pid| self.members.with_pid(pid));
        member.parent = known.next();
        // Perhaps not the parent, which may be too young to be known.
        member.is_orphan = above.first().and_then(|&pid| self.members.with_pid(pid)).is_none();
        let at = self.members.insert(member);
        self.mark_links(at);
        let mut was_incomplete = false;
        if let Some(tree) = self.trees[tree].as_mut() {
            (tree.root, tree.above) = (Some(at), above);
            // An earlier root of the tree may have been added since the last pass as well.
            if !root.counts_from_start {
                // It stays so if the source panics.
                was_incomplete = std::mem::replace(&mut tree.is_incomplete, true);
                tree.added_after = Some(last_pid.map_or(AddedAfter::Unknown, AddedAfter::Pid));
            }
        }
        self.link_waiting();
        if root.counts_from_start {
            self.take_in_descendants(tree, found, is_listed, Age::Below(at), source);
            return counts_from;
        }
        let is_gone = self.take_in_descendants(tree, found, is_listed, Age::Existing, source);
        let has_missed = is_gone || self.discovery.has_missed();
        let is_complete = self.read_baselines(tree, source) && !has_missed;
        self.owes_full |= !is_complete;
        if let Some(tree) = self.trees[tree].as_mut() {
            tree.is_incomplete = was_incomplete || !is_complete;
        }
        counts_from
    }

    /// Takes in what is below a new root: `found` are its children. `true` if one of them has ended
    /// meanwhile.
    fn take_in_descendants<S: TreeSource<Member = M>>(
        &mut self,
        tree: TreeIndex,
        mut found: Vec<u32>,
        mut is_listed: bool,
        age: Age,
        source: &mut S,
    ) -> bool {
        let mut next = 0;
        // The children of one that has ended meanwhile are those of an ancestor, and not in its list.
        let mut is_gone = false;
        loop {
            self.remove_reused(&found, source);
            is_gone |= self.adopt(source, &mut found, age, true);
            let members = self.trees[tree].as_ref().map(|tree| (tree.root, &tree.members));
            let Some((Some(root), &at)) =
                members.and_then(|(root, members)| Some((root, members.get(next)?)))
            else {
                break;
            };
            next += 1;
            // The processes of earlier roots are older.
            if self.members.chain(Some(at)).any(|above| above == root)
                && let Some(member) = self.members.get(at)
            {
                is_listed &= source.children(member.pid, &mut found);
                is_gone |= match &member.hold {
                    Hold::Trees(held) => !matches!(source.read(held), MemberReading::Alive { .. }),
                    Hold::Tracker | Hold::Lost(_) => true,
                };
            }
        }
        if !is_listed {
            match source.list(&mut found) {
                Ok(()) => {
                    // The children of one that has ended are in the list as well.
                    self.adopt(source, &mut found, age, true);
                }
                Err(_) => self.discovery.set_failed(),
            }
        }
        is_gone
    }

    /// Reads the `children_cpu` of all members of a tree, which may have waited for children while their
    /// descendants were taken in. `false` if one of them could not be read.
    fn read_baselines<S: TreeSource<Member = M>>(
        &mut self,
        tree: TreeIndex,
        source: &mut S,
    ) -> bool {
        let mut is_read = true;
        for (_, member) in self.members.iter_mut().filter(|(_, member)| member.tree == tree) {
            let stat = match &member.hold {
                Hold::Tracker => source.stat_of(member.pid),
                Hold::Trees(held) => source.stat(held),
                Hold::Lost(_) => None,
            };
            match stat {
                Some(stat) => member.set_children_baseline(stat.children_cpu),
                None => is_read = false,
            }
        }
        is_read
    }

    /// Removes reaped members whose pids are those of children now.
    fn remove_reused<S: TreeSource<Member = M>>(&mut self, pids: &[u32], source: &mut S) {
        for &pid in pids {
            let Some(at) = self.members.with_pid(pid) else { continue };
            if let Some(Hold::Trees(held)) = self.members.get(at).map(|member| &member.hold)
                && source.read(held) == MemberReading::Reaped
            {
                self.remove_reaped(at);
            }
        }
    }

    fn ancestors<S: TreeSource<Member = M>>(&self, parent: u32, source: &mut S) -> Vec<u32> {
        let mut above = Vec::new();
        let mut pid = parent;
        while pid != 0 && above.len() < MAX_ANCESTORS && !above.contains(&pid) {
            above.push(pid);
            // One that is not visible may be below the first process.
            pid = source.stat_of(pid).map_or(1, |stat| stat.parent);
        }
        above
    }

    /// Releases the root of a tree from its tracker, because its run ends. `counted` is the CPU time up
    /// to which the tracker has counted.
    ///
    /// The result is `None` if the root was reaped, if it could not be opened, or if there is none. A
    /// root that could not be opened is opened by a later pass: so it is if the source panics.
    pub(crate) fn release_root<S: TreeSource<Member = M>>(
        &mut self,
        id: TreeId,
        counted: Option<CpuTime>,
        source: &mut S,
    ) -> Option<ReleasedRoot<M>> {
        let at = self.trees[self.index_of(id)?].as_ref()?.root?;
        let pid = self.members.get(at)?.pid;
        self.lose_root(id, counted);
        match source.open(pid, &mut |_| true) {
            Open::Held(_, held) => Some(ReleasedRoot { at, held }),
            Open::Gone => {
                self.remove_reaped(at);
                None
            }
            Open::NotWanted(_) | Open::Unreadable => None,
        }
    }

    /// Continues a released root that lives, or is a zombie, as an ordinary member.
    ///
    /// `reading` was taken through the tracker after [`release_root`](Self::release_root) has returned
    /// `root`, which proves that both are the same process.
    pub(crate) fn hold_root(&mut self, root: ReleasedRoot<M>, reading: RootReading) {
        let ReleasedRoot { at, held } = root;
        let is_alive = match reading {
            RootReading::Alive { .. } => true,
            RootReading::Zombie { .. } => false,
            RootReading::Reaped => return self.remove_reaped(at),
            RootReading::Failed => return,
        };
        let Some(member) = self.members.get_mut(at) else { return };
        member.hold = Hold::Trees(held);
        member.is_alive = is_alive;
        member.seen = if is_alive { Seen::Alive } else { Seen::Zombie };
    }

    /// Takes the root of a tree from its tracker, which does not read it any more and has counted it up
    /// to `counted`. A later pass opens it.
    pub(crate) fn lose_root(&mut self, id: TreeId, counted: Option<CpuTime>) {
        let Some(tree) = self.index_of(id).and_then(|tree| self.trees[tree].as_mut()) else {
            return;
        };
        let Some(at) = tree.root.take() else { return };
        tree.members.push(at);
        tree.had_root = true;
        for &at in &tree.members {
            if let Some(member) = self.members.get_mut(at) {
                member.is_of_earlier_root = true;
            }
        }
        let Some(member) = self.members.get_mut(at) else { return };
        member.was_root = true;
        if let Some(counted) = counted {
            member.count_own(counted);
        }
        member.hold = Hold::Lost(PidReuse::No);
        member.leads_group = false;
        member.clock_at_stat = None;
        member.taken_at = tree.taken_at;
        member.seen = Seen::Unread;
    }

    /// No last times of a root that was reaped will be delivered.
    pub(crate) fn forget_reaped_root(&mut self, id: TreeId) {
        if let Some(tree) = self.index_of(id).and_then(|tree| self.trees[tree].as_mut()) {
            tree.reaped_root = None;
        }
    }

    /// Removes the tree of a plugin that was removed, after its root was released.
    ///
    /// Trees of other plugins in it continue. If it is itself inside of another one, its processes are
    /// followed until they end, so that what they have used does not count in the outer tree.
    pub(crate) fn remove_tree(&mut self, id: TreeId) {
        let Some(tree) = self.index_of(id) else { return };
        self.lose_root(id, None);
        let members = self.trees[tree].as_ref().map_or(&[][..], |tree| &tree.members);
        let is_enclosed = members.iter().filter_map(|&at| self.members.get(at)).any(|member| {
            let parent = member.parent.and_then(|parent| self.members.get(parent));
            parent.map_or(member.is_unplaced, |parent| parent.tree != tree)
        });
        if !is_enclosed {
            let scope = self.scope_of(tree);
            for &at in &scope.members {
                if let Some(member) = self.members.get_mut(at).filter(|m| m.tree == tree) {
                    member.is_leaving = true;
                }
            }
            self.remove_leaving(&scope);
            self.scope = scope;
        }
        self.by_id[id.0 as usize] = None;
        if let Some(tree) = self.trees[tree].as_mut() {
            tree.id = None;
        }
        self.drop_if_done(tree);
    }

    /// Charges and removes a member that was reaped between two passes.
    fn remove_reaped(&mut self, at: MemberIndex) {
        let Some(tree) = self.members.get(at).map(|member| member.tree) else { return };
        let scope = self.scope_of(tree);
        self.share_own_charges(at);
        self.charge(at, &scope);
        if let Some(member) = self.members.get_mut(at) {
            (member.seen, member.is_leaving) = (Seen::Reaped, true);
        }
        self.remove_leaving(&scope);
        self.scope = scope;
    }
}
