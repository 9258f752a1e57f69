//! The operating system: reading processes, clocks, waiting. All that is conditional on the
//! platform is in this folder.

pub(crate) mod clock;
pub(crate) mod exit;
#[cfg(target_os = "linux")]
pub(crate) mod linux;
#[cfg(feature = "portable")]
pub(crate) mod portable;
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // its tests run everywhere
pub(crate) mod procfs;

#[cfg(not(any(target_os = "linux", feature = "portable")))]
compile_error!("on this platform plugmeter needs its feature `portable`");

use std::io;
use std::time::{Duration, Instant};

use crate::config::ProbeKind;
use crate::model::problem::ReadError;
use crate::model::reading::Reading;
use crate::model::run::Outcome;
use crate::model::time::Now;

/// Where readings come from: the operating system, or a script in a simulation.
pub(crate) trait Probe {
    /// What is held of a process while it is watched.
    type Process;

    /// The shortest time between two readings that gives a CPU share: 1 ms, or ten steps of the
    /// clock that CPU time comes from.
    fn shortest_interval(&self) -> Duration;

    /// Finds the process `pid` and reads it once. One that began after `called` is another one.
    /// `token` is what the waiter names the process by when it ends.
    fn open(&mut self, pid: u32, called: Option<&Now>, token: u64) -> Opened<Found<Self::Process>>;

    /// Is called once a tick before the processes are read.
    fn prepare<'p>(&mut self, processes: impl Iterator<Item = &'p Self::Process>)
    where
        Self::Process: 'p;

    /// Reads a process in a tick.
    fn read(&mut self, process: &mut Self::Process) -> Result<Reading, Unread>;

    /// Reads a process between ticks, because it is said to end or to be replaced. Without a
    /// reading where it lives but there is nothing to read it from.
    fn check(&mut self, process: &mut Self::Process) -> Result<Option<Reading>, Unread>;

    /// What tells a process from another one that has its number later, as well as can be told
    /// when nothing is held of it any more. `None` where nothing does.
    fn identity(&self, process: &Self::Process) -> Option<Identity>;
}

/// Number and start, on the boot clock. Not proof: two processes may share both within one step of
/// the kernel's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub pid: u32,
    pub began: Duration,
}

/// What became of the attempt to find a process.
#[derive(Debug)]
pub(crate) enum Opened<T> {
    Found(T),
    /// There is none: it has ended.
    Gone(Outcome),
    /// It is not what was named, and will not be.
    Refused(ReadError),
    /// Nothing can be said of it now; another attempt may do better.
    Failed(ReadError),
}

/// A process that was found.
#[derive(Debug)]
pub(crate) struct Found<P> {
    pub process: P,
    /// When it began, on the boot clock.
    pub began: Option<Duration>,
    pub reading: Result<Reading, ReadError>,
}

/// Why there is no reading.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The process has ended; sometimes its last reading can still be had.
    Ended(Outcome, Option<Box<Reading>>),
    Failed(ReadError),
}

/// What the sampler waits with. The probe does it, since on some platforms the end of a process is
/// something to wait for.
pub(crate) trait Wait {
    /// Returns when woken, when a process has ended, or at `until`; sooner at times.
    fn wait(&mut self, until: Option<Instant>);

    /// Hands out the tokens of processes that have ended since the last call.
    fn learn_ends(&mut self, each: impl FnMut(u64));
}

/// What wakes the sampler, from any thread.
pub(crate) type Wake = Box<dyn Fn() + Send + Sync>;

/// Whether this build has the probe.
pub(crate) const fn is_built(probe: ProbeKind) -> bool {
    match probe {
        ProbeKind::Native => cfg!(target_os = "linux") || cfg!(feature = "portable"),
        ProbeKind::Portable => cfg!(feature = "portable"),
    }
}

/// Runs `sampler` with the probe asked for.
pub(crate) trait WithProbe {
    type Output;

    fn run<P: Probe + Wait + Send + 'static>(self, probe: P, wake: Wake) -> Self::Output
    where
        P::Process: Send;
}

/// Makes the probe, and hands it on. An error where the operating system does not give what the
/// probe needs.
pub(crate) fn with_probe<W: WithProbe>(kind: ProbeKind, with: W) -> io::Result<W::Output> {
    match kind {
        #[cfg(target_os = "linux")]
        ProbeKind::Native => {
            let (probe, wake) = linux::NativeProbe::new()?;
            Ok(with.run(probe, wake))
        }
        // Where there is no probe of its own, the portable one is the best there is.
        #[cfg(feature = "portable")]
        _ => {
            let (probe, wake) = portable::SysinfoProbe::new()?;
            Ok(with.run(probe, wake))
        }
        #[cfg(not(feature = "portable"))]
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Whether the number may belong to a process at all.
pub(crate) const fn is_plausible(pid: u32) -> bool {
    pid != 0 && pid <= i32::MAX as u32
}
