//! What a pass, or the removal of a process, has to look at.
//!
//! Most trees stand alone: the parent of the root is the host, which is no plugin. If the process of
//! such a tree ends, nothing changes in another tree. So the end of a plugin costs what its own tree costs,
//! however many plugins there are.

use super::ProcessTrees;
use super::members::{Member, MemberIndex, Members};
use super::tree::{Tree, TreeIndex};

/// The trees, and their members in the order of the arena.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub trees: Vec<TreeIndex>,
    pub members: Vec<MemberIndex>,
    /// One of the members may not be proven.
    pub has_unproven: bool,
}

impl Scope {
    fn fill<M>(&mut self, trees: usize, members: &Members<M>) {
        self.trees.extend(0..trees);
        self.has_unproven = false;
        self.members.extend(members.iter().map(|(at, member)| {
            self.has_unproven |= !member.is_proven();
            at
        }));
    }
}

impl<M> ProcessTrees<M> {
    /// The pass of a tick looks at everything, and finds out again which trees stand alone.
    pub(super) fn enter_all(&mut self) {
        self.leave_scope();
        self.scope.fill(self.trees.len(), &self.members);
        let is_outdated = std::mem::take(&mut self.has_outdated_links);
        for tree in self.trees.iter_mut().flatten() {
            tree.is_in_pass = true;
            tree.is_linked &= !is_outdated;
        }
        if !is_outdated {
            return;
        }
        self.has_unplaced = false;
        for index in 0..self.scope.members.len() {
            let at = self.scope.members[index];
            self.has_unplaced |= self.members.get(at).is_some_and(|member| member.is_unplaced);
            self.mark_links(at);
        }
    }

    /// The pass after the exit of a root of this tree reads it, and those that are nested in it or around it.
    pub(super) fn enter_connected(&mut self, tree: TreeIndex) {
        self.scope = self.scope_of(tree);
        self.mark_connected(tree);
        for &at in &self.scope.members {
            if let Some(member) = self.members.get_mut(at) {
                member.clear_pass();
            }
        }
        for &tree in &self.scope.trees {
            if let Some(tree) = self.trees[tree].as_mut() {
                tree.clear_pass();
            }
        }
    }

    /// What a change in this tree can concern.
    pub(super) fn scope_of(&mut self, tree: TreeIndex) -> Scope {
        self.leave_scope();
        let mut scope = std::mem::take(&mut self.scope);
        let stands_alone = |tree: &&Tree| !tree.is_linked && !self.has_unplaced;
        if let Some(alone) = self.trees[tree].as_ref().filter(stands_alone) {
            scope.trees.push(tree);
            scope.members.extend(alone.root.iter().chain(&alone.members));
            scope.members.sort_unstable();
            scope.has_unproven = true;
        } else {
            scope.fill(self.trees.len(), &self.members);
        }
        scope
    }

    /// No tree is in a pass any more. The last pass was not finished if the source has panicked.
    pub(super) fn leave_scope(&mut self) {
        for &tree in &self.scope.trees {
            if let Some(tree) = self.trees[tree].as_mut() {
                tree.is_in_pass = false;
            }
        }
        self.scope.trees.clear();
        self.scope.members.clear();
    }

    /// Marks a tree and all those that are nested in it or around it.
    fn mark_connected(&mut self, tree: TreeIndex) {
        if let Some(tree) = self.trees[tree].as_mut() {
            tree.is_in_pass = true;
        }
        loop {
            let mut is_changed = false;
            for &at in &self.scope.members {
                let Some(member) = self.members.get(at) else { continue };
                let Some(parent) = member.parent.and_then(|parent| self.members.get(parent)) else {
                    continue;
                };
                let is_marked = |trees: &[Option<Tree>], at: TreeIndex| {
                    trees[at].as_ref().is_some_and(|tree| tree.is_in_pass)
                };
                let pair = [member.tree, parent.tree];
                let [one, other] = pair.map(|at| is_marked(&self.trees, at));
                if one != other {
                    is_changed = true;
                    for at in pair {
                        if let Some(tree) = self.trees[at].as_mut() {
                            tree.is_in_pass = true;
                        }
                    }
                }
            }
            if !is_changed {
                break;
            }
        }
    }

    /// After a change of what a member refers to, or of its tree: two trees that are connected by it do not
    /// stand alone.
    pub(super) fn mark_links(&mut self, at: MemberIndex) {
        let Some(member) = self.members.get(at) else { return };
        let tree = member.tree;
        for other in member.links().into_iter().flatten() {
            let other = self.members.get(other).map_or(tree, |other| other.tree);
            if other != tree {
                for tree in [tree, other] {
                    if let Some(tree) = self.trees[tree].as_mut() {
                        tree.is_linked = true;
                    }
                }
            }
        }
    }
}

impl<M> Member<M> {
    /// The members to which it refers.
    pub(super) fn links(&self) -> [Option<MemberIndex>; 3] {
        [self.parent, self.proofs[0], self.proofs[1]]
    }
}
