//! The active run of a plugin: its process and its readings.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::engine::cpu_meter::ReadingSpan;
use crate::engine::process_tree::RootReading;
use crate::engine::process_tree::roots::NewRoot;
use crate::history::command_name::CommandName;
use crate::history::units::{CpuTime, ResidentBytes};
use crate::os::reading::Reading;
use crate::os::{self, Attach, FoundProcess, Identity, Probe, ReadFailure};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::{ProcessExit, RunId};
use crate::time::{TimePoint, duration_nanos};

/// The shortest interval that gives a CPU share, in nanoseconds, unless the clock of the process is
/// coarser.
pub(super) const MIN_CPU_NANOS: u64 = 1_000_000;

/// A run that has not ended. The fields that a tick needs come first.
#[derive(Debug)]
pub(crate) struct ActiveRun<P> {
    /// `None` as long as it could not be attached; then every tick tries again.
    pub process: Option<P>,
    /// Its readings since the last sample with a CPU value.
    pub span: Option<ReadingSpan>,
    /// CPU time between the first and the last reading; `None` until there are two.
    pub cpu_used: Option<CpuTime>,
    /// The largest resident size of its readings, in bytes; 0 is unknown.
    pub peak_memory: u64,
    /// The shortest interval that gives a CPU share, in nanoseconds.
    pub min_nanos: u64,
    pub about: Box<RunDetails>,
}

/// The parts of an active run that a tick does not need.
#[derive(Debug)]
pub(crate) struct RunDetails {
    pub run: RunId,
    pub pid: u32,
    /// When the host reported the process, on the boot clock.
    reported_at: Option<Duration>,
    token: u64,
    /// Start of the process on the boot clock.
    pub process_start: Option<Duration>,
    /// The name of its process when it was attached; empty if it is unknown.
    pub name: CommandName,
    pub read_error: Option<ReadError>,
    /// Whether the OOM killer has killed its process; `None` if unknown.
    pub oom_killed: Option<bool>,
    /// The first tick that may have a sample of it.
    pub first_tick: u64,
    /// The crate waits for its process, and sends the last reading when it has exited.
    pub is_waited_for: bool,
    /// Its process was the root of a tree.
    pub is_followed: bool,
    /// The host has announced its end. That stays so whatever state it reports afterwards, because a
    /// later report may be about the next process, or come from a thread that does not stop this one.
    pub is_announced: bool,
    /// The host's thread has spawned its process: all CPU time of the process belongs to the run.
    counts_from_start: bool,
    /// The exit of its process was detected and queued.
    exit_detected: bool,
}

/// The result of checking a process.
#[derive(Debug)]
pub(crate) enum Liveness {
    /// It lives, or nothing proves the opposite.
    Alive,
    /// It has exited, and this is the first detection.
    Exited(ProcessExit),
    /// It has exited, and that was detected before.
    AlreadyExited,
}

impl Liveness {
    /// Whether it has exited, and the status is unknown or only known to the queued exit.
    pub(super) const fn has_exited_without_status(&self) -> bool {
        matches!(self, Self::Exited(ProcessExit::Unknown) | Self::AlreadyExited)
    }
}

/// The result of checking a process, also as its tree needs it.
#[derive(Debug)]
pub(crate) struct Checked {
    pub liveness: Liveness,
    pub root: RootReading,
}

/// Calls the probe, and turns a panic into a failed read.
pub(crate) fn catch_probe_panic<T>(call: impl FnOnce() -> T) -> Result<T, ReadError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| ReadError::UNKNOWN)
}

impl<P> ActiveRun<P> {
    /// A run without a reading.
    pub(crate) fn new(
        run: RunId,
        pid: u32,
        reported_at: Option<TimePoint>,
        token: u64,
        tick: u64,
    ) -> Self {
        let about = RunDetails {
            run,
            pid,
            reported_at: reported_at.map(|at| at.boot),
            token,
            process_start: None,
            name: CommandName::default(),
            read_error: None,
            oom_killed: None,
            first_tick: tick + 1,
            is_waited_for: false,
            is_followed: false,
            is_announced: false,
            counts_from_start: false,
            exit_detected: false,
        };
        let about = Box::new(about);
        Self {
            process: None,
            span: None,
            cpu_used: None,
            peak_memory: 0,
            min_nanos: MIN_CPU_NANOS,
            about,
        }
    }

