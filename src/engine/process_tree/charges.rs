//! The end of a pass: what was read is counted, and the members that were reaped leave charges.

use super::ProcessTrees;
use super::members::{MemberIndex, Seen, pay};
use super::scope::Scope;
use super::tree::{HIDDEN_NANOS, ReapedRoot, TreeIndex};

/// What a pass has found. A quiet pass has found none of these.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    has_unread: bool,
    /// Zombies, or reaped members.
    has_ended: bool,
    has_stat: bool,
}

impl<M> ProcessTrees<M> {
    pub(super) fn settle(&mut self) {
        let scope = std::mem::take(&mut self.scope);
        for &tree in &scope.trees {
            if let Some(tree) = self.trees[tree].as_mut() {
                tree.has_reaped = false;
            }
        }
        if scope.has_unproven {
            self.check_proofs(&scope);
        }
        let found = self.count_own(&scope);
        if found.has_unread {
            self.mark_uncertain(&scope);
        }
        if found.has_ended {
            self.share_charges_of_ended(&scope);
            self.charge_reaped(&scope);
        }
        self.count_late_finals(&scope);
        if found.has_stat {
            self.update_links(&scope);
        }
        if found.has_ended {
            self.remove_leaving(&scope);
        }
        if found.has_stat {
            self.count_children(&scope);
        }
        for &tree in &scope.trees {
            let tree = self.trees[tree].as_mut().filter(|tree| tree.is_in_pass);
            let Some(tree) = tree else { continue };
            let is_read = self.is_full && !tree.has_unread && !tree.is_uncertain;
            if is_read && tree.reaped_root.is_none() {
                tree.charges.end_pass(tree.has_reaped, tree.members.len() + 1);
            }
            // The pass of a tick has found the missing ones.
            tree.is_incomplete &= !is_read || tree.added_after.is_some() || tree.lacks_existing;
        }
        self.scope = scope;
    }

    /// New members belong to the tree if a proof was seen.
    fn check_proofs(&mut self, scope: &Scope) {
        loop {
            let mut is_changed = false;
            for &at in &scope.members {
                let Some(member) = self.members.get(at).filter(|member| !member.is_proven()) else {
                    continue;
                };
                let proofs = member.proofs.into_iter().flatten();
                let mut proofs = proofs.filter_map(|proof| self.members.get(proof));
                if proofs.any(|proof| proof.is_proven() && proof.seen.is_proof())
                    && let Some(member) = self.members.get_mut(at)
                {
                    member.proofs = [None, None];
                    self.has_outdated_links = true;
                    is_changed = true;
                }
            }
            if !is_changed {
                break;
            }
        }
    }

    /// Counts the CPU clocks, and marks the members that were reaped.
    fn count_own(&mut self, scope: &Scope) -> Found {
        let mut found = Found::default();
        self.reaped.clear();
        for &at in &scope.members {
            let Some(member) = self.members.get_mut(at) else { continue };
            let tree = self.trees[member.tree].as_mut();
            let Some(tree) = tree.filter(|tree| tree.is_in_pass) else { continue };
            found.has_stat |= member.stat.is_some();
            match member.seen {
                Seen::Unread => found.has_unread = true,
                Seen::Alive => member.is_alive = true,
                Seen::Zombie => {
                    (member.is_alive, found.has_ended) = (false, true);
                }
                Seen::Reaped | Seen::Final => {
                    (member.is_alive, member.is_leaving) = (false, true);
                    found.has_ended = true;
                    self.reaped.push(at);
                    continue;
                }
            }
            if member.seen == Seen::Unread || !member.is_proven() {
                tree.has_unread = true;
                (member.stat, member.clock_at_stat) = (None, None);
                continue;
            }
            if !member.is_root()
                && let Some(reading) = member.reading
            {
                let growth = member.count_own(reading.cpu_time);
                member.busy += growth;
                tree.count(growth);
            }
        }
        found
    }

    /// Marks the trees that may have waited for a member that was not read.
    fn mark_uncertain(&mut self, scope: &Scope) {
        for &at in &scope.members {
            let Some(member) = self.members.get(at) else { continue };
            if member.seen != Seen::Unread {
                continue;
            }
            let charge = member.charge();
            let mut last = None;
            for above in self.members.chain(Some(at)) {
                let tree = self.members.get(above).map(|above| above.tree);
                if tree != last
                    && let Some(tree) = tree.and_then(|tree| self.trees[tree].as_mut())
                {
                    tree.is_uncertain = true;
                    tree.uncertain_charge = tree.uncertain_charge.saturating_add(charge);
                }
                last = tree;
            }
            if self.is_below_unplaced(Some(at)) {
                for tree in self.trees.iter_mut().flatten() {
                    tree.is_uncertain = true;
                    tree.uncertain_charge = tree.uncertain_charge.saturating_add(charge);
                }
            }
        }
    }

