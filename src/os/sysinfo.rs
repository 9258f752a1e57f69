//! Processes by the crate sysinfo: for every platform.
//!
//! CPU shares come from our own differences of the accumulated CPU time over our own clock.
//! sysinfo's `cpu_usage()` divides by a system-wide count that it refreshes on its own terms.

use std::io;
use std::time::Duration;

use crossbeam_utils::sync::Parker;
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};

use super::pid::{
    FOREIGN_PROC, exists, has_exited_as_zombie, is_proc_foreign, is_thread, start_in_seconds,
};
use super::reading::Reading;
use super::{Attach, ExitWaiter, FoundProcess, Identity, Probe, ReadFailure, clock};
use crate::history::units::{CpuTime, ResidentBytes};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::ProcessExit;
use crate::sync::command::Wake;
use crate::time::{MonoNanos, TimePoint};

/// The step of the CPU time that sysinfo hands on.
const STEP: Duration = if cfg!(windows) {
    // The scheduler's tick, 64 to the second.
    Duration::from_micros(15_625)
} else if cfg!(target_os = "linux") {
    // USER_HZ, 100 to the second: proc(5), `utime`.
    Duration::from_millis(10)
} else {
    // It says milliseconds.
    Duration::from_millis(1)
};

/// Whether sysinfo lists all processes to read some, and says zeros of those that this user may not
/// look at: elsewhere. On Linux it opens the files of each, and has none of such a process.
const LISTS_ALL: bool = !cfg!(target_os = "linux");

/// As many processes that nobody asks for any more are left to sysinfo, which keeps what it was asked
/// for once.
const LEFT: usize = 64;

/// Reads processes by sysinfo, all of them in one refresh a tick; waits by parking its thread.
pub(crate) struct SysinfoProbe {
    system: System,
    /// A process that a refresh cannot miss, this one: where it does, the list could not be had, which
    /// sysinfo does not say, and does not show that all the others have ended.
    witness: Option<Pid>,
    /// Whether no resident memory means that the process may not be looked at.
    zeros_are_hidden: bool,
    /// Where sysinfo's start times are zero on our boot clock.
    epoch: Duration,
    /// The numbers that sysinfo reads by are not those of this process's world.
    foreign: bool,
    pids: Vec<Pid>,
    /// How many processes sysinfo knew when those that have ended had been let go.
    kept: usize,
    /// When all processes were refreshed for the tick; `None` if that failed.
    fresh: Option<MonoNanos>,
    parker: Parker,
}

/// What tells the process: it is looked up anew each time.
#[derive(Debug)]
pub(crate) struct TrackedProcess {
    pid: u32,
    start_time: u64,
    cpu_time: CpuTime,
}

/// What sysinfo said of a number.
struct ProcessInfo {
    start_time: u64,
    ended: bool,
    reading: Reading,
}

impl SysinfoProbe {
    pub(crate) fn new() -> io::Result<(Self, Wake)> {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let mut probe = Self {
            system: System::new().map_err(io::Error::other)?,
            witness: LISTS_ALL.then(|| Pid::from_u32(std::process::id())),
            zeros_are_hidden: LISTS_ALL,
            epoch: Duration::ZERO,
            foreign: is_proc_foreign(),
            pids: Vec::new(),
            kept: 0,
            fresh: None,
            parker,
        };
        if !probe.foreign {
            probe.epoch = probe.find_epoch(std::process::id())?;
        }
        Ok((probe, Box::new(move || unparker.unpark())))
    }

    /// On Linux sysinfo adds to each start time the time at which the machine was started, as it was
    /// when the `System` was made: setting the wall clock moves it, and it is computed where there was
    /// no descriptor to read it. Which it is shows at a process whose start is known: this one.
    fn find_epoch(&mut self, own: u32) -> io::Result<Duration> {
        let Some(start) = start_in_seconds(own)? else {
            return Ok(Duration::ZERO);
        };
        self.refresh_one(own);
        let seen = self.system.process(Pid::from_u32(own));
        let epoch = seen.and_then(|process| process.start_time().checked_sub(start));
        epoch.map(Duration::from_secs).ok_or_else(|| io::Error::other("sysinfo sees no process"))
    }

