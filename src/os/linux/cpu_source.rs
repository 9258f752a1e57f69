//! The CPU time of a process, with the time at which it was read.

use nix::time::ClockId;
use nix::unistd::Pid;

use super::units::Units;
use crate::history::units::CpuTime;
use crate::os::clock;
use crate::time::MonoNanos;

/// Where the CPU time of a process comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum CpuSource {
    /// The process's CPU clock.
    Clock(ClockId),
    /// `/proc/PID/stat`, in clock ticks: where the clocks of other processes are refused, as some
    /// sandboxes do.
    Stat,
}

impl CpuSource {
    /// The CPU source of a living process: its clock, unless that is refused.
    pub(super) fn of_process(pid: u32) -> Self {
        let raw = i32::try_from(pid).map(Pid::from_raw);
        let clock = raw.ok().and_then(|pid| nix::time::clock_getcpuclockid(pid).ok());
        match clock.filter(|clock| clock.now().is_ok()) {
            Some(clock) => Self::Clock(clock),
            None => Self::Stat,
        }
    }

    /// Reads the CPU time; `read_ticks` reads it from `/proc/PID/stat`.
    pub(super) fn read(
        self,
        units: Units,
        read_ticks: impl FnOnce() -> Option<u64>,
    ) -> (MonoNanos, Option<CpuTime>) {
        match self {
            Self::Clock(clock) => cpu_time(clock),
            Self::Stat => {
                let MonoNanos(before) = clock::mono();
                let ticks = read_ticks();
                let MonoNanos(after) = clock::mono();
                let cpu_time = ticks.map(|ticks| CpuTime::from(units.ticks_to_time(ticks)));
                (MonoNanos(before + (after - before) / 2), cpu_time)
            }
        }
    }
}

/// Reads a CPU clock and the time at which it was read.
///
/// If this thread is preempted between the two reads, they do not belong together, and a busy
/// process would seem to have used more CPU time than has passed. Then they are repeated.
pub(in crate::os) fn cpu_time(clock: ClockId) -> (MonoNanos, Option<CpuTime>) {
    /// Ten times the duration of the two system calls.
    const MAX_READ_NANOS: u64 = 5_000;
    const ATTEMPTS: usize = 3;
    let MonoNanos(mut before) = clock::mono();
    for _ in 0..ATTEMPTS {
        let time = clock.now();
        let MonoNanos(after) = clock::mono();
        let elapsed = after - before;
        if elapsed < MAX_READ_NANOS {
            return (MonoNanos(before + elapsed / 2), time.ok().and_then(to_cpu_time));
        }
        before = after;
    }
    (MonoNanos(before), clock.now().ok().and_then(to_cpu_time))
}

fn to_cpu_time(time: nix::sys::time::TimeSpec) -> Option<CpuTime> {
    let (secs, nanos) = (u64::try_from(time.tv_sec()), u64::try_from(time.tv_nsec()));
    Some(CpuTime(secs.ok()?.checked_mul(1_000_000_000)?.checked_add(nanos.ok()?)?))
}
