//! Tests of the loop: what happens in the middle of a pass, where only the probe is.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use crossbeam_utils::sync::Parker;

use crate::RunEnd;
use crate::config::Config;
use crate::engine::cpu_meter::{Reading, ResidentBytes};
use crate::os::{Attach, ExitWaiter, Found, Identity, Probe, ReadFailure, WithProbe, clock};
use crate::sampler::{Running, Start};
use crate::snapshot::Snapshot;
use crate::snapshot::run::ProcessExit;
use crate::snapshot::state::PluginState;
use crate::sync::command::{Change, Command, CommandSender, PluginId, PluginUpdate, ProcessStart};
use crate::sync::counter::{EventCounter, next_run_id};
use crate::time::TimePoint;

/// What the host does at a moment that only a test can choose.
type Act = Box<dyn Fn(&CommandSender) + Send>;

/// What is to happen to the one process, and when.
#[derive(Default)]
struct Script {
    line: Option<Arc<CommandSender>>,
    token: u64,
    ended: bool,
    waits: bool,
    /// Whenever a process is named.
    at_open: Option<Act>,
    /// Once, when the sampler asks for ends; then the process has ended.
    at_learning: Option<Act>,
    /// Once, when a tick reads the process; then it has ended.
    at_read: Option<Act>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Script>>);

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }
}

struct Puppet {
    script: Shared,
    parker: Parker,
}

const KILLED: ProcessExit = ProcessExit::Signaled(9);

impl Puppet {
    fn reading(script: &Script) -> Result<Reading, ReadFailure> {
        let reading = Reading {
            at: clock::mono(),
            cpu_time: Duration::ZERO.into(),
            resident: ResidentBytes::known(1 << 20),
        };
        if script.ended { Err(ReadFailure::Ended(KILLED, None)) } else { Ok(reading) }
    }
}

impl Probe for Puppet {
    type Process = u32;

    fn min_interval(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn open(&mut self, pid: u32, _: Option<&TimePoint>, token: u64) -> Attach<Found<u32>> {
        self.script.with(|script| {
            script.token = token;
            if let (Some(act), Some(line)) = (&script.at_open, &script.line) {
                act(line);
            }
            let reading = Self::reading(script).map_err(|unread| panic!("{unread:?}"));
            Attach::Found(Found { process: pid, began: Some(Duration::ZERO), reading })
        })
    }

    fn prepare<'p>(&mut self, _: impl Iterator<Item = &'p u32>) {}

    fn read(&mut self, _: &mut u32) -> Result<Reading, ReadFailure> {
        self.script.with(|script| {
            if let Some(act) = script.at_read.take() {
                act(script.line.as_ref().unwrap());
                script.ended = true;
            }
            Self::reading(script)
        })
    }

    fn check(&mut self, _: &mut u32) -> Result<Option<Reading>, ReadFailure> {
        self.script.with(|script| Self::reading(script).map(Some))
    }

    fn identity(&self, _: &u32) -> Option<Identity> {
        None
    }
}

impl ExitWaiter for Puppet {
    fn wait(&mut self, until: Option<Instant>) {
        self.script.with(|script| script.waits = true);
        match until {
            Some(until) => self.parker.park_deadline(until),
            None => self.parker.park(),
        }
        self.script.with(|script| script.waits = false);
    }

