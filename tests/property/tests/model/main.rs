//! Random sequences of reports, ticks and queries, applied to a simulation and to a naive oracle,
//! which must agree in every result.
//!
//! `PROPTEST_CASES` sets the number of cases.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::panic::resume_unwind;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{
    Config, Plugin, PluginState, PluginView, ReadError, RegisterError, Run, RunEnd, RunId, Sample,
    Snapshot, Summary, Window,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{FileFailurePersistence, TestCaseError};

mod oracle;

use oracle::{Overview, PluginSeen, RunSeen, SampleSeen, Seen, Word, World};

const NAMES: [&str; 4] = ["dice", "8ball", "dice-2", "würfel"];
const PIDS: [u32; 5] = [11, 12, 13, 14, i32::MAX as u32];
const REFUSED: [u32; 3] = [0, i32::MAX as u32 + 1, u32::MAX];
const VERSIONS: [&str; 4] = ["", "1.0", "1.1", "2.0-β"];
/// The largest memory that a sample can store, and its neighbors.
const MEMORY: [u64; 8] =
    [0, 1, 1_023, 4_097, (1 << 42) - 2_049, (1 << 42) - 2_048, 1 << 42, u64::MAX];
const STATES: [PluginState; 7] = [
    PluginState::Stopped,
    PluginState::Starting,
    PluginState::Running,
    PluginState::Unhealthy,
    PluginState::Stopping,
    PluginState::Crashed,
    PluginState::Failed,
];

type Checked = Result<(), TestCaseError>;

/// The process that the host reports.
#[derive(Clone, Copy, Debug)]
enum Pid {
    /// The process of the last report: `exec`, if it is still alive.
    Same,
    One(u32),
}

/// A report about one plugin.
#[derive(Clone, Debug)]
enum Saying {
    Started {
        pid: Pid,
        version: &'static str,
        /// Its CPU time starts at zero, as that of a new process.
        fresh: bool,
    },
    /// Refers to the run so many runs before the newest one.
    Exited {
        back: usize,
        status: i32,
    },
    /// Refers to a run of another plugin.
    ExitedOfAnother {
        status: i32,
    },
    State(PluginState),
    Method(bool),
    Remove,
}

#[derive(Clone, Debug)]
struct Said {
    name: usize,
    /// Sent to a handle of a removed plugin that had this name.
    stale: bool,
    saying: Saying,
}

/// What a tick reads of one PID.
#[derive(Clone, Copy, Debug)]
enum Look {
    Alive {
        /// Of the interval.
        permille: u32,
        nanos: u64,
        memory: u64,
    },
    /// Its CPU time decreases.
    Down,
    Ended(RunEnd),
    Denied,
    Panics,
}

/// A window relative to the history at the time of the query.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Zero,
    Longer,
    /// Intervals, and thousandths of an interval.
    Intervals(u32, u32),
    /// The age of the sample with this number from the end, and an offset in nanoseconds.
    Sample(usize, i64),
}

#[derive(Clone, Debug)]
enum Step {
    Register(usize),
    Say(Said),
    Events(usize, u64),
    /// Consecutive hot reloads.
    Reloads(usize, u16),
    Tick {
        looks: [Look; PIDS.len()],
        /// Reports during the tick, while it reads the first process.
        meanwhile: Vec<Said>,
        windows: [Asked; 2],
    },
    /// Ticks without other changes.
    Ticks {
        count: u32,
        seed: u32,
        windows: [Asked; 2],
    },
    Advance(Duration, [Asked; 2]),
    /// Holds a snapshot to the end.
    Hold,
}

