//! Tests of the engine's pass with a scripted probe, clock and schedule. They cover what a
//! simulation cannot express: processes that cannot be attached, and exits that are detected
//! outside of ticks.

mod attach;
mod bookkeeping;
mod cgroups;
mod child_readings;
mod exit_ordering;
mod late_status;
mod panics;
mod shares;
mod suspension;
mod threads;
mod trees;
mod unknown_ends;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Engine;
use super::pass::{Environment, PassResult, TickCost};
use crate::config::Config;
use crate::os::ExitWaiter;
use crate::os::fake_probe::{AttachedProcess, FakeMember, FakeProbe, FakeProcesses};
use crate::snapshot::Snapshot;
use crate::snapshot::inner::{CollectorInfo, SnapshotInner};
use crate::snapshot::notification::Notification;
use crate::snapshot::plugin_view::PluginView;
use crate::snapshot::run::{ProcessExit, RunEnd, RunId};
use crate::snapshot::state::PluginState;
use crate::snapshot::system::CollectorStatus;
use crate::sync::command::{
    Command, CommandReceiver, CommandSender, PluginId, PluginUpdate, ProcessStart, SampleReply,
    SampleRequest,
};
use crate::sync::counter::{EventCounter, next_run_id};
use crate::sync::publish::Publisher;
use crate::time::{MonoNanos, TimePoint};

const SECOND: Duration = Duration::from_secs(1);
const PLUGIN: PluginId = PluginId(1);

/// A report that a process was started.
fn started(run: RunId, pid: u32) -> PluginUpdate {
    PluginUpdate::Started(ProcessStart { run, pid, version: None, reported_at: None, cgroup: None })
}

/// A scripted clock and schedule, and a real command queue.
struct FakeEnvironment {
    probe: FakeProbe,
    commands: CommandReceiver,
    publisher: Publisher,
    now: TimePoint,
    is_tick_due: bool,
    may_publish: bool,
    missed: u64,
    cost: Option<TickCost>,
    publications: usize,
    notifications: Vec<Notification>,
}

impl Environment for FakeEnvironment {
    type Probe = FakeProbe;

    fn now(&mut self) -> TimePoint {
        self.now
    }

    fn probe(&mut self) -> &mut FakeProbe {
        &mut self.probe
    }

    fn drain_exits(&mut self, each: impl FnMut(u64)) {
        self.probe.drain_exits(each);
    }

    fn queued_commands(&self) -> usize {
        self.commands.len()
    }

    fn next_command(&mut self) -> Option<Command> {
        self.commands.try_next()
    }

    fn is_tick_due(&self, _now: MonoNanos) -> bool {
        self.is_tick_due
    }

    fn begin_tick(&mut self, _now: MonoNanos) -> u64 {
        self.is_tick_due = false;
        self.missed
    }

    fn tick_cost(&mut self, _began: MonoNanos) -> Option<TickCost> {
        self.cost
    }

    fn may_publish(&self, _now: MonoNanos) -> bool {
        self.may_publish
    }

    fn publish(&mut self, next: Arc<SnapshotInner>, _now: MonoNanos) -> Arc<SnapshotInner> {
        self.publications += 1;
        self.publisher.publish(next)
    }

    fn notify(&mut self, notifications: &mut Vec<Notification>) -> u64 {
        self.notifications.append(notifications);
        0
    }
}

/// An engine with the plugin "dice" and scripted processes.
struct Harness {
    engine: Engine<AttachedProcess, FakeMember>,
    env: FakeEnvironment,
    processes: FakeProcesses,
    sender: Arc<CommandSender>,
    events: EventCounter,
}

impl Harness {
    fn new() -> Self {
        Self::with_history(100)
    }

