//! A scripted probe for tests of the engine and of the sampler.

use std::collections::HashMap;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_utils::sync::{Parker, Unparker};

use super::reading::Reading;
use super::tree::{CommandName, MemberReading, Open, ProcessStat, TreeSource};
use super::{Attach, ExitWaiter, FoundProcess, Identity, Probe, ReadFailure, clock};
use crate::history::units::{CpuTime, ResidentBytes};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::ProcessExit;
use crate::sync::command::Wake;
use crate::time::{MonoNanos, TimePoint};

/// The resident memory of every scripted process.
pub(crate) const FAKE_RESIDENT_BYTES: u64 = 1_024;

/// A scripted process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FakeProcess {
    pub condition: Condition,
    /// On the boot clock.
    pub process_start: Duration,
    pub cpu: Duration,
    /// Added to `cpu` by each reading.
    pub cpu_per_reading: Duration,
    pub is_suspended: Option<bool>,
    /// The shortest interval that gives a CPU share.
    pub min_interval: Duration,
    /// The kernel's answers after its exit.
    pub late_status: Option<ProcessExit>,
    pub oom_killed: Option<bool>,
    /// 0: its parent is no scripted process.
    pub parent: u32,
    /// CPU time of the children that it has waited for.
    pub children_cpu: Duration,
}

impl Default for FakeProcess {
    /// A process that has exited and was reaped.
    fn default() -> Self {
        Self {
            condition: Condition::Gone,
            process_start: Duration::from_secs(10),
            cpu: Duration::ZERO,
            cpu_per_reading: Duration::ZERO,
            is_suspended: None,
            min_interval: Duration::from_millis(1),
            late_status: None,
            oom_killed: None,
            parent: 0,
            children_cpu: Duration::ZERO,
        }
    }
}

/// The condition of a scripted process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Alive,
    /// It has exited and was not reaped: its last reading and its status are available.
    Zombie(ProcessExit),
    /// It was reaped: nothing is available.
    Gone,
    Denied,
    /// The pid belongs to a process that started after the report.
    Reused,
    /// The pid is the id of a thread.
    Thread,
    /// It can be attached, but not read.
    Unreadable,
    /// The probe panics.
    Panics,
}

/// A call of the sampler into its probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Attach(u32),
    BeginTick,
    Read(u32),
    ReadBetweenTicks(u32),
    LateStatus(u32),
    LastPid,
    StatOf(u32),
    DrainExits,
    Wait,
}

type Hook = Box<dyn FnMut(Call) + Send>;

#[derive(Default)]
struct Script {
    /// `None`: the time of the real clocks.
    now: Option<TimePoint>,
    processes: HashMap<u32, FakeProcess>,
    tokens: HashMap<u32, u64>,
    /// The pids of the last `begin_tick`.
    tick_pids: Vec<u32>,
    exited: Vec<u64>,
    hook: Option<Hook>,
    panics_in: Option<Call>,
    is_waiting: bool,
    last_pid: u32,
    /// Shared by the attached processes.
    attached: Arc<()>,
}

impl Script {
    fn process(&mut self, pid: u32) -> &mut FakeProcess {
        self.processes.entry(pid).or_default()
    }

    fn read(&mut self, pid: u32) -> Result<Reading, ReadFailure> {
        let at = self.now.map_or_else(clock::mono, |now| now.mono);
        let process = self.process(pid);
        if let Condition::Alive = process.condition {
            process.cpu += process.cpu_per_reading;
        }
        let FakeProcess { condition, cpu, is_suspended, .. } = *process;
        let resident = ResidentBytes::new(FAKE_RESIDENT_BYTES);
        let reading = Reading { is_suspended, ..Reading::new(at, cpu.into(), resident) };
        match condition {
            Condition::Alive => Ok(reading),
            Condition::Zombie(exit) => Err(ReadFailure::Exited(exit, Some(Box::new(reading)))),
            Condition::Gone => Err(ReadFailure::Exited(ProcessExit::Unknown, None)),
            Condition::Denied => Err(ReadFailure::Failed(ReadError::PermissionDenied)),
            Condition::Reused => Err(ReadFailure::Failed(ReadError::PidReused)),
            Condition::Thread => Err(ReadFailure::Failed(ReadError::InvalidPid)),
            Condition::Unreadable => Err(ReadFailure::Failed(ReadError::UNKNOWN)),
            Condition::Panics => panic_quietly(),
        }
    }
}

