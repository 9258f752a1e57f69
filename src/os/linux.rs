//! Processes on Linux: exact, nearly free, and never a stranger's numbers.
//!
//! Of each process two descriptors are held: a pidfd, which becomes readable when the process ends,
//! and its `/proc/PID/statm`, whose reads fail from the moment at which the process is reaped. CPU
//! time comes from the per-process CPU clock (clock_getcpuclockid(3)), in nanoseconds. The kernel brings
//! it up to date when a thread is set aside, and at the scheduler's tick while one runs: of a process
//! that never sleeps it is up to one such tick old, and nothing that can be read is newer. The clock
//! goes by number and would read whoever has the number later; so it is read *first*, and counts only
//! if the held `statm` can be read *after* it: then the number was still ours.

mod epoll;
mod fds;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use self::epoll::Epoll;
use self::fds::{FdBudget, ProcessFds, has_ended, outcome};
use super::pid::{FOREIGN_PROC, is_proc_foreign};
use super::reading::Reading;
use super::{Attach, ExitWaiter, FoundProcess, Identity, Probe, ReadFailure, clock, procfs};
use crate::history::units::{CpuTime, ResidentBytes};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::ProcessExit;
use crate::sync::command::Wake;
use crate::time::{MonoNanos, TimePoint};

/// Reads processes one by one; waits for their ends and for the host at once.
pub(crate) struct NativeProbe {
    holder: FdBudget,
    waiter: Epoll,
    page_size: u64,
    /// Steps of the kernel's start times in a second.
    ticks: u64,
    /// The numbers in `/proc` are not those of this process's world: see [`is_proc_foreign`].
    foreign: bool,
}

/// What is held of a process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    token: u64,
    clock: ClockId,
    /// `None` where there are no descriptors to spare: then files are opened in every tick.
    held: Option<ProcessFds>,
    /// In the kernel's steps; `None` where it could not be read.
    start: Option<u64>,
    /// At the last reading.
    cpu_time: CpuTime,
}

impl NativeProbe {
    pub(crate) fn new() -> io::Result<(Self, Wake)> {
        let (waiter, wake) = Epoll::new()?;
        let probe = Self {
            holder: FdBudget::new(),
            waiter,
            page_size: rustix::param::page_size() as u64,
            ticks: rustix::param::clock_ticks_per_second().max(1),
            foreign: is_proc_foreign(),
        };
        Ok((probe, wake))
    }