fn saying() -> BoxedStrategy<Saying> {
    let pid = prop_oneof![
        4 => Just(Pid::Same),
        8 => select(&PIDS[..]).prop_map(Pid::One),
        1 => select(&REFUSED[..]).prop_map(Pid::One),
    ];
    let status = || {
        prop_oneof![
            3 => Just(0),
            2 => (1..=255).prop_map(|code| code << 8),
            2 => (1..=64).prop_map(|signal| signal),
            1 => Just(0x80 | 11), // with a core dump
        ]
    };
    prop_oneof![
        8 => (pid, select(&VERSIONS[..]), prop::bool::weighted(0.8))
            .prop_map(|(pid, version, fresh)| Saying::Started { pid, version, fresh }),
        6 => (prop_oneof![4 => Just(0), 3 => Just(1), 1 => 2..9_usize, 1 => 9..400_usize], status())
            .prop_map(|(back, status)| Saying::Exited { back, status }),
        1 => status().prop_map(|status| Saying::ExitedOfAnother { status }),
        6 => select(&STATES[..]).prop_map(Saying::State),
        3 => any::<bool>().prop_map(Saying::Method),
        1 => Just(Saying::Remove),
    ]
    .boxed()
}

fn said() -> impl Strategy<Value = Said> {
    (0..NAMES.len(), prop::bool::weighted(0.05), saying()).prop_map(|(name, stale, saying)| Said {
        name,
        stale,
        saying,
    })
}

fn end() -> impl Strategy<Value = RunEnd> {
    prop_oneof![
        1 => Just(RunEnd::Exited(0)),
        1 => any::<i32>().prop_map(RunEnd::Exited),
        2 => (1..=64).prop_map(RunEnd::Signaled),
        2 => Just(RunEnd::Unknown),
    ]
}

fn look() -> BoxedStrategy<Look> {
    let memory = prop_oneof![3 => 1..1_u64 << 34, 1 => select(&MEMORY[..])];
    let permille = prop_oneof![1 => Just(0), 4 => 0..4_000_u32];
    prop_oneof![
        16 => (permille, 0..1_000_u64, memory)
            .prop_map(|(permille, nanos, memory)| Look::Alive { permille, nanos, memory }),
        1 => Just(Look::Down),
        4 => end().prop_map(Look::Ended),
        2 => Just(Look::Denied),
        1 => Just(Look::Panics),
    ]
    .boxed()
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        1 => Just(Asked::Zero),
        1 => Just(Asked::Longer),
        3 => (0..100_u32).prop_map(|count| Asked::Intervals(count, 0)),
        3 => (0..100_u32, 1..1_000_u32).prop_map(|(count, more)| Asked::Intervals(count, more)),
        3 => (0..100_usize, -1..=1_i64).prop_map(|(nth, nanos)| Asked::Sample(nth, nanos)),
    ]
}

/// A process exits, with arbitrary reports before and after.
fn scene() -> impl Strategy<Value = Vec<Step>> {
    let looks = [look(), look(), look(), look(), look()];
    let soon =
        select(vec![0, 1, 10_000_000, 999_999_999, 1_000_000_000]).prop_map(Duration::from_nanos);
    let sayings = || vec(saying(), 0..4);
    let ended = prop::bool::weighted(0.8);
    let parts = (0..NAMES.len(), sayings(), looks, end(), ended, sayings(), sayings());
    (parts, soon, windows()).prop_map(|(parts, soon, windows)| {
        let (name, before, mut looks, end, ended, meanwhile, after) = parts;
        let said = |saying| Said { name, stale: false, saying };
        if ended {
            looks = [Look::Ended(end); PIDS.len()];
        }
        let meanwhile = meanwhile.into_iter().map(said).collect();
        let mut steps = vec![Step::Register(name)];
        steps.extend(before.into_iter().map(said).map(Step::Say));
        steps.push(Step::Tick { looks, meanwhile, windows });
        steps.extend(after.into_iter().map(said).map(Step::Say));
        steps.push(Step::Advance(soon, windows));
        steps
    })
}

fn windows() -> impl Strategy<Value = [Asked; 2]> {
    [asked(), asked()]
}