    /// Whether the root above could not be placed yet, so that any tree may be around it.
    fn is_below_unplaced(&self, at: Option<MemberIndex>) -> bool {
        let top = self.members.chain(at).last().and_then(|top| self.members.get(top));
        top.is_some_and(|top| top.is_unplaced)
    }

    /// A process that has exited waits for nobody, and its children are an ancestor's.
    fn share_charges_of_ended(&mut self, scope: &Scope) {
        for &at in &scope.members {
            let Some(member) = self.members.get(at) else { continue };
            if !member.is_alive {
                self.share_own_charges(at);
            }
        }
    }

    /// Whoever may have waited for the members that were reaped is charged.
    fn charge_reaped(&mut self, scope: &Scope) {
        let mut reaped = std::mem::take(&mut self.reaped);
        // Those with last times come last: these may have others in them, and are counted here.
        for is_final in [false, true] {
            for &at in &reaped {
                let seen = self.members.get(at).map(|member| member.seen);
                if (seen == Some(Seen::Final)) == is_final {
                    self.charge(at, scope);
                }
            }
        }
        reaped.clear();
        self.reaped = reaped;
    }

    pub(super) fn share_own_charges(&mut self, at: MemberIndex) {
        let Some(member) = self.members.get_mut(at) else { return };
        let old = std::mem::take(&mut member.old_charge);
        let charge = old.saturating_add(std::mem::take(&mut member.young_charge));
        self.post(Some(at), charge);
    }

    /// Charges what was counted of a member that was reaped.
    pub(super) fn charge(&mut self, at: MemberIndex, scope: &Scope) {
        let Some(member) = self.members.get_mut(at) else { return };
        let (tree, parent) = (member.tree, member.parent);
        if let Some(children_cpu) = member.final_children.take() {
            let mut growth = member.count_children(children_cpu);
            if let Some(tree) = self.trees[tree].as_mut() {
                // There is no later reading.
                pay(&mut growth, &mut tree.uncertain_charge);
                if !tree.is_incomplete {
                    tree.count_growth(growth);
                }
            }
        } else if member.is_root()
            && let Some(tree) = self.trees[tree].as_mut()
        {
            // What a member of an enclosing tree has waited for is counted there.
            let is_known = parent.is_none() && !tree.is_incomplete;
            let children_counted = member.children_counted.filter(|_| is_known);
            let hidden_charge = member.hidden_charge;
            tree.reaped_root =
                Some(ReapedRoot { children_counted, hidden_charge, last_children: None });
        }
        let (mut charge, is_orphan) = (member.charge(), member.is_orphan);
        let is_unplaced = member.is_unplaced;
        let is_root = member.is_root();
        if is_root && self.has_nested(at, scope) {
            self.ignore_reaped_root(tree);
        }
        // Of the shared charges it may hide some as well, and then whoever has waited for it shows them.
        let hidden = self.trees[tree].as_ref().map_or(0, |tree| tree.charges.hidden());
        charge = charge.saturating_add(hidden.min(HIDDEN_NANOS));
        for above in self.members.chain(Some(at)) {
            let tree = self.members.get(above).and_then(|above| self.trees[above.tree].as_mut());
            if let Some(tree) = tree {
                tree.has_reaped = true;
            }
        }
        match parent.and_then(|parent| self.members.get_mut(parent)) {
            // Nobody else can have waited for it.
            Some(parent) if !is_orphan && parent.seen == Seen::Alive => {
                parent.young_charge = parent.young_charge.saturating_add(charge);
            }
            Some(_) | None => self.post(parent, charge),
        }
        if parent.is_none() && is_unplaced {
            self.post_to_all(charge);
        }
        // It may be in the last `children_cpu` of the root.
        if parent.is_none()
            && !is_root
            && let Some(tree) = self.trees[tree].as_mut().filter(|tree| tree.reaped_root.is_some())
        {
            tree.charges.post(charge, 1);
        }
    }

    /// Whether a member of another tree is below a root.
    fn has_nested(&self, root: MemberIndex, scope: &Scope) -> bool {
        let tree = self.members.get(root).map(|root| root.tree);
        if !tree.and_then(|tree| self.trees[tree].as_ref()).is_some_and(|tree| tree.is_linked) {
            return false;
        }
        let is_below = |at| self.members.chain(Some(at)).any(|above| above == root);
        let is_nested = |&at: &MemberIndex| {
            self.members.get(at).is_some_and(|member| Some(member.tree) != tree) && is_below(at)
        };
        scope.members.iter().any(is_nested)
    }

    /// The last `children_cpu` of a reaped root may contain members of other trees, the charges of
    /// which are not posted here.
    pub(super) fn ignore_reaped_root(&mut self, tree: TreeIndex) {
        if let Some(reaped) = self.trees[tree].as_mut().and_then(|tree| tree.reaped_root.as_mut()) {
            reaped.children_counted = None;
        }
    }