    /// Refreshes the processes in `pids`, and says when that was; `None` if it could not be done.
    fn refresh(&mut self) -> Option<MonoNanos> {
        self.pids.extend(self.witness);
        // One that is named twice must be asked for once: sysinfo drops the second as dead.
        self.pids.sort_unstable();
        self.pids.dedup();
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        let MonoNanos(before) = clock::mono();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&self.pids), true, kind);
        // In the middle: the refresh takes its time, and no process can be told when it was read.
        let MonoNanos(after) = clock::mono();
        let is_done = self.witness.is_none_or(|witness| self.system.process(witness).is_some());
        is_done.then_some(MonoNanos(before + (after - before) / 2))
    }

    fn refresh_one(&mut self, pid: u32) -> Option<MonoNanos> {
        self.pids.clear();
        self.pids.push(Pid::from_u32(pid));
        self.refresh()
    }

    fn process_start(&self, start_time: u64) -> Option<Duration> {
        // Windows says 0 of what it does not let us look at.
        let start = (start_time != 0).then(|| Duration::from_secs(start_time))?;
        start.checked_sub(self.epoch)
    }

    /// The process as of the last refresh, if there is one.
    fn look_up(&self, pid: u32, at: MonoNanos) -> Option<ProcessInfo> {
        let process = self.system.process(Pid::from_u32(pid))?;
        Some(ProcessInfo {
            start_time: process.start_time(),
            // It still has a number, and its CPU time, for the sake of whoever reaps it.
            ended: match process.status() {
                ProcessStatus::Zombie => has_exited_as_zombie(pid),
                status => status == ProcessStatus::Dead,
            },
            reading: Reading {
                at,
                cpu_time: Duration::from_millis(process.accumulated_cpu_time()).into(),
                resident: ResidentBytes::new(process.memory()),
            },
        })
    }

    /// Takes in what the refresh of the moment `at` says of the process.
    fn read_at(
        &self,
        at: Option<MonoNanos>,
        known: &mut TrackedProcess,
    ) -> Result<Reading, ReadFailure> {
        let at = at.ok_or(ReadFailure::Failed(ReadError::UNKNOWN))?;
        let seen = self.look_up(known.pid, at);
        let is_hidden = match &seen {
            Some(seen) => self.is_hidden(seen),
            None => exists(known.pid),
        };
        if is_hidden {
            return Err(ReadFailure::Failed(ReadError::PermissionDenied));
        }
        // Another start, or CPU time that went down: the number belongs to somebody else now.
        let seen = seen.filter(|seen| {
            seen.start_time == known.start_time && seen.reading.cpu_time >= known.cpu_time
        });
        let Some(seen) = seen else {
            return Err(ReadFailure::Exited(ProcessExit::Unknown, None));
        };
        known.cpu_time = seen.reading.cpu_time;
        if seen.ended {
            return Err(ReadFailure::Exited(ProcessExit::Unknown, Some(Box::new(seen.reading))));
        }
        Ok(seen.reading)
    }

    /// Whether it lives, and all that is said of it is made up.
    fn is_hidden(&self, seen: &ProcessInfo) -> bool {
        self.zeros_are_hidden && !seen.ended && seen.reading.resident.is_none()
    }
}

impl Probe for SysinfoProbe {
    type Process = TrackedProcess;

    fn min_interval(&self) -> Duration {
        10 * STEP
    }

