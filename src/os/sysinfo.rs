//! The portable probe: processes by the crate sysinfo, on every platform.
//!
//! CPU shares are computed from differences of the accumulated CPU time over this crate's own
//! clock: sysinfo's `cpu_usage()` divides by a system-wide value that sysinfo refreshes at its own
//! times.

mod trees;

use std::io;
use std::time::Duration;

use crossbeam_utils::sync::Parker;
use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};

use self::trees::{ListedProcess, SysinfoTrees};
use super::pid::{
    FOREIGN_PROC, detect_foreign_proc, exists, has_exited_as_zombie, is_thread, start_in_seconds,
};
use super::reading::Reading;
use super::{Attach, ExitWaiter, FoundProcess, Identity, Probe, ReadFailure, clock};
use crate::history::units::{CpuTime, ResidentBytes};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::ProcessExit;
use crate::sync::command::Wake;
use crate::time::MonoNanos;

/// The step of the CPU time that sysinfo reports.
const CPU_TIME_STEP: Duration = if cfg!(windows) {
    // The scheduler tick, 64 in a second.
    Duration::from_micros(15_625)
} else if cfg!(target_os = "linux") {
    // USER_HZ, 100 in a second: proc(5), `utime`.
    Duration::from_millis(10)
} else {
    // sysinfo reports milliseconds.
    Duration::from_millis(1)
};

/// Whether sysinfo lists all processes to read some, and reports zeros for processes that this user
/// may not inspect. On Linux it opens the files of each requested process instead, and does not
/// report a process that it cannot read.
const LISTS_ALL: bool = !cfg!(target_os = "linux");

/// The number of processes no longer requested that sysinfo may accumulate: it keeps every process
/// that was requested once, until a refresh finds that it has exited.
const MAX_UNUSED: usize = 64;

/// Whether a resident memory of zero means that the process may not be inspected.
const ARE_ZEROS_HIDDEN: bool = LISTS_ALL;

/// The middle of a refresh: sysinfo does not report when it read each process.
const fn middle(MonoNanos(before): MonoNanos, MonoNanos(after): MonoNanos) -> MonoNanos {
    MonoNanos(before + (after - before) / 2)
}

/// Whether sysinfo reports the states of processes. On macOS it reports those of threads, where `Dead` is
/// an uninterruptible wait, or the state at the first refresh; on Windows always `Run`.
const HAS_PROCESS_STATES: bool = cfg!(target_os = "linux");

/// A zombie keeps its pid and its CPU time until it is reaped.
fn has_exited(process: &Process) -> bool {
    match process.status() {
        ProcessStatus::Zombie => has_exited_as_zombie(process.pid().as_u32()),
        status => is_dead(status, HAS_PROCESS_STATES),
    }
}

fn is_dead(status: ProcessStatus, has_process_states: bool) -> bool {
    has_process_states && status == ProcessStatus::Dead
}

/// Whether a process in this state is suspended; `None` if the state does not show that.
fn is_suspended(status: ProcessStatus, has_process_states: bool) -> Option<bool> {
    has_process_states.then_some(matches!(status, ProcessStatus::Stop | ProcessStatus::Tracing))
}

/// Reads processes by sysinfo, all of them in one refresh a tick; waits by parking its thread.
pub(crate) struct SysinfoProbe {
    system: System,
    /// A process that every successful refresh finds: this one. If it is missing, the list of
    /// processes could not be read, which sysinfo does not report, and other missing processes have
    /// not necessarily exited.
    control_pid: Option<Pid>,
    /// Whether a resident memory of zero means that the process may not be inspected.
    are_zeros_hidden: bool,
    /// The boot clock's zero on the clock of sysinfo's start times.
    epoch: Duration,
    /// The pids that sysinfo reads by belong to another PID namespace: see [`detect_foreign_proc`].
    is_foreign: bool,
    pids: Vec<Pid>,
    /// The number of processes in sysinfo after exited ones were removed.
    count_after_cleanup: usize,
    /// The time of the tick's refresh; `None` if it failed.
    refreshed_at: Option<MonoNanos>,
    /// Created at the first use.
    trees: Option<SysinfoTrees>,
    parker: Parker,
}

/// An attached process: nothing is held open, it is looked up by pid in each tick.
#[derive(Debug)]
pub(crate) struct TrackedProcess {
    pid: u32,
    /// In seconds, as sysinfo reports it: identifies the process.
    start_time: u64,
    /// At the last reading.
    cpu_time: Option<CpuTime>,
}

