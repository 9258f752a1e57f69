//! The native probe of Linux.
//!
//! Two descriptors are held for each process: a pidfd, which becomes readable when the process
//! exits (pidfd_open(2)), and its `/proc/PID/statm`, whose reads fail once the process was reaped.
//!
//! CPU time comes from the per-process CPU clock (clock_getcpuclockid(3)), in nanoseconds. The
//! kernel updates it when a thread is preempted or blocks, and at each scheduler tick while one
//! runs. For a process that never sleeps the value is up to one scheduler tick old; no other source
//! is newer.
//!
//! The clock is addressed by pid and would read a later process with the same pid. Therefore it is
//! read *first*, and its value counts only if the held `statm` can be read *after* it: that proves
//! that the pid still belonged to the same process.

mod cgroup_cpu;
mod check_budget;
mod cpu_source;
mod epoll;
mod fds;
mod oom;
mod pidfd_info;
mod proc_file;
mod proc_path;
// Miri runs no such system calls.
#[cfg(test)]
#[cfg(not(miri))]
mod tests;
mod tree;
pub(super) mod units;

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

pub(super) use self::cgroup_cpu::CgroupCpu;
pub(super) use self::cpu_source::cpu_time;

use self::check_budget::{CheckBudget, CheckedRound};
use self::cpu_source::CpuSource;
use self::epoll::Epoll;
use self::fds::{FdBudget, OpenError, ProcessFds, exit_status, has_exited};
use self::oom::OomCounter;
use self::proc_file::{StatText, read_status};
use self::proc_path::ProcPath;
use self::tree::{NativeTreeSource, TreeMember};
use self::units::Units;
use super::pid::{self, FOREIGN_PROC, detect_foreign_proc};
use super::reading::Reading;
use super::{Attach, ExitWaiter, FoundProcess, Identity, Probe, ReadFailure, procfs};
use crate::history::command_name::CommandName;
use crate::history::units::{CpuTime, ResidentBytes};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::ProcessExit;
use crate::sync::command::Wake;
use crate::time::MonoNanos;

/// Reads processes one by one; waits for their exits and for wake-ups with one epoll.
pub(crate) struct NativeProbe {
    budget: FdBudget,
    epoll: Epoll,
    units: Units,
    /// The pids in `/proc` belong to another PID namespace: see [`pid::is_proc_foreign`].
    is_foreign: bool,
    suspension_checks: CheckBudget,
    peak_checks: CheckBudget,
    /// The newest `/proc/PID/status` that was read: a buffer.
    status: Vec<u8>,
    /// Created at the first use; `None` if process trees cannot be read.
    trees: OnceCell<Option<NativeTreeSource>>,
}

/// An attached process.
#[derive(Debug)]
pub(crate) struct AttachedProcess {
    pid: u32,
    token: u64,
    cpu: CpuSource,
    /// `None` without capacity for them: then files are opened in every tick.
    fds: Option<ProcessFds>,
    /// In clock ticks; `None` if it could not be read.
    start_ticks: Option<u64>,
    /// At the last reading.
    cpu_time: CpuTime,
    suspension_checked: CheckedRound,
    peak_checked: CheckedRound,
    /// Its CPU time when the high-water mark of its memory was last read.
    cpu_time_at_peak: Option<CpuTime>,
    /// `None` if its cgroup does not count OOM kills.
    oom: Option<OomCounter>,
}

impl NativeProbe {
    pub(crate) fn new() -> io::Result<(Self, Wake)> {
        let (epoll, wake) = Epoll::new()?;
        let probe = Self {
            budget: FdBudget::new(),
            epoll,
            units: Units::new(),
            is_foreign: detect_foreign_proc(),
            suspension_checks: CheckBudget::default(),
            peak_checks: CheckBudget::default(),
            status: Vec::new(),
            trees: OnceCell::new(),
        };
        Ok((probe, wake))
    }

    /// Reads the clock, then the held file: see the module's documentation.
    fn read_held(
        &self,
        pid: u32,
        cpu: CpuSource,
        fds: &ProcessFds,
    ) -> Result<Reading, ReadFailure> {
        let (at, cpu_time) = self.read_cpu_time(pid, cpu);
        match (resident_pages(&fds.statm), cpu_time) {
            (Ok(0), cpu_time) => {
                // An exited process has no pages, and neither has a process whose first thread has
                // exited while others run. The pidfd distinguishes them.
                let last = cpu_time.map(|cpu_time| Reading::new(at, cpu_time, None));
                if has_exited(&fds.pidfd) {
                    return Err(ReadFailure::Exited(exit_status(&fds.pidfd), last.map(Box::new)));
                }
                last.ok_or(ReadFailure::Failed(ReadError::UNKNOWN))
            }
            (Ok(pages), cpu_time) => {
                let resident = self.units.resident(pages);
                Ok(Reading { at, cpu_time, resident, peak: None, is_suspended: None })
            }
            // The held file of a reaped process cannot be read.
            (Err(_), _) if has_exited(&fds.pidfd) => {
                Err(ReadFailure::Exited(exit_status(&fds.pidfd), None))
            }
            (Err(error), _) => Err(ReadFailure::Failed(read_error(&error))),
        }
    }