/// `reloads` is the weight of long series of runs.
fn step(reloads: u32) -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let meanwhile = prop_oneof![4 => Just(Vec::new()), 1 => vec(said(), 1..4)];
    let looks = [look(), look(), look(), look(), look()];
    let events = prop_oneof![
        6 => 0..1_000_u64,
        1 => Just(u64::from(u32::MAX)),
        1 => u64::from(u32::MAX)..5 * u64::from(u32::MAX),
    ];
    let time = prop_oneof![
        select(vec![0, 1, 999_999_999, 1_000_000_000, 1_000_000_001])
            .prop_map(Duration::from_nanos),
        (1..3_000_u64).prop_map(Duration::from_millis),
        (10..20_000_u64).prop_map(Duration::from_secs),
    ];
    prop_oneof![
        2 => name().prop_map(Step::Register),
        20 => said().prop_map(Step::Say),
        3 => (name(), events).prop_map(|(name, events)| Step::Events(name, events)),
        reloads => (name(), prop_oneof![8 => 2..6_u16, 1 => 60..130_u16, 1 => 250..300_u16])
            .prop_map(|(name, count)| Step::Reloads(name, count)),
        12 => (looks, meanwhile, windows())
            .prop_map(|(looks, meanwhile, windows)| Step::Tick { looks, meanwhile, windows }),
        2 => (2..45_u32, any::<u32>(), windows())
            .prop_map(|(count, seed, windows)| Step::Ticks { count, seed, windows }),
        4 => (time, windows()).prop_map(|(time, windows)| Step::Advance(time, windows)),
        1 => Just(Step::Hold),
    ]
}

fn steps(reloads: u32, most: usize) -> impl Strategy<Value = Vec<Step>> {
    // Boxed, because the values are too large for the stack of a test thread.
    let one = step(reloads).prop_map(|step| vec![step]).boxed();
    let some = prop_oneof![12 => one, 1 => scene().boxed()];
    vec(some, 1..most).prop_map(|steps| steps.concat())
}

/// Poll interval and history duration.
fn lengths() -> impl Strategy<Value = (Duration, Duration)> {
    let interval = select(vec![10, 500, 999, 1_000, 5_000, 7_000]).prop_map(Duration::from_millis);
    let samples = select(vec![1_u32, 2, 3, 10, 29, 30, 31, 60, 65, 95]);
    (interval, samples, 0..1_000_u32).prop_map(|(interval, samples, more)| {
        (interval, interval * samples + interval * more / 1_000)
    })
}

/// A plugin as the host knows it.
struct Host {
    plugin: Plugin,
    name: usize,
    /// Its index in the oracle.
    life: usize,
    removed: bool,
    runs: Vec<RunId>,
    last_pid: u32,
}

/// All handles that the host has ever had, and the CPU time of each PID.
#[derive(Default)]
struct Hosts {
    all: Vec<Host>,
    cpu: BTreeMap<u32, Duration>,
}

impl Hosts {
    fn of(&mut self, name: usize, removed: bool) -> Option<&mut Host> {
        let mut newest_first = self.all.iter_mut().rev();
        newest_first.find(|host| host.name == name && host.removed == removed)
    }

    /// Sends a report to the handle and returns the report for the oracle.
    fn say(&mut self, said: &Said, world: &World, in_tick: bool) -> Option<(usize, Word)> {
        let another = self.all.iter().filter(|host| host.name != said.name);
        let another = another.filter_map(|host| host.runs.last().copied()).next_back();
        let host = self.of(said.name, said.stale)?;
        let life = host.life;
        let word = match said.saying {
            Saying::Started { pid, version, fresh } => {
                let pid = match pid {
                    Pid::Same => host.last_pid,
                    Pid::One(pid) => pid,
                };
                let run = host.plugin.started(pid, version);
                host.runs.push(run);
                host.last_pid = pid;
                if fresh {
                    self.cpu.remove(&pid);
                }
                Word::Started { run, pid, version }
            }
            Saying::Exited { back, status } => {
                let run = host.runs[host.runs.len().checked_sub(1 + back)?];
                // The tracker may forget a clean exit that only the sampler has detected, once the
                // run is not listed any more. Whether a later report about it has an effect is
                // unspecified.
                let newer = if in_tick { 0 } else { 200 };
                if back > newer && world.is_clean_and_unsettled(life, run)
                    || world.may_be_forgotten(life, run)
                {
                    return None;
                }
                host.exited(run, status)
            }
            Saying::ExitedOfAnother { status } => host.exited(another?, status),
            Saying::State(state) => {
                host.plugin.set_state(state);
                Word::State(state)
            }
            Saying::Method(true) => {
                host.plugin.crashed();
                Word::State(PluginState::Crashed)
            }
            Saying::Method(false) => {
                host.plugin.stopped();
                Word::State(PluginState::Stopped)
            }
            Saying::Remove => {
                host.plugin.remove();
                host.removed = true;
                Word::Removed
            }
        };
        Some((life, word))
    }
}