/// The values of one process in sysinfo.
struct ProcessInfo {
    start_time: u64,
    has_exited: bool,
    reading: Reading,
}

impl SysinfoProbe {
    pub(crate) fn new() -> io::Result<(Self, Wake)> {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let mut probe = Self {
            system: System::new().map_err(io::Error::other)?,
            control_pid: LISTS_ALL.then(|| Pid::from_u32(std::process::id())),
            are_zeros_hidden: ARE_ZEROS_HIDDEN,
            epoch: Duration::ZERO,
            is_foreign: detect_foreign_proc(),
            pids: Vec::new(),
            count_after_cleanup: 0,
            refreshed_at: None,
            trees: None,
            parker,
        };
        if !probe.is_foreign {
            probe.epoch = probe.find_epoch(std::process::id())?;
        }
        Ok((probe, Box::new(move || unparker.unpark())))
    }

    /// Finds the offset of sysinfo's start times by a process whose start is known: this one.
    ///
    /// On Linux sysinfo adds the time at which the machine was started, as it was when the `System`
    /// was created, to each start time. Setting the wall clock changes that time, and sysinfo
    /// computes it where it has no descriptor to read it.
    fn find_epoch(&mut self, own_pid: u32) -> io::Result<Duration> {
        let Some(start) = start_in_seconds(own_pid)? else {
            return Ok(Duration::ZERO);
        };
        self.refresh_one(own_pid);
        let process = self.system.process(Pid::from_u32(own_pid));
        let epoch = process.and_then(|process| process.start_time().checked_sub(start));
        epoch
            .map(Duration::from_secs)
            .ok_or_else(|| io::Error::other("sysinfo does not find this process"))
    }

    /// Refreshes the processes in `pids` and returns the time of it; `None` if it failed.
    fn refresh(&mut self) -> Option<MonoNanos> {
        self.pids.extend(self.control_pid);
        // Each pid once: sysinfo removes the second occurrence as an exited process.
        self.pids.sort_unstable();
        self.pids.dedup();
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        let before = clock::mono();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&self.pids), true, kind);
        let at = middle(before, clock::mono());
        let succeeded = self.control_pid.is_none_or(|pid| self.system.process(pid).is_some());
        succeeded.then_some(at)
    }

    fn refresh_one(&mut self, pid: u32) -> Option<MonoNanos> {
        self.pids.clear();
        self.pids.push(Pid::from_u32(pid));
        self.refresh()
    }

    /// The start of a process on the boot clock.
    fn process_start(&self, start_time: u64) -> Option<Duration> {
        // Windows reports 0 for a process that may not be inspected.
        let start = (start_time != 0).then(|| Duration::from_secs(start_time))?;
        start.checked_sub(self.epoch)
    }

    /// The process as of the last refresh; `None` if that did not find it.
    fn look_up(&self, pid: u32, at: MonoNanos) -> Option<ProcessInfo> {
        let process = self.system.process(Pid::from_u32(pid))?;
        Some(ProcessInfo {
            start_time: process.start_time(),
            has_exited: has_exited(process),
            reading: Reading {
                at,
                cpu_time: Some(Duration::from_millis(process.accumulated_cpu_time()).into()),
                resident: ResidentBytes::new(process.memory()),
                peak: None,
                is_suspended: is_suspended(process.status(), HAS_PROCESS_STATES),
            },
        })
    }

    /// Reads the process from the refresh at `at`.
    fn read_at(
        &self,
        at: Option<MonoNanos>,
        tracked: &mut TrackedProcess,
    ) -> Result<Reading, ReadFailure> {
        let at = at.ok_or(ReadFailure::Failed(ReadError::UNKNOWN))?;
        let info = self.look_up(tracked.pid, at);
        let is_hidden = match &info {
            Some(info) => self.is_hidden(info),
            None => exists(tracked.pid),
        };
        if is_hidden {
            return Err(ReadFailure::Failed(ReadError::PermissionDenied));
        }
        // Another start, or CPU time that decreased: the pid belongs to another process now.
        let info = info.filter(|info| {
            info.start_time == tracked.start_time && info.reading.cpu_time >= tracked.cpu_time
        });
        let Some(ProcessInfo { has_exited, reading, .. }) = info else {
            return Err(ReadFailure::Exited(ProcessExit::Unknown, None));
        };
        tracked.cpu_time = reading.cpu_time;
        if has_exited {
            return Err(ReadFailure::Exited(ProcessExit::Unknown, Some(Box::new(reading))));
        }
        Ok(reading)
    }

    /// Whether the process lives, but its values may not be read and are zeros instead.
    fn is_hidden(&self, info: &ProcessInfo) -> bool {
        self.are_zeros_hidden && !info.has_exited && info.reading.resident.is_none()
    }
}

