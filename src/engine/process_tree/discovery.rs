//! New members: the processes of the pids that were assigned since the last pass.

use std::collections::HashMap;

use super::ProcessTrees;
use super::members::{Hold, LastReading, Member, MemberIndex, PidReuse, Seen};
use super::pid_window::Window;
use super::tree::{AddedAfter, TreeIndex};
use crate::history::units::CpuTime;
use crate::os::tree::{MemberReading, Open, ProcessStat, TreeSource};

/// For more new pids, a list of all processes costs less than opening each.
const MAX_OPENED_PIDS: u32 = 1_000;

/// For more new pids, the processes are not opened one by one even if they cannot be listed.
const MAX_NEW_PIDS: u32 = 16_384;

/// The pids that may not be a process yet, if so many were assigned that the list was read.
const RETRIED_PIDS: u32 = 64;

/// Processes that had no room, of which it is remembered that they were born in their trees.
const MAX_WITHOUT_ROOM: usize = 16_384;

/// The pid that was assigned last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Cursor {
    /// No pass has begun since the first root was added.
    #[default]
    Unset,
    /// The operating system does not report it, or processes were missed.
    Unknown,
    At(u32),
}

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

#[derive(Debug, Default)]
pub(super) struct Discovery {
    cursor: Cursor,
    window: Window,
    /// New pids without a process: a pid is assigned a moment before there is a process.
    retries: Vec<u32>,
    /// An empty buffer, which becomes `retries` in the next pass.
    spare_retries: Vec<u32>,
    /// Processes that existed when a root was added, and of which the parent was reaped before a pass
    /// has proven that they belong to the tree. Their new parent may prove it.
    orphans: Vec<u32>,
    /// Processes could not be listed although that was needed.
    has_failed: bool,
    /// Processes that existed when a root was added could not be taken in, and no list since then
    /// was complete.
    is_partial: bool,
    /// The same, in the current pass or since it.
    has_skipped: bool,
    /// Pids of processes that were born in a tree that had no room for them. Once there is room, all of
    /// their time counts. A process that gets such a pid later, in that tree, is born in it as well.
    without_room: HashMap<u32, TreeIndex, foldhash::fast::FixedState>,
    pids: Vec<u32>,
    unplaced: Vec<(u32, ProcessStat)>,
}

impl Discovery {
    /// Without trees, pids are not followed.
    pub(super) fn reset(&mut self) {
        self.cursor = Cursor::Unset;
        self.window = Window::default();
        self.retries.clear();
        self.orphans.clear();
        self.without_room.clear();
        (self.has_failed, self.is_partial) = (false, false);
    }

    pub(super) fn start<S: TreeSource>(&mut self, source: &mut S) {
        if self.cursor == Cursor::Unset {
            let last = source.last_pid();
            self.cursor = last.map_or(Cursor::Unknown, Cursor::At);
            if let Some(last) = last {
                self.retry_recent(last);
            }
        }
    }

    /// The pids that were assigned last, which may not be processes yet.
    fn retry_recent(&mut self, last: u32) {
        self.retries.extend(last.saturating_sub(RETRIED_PIDS) + 1..=last);
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.has_failed
    }

    pub(super) fn set_failed(&mut self) {
        self.has_failed = true;
    }

    /// Begins to add a root: if the source panics meanwhile, the next pass lists all processes.
    pub(super) fn begin_root(&mut self) -> Cursor {
        std::mem::replace(&mut self.cursor, Cursor::Unknown)
    }

    /// Whether processes could not be taken in that existed when the root was added.
    pub(super) const fn has_missed(&self) -> bool {
        self.has_failed || self.has_skipped
    }

    pub(super) fn finish_root(&mut self, cursor: Cursor) {
        self.cursor = if self.has_failed { Cursor::Unknown } else { cursor };
        self.has_skipped = false;
    }

