//! Tests of the sampler's thread, on the real clock, with a probe that is slow, fails or panics.

use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::sync::Parker;

use crate::Window;
use crate::config::Config;
use crate::engine::cpu_meter::{Reading, ResidentBytes};
use crate::os::{Attach, ExitWaiter, Found, Identity, Probe, ReadFailure, WithProbe, clock};
use crate::sampler::{Running, Start};
use crate::snapshot::Snapshot;
use crate::snapshot::read_error::ReadError;
use crate::snapshot::run::ProcessExit;
use crate::snapshot::state::PluginState;
use crate::sync::command::{Change, Command, CommandSender, PluginId, PluginUpdate, ProcessStart};
use crate::sync::counter::{EventCounter, next_run_id};
use crate::time::TimePoint;

const INTERVAL: Duration = Duration::from_millis(10);
const PLUGINS: u32 = 4;
/// The one that has the fault, where one has it.
const ILL: u32 = 2;

/// What happens when processes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Each read takes so long.
    Slow(Duration),
    AllFail,
    OneFails,
    OnePanics,
    AllPanic,
    /// Not the read, but what comes before all of them.
    PreparePanics,
    /// Not a read at all, but what nobody expects to.
    WaitPanics,
}

/// Processes that use 10 ms of CPU time between any two readings, in 1 MB.
struct Faulty {
    fault: Arc<Mutex<Fault>>,
    /// Said by the host in the middle of the look for a process that has ended by then.
    said: Arc<Mutex<Option<Said>>>,
    parker: Parker,
}

/// Where it is said, and what.
type Said = (Arc<CommandSender>, Command);

/// The number of processes that have ended when they are looked for.
const GONE: u32 = 99;

struct Process {
    pid: u32,
    readings: u32,
}

impl Faulty {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    fn reading(process: &mut Process) -> Reading {
        process.readings += 1;
        let cpu_time = Duration::from_millis(10) * process.readings;
        Reading {
            at: clock::mono(),
            cpu_time: cpu_time.into(),
            resident: ResidentBytes::known(1 << 20),
        }
    }
}

/// Past the hook, which would print a line for each.
fn panics() -> ! {
    resume_unwind(Box::new("a probe that panics"))
}

impl Probe for Faulty {
    type Process = Process;

    fn min_interval(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn open(&mut self, pid: u32, _: Option<&TimePoint>, _: u64) -> Attach<Found<Process>> {
        if pid == GONE {
            if let Some((line, command)) = self.said.lock().unwrap().take() {
                line.tell(command);
            }
            return Attach::Gone(ProcessExit::Unknown);
        }
        let mut process = Process { pid, readings: 0 };
        let reading = Ok(Self::reading(&mut process));
        Attach::Found(Found { process, began: Some(Duration::ZERO), reading })
    }

    fn prepare<'p>(&mut self, _: impl Iterator<Item = &'p Process>) {
        if self.fault() == Fault::PreparePanics {
            panics();
        }
    }

    fn read(&mut self, process: &mut Process) -> Result<Reading, ReadFailure> {
        match self.fault() {
            Fault::Slow(time) => thread::sleep(time),
            Fault::AllFail => return Err(ReadFailure::Failed(ReadError::PermissionDenied)),
            Fault::OneFails if process.pid == ILL => {
                return Err(ReadFailure::Failed(ReadError::PermissionDenied));
            }
            Fault::AllPanic => panics(),
            Fault::OnePanics if process.pid == ILL => panics(),
            Fault::None
            | Fault::OneFails
            | Fault::OnePanics
            | Fault::PreparePanics
            | Fault::WaitPanics => {}
        }
        Ok(Self::reading(process))
    }

    fn check(&mut self, process: &mut Process) -> Result<Option<Reading>, ReadFailure> {
        self.read(process).map(Some)
    }

    fn identity(&self, _: &Process) -> Option<Identity> {
        None
    }
}

impl ExitWaiter for Faulty {
    fn wait(&mut self, until: Option<Instant>) {
        if self.fault() == Fault::WaitPanics {
            panics();
        }
        // As late as a machine may be, and never for ever.
        let limit = Instant::now() + Duration::from_millis(50);
        self.parker.park_deadline(until.unwrap_or(limit).min(limit));
    }

    fn drain_exits(&mut self, _: impl FnMut(u64)) {}
}

/// A sampler that runs, with four plugins.
struct Stage {
    running: Option<Running>,
    fault: Arc<Mutex<Fault>>,
    said: Arc<Mutex<Option<Said>>>,
}