impl Host {
    fn exited(&self, run: RunId, status: i32) -> Word {
        let status = ExitStatus::from_raw(status);
        self.plugin.exited(run, status);
        let end = status.signal().map(RunEnd::Signaled);
        let code = status.code().map(RunEnd::Exited);
        Word::Exited(run, end.or(code).expect("it is one or the other"))
    }
}

/// A snapshot that is held, and its content when it was new.
struct Held {
    snapshot: Snapshot,
    overview: Overview,
    samples: Vec<Vec<SampleSeen>>,
}

/// The simulation, the oracle, and the host that reports to both.
struct Bench {
    sim: Simulation,
    world: World,
    hosts: Hosts,
    began: Instant,
    expected: Overview,
    revision: u64,
    published_at: Duration,
    held: Vec<Held>,
}

impl Bench {
    fn new((poll_interval, history_duration): (Duration, Duration)) -> Self {
        let config =
            Config::default().poll_interval(poll_interval).history_duration(history_duration);
        let sim = Simulation::new(config).expect("the lengths are allowed");
        let first = sim.snapshot();
        let world = World::new(first.started_at(), poll_interval, history_duration);
        Self {
            sim,
            hosts: Hosts::default(),
            began: first.sampled_at_instant(),
            expected: world.overview(),
            world,
            revision: first.revision(),
            published_at: Duration::ZERO,
            held: Vec::new(),
        }
    }

    fn live(&mut self, steps: &[Step]) -> Checked {
        self.check(&[Window::All])?;
        for step in steps {
            self.take(step)?;
        }
        self.check_held()
    }

    fn take(&mut self, step: &Step) -> Checked {
        match step {
            Step::Register(name) => self.register(*name)?,
            Step::Say(said) => {
                if let Some((life, word)) = self.hosts.say(said, &self.world, false) {
                    self.world.say(life, word);
                }
            }
            Step::Events(name, events) => {
                if let Some(host) = self.hosts.of(*name, false) {
                    host.plugin.events().clone().add(*events);
                    self.world.add_events(host.life, *events);
                    let all = self.world.events(host.life);
                    prop_assert_eq!(host.plugin.events().get(), all);
                }
            }
            Step::Reloads(name, count) => {
                for nth in 0..usize::from(*count) {
                    let said = Said {
                        name: *name,
                        stale: false,
                        saying: Saying::Started {
                            pid: Pid::One(PIDS[nth % PIDS.len()]),
                            version: VERSIONS[nth % VERSIONS.len()],
                            fresh: true,
                        },
                    };
                    self.take(&Step::Say(said))?;
                }
            }
            Step::Tick { looks, meanwhile, windows } => {
                self.tick(looks, meanwhile)?;
                self.check_windows(windows)?;
            }
            Step::Ticks { count, seed, windows } => {
                for nth in 0..*count {
                    let drawn = seed.wrapping_add(nth).wrapping_mul(2_654_435_761) >> 8;
                    let look = Look::Alive {
                        permille: drawn % 2_000,
                        nanos: u64::from(drawn % 997),
                        memory: u64::from(drawn),
                    };
                    self.tick(&[look; PIDS.len()], &[])?;
                    // Checks each of these ticks, but not the whole history.
                    self.check(&[Window::Last(self.sim.snapshot().poll_interval())])?;
                }
                self.check_windows(windows)?;
            }
            Step::Advance(time, windows) => {
                let silent = self.world.is_silent();
                let before = self.world.overview();
                self.sim.advance(*time);
                self.world.advance(*time);
                if silent && self.world.overview() == before {
                    let revision = self.sim.snapshot().revision();
                    prop_assert_eq!(revision, self.revision, "nothing has happened");
                }
                self.check_windows(windows)?;
            }
            Step::Hold => {
                self.check_held()?;
                let snapshot = self.sim.snapshot();
                self.held.push(Held {
                    overview: overview(&snapshot)?,
                    samples: samples(&snapshot, Window::All)?,
                    snapshot,
                });
            }
        }
        Ok(())
    }

