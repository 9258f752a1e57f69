//! The process trees of all plugins: which processes belong to them, and whose CPU time counts when.
//!
//! # The rule
//!
//! Of each process of a tree the operating system reports its CPU clock, exactly, and `children_cpu`:
//! the CPU time of all children that it has *waited for*, with what those had waited for. It grows
//! at the moment of the wait, by the whole life of the child.
//!
//! The total of a tree grows by the growth of each member's CPU clock, and by the growth of each
//! member's `children_cpu` *minus* what was counted of the members that were reaped and may be in it:
//! their **charge**. The charge of a member whose parent lives is the parent's. Otherwise an
//! ancestor that takes orphans may have waited for it, so the charge is shared by all trees of the
//! ancestors. A charge that was not paid by a reading that began after the end of the member was
//! known is in no `children_cpu`, because nobody has waited for the member; it is forgiven, apart from
//! the part that whole clock ticks may hide.
//!
//! # Order of the readings
//!
//! In each pass all `children_cpu` are read before all CPU clocks. A member whose clock is read, and
//! which was not reaped then, is therefore in no `children_cpu` of that pass: its time cannot count
//! twice. Everything read by pid counts only if the process is seen *afterwards*, because the pid was
//! its own until then. That also proves membership: a process is a child of a member if the member is
//! seen after the child's parent was read.
//!
//! # Guarantees
//!
//! - A total is never larger than the CPU time that was used, summed over nested trees; what an
//!   inner tree misses may be in the total of the outer one. It never decreases.
//! - Where all children are waited for it is exact, apart from less than 20 ms for each living process
//!   that has waited; they are counted later.
//! - A process counts in one tree: that of its nearest registered ancestor. After the plugin of an
//!   inner tree was removed, the processes of that tree are followed and count nowhere.
//!
//! These hold if fewer pids are assigned between two passes than there are, apart from these cases:
//!
//! - The time of a process that two plugins have reported is own time of both.
//! - The time of a child between its last reading and its end counts in its run and in an enclosing
//!   tree, if the sampler has found it reaped before the host's thread has delivered the last times.
//! - While a root cannot be added, because the source has failed, its tracker counts it, and so may
//!   the tree in which it is a descendant.
//! - A descendant that cannot be opened when its root is added, nor later, may count once it is waited
//!   for, with what it had used before.
//!
//! # Losses
//!
//! - Children of a process that ignores `SIGCHLD`, from their last pass on: nobody receives their
//!   time.
//! - Daemons: a process that was forked twice and has called `setsid`, all between two passes, leaves
//!   no trace of where it came from.
//! - The last children that a root has waited for, if it is reaped before `stat` could be read.

mod adoption;
mod charges;
mod discovery;
mod members;
mod pid_window;
mod readings;
pub(crate) mod roots;
mod scope;
mod shares;
#[cfg(test)]
mod tests;
mod tree;

use self::discovery::Discovery;
use self::members::{Hold, MemberIndex, Members, Seen};
use self::scope::Scope;
pub(crate) use self::shares::TreeProcess;
use self::tree::{Tree, TreeIndex};
use crate::history::units::CpuTime;
use crate::os::tree::TreeSource;

/// Members of one tree. Further processes are not taken in.
pub(crate) const MAX_TREE_MEMBERS: usize = 1_024;

/// Members of all trees.
pub(crate) const MAX_MEMBERS: usize = 4_096;

/// How many members there may be.
#[derive(Clone, Copy, Debug)]
struct MemberLimits {
    of_tree: usize,
    of_all: usize,
}

impl Default for MemberLimits {
    fn default() -> Self {
        Self { of_tree: MAX_TREE_MEMBERS, of_all: MAX_MEMBERS }
    }
}

/// Identifies the tree of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeId(pub u32);

/// The tracker's reading of a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootReading {
    /// With the CPU time up to which the tracker has counted.
    Alive {
        cpu_time: Option<CpuTime>,
    },
    /// It has exited, and nobody has waited for it.
    Zombie {
        cpu_time: Option<CpuTime>,
    },
    Reaped,
    Failed,
}

/// The last times of a root, read by the host before it waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FinalRoot {
    /// The CPU time up to which the tracker has counted, or will have.
    pub cpu_time: CpuTime,
    pub children_cpu: Option<CpuTime>,
}

