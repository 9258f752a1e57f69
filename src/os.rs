//! The operating system: reading processes, clocks, waiting. All platform-specific code is in this
//! module.

pub(crate) mod cgroup;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod exit_status;
#[cfg(test)]
pub(crate) mod fake_probe;
#[cfg(feature = "store")]
pub(crate) mod files;
#[cfg(target_os = "linux")]
pub(crate) mod linux;
pub(crate) mod machine;
mod pid;
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // its tests run everywhere
pub(crate) mod procfs;
pub(crate) mod reading;
pub(crate) mod signals;
#[cfg(feature = "portable")]
pub(crate) mod sysinfo;
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // only the native probe reads process trees
pub(crate) mod tree;

#[cfg(not(any(target_os = "linux", feature = "portable")))]
compile_error!("on this platform plugmeter needs its feature `portable`");

use std::io;
use std::time::Duration;

use self::reading::{Reading, TreeReading};
use self::tree::TreeSource;
use crate::config::ProbeKind;
use crate::history::command_name::CommandName;
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::ProcessExit;
use crate::sync::command::Wake;
use crate::time::MonoNanos;

/// A source of readings: the operating system, or a script in a simulation.
pub(crate) trait Probe {
    /// The state kept for an attached process, such as open files.
    type Process;

    /// The state kept for a descendant of an attached process.
    type Member;

    /// Reads the descendants of attached processes.
    type Trees: TreeSource<Member = Self::Member>;

    /// `None` if descendants cannot be read.
    fn trees(&mut self) -> Option<&mut Self::Trees>;

    /// Attaches the process `pid` and reads it once. A process that started after `reported_at`, on
    /// the boot clock, is another one. The waiter reports the exit of the process by `token`.
    fn attach(
        &mut self,
        pid: u32,
        reported_at: Option<Duration>,
        token: u64,
    ) -> Attach<FoundProcess<Self::Process>>;

    /// Called once a tick, before the processes are read.
    fn begin_tick<'p>(&mut self, processes: impl Iterator<Item = &'p Self::Process>)
    where
        Self::Process: 'p;

    /// Reads a process in a tick.
    fn read(&mut self, process: &mut Self::Process) -> Result<Reading, ReadFailure>;

    /// Whether readings of a process come with readings of its tree.
    const READS_TREES: bool = false;

    /// The process tree as of the last [`read`](Self::read) of its process; `None` without
    /// descendants.
    #[inline]
    fn tree(&self, process: &Self::Process) -> Option<TreeReading> {
        let _: &Self::Process = process;
        None
    }

    /// Reads a process between ticks, because its run is about to end. `Ok(None)` if it lives and
    /// there is no source for a reading.
    fn read_between_ticks(
        &mut self,
        process: &mut Self::Process,
    ) -> Result<Option<Reading>, ReadFailure>;

    /// The status of a process whose exit was detected with an unknown status. `None` if it was not
    /// reaped yet, so that the kernel may still report a status; [`ProcessExit::Unknown`] if it never
    /// will.
    fn late_status(&mut self, process: &Self::Process) -> Option<ProcessExit> {
        let _: &Self::Process = process;
        Some(ProcessExit::Unknown)
    }

    /// Whether the OOM killer has killed the process, which signal 9 has terminated; `None` if the
    /// kernel does not report it.
    fn was_oom_killed(&self, process: &Self::Process) -> Option<bool> {
        let _: &Self::Process = process;
        None
    }

    /// Identifies a process after it was released. `None` if that is not possible.
    fn identity(&self, process: &Self::Process) -> Option<Identity>;
}

/// Pid and start on the boot clock. Not a proof of identity: two processes may share both within
/// one step of the kernel's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub pid: u32,
    pub process_start: Duration,
}

/// The result of attaching a process.
#[derive(Debug)]
pub(crate) enum Attach<T> {
    Found(T),
    /// There is no such process: it has exited.
    Exited(ProcessExit),
    /// It is not the reported process, and never will be.
    Rejected(ReadError),
    /// Unknown for now; a later attempt may succeed.
    Failed(ReadError),
}

/// A process that was attached.
#[derive(Debug)]
pub(crate) struct FoundProcess<P> {
    pub process: P,
    /// When it started, on the boot clock.
    pub process_start: Option<Duration>,
    /// The shortest time between two readings that gives a CPU share: 1 ms, or ten steps of the
    /// clock that CPU time comes from.
    pub min_interval: Duration,
    /// `None` if it was not read.
    pub name: Option<CommandName>,
    pub reading: Result<Reading, ReadError>,
}

/// Why there is no reading.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    /// The process has exited; in some cases its last reading is still available.
    Exited(ProcessExit, Option<Box<Reading>>),
    Failed(ReadError),
}

/// Waits on the sampler's thread. Part of the probe, because on some platforms it can wait for the
/// exits of processes.
pub(crate) trait ExitWaiter {
    /// Returns when woken, when a process has exited, or at `until`; sometimes earlier.
    fn wait(&mut self, until: Option<MonoNanos>);

    /// Calls `each` with the tokens of processes that have exited since the last call.
    fn drain_exits(&mut self, each: impl FnMut(u64));
}

/// Whether this probe is the one of this platform, and not the portable one in its place.
pub(crate) const fn is_native(probe: ProbeKind) -> bool {
    matches!(probe, ProbeKind::Native) && cfg!(target_os = "linux")
}

/// Whether this build has the probe.
pub(crate) const fn is_built(probe: ProbeKind) -> bool {
    match probe {
        ProbeKind::Native => cfg!(target_os = "linux") || cfg!(feature = "portable"),
        ProbeKind::Portable => cfg!(feature = "portable"),
    }
}

/// Code that runs with a probe of any kind.
pub(crate) trait UseProbe {
    type Output;

    fn run<P: Probe + ExitWaiter + Send + 'static>(self, probe: P, wake: Wake) -> Self::Output
    where
        P::Process: Send,
        P::Member: Send;
}

/// Creates the probe of this kind and runs `user` with it. An error if the operating system does
/// not provide what the probe needs.
pub(crate) fn with_probe<U: UseProbe>(kind: ProbeKind, user: U) -> io::Result<U::Output> {
    match kind {
        #[cfg(target_os = "linux")]
        ProbeKind::Native => {
            let (probe, wake) = linux::NativeProbe::new()?;
            Ok(user.run(probe, wake))
        }
        // On a platform without a native probe the portable one is the best.
        #[cfg(feature = "portable")]
        _ => {
            let (probe, wake) = sysinfo::SysinfoProbe::new()?;
            Ok(user.run(probe, wake))
        }
        #[cfg(not(feature = "portable"))]
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Whether the number can be the pid of a process.
pub(crate) const fn is_valid_pid(pid: u32) -> bool {
    pid != 0 && pid <= i32::MAX as u32
}
