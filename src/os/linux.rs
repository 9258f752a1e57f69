//! Processes on Linux: exact, nearly free, and never a stranger's numbers.
//!
//! Of each process two descriptors are held: a pidfd, which becomes readable when the process ends,
//! and its `/proc/PID/statm`, whose reads fail from the moment at which the process is reaped. CPU
//! time comes from the per-process CPU clock (clock_getcpuclockid(3)), in nanoseconds. The kernel brings
//! it up to date when a thread is set aside, and at the scheduler's tick while one runs: of a process
//! that never sleeps it is up to one such tick old, and nothing that can be read is newer. The clock
//! goes by number and would read whoever has the number later; so it is read *first*, and counts only
//! if the held `statm` can be read *after* it: then the number was still ours.

mod hold;
#[cfg(test)]
mod tests;
mod wait;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::time::ClockId;
use nix::unistd::Pid;

use self::hold::{Held, Holder, has_ended, outcome};
use self::wait::Waiter;
use super::{Found, Identity, Opened, Probe, Unread, Wait, Wake, clock, procfs};
use crate::model::problem::ReadError;
use crate::model::reading::{Bytes, CpuTime, Mono, Reading};
use crate::model::run::Outcome;
use crate::model::time::Now;

/// Reads processes one by one; waits for their ends and for the host at once.
pub(crate) struct NativeProbe {
    holder: Holder,
    waiter: Waiter,
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
    held: Option<Held>,
    /// In the kernel's steps; `None` where it could not be read.
    start: Option<u64>,
    /// At the last reading.
    cpu_time: CpuTime,
}

impl NativeProbe {
    pub(crate) fn new() -> io::Result<(Self, Wake)> {
        let (waiter, wake) = Waiter::new()?;
        let probe = Self {
            holder: Holder::new(),
            waiter,
            page_size: rustix::param::page_size() as u64,
            ticks: rustix::param::clock_ticks_per_second().max(1),
            foreign: is_proc_foreign(),
        };
        Ok((probe, wake))
    }

