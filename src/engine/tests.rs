//! Tests of the roster with a scripted probe: what a simulation cannot be told, because there a
//! process is always found, and is only looked at in ticks. And of its thread: see `thread`.

mod books;
mod found;
mod order;
mod threads;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::roster::Engine;
use crate::engine::cpu_meter::{MonoNanos, Reading, ResidentBytes};
use crate::os::{Attach, Found, Identity, Probe, ReadFailure};
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::{ProcessExit, RunEnd, RunId};
use crate::snapshot::state::PluginState;
use crate::snapshot::{CollectorInfo, Snapshot, SnapshotInner};
use crate::sync::command::{Change, PluginId, PluginUpdate, ProcessStart};
use crate::sync::counter::EventCounter;
use crate::sync::publish::Publisher;
use crate::time::TimePoint;

/// What a number is to be.
#[derive(Clone, Copy)]
enum Is {
    /// A process that began so long ago and has used so much.
    Alive {
        began: Duration,
        cpu: Duration,
    },
    /// One that has just ended; its last reading can be had.
    Zombie {
        cpu: Duration,
        outcome: ProcessExit,
    },
    Gone,
    Denied,
    NotThatProcess,
    /// It is found, and says nothing.
    Mute,
}

#[derive(Default)]
struct Script {
    now: Option<TimePoint>,
    /// The processes that were to be read in the last tick.
    prepared: Vec<u32>,
    /// What the waiter was told to name each process by.
    tokens: HashMap<u32, u64>,
    processes: HashMap<u32, Is>,
}

struct Process {
    pid: u32,
    began: Duration,
}

impl Script {
    fn look(&self, pid: u32) -> Result<(Duration, Reading), ReadFailure> {
        let TimePoint { boot, .. } = self.now.expect("time has begun");
        let at = MonoNanos(boot.as_nanos() as u64);
        let reading = |cpu: Duration| Reading {
            at,
            cpu_time: cpu.into(),
            resident: ResidentBytes::known(1_024),
        };
        match self.processes.get(&pid).copied().unwrap_or(Is::Gone) {
            Is::Alive { began, cpu } => Ok((began, reading(cpu))),
            Is::Zombie { cpu, outcome } => {
                Err(ReadFailure::Ended(outcome, Some(Box::new(reading(cpu)))))
            }
            Is::Gone => Err(ReadFailure::Ended(ProcessExit::Unknown, None)),
            Is::Denied => Err(ReadFailure::Failed(ReadError::PermissionDenied)),
            Is::NotThatProcess => Err(ReadFailure::Failed(ReadError::PidReused)),
            Is::Mute => Err(ReadFailure::Failed(ReadError::UNREAD)),
        }
    }
}

impl Probe for Script {
    type Process = Process;

    fn min_interval(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn open(
        &mut self,
        pid: u32,
        _called: Option<&TimePoint>,
        token: u64,
    ) -> Attach<Found<Process>> {
        self.tokens.insert(pid, token);
        match self.look(pid) {
            Ok((began, reading)) => Attach::Found(Found {
                process: Process { pid, began },
                began: Some(began),
                reading: Ok(reading),
            }),
            Err(ReadFailure::Ended(outcome, _)) => Attach::Gone(outcome),
            Err(ReadFailure::Failed(problem @ ReadError::UNREAD)) => Attach::Found(Found {
                process: Process { pid, began: SECOND },
                began: Some(SECOND),
                reading: Err(problem),
            }),
            Err(ReadFailure::Failed(ReadError::PidReused)) => Attach::Refused(ReadError::PidReused),
            Err(ReadFailure::Failed(problem)) => Attach::Failed(problem),
        }
    }

    fn prepare<'p>(&mut self, processes: impl Iterator<Item = &'p Process>) {
        self.prepared = processes.map(|process| process.pid).collect();
    }

    fn read(&mut self, process: &mut Process) -> Result<Reading, ReadFailure> {
        self.look(process.pid).map(|(_, reading)| reading)
    }

    fn check(&mut self, process: &mut Process) -> Result<Option<Reading>, ReadFailure> {
        self.read(process).map(Some)
    }

    fn identity(&self, process: &Process) -> Option<Identity> {
        Some(Identity { pid: process.pid, began: process.began })
    }
}

const SECOND: Duration = Duration::from_secs(1);
const PLUGIN: PluginId = PluginId(1);

/// One plugin, and a world of processes.
struct Stage {
    roster: Engine<Process>,
    script: Script,
    publisher: Publisher,
    events: EventCounter,
    now: TimePoint,
    runs: u64,
}

impl Stage {
    fn new() -> Self {
        Self::keeping(100)
    }

    fn keeping(samples: u32) -> Self {
        let now = TimePoint {
            mono: Instant::now(),
            wall: SystemTime::UNIX_EPOCH,
            boot: Duration::from_secs(1_000),
        };
        let origin = CollectorInfo {
            started: now,
            poll_interval: SECOND,
            history_duration: SECOND * samples,
        };
        let events = EventCounter::new();
        let mut stage = Self {
            roster: Engine::new(origin, samples as usize),
            script: Script::default(),
            publisher: Publisher::new(SnapshotInner::before_first_tick(origin, false)),
            events: events.clone(),
            now,
            runs: 0,
        };
        stage.apply(Change::Register { id: PLUGIN, name: Arc::from("dice"), events });
        stage
    }

