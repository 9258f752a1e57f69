//! Finds a process by its pid.
//!
//! A pidfd refers to one process, whatever happens to its pid, and shows whether that process was
//! reaped: it is readable and hung up then, and only readable while it is a zombie. If the pidfd was
//! opened first and the process was not reaped at the end, everything that was opened and read by pid
//! in between belongs to it.
//!
//! Without pidfds (before Linux 5.3, or in a sandbox), and while no descriptor is free, two readings
//! of the start time take the place of the pidfd. They are equal for two processes only if the first
//! one was reaped between the two readings, all other pids were assigned in that time, and the second
//! one has started in the same clock tick as the first, usually a hundredth of a second.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::stat::{NoStat, Stat};
use super::{NativeTreeSource, TreeMember};
use crate::os::linux::cpu_source::CpuSource;
use crate::os::linux::fds::{MemberFd, OpenError};
use crate::os::linux::proc_path::ProcPath;
use crate::os::pid::{exists, is_thread};
use crate::os::tree::{Open, ProcessStat};

/// What a pid belongs to.
#[derive(Debug)]
pub(super) enum Found {
    Process(OwnedFd),
    /// Something has the pid, and no pidfd is available: a process or a thread.
    Unknown,
    /// A thread, or no descriptor is free.
    Unreadable,
    Nothing,
}

/// Whether pidfd_open(2) has found no process, but possibly a thread. Which of the two errors it is
/// depends on the version of the kernel.
const fn is_no_leader(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOENT)
}

type IsWanted<'a> = &'a mut dyn FnMut(&ProcessStat) -> bool;

impl NativeTreeSource {
    pub(super) fn find(&mut self, pid: u32) -> Found {
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Found::Nothing;
        };
        let mut opened = self.open_pidfd(raw);
        // A thread; before Linux 6.15 also a pid that was assigned and whose process is not complete
        // yet, or one that is being reaped. What exists now was complete before the second attempt.
        if matches!(opened, Err(errno) if is_no_leader(errno)) {
            opened = if exists(pid) { self.open_pidfd(raw) } else { Err(Errno::SRCH) };
        }
        match opened {
            Ok(pidfd) => Found::Process(pidfd),
            Err(Errno::SRCH) => Found::Nothing,
            Err(Errno::MFILE | Errno::NFILE) => Found::Unreadable,
            Err(errno) if is_no_leader(errno) => Found::Unreadable,
            Err(_) if exists(pid) => Found::Unknown,
            Err(_) => Found::Nothing,
        }
    }

    fn open_pidfd(&mut self, pid: Pid) -> Result<OwnedFd, Errno> {
        let mut last = Errno::MFILE;
        let opened = self.budget.with_reserve_fd(|| {
            pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| {
                last = errno;
                OpenError::NoPidfd(errno.into())
            })
        });
        opened.map_err(|_| last)
    }

    pub(super) fn open_found(
        &mut self,
        pid: u32,
        found: Found,
        is_wanted: IsWanted<'_>,
    ) -> Open<TreeMember> {
        match found {
            Found::Nothing => Open::Gone,
            Found::Unreadable => Open::Unreadable,
            Found::Process(pidfd) => match self.read_stat(pid) {
                Ok(stat) => self.open_by_pidfd(pid, &pidfd, stat, is_wanted),
                Err(NoStat::Exhausted) => {
                    drop(pidfd);
                    self.open_by_pid(pid, is_wanted)
                }
                // A `/proc` that is mounted with `hidepid` shows no processes of other users.
                Err(NoStat::Reaped | NoStat::Failed) if self.is_reaped(&pidfd) => Open::Gone,
                Err(NoStat::Reaped | NoStat::Failed) => Open::Unreadable,
            },
            Found::Unknown if is_thread(pid) => Open::Unreadable,
            Found::Unknown => self.open_by_pid(pid, is_wanted),
        }
    }

    fn open_by_pidfd(
        &mut self,
        pid: u32,
        pidfd: &OwnedFd,
        stat: Stat,
        is_wanted: IsWanted<'_>,
    ) -> Open<TreeMember> {
        let member = is_wanted(&stat.process).then(|| self.open_member(pid, &stat));
        if self.is_reaped(pidfd) {
            return Open::Gone;
        }
        match member {
            Some(member) => Open::Held(stat.process, member),
            None => Open::NotWanted(stat.process),
        }
    }

    fn open_by_pid(&mut self, pid: u32, is_wanted: IsWanted<'_>) -> Open<TreeMember> {
        let stat = match self.read_stat(pid) {
            Ok(stat) => stat,
            Err(NoStat::Reaped) => return Open::Gone,
            Err(NoStat::Exhausted | NoStat::Failed) => return Open::Unreadable,
        };
        if !is_wanted(&stat.process) {
            return Open::NotWanted(stat.process);
        }
        let member = self.open_member(pid, &stat);
        let after = self.read_stat_beside(pid, &mut member.statm.borrow_mut());
        match after {
            Ok(after) if after.start_ticks == stat.start_ticks => Open::Held(stat.process, member),
            Ok(_) | Err(NoStat::Reaped) => Open::Gone,
            Err(NoStat::Exhausted | NoStat::Failed) => Open::Unreadable,
        }
    }

    fn open_member(&mut self, pid: u32, stat: &Stat) -> TreeMember {
        let statm = self.hold_statm(pid);
        let cpu = CpuSource::of_process(pid);
        TreeMember { pid, cpu, start_ticks: stat.start_ticks, statm: statm.into() }
    }

    /// Opens a file that is held from now on. `None` without capacity, and if only the reserve is
    /// left.
    pub(super) fn hold_statm(&self, pid: u32) -> Option<MemberFd> {
        if self.budget.member_capacity(self.member_limit) <= 0 {
            return None;
        }
        let statm = File::open(ProcPath::of_process(pid, "statm")).ok()?;
        Some(self.budget.hold_member(statm))
    }

    /// Reads `stat` beside a file that was just opened. The file may have taken the last descriptor:
    /// then it is closed.
    pub(super) fn read_stat_beside(
        &mut self,
        pid: u32,
        fd: &mut Option<MemberFd>,
    ) -> Result<Stat, NoStat> {
        let stat = self.read_stat(pid);
        if stat.is_err_and(|error| error == NoStat::Exhausted) && fd.take().is_some() {
            return self.read_stat(pid);
        }
        stat
    }

    /// Before Linux 6.9 a pidfd does not show whether a zombie was reaped: then all zombies count as
    /// reaped.
    fn is_reaped(&self, pidfd: &OwnedFd) -> bool {
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&no_wait)) {
            Ok(0) => false,
            Ok(_) => !self.has_hangups || fds[0].revents().contains(PollFlags::HUP),
            Err(_) => true,
        }
    }
}
