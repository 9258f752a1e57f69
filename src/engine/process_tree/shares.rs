//! CPU shares, and the list of processes.

use super::members::{Member, MemberIndex};
use super::tree::Tree;
use super::{ProcessTrees, TreeId};
use crate::history::units::{CpuShare, CpuTime, ResidentBytes};
use crate::os::tree::CommandName;
use crate::time::MonoNanos;

/// A living member of a tree, for the list of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeProcess {
    pub pid: u32,
    pub parent_pid: u32,
    pub name: CommandName,
    /// Its own CPU time, in the interval of the last share that was taken.
    pub cpu: Option<CpuShare>,
    pub resident: Option<ResidentBytes>,
}

impl<M> ProcessTrees<M> {
    pub(super) fn living<'a>(&'a self, tree: &'a Tree) -> impl Iterator<Item = &'a Member<M>> {
        let members = tree.members.iter().filter_map(|&at| self.members.get(at));
        members.filter(|member| member.is_alive && member.is_proven())
    }

    /// The number of living processes that belonged to earlier roots of a tree, which have ended.
    pub(super) fn survivors(&self, tree: &Tree) -> u32 {
        if !tree.had_root {
            return 0;
        }
        // Below a living process that was replaced, there are no survivors yet.
        let is_earlier_root = |at: MemberIndex| {
            self.members.get(at).is_some_and(|member| member.was_root && member.is_alive)
        };
        let is_survivor = |at: MemberIndex| {
            self.members.get(at).is_some_and(|member| {
                member.is_of_earlier_root && member.is_alive && member.is_proven()
            }) && !self.members.chain(Some(at)).any(is_earlier_root)
        };
        let count = tree.members.iter().filter(|&&at| is_survivor(at)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The share of all members other than the root since the last value: the sum of the members'
    /// shares, each between its own readings, because a tree is not read at one moment. What cannot
    /// be attributed to a member counts over the time since the last value.
    ///
    /// `None` if that is shorter than `min_nanos`: then the interval continues.
    pub(crate) fn take_share(
        &mut self,
        id: TreeId,
        now: MonoNanos,
        min_nanos: u64,
    ) -> Option<CpuShare> {
        let tree = self.index_of(id)?;
        let tree = self.trees[tree].as_mut()?;
        let wall = now.0.saturating_sub(tree.taken_at.0);
        if wall == 0 || wall < min_nanos {
            return None;
        }
        let mut sum = CpuShare::from_times(CpuTime(tree.loose_busy), wall)?.0;
        for &at in &tree.members {
            let Some(member) = self.members.get_mut(at) else { continue };
            member.share = member.take_share();
            let share = member.share.map_or(0, |share| share.0);
            sum = sum.saturating_add(share);
        }
        tree.loose_busy = 0;
        tree.taken_at = now;
        // The largest share that a sample can hold.
        Some(CpuShare(sum.min(u32::MAX - 2)))
    }

    /// The living members of a tree other than its root, as of the newest pass.
    pub(crate) fn processes(&self, id: TreeId) -> impl Iterator<Item = TreeProcess> {
        let tree = self.index_of(id).and_then(|tree| self.trees[tree].as_ref());
        tree.into_iter().flat_map(|tree| self.living(tree)).map(|member| TreeProcess {
            pid: member.pid,
            parent_pid: member.parent_pid,
            name: member.name,
            cpu: member.share,
            resident: member.reading.and_then(|reading| reading.resident),
        })
    }
}

impl<M> Member<M> {
    /// The share since the last one. `None` without a later reading: then the interval continues.
    fn take_share(&mut self) -> Option<CpuShare> {
        let at = self.reading?.at;
        let wall = at.0.checked_sub(self.taken_at.0)?;
        let share = CpuShare::from_times(CpuTime(self.busy), wall);
        (self.busy, self.taken_at) = (0, at);
        share
    }
}