/// The result of adding a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddedRoot {
    /// The tracker counts the CPU time of the process from this value on: below it, the time is not
    /// to be counted, or a tree has counted it as a member's. `None`: from its first reading.
    Followed { counts_from: Option<CpuTime> },
    /// The process is the root of another tree, or was: if its tracker finds that root reaped, the
    /// pid was reused. Then release that root and add this one again.
    RootOf(TreeId),
}

/// The usage of a tree, in which the root's own does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeUsage {
    /// Cumulative since the tree exists; it never decreases.
    pub others_cpu: CpuTime,
    /// Living members. Zombies do not count.
    pub processes: u32,
    /// Those of them that belonged to an earlier root, which has ended.
    pub survivors: u32,
    /// The sum over the living members, in bytes. Zero without members; `None` if the memory of one
    /// is not known.
    pub resident: Option<u64>,
    /// `false` if processes may be missing: a limit was reached, or processes could not be listed, or not read
    /// when the root was added.
    pub is_complete: bool,
}

/// All trees. `M` is what the [`TreeSource`] holds of a member.
#[derive(Debug)]
pub(crate) struct ProcessTrees<M> {
    members: Members<M>,
    trees: Vec<Option<Tree>>,
    by_id: Vec<Option<TreeIndex>>,
    limits: MemberLimits,
    discovery: Discovery,
    scope: Scope,
    /// There may be a root that could not be placed.
    has_unplaced: bool,
    /// Trees that are marked as linked perhaps stand alone by now.
    has_outdated_links: bool,
    /// This pass reads the `children_cpu` of all members.
    is_full: bool,
    /// The next pass of a tick does, because the last one that did was not finished, or could not read
    /// all of them.
    owes_full: bool,
    /// A limit was reached and is not reported yet.
    is_limit_unreported: bool,
    reaped: Vec<MemberIndex>,
}

impl<M> ProcessTrees<M> {
    pub(crate) fn new() -> Self {
        Self {
            members: Members::new(),
            trees: Vec::new(),
            by_id: Vec::new(),
            limits: MemberLimits::default(),
            discovery: Discovery::default(),
            scope: Scope::default(),
            has_unplaced: false,
            has_outdated_links: false,
            is_full: false,
            owes_full: false,
            is_limit_unreported: false,
            reaped: Vec::new(),
        }
    }

    /// Begins the pass of a tick: finds new members, reads all members other than roots.
    ///
    /// Then the engine reads each root and stores its reading, and finishes the pass.
    ///
    /// # Cost
    ///
    /// One read of the last assigned pid, and one reading a member, if nothing happened.
    pub(crate) fn begin_pass<S: TreeSource<Member = M>>(&mut self, source: &mut S) {
        if self.members.len() == 0 {
            // New roots bring their descendants along.
            self.discovery.reset();
            self.enter_all();
            return;
        }
        self.keep_unfinished();
        let mut has_young = false;
        for (_, member) in self.members.iter_mut() {
            member.clear_pass();
            has_young |= member.young_charge > 0;
        }
        self.trees.iter_mut().flatten().for_each(Tree::clear_pass);
        let is_gone = self.discover(source);
        self.enter_all();
        self.read_pass(source, has_young, is_gone);
    }

    /// Begins a pass after the exit of a root, of which `stat` can be read as long as it is a zombie.
    ///
    /// Only of the trees that may have waited for its members, or it for theirs, and without
    /// discovery. The engine stores the reading of the exited root, and may store those of others;
    /// then it finishes the pass.
    pub(crate) fn begin_exit_pass<S: TreeSource<Member = M>>(
        &mut self,
        id: TreeId,
        source: &mut S,
        root: Option<FinalRoot>,
    ) {
        self.keep_unfinished();
        let Some(tree) = self.index_of(id) else { return self.leave_scope() };
        self.enter_connected(tree);
        // Before the readings: the tracker counts these times even if the source panics.
        if let Some(root) = root {
            self.set_final_root(tree, root);
        }
        self.read_exit_pass(source);
    }