impl Probe for SysinfoProbe {
    type Process = TrackedProcess;
    type Member = ListedProcess;
    type Trees = SysinfoTrees;

    fn trees(&mut self) -> Option<&mut SysinfoTrees> {
        if self.trees.is_none() && !self.is_foreign {
            self.trees = SysinfoTrees::new();
        }
        self.trees.as_mut()
    }

    fn attach(
        &mut self,
        pid: u32,
        reported_at: Option<Duration>,
        _token: u64,
    ) -> Attach<FoundProcess<TrackedProcess>> {
        if self.is_foreign {
            return if exists(pid) {
                Attach::Failed(FOREIGN_PROC)
            } else {
                Attach::Exited(ProcessExit::Unknown)
            };
        }
        if is_thread(pid) {
            return Attach::Rejected(ReadError::InvalidPid);
        }
        let Some(at) = self.refresh_one(pid) else {
            return Attach::Failed(ReadError::UNKNOWN);
        };
        let (start_time, reading) = match self.look_up(pid, at) {
            Some(info) if self.is_hidden(&info) => {
                return Attach::Failed(ReadError::PermissionDenied);
            }
            Some(ProcessInfo { start_time, has_exited: false, reading }) => (start_time, reading),
            // It is hidden, or no descriptor was free to read it.
            None if exists(pid) => return Attach::Failed(ReadError::PermissionDenied),
            Some(_) | None => return Attach::Exited(ProcessExit::Unknown),
        };
        let process_start = self.process_start(start_time);
        // In whole seconds, rounded down: sysinfo reports no finer start time.
        if let (Some(process_start), Some(reported_at)) = (process_start, reported_at)
            && process_start > reported_at
        {
            return Attach::Rejected(ReadError::PidReused);
        }
        let process = TrackedProcess { pid, start_time, cpu_time: reading.cpu_time };
        Attach::Found(FoundProcess {
            process,
            process_start,
            min_interval: 10 * CPU_TIME_STEP,
            name: None,
            reading: Ok(reading),
        })
    }

    fn begin_tick<'p>(&mut self, processes: impl Iterator<Item = &'p TrackedProcess>) {
        self.pids.clear();
        self.pids.extend(processes.map(|tracked| Pid::from_u32(tracked.pid)));
        let known = self.system.processes();
        let needs_cleanup = known.len() > self.count_after_cleanup + MAX_UNUSED;
        if needs_cleanup {
            // An exited process is removed by the next refresh that requests it.
            self.pids.extend(known.keys());
        }
        // If the refresh panics, the reads of this tick must fail.
        self.refreshed_at = None;
        self.refreshed_at = self.refresh();
        if needs_cleanup {
            self.count_after_cleanup = self.system.processes().len();
        }
    }

    fn read(&mut self, tracked: &mut TrackedProcess) -> Result<Reading, ReadFailure> {
        self.read_at(self.refreshed_at, tracked)
    }

    fn read_between_ticks(
        &mut self,
        tracked: &mut TrackedProcess,
    ) -> Result<Option<Reading>, ReadFailure> {
        let at = self.refresh_one(tracked.pid);
        self.read_at(at, tracked).map(Some)
    }

    fn identity(&self, tracked: &TrackedProcess) -> Option<Identity> {
        let process_start = self.process_start(tracked.start_time)?;
        Some(Identity { pid: tracked.pid, process_start })
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
        // Exits are not reported: reads detect them.
    }
}

// Miri runs no such system calls.
#[cfg(test)]
#[cfg(not(miri))]
mod tests {
    use super::*;

    fn attach_self(probe: &mut SysinfoProbe) -> FoundProcess<TrackedProcess> {
        match probe.attach(std::process::id(), Some(clock::now().boot), 0) {
            Attach::Found(found) => found,
            other => panic!("this process lives: {other:?}"),
        }
    }