    /// Counts the last `children_cpu` of roots that an earlier pass has found reaped. After the
    /// charges of this pass, because members that were reaped may be in it.
    fn count_late_finals(&mut self, scope: &Scope) {
        for &tree in &scope.trees {
            let Some(tree) = self.trees[tree].as_mut() else { continue };
            let Some(ReapedRoot { last_children: Some(last), .. }) = tree.reaped_root else {
                continue;
            };
            if let Some(ReapedRoot { children_counted: Some(before), mut hidden_charge, .. }) =
                tree.reaped_root.take()
            {
                let mut growth = last.0.saturating_sub(before.0);
                pay(&mut growth, &mut hidden_charge);
                pay(&mut growth, &mut tree.uncertain_charge);
                tree.count_growth(growth);
            }
        }
    }

    /// Charges all trees of `at` and of those above it.
    fn post(&mut self, at: Option<MemberIndex>, charge: u64) {
        let depth = self.members.chain(at).count();
        let depth = u32::try_from(depth).unwrap_or(u32::MAX).saturating_add(1);
        let mut last = None;
        for above in self.members.chain(at) {
            let tree = self.members.get(above).map(|above| above.tree);
            // A tree can be left and entered again: it is charged again then, which loses at most.
            if tree != last
                && let Some(tree) = tree.and_then(|tree| self.trees[tree].as_mut())
            {
                tree.charges.post(charge, depth);
            }
            last = tree;
        }
        if self.is_below_unplaced(at) {
            self.post_to_all(charge);
        }
    }

    /// Charges all trees.
    fn post_to_all(&mut self, charge: u64) {
        let depth = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        for tree in self.trees.iter_mut().flatten() {
            tree.has_reaped = true;
            tree.charges.post(charge, depth);
        }
    }

    /// Updates the links to parents by the `stat` that this pass has read.
    fn update_links(&mut self, scope: &Scope) {
        self.has_outdated_links = true;
        for &at in &scope.members {
            let Some(member) = self.members.get_mut(at) else { continue };
            let Some(stat) = member.stat else { continue };
            if member.is_leaving {
                continue;
            }
            member.set_stat(&stat);
            let (tree, parent) = (member.tree, member.parent);
            let found = self.members.with_pid(stat.parent).filter(|&up| up != at);
            let tree = self.trees[tree].as_ref();
            if found.is_some() || tree.is_some_and(|tree| tree.above.contains(&stat.parent)) {
                self.members.link(at, found, false);
            } else {
                // An unknown process, so one of those above may take it.
                self.members.link(at, parent, parent.is_some());
            }
            self.mark_links(at);
        }
    }

    /// Removes the marked members, and those that nothing can prove any more.
    pub(super) fn remove_leaving(&mut self, scope: &Scope) {
        let leaves =
            |&at: &MemberIndex| self.members.get(at).is_some_and(|member| member.is_leaving);
        if !scope.members.iter().any(leaves) {
            return;
        }
        self.has_outdated_links = true;
        self.members.drop_proofs(&scope.members);
        for &at in &scope.members {
            let Some(member) = self.members.get(at).filter(|member| member.is_leaving) else {
                continue;
            };
            let (pid, parent, is_proven) = (member.pid, member.parent, member.is_proven());
            match member.seen {
                Seen::Reaped | Seen::Final => self.discovery.retry_if_assigned(pid),
                Seen::Unread | Seen::Alive | Seen::Zombie if !is_proven => {
                    // Its time before the registration does not count, in no `children_cpu`.
                    let charge = member.charge();
                    self.post(parent, charge);
                    self.discovery.retry_orphan(pid, charge == 0);
                }
                Seen::Unread | Seen::Alive | Seen::Zombie => {}
            }
        }
        self.members.lift_children(&scope.members);
        for &at in &scope.members {
            if self.members.get(at).is_some_and(|member| member.is_leaving) {
                self.remove_member(at);
            }
        }
    }

    /// Counts the growth of each `children_cpu`, without what pays charges.
    fn count_children(&mut self, scope: &Scope) {
        for &at in &scope.members {
            let Some(member) = self.members.get_mut(at) else { continue };
            let tree = self.trees[member.tree].as_mut();
            let Some(tree) = tree.filter(|tree| tree.is_in_pass) else { continue };
            let Some(stat) = member.stat.take() else { continue };
            if tree.is_uncertain {
                member.clock_at_stat = None;
                continue;
            }
            let growth = member.count_children(stat.children_cpu);
            if tree.is_incomplete {
                member.set_children_baseline(stat.children_cpu);
            } else {
                tree.count_growth(growth);
            }
        }
    }
}
