//! Process trees on Linux.
//!
//! A descendant is read as an attached process is: its CPU clock, then its held `/proc/PID/statm`.
//! It has no pidfd, because its exit must not wake the sampler. New processes are found by the pid
//! that was assigned last, which costs one read of a held file in a pass without new processes.
//!
//! A process that may not be read is never a member: with the option `hidepid` of `/proc` (proc(5))
//! these are the processes of other users.

mod cursor;
mod listing;
mod open;
mod reading;
mod stat;
// Miri runs no such system calls.
#[cfg(test)]
#[cfg(not(miri))]
mod tests;

use std::cell::RefCell;
use std::fs::File;
use std::io::Read as _;

use self::cursor::PidCursor;
use self::listing::Listing;
use self::stat::{NoStat, Stat};
use super::cpu_source::CpuSource;
use super::fds::{FdBudget, MemberFd, OpenError};
use super::units::Units;
use crate::history::units::CpuTime;
use crate::os::procfs;
use crate::os::tree::{MemberReading, Open, ProcessStat, TreeSource};
use crate::snapshot::read_error::ReadError;

/// The kernel keeps lower numbers for the first lap (`RESERVED_PIDS` in kernel/pid.c).
const FIRST_PID: u32 = 300;

/// `PID_MAX_LIMIT` of include/linux/threads.h: no pid is as large as this.
const PID_MAX_LIMIT: u32 = 4_194_304;

/// The first release in which a pidfd hangs up when its process is reaped (pidfd_open(2)).
const FIRST_WITH_HANGUP: (u32, u32) = (6, 9);

/// Reads the descendants of attached processes.
#[derive(Debug)]
pub(crate) struct NativeTreeSource {
    /// Shared with the probe.
    budget: FdBudget,
    units: Units,
    cursor: Cursor,
    /// The last pid of this pass.
    last_pid: Option<u32>,
    /// `None` if it has to be read again.
    last_of_lap: Option<u32>,
    /// See [`FdBudget::member_limit`]; of this pass.
    member_limit: u64,
    /// Whether a pidfd shows that its process was reaped.
    has_hangups: bool,
    listing: Listing,
}

/// Whether the operating system reports the last pid.
#[derive(Debug)]
enum Cursor {
    NotChecked,
    Found(PidCursor),
    Missing,
}

/// A descendant.
#[derive(Debug)]
pub(crate) struct TreeMember {
    pid: u32,
    cpu: CpuSource,
    start_ticks: u64,
    /// `None` without capacity for it: then it is opened in each reading.
    statm: RefCell<Option<MemberFd>>,
}

impl NativeTreeSource {
    /// `None` if not even this process can be found in `/proc`.
    pub(super) fn new(budget: FdBudget, units: Units) -> Option<Self> {
        let release = std::fs::read("/proc/sys/kernel/osrelease").unwrap_or_default();
        let release = procfs::kernel_release(&release);
        let mut source = Self {
            budget,
            units,
            cursor: Cursor::NotChecked,
            last_pid: None,
            last_of_lap: None,
            member_limit: FdBudget::member_limit(),
            has_hangups: release.is_some_and(|release| release >= FIRST_WITH_HANGUP),
            listing: Listing::default(),
        };
        match source.read_stat(std::process::id()) {
            Ok(_) | Err(NoStat::Exhausted) => Some(source),
            Err(NoStat::Failed | NoStat::Reaped) => None,
        }
    }

    fn read_stat(&mut self, pid: u32) -> Result<Stat, NoStat> {
        Stat::read(&mut self.budget, self.units, pid)
    }

    fn read_last_pid(&mut self) -> Option<u32> {
        if let Cursor::NotChecked = self.cursor {
            match PidCursor::find() {
                Ok(Some(cursor)) => self.cursor = Cursor::Found(cursor),
                Ok(None) => {
                    log::debug!("no file reports the last pid: all processes are listed instead");
                    self.cursor = Cursor::Missing;
                }
                // The next pass tries again.
                Err(_) => {}
            }
        }
        match &self.cursor {
            Cursor::Found(cursor) => cursor.read(),
            Cursor::NotChecked | Cursor::Missing => None,
        }
    }

    /// `pid_max` is larger than all pids: proc(5).
    fn read_last_of_lap(&mut self) -> u32 {
        let mut text = [0; 32];
        let read = self.budget.with_reserve_fd(|| {
            let mut file = File::open("/proc/sys/kernel/pid_max")?;
            Ok(file.read(&mut text)?)
        });
        let pid_max = read.ok().and_then(|len| procfs::number(&text[..len]));
        pid_max.unwrap_or(PID_MAX_LIMIT).saturating_sub(1).max(FIRST_PID)
    }
}

impl TreeSource for NativeTreeSource {
    type Member = TreeMember;

    fn last_pid(&mut self) -> Option<u32> {
        self.member_limit = FdBudget::member_limit();
        let last = self.read_last_pid();
        // A new lap has begun, or the limit was raised.
        let is_lap_known = last.zip(self.last_pid).is_some_and(|(last, before)| {
            before <= last && self.last_of_lap.is_some_and(|end| last <= end)
        });
        if !is_lap_known {
            self.last_of_lap = None;
        }
        self.last_pid = last;
        last
    }

    fn pid_range(&mut self) -> (u32, u32) {
        let last = match self.last_of_lap {
            Some(last) => last,
            None => self.read_last_of_lap(),
        };
        self.last_of_lap = Some(last);
        (FIRST_PID, last)
    }

    fn list(&mut self, pids: &mut Vec<u32>) -> Result<(), ReadError> {
        self.listing.processes(&mut self.budget, pids).map_err(|error| match error {
            OpenError::NoPidfd(error) | OpenError::Other(error) => super::read_error(&error),
            OpenError::Exited(_) | OpenError::NotAProcess => ReadError::UNKNOWN,
        })
    }

    fn children(&mut self, pid: u32, pids: &mut Vec<u32>) -> bool {
        self.listing.children(&mut self.budget, pid, pids)
    }

    fn open(
        &mut self,
        pid: u32,
        is_wanted: &mut dyn FnMut(&ProcessStat) -> bool,
    ) -> Open<TreeMember> {
        let found = self.find(pid);
        self.open_found(pid, found, is_wanted)
    }

    fn cpu_clock(&mut self, member: &TreeMember) -> Option<CpuTime> {
        self.read_cpu(member).1
    }

    fn stat(&mut self, member: &TreeMember) -> Option<ProcessStat> {
        self.stat_of(member.pid)
    }

    fn stat_of(&mut self, pid: u32) -> Option<ProcessStat> {
        Some(self.read_stat(pid).ok()?.process)
    }

    fn read(&mut self, member: &TreeMember) -> MemberReading {
        let mut held = member.statm.borrow_mut();
        // Attached processes have the first claim on descriptors.
        held.take_if(|_| self.budget.member_capacity(self.member_limit) < 0);
        if let Some(fd) = &*held {
            return self.read_held(member, fd);
        }
        let (reading, fd) = self.read_not_held(member);
        *held = fd;
        reading
    }
}