    #[test]
    fn own_process_is_found_with_same_identity() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let now = clock::now();
        let first = attach_self(&mut probe);
        assert!(first.reading.unwrap().resident.is_some());
        let start = first.process_start.unwrap();
        assert!(start <= now.boot);
        assert!(now.boot - start < Duration::from_secs(24 * 60 * 60), "{start:?} of {now:?}");
        let second = attach_self(&mut probe);
        assert_eq!(probe.identity(&first.process), probe.identity(&second.process));
    }

    #[test]
    fn reading_is_taken_at_its_timestamp() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        for _ in 0..20 {
            let before = clock::mono();
            let at = probe.refresh_one(std::process::id()).unwrap();
            let after = clock::mono();
            assert!(before <= at && at <= after, "{before:?} {at:?} {after:?}");
        }
    }

    #[test]
    fn wait_ends_at_deadline_or_wake_up() {
        let (mut probe, wake) = SysinfoProbe::new().unwrap();
        let until = clock::mono().checked_add(Duration::from_millis(5)).unwrap();
        probe.wait(Some(until));
        assert!(clock::mono() >= until);
        wake();
        // A bound against hanging.
        let limit = clock::mono().checked_add(Duration::from_secs(60)).unwrap();
        probe.wait(Some(limit));
        assert!(clock::mono() < limit, "it was not woken");
    }

    /// Also if no read requests them again.
    #[cfg(unix)]
    #[test]
    fn exited_processes_do_not_accumulate() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let mut most = 0;
        for _ in 0..3 * MAX_UNUSED {
            let mut child = std::process::Command::new("true").spawn().unwrap();
            let _ = probe.attach(child.id(), None, 0);
            child.wait().unwrap();
            probe.begin_tick([].into_iter());
            most = most.max(probe.system.processes().len());
        }
        assert!((MAX_UNUSED / 2..=MAX_UNUSED + 2).contains(&most), "{most} at the same time");
    }

    #[test]
    fn process_attached_twice_is_read_twice() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let mut both = [attach_self(&mut probe).process, attach_self(&mut probe).process];
        for _ in 0..2 {
            probe.begin_tick(both.iter());
            for tracked in &mut both {
                probe.read(tracked).unwrap();
            }
        }
    }

    #[test]
    fn refresh_without_control_process_fails_all_reads() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let mut tracked = attach_self(&mut probe).process;
        // Larger than any pid that a kernel assigns.
        probe.control_pid = Some(Pid::from_u32(i32::MAX as u32));
        probe.begin_tick([&tracked].into_iter());
        let failed = |read| matches!(read, Err(ReadFailure::Failed(ReadError::UNKNOWN)));
        assert!(failed(probe.read(&mut tracked).map(Some)));
        assert!(failed(probe.read_between_ticks(&mut tracked)));
        let attached = probe.attach(std::process::id(), None, 0);
        assert!(matches!(attached, Attach::Failed(ReadError::UNKNOWN)));
        probe.control_pid = Some(Pid::from_u32(std::process::id()));
        probe.begin_tick([&tracked].into_iter());
        assert!(probe.read(&mut tracked).is_ok());
    }

    #[test]
    fn zeros_of_living_process_are_hidden_values() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        probe.are_zeros_hidden = true;
        let reading = Reading::new(MonoNanos(1), CpuTime(0), None);
        let info = |has_exited, reading| ProcessInfo { start_time: 0, has_exited, reading };
        assert!(probe.is_hidden(&info(false, reading)));
        assert!(!probe.is_hidden(&info(true, reading)), "a zombie has no memory");
        let reading = Reading { resident: ResidentBytes::new(1), ..reading };
        assert!(!probe.is_hidden(&info(false, reading)));
    }

    #[test]
    fn state_of_thread_shows_neither_exit_nor_suspension() {
        use ProcessStatus::{Dead, Run, Sleep, Stop, Tracing};
        for status in [Run, Sleep, Stop, Tracing, Dead] {
            assert_eq!(is_dead(status, true), status == Dead, "{status}");
            let is_stopped = matches!(status, Stop | Tracing);
            assert_eq!(is_suspended(status, true), Some(is_stopped), "{status}");
            assert!(!is_dead(status, false), "{status}");
            assert_eq!(is_suspended(status, false), None, "{status}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn attach_during_tick_keeps_other_readings() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let mut tracked = attach_self(&mut probe).process;
        probe.begin_tick([&tracked].into_iter());
        let at = probe.refreshed_at.unwrap();
        let _ = probe.attach(std::os::unix::process::parent_id(), None, 0);
        assert_eq!(probe.read(&mut tracked).unwrap().at, at);
    }

    #[test]
    fn process_started_after_report_is_rejected() {
        let (mut probe, _wake) = SysinfoProbe::new().unwrap();
        let start = attach_self(&mut probe).process_start.unwrap();
        let reported_at = start - Duration::from_nanos(1);
        let attached = probe.attach(std::process::id(), Some(reported_at), 0);
        assert!(matches!(attached, Attach::Rejected(ReadError::PidReused)));
    }
}