    /// Holds a process that has lost its holder, if it still has its pid.
    pub(super) fn open_lost<S: TreeSource>(
        &self,
        pid: u32,
        known_since: Option<u32>,
        reuse: PidReuse,
        source: &mut S,
    ) -> Result<S::Member, MemberReading> {
        let held = match source.open(pid, &mut |_| true) {
            Open::Held(_, held) => held,
            Open::Gone => return Err(MemberReading::Reaped),
            Open::NotWanted(_) | Open::Unreadable => return Err(MemberReading::Failed),
        };
        match reuse.and(self.reuse_since_pass(pid, known_since, source)) {
            PidReuse::No => Ok(held),
            PidReuse::Yes => Err(MemberReading::Reaped),
            PidReuse::Unknown => Err(MemberReading::Failed),
        }
    }

    /// Whether a pid was assigned since the last pass of a tick.
    pub(super) fn reuse_since_pass<S: TreeSource>(
        &self,
        pid: u32,
        known_since: Option<u32>,
        source: &mut S,
    ) -> PidReuse {
        let (Cursor::At(before), Some(last)) = (self.cursor, source.last_pid()) else {
            return PidReuse::Unknown;
        };
        let (first_of_lap, last_of_lap) = source.pid_range();
        PidReuse::of(pid, known_since, &Window { before, last, first_of_lap, last_of_lap })
    }

    /// A reaped member's pid may have been assigned again in the window, and was not opened then.
    pub(super) fn retry_if_assigned(&mut self, pid: u32) {
        if self.window.contains(pid) {
            self.retries.push(pid);
        }
    }

    /// A new member was removed for want of a proof.
    pub(super) fn retry_orphan(&mut self, pid: u32, is_newborn: bool) {
        let list = if is_newborn { &mut self.retries } else { &mut self.orphans };
        if !list.contains(&pid) {
            list.push(pid);
        }
    }

    /// A process that exists already becomes the root of this tree, perhaps with descendants that have such
    /// a pid by now.
    pub(super) fn forget_without_room(&mut self, tree: TreeIndex) {
        self.without_room.retain(|_, &mut other| other != tree);
    }

    fn remember_without_room(&mut self, pid: u32, tree: TreeIndex) {
        if self.without_room.len() < MAX_WITHOUT_ROOM {
            self.without_room.insert(pid, tree);
        }
    }

    /// The pids that were assigned since the last pass. `None` if that is not known.
    fn advance<S: TreeSource>(&mut self, source: &mut S) -> Option<Window> {
        let before = std::mem::replace(&mut self.cursor, Cursor::Unknown);
        let last = source.last_pid()?;
        match before {
            Cursor::Unset | Cursor::Unknown => {
                self.cursor = Cursor::At(last);
                None
            }
            Cursor::At(before) => {
                let (first_of_lap, last_of_lap) = source.pid_range();
                self.cursor = Cursor::At(last);
                Some(Window { before, last, first_of_lap, last_of_lap })
            }
        }
    }
}

/// Where a process belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    tree: TreeIndex,
    parent: Option<MemberIndex>,
    proofs: [Option<MemberIndex>; 2],
}