/// Panics without the hook, which would print a line for each.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("expected by the test"))
}

/// The processes of a [`FakeProbe`]. Clones share them, so that a test can change them while the
/// sampler reads.
#[derive(Clone, Default)]
pub(crate) struct FakeProcesses(Arc<Mutex<Script>>);

impl FakeProcesses {
    fn with<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        // A scripted panic leaves the script consistent.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on readings are taken at this time.
    pub(crate) fn set_now(&self, now: TimePoint) {
        self.with(|script| script.now = Some(now));
    }

    pub(crate) fn insert(&self, pid: u32, process: FakeProcess) {
        self.with(|script| script.processes.insert(pid, process));
    }

    /// A process that started at second 10 and has used `cpu`.
    pub(crate) fn set_alive(&self, pid: u32, cpu: Duration) {
        self.with(|script| {
            let process = script.process(pid);
            (process.condition, process.cpu) = (Condition::Alive, cpu);
        });
    }

    /// The process has exited and was not reaped; it has used `cpu`.
    pub(crate) fn set_zombie(&self, pid: u32, cpu: Duration, exit: ProcessExit) {
        self.with(|script| {
            let process = script.process(pid);
            (process.condition, process.cpu) = (Condition::Zombie(exit), cpu);
        });
    }

    /// A process was born since the last reading, as a child of `parent`.
    pub(crate) fn spawn(&self, parent: u32, pid: u32) {
        let process = FakeProcess { condition: Condition::Alive, parent, ..FakeProcess::default() };
        self.insert(pid, process);
        self.with(|script| script.last_pid = script.last_pid.max(pid));
    }

    /// The parent waits for a child that has exited.
    pub(crate) fn reap(&self, pid: u32) {
        self.with(|script| {
            let FakeProcess { parent, cpu, children_cpu, .. } = *script.process(pid);
            script.process(pid).condition = Condition::Gone;
            script.process(parent).children_cpu += cpu + children_cpu;
        });
    }

    pub(crate) fn set_condition(&self, pid: u32, condition: Condition) {
        self.update(pid, |process| process.condition = condition);
    }

    pub(crate) fn update(&self, pid: u32, change: impl FnOnce(&mut FakeProcess)) {
        self.with(|script| change(script.process(pid)));
    }

    /// From now on the kernel reports this status of the process, which was reaped; or never one.
    pub(crate) fn set_late_status(&self, pid: u32, exit: ProcessExit) {
        self.update(pid, |process| process.late_status = Some(exit));
    }

    /// The number of attached processes that were not released.
    pub(crate) fn attached_count(&self) -> usize {
        self.with(|script| Arc::strong_count(&script.attached)) - 1
    }

    /// The exit waiter reports this token.
    pub(crate) fn notify_exit(&self, token: u64) {
        self.with(|script| script.exited.push(token));
    }

    /// The token of the last attach of `pid`.
    pub(crate) fn token(&self, pid: u32) -> u64 {
        self.with(|script| script.tokens[&pid])
    }

    /// The pids of the last tick's processes.
    pub(crate) fn tick_pids(&self) -> Vec<u32> {
        self.with(|script| script.tick_pids.clone())
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.with(|script| script.is_waiting)
    }

    /// Calls `hook` at the beginning of each call of the sampler into the probe, on its thread.
    pub(crate) fn on_call(&self, hook: impl FnMut(Call) + Send + 'static) {
        self.with(|script| script.hook = Some(Box::new(hook)));
    }

    /// Calls `act` once, at the beginning of the first call that equals `call`.
    pub(crate) fn once_in(&self, call: Call, act: impl FnOnce() + Send + 'static) {
        let mut act = Some(act);
        self.on_call(move |made| {
            if made == call
                && let Some(act) = act.take()
            {
                act();
            }
        });
    }

    /// From now on this call panics; `None`: no call does.
    pub(crate) fn set_panics_in(&self, call: Option<Call>) {
        self.with(|script| script.panics_in = call);
    }