    fn apply(&mut self, change: Change) {
        self.script.now = Some(self.now);
        self.roster.apply(change, self.now, &mut self.script);
    }

    fn say(&mut self, word: PluginUpdate) {
        self.apply(Change::Plugin(PLUGIN, word));
    }

    fn started(&mut self, pid: u32) -> RunId {
        self.runs += 1;
        let run = RunId(self.runs);
        self.say(PluginUpdate::Started(ProcessStart {
            run,
            pid,
            version: None,
            reported_at: Some(self.now),
        }));
        run
    }

    fn pid_is(&mut self, pid: u32, is: Is) {
        self.script.processes.insert(pid, is);
    }

    fn alive(&mut self, pid: u32, cpu_ms: u64) {
        let (began, cpu) = (Duration::from_secs(10), Duration::from_millis(cpu_ms));
        self.pid_is(pid, Is::Alive { began, cpu });
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    fn tick(&mut self) -> Snapshot {
        self.pass(SECOND);
        self.roster.process_exits(usize::MAX);
        self.roster.settle(Some(self.now.mono));
        self.read_all();
        self.roster.process_exits(usize::MAX);
        self.publish()
    }

    fn read_all(&mut self) {
        self.script.now = Some(self.now);
        self.roster.tick(self.now, &mut self.script);
    }

    fn publish(&mut self) -> Snapshot {
        self.roster.publish(&self.now, false, &mut self.publisher);
        self.publisher.reader().snapshot()
    }
}

fn cpu(snapshot: &Snapshot) -> Option<f64> {
    snapshot.plugin("dice").unwrap().current().unwrap().cpu_percent
}

#[test]
fn two_runs_in_one_interval_share_its_cpu_value() {
    let mut stage = Stage::new();
    stage.alive(1, 5_000);
    stage.started(1);
    stage.tick();
    stage.alive(1, 5_200);
    stage.pass(Duration::from_millis(400));
    stage.alive(2, 0);
    stage.started(2); // the last reading of 1: 200 ms more
    stage.alive(2, 300);
    let snapshot = stage.tick();
    // 200 ms and 300 ms, over the 1.4 s from the first of these readings to the last.
    assert_eq!(cpu(&snapshot), Some(35.714));
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.cpu_time(), Duration::from_millis(500));
    let used: Vec<_> = view.runs().map(|run| run.cpu_time).collect();
    assert_eq!(used, [Some(Duration::from_millis(200)), None], "what it used before is not its");
}

#[test]
fn a_plugin_without_a_process_is_shown_without_the_cpu_time_that_its_last_one_left() {
    let mut stage = Stage::new();
    stage.alive(1, 0);
    stage.started(1);
    stage.tick();
    stage.pid_is(1, Is::Zombie { cpu: SECOND / 2, outcome: ProcessExit::Exited(3) });
    stage.tick();
    let snapshot = stage.tick();
    assert_eq!(cpu(&snapshot), Some(50.0), "the sample has it");
    let shown = serde_json::to_value(snapshot.plugin("dice").unwrap()).unwrap();
    for key in ["cpu_percent", "memory_mb", "uptime_seconds", "pid"] {
        assert!(shown[key].is_null(), "{key}: {shown}");
    }
}

#[test]
fn the_last_cpu_time_of_a_process_lands_in_its_run_and_in_the_next_sample() {
    let mut stage = Stage::new();
    stage.alive(1, 0);
    stage.started(1);
    stage.tick();
    stage.pid_is(1, Is::Zombie { cpu: SECOND / 2, outcome: ProcessExit::Exited(3) });
    let snapshot = stage.tick();
    assert_eq!(cpu(&snapshot), None, "an end that the tick finds leaves no values");
    let run = snapshot.plugin("dice").unwrap().runs().next().unwrap();
    assert_eq!((run.end, run.cpu_time), (Some(RunEnd::Exited(3)), Some(SECOND / 2)));
    let snapshot = stage.tick();
    assert_eq!(cpu(&snapshot), Some(50.0), "a sample may have CPU and no process");
    assert_eq!(snapshot.plugin("dice").unwrap().cpu_time(), SECOND / 2);
}

#[test]
fn an_end_that_is_told_when_the_process_is_a_zombie_keeps_its_last_reading() {
    let mut stage = Stage::new();
    stage.alive(1, 0);
    stage.started(1);
    stage.pid_is(1, Is::Zombie { cpu: SECOND, outcome: ProcessExit::Signaled(9) });
    stage.say(PluginUpdate::Stopped);
    let snapshot = stage.tick();
    let view = snapshot.plugin("dice").unwrap();
    let run = view.runs().next().unwrap();
    assert_eq!((run.end, run.cpu_time), (Some(RunEnd::Signaled(9)), Some(SECOND)));
    assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0));
}