    /// Attaches the reported process. The caller handles exits and rejections; a read error is
    /// recorded here.
    pub(crate) fn attach<Pr: Probe<Process = P>>(&mut self, probe: &mut Pr) -> Attach<()> {
        if !os::is_valid_pid(self.about.pid) {
            return Attach::Rejected(ReadError::InvalidPid);
        }
        match catch_probe_panic(|| self.call_attach(probe)).unwrap_or_else(Attach::Failed) {
            Attach::Found(FoundProcess { process, process_start, min_interval, name, reading }) => {
                self.process = Some(process);
                self.about.process_start = process_start;
                self.about.name = name.unwrap_or_default();
                self.min_nanos = duration_nanos(min_interval);
                match reading {
                    Ok(reading) => self.push(&reading),
                    Err(error) => self.about.read_error = Some(error),
                }
                Attach::Found(())
            }
            Attach::Exited(exit) => {
                self.about.exit_detected = true;
                Attach::Exited(exit)
            }
            // The child has existed: it was reaped before this attempt.
            Attach::Rejected(ReadError::PidReused | ReadError::InvalidPid)
                if self.about.is_waited_for =>
            {
                self.about.exit_detected = true;
                Attach::Exited(ProcessExit::Unknown)
            }
            Attach::Rejected(error) => Attach::Rejected(error),
            Attach::Failed(error) => {
                self.about.read_error = Some(error);
                Attach::Failed(error)
            }
        }
    }

    fn call_attach<Pr: Probe<Process = P>>(&self, probe: &mut Pr) -> Attach<FoundProcess<P>> {
        let RunDetails { pid, reported_at, token, .. } = &*self.about;
        probe.attach(*pid, *reported_at, *token)
    }

    /// Starts with a reading of the child that the host's thread has taken. The crate waits for
    /// the child.
    pub(crate) fn start_with_child(&mut self, first: Option<&Reading>) {
        self.about.is_waited_for = true;
        self.span = first.and_then(ReadingSpan::starting_with);
        let is_new = |span: &ReadingSpan| span.first_cpu() == CpuTime::default();
        self.about.counts_from_start = self.span.as_ref().is_some_and(is_new);
    }

    /// Whether all children of the process count, and none were counted.
    pub(crate) fn has_uncounted_children(&self) -> bool {
        self.about.counts_from_start && !self.about.is_followed
    }

    /// Adds the last reading of the child, taken by the host's thread before it was reaped.
    pub(crate) fn push_last(&mut self, last: &Reading) {
        match &mut self.span {
            Some(span) => {
                let more = span.push_last(last);
                self.add_cpu_time(more);
            }
            None => self.span = ReadingSpan::starting_with(last),
        }
    }

    /// Whether the exit of its process was detected.
    pub(crate) const fn has_exited(&self) -> bool {
        self.about.exit_detected
    }

    /// The readings of a run whose exit was detected before the host's report of it, which may
    /// contain a later reading.
    pub(crate) fn span_before_report(&self) -> Option<ReadingSpan> {
        self.span.filter(|_| self.about.is_waited_for && self.about.exit_detected)
    }

    #[inline]
    fn push(&mut self, reading: &Reading) {
        let size =
            |bytes: Option<ResidentBytes>| bytes.map_or(0, |ResidentBytes(bytes)| bytes.get());
        self.peak_memory = self.peak_memory.max(size(reading.resident)).max(size(reading.peak));
        match &mut self.span {
            Some(span) => {
                if reading.cpu_time.is_some_and(|cpu| cpu < span.last_cpu())
                    && is_rounded_down(span, reading, self.min_nanos)
                    && self.about.is_waited_for
                {
                    return self.push_last(reading);
                }
                if let Some(more) = span.push(reading) {
                    self.add_cpu_time(more);
                }
            }
            None => self.span = ReadingSpan::starting_with(reading),
        }
    }

