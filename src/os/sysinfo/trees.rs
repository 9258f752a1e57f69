//! Process trees by sysinfo: by the parents of living processes.
//!
//! Every pass lists all processes of the machine. sysinfo reports no CPU time of children that have
//! ended, so what a child has used after its last reading is not counted.

use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System};

use super::{ARE_ZEROS_HIDDEN, has_exited, middle};
use crate::history::units::{CpuTime, ResidentBytes};
use crate::os::clock;
use crate::os::tree::{CommandName, MemberReading, Open, ProcessStat, TreeSource};
use crate::snapshot::read_error::ReadError;
use crate::time::MonoNanos;

/// Reads the descendants of processes, from a list of all processes.
pub(crate) struct SysinfoTrees {
    system: System,
    /// The time of the last list; `None` if it failed.
    listed_at: Option<MonoNanos>,
}

/// A descendant.
#[derive(Debug)]
pub(crate) struct ListedProcess {
    pid: Pid,
    /// In seconds: identifies the process.
    start_time: u64,
}

fn refresh_kind() -> ProcessRefreshKind {
    ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks()
}

fn cpu_time(process: &Process) -> CpuTime {
    std::time::Duration::from_millis(process.accumulated_cpu_time()).into()
}

/// Whether a process keeps the pid of its parent after that has ended, when another process may have it.
const ARE_PARENTS_STALE: bool = cfg!(windows);

/// A parent is not younger than its child. `parent_start` is `None` if no process has its pid.
fn is_parent(parent_start: Option<u64>, child_start: u64) -> bool {
    parent_start.is_some_and(|start| start <= child_start)
}

fn stat(system: &System, process: &Process) -> ProcessStat {
    let parent = process.parent().filter(|&parent| {
        let start = system.process(parent).map(Process::start_time);
        !ARE_PARENTS_STALE || is_parent(start, process.start_time())
    });
    ProcessStat {
        parent: parent.map_or(0, Pid::as_u32),
        group: 0,
        session: 0,
        children_cpu: CpuTime::default(),
        name: CommandName::new(process.name().as_encoded_bytes()),
    }
}

impl SysinfoTrees {
    /// `None` if sysinfo does not run here.
    pub(super) fn new() -> Option<Self> {
        Some(Self { system: System::new().ok()?, listed_at: None })
    }

    /// The process as of the last list. One that is younger is looked up.
    fn find(&mut self, pid: u32) -> Option<(&Process, ProcessStat)> {
        let pid = Pid::from_u32(pid);
        if self.system.process(pid).is_none() {
            let only = ProcessesToUpdate::Some(&[pid]);
            self.system.refresh_processes_specifics(only, false, refresh_kind());
        }
        let process = self.system.process(pid)?;
        Some((process, stat(&self.system, process)))
    }

    fn find_member(&self, member: &ListedProcess) -> Option<&Process> {
        let process = self.system.process(member.pid)?;
        (process.start_time() == member.start_time).then_some(process)
    }
}

impl TreeSource for SysinfoTrees {
    type Member = ListedProcess;

    /// Not reported: so each pass lists all processes.
    fn last_pid(&mut self) -> Option<u32> {
        None
    }

    fn pid_range(&mut self) -> (u32, u32) {
        (1, u32::MAX)
    }