    fn with_history(samples: u32) -> Self {
        let now = TimePoint {
            mono: MonoNanos(1_000_000_000_000),
            wall: SystemTime::UNIX_EPOCH,
            boot: Duration::from_secs(1_000),
        };
        let info = CollectorInfo {
            started: now,
            started_instant: Instant::now(),
            poll_interval: SECOND,
            history_duration: SECOND * samples,
            process_trees: true,
            cpu_cores: 1,
            machine_memory: None,
            resumed: None,
        };
        let config = Config::default().poll_interval(SECOND).history_duration(SECOND * samples);
        let settings = config.clean_exit_codes(&[75]).validate().unwrap();
        let (probe, processes, _wake) = FakeProbe::new();
        let (sender, commands) = CommandSender::new(Box::new(|| ()));
        let first = SnapshotInner::before_first_tick(info, CollectorStatus::Running);
        processes.set_now(now);
        let mut harness = Self {
            engine: Engine::new(info, &settings),
            env: FakeEnvironment {
                probe,
                commands,
                publisher: Publisher::new(
                    first,
                    crate::sync::subscription::SubscriberSender::disabled(),
                ),
                now,
                is_tick_due: false,
                may_publish: true,
                missed: 0,
                cost: None,
                publications: 0,
                notifications: Vec::new(),
            },
            processes,
            sender: Arc::new(sender),
            events: EventCounter::new(),
        };
        let events = harness.events.clone();
        harness.register(PLUGIN, "dice", events);
        harness
    }

    /// Runs one pass at the current time.
    fn pass(&mut self) -> PassResult {
        self.engine.run_pass(&mut self.env)
    }

    /// Runs one pass, which must have no requests and not stop.
    fn apply(&mut self) {
        let PassResult { flow, requests } = self.pass();
        assert!(flow == ControlFlow::Continue(()) && requests.is_empty());
    }

    fn advance(&mut self, time: Duration) {
        self.env.now = self.env.now.after(time);
        self.processes.set_now(self.env.now);
    }

    /// One second later, runs a pass with a tick.
    fn tick(&mut self) -> Snapshot {
        self.advance(SECOND);
        self.tick_now()
    }

    fn tick_now(&mut self) -> Snapshot {
        self.env.is_tick_due = true;
        self.apply();
        self.snapshot()
    }

    fn snapshot(&self) -> Snapshot {
        self.env.publisher.reader().snapshot()
    }

    fn register(&mut self, id: PluginId, name: &str, events: EventCounter) {
        self.sender.send(Command::Register { id, name: Arc::from(name), events });
        self.apply();
    }

    /// Queues a report about "dice".
    fn queue(&self, update: PluginUpdate) {
        self.sender.send(Command::Update(PLUGIN, update));
    }

    /// Queues a report about "dice" and runs a pass.
    fn report(&mut self, update: PluginUpdate) {
        self.queue(update);
        self.apply();
    }

    /// Reports that the process of "dice" was started, and runs a pass.
    fn start(&mut self, pid: u32) -> RunId {
        let run = next_run_id();
        self.report(started(run, pid));
        run
    }

    /// Starts a living process, and ticks.
    fn start_and_tick(&mut self, pid: u32) -> RunId {
        self.processes.set_alive(pid, Duration::ZERO);
        let run = self.start(pid);
        self.tick();
        run
    }

    fn request_sample(&self) -> SampleReply {
        let (request, reply) = SampleRequest::new();
        self.sender.send(Command::SampleNow(request));
        reply
    }
}

#[track_caller]
fn dice(snapshot: &Snapshot) -> PluginView<'_> {
    snapshot.plugin("dice").expect("the plugin is registered")
}

fn cpu_percent(snapshot: &Snapshot) -> Option<f64> {
    dice(snapshot).current().expect("a tick has sampled it").cpu_percent
}

/// The CPU time of both runs, over the time from the first reading of the one to the last reading
/// of the other.
#[test]
fn two_runs_in_one_interval_share_a_cpu_value() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, 5 * SECOND);
    harness.start(1);
    harness.tick();
    harness.processes.set_alive(1, 5 * SECOND + Duration::from_millis(200));
    harness.advance(Duration::from_millis(400));
    harness.processes.set_alive(2, Duration::ZERO);
    harness.start(2);
    harness.processes.set_alive(2, Duration::from_millis(300));
    let snapshot = harness.tick();
    // 200 ms and 300 ms, over 1.4 s.
    assert_eq!(cpu_percent(&snapshot), Some(35.714));
    assert_eq!(dice(&snapshot).cpu_time(), Duration::from_millis(500));
    let used: Vec<_> = dice(&snapshot).runs().map(|run| run.cpu_time).collect();
    assert_eq!(used, [Some(Duration::from_millis(200)), None]);
}

#[test]
fn plugin_without_process_shows_no_usage() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.set_zombie(1, SECOND / 2, ProcessExit::Exited(3));
    harness.tick();
    let snapshot = harness.tick();
    assert_eq!(cpu_percent(&snapshot), Some(50.0), "the sample has a value");
    let shown = serde_json::to_value(dice(&snapshot)).unwrap();
    for key in ["cpu_percent", "memory_mb", "uptime_seconds", "pid"] {
        assert!(shown[key].is_null(), "{key}: {shown}");
    }
}