    #[inline]
    fn add_cpu_time(&mut self, CpuTime(more): CpuTime) {
        let CpuTime(used) = self.cpu_used.unwrap_or_default();
        self.cpu_used = Some(CpuTime(used.saturating_add(more)));
    }

    /// Identifies its process after the process was released.
    pub(crate) fn identity<Pr: Probe<Process = P>>(&self, probe: &Pr) -> Option<Identity> {
        self.process.as_ref().and_then(|process| probe.identity(process))
    }

    /// Reads the process between ticks, because its run is about to end, and checks if it lives.
    pub(crate) fn check<Pr: Probe<Process = P>>(&mut self, probe: &mut Pr) -> Checked {
        let unread = |liveness| Checked { liveness, root: RootReading::Failed };
        if self.about.exit_detected {
            return unread(Liveness::AlreadyExited);
        }
        let Some(process) = &mut self.process else {
            return unread(match catch_probe_panic(|| self.attach_late(probe)) {
                Ok(Err(ReadFailure::Exited(exit, _))) => {
                    self.about.exit_detected = true;
                    Liveness::Exited(exit)
                }
                Ok(Ok(_) | Err(ReadFailure::Failed(_))) | Err(_) => Liveness::Alive,
            });
        };
        match catch_probe_panic(|| probe.read_between_ticks(process)) {
            Ok(Ok(Some(reading))) => {
                self.push(&reading);
                let root = RootReading::Alive { cpu_time: self.counted_cpu() };
                Checked { liveness: Liveness::Alive, root }
            }
            Ok(Err(ReadFailure::Exited(exit, last))) => {
                let root = self.push_exited(last);
                self.check_oom_kill(exit, probe);
                Checked { liveness: Liveness::Exited(exit), root }
            }
            // A failed read does not prove that it has exited.
            Ok(Ok(None) | Err(ReadFailure::Failed(_))) | Err(_) => unread(Liveness::Alive),
        }
    }

    /// Its exit is detected, with the last reading of a process that was not reaped.
    fn push_exited(&mut self, last: Option<Box<Reading>>) -> RootReading {
        self.about.exit_detected = true;
        let Some(last) = last else { return RootReading::Reaped };
        self.push(&last);
        RootReading::Zombie { cpu_time: self.counted_cpu() }
    }

    /// The CPU time of its process up to which the run counts it.
    pub(crate) fn counted_cpu(&self) -> Option<CpuTime> {
        self.span.as_ref().map(ReadingSpan::last_cpu)
    }

    /// CPU time of its process up to `from` is counted elsewhere.
    pub(crate) fn count_from(&mut self, from: CpuTime) {
        if let Some(span) = &mut self.span {
            let before = span.busy();
            span.count_from(from);
            // Earlier samples of the run keep what they have counted.
            let moved = before.0.saturating_sub(span.busy().0);
            self.cpu_used = self.cpu_used.map(|CpuTime(used)| CpuTime(used.saturating_sub(moved)));
        }
    }

    /// The root of the run's tree, once its process is attached.
    pub(crate) fn new_root(&self) -> Option<NewRoot> {
        let is_new = |span: &ReadingSpan| span.first_cpu() == CpuTime::default();
        self.process.as_ref().map(|_| NewRoot {
            pid: self.about.pid,
            cpu_time: self.counted_cpu(),
            // The host's thread has spawned it: before its first reading it has done nothing.
            counts_from_start: self.about.is_waited_for && self.span.as_ref().is_some_and(is_new),
        })
    }

    /// Reads the process without counting, for its tree.
    pub(crate) fn read_root<Pr: Probe<Process = P>>(&mut self, probe: &mut Pr) -> RootReading {
        let Some(process) = &mut self.process else { return RootReading::Failed };
        match catch_probe_panic(|| probe.read_between_ticks(process)) {
            Ok(Ok(Some(Reading { cpu_time, .. }))) => RootReading::Alive { cpu_time },
            Ok(Err(ReadFailure::Exited(_, Some(last)))) => {
                RootReading::Zombie { cpu_time: last.cpu_time }
            }
            Ok(Err(ReadFailure::Exited(_, None))) => RootReading::Reaped,
            Ok(Ok(None) | Err(ReadFailure::Failed(_))) | Err(_) => RootReading::Failed,
        }
    }