    fn read_process(&mut self, process: &mut AttachedProcess) -> Result<Reading, ReadFailure> {
        let was_held = process.fds.is_some();
        let read = match &process.fds {
            Some(fds) => self.read_held(process.pid, process.cpu, fds),
            None => self.read_not_held(process),
        };
        let last = match &read {
            Ok(reading) => Some(reading),
            Err(ReadFailure::Exited(_, last)) => last.as_deref(),
            Err(ReadFailure::Failed(_)) => None,
        };
        if let Some(reading) = last {
            // Without held files, a clock that went back is the clock of another process. With them
            // the process is proven to be the same, and its clock was set, as libfaketime does:
            // then only the difference is unknown.
            if let Some(cpu_time) = reading.cpu_time {
                if !was_held && cpu_time < process.cpu_time {
                    return Err(ReadFailure::Exited(ProcessExit::Unknown, None));
                }
                process.cpu_time = cpu_time;
            }
        }
        read
    }

    /// Opens files for this reading, one at a time; holds descriptors again if there is capacity.
    ///
    /// Without held descriptors the start time identifies the process. It is read last, so that it
    /// covers all values that were read before.
    fn read_not_held(&mut self, process: &mut AttachedProcess) -> Result<Reading, ReadFailure> {
        let AttachedProcess { pid, cpu, token, .. } = *process;
        if self.budget.has_capacity()
            && let Ok(fds) = self.budget.open(pid)
        {
            if self.is_start_different(process) {
                return Err(ReadFailure::Exited(ProcessExit::Unknown, None));
            }
            self.epoll.watch(&fds.pidfd, token);
            let read = self.read_held(pid, cpu, &fds);
            process.fds = Some(fds);
            return read;
        }
        let (at, cpu_time) = self.read_cpu_time(pid, cpu);
        let path = ProcPath::of_process(pid, "statm");
        let pages = self.budget.with_reserve_fd(|| Ok(resident_pages(&File::open(&path)?)?));
        if self.is_start_different(process) {
            return Err(ReadFailure::Exited(ProcessExit::Unknown, None));
        }
        if let (&Ok(pages @ 1..), Some(cpu_time)) = (&pages, cpu_time) {
            return Ok(Reading::new(at, cpu_time, self.units.resident(pages)));
        }
        // Whether it has exited shows at a pidfd; for a child of the host, by waitid(2) too.
        let last = cpu_time.filter(|_| pages.is_ok());
        let last = last.map(|cpu_time| Reading::new(at, cpu_time, None));
        match self.budget.with_reserve_fd(|| fds::open_pidfd(pid)) {
            Ok(pidfd) if has_exited(&pidfd) => {
                Err(ReadFailure::Exited(exit_status(&pidfd), last.map(Box::new)))
            }
            Err(OpenError::Exited(_) | OpenError::NotAProcess) => {
                Err(ReadFailure::Exited(ProcessExit::Unknown, None))
            }
            Err(OpenError::NoPidfd(_)) if let Some(exit) = fds::exit_status_of_child(pid) => {
                Err(ReadFailure::Exited(exit, last.map(Box::new)))
            }
            Ok(_) | Err(OpenError::NoPidfd(_) | OpenError::Other(_)) => match pages {
                Err(OpenError::Other(error)) => Err(ReadFailure::Failed(read_error(&error))),
                Ok(_) | Err(_) => last.ok_or(ReadFailure::Failed(ReadError::UNKNOWN)),
            },
        }
    }

    fn read_cpu_time(&self, pid: u32, source: CpuSource) -> (MonoNanos, Option<CpuTime>) {
        source.read(self.units, || {
            let stat = StatText::read(pid).ok()?;
            Some(procfs::process_stat(stat.as_ref())?.cpu_ticks)
        })
    }

    /// Reads the kernel's high-water mark of the resident size, unless its clock proves that the process
    /// has not run since that was last read.
    fn check_peak(&mut self, process: &mut AttachedProcess, reading: &mut Reading) {
        let is_unmoved = reading.cpu_time.is_some() && reading.cpu_time == process.cpu_time_at_peak;
        let has_run = !(is_unmoved && matches!(process.cpu, CpuSource::Clock(_)));
        if has_run && self.peak_checks.take(reading.at, &mut process.peak_checked) {
            reading.peak = self.read_peak(process.pid, process.fds.as_ref());
            process.cpu_time_at_peak = reading.cpu_time;
        }
    }