#[test]
fn a_tick_names_the_processes_that_it_will_read_before_it_does() {
    let mut stage = Stage::new();
    stage.alive(1, 0);
    stage.started(1);
    stage.tick();
    assert_eq!(stage.script.prepared, [1]);
    stage.say(PluginUpdate::Stopped);
    stage.tick();
    assert!(stage.script.prepared.is_empty());
}

#[test]
fn what_changes_nothing_is_no_news() {
    let mut stage = Stage::new();
    stage.alive(1, 0);
    stage.started(1);
    stage.tick();
    assert!(!stage.roster.is_changed());
    stage.say(PluginUpdate::State(PluginState::Running));
    stage.say(PluginUpdate::Exited(RunId(99), ProcessExit::Exited(3)));
    assert!(!stage.roster.is_changed(), "it runs already, and nobody is the 99th");
    stage.say(PluginUpdate::State(PluginState::Unhealthy));
    assert!(stage.roster.is_changed());
}

#[test]
fn what_the_host_says_after_an_end_was_learnt_of_is_heard_before_it_is_acted_on() {
    for (word, state) in [
        (PluginUpdate::State(PluginState::Stopping), PluginState::Stopped),
        (PluginUpdate::Stopped, PluginState::Stopped),
    ] {
        let mut stage = Stage::new();
        stage.alive(1, 0);
        stage.started(1);
        stage.tick();
        stage.pid_is(1, Is::Zombie { cpu: SECOND, outcome: ProcessExit::Signaled(9) });
        stage.script.now = Some(stage.now);
        stage.roster.on_exit_notification(1, stage.now, &mut stage.script);
        stage.say(word);
        stage.tick();
        stage.pass(SECOND);
        let snapshot = stage.tick();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.state(), view.crash_count()), (state, 0));
    }
}

#[test]
fn the_last_crash_is_the_youngest_one_also_if_the_wall_clock_was_set_back_between_two() {
    let mut stage = Stage::new();
    stage.now.wall += 3_600 * SECOND;
    for pid in 1..=2 {
        stage.alive(pid, 0);
        stage.started(pid);
        stage.say(PluginUpdate::Crashed);
        stage.pass(SECOND);
        stage.now.wall -= 1_800 * SECOND;
    }
    let snapshot = stage.tick();
    let view = snapshot.plugin("dice").unwrap();
    let ended: Vec<_> = view.runs().map(|run| run.ended_at).collect();
    assert!(ended[1] < ended[0], "{ended:?}");
    assert_eq!((view.crash_count(), view.last_crash()), (2, ended[1]));
}

#[test]
fn a_late_word_of_an_end_does_not_touch_the_next_run() {
    let mut stage = Stage::new();
    stage.alive(1, 0);
    stage.alive(2, 0);
    stage.started(1);
    stage.started(2);
    stage.script.now = Some(stage.now);
    // The first run's token, and one of a slot that nobody has.
    stage.roster.on_exit_notification(1, stage.now, &mut stage.script);
    stage.roster.on_exit_notification(7 << 32 | 1, stage.now, &mut stage.script);
    let snapshot = stage.tick();
    assert_eq!(snapshot.plugin("dice").unwrap().pid(), Some(2));
}

#[test]
fn a_read_that_panics_when_a_process_is_named_costs_nobody_the_plugin() {
    struct Panics(Script);

    impl Probe for Panics {
        type Process = Process;

        fn min_interval(&self) -> Duration {
            self.0.min_interval()
        }

        fn open(&mut self, _: u32, _: Option<&TimePoint>, _: u64) -> Attach<Found<Process>> {
            panic!("a probe that panics")
        }

        fn prepare<'p>(&mut self, _: impl Iterator<Item = &'p Process>) {
            panic!("a probe that panics")
        }

        fn read(&mut self, _: &mut Process) -> Result<Reading, ReadFailure> {
            panic!("a probe that panics")
        }

        fn check(&mut self, _: &mut Process) -> Result<Option<Reading>, ReadFailure> {
            panic!("a probe that panics")
        }

        fn identity(&self, _: &Process) -> Option<Identity> {
            None
        }
    }

    let mut stage = Stage::new();
    let mut panics = Panics(Script::default());
    for (i, name) in ["a", "b"].into_iter().enumerate() {
        let id = PluginId(i as u64 + 2);
        let register = Change::Register { id, name: Arc::from(name), events: EventCounter::new() };
        stage.apply(register);
        let named =
            ProcessStart { run: RunId(i as u64 + 9), pid: 5, version: None, reported_at: None };
        let change = Change::Plugin(id, PluginUpdate::Started(named));
        stage.roster.apply(change, stage.now, &mut panics);
    }
    stage.roster.tick(stage.now, &mut panics);
    stage.roster.publish(&stage.now, false, &mut stage.publisher);
    let snapshot = stage.publisher.reader().snapshot();
    for name in ["a", "b"] {
        let view = snapshot.plugin(name).unwrap();
        assert_eq!((view.pid(), view.state()), (Some(5), PluginState::Running));
        assert_eq!(view.read_error(), Some(&ReadError::Io(io::ErrorKind::Other)));
        assert!(view.current().is_some());
    }
    assert_eq!(snapshot.sampler().failed_reads, 2);
}