impl<M> ProcessTrees<M> {
    /// Takes in the new processes of all trees. `true` if some of the new pids are no process any
    /// more: a member may have waited for it.
    pub(super) fn discover<S: TreeSource<Member = M>>(&mut self, source: &mut S) -> bool {
        let window = self.discovery.advance(source);
        // If the source panics, the next pass lists all processes.
        let cursor = std::mem::replace(&mut self.discovery.cursor, Cursor::Unknown);
        self.check_lost(window.as_ref());
        // Their descendants are not known either, and older than this window. The same holds for what a
        // tree had no room for.
        let has_orphans = !self.discovery.orphans.is_empty();
        let must_list = self.has_room_again() || has_orphans;
        // If the source panics, they are found by a list, and are no newborns.
        self.discovery.is_partial |= has_orphans;
        let mut pids = std::mem::take(&mut self.discovery.pids);
        let spare = std::mem::take(&mut self.discovery.spare_retries);
        let mut retries = std::mem::replace(&mut self.discovery.retries, spare);
        pids.clear();
        std::mem::swap(&mut pids, &mut self.discovery.orphans);
        self.adopt(source, &mut pids, Age::Existing, false);
        self.discovery.window = window.unwrap_or_default();
        if let Some(window) = window {
            self.forget_assigned_ancestors(window);
        }
        let mut is_gone = self.adopt(source, &mut retries, Age::Newborn, false);
        let mut is_listed = true;
        if let Some(window) = window
            && window.len() <= MAX_OPENED_PIDS
            && !must_list
        {
            pids.extend(window.pids());
            is_gone |= self.adopt(source, &mut pids, Age::Newborn, true);
        } else {
            is_gone = true;
            is_listed = source.list(&mut pids).is_ok();
            let age = if window.is_some() && !must_list { Age::Newborn } else { Age::Unlisted };
            if let Some(window) = window {
                if age == Age::Newborn && is_listed {
                    pids.retain(|&pid| window.contains(pid));
                } else if age == Age::Newborn && window.len() <= MAX_NEW_PIDS {
                    pids.clear();
                    pids.extend(window.pids());
                    is_listed = true;
                }
            }
            let window = self.discovery.window;
            let skipped = window.len().saturating_sub(RETRIED_PIDS) as usize;
            // A tree without room for all of them takes the oldest.
            pids.sort_unstable_by_key(|&pid| window.order(pid));
            let find = |pid: &u32| {
                pids.binary_search_by_key(&window.order(*pid), |&pid| window.order(pid))
            };
            let unborn = window.pids().skip(skipped).filter(|pid| find(pid).is_err());
            self.discovery.retries.extend(unborn);
            if age == Age::Unlisted && is_listed {
                self.discovery.without_room.retain(|pid, _| find(pid).is_ok());
            }
            for tree in self.trees.iter_mut().flatten() {
                tree.has_overflowed = false;
                tree.lacks_existing &= age == Age::Newborn;
            }
            self.adopt(source, &mut pids, age, false);
            if age == Age::Unlisted {
                if is_listed {
                    for tree in self.trees.iter_mut().flatten() {
                        tree.is_over_limit = tree.has_overflowed;
                    }
                }
                let has_skipped = std::mem::take(&mut self.discovery.has_skipped);
                self.discovery.is_partial = has_skipped || !is_listed;
                if let Cursor::At(last) = cursor
                    && !self.discovery.is_partial
                {
                    self.discovery.retry_recent(last);
                }
            }
        }
        retries.clear();
        self.discovery.spare_retries = retries;
        self.discovery.pids = pids;
        self.discovery.has_failed = !is_listed;
        self.discovery.cursor = if is_listed { cursor } else { Cursor::Unknown };
        if is_listed {
            for tree in self.trees.iter_mut().flatten() {
                tree.added_after = None;
            }
        }
        is_gone
    }

    /// The pids of lost members may have been assigned again.
    fn check_lost(&mut self, window: Option<&Window>) {
        for (_, member) in self.members.iter_mut() {
            let known_since = member.known_since.take();
            if let Hold::Lost(reuse) = &mut member.hold {
                let now = window.map(|window| PidReuse::of(member.pid, known_since, window));
                *reuse = reuse.and(now.unwrap_or(PidReuse::Unknown));
            }
        }
    }

    /// An ancestor of a root that was reaped, and whose pid was assigned again, takes no orphans.
    fn forget_assigned_ancestors(&mut self, window: Window) {
        for tree in self.trees.iter_mut().flatten() {
            tree.above.retain(|&pid| !window.contains(pid));
        }
    }

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
                Open::Held(stat, held) => self.take_in(source, pid, stat, held, age),
                Open::NotWanted(stat) => unplaced.push((pid, stat)),
                Open::Gone => {
                    is_gone = true;
                    if should_retry && age == Age::Newborn {
                        self.discovery.retries.push(pid);
                    }
                }
                Open::Unreadable if matches!(age, Age::Newborn | Age::Below(_)) => {}
                Open::Unreadable => {
                    self.discovery.has_skipped = true;
                    if age == Age::Existing && should_retry {
                        self.discovery.retry_orphan(pid, false);
                    }
                }
            }
        }
        // Parents have lower pids than their children, but for the end of a lap.
        loop {
            let before = unplaced.len();
            unplaced.retain(|&(pid, stat)| {
                if self.members.with_pid(pid).is_some() || self.place(pid, &stat).is_none() {
                    return self.members.with_pid(pid).is_none();
                }
                if let Open::Held(stat, held) = self.open(source, pid, age) {
                    self.take_in(source, pid, stat, held, age);
                }
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
    fn has_room_again(&self) -> bool {
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
            }
        }
    }
}