    fn register(&mut self, name: usize) -> Checked {
        let registered = self.sim.register(NAMES[name]);
        if self.hosts.of(name, false).is_some() {
            let refused = matches!(registered, Err(RegisterError::AlreadyRegistered { .. }));
            prop_assert!(refused, "the name {:?} is taken", NAMES[name]);
            return Ok(());
        }
        let plugin = registered.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(plugin.name(), NAMES[name]);
        prop_assert_eq!(plugin.events().get(), 0);
        self.hosts.all.push(Host {
            plugin,
            name,
            life: self.world.register(NAMES[name]),
            removed: false,
            runs: Vec::new(),
            last_pid: PIDS[name],
        });
        Ok(())
    }

    fn tick(&mut self, looks: &[Look; PIDS.len()], meanwhile: &[Said]) -> Checked {
        let interval = self.sim.snapshot().poll_interval();
        let mut seen = BTreeMap::new();
        for (&pid, &look) in PIDS.iter().zip(looks) {
            let cpu = self.hosts.cpu.entry(pid).or_default();
            let see = match look {
                Look::Alive { permille, nanos, memory } => {
                    *cpu += interval * permille / 1_000 + Duration::from_nanos(nanos);
                    Seen::Alive(*cpu, memory)
                }
                Look::Down => {
                    *cpu /= 3;
                    Seen::Alive(*cpu, 1 << 20)
                }
                Look::Ended(end) => Seen::Ended(end),
                Look::Denied => Seen::Unread(ReadError::PermissionDenied),
                Look::Panics => Seen::Unread(ReadError::Io(std::io::ErrorKind::Other)),
            };
            seen.insert(pid, see);
        }

        let mut asked = Vec::new();
        let mut words = Vec::new();
        let (hosts, world) = (&mut self.hosts, &self.world);
        self.sim.tick(|pid| {
            if asked.is_empty() {
                words.extend(meanwhile.iter().filter_map(|said| hosts.say(said, world, true)));
            }
            asked.push(pid);
            match seen[&pid] {
                Seen::Alive(cpu_time, memory_bytes) => {
                    Observed::Running(Usage { cpu_time, memory_bytes })
                }
                Seen::Ended(RunEnd::Exited(code)) => Observed::Exited(code),
                Seen::Ended(RunEnd::Signaled(signal)) => Observed::Signaled(signal),
                Seen::Ended(_) => Observed::Gone,
                Seen::Unread(ReadError::PermissionDenied) => Observed::Denied,
                // Unlike `panic!`, this prints nothing.
                Seen::Unread(_) => resume_unwind(Box::new("a read that panics")),
            }
        });
        self.world.hear_the_host();
        let mut open = self.world.open_pids();
        asked.sort_unstable();
        open.sort_unstable();
        prop_assert_eq!(asked, open, "asked once for each open run");
        self.world.tick(&|pid| seen[&pid], words);
        let revision = self.sim.snapshot().revision();
        prop_assert!(revision > self.revision, "every tick is published");
        Ok(())
    }

    /// Compares all queries, over the whole history and over `windows`.
    fn check_windows(&mut self, windows: &[Asked]) -> Checked {
        let snapshot = self.sim.snapshot();
        let ages: Vec<_> = self.world.sample_ages();
        let mut lengths = vec![Window::All];
        lengths.extend(windows.iter().map(|asked| match *asked {
            Asked::Zero => Window::from(Duration::ZERO),
            Asked::Longer => Window::from(Some(Duration::MAX)),
            Asked::Intervals(count, more) => {
                let interval = snapshot.poll_interval();
                Window::Last(interval * count + interval * more / 1_000)
            }
            Asked::Sample(nth, nanos) => ages.get(nth).map_or(Window::from(None), |&age| {
                let more = Duration::from_nanos(nanos.unsigned_abs());
                Window::Last(if nanos < 0 { age.saturating_sub(more) } else { age + more })
            }),
        }));
        drop(snapshot);
        self.check(&lengths)
    }