    /// Stores the tracker's reading of a root: in a pass, after its beginning. If the source has panicked
    /// there, this keeps what the tracker has counted.
    pub(crate) fn set_root_reading(&mut self, id: TreeId, reading: RootReading) {
        let tree = self.index_of(id).and_then(|tree| self.trees[tree].as_ref());
        let root = tree.and_then(|tree| tree.root).and_then(|root| self.members.get_mut(root));
        let Some(root) = root else { return };
        let (seen, cpu_time) = match reading {
            RootReading::Alive { cpu_time } => (Seen::Alive, cpu_time),
            RootReading::Zombie { cpu_time } => (Seen::Zombie, cpu_time),
            RootReading::Reaped => (Seen::Reaped, None),
            RootReading::Failed => (Seen::Unread, None),
        };
        root.seen = seen;
        if let Some(cpu_time) = cpu_time {
            root.count_own(cpu_time);
        }
    }

    fn set_final_root(&mut self, tree: TreeIndex, last: FinalRoot) {
        let Some(tree) = self.trees[tree].as_mut() else { return };
        if let Some(root) = tree.root.and_then(|root| self.members.get_mut(root)) {
            root.count_own(last.cpu_time);
            root.seen = Seen::Reaped;
            root.stat = None;
            if let Some(children_cpu) = last.children_cpu {
                root.seen = Seen::Final;
                root.final_children = Some(children_cpu);
            }
        } else if let Some(children_cpu) = last.children_cpu
            && let Some(reaped) = &mut tree.reaped_root
        {
            // A pass has found it reaped before the host delivered its last times.
            reaped.last_children = Some(children_cpu);
        } else {
            tree.reaped_root = None;
        }
    }

    /// Finishes a pass: counts what was read, and removes the members that were reaped.
    pub(crate) fn finish_pass(&mut self) {
        self.settle();
        for index in 0..self.scope.trees.len() {
            self.drop_if_done(self.scope.trees[index]);
        }
        self.leave_scope();
        self.is_full = false;
    }

    /// If the last pass was not finished, because the source has panicked.
    fn keep_unfinished(&mut self) {
        self.owes_full |= std::mem::take(&mut self.is_full);
    }

    /// A pass after the exit of a root whose reading the engine has.
    pub(crate) fn exit_pass<S: TreeSource<Member = M>>(
        &mut self,
        id: TreeId,
        source: &mut S,
        root: Option<FinalRoot>,
    ) {
        self.begin_exit_pass(id, source, root);
        self.finish_pass();
    }

    /// The pid of the root of a tree; `None` without one.
    pub(crate) fn root_pid(&self, id: TreeId) -> Option<u32> {
        let root = self.trees[self.index_of(id)?].as_ref()?.root?;
        Some(self.members.get(root)?.pid)
    }

    /// `None` if the tree does not exist.
    pub(crate) fn usage(&self, id: TreeId) -> Option<TreeUsage> {
        let tree = self.trees[self.index_of(id)?].as_ref()?;
        let mut usage = TreeUsage {
            others_cpu: tree.others_cpu,
            processes: 0,
            survivors: self.survivors(tree),
            resident: Some(0),
            is_complete: !tree.is_over_limit
                && !tree.is_incomplete
                && !self.discovery.is_incomplete(),
        };
        for member in self.living(tree) {
            usage.processes += 1;
            let resident = member.reading.and_then(|reading| reading.resident);
            let sum = usage.resident.zip(resident);
            usage.resident = sum.map(|(sum, more)| sum.saturating_add(more.0.get()));
        }
        Some(usage)
    }

    /// Whether a limit was reached since the last call.
    pub(crate) fn take_limit_warning(&mut self) -> bool {
        std::mem::take(&mut self.is_limit_unreported)
    }

    fn index_of(&self, id: TreeId) -> Option<TreeIndex> {
        *self.by_id.get(id.0 as usize)?
    }

    /// Removes a tree without plugin of which no process is left.
    fn drop_if_done(&mut self, at: TreeIndex) {
        let is_done = |tree: &Tree| tree.id.is_none() && tree.is_empty();
        if self.trees[at].as_ref().is_some_and(is_done) {
            self.trees[at] = None;
        }
    }

    /// Removes a member from the arena and from its tree. Links to it were replaced.
    fn remove_member(&mut self, at: MemberIndex) {
        let Some(member) = self.members.remove(at) else { return };
        let Some(tree) = self.trees[member.tree].as_mut() else { return };
        tree.loose_busy += member.busy;
        match member.hold {
            Hold::Tracker => tree.root = None,
            Hold::Trees(_) | Hold::Lost(_) => tree.members.retain(|&other| other != at),
        }
    }
}