    /// The kernel's high-water mark of the resident size.
    fn read_peak(&mut self, pid: u32, fds: Option<&ProcessFds>) -> Option<ResidentBytes> {
        read_status(&mut self.budget, pid, &mut self.status).ok()?;
        // The file was opened by pid: it counts if the process still lives after that.
        let lives = fds.is_some_and(|fds| !has_exited(&fds.pidfd));
        procfs::peak_resident(&self.status).filter(|_| lives).and_then(ResidentBytes::new)
    }

    /// Checks whether the process is suspended, after a tick in which it used no CPU time.
    fn check_suspension(
        &mut self,
        process: &mut AttachedProcess,
        reading: &mut Reading,
        before: CpuTime,
    ) {
        if reading.cpu_time.is_some_and(|cpu_time| cpu_time != before) {
            reading.is_suspended = Some(false);
        } else if self.suspension_checks.take(reading.at, &mut process.suspension_checked) {
            let stat = StatText::read_with(&mut self.budget, process.pid).ok();
            let is_stopped =
                stat.and_then(|stat| Some(procfs::process_stat(stat.as_ref())?.is_stopped()));
            // The file was opened by pid: it counts if the process still lives after that.
            let lives = process.fds.as_ref().is_some_and(|fds| !has_exited(&fds.pidfd));
            reading.is_suspended = is_stopped.filter(|_| lives);
        }
    }

    /// Whether the start time proves that the pid belongs to another process.
    fn is_start_different(&mut self, process: &AttachedProcess) -> bool {
        let stat = StatText::read_with(&mut self.budget, process.pid).ok();
        let now = stat.and_then(|stat| Some(procfs::process_stat(stat.as_ref())?.start_ticks));
        process.start_ticks.is_some_and(|start| now.is_some_and(|now| now != start))
    }

    /// Attaches without `/proc`, whose pids belong to other processes: detects an exit only.
    fn attach_foreign<T>(&mut self, pid: u32) -> Attach<T> {
        match self.budget.with_reserve_fd(|| fds::open_pidfd(pid)) {
            Ok(pidfd) if has_exited(&pidfd) => Attach::Exited(exit_status(&pidfd)),
            Err(OpenError::Exited(exit)) => Attach::Exited(exit),
            Err(OpenError::NotAProcess) => Attach::Rejected(ReadError::InvalidPid),
            Ok(_) | Err(OpenError::NoPidfd(_) | OpenError::Other(_)) => {
                Attach::Failed(FOREIGN_PROC)
            }
        }
    }
}