    fn check(&mut self, windows: &[Window]) -> Checked {
        let snapshot = self.sim.snapshot();
        let expected = self.world.overview();
        prop_assert!(snapshot.revision() >= self.revision);
        if snapshot.revision() > self.revision {
            self.revision = snapshot.revision();
            self.published_at = self.world.now();
        } else {
            prop_assert_eq!(&expected, &self.expected, "a change is published");
        }
        let seen = overview(&snapshot)?;
        // Compares part by part, for readable differences.
        for (seen, expected) in seen.plugins.iter().zip(&expected.plugins) {
            let ids =
                |plugin: &PluginSeen| plugin.runs.iter().map(|run| run.id).collect::<Vec<_>>();
            prop_assert_eq!(ids(seen), ids(expected), "runs");
            for (seen, expected) in seen.runs.iter().zip(&expected.runs) {
                prop_assert_eq!(seen, expected);
            }
            let brief = |plugin: &PluginSeen| PluginSeen { runs: Vec::new(), ..plugin.clone() };
            prop_assert_eq!(brief(seen), brief(expected));
        }
        prop_assert_eq!(&seen, &expected);
        prop_assert_eq!(snapshot.system().uptime, self.published_at);
        let ticked = expected
            .sampled_at
            .duration_since(snapshot.started_at())
            .expect("ticks come after the start");
        prop_assert_eq!(snapshot.sampled_at_instant(), self.began + ticked);
        self.expected = expected;

        for &window in windows {
            let expected = self.world.samples(window);
            let seen = samples(&snapshot, window)?;
            for (seen, expected) in seen.iter().zip(&expected) {
                let lengths = (seen.len(), expected.len());
                prop_assert_eq!(lengths.0, lengths.1, "samples in {:?}", window);
                for (seen, expected) in seen.iter().zip(expected) {
                    prop_assert_eq!(seen, expected, "in {:?}", window);
                }
            }
            prop_assert_eq!(seen.len(), expected.len());
            for (view, expected) in snapshot.plugins().zip(expected) {
                walks_agree(view, window, &expected)?;
            }
            for (view, expected) in snapshot.plugins().zip(self.world.windows(window)) {
                aggregates_agree(view, window, expected)?;
            }
        }
        Ok(())
    }

    fn check_held(&self) -> Checked {
        for held in &self.held {
            prop_assert_eq!(&overview(&held.snapshot)?, &held.overview);
            prop_assert_eq!(&samples(&held.snapshot, Window::All)?, &held.samples);
        }
        Ok(())
    }
}

fn run(run: &Run) -> RunSeen {
    RunSeen {
        id: run.id,
        pid: run.pid,
        version: run.version.as_deref().map(str::to_owned),
        started_at: run.started_at,
        reported_at: run.reported_at,
        ended_at: run.ended_at,
        end: run.end,
        cpu_time: run.cpu_time,
    }
}

/// Converts a percentage to thousandths. It must be a whole number of them.
fn thousandths(percent: f64) -> Result<u64, TestCaseError> {
    let thousandths = (percent * 1_000.0).round();
    prop_assert!(close(percent, thousandths / 1_000.0), "{percent} is in between");
    Ok(thousandths as u64)
}

fn sample(view: PluginView<'_>, sample: Sample<'_>) -> Result<SampleSeen, TestCaseError> {
    prop_assert_eq!(sample.plugin_name, view.name());
    Ok(SampleSeen {
        timestamp: sample.timestamp,
        version: sample.version.map(str::to_owned),
        pid: sample.pid,
        run: sample.run,
        state: sample.state,
        cpu: sample.cpu_percent.map(thousandths).transpose()?,
        memory_bytes: sample.memory_bytes,
        uptime: sample.uptime,
        event_count: sample.event_count,
        crash_count: sample.crash_count,
    })
}