    fn attach(
        &mut self,
        pid: u32,
        reported_at: Option<&TimePoint>,
        _token: u64,
    ) -> Attach<FoundProcess<TrackedProcess>> {
        if self.foreign {
            let gone = !exists(pid);
            return if gone {
                Attach::Exited(ProcessExit::Unknown)
            } else {
                Attach::Failed(FOREIGN_PROC)
            };
        }
        if is_thread(pid) {
            return Attach::Rejected(ReadError::InvalidPid);
        }
        let Some(at) = self.refresh_one(pid) else {
            return Attach::Failed(ReadError::UNKNOWN);
        };
        let (start_time, reading) = match self.look_up(pid, at) {
            Some(seen) if self.is_hidden(&seen) => {
                return Attach::Failed(ReadError::PermissionDenied);
            }
            Some(ProcessInfo { start_time, ended: false, reading }) => (start_time, reading),
            // It is hidden, or there was no descriptor to read it with.
            None if exists(pid) => return Attach::Failed(ReadError::PermissionDenied),
            Some(_) | None => return Attach::Exited(ProcessExit::Unknown),
        };
        let process_start = self.process_start(start_time);
        // To the second, which is all that sysinfo says.
        if let (Some(process_start), Some(reported_at)) = (process_start, reported_at)
            && process_start > reported_at.boot
        {
            return Attach::Rejected(ReadError::PidReused);
        }
        let process = TrackedProcess { pid, start_time, cpu_time: reading.cpu_time };
        Attach::Found(FoundProcess { process, process_start, reading: Ok(reading) })
    }

    fn begin_tick<'p>(&mut self, processes: impl Iterator<Item = &'p TrackedProcess>) {
        self.pids.clear();
        self.pids.extend(processes.map(|known| Pid::from_u32(known.pid)));
        let known = self.system.processes();
        let sweeps = known.len() > self.kept + LEFT;
        if sweeps {
            // What has ended goes when it is asked for once more.
            self.pids.extend(known.keys());
        }
        // If that panics, nothing is fresh.
        self.fresh = None;
        self.fresh = self.refresh();
        if sweeps {
            self.kept = self.system.processes().len();
        }
    }

    fn read(&mut self, known: &mut TrackedProcess) -> Result<Reading, ReadFailure> {
        self.read_at(self.fresh, known)
    }

    fn read_between_ticks(
        &mut self,
        known: &mut TrackedProcess,
    ) -> Result<Option<Reading>, ReadFailure> {
        let at = self.refresh_one(known.pid);
        self.read_at(at, known).map(Some)
    }

    fn identity(&self, known: &TrackedProcess) -> Option<Identity> {
        Some(Identity { pid: known.pid, process_start: self.process_start(known.start_time)? })
    }
}

impl ExitWaiter for SysinfoProbe {
    fn wait(&mut self, until: Option<MonoNanos>) {
        match until {
            Some(until) => self.parker.park_timeout(until.since(clock::mono())),
            None => self.parker.park(),
        }
    }

    fn drain_exits(&mut self, _each: impl FnMut(u64)) {
        // Nothing tells: ends are found when the process is read.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_read_and_is_the_same_when_it_is_found_again() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let now = clock::now();
        let Attach::Found(first) = probe.attach(std::process::id(), Some(&now), 0) else {
            panic!("this process lives");
        };
        assert!(first.reading.unwrap().resident.is_some());
        let process_start = first.process_start.unwrap();
        assert!(process_start <= now.boot);
        assert!(
            now.boot - process_start < Duration::from_secs(24 * 60 * 60),
            "{process_start:?} of {now:?}"
        );
        let Attach::Found(second) = probe.attach(std::process::id(), Some(&now), 0) else {
            panic!("this process lives");
        };
        assert_eq!(probe.identity(&first.process), probe.identity(&second.process));
    }