    fn drain_exits(&mut self, mut each: impl FnMut(u64)) {
        // As where an epoll tells of both: who asks for ends takes the wake-ups too.
        self.parker.park_timeout(Duration::ZERO);
        self.script.with(|script| {
            if let Some(act) = script.at_learning.take() {
                act(script.line.as_ref().unwrap());
                script.ended = true;
                each(script.token);
            }
        });
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
/// A limit against hanging, nothing else.
const LONG: Duration = Duration::from_secs(60);
const PLUGIN: PluginId = PluginId(1);

/// A sampler with one plugin, whose process runs.
struct Stage {
    running: Option<Running>,
    script: Shared,
}

impl Stage {
    fn new(interval: Duration) -> Self {
        let config = Config::default().poll_interval(interval).history_duration(interval * 1_000);
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let script = Shared::default();
        let probe = Puppet { script: script.clone(), parker };
        let wake = Box::new(move || unparker.unpark());
        let running = Start(config.plan().unwrap()).run(probe, wake).unwrap();
        let line = Arc::clone(&running.line);
        let (name, events) = (Arc::from("dice"), EventCounter::new());
        line.tell(Command::Change(Change::Register { id: PLUGIN, name, events }));
        say_started(&line);
        script.with(|script| script.line = Some(line));
        let stage = Self { running: Some(running), script };
        let snapshot = stage.sample();
        assert_eq!(snapshot.plugin("dice").unwrap().state(), PluginState::Running);
        stage
    }

    fn line(&self) -> &CommandSender {
        &self.running.as_ref().unwrap().line
    }

    fn snapshot(&self) -> Snapshot {
        self.running.as_ref().unwrap().reader.snapshot()
    }

    /// What `Collector::sample_now` does.
    fn sample(&self) -> Snapshot {
        ask(self.line()).recv_timeout(LONG).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(Running { line, thread, .. }) = self.running.take() {
            line.close();
            line.send(Command::Stop);
            thread.join().unwrap();
        }
    }
}

fn say(line: &CommandSender, word: PluginUpdate) {
    line.tell(Command::Change(Change::Plugin(PLUGIN, word)));
}

fn say_started(line: &CommandSender) {
    let named = ProcessStart { run: next_run_id(), pid: 1, version: None, reported_at: None };
    say(line, PluginUpdate::Started(named));
}

fn ask(line: &CommandSender) -> Receiver<Snapshot> {
    let (reply, answer) = bounded(1);
    line.tell(Command::Sample(reply));
    answer
}

fn announce(line: &CommandSender) {
    say(line, PluginUpdate::State(PluginState::Stopping));
}

/// The end was announced, and is none that nobody expected.
#[track_caller]
fn assert_announced(snapshot: &Snapshot) {
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.state(), view.pid()), (PluginState::Stopped, None));
    assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Signaled(9)));
}

#[test]
fn what_was_said_before_the_sampler_learnt_of_an_end_is_heard_before_it_is_acted_on() {
    let stage = Stage::new(HOUR);
    stage.script.with(|script| script.at_learning = Some(Box::new(announce)));
    // A pass that is under way has asked for ends already.
    while stage.script.with(|script| script.at_learning.is_some()) {
        stage.sample();
    }
    assert_announced(&stage.sample());
}

#[test]
fn an_end_that_a_sample_finds_is_in_the_snapshot_that_was_asked_for() {
    let stage = Stage::new(HOUR);
    stage.script.with(|script| script.at_read = Some(Box::new(|_| ())));
    let snapshot = stage.sample();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.state(), view.pid()), (PluginState::Crashed, None));
    let sample = view.current().unwrap();
    assert_eq!((sample.state, sample.memory_bytes), (PluginState::Running, None), "of the tick");
}

#[test]
fn what_was_said_before_a_sample_finds_an_end_is_heard_before_it_is_acted_on() {
    let stage = Stage::new(HOUR);
    stage.script.with(|script| script.at_read = Some(Box::new(announce)));
    assert_announced(&stage.sample());
}

#[test]
fn who_asks_while_a_sample_is_taken_is_answered_too() {
    let stage = Stage::new(HOUR);
    let (told, second) = bounded(1);
    stage.script.with(|script| {
        script.at_read = Some(Box::new(move |line| {
            // So that there is no crash to be counted, for which it would wake.
            announce(line);
            told.send(ask(line)).unwrap();
        }));
    });
    let first = stage.sample();
    let second = second.recv().unwrap().recv_timeout(LONG).unwrap();
    assert!(second.tick() > first.tick());
}

#[test]
fn words_without_end_keep_no_tick_from_its_time() {
    let stage = Stage::new(Duration::from_millis(10));
    // Each process that is named has the next one named: the queue is never empty.
    stage.script.with(|script| script.at_open = Some(Box::new(say_started)));
    let before = stage.snapshot().tick();
    say_started(stage.line());
    let start = Instant::now();
    while stage.snapshot().tick() < before + 5 {
        assert!(start.elapsed() < LONG, "the sampler has time for nothing else");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_sampler_that_has_nothing_to_do_waits() {
    let stage = Stage::new(HOUR);
    let start = Instant::now();
    while !stage.script.with(|script| script.waits) {
        assert!(start.elapsed() < LONG, "it is busy with nothing");
        thread::sleep(Duration::from_millis(1));
    }
}