    /// Runs the hook without the lock, so that it can use this handle.
    fn enter(&self, call: Call) {
        let (hook, panics) =
            self.with(|script| (script.hook.take(), script.panics_in == Some(call)));
        if let Some(mut hook) = hook {
            hook(call);
            self.with(|script| _ = script.hook.get_or_insert(hook));
        }
        if panics {
            panic_quietly();
        }
    }
}

impl fmt::Debug for FakeProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|script| f.debug_tuple("FakeProcesses").field(&script.processes).finish())
    }
}

/// A probe that reads scripted processes.
pub(crate) struct FakeProbe {
    trees: FakeTrees,
    processes: FakeProcesses,
    parker: Parker,
}

/// Reads the descendants of scripted processes.
#[derive(Debug)]
pub(crate) struct FakeTrees(FakeProcesses);

/// A descendant.
#[derive(Debug)]
pub(crate) struct FakeMember(u32);

impl FakeTrees {
    fn condition(&self, pid: u32) -> Condition {
        self.0.with(|script| script.process(pid).condition)
    }
}

impl TreeSource for FakeTrees {
    type Member = FakeMember;

    fn last_pid(&mut self) -> Option<u32> {
        self.0.enter(Call::LastPid);
        Some(self.0.with(|script| script.last_pid))
    }

    fn pid_range(&mut self) -> (u32, u32) {
        (1, u32::MAX >> 1)
    }

    fn list(&mut self, pids: &mut Vec<u32>) -> Result<(), ReadError> {
        self.0.with(|script| pids.extend(script.processes.keys()));
        Ok(())
    }

    fn children(&mut self, pid: u32, pids: &mut Vec<u32>) -> bool {
        self.0.with(|script| {
            let is_child = |process: &FakeProcess| process.parent == pid;
            let children = script.processes.iter().filter(|(_, process)| is_child(process));
            pids.extend(children.map(|(pid, _)| pid));
        });
        true
    }

    fn open(
        &mut self,
        pid: u32,
        is_wanted: &mut dyn FnMut(&ProcessStat) -> bool,
    ) -> Open<FakeMember> {
        match self.condition(pid) {
            Condition::Alive | Condition::Zombie(_) => {}
            Condition::Gone => return Open::Gone,
            _ => return Open::Unreadable,
        }
        match self.stat_of(pid) {
            Some(stat) if is_wanted(&stat) => Open::Held(stat, FakeMember(pid)),
            Some(stat) => Open::NotWanted(stat),
            None => Open::Gone,
        }
    }

    fn cpu_clock(&mut self, member: &FakeMember) -> Option<CpuTime> {
        Some(self.0.with(|script| script.process(member.0).cpu).into())
    }

    fn stat(&mut self, member: &FakeMember) -> Option<ProcessStat> {
        self.stat_of(member.0)
    }

    fn stat_of(&mut self, pid: u32) -> Option<ProcessStat> {
        self.0.enter(Call::StatOf(pid));
        let FakeProcess { condition, parent, children_cpu, .. } =
            self.0.with(|script| *script.process(pid));
        matches!(condition, Condition::Alive | Condition::Zombie(_)).then(|| ProcessStat {
            parent,
            group: 0,
            session: 0,
            children_cpu: children_cpu.into(),
            name: CommandName::new(b"fake"),
        })
    }

    fn read(&mut self, member: &FakeMember) -> MemberReading {
        match self.0.with(|script| script.read(member.0)) {
            Ok(Reading { at, cpu_time: Some(cpu_time), resident, .. }) => {
                MemberReading::Alive { at, cpu_time, resident }
            }
            Err(ReadFailure::Exited(_, Some(last))) => {
                let cpu_time = last.cpu_time.unwrap_or_default();
                MemberReading::Zombie { at: last.at, cpu_time }
            }
            Err(ReadFailure::Exited(_, None)) => MemberReading::Reaped,
            Ok(_) | Err(ReadFailure::Failed(_)) => MemberReading::Failed,
        }
    }
}

/// An attached process.
#[derive(Debug)]
pub(crate) struct AttachedProcess {
    pid: u32,
    process_start: Duration,
    /// Counted by [`FakeProcesses::attached_count`].
    _attached: Arc<()>,
}

