//! Reads a member.
//!
//! With a held `statm` this is the reading of an attached process: the CPU clock, then the file, which
//! cannot be read once the process was reaped.
//!
//! Without one the start time identifies the process. It is read last, so that it covers all values
//! that were read before. Another process has the same pid and start time only if it has started in
//! the clock tick, usually a hundredth of a second, in which the member has started: the member must
//! have exited and all other pids must have been assigned within it.

use std::fs::File;

use super::stat::{NoStat, is_reaped};
use super::{NativeTreeSource, TreeMember};
use crate::history::units::CpuTime;
use crate::os::linux::fds::MemberFd;
use crate::os::linux::proc_path::ProcPath;
use crate::os::linux::resident_pages;
use crate::os::tree::MemberReading;
use crate::time::MonoNanos;

impl NativeTreeSource {
    pub(super) fn read_cpu(&mut self, member: &TreeMember) -> (MonoNanos, Option<CpuTime>) {
        let units = self.units;
        member.cpu.read(units, || Some(self.read_stat(member.pid).ok()?.cpu_ticks))
    }

    pub(super) fn read_held(&mut self, member: &TreeMember, fd: &MemberFd) -> MemberReading {
        let (at, cpu_time) = self.read_cpu(member);
        match (resident_pages(&fd.statm), cpu_time) {
            (Ok(0), _) => self.read_without_pages(member, fd),
            (Ok(pages), Some(cpu_time)) => {
                MemberReading::Alive { at, cpu_time, resident: self.units.resident(pages) }
            }
            (Err(error), _) if is_reaped(&error) => MemberReading::Reaped,
            (Ok(_), None) | (Err(_), _) => MemberReading::Failed,
        }
    }

    /// A zombie has no pages, and neither has a process whose first thread has exited while others
    /// run.
    fn read_without_pages(&mut self, member: &TreeMember, fd: &MemberFd) -> MemberReading {
        let stat = self.read_stat(member.pid);
        // After `stat`, so that it is the final CPU time of a zombie.
        let (at, cpu_time) = self.read_cpu(member);
        // Last: if it is not reaped now, its pid was its own all along.
        match (resident_pages(&fd.statm), stat, cpu_time) {
            (Err(error), _, _) if is_reaped(&error) => MemberReading::Reaped,
            (_, Err(NoStat::Reaped), _) => MemberReading::Reaped,
            (Err(_), _, _) | (_, Err(_), _) | (_, _, None) => MemberReading::Failed,
            (Ok(_), Ok(stat), Some(cpu_time)) => alive_or_zombie(stat.is_zombie, at, cpu_time),
        }
    }

    /// The second value is the file, if there is capacity for holding it.
    pub(super) fn read_not_held(
        &mut self,
        member: &TreeMember,
    ) -> (MemberReading, Option<MemberFd>) {
        let (at, cpu_time) = self.read_cpu(member);
        let mut fd = self.hold_statm(member.pid);
        let pages = match &fd {
            Some(fd) => resident_pages(&fd.statm).ok(),
            None => self.read_pages(member.pid),
        };
        let stat = self.read_stat_beside(member.pid, &mut fd);
        let (stat, cpu_time) = match (stat, cpu_time) {
            (Err(NoStat::Reaped), _) => return (MemberReading::Reaped, None),
            (Ok(stat), _) if stat.start_ticks != member.start_ticks => {
                return (MemberReading::Reaped, None);
            }
            (Ok(stat), Some(cpu_time)) => (stat, cpu_time),
            (Ok(_), None) | (Err(NoStat::Exhausted | NoStat::Failed), _) => {
                return (MemberReading::Failed, None);
            }
        };
        let reading = if stat.is_zombie {
            self.read_zombie_not_held(member)
        } else {
            let resident = pages.and_then(|pages| self.units.resident(pages));
            MemberReading::Alive { at, cpu_time, resident }
        };
        (reading, fd)
    }

    fn read_pages(&mut self, pid: u32) -> Option<u64> {
        let path = ProcPath::of_process(pid, "statm");
        self.budget.with_reserve_fd(|| Ok(resident_pages(&File::open(&path)?)?)).ok()
    }

    /// Reads the final CPU time, and then again that it is the member's.
    fn read_zombie_not_held(&mut self, member: &TreeMember) -> MemberReading {
        let (at, cpu_time) = self.read_cpu(member);
        match (self.read_stat(member.pid), cpu_time) {
            (Ok(stat), Some(cpu_time)) if stat.start_ticks == member.start_ticks => {
                alive_or_zombie(stat.is_zombie, at, cpu_time)
            }
            (Ok(stat), None) if stat.start_ticks == member.start_ticks => MemberReading::Failed,
            (Ok(_) | Err(NoStat::Reaped), _) => MemberReading::Reaped,
            (Err(NoStat::Exhausted | NoStat::Failed), _) => MemberReading::Failed,
        }
    }
}

const fn alive_or_zombie(is_zombie: bool, at: MonoNanos, cpu_time: CpuTime) -> MemberReading {
    if is_zombie {
        MemberReading::Zombie { at, cpu_time }
    } else {
        MemberReading::Alive { at, cpu_time, resident: None }
    }
}