    #[test]
    fn the_moment_of_a_reading_is_one_at_which_it_was_taken() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        for _ in 0..20 {
            let before = clock::mono();
            let at = probe.refresh_one(std::process::id()).unwrap();
            let after = clock::mono();
            assert!(before <= at && at <= after, "{before:?} {at:?} {after:?}");
        }
    }

    #[test]
    fn the_probe_waits_until_its_time_or_until_it_is_woken() {
        let (mut probe, wake) = SysinfoProbe::new().unwrap();
        let until = Instant::now() + Duration::from_millis(5);
        probe.wait(Some(until));
        assert!(Instant::now() >= until);
        wake();
        // A limit against hanging, nothing else.
        let limit = Instant::now() + Duration::from_secs(60);
        probe.wait(Some(limit));
        assert!(Instant::now() < limit, "it was not woken");
    }

    #[cfg(unix)]
    #[test]
    fn processes_that_have_ended_are_let_go_also_if_nobody_asks_for_them_again() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let mut most = 0;
        for _ in 0..3 * LEFT {
            let mut child = std::process::Command::new("true").spawn().unwrap();
            let _ = probe.attach(child.id(), None, 0);
            child.wait().unwrap();
            probe.prepare([].into_iter());
            most = most.max(probe.system.processes().len());
        }
        assert!((LEFT / 2..=LEFT + 2).contains(&most), "{most} are known at once");
    }

    #[test]
    fn one_process_named_twice_is_read_twice() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let mut known = || match probe.attach(std::process::id(), None, 0) {
            Attach::Found(found) => found.process,
            _ => panic!("this process lives"),
        };
        let mut both = [known(), known()];
        for _ in 0..2 {
            probe.prepare(both.iter());
            for known in &mut both {
                probe.read(known).unwrap();
            }
        }
    }

    #[test]
    fn a_refresh_that_misses_this_process_says_nothing_of_the_others() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let Attach::Found(found) = probe.attach(std::process::id(), None, 0) else {
            panic!("this process lives");
        };
        let mut known = found.process;
        // Greater than any number that a kernel gives.
        probe.witness = Some(Pid::from_u32(i32::MAX as u32));
        probe.prepare([&known].into_iter());
        assert!(matches!(probe.read(&mut known), Err(ReadFailure::Failed(ReadError::UNKNOWN))));
        assert!(matches!(probe.check(&mut known), Err(ReadFailure::Failed(ReadError::UNKNOWN))));
        let opened = probe.attach(std::process::id(), None, 0);
        assert!(matches!(opened, Attach::Failed(ReadError::UNKNOWN)));
        probe.witness = Some(Pid::from_u32(std::process::id()));
        probe.prepare([&known].into_iter());
        assert!(probe.read(&mut known).is_ok());
    }

    #[test]
    fn a_process_of_which_nothing_but_zeros_is_said_may_not_be_looked_at() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        probe.zeros_are_hidden = true;
        let reading = Reading { at: MonoNanos(1), cpu_time: CpuTime(0), resident: None };
        let seen = |ended, reading| ProcessInfo { start_time: 0, ended, reading };
        assert!(probe.is_hidden(&seen(false, reading)));
        assert!(!probe.is_hidden(&seen(true, reading)), "a zombie has no memory");
        let reading = Reading { resident: ResidentBytes::new(1), ..reading };
        assert!(!probe.is_hidden(&seen(false, reading)));
    }

    #[cfg(unix)]
    #[test]
    fn a_process_that_is_found_in_a_tick_leaves_the_others_their_readings() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let Attach::Found(found) = probe.attach(std::process::id(), None, 0) else {
            panic!("this process lives");
        };
        let mut known = found.process;
        probe.prepare([&known].into_iter());
        let at = probe.fresh.unwrap();
        let _ = probe.attach(std::os::unix::process::parent_id(), None, 0);
        assert_eq!(probe.read(&mut known).unwrap().at, at);
    }

    #[test]
    fn a_process_that_began_after_it_was_named_is_another_one() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let Attach::Found(found) = probe.attach(std::process::id(), None, 0) else {
            panic!("this process lives");
        };
        let mut reported_at = clock::now();
        reported_at.boot = found.process_start.unwrap() - Duration::from_nanos(1);
        assert!(matches!(
            probe.attach(std::process::id(), Some(&reported_at), 0),
            Attach::Rejected(ReadError::PidReused)
        ));
    }
}