fn plugin(view: PluginView<'_>) -> Result<PluginSeen, TestCaseError> {
    let current = view.current();
    Ok(PluginSeen {
        name: view.name().to_owned(),
        version: view.version().map(str::to_owned),
        pid: view.pid(),
        state: view.state(),
        state_since: view.state_since(),
        run: view.run().map(run),
        runs: view.runs().map(run).collect(),
        event_count: view.event_count(),
        crash_count: view.crash_count(),
        last_crash: view.last_crash(),
        restarts: view.restart_count(),
        cpu_time: view.cpu_time(),
        problem: view.read_error().copied(),
        current: current.map(|of_tick| sample(view, of_tick)).transpose()?,
    })
}

fn overview(snapshot: &Snapshot) -> Result<Overview, TestCaseError> {
    let system = snapshot.system();
    let sampler = snapshot.sampler();
    let plugins = snapshot.plugins().map(plugin).collect::<Result<Vec<_>, _>>()?;
    for seen in &plugins {
        let found = snapshot.plugin(&seen.name).map(|view| view.name());
        prop_assert_eq!(found, Some(seen.name.as_str()));
    }
    let nameless = NAMES.iter().filter(|name| snapshot.plugin(name).is_none());
    prop_assert_eq!(nameless.count(), NAMES.len() - plugins.len());
    prop_assert_eq!(system.total_plugins, plugins.len());
    prop_assert_eq!(sampler.ticks, snapshot.tick());
    prop_assert_eq!(sampler.missed_ticks, 0);
    prop_assert!(!snapshot.is_stopped());
    Ok(Overview {
        tick: snapshot.tick(),
        sampled_at: snapshot.sampled_at(),
        failed_reads: sampler.failed_reads,
        plugins_running: system.plugins_running,
        plugins_crashed: system.plugins_crashed,
        total_events: system.total_events,
        total_memory_bytes: system.total_memory_bytes,
        plugins,
    })
}

fn samples(snapshot: &Snapshot, window: Window) -> Result<Vec<Vec<SampleSeen>>, TestCaseError> {
    let of_plugin = |view: PluginView<'_>| {
        let history = view.history(window);
        history.map(|of_tick| sample(view, of_tick)).collect()
    };
    snapshot.plugins().map(of_plugin).collect()
}

/// Asserts that the history is the same in both directions.
fn walks_agree(view: PluginView<'_>, window: Window, expected: &[SampleSeen]) -> Checked {
    let moments: Vec<_> = expected.iter().map(|sample| sample.timestamp).collect();
    let mut backwards: Vec<_> = view.history(window).rev().map(|sample| sample.timestamp).collect();
    backwards.reverse();
    prop_assert_eq!(&backwards, &moments);

    // One from the front, two from the back, and so on, until they meet.
    let mut history = view.history(window);
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for left in (0..moments.len()).rev() {
        if left % 3 == 0 {
            front.extend(history.next());
        } else {
            back.extend(history.next_back());
        }
        prop_assert_eq!(history.len(), left);
    }
    prop_assert!(history.next().is_none());
    prop_assert!(history.next_back().is_none());
    prop_assert!(history.next().is_none());
    let met = front.iter().chain(back.iter().rev());
    let met: Vec<_> = met.map(|sample| sample.timestamp).collect();
    prop_assert_eq!(&met, &moments);

    for nth in [0, 1, moments.len() / 2, moments.len()] {
        let skipped = view.history(window).nth(nth).map(|sample| sample.timestamp);
        prop_assert_eq!(skipped, moments.get(nth).copied());
        let from_end = moments.len().checked_sub(1 + nth).map(|index| moments[index]);
        let skipped = view.history(window).nth_back(nth).map(|sample| sample.timestamp);
        prop_assert_eq!(skipped, from_end);
    }
    Ok(())
}

fn close(seen: f64, expected: f64) -> bool {
    (seen - expected).abs() <= 1e-12 * expected.abs().max(1.0)
}