    fn list(&mut self, pids: &mut Vec<u32>) -> Result<(), ReadError> {
        let before = clock::mono();
        self.listed_at = None;
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, refresh_kind());
        let at = middle(before, clock::mono());
        // A list without this process could not be read, which sysinfo does not report.
        if self.system.process(Pid::from_u32(std::process::id())).is_none() {
            return Err(ReadError::UNKNOWN);
        }
        self.listed_at = Some(at);
        pids.extend(self.system.processes().keys().map(|pid| pid.as_u32()));
        Ok(())
    }

    /// They are found in the list of all processes.
    fn children(&mut self, _pid: u32, _pids: &mut Vec<u32>) -> bool {
        false
    }

    fn open(
        &mut self,
        pid: u32,
        is_wanted: &mut dyn FnMut(&ProcessStat) -> bool,
    ) -> Open<ListedProcess> {
        let Some((process, stat)) = self.find(pid) else { return Open::Gone };
        if is_wanted(&stat) {
            let start_time = process.start_time();
            Open::Held(stat, ListedProcess { pid: Pid::from_u32(pid), start_time })
        } else {
            Open::NotWanted(stat)
        }
    }

    fn cpu_clock(&mut self, member: &ListedProcess) -> Option<CpuTime> {
        self.find_member(member).map(cpu_time)
    }

    fn stat(&mut self, member: &ListedProcess) -> Option<ProcessStat> {
        self.find_member(member).map(|process| stat(&self.system, process))
    }

    fn stat_of(&mut self, pid: u32) -> Option<ProcessStat> {
        self.find(pid).map(|(_, stat)| stat)
    }

    fn read(&mut self, member: &ListedProcess) -> MemberReading {
        let Some(at) = self.listed_at else { return MemberReading::Failed };
        let Some(process) = self.find_member(member) else { return MemberReading::Reaped };
        let (cpu_time, resident) = (cpu_time(process), ResidentBytes::new(process.memory()));
        if has_exited(process) {
            MemberReading::Zombie { at, cpu_time }
        } else if ARE_ZEROS_HIDDEN && resident.is_none() {
            MemberReading::Failed
        } else {
            MemberReading::Alive { at, cpu_time, resident }
        }
    }
}

// Miri runs no such system calls.
#[cfg(all(test, unix))]
#[cfg(not(miri))]
mod tests {
    use std::process::{Command, Stdio};

    use plugmeter_test_support::{ChildGuard, wait_for};

    use super::*;
    use crate::engine::process_tree::roots::NewRoot;
    use crate::engine::process_tree::{ProcessTrees, RootReading, TreeId, TreeUsage};

    const ID: TreeId = TreeId(0);

    fn pass(trees: &mut ProcessTrees<ListedProcess>, source: &mut SysinfoTrees) -> TreeUsage {
        trees.begin_pass(source);
        trees.set_root_reading(ID, RootReading::Alive { cpu_time: Some(CpuTime::default()) });
        trees.finish_pass();
        trees.usage(ID).expect("the tree exists")
    }

    #[test]
    fn living_descendants_are_read() {
        let mut command = Command::new("sh");
        // A child of a child, until the input ends.
        command.args(["-c", "sh -c 'cat; true'; read line"]).stdin(Stdio::piped());
        let mut shell = ChildGuard(command.spawn().unwrap());
        let mut source = SysinfoTrees::new().unwrap();
        let mut trees = ProcessTrees::new();
        let root = NewRoot { pid: shell.pid(), cpu_time: None, counts_from_start: false };
        trees.add_root(ID, root, clock::mono(), &mut source);
        let usage = wait_for("both descendants", || {
            Some(pass(&mut trees, &mut source)).filter(|usage| usage.processes == 2)
        });
        assert!(usage.resident.is_some_and(|bytes| bytes > 0) && usage.is_complete);
        let names: Vec<_> =
            trees.processes(ID).map(|process| process.name.text().into_owned()).collect();
        assert!(names.contains(&"cat".to_owned()), "{names:?}");
        drop(shell.0.stdin.take());
        let after = wait_for("their end", || {
            Some(pass(&mut trees, &mut source)).filter(|usage| usage.processes == 0)
        });
        assert!(after.others_cpu >= usage.others_cpu);
    }

    /// The pid of a parent that has ended may be that of a younger process.
    #[test]
    fn parent_is_not_younger_than_its_child() {
        assert!(is_parent(Some(999), 1_000));
        assert!(is_parent(Some(1_000), 1_000), "in the same second");
        assert!(!is_parent(Some(1_001), 1_000));
        assert!(!is_parent(None, 1_000), "no process has the pid");
    }

    #[test]
    fn process_with_another_start_is_not_the_member() {
        let mut source = SysinfoTrees::new().unwrap();
        let pid = std::process::id();
        let mut pids = Vec::new();
        source.list(&mut pids).unwrap();
        assert!(pids.contains(&pid));
        let Open::Held(stat, own) = source.open(pid, &mut |_| true) else {
            panic!("this process exists");
        };
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        assert!(matches!(source.read(&own), MemberReading::Alive { .. }));
        let other = ListedProcess { start_time: own.start_time + 1, ..own };
        assert_eq!(source.read(&other), MemberReading::Reaped);
        assert!(matches!(source.open(u32::MAX >> 1, &mut |_| true), Open::Gone));
    }
}
