//! What process trees need from the operating system: pids, parents, and readings of descendants.

pub(crate) use crate::history::command_name::CommandName;
use crate::history::units::{CpuTime, ResidentBytes};
use crate::snapshot::read_error::ReadError;
use crate::time::MonoNanos;

/// Reads the descendants of registered processes: the operating system, or a made-up kernel in
/// tests.
///
/// Anything may happen to any process between two calls.
pub(crate) trait TreeSource {
    /// The state kept for a member, such as an open file.
    type Member;

    /// The pid that was assigned last, in the PID namespace of this process. `None` if the
    /// operating system does not report it: then each pass lists all processes.
    fn last_pid(&mut self) -> Option<u32>;

    /// The first and the last pid of a lap: after the last one, numbers begin again with the first.
    fn pid_range(&mut self) -> (u32, u32);

    /// Appends the pids of all processes. An error if they cannot be listed.
    fn list(&mut self, pids: &mut Vec<u32>) -> Result<(), ReadError>;

    /// Appends the children of all threads of a process. `false` if they cannot be listed.
    fn children(&mut self, pid: u32, pids: &mut Vec<u32>) -> bool;

    /// Finds a process, and holds it if `is_wanted`. Everything in the result belongs to the same
    /// process.
    fn open(
        &mut self,
        pid: u32,
        is_wanted: &mut dyn FnMut(&ProcessStat) -> bool,
    ) -> Open<Self::Member>;

    /// Reads the CPU clock alone. Addressed by pid: it may belong to a later process.
    fn cpu_clock(&mut self, member: &Self::Member) -> Option<CpuTime>;

    /// Reads `stat`. Addressed by pid: it counts only if a later [`read`](Self::read) proves that
    /// the member was not reaped.
    fn stat(&mut self, member: &Self::Member) -> Option<ProcessStat>;

    /// The same for a process that is not held here: the root of a tree.
    fn stat_of(&mut self, pid: u32) -> Option<ProcessStat>;

    /// Reads the CPU clock first, then the proof that the pid still belonged to the member.
    fn read(&mut self, member: &Self::Member) -> MemberReading;
}

/// The source of a probe that does not read descendants: that of a simulation.
#[cfg(feature = "testing")]
#[derive(Debug)]
pub(crate) enum NoTrees {}

#[cfg(feature = "testing")]
impl TreeSource for NoTrees {
    type Member = Self;

    fn last_pid(&mut self) -> Option<u32> {
        match *self {}
    }

    fn pid_range(&mut self) -> (u32, u32) {
        match *self {}
    }

    fn list(&mut self, _pids: &mut Vec<u32>) -> Result<(), ReadError> {
        match *self {}
    }

    fn children(&mut self, _pid: u32, _pids: &mut Vec<u32>) -> bool {
        match *self {}
    }

    fn open(&mut self, _pid: u32, _is_wanted: &mut dyn FnMut(&ProcessStat) -> bool) -> Open<Self> {
        match *self {}
    }

    fn cpu_clock(&mut self, _member: &Self) -> Option<CpuTime> {
        match *self {}
    }

    fn stat(&mut self, _member: &Self) -> Option<ProcessStat> {
        match *self {}
    }

    fn stat_of(&mut self, _pid: u32) -> Option<ProcessStat> {
        match *self {}
    }

    fn read(&mut self, _member: &Self) -> MemberReading {
        match *self {}
    }
}

/// The fields of `/proc/PID/stat` that process trees need (proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    /// `cutime` + `cstime`: the CPU time of all children that it has waited for, with their own
    /// waited-for children. Two numbers of whole clock ticks, so less than two ticks are missing.
    pub children_cpu: CpuTime,
    pub name: CommandName,
}

/// The result of finding a process.
#[derive(Debug)]
pub(crate) enum Open<M> {
    /// It exists and is wanted.
    Held(ProcessStat, M),
    /// It exists and is not wanted.
    NotWanted(ProcessStat),
    /// No process has this pid.
    Gone,
    /// A thread, or a process that cannot be read.
    Unreadable,
}

/// A reading of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberReading {
    Alive {
        at: MonoNanos,
        cpu_time: CpuTime,
        resident: Option<ResidentBytes>,
    },
    /// Nobody has waited for it yet: its final CPU time.
    Zombie {
        at: MonoNanos,
        cpu_time: CpuTime,
    },
    /// Its parent has waited for it, or is doing so.
    Reaped,
    Failed,
}
