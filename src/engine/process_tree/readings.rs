//! The readings of a pass, in the order that keeps time from counting twice.

use super::ProcessTrees;
use super::members::{Hold, LastReading, Member, Seen};
use crate::os::tree::{MemberReading, TreeSource};

impl<M> Member<M> {
    pub(super) fn set_reading(&mut self, reading: MemberReading) {
        (self.seen, self.reading) = match reading {
            MemberReading::Alive { at, cpu_time, resident } => {
                (Seen::Alive, Some(LastReading { at, cpu_time, resident }))
            }
            MemberReading::Zombie { at, cpu_time } => {
                (Seen::Zombie, Some(LastReading { at, cpu_time, resident: None }))
            }
            MemberReading::Reaped => (Seen::Reaped, self.reading),
            // Its memory is not known any more.
            MemberReading::Failed => {
                let last = self.reading;
                (Seen::Unread, last.map(|reading| LastReading { resident: None, ..reading }))
            }
        };
    }

    /// Removes what an earlier pass has read.
    pub(super) fn clear_pass(&mut self) {
        self.seen = Seen::Unread;
        if self.stat.take().is_some() {
            // It was not counted.
            self.clock_at_stat = None;
        }
        self.final_children = None;
        self.is_old_find = false;
    }

    fn has_ended(&self) -> bool {
        match self.seen {
            Seen::Reaped | Seen::Final => true,
            Seen::Zombie => self.is_alive,
            Seen::Alive | Seen::Unread => false,
        }
    }
}

impl<M> ProcessTrees<M> {
    /// The readings of a tick's pass.
    pub(super) fn read_pass<S: TreeSource<Member = M>>(
        &mut self,
        source: &mut S,
        has_young: bool,
        is_gone: bool,
    ) {
        // Only a reading of `children_cpu` tells whether the young charges are paid.
        let owes_full = std::mem::take(&mut self.owes_full);
        self.is_full = is_gone || has_young || owes_full;
        if !self.is_full {
            self.is_full = self.read_members(source);
            if !self.is_full {
                return;
            }
            // These readings are older than the `children_cpu` that follow.
            for &at in &self.scope.members {
                if let Some(member) = self.members.get_mut(at) {
                    member.seen = Seen::Unread;
                }
            }
        }
        // A root that has slept through the last pass may have waited since: without its `stat` the time
        // of the children that have ended would be counted one pass late.
        self.read_children_cpu(source);
        self.read_members(source);
    }

    /// The readings of a pass after the exit of a root.
    pub(super) fn read_exit_pass<S: TreeSource<Member = M>>(&mut self, source: &mut S) {
        self.is_full = true;
        self.read_children_cpu(source);
        self.read_members(source);
    }

    /// Those of all roots, which may have run since the tracker's last reading, and of the members that
    /// have run since their last such reading.
    fn read_children_cpu<S: TreeSource<Member = M>>(&mut self, source: &mut S) {
        let trees = &mut self.trees;
        for &at in &self.scope.members {
            let Some(member) = self.members.get_mut(at) else { continue };
            let Some(tree) = trees[member.tree].as_mut().filter(|tree| tree.is_in_pass) else {
                continue;
            };
            let (clock, stat) = match &member.hold {
                // The host has waited for it.
                Hold::Tracker if member.seen == Seen::Final => continue,
                Hold::Lost(_) => {
                    tree.has_unread = true;
                    continue;
                }
                Hold::Tracker => (None, source.stat_of(member.pid)),
                Hold::Trees(held) => {
                    let clock = source.cpu_clock(held);
                    let is_quiet = clock.is_some() && clock == member.clock_at_stat;
                    if is_quiet && member.young_charge == 0 {
                        continue;
                    }
                    (clock, source.stat(held))
                }
            };
            let Some(stat) = stat else {
                // The young charge stays young: no reading could pay it.
                member.clock_at_stat = None;
                tree.has_unread = true;
                self.owes_full = true;
                continue;
            };
            let young = std::mem::take(&mut member.young_charge);
            member.old_charge = member.old_charge.saturating_add(young);
            member.clock_at_stat = clock;
            member.stat = Some(stat);
        }
    }

    /// `true` if a member has ended since the last pass.
    fn read_members<S: TreeSource<Member = M>>(&mut self, source: &mut S) -> bool {
        let trees = &mut self.trees;
        let mut has_ended = false;
        for &at in &self.scope.members {
            let Some(member) = self.members.get_mut(at) else { continue };
            let Some(tree) = trees[member.tree].as_mut().filter(|tree| tree.is_in_pass) else {
                continue;
            };
            let reading = match &member.hold {
                Hold::Tracker => continue,
                Hold::Trees(held) => source.read(held),
                &Hold::Lost(reuse) => {
                    match self.discovery.open_lost(member.pid, member.known_since, reuse, source) {
                        Ok(held) => {
                            let reading = source.read(&held);
                            member.hold = Hold::Trees(held);
                            reading
                        }
                        Err(reading) => reading,
                    }
                }
            };
            member.set_reading(reading);
            if member.has_ended() {
                has_ended = true;
                tree.has_reaped = true;
            }
        }
        has_ended
    }
}