    fn began(&self, start: u64) -> Duration {
        let nanos = u128::from(start) * 1_000_000_000 / u128::from(self.ticks);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Clock first, then the held file: see the head of this module.
    fn read_held(&self, process: &Process, held: &Held) -> Result<Reading, Unread> {
        let (at, cpu_time) = cpu_time(process.clock);
        match (resident_pages(&held.statm), cpu_time) {
            (Ok(0), cpu_time) => {
                // A process that has ended has no pages; neither has one whose first thread has,
                // while others go on. The pidfd knows.
                let last = cpu_time.map(|cpu_time| Reading { at, cpu_time, resident: None });
                if has_ended(&held.pidfd) {
                    return Err(Unread::Ended(outcome(&held.pidfd), last.map(Box::new)));
                }
                last.ok_or(Unread::Failed(ReadError::UNREAD))
            }
            (Ok(pages), Some(cpu_time)) => {
                let resident = Bytes::known(pages.saturating_mul(self.page_size));
                Ok(Reading { at, cpu_time, resident })
            }
            (Ok(_), None) => Err(Unread::Failed(ReadError::UNREAD)),
            (Err(error), _) => Err(self.unread(&error, held)),
        }
    }

    /// Why the held `statm` could not be read.
    fn unread(&self, error: &io::Error, held: &Held) -> Unread {
        if has_ended(&held.pidfd) {
            Unread::Ended(outcome(&held.pidfd), None)
        } else {
            Unread::Failed(problem(error))
        }
    }

    fn read_process(&mut self, process: &mut Process) -> Result<Reading, Unread> {
        let was_held = process.held.is_some();
        let read = match &process.held {
            Some(held) => self.read_held(process, held),
            None => self.read_unheld(process),
        };
        let last = match &read {
            Ok(reading) => Some(reading),
            Err(Unread::Ended(_, last)) => last.as_deref(),
            Err(Unread::Failed(_)) => None,
        };
        if let Some(reading) = last {
            // A clock that goes back is not this process's: without held files that can happen. With
            // them the process is proven to be the same, and it is the clock that somebody has set,
            // as libfaketime does: then nothing is known of the difference.
            if !was_held && reading.cpu_time < process.cpu_time {
                return Err(Unread::Ended(Outcome::Unknown, None));
            }
            process.cpu_time = reading.cpu_time;
        }
        read
    }

    /// Opens files for this one reading, one at a time; holds them again if there is room.
    ///
    /// Nothing is held of the process, so its start says whether it is the same one. It is read
    /// last: then all that was read before is of that process.
    fn read_unheld(&mut self, process: &mut Process) -> Result<Reading, Unread> {
        let Process { pid, clock, token, .. } = *process;
        if self.holder.has_room()
            && let Ok(held) = self.holder.hold(pid)
        {
            if self.start_differs(process) {
                return Err(Unread::Ended(Outcome::Unknown, None));
            }
            self.waiter.watch(&held.pidfd, token);
            let read = self.read_held(process, &held);
            process.held = Some(held);
            return read;
        }
        let (at, cpu_time) = cpu_time(clock);
        let path = format!("/proc/{pid}/statm");
        let pages = self.holder.spare(|| Ok(resident_pages(&File::open(&path)?)?));
        if self.start_differs(process) {
            return Err(Unread::Ended(Outcome::Unknown, None));
        }
        let reading = |cpu_time, pages: u64| {
            let resident = Bytes::known(pages.saturating_mul(self.page_size));
            Reading { at, cpu_time, resident }
        };
        if let (Ok(pages @ 1..), Some(cpu_time)) = (&pages, cpu_time) {
            return Ok(reading(cpu_time, *pages));
        }
        // Whether it has ended, a pidfd knows; of a child, who may wait for it.
        let last = cpu_time.filter(|_| pages.is_ok()).map(|cpu_time| reading(cpu_time, 0));
        match self.holder.spare(|| hold::open_pidfd(pid)) {
            Ok(pidfd) if has_ended(&pidfd) => {
                Err(Unread::Ended(outcome(&pidfd), last.map(Box::new)))
            }
            Err(hold::Error::Gone(_) | hold::Error::NotAProcess) => {
                Err(Unread::Ended(Outcome::Unknown, None))
            }
            Err(hold::Error::NoPidfd(_)) if let Some(outcome) = hold::outcome_of_child(pid) => {
                Err(Unread::Ended(outcome, last.map(Box::new)))
            }
            Ok(_) | Err(hold::Error::NoPidfd(_) | hold::Error::Other(_)) => match pages {
                Err(hold::Error::Other(error)) => Err(Unread::Failed(problem(&error))),
                Ok(_) | Err(_) => last.ok_or(Unread::Failed(ReadError::UNREAD)),
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
        procfs::start_time(&self.holder.spare(|| Ok(std::fs::read(&path)?)).ok()?)
    }
}

/// What is under that number in `/proc` is another process.
pub(super) const FOREIGN: ReadError = ReadError::Io(io::ErrorKind::Unsupported);

/// Whether `/proc` was mounted in another PID namespace than this process lives in
/// (pid_namespaces(7)): then a number there names another process than it does here, and nothing may be
/// read by it.
pub(super) fn is_proc_foreign() -> bool {
    let own = std::fs::read_link("/proc/self");
    let foreign = own.is_ok_and(|number| number.as_os_str() != &*std::process::id().to_string());
    if foreign {
        log::warn!("/proc is of another PID namespace: no process can be read");
    }
    foreign
}

/// What the clock says, and when. If this thread was set aside in between, the two do not belong
/// together, and a busy process would seem to have used more than there was: then it is asked again.
fn cpu_time(clock: ClockId) -> (Mono, Option<CpuTime>) {
    /// Nanoseconds: ten times what the two calls take.
    const BESIDE: u64 = 5_000;
    let Mono(mut before) = clock::mono();
    for _ in 0..3 {
        let time = clock.now();
        let Mono(after) = clock::mono();
        let apart = after - before;
        if apart < BESIDE {
            return (Mono(before + apart / 2), time.ok().and_then(nanos));
        }
        before = after;
    }
    (Mono(before), clock.now().ok().and_then(nanos))
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

/// Whether there is a process of that number, or a thread. Takes no descriptor and no `/proc`.
pub(super) fn exists(pid: u32) -> bool {
    let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    raw.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Whole seconds from the machine's start to that of a process, rounded down.
#[cfg(feature = "portable")]
pub(super) fn seconds_from_boot_to_start(pid: u32) -> io::Result<Option<u64>> {
    let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
    let start = procfs::start_time(&stat).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some(start / rustix::param::clock_ticks_per_second().max(1)))
}

/// Whether the number is that of a thread: such numbers have folders in `/proc` too, although they
/// are not listed. False also where that cannot be told.
pub(super) fn is_thread(pid: u32) -> bool {
    let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    // Of a process that is being reaped the kernel says 0.
    procfs::thread_group(&status).is_some_and(|group| group != pid && group != 0)
}

/// Whether a process that looks like a zombie has ended: then only its first thread is left. Where others
/// go on it lives. False also where that cannot be told.
#[cfg(feature = "portable")]
pub(super) fn no_thread_goes_on(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.count() <= 1)
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

    fn shortest_interval(&self) -> Duration {
        // Ten steps of a clock of nanoseconds are less. While a process does not sleep its clock moves
        // by the scheduler's tick, whose length the kernel does not tell.
        Duration::from_millis(1)
    }

    fn open(&mut self, pid: u32, called: Option<&Now>, token: u64) -> Opened<Found<Process>> {
        if self.foreign {
            return match self.holder.spare(|| hold::open_pidfd(pid)) {
                Ok(pidfd) if has_ended(&pidfd) => Opened::Gone(outcome(&pidfd)),
                Err(hold::Error::Gone(outcome)) => Opened::Gone(outcome),
                Err(hold::Error::NotAProcess) => Opened::Refused(ReadError::InvalidPid),
                Ok(_) | Err(hold::Error::NoPidfd(_) | hold::Error::Other(_)) => {
                    Opened::Failed(FOREIGN)
                }
            };
        }
        let held = if self.holder.has_room() { Some(self.holder.hold(pid)) } else { None };
        let (held, why_not) = match held {
            Some(Ok(held)) => (Some(held), None),
            Some(Err(hold::Error::Gone(outcome))) => return Opened::Gone(outcome),
            Some(Err(hold::Error::NotAProcess)) => {
                return Opened::Refused(ReadError::InvalidPid);
            }
            Some(Err(error @ hold::Error::NoPidfd(_))) => (None, Some(error)),
            Some(Err(error)) if error.is_exhausted() => (None, Some(error)),
            Some(Err(hold::Error::Other(error))) => return Opened::Failed(problem(&error)),
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
            Some(held) if has_ended(&held.pidfd) => return Opened::Gone(outcome(&held.pidfd)),
            Some(_) => {}
            None => match self.holder.spare(|| hold::open_pidfd(pid)) {
                Ok(pidfd) if has_ended(&pidfd) => return Opened::Gone(outcome(&pidfd)),
                Err(hold::Error::Gone(outcome)) => return Opened::Gone(outcome),
                Err(hold::Error::NotAProcess) => return Opened::Refused(ReadError::InvalidPid),
                Ok(_) | Err(hold::Error::NoPidfd(_) | hold::Error::Other(_)) => {}
            },
        }
        let began = start.map(|start| self.began(start));
        if let (Some(began), Some(called)) = (began, called)
            && began > called.boot
        {
            return Opened::Refused(ReadError::PidReused);
        }
        let Some(clock) = clock else {
            return Opened::Failed(ReadError::UNREAD);
        };
        if let Some(held) = &held {
            self.waiter.watch(&held.pidfd, token);
        }
        let mut process = Process { pid, token, clock, held, start, cpu_time: CpuTime::default() };
        let reading = match self.read_process(&mut process) {
            Ok(reading) => Ok(reading),
            Err(Unread::Ended(outcome, _)) => return Opened::Gone(outcome),
            Err(Unread::Failed(problem)) => Err(problem),
        };
        Opened::Found(Found { process, began, reading })
    }

    fn prepare<'p>(&mut self, _processes: impl Iterator<Item = &'p Process>) {}

    fn read(&mut self, process: &mut Process) -> Result<Reading, Unread> {
        self.read_process(process)
    }

    fn check(&mut self, process: &mut Process) -> Result<Option<Reading>, Unread> {
        // An end that is a moment old shows first at the pidfd, and then the status can be had.
        if let Some(held) = &process.held
            && has_ended(&held.pidfd)
        {
            let outcome = outcome(&held.pidfd);
            return Err(match self.read_process(process) {
                Ok(last) => Unread::Ended(outcome, Some(Box::new(last))),
                Err(Unread::Ended(_, last)) => Unread::Ended(outcome, last),
                Err(Unread::Failed(_)) => Unread::Ended(outcome, None),
            });
        }
        self.read_process(process).map(Some)
    }

    fn identity(&self, process: &Process) -> Option<Identity> {
        Some(Identity { pid: process.pid, began: self.began(process.start?) })
    }
}

impl Wait for NativeProbe {
    fn wait(&mut self, until: Option<Instant>) {
        self.waiter.wait(until);
    }

    fn learn_ends(&mut self, each: impl FnMut(u64)) {
        self.waiter.learn_ends(each);
    }
}