#[test]
fn last_cpu_time_of_run_is_in_next_sample() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.processes.set_zombie(1, SECOND / 2, ProcessExit::Exited(3));
    let snapshot = harness.tick();
    assert_eq!(cpu_percent(&snapshot), None, "a tick that detects an exit has no values");
    let run = dice(&snapshot).runs().next().unwrap();
    assert_eq!((run.end, run.cpu_time), (Some(RunEnd::Exited(3)), Some(SECOND / 2)));
    let snapshot = harness.tick();
    assert_eq!(cpu_percent(&snapshot), Some(50.0), "a sample may have CPU and no process");
    assert_eq!(dice(&snapshot).cpu_time(), SECOND / 2);
}

#[test]
fn stopped_report_for_zombie_keeps_last_reading() {
    let mut harness = Harness::new();
    harness.processes.set_alive(1, Duration::ZERO);
    harness.start(1);
    harness.processes.set_zombie(1, SECOND, ProcessExit::Signaled(9));
    harness.report(PluginUpdate::Stopped);
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    let run = view.runs().next().unwrap();
    assert_eq!((run.end, run.cpu_time), (Some(RunEnd::Signaled(9)), Some(SECOND)));
    assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0));
}

#[test]
fn begin_tick_receives_the_attached_processes() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    assert_eq!(harness.processes.tick_pids(), [1]);
    harness.report(PluginUpdate::Stopped);
    harness.tick();
    assert!(harness.processes.tick_pids().is_empty());
}

#[test]
fn report_without_effect_is_not_published() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    let before = harness.env.publications;
    harness.report(PluginUpdate::State(PluginState::Running));
    harness.report(PluginUpdate::Exited(RunId(u64::MAX), ProcessExit::Exited(3)));
    assert!(!harness.engine.is_changed());
    assert_eq!(harness.env.publications, before, "it runs already, and there is no such run");
    harness.report(PluginUpdate::State(PluginState::Unhealthy));
    assert_eq!(harness.env.publications, before + 1);
}

#[test]
fn last_crash_is_of_latest_run_despite_clock_change() {
    let mut harness = Harness::new();
    harness.env.now.wall += 3_600 * SECOND;
    for pid in 1..=2 {
        harness.processes.set_alive(pid, Duration::ZERO);
        harness.start(pid);
        harness.report(PluginUpdate::Crashed);
        harness.advance(SECOND);
        harness.env.now.wall -= 1_800 * SECOND;
    }
    let snapshot = harness.tick();
    let view = dice(&snapshot);
    let ended: Vec<_> = view.runs().map(|run| run.ended_at).collect();
    assert!(ended[1] < ended[0], "{ended:?}");
    assert_eq!((view.crash_count(), view.last_crash()), (2, ended[1]));
}

/// Changes stay unpublished until the environment permits a publication; a tick always publishes.
#[test]
fn change_is_not_published_before_permitted() {
    let mut harness = Harness::new();
    harness.start_and_tick(1);
    harness.env.may_publish = false;
    let before = harness.env.publications;
    for state in [PluginState::Unhealthy, PluginState::Running, PluginState::Unhealthy] {
        harness.report(PluginUpdate::State(state));
        assert!(harness.engine.is_changed());
    }
    assert_eq!(harness.env.publications, before);
    assert_eq!(dice(&harness.snapshot()).state(), PluginState::Running);
    harness.env.may_publish = true;
    harness.apply();
    harness.apply();
    assert_eq!(harness.env.publications, before + 1, "once for all changes");
    assert_eq!(dice(&harness.snapshot()).state(), PluginState::Unhealthy);
    harness.env.may_publish = false;
    harness.report(PluginUpdate::State(PluginState::Running));
    assert_eq!(dice(&harness.tick()).state(), PluginState::Running);
}

#[test]
fn idle_pass_publishes_nothing() {
    let mut harness = Harness::new();
    harness.tick();
    let before = harness.env.publications;
    for _ in 0..3 {
        harness.advance(SECOND);
        harness.apply();
    }
    assert_eq!(harness.env.publications, before);
    assert!(!harness.engine.has_work());
}