fn summary_agrees(seen: Option<Summary>, sorted: Option<&oracle::Sorted>, unit: f64) -> Checked {
    prop_assert_eq!(seen.is_some(), sorted.is_some());
    if let Some((seen, sorted)) = seen.zip(sorted) {
        let values = &sorted.0;
        let in_unit = |value: u64| value as f64 / unit;
        prop_assert_eq!(seen.count, values.len());
        let avg = in_unit(sorted.sum()) / values.len() as f64;
        prop_assert!(close(seen.avg, avg), "average {} is not {avg}", seen.avg);
        for (which, seen, expected) in [
            ("minimum", seen.min, values[0]),
            ("maximum", seen.max, values[values.len() - 1]),
            ("p95", seen.p95, sorted.p95()),
        ] {
            let expected = in_unit(expected);
            prop_assert!(close(seen, expected), "{which} {seen} is not {expected}");
        }
    }
    Ok(())
}

fn aggregates_agree(
    view: PluginView<'_>,
    window: Window,
    expected: Option<oracle::WindowSeen>,
) -> Checked {
    let seen = view.aggregates(window);
    prop_assert_eq!(seen.is_some(), expected.is_some(), "{:?}", window);
    if let Some((seen, expected)) = seen.zip(expected) {
        prop_assert_eq!(&*seen.plugin_name, view.name());
        prop_assert_eq!(seen.sample_count, expected.sample_count);
        prop_assert_eq!(seen.time_span, expected.time_span);
        summary_agrees(seen.cpu, expected.cpu.as_ref(), 1_000.0)?;
        summary_agrees(seen.memory, expected.memory.as_ref(), 1.0)?;
        prop_assert_eq!(seen.events, expected.events);
        let per_second = if expected.sample_count == 1 {
            0.0
        } else {
            expected.events as f64 / expected.time_span.as_secs_f64()
        };
        let rate = seen.events_per_second;
        prop_assert!(close(rate, per_second), "{rate} events per second, not {per_second}");
        prop_assert_eq!(seen.crashes, expected.crashes);
    }
    Ok(())
}

/// Registers two plugins and runs the steps.
fn live(lengths: (Duration, Duration), steps: Vec<Step>) -> Checked {
    let mut life = vec![Step::Register(0), Step::Register(1)];
    life.extend(steps);
    Bench::new(lengths).live(&life)
}

fn cases(cases: u32) -> ProptestConfig {
    let beside = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig {
        failure_persistence: Some(Box::new(beside)),
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn queries_agree_with_oracle(
        lengths in lengths(),
        steps in steps(1, 100),
    ) {
        live(lengths, steps)?;
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// As above, with hundreds of runs.
    #[test]
    fn queries_agree_with_oracle_over_many_runs(
        lengths in lengths(),
        steps in steps(12, 60),
    ) {
        live(lengths, steps)?;
    }
}

/// The smallest history: one sample.
const SHORTEST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(10));
const ZERO: [Asked; 2] = [Asked::Zero, Asked::Zero];
const IDLE: Step = Step::Ticks { count: 1, seed: 0, windows: ZERO };

#[test]
fn pending_crash_counts_after_many_runs() {
    let crash = Step::Tick {
        looks: [Look::Ended(RunEnd::Exited(1)); PIDS.len()],
        meanwhile: Vec::new(),
        windows: ZERO,
    };
    let second = Step::Advance(Duration::from_secs(1), ZERO);
    let steps = vec![Step::Reloads(0, 108), crash, IDLE, IDLE, Step::Reloads(0, 60), second];
    live(SHORTEST, steps).expect("the model agrees");
}

#[test]
fn runs_are_listed_until_tick_passes_them() {
    let hour = Step::Advance(Duration::from_secs(3_600), ZERO);
    let now = Step::Advance(Duration::ZERO, ZERO);
    let before_a_tick = vec![Step::Reloads(0, 70), hour.clone(), Step::Reloads(0, 58), now.clone()];
    live(SHORTEST, before_a_tick).expect("the model agrees");
    let after = vec![Step::Reloads(0, 70), IDLE, hour, Step::Reloads(0, 58), now, IDLE, IDLE];
    live(SHORTEST, after).expect("the model agrees");
}

#[test]
fn restarted_run_keeps_process_start() {
    let named = |version| {
        let saying = Saying::Started { pid: Pid::One(11), version, fresh: false };
        Step::Say(Said { name: 0, stale: false, saying })
    };
    live(SHORTEST, vec![named("1.0"), IDLE, named("1.1"), IDLE]).expect("the model agrees");
}
