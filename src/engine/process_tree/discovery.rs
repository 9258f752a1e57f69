//! New members: the processes of the pids that were assigned since the last pass.

use std::collections::HashMap;

use super::ProcessTrees;
use super::adoption::Age;
use super::members::{Hold, PidReuse};
use super::pid_window::Window;
use super::tree::TreeIndex;
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

#[derive(Debug, Default)]
pub(super) struct Discovery {
    cursor: Cursor,
    pub(super) window: Window,
    /// New pids without a process: a pid is assigned a moment before there is a process.
    pub(super) retries: Vec<u32>,
    /// An empty buffer, which becomes `retries` in the next pass.
    spare_retries: Vec<u32>,
    /// Processes that existed when a root was added, and of which the parent was reaped before a pass
    /// has proven that they belong to the tree. Their new parent may prove it.
    orphans: Vec<u32>,
    /// Processes could not be listed although that was needed.
    has_failed: bool,
    /// Processes that existed when a root was added could not be taken in, and no list since then
    /// was complete.
    pub(super) is_partial: bool,
    /// The same, in the current pass or since it.
    pub(super) has_skipped: bool,
    /// Pids of processes that were born in a tree that had no room for them. Once there is room, all of
    /// their time counts. A process that gets such a pid later, in that tree, is born in it as well.
    pub(super) without_room: HashMap<u32, TreeIndex, foldhash::fast::FixedState>,
    pids: Vec<u32>,
    pub(super) unplaced: Vec<(u32, ProcessStat)>,
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
                // They may not be processes yet.
                self.retries.extend(Window::up_to(last, RETRIED_PIDS).pids());
            }
        }
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

    pub(super) fn remember_without_room(&mut self, pid: u32, tree: TreeIndex) {
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
            let recent = match (window, cursor) {
                (Some(window), _) => window,
                (None, Cursor::At(last)) if is_listed => Window::up_to(last, RETRIED_PIDS),
                (None, Cursor::At(_) | Cursor::Unset | Cursor::Unknown) => Window::default(),
            };
            let skipped = recent.len().saturating_sub(RETRIED_PIDS) as usize;
            let window = self.discovery.window;
            // A tree without room for all of them takes the oldest.
            pids.sort_unstable_by_key(|&pid| window.order(pid));
            let find = |pid: &u32| {
                pids.binary_search_by_key(&window.order(*pid), |&pid| window.order(pid))
            };
            // A pid in the list may be that of an older process.
            let unborn = recent.pids().skip(skipped).filter(|pid| find(pid).is_err());
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
}