    /// Reads the process in a tick; tries to attach it if that failed before. Panics are caught by
    /// the engine: once a tick, because once a process would double the cost of a tick.
    #[inline]
    pub(crate) fn read<Pr: Probe<Process = P>>(
        &mut self,
        probe: &mut Pr,
    ) -> Result<TickReading, NoReading> {
        if self.about.exit_detected {
            // Its pid may belong to another process by now.
            return Err(NoReading::AlreadyExited);
        }
        let (attached_now, is_first) = (self.process.is_none(), self.span.is_none());
        let read = match &mut self.process {
            Some(process) => probe.read(process),
            None => self.attach_late(probe),
        };
        match read {
            Ok(reading) => {
                self.push(&reading);
                Ok(TickReading { reading, attached_now, is_first })
            }
            Err(ReadFailure::Exited(exit, last)) => {
                let root = self.push_exited(last);
                self.check_oom_kill(exit, probe);
                Err(NoReading::Exited(exit, root))
            }
            Err(ReadFailure::Failed(error)) => Err(NoReading::Failed(error)),
        }
    }

    /// Finds out whether the exit was a kill by the OOM killer, which sends signal 9.
    pub(crate) fn check_oom_kill<Pr: Probe<Process = P>>(&mut self, exit: ProcessExit, probe: &Pr) {
        self.about.oom_killed =
            self.process.as_ref().and_then(|process| oom_kill(exit, process, probe));
    }

    /// Attaches a process that could not be attached at its report.
    fn attach_late<Pr: Probe<Process = P>>(
        &mut self,
        probe: &mut Pr,
    ) -> Result<Reading, ReadFailure> {
        match self.call_attach(probe) {
            Attach::Found(FoundProcess { process, process_start, min_interval, name, reading }) => {
                // It is attached once it can be read: then the run gets its start.
                let reading = reading.map_err(ReadFailure::Failed)?;
                self.process = Some(process);
                self.about.process_start = process_start;
                self.about.name = name.unwrap_or_default();
                self.min_nanos = duration_nanos(min_interval);
                Ok(reading)
            }
            Attach::Exited(exit) => Err(ReadFailure::Exited(exit, None)),
            // The reported process exited before it could be read, and its pid was reused: perhaps as the
            // id of a thread.
            Attach::Rejected(ReadError::PidReused | ReadError::InvalidPid) => {
                Err(ReadFailure::Exited(ProcessExit::Unknown, None))
            }
            Attach::Rejected(error) | Attach::Failed(error) => Err(ReadFailure::Failed(error)),
        }
    }
}

/// Whether CPU time may be lower than that of `span` only because it has a coarser step.
///
/// The host's thread reads a child's own CPU clock, in nanoseconds. The sampler may read user and system
/// time instead, each rounded down to a tenth of `min_nanos`.
#[cold]
fn is_rounded_down(span: &ReadingSpan, reading: &Reading, min_nanos: u64) -> bool {
    let is_near = |CpuTime(cpu)| span.last_cpu().0.saturating_sub(cpu) < min_nanos / 5;
    reading.cpu_time.is_some_and(is_near)
}

/// Whether the exit was a kill by the OOM killer; `None` if the kernel does not report it, and for
/// every other exit.
pub(super) fn oom_kill<Pr: Probe>(
    exit: ProcessExit,
    process: &Pr::Process,
    probe: &Pr,
) -> Option<bool> {
    const KILL: i32 = 9;
    if exit == ProcessExit::Signaled(KILL) { probe.was_oom_killed(process) } else { None }
}

/// A reading of a tick.
#[derive(Debug)]
pub(crate) struct TickReading {
    pub reading: Reading,
    /// The process could not be attached before.
    pub attached_now: bool,
    /// There was none before.
    pub is_first: bool,
}

/// Why a tick has no reading of a process.
#[derive(Debug)]
pub(crate) enum NoReading {
    /// It has exited, and this is the first detection.
    Exited(ProcessExit, RootReading),
    /// It has exited, and that was detected before.
    AlreadyExited,
    Failed(ReadError),
}