impl Stage {
    fn new() -> Self {
        let config = Config::default().poll_interval(INTERVAL).history_duration(INTERVAL * 10_000);
        let fault = Arc::new(Mutex::new(Fault::None));
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let said = Arc::new(Mutex::new(None));
        let probe = Faulty { fault: Arc::clone(&fault), said: Arc::clone(&said), parker };
        let wake = Box::new(move || unparker.unpark());
        let running = Start(config.plan().unwrap()).run(probe, wake).unwrap();
        for pid in 1..=PLUGINS {
            let id = PluginId(pid.into());
            let (name, events) = (Arc::from(pid.to_string()), EventCounter::new());
            running.line.tell(Command::Change(Change::Register { id, name, events }));
            let named = ProcessStart { run: next_run_id(), pid, version: None, reported_at: None };
            running.line.tell(Command::Change(Change::Plugin(id, PluginUpdate::Started(named))));
        }
        let stage = Self { running: Some(running), fault, said };
        stage.sample().unwrap();
        stage
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// What `Collector::sample_now` does.
    fn sample(&self) -> Option<Snapshot> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.running().line.tell(Command::Sample(reply));
        answer.recv().ok()
    }

    /// A snapshot that is so many ticks younger than `before`.
    fn after(&self, before: &Snapshot, ticks: u64) -> Snapshot {
        let start = Instant::now();
        loop {
            let snapshot = self.running().reader.snapshot();
            if snapshot.tick() >= before.tick() + ticks {
                return snapshot;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the sampler does not go on");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets the sampler make so many ticks with this fault, and some without it. The snapshots of the
    /// first and of one of the last with it, and of one without it.
    fn ticks_with(&self, fault: Fault, ticks: u64) -> [Snapshot; 3] {
        self.set(fault);
        // Asked for when the fault is there already, so all of its reads have it.
        let before = self.sample().unwrap();
        let ill = self.after(&before, ticks);
        self.set(Fault::None);
        let after = self.after(&ill, 10);
        [before, ill, after]
    }
}

/// However the test ends.
impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(Running { line, thread, .. }) = self.running.take() {
            self.set(Fault::None);
            line.close();
            line.send(Command::Stop);
            assert!(thread.join().is_ok(), "the thread itself never panics");
        }
    }
}

/// Each deadline between the two has had its tick, or was counted as missed; and no two were made up
/// for in a burst.
fn assert_paced(before: &Snapshot, after: &Snapshot) {
    let deadlines = |of: &Snapshot| of.sampler().ticks + of.sampler().missed_ticks;
    let passed = after.sampled_at_instant() - before.sampled_at_instant();
    let passed = passed.as_secs_f64() / INTERVAL.as_secs_f64();
    // The tick of `before` was asked for, and had no deadline of its own.
    let counted = (deadlines(after) - deadlines(before)) as f64;
    assert!((counted - passed).abs() <= 1.0, "{counted} of {passed} deadlines");
    // A tick is within the interval after its deadline or makes those missed: so the next but one is
    // more than an interval later.
    let at = |tick| after.0.timeline.at(tick).unwrap().mono;
    for tick in before.tick() + 1..after.tick() - 1 {
        let apart = at(tick + 2) - at(tick);
        assert!(apart > INTERVAL, "three ticks within {apart:?}");
    }
}

#[test]
fn a_tick_slower_than_its_interval_misses_those_after_it_and_makes_none_up() {
    let stage = Stage::new();
    // Four of them: 24 ms a tick, at an interval of ten.
    let slow = Duration::from_millis(6);
    let [before, ill, after] = stage.ticks_with(Fault::Slow(slow), 20);
    assert!(ill.sampler().last_tick_duration >= slow, "{:?}", ill.sampler());
    let missed = ill.sampler().missed_ticks - before.sampler().missed_ticks;
    assert!(missed >= 20, "twenty ticks of 24 ms have missed {missed} deadlines");
    assert_paced(&before, &after);
    for view in after.plugins() {
        assert_eq!((view.state(), view.read_error()), (PluginState::Running, None));
        let with_values =
            view.history(Window::All).skip(1).all(|sample| sample.memory_bytes.is_some());
        assert!(with_values, "a slow read is a read");
    }
    assert_eq!(after.sampler().failed_reads, 0);
}

#[test]
fn a_read_that_fails_or_panics_costs_that_plugin_that_tick_and_all_else_goes_on() {
    for (fault, ill_ones, problem) in [
        (Fault::OneFails, 1, ReadError::PermissionDenied),
        (Fault::OnePanics, 1, ReadError::Io(io::ErrorKind::Other)),
        (Fault::AllFail, PLUGINS, ReadError::PermissionDenied),
        (Fault::AllPanic, PLUGINS, ReadError::Io(io::ErrorKind::Other)),
    ] {
        let stage = Stage::new();
        let [before, ill, after] = stage.ticks_with(fault, 30);
        assert_paced(&before, &after);
        let failed = ill.sampler().failed_reads - before.sampler().failed_reads;
        let ticks = ill.tick() - before.tick();
        assert_eq!(failed, ticks * u64::from(ill_ones), "{fault:?}: in {ticks} ticks");
        for (view, pid) in ill.plugins().zip(1..) {
            let is_ill = ill_ones == PLUGINS || pid == ILL;
            assert_eq!(view.read_error(), is_ill.then_some(&problem), "{fault:?}");
            let current = view.current().unwrap();
            assert_eq!(current.memory_bytes.is_none(), is_ill, "{fault:?}");
            assert_eq!((view.pid(), view.state()), (Some(pid), PluginState::Running), "{fault:?}");
        }
        // And then it is as if nothing had been, CPU time included: that of the ticks between is
        // known when there is a reading again.
        for view in after.plugins() {
            assert_eq!((view.read_error(), view.crash_count()), (None, 0), "{fault:?}");
            assert_eq!(view.runs().count(), 1, "{fault:?}");
            let well = view.history(Window::All).filter(|sample| sample.cpu_percent.is_some());
            assert!(well.count() >= 5, "{fault:?}");
            let read = view.history(Window::All).filter(|sample| sample.memory_bytes.is_some());
            // One reading more, when the process was named; and CPU time is between readings.
            assert_eq!(view.cpu_time(), Duration::from_millis(10) * read.count() as u32);
        }
        assert_eq!(after.tick(), after.sampler().ticks);
    }
}

#[test]
fn a_probe_that_panics_before_the_reads_costs_nothing_but_what_it_had_to_prepare() {
    let stage = Stage::new();
    let [before, _, after] = stage.ticks_with(Fault::PreparePanics, 30);
    assert_paced(&before, &after);
    assert_eq!(after.sampler().failed_reads, 0);
}

#[test]
fn a_stop_waits_for_the_tick_that_is_under_way_and_for_no_other() {
    let mut stage = Stage::new();
    let before = stage.sample().unwrap();
    stage.set(Fault::Slow(Duration::from_millis(50)));
    stage.after(&before, 1);
    let Running { line, reader, thread } = stage.running.take().unwrap();
    line.close();
    line.send(Command::Stop);
    let then = reader.snapshot().tick();
    thread.join().unwrap();
    let last = reader.snapshot();
    assert!(last.is_stopped());
    assert!(last.tick() <= then + 1, "{} ticks after it was told", last.tick() - then);
    // It ends no run.
    assert!(
        last.plugins().all(|view| view.state() == PluginState::Running && view.run().is_some())
    );
}

#[test]
fn nobody_waits_for_a_sampler_that_has_panicked_after_all() {
    let stage = Stage::new();
    stage.set(Fault::WaitPanics);
    let start = Instant::now();
    while !stage.running().reader.snapshot().is_stopped() {
        assert!(start.elapsed() < Duration::from_secs(60), "readers are not told");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(stage.sample().is_none(), "who asks is told that there is nobody");
    assert!(stage.running().line.is_lost(), "and so is who registers");
    // What it knew can still be read, and what is said to it is said to nobody.
    let last = stage.running().reader.snapshot();
    assert_eq!(last.plugins().len(), PLUGINS as usize);
    let change = Change::Plugin(PluginId(1), PluginUpdate::Stopped);
    stage.running().line.tell(Command::Change(change));
    assert_eq!(stage.running().reader.snapshot(), last);
}

#[test]
fn what_the_host_says_while_a_process_is_looked_for_comes_before_the_end_that_is_found() {
    let stage = Stage::new();
    let line = &stage.running().line;
    let name = |plugin, command: fn(ProcessStart) -> PluginUpdate| {
        let named =
            ProcessStart { run: next_run_id(), pid: GONE, version: None, reported_at: None };
        Command::Change(Change::Plugin(PluginId(plugin), command(named)))
    };
    // The host names a process, announces its end and ends it, all of that before the sampler has
    // found out that it is gone; but when it looked at the queue, only the first was in there.
    let announced = Change::Plugin(PluginId(1), PluginUpdate::State(PluginState::Stopping));
    *stage.said.lock().unwrap() = Some((Arc::clone(line), Command::Change(announced)));
    line.tell(name(1, PluginUpdate::Started));
    let snapshot = stage.sample().unwrap();
    assert_eq!(snapshot.plugin("1").unwrap().state(), PluginState::Stopped);
    // Of this one nothing is said. When its crash counts, the other's would have counted too.
    line.tell(name(2, PluginUpdate::Started));
    let begun = Instant::now();
    let snapshot = loop {
        let snapshot = stage.sample().unwrap();
        if snapshot.plugin("2").unwrap().crash_count() == 1 {
            break snapshot;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it is never counted");
        thread::sleep(Duration::from_millis(10));
    };
    let view = snapshot.plugin("1").unwrap();
    assert_eq!((view.state(), view.crash_count()), (PluginState::Stopped, 0));
}