    fn process_start(&self, start: u64) -> Duration {
        let nanos = u128::from(start) * 1_000_000_000 / u128::from(self.ticks);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Clock first, then the held file: see the head of this module.
    fn read_held(&self, process: &Process, held: &ProcessFds) -> Result<Reading, ReadFailure> {
        let (at, cpu_time) = cpu_time(process.clock);
        match (resident_pages(&held.statm), cpu_time) {
            (Ok(0), cpu_time) => {
                // A process that has ended has no pages; neither has one whose first thread has,
                // while others go on. The pidfd knows.
                let last = cpu_time.map(|cpu_time| Reading { at, cpu_time, resident: None });
                if has_ended(&held.pidfd) {
                    return Err(ReadFailure::Exited(outcome(&held.pidfd), last.map(Box::new)));
                }
                last.ok_or(ReadFailure::Failed(ReadError::UNKNOWN))
            }
            (Ok(pages), Some(cpu_time)) => {
                let resident = ResidentBytes::new(pages.saturating_mul(self.page_size));
                Ok(Reading { at, cpu_time, resident })
            }
            (Ok(_), None) => Err(ReadFailure::Failed(ReadError::UNKNOWN)),
            (Err(error), _) => Err(self.unread(&error, held)),
        }
    }

    /// Why the held `statm` could not be read.
    fn unread(&self, error: &io::Error, held: &ProcessFds) -> ReadFailure {
        if has_ended(&held.pidfd) {
            ReadFailure::Exited(outcome(&held.pidfd), None)
        } else {
            ReadFailure::Failed(problem(error))
        }
    }

    fn read_process(&mut self, process: &mut Process) -> Result<Reading, ReadFailure> {
        let was_held = process.held.is_some();
        let read = match &process.held {
            Some(held) => self.read_held(process, held),
            None => self.read_unheld(process),
        };
        let last = match &read {
            Ok(reading) => Some(reading),
            Err(ReadFailure::Exited(_, last)) => last.as_deref(),
            Err(ReadFailure::Failed(_)) => None,
        };
        if let Some(reading) = last {
            // A clock that goes back is not this process's: without held files that can happen. With
            // them the process is proven to be the same, and it is the clock that somebody has set,
            // as libfaketime does: then nothing is known of the difference.
            if !was_held && reading.cpu_time < process.cpu_time {
                return Err(ReadFailure::Exited(ProcessExit::Unknown, None));
            }
            process.cpu_time = reading.cpu_time;
        }
        read
    }

    /// Opens files for this one reading, one at a time; holds them again if there is room.
    ///
    /// Nothing is held of the process, so its start says whether it is the same one. It is read
    /// last: then all that was read before is of that process.
    fn read_unheld(&mut self, process: &mut Process) -> Result<Reading, ReadFailure> {
        let Process { pid, clock, token, .. } = *process;
        if self.holder.has_room()
            && let Ok(held) = self.holder.hold(pid)
        {
            if self.start_differs(process) {
                return Err(ReadFailure::Exited(ProcessExit::Unknown, None));
            }
            self.waiter.watch(&held.pidfd, token);
            let read = self.read_held(process, &held);
            process.held = Some(held);
            return read;
        }
        let (at, cpu_time) = cpu_time(clock);
        let path = format!("/proc/{pid}/statm");
        let pages = self.holder.with_reserve_fd(|| Ok(resident_pages(&File::open(&path)?)?));
        if self.start_differs(process) {
            return Err(ReadFailure::Exited(ProcessExit::Unknown, None));
        }
        let reading = |cpu_time, pages: u64| {
            let resident = ResidentBytes::new(pages.saturating_mul(self.page_size));
            Reading { at, cpu_time, resident }
        };
        if let (Ok(pages @ 1..), Some(cpu_time)) = (&pages, cpu_time) {
            return Ok(reading(cpu_time, *pages));
        }
        // Whether it has ended, a pidfd knows; of a child, who may wait for it.
        let last = cpu_time.filter(|_| pages.is_ok()).map(|cpu_time| reading(cpu_time, 0));
        match self.holder.with_reserve_fd(|| fds::open_pidfd(pid)) {
            Ok(pidfd) if has_ended(&pidfd) => {
                Err(ReadFailure::Exited(outcome(&pidfd), last.map(Box::new)))
            }
            Err(fds::Error::Gone(_) | fds::Error::NotAProcess) => {
                Err(ReadFailure::Exited(ProcessExit::Unknown, None))
            }
            Err(fds::Error::NoPidfd(_)) if let Some(outcome) = fds::outcome_of_child(pid) => {
                Err(ReadFailure::Exited(outcome, last.map(Box::new)))
            }
            Ok(_) | Err(fds::Error::NoPidfd(_) | fds::Error::Other(_)) => match pages {
                Err(fds::Error::Other(error)) => Err(ReadFailure::Failed(problem(&error))),
                Ok(_) | Err(_) => last.ok_or(ReadFailure::Failed(ReadError::UNKNOWN)),
            },
        }
    }

    /// Whether the number is known to be another process's by now.
    fn start_differs(&mut self, process: &Process) -> bool {
        let now = self.start_of(process.pid);
        process.start.is_some_and(|then| now.is_some_and(|now| now != then))
    }

    fn start_of(&mut self, pid: u32) -> Option<u64> {
        let path = format!("/proc/{pid}/stat");
        procfs::start_time(&self.holder.with_reserve_fd(|| Ok(std::fs::read(&path)?)).ok()?)
    }
}

/// What the clock says, and when. If this thread was set aside in between, the two do not belong
/// together, and a busy process would seem to have used more than there was: then it is asked again.
pub(super) fn cpu_time(clock: ClockId) -> (MonoNanos, Option<CpuTime>) {
    /// Nanoseconds: ten times what the two calls take.
    const BESIDE: u64 = 5_000;
    let MonoNanos(mut before) = clock::mono();
    for _ in 0..3 {
        let time = clock.now();
        let MonoNanos(after) = clock::mono();
        let apart = after - before;
        if apart < BESIDE {
            return (MonoNanos(before + apart / 2), time.ok().and_then(nanos));
        }
        before = after;
    }
    (MonoNanos(before), clock.now().ok().and_then(nanos))
}

fn nanos(time: nix::sys::time::TimeSpec) -> Option<CpuTime> {
    let (secs, nanos) = (u64::try_from(time.tv_sec()), u64::try_from(time.tv_nsec()));
    Some(CpuTime(secs.ok()?.checked_mul(1_000_000_000)?.checked_add(nanos.ok()?)?))
}

fn resident_pages(statm: &File) -> io::Result<u64> {
    // Seven numbers of twenty digits fit.
    let mut buffer = [0; 160];
    let len = statm.read_at(&mut buffer, 0)?;
    procfs::resident_pages(&buffer[..len]).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn problem(error: &io::Error) -> ReadError {
    match error.kind() {
        // A mount of /proc with hidepid= says either.
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => ReadError::PermissionDenied,
        kind => ReadError::Io(kind),
    }
}

impl Probe for NativeProbe {
    type Process = Process;

    fn min_interval(&self) -> Duration {
        // Ten steps of a clock of nanoseconds are less. While a process does not sleep its clock moves
        // by the scheduler's tick, whose length the kernel does not tell.
        Duration::from_millis(1)
    }

    fn attach(
        &mut self,
        pid: u32,
        reported_at: Option<&TimePoint>,
        token: u64,
    ) -> Attach<FoundProcess<Process>> {
        if self.foreign {
            return match self.holder.with_reserve_fd(|| fds::open_pidfd(pid)) {
                Ok(pidfd) if has_ended(&pidfd) => Attach::Exited(outcome(&pidfd)),
                Err(fds::Error::Gone(outcome)) => Attach::Exited(outcome),
                Err(fds::Error::NotAProcess) => Attach::Rejected(ReadError::InvalidPid),
                Ok(_) | Err(fds::Error::NoPidfd(_) | fds::Error::Other(_)) => {
                    Attach::Failed(FOREIGN_PROC)
                }
            };
        }
        let held = if self.holder.has_room() { Some(self.holder.hold(pid)) } else { None };
        let (held, why_not) = match held {
            Some(Ok(held)) => (Some(held), None),
            Some(Err(fds::Error::Gone(outcome))) => return Attach::Exited(outcome),
            Some(Err(fds::Error::NotAProcess)) => {
                return Attach::Rejected(ReadError::InvalidPid);
            }
            Some(Err(error @ fds::Error::NoPidfd(_))) => (None, Some(error)),
            Some(Err(error)) if error.is_exhausted() => (None, Some(error)),
            Some(Err(fds::Error::Other(error))) => return Attach::Failed(problem(&error)),
            None => (None, None),
        };
        if held.is_none() {
            self.holder.say(why_not.filter(|error| !error.is_exhausted()).as_ref());
        }
        let start = self.start_of(pid);
        let raw = i32::try_from(pid).map(Pid::from_raw);
        let clock = raw.ok().and_then(|pid| nix::time::clock_getcpuclockid(pid).ok());
        // Asked after both were opened: if it lives now, they are its own.
        match &held {
            Some(held) if has_ended(&held.pidfd) => return Attach::Exited(outcome(&held.pidfd)),
            Some(_) => {}
            None => match self.holder.with_reserve_fd(|| fds::open_pidfd(pid)) {
                Ok(pidfd) if has_ended(&pidfd) => return Attach::Exited(outcome(&pidfd)),
                Err(fds::Error::Gone(outcome)) => return Attach::Exited(outcome),
                Err(fds::Error::NotAProcess) => return Attach::Rejected(ReadError::InvalidPid),
                Ok(_) | Err(fds::Error::NoPidfd(_) | fds::Error::Other(_)) => {}
            },
        }
        let process_start = start.map(|start| self.process_start(start));
        if let (Some(process_start), Some(reported_at)) = (process_start, reported_at)
            && process_start > reported_at.boot
        {
            return Attach::Rejected(ReadError::PidReused);
        }
        let Some(clock) = clock else {
            return Attach::Failed(ReadError::UNKNOWN);
        };
        if let Some(held) = &held {
            self.waiter.watch(&held.pidfd, token);
        }
        let mut process = Process { pid, token, clock, held, start, cpu_time: CpuTime::default() };
        let reading = match self.read_process(&mut process) {
            Ok(reading) => Ok(reading),
            Err(ReadFailure::Exited(outcome, _)) => return Attach::Exited(outcome),
            Err(ReadFailure::Failed(problem)) => Err(problem),
        };
        Attach::Found(FoundProcess { process, process_start, reading })
    }

    fn begin_tick<'p>(&mut self, _processes: impl Iterator<Item = &'p Process>) {}

    fn read(&mut self, process: &mut Process) -> Result<Reading, ReadFailure> {
        self.read_process(process)
    }

    fn read_between_ticks(
        &mut self,
        process: &mut Process,
    ) -> Result<Option<Reading>, ReadFailure> {
        // An end that is a moment old shows first at the pidfd, and then the status can be had.
        if let Some(held) = &process.held
            && has_ended(&held.pidfd)
        {
            let outcome = outcome(&held.pidfd);
            return Err(match self.read_process(process) {
                Ok(last) => ReadFailure::Exited(outcome, Some(Box::new(last))),
                Err(ReadFailure::Exited(_, last)) => ReadFailure::Exited(outcome, last),
                Err(ReadFailure::Failed(_)) => ReadFailure::Exited(outcome, None),
            });
        }
        self.read_process(process).map(Some)
    }

    fn identity(&self, process: &Process) -> Option<Identity> {
        Some(Identity { pid: process.pid, process_start: self.process_start(process.start?) })
    }
}

impl ExitWaiter for NativeProbe {
    fn wait(&mut self, until: Option<MonoNanos>) {
        self.waiter.wait(until);
    }

    fn drain_exits(&mut self, each: impl FnMut(u64)) {
        self.waiter.drain_exits(each);
    }
}