impl FakeProbe {
    pub(crate) fn new() -> (Self, FakeProcesses, Wake) {
        let processes = FakeProcesses::default();
        let parker = Parker::new();
        let unparker: Unparker = parker.unparker().clone();
        let trees = FakeTrees(processes.clone());
        let probe = Self { trees, processes: processes.clone(), parker };
        (probe, processes, Box::new(move || unparker.unpark()))
    }
}

impl fmt::Debug for FakeProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FakeProbe").field(&self.processes).finish()
    }
}

impl Probe for FakeProbe {
    type Process = AttachedProcess;
    type Member = FakeMember;
    type Trees = FakeTrees;

    fn trees(&mut self) -> Option<&mut FakeTrees> {
        Some(&mut self.trees)
    }

    fn attach(
        &mut self,
        pid: u32,
        _reported_at: Option<Duration>,
        token: u64,
    ) -> Attach<FoundProcess<AttachedProcess>> {
        self.processes.enter(Call::Attach(pid));
        self.processes.with(|script| {
            script.tokens.insert(pid, token);
            let FakeProcess { process_start, min_interval, .. } = *script.process(pid);
            let read = script.read(pid);
            let found = |reading| {
                let _attached = Arc::clone(&script.attached);
                Attach::Found(FoundProcess {
                    process: AttachedProcess { pid, process_start, _attached },
                    process_start: Some(process_start),
                    min_interval,
                    name: None,
                    reading,
                })
            };
            match read {
                Ok(reading) => found(Ok(reading)),
                Err(ReadFailure::Exited(exit, _)) => Attach::Exited(exit),
                Err(ReadFailure::Failed(error @ ReadError::UNKNOWN)) => found(Err(error)),
                Err(ReadFailure::Failed(
                    error @ (ReadError::PidReused | ReadError::InvalidPid),
                )) => Attach::Rejected(error),
                Err(ReadFailure::Failed(error)) => Attach::Failed(error),
            }
        })
    }

    fn begin_tick<'p>(&mut self, processes: impl Iterator<Item = &'p AttachedProcess>) {
        self.processes.enter(Call::BeginTick);
        let pids = processes.map(|process| process.pid).collect();
        self.processes.with(|script| script.tick_pids = pids);
    }

    fn read(&mut self, process: &mut AttachedProcess) -> Result<Reading, ReadFailure> {
        self.processes.enter(Call::Read(process.pid));
        self.processes.with(|script| script.read(process.pid))
    }

    fn read_between_ticks(
        &mut self,
        process: &mut AttachedProcess,
    ) -> Result<Option<Reading>, ReadFailure> {
        self.processes.enter(Call::ReadBetweenTicks(process.pid));
        self.processes.with(|script| script.read(process.pid)).map(Some)
    }

    fn late_status(&mut self, process: &AttachedProcess) -> Option<ProcessExit> {
        self.processes.enter(Call::LateStatus(process.pid));
        self.processes.with(|script| script.process(process.pid).late_status)
    }

    fn was_oom_killed(&self, process: &AttachedProcess) -> Option<bool> {
        self.processes.with(|script| script.process(process.pid).oom_killed)
    }

    fn identity(&self, process: &AttachedProcess) -> Option<Identity> {
        Some(Identity { pid: process.pid, process_start: process.process_start })
    }
}

impl ExitWaiter for FakeProbe {
    fn wait(&mut self, until: Option<MonoNanos>) {
        self.processes.enter(Call::Wait);
        self.processes.with(|script| script.is_waiting = true);
        match until {
            Some(until) => self.parker.park_timeout(until.since(clock::mono())),
            None => self.parker.park(),
        }
        self.processes.with(|script| script.is_waiting = false);
    }

    fn drain_exits(&mut self, each: impl FnMut(u64)) {
        // As with epoll: draining exits consumes the wake-ups too.
        self.parker.park_timeout(Duration::ZERO);
        self.processes.enter(Call::DrainExits);
        let exited = self.processes.with(|script| std::mem::take(&mut script.exited));
        exited.into_iter().for_each(each);
    }
}