fn resident_pages(statm: &File) -> io::Result<u64> {
    // Seven numbers of twenty digits fit.
    let mut buffer = [0; 160];
    let len = statm.read_at(&mut buffer, 0)?;
    procfs::resident_pages(&buffer[..len]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read_error(error: &io::Error) -> ReadError {
    match error.kind() {
        // A /proc that is mounted with `hidepid` gives either: proc(5).
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => ReadError::PermissionDenied,
        kind => ReadError::Io(kind),
    }
}

impl Probe for NativeProbe {
    type Process = AttachedProcess;
    type Member = TreeMember;
    type Trees = NativeTreeSource;

    /// `None` if `/proc` belongs to another PID namespace, or is not there.
    fn trees(&mut self) -> Option<&mut NativeTreeSource> {
        if self.is_foreign {
            return None;
        }
        self.trees.get_or_init(|| NativeTreeSource::new(FdBudget::new(), self.units));
        self.trees.get_mut()?.as_mut()
    }

    fn attach(
        &mut self,
        pid: u32,
        reported_at: Option<Duration>,
        token: u64,
    ) -> Attach<FoundProcess<AttachedProcess>> {
        if self.is_foreign {
            return self.attach_foreign(pid);
        }
        let opened = self.budget.has_capacity().then(|| self.budget.open(pid));
        let (fds, error) = match opened {
            Some(Ok(fds)) => (Some(fds), None),
            Some(Err(OpenError::Exited(exit))) => return Attach::Exited(exit),
            Some(Err(OpenError::NotAProcess)) => return Attach::Rejected(ReadError::InvalidPid),
            Some(Err(error @ OpenError::NoPidfd(_))) => (None, Some(error)),
            Some(Err(error)) if error.is_exhausted() => (None, Some(error)),
            Some(Err(OpenError::Other(error))) => return Attach::Failed(read_error(&error)),
            None => (None, None),
        };
        if fds.is_none() {
            self.budget.warn_once(error.filter(|error| !error.is_exhausted()).as_ref());
        }
        let stat = StatText::read_with(&mut self.budget, pid).ok();
        let stat = stat.as_ref().and_then(|stat| procfs::process_stat(stat.as_ref()));
        let start_ticks = stat.map(|stat| stat.start_ticks);
        let name = stat.map(|stat| CommandName::new(stat.name));
        let cpu = CpuSource::of_process(pid);
        let oom = OomCounter::of_process(pid);
        // After everything was opened: if the process lives now, all of it is its own.
        match &fds {
            Some(fds) if has_exited(&fds.pidfd) => {
                return Attach::Exited(exit_status(&fds.pidfd));
            }
            Some(_) => {}
            None => match self.budget.with_reserve_fd(|| fds::open_pidfd(pid)) {
                Ok(pidfd) if has_exited(&pidfd) => return Attach::Exited(exit_status(&pidfd)),
                Err(OpenError::Exited(exit)) => return Attach::Exited(exit),
                Err(OpenError::NotAProcess) => return Attach::Rejected(ReadError::InvalidPid),
                Ok(_) | Err(OpenError::NoPidfd(_) | OpenError::Other(_)) => {}
            },
        }
        let process_start = start_ticks.map(|ticks| self.units.ticks_to_time(ticks));
        if let (Some(process_start), Some(reported_at)) = (process_start, reported_at)
            && process_start > reported_at
        {
            return Attach::Rejected(ReadError::PidReused);
        }
        if let Some(fds) = &fds {
            self.epoll.watch(&fds.pidfd, token);
        }
        let cpu_time = CpuTime::default();
        let mut process = AttachedProcess {
            pid,
            token,
            cpu,
            fds,
            start_ticks,
            cpu_time,
            suspension_checked: CheckedRound::default(),
            peak_checked: CheckedRound::default(),
            cpu_time_at_peak: None,
            oom,
        };
        let reading = match self.read_process(&mut process) {
            Ok(reading) => Ok(reading),
            Err(ReadFailure::Exited(exit, _)) => return Attach::Exited(exit),
            Err(ReadFailure::Failed(error)) => Err(error),
        };
        // Ten steps of a nanosecond clock are less than 1 ms. The clock of a process that does not
        // sleep advances by the scheduler tick, whose length the kernel does not report.
        let min_interval = match cpu {
            CpuSource::Clock(_) => Duration::from_millis(1),
            CpuSource::Stat => self.units.ticks_to_time(10),
        };
        Attach::Found(FoundProcess { process, process_start, min_interval, name, reading })
    }

    fn begin_tick<'p>(&mut self, _processes: impl Iterator<Item = &'p AttachedProcess>) {
        self.suspension_checks.begin_tick();
        self.peak_checks.begin_tick();
    }

    fn read(&mut self, process: &mut AttachedProcess) -> Result<Reading, ReadFailure> {
        let before = process.cpu_time;
        let mut reading = self.read_process(process)?;
        self.check_suspension(process, &mut reading, before);
        self.check_peak(process, &mut reading);
        Ok(reading)
    }

    fn read_between_ticks(
        &mut self,
        process: &mut AttachedProcess,
    ) -> Result<Option<Reading>, ReadFailure> {
        // A very recent exit shows at the pidfd first; its status is available then.
        if let Some(fds) = &process.fds
            && has_exited(&fds.pidfd)
        {
            let exit = exit_status(&fds.pidfd);
            return Err(match self.read_process(process) {
                Ok(last) => ReadFailure::Exited(exit, Some(Box::new(last))),
                Err(ReadFailure::Exited(_, last)) => ReadFailure::Exited(exit, last),
                Err(ReadFailure::Failed(_)) => ReadFailure::Exited(exit, None),
            });
        }
        self.read_process(process).map(Some)
    }

    fn late_status(&mut self, process: &AttachedProcess) -> Option<ProcessExit> {
        let Some(fds) = &process.fds else { return Some(ProcessExit::Unknown) };
        match exit_status(&fds.pidfd) {
            // Not reaped yet. If it was reaped and its pid is in use again, this waits for the end of
            // that process too, which changes nothing.
            ProcessExit::Unknown if pid::exists(process.pid) => None,
            // It may have been reaped after the first request. A kernel that reports the status does
            // so before it releases the pid.
            ProcessExit::Unknown => Some(exit_status(&fds.pidfd)),
            exit => Some(exit),
        }
    }

    fn was_oom_killed(&self, process: &AttachedProcess) -> Option<bool> {
        process.oom.as_ref()?.has_risen()
    }

    fn identity(&self, process: &AttachedProcess) -> Option<Identity> {
        let process_start = self.units.ticks_to_time(process.start_ticks?);
        Some(Identity { pid: process.pid, process_start })
    }
}

impl ExitWaiter for NativeProbe {
    fn wait(&mut self, until: Option<MonoNanos>) {
        self.epoll.wait(until);
    }

    fn drain_exits(&mut self, each: impl FnMut(u64)) {
        self.epoll.drain_exits(each);
    }
}
