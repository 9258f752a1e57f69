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

use oracle::{Oracle, PluginFields, Reading, Report, RunFields, SampleFields, SnapshotFields};

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
enum ReportKind {
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
struct HostReport {
    name: usize,
    /// Sent to a handle of a removed plugin that had this name.
    stale: bool,
    report_kind: ReportKind,
}

/// What a tick reads of one PID.
#[derive(Clone, Copy, Debug)]
enum PlannedReading {
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
enum WindowSpec {
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
    Say(HostReport),
    Events(usize, u64),
    /// Consecutive hot reloads.
    Reloads(usize, u16),
    Tick {
        planned_readings: [PlannedReading; PIDS.len()],
        /// Reports during the tick, while it reads the first process.
        during_tick: Vec<HostReport>,
        windows: [WindowSpec; 2],
    },
    /// Ticks without other changes.
    Ticks {
        count: u32,
        seed: u32,
        windows: [WindowSpec; 2],
    },
    Advance(Duration, [WindowSpec; 2]),
    /// Holds a snapshot to the end.
    Hold,
}

fn report_kind() -> BoxedStrategy<ReportKind> {
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
            .prop_map(|(pid, version, fresh)| ReportKind::Started { pid, version, fresh }),
        6 => (prop_oneof![4 => Just(0), 3 => Just(1), 1 => 2..9_usize, 1 => 9..400_usize], status())
            .prop_map(|(back, status)| ReportKind::Exited { back, status }),
        1 => status().prop_map(|status| ReportKind::ExitedOfAnother { status }),
        6 => select(&STATES[..]).prop_map(ReportKind::State),
        3 => any::<bool>().prop_map(ReportKind::Method),
        1 => Just(ReportKind::Remove),
    ]
    .boxed()
}

fn host_report() -> impl Strategy<Value = HostReport> {
    (0..NAMES.len(), prop::bool::weighted(0.05), report_kind())
        .prop_map(|(name, stale, report_kind)| HostReport { name, stale, report_kind })
}

fn end() -> impl Strategy<Value = RunEnd> {
    prop_oneof![
        1 => Just(RunEnd::Exited(0)),
        1 => any::<i32>().prop_map(RunEnd::Exited),
        2 => (1..=64).prop_map(RunEnd::Signaled),
        2 => Just(RunEnd::Unknown),
    ]
}

fn planned_reading() -> BoxedStrategy<PlannedReading> {
    let memory = prop_oneof![3 => 1..1_u64 << 34, 1 => select(&MEMORY[..])];
    let permille = prop_oneof![1 => Just(0), 4 => 0..4_000_u32];
    prop_oneof![
        16 => (permille, 0..1_000_u64, memory)
            .prop_map(|(permille, nanos, memory)| PlannedReading::Alive { permille, nanos, memory }),
        1 => Just(PlannedReading::Down),
        4 => end().prop_map(PlannedReading::Ended),
        2 => Just(PlannedReading::Denied),
        1 => Just(PlannedReading::Panics),
    ]
    .boxed()
}

fn window_spec() -> impl Strategy<Value = WindowSpec> {
    prop_oneof![
        1 => Just(WindowSpec::Zero),
        1 => Just(WindowSpec::Longer),
        3 => (0..100_u32).prop_map(|count| WindowSpec::Intervals(count, 0)),
        3 => (0..100_u32, 1..1_000_u32).prop_map(|(count, more)| WindowSpec::Intervals(count, more)),
        3 => (0..100_usize, -1..=1_i64).prop_map(|(nth, nanos)| WindowSpec::Sample(nth, nanos)),
    ]
}

/// A process exits, with arbitrary reports before and after.
fn exit_sequence() -> impl Strategy<Value = Vec<Step>> {
    let planned_readings = [
        planned_reading(),
        planned_reading(),
        planned_reading(),
        planned_reading(),
        planned_reading(),
    ];
    let delay =
        select(vec![0, 1, 10_000_000, 999_999_999, 1_000_000_000]).prop_map(Duration::from_nanos);
    let report_kinds = || vec(report_kind(), 0..4);
    let ended = prop::bool::weighted(0.8);
    let parts = (
        0..NAMES.len(),
        report_kinds(),
        planned_readings,
        end(),
        ended,
        report_kinds(),
        report_kinds(),
    );
    (parts, delay, windows()).prop_map(|(parts, delay, windows)| {
        let (name, before, mut planned_readings, end, ended, during_tick, after) = parts;
        let host_report = |report_kind| HostReport { name, stale: false, report_kind };
        if ended {
            planned_readings = [PlannedReading::Ended(end); PIDS.len()];
        }
        let during_tick = during_tick.into_iter().map(host_report).collect();
        let mut steps = vec![Step::Register(name)];
        steps.extend(before.into_iter().map(host_report).map(Step::Say));
        steps.push(Step::Tick { planned_readings, during_tick, windows });
        steps.extend(after.into_iter().map(host_report).map(Step::Say));
        steps.push(Step::Advance(delay, windows));
        steps
    })
}

fn windows() -> impl Strategy<Value = [WindowSpec; 2]> {
    [window_spec(), window_spec()]
}

/// `reloads` is the weight of long series of runs.
fn step(reloads: u32) -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let during_tick = prop_oneof![4 => Just(Vec::new()), 1 => vec(host_report(), 1..4)];
    let planned_readings = [
        planned_reading(),
        planned_reading(),
        planned_reading(),
        planned_reading(),
        planned_reading(),
    ];
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
        20 => host_report().prop_map(Step::Say),
        3 => (name(), events).prop_map(|(name, events)| Step::Events(name, events)),
        reloads => (name(), prop_oneof![8 => 2..6_u16, 1 => 60..130_u16, 1 => 250..300_u16])
            .prop_map(|(name, count)| Step::Reloads(name, count)),
        12 => (planned_readings, during_tick, windows())
            .prop_map(|(planned_readings, during_tick, windows)| Step::Tick { planned_readings, during_tick, windows }),
        2 => (2..45_u32, any::<u32>(), windows())
            .prop_map(|(count, seed, windows)| Step::Ticks { count, seed, windows }),
        4 => (time, windows()).prop_map(|(time, windows)| Step::Advance(time, windows)),
        1 => Just(Step::Hold),
    ]
}

fn steps(reloads: u32, most: usize) -> impl Strategy<Value = Vec<Step>> {
    // Boxed, because the values are too large for the stack of a test thread.
    let one = step(reloads).prop_map(|step| vec![step]).boxed();
    let some = prop_oneof![12 => one, 1 => exit_sequence().boxed()];
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
struct HostPlugin {
    plugin: Plugin,
    name: usize,
    /// Its index in the oracle.
    registration: usize,
    removed: bool,
    runs: Vec<RunId>,
    last_pid: u32,
}

/// All handles that the host has ever had, and the CPU time of each PID.
#[derive(Default)]
struct Host {
    all: Vec<HostPlugin>,
    cpu: BTreeMap<u32, Duration>,
}

impl Host {
    fn of(&mut self, name: usize, removed: bool) -> Option<&mut HostPlugin> {
        let mut newest_first = self.all.iter_mut().rev();
        newest_first.find(|host| host.name == name && host.removed == removed)
    }

    /// Sends a report to the handle and returns the report for the oracle.
    fn send(
        &mut self,
        host_report: &HostReport,
        oracle: &Oracle,
        in_tick: bool,
    ) -> Option<(usize, Report)> {
        let another = self.all.iter().filter(|host| host.name != host_report.name);
        let another = another.filter_map(|host| host.runs.last().copied()).next_back();
        let host = self.of(host_report.name, host_report.stale)?;
        let registration = host.registration;
        let report = match host_report.report_kind {
            ReportKind::Started { pid, version, fresh } => {
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
                Report::Started { run, pid, version }
            }
            ReportKind::Exited { back, status } => {
                let run = host.runs[host.runs.len().checked_sub(1 + back)?];
                // The tracker may forget a clean exit that only the sampler has detected, once the
                // run is not listed any more. Whether a later report about it has an effect is
                // unspecified.
                let newer = if in_tick { 0 } else { 200 };
                if back > newer && oracle.is_clean_and_unclassified(registration, run)
                    || oracle.may_be_pruned(registration, run)
                {
                    return None;
                }
                host.exited(run, status)
            }
            ReportKind::ExitedOfAnother { status } => host.exited(another?, status),
            ReportKind::State(state) => {
                host.plugin.set_state(state);
                Report::State(state)
            }
            ReportKind::Method(true) => {
                host.plugin.crashed();
                Report::State(PluginState::Crashed)
            }
            ReportKind::Method(false) => {
                host.plugin.stopped();
                Report::State(PluginState::Stopped)
            }
            ReportKind::Remove => {
                host.plugin.remove();
                host.removed = true;
                Report::Removed
            }
        };
        Some((registration, report))
    }
}

impl HostPlugin {
    fn exited(&self, run: RunId, status: i32) -> Report {
        let status = ExitStatus::from_raw(status);
        self.plugin.exited(run, status);
        let end = status.signal().map(RunEnd::Signaled);
        let code = status.code().map(RunEnd::Exited);
        Report::Exited(run, end.or(code).expect("a status is a code or a signal"))
    }
}

/// A snapshot that is held, and its content when it was new.
struct Held {
    snapshot: Snapshot,
    snapshot_fields: SnapshotFields,
    samples: Vec<Vec<SampleFields>>,
}

/// The simulation, the oracle, and the host that reports to both.
struct Harness {
    sim: Simulation,
    oracle: Oracle,
    host: Host,
    began: Instant,
    expected: SnapshotFields,
    revision: u64,
    published_at: Duration,
    held: Vec<Held>,
}

impl Harness {
    fn new((poll_interval, history_duration): (Duration, Duration)) -> Self {
        let config =
            Config::default().poll_interval(poll_interval).history_duration(history_duration);
        let sim = Simulation::new(config).expect("the durations are valid");
        let first = sim.snapshot();
        let oracle = Oracle::new(first.started_at(), poll_interval, history_duration);
        Self {
            sim,
            host: Host::default(),
            began: first.sampled_at_instant(),
            expected: oracle.snapshot_fields(),
            oracle,
            revision: first.revision(),
            published_at: Duration::ZERO,
            held: Vec::new(),
        }
    }

    fn run(&mut self, steps: &[Step]) -> Checked {
        self.check(&[Window::All])?;
        for step in steps {
            self.run_step(step)?;
        }
        self.check_held()
    }

    fn run_step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Register(name) => self.register(*name)?,
            Step::Say(host_report) => {
                if let Some((registration, report)) =
                    self.host.send(host_report, &self.oracle, false)
                {
                    self.oracle.queue(registration, report);
                }
            }
            Step::Events(name, events) => {
                if let Some(host) = self.host.of(*name, false) {
                    host.plugin.events().clone().add(*events);
                    self.oracle.add_events(host.registration, *events);
                    let all = self.oracle.events(host.registration);
                    prop_assert_eq!(host.plugin.events().get(), all);
                }
            }
            Step::Reloads(name, count) => {
                for nth in 0..usize::from(*count) {
                    let host_report = HostReport {
                        name: *name,
                        stale: false,
                        report_kind: ReportKind::Started {
                            pid: Pid::One(PIDS[nth % PIDS.len()]),
                            version: VERSIONS[nth % VERSIONS.len()],
                            fresh: true,
                        },
                    };
                    self.run_step(&Step::Say(host_report))?;
                }
            }
            Step::Tick { planned_readings, during_tick, windows } => {
                self.tick(planned_readings, during_tick)?;
                self.check_windows(windows)?;
            }
            Step::Ticks { count, seed, windows } => {
                for nth in 0..*count {
                    let drawn = seed.wrapping_add(nth).wrapping_mul(2_654_435_761) >> 8;
                    let planned_reading = PlannedReading::Alive {
                        permille: drawn % 2_000,
                        nanos: u64::from(drawn % 997),
                        memory: u64::from(drawn),
                    };
                    self.tick(&[planned_reading; PIDS.len()], &[])?;
                    // Checks each of these ticks, but not the whole history.
                    self.check(&[Window::Last(self.sim.snapshot().poll_interval())])?;
                }
                self.check_windows(windows)?;
            }
            Step::Advance(time, windows) => {
                let silent = self.oracle.has_no_pending_reports();
                let before = self.oracle.snapshot_fields();
                self.sim.advance(*time);
                self.oracle.advance(*time);
                if silent && self.oracle.snapshot_fields() == before {
                    let revision = self.sim.snapshot().revision();
                    prop_assert_eq!(revision, self.revision, "nothing has changed");
                }
                self.check_windows(windows)?;
            }
            Step::Hold => {
                self.check_held()?;
                let snapshot = self.sim.snapshot();
                self.held.push(Held {
                    snapshot_fields: snapshot_fields(&snapshot)?,
                    samples: samples(&snapshot, Window::All)?,
                    snapshot,
                });
            }
        }
        Ok(())
    }

    fn register(&mut self, name: usize) -> Checked {
        let registered = self.sim.register(NAMES[name]);
        if self.host.of(name, false).is_some() {
            let refused = matches!(registered, Err(RegisterError::AlreadyRegistered { .. }));
            prop_assert!(refused, "the name {:?} is taken", NAMES[name]);
            return Ok(());
        }
        let plugin = registered.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(plugin.name(), NAMES[name]);
        prop_assert_eq!(plugin.events().get(), 0);
        self.host.all.push(HostPlugin {
            plugin,
            name,
            registration: self.oracle.register(NAMES[name]),
            removed: false,
            runs: Vec::new(),
            last_pid: PIDS[name],
        });
        Ok(())
    }

    fn tick(
        &mut self,
        planned_readings: &[PlannedReading; PIDS.len()],
        during_tick: &[HostReport],
    ) -> Checked {
        let interval = self.sim.snapshot().poll_interval();
        let mut readings = BTreeMap::new();
        for (&pid, &planned_reading) in PIDS.iter().zip(planned_readings) {
            let cpu = self.host.cpu.entry(pid).or_default();
            let read = match planned_reading {
                PlannedReading::Alive { permille, nanos, memory } => {
                    *cpu += interval * permille / 1_000 + Duration::from_nanos(nanos);
                    Reading::Alive(*cpu, memory)
                }
                PlannedReading::Down => {
                    *cpu /= 3;
                    Reading::Alive(*cpu, 1 << 20)
                }
                PlannedReading::Ended(end) => Reading::Ended(end),
                PlannedReading::Denied => Reading::Failed(ReadError::PermissionDenied),
                PlannedReading::Panics => Reading::Failed(ReadError::Io(std::io::ErrorKind::Other)),
            };
            readings.insert(pid, read);
        }

        let mut read_pids = Vec::new();
        let mut reports = Vec::new();
        let (host, oracle) = (&mut self.host, &self.oracle);
        self.sim.tick(|pid| {
            if read_pids.is_empty() {
                reports.extend(
                    during_tick
                        .iter()
                        .filter_map(|host_report| host.send(host_report, oracle, true)),
                );
            }
            read_pids.push(pid);
            match readings[&pid] {
                Reading::Alive(cpu_time, memory_bytes) => {
                    Observed::Running(Usage { cpu_time, memory_bytes })
                }
                Reading::Ended(RunEnd::Exited(code)) => Observed::Exited(code),
                Reading::Ended(RunEnd::Signaled(signal)) => Observed::Signaled(signal),
                Reading::Ended(_) => Observed::Gone,
                Reading::Failed(ReadError::PermissionDenied) => Observed::Denied,
                // Unlike `panic!`, this prints nothing.
                Reading::Failed(_) => resume_unwind(Box::new("a read that panics")),
            }
        });
        self.oracle.process_pending();
        let mut open = self.oracle.active_pids();
        read_pids.sort_unstable();
        open.sort_unstable();
        prop_assert_eq!(read_pids, open, "each active run is read once");
        self.oracle.tick(&|pid| readings[&pid], reports);
        let revision = self.sim.snapshot().revision();
        prop_assert!(revision > self.revision, "every tick is published");
        Ok(())
    }

    /// Compares all queries, over the whole history and over `windows`.
    fn check_windows(&mut self, windows: &[WindowSpec]) -> Checked {
        let snapshot = self.sim.snapshot();
        let ages: Vec<_> = self.oracle.sample_ages();
        let mut lengths = vec![Window::All];
        lengths.extend(windows.iter().map(|window_spec| match *window_spec {
            WindowSpec::Zero => Window::from(Duration::ZERO),
            WindowSpec::Longer => Window::from(Some(Duration::MAX)),
            WindowSpec::Intervals(count, more) => {
                let interval = snapshot.poll_interval();
                Window::Last(interval * count + interval * more / 1_000)
            }
            WindowSpec::Sample(nth, nanos) => ages.get(nth).map_or(Window::from(None), |&age| {
                let more = Duration::from_nanos(nanos.unsigned_abs());
                Window::Last(if nanos < 0 { age.saturating_sub(more) } else { age + more })
            }),
        }));
        drop(snapshot);
        self.check(&lengths)
    }

    fn check(&mut self, windows: &[Window]) -> Checked {
        let snapshot = self.sim.snapshot();
        let expected = self.oracle.snapshot_fields();
        prop_assert!(snapshot.revision() >= self.revision);
        if snapshot.revision() > self.revision {
            self.revision = snapshot.revision();
            self.published_at = self.oracle.now();
        } else {
            prop_assert_eq!(&expected, &self.expected, "a change is published");
        }
        let actual = snapshot_fields(&snapshot)?;
        // Compares part by part, for readable differences.
        for (actual, expected) in actual.plugins.iter().zip(&expected.plugins) {
            let ids =
                |plugin: &PluginFields| plugin.runs.iter().map(|run| run.id).collect::<Vec<_>>();
            prop_assert_eq!(ids(actual), ids(expected), "runs");
            for (actual, expected) in actual.runs.iter().zip(&expected.runs) {
                prop_assert_eq!(actual, expected);
            }
            let brief = |plugin: &PluginFields| PluginFields { runs: Vec::new(), ..plugin.clone() };
            prop_assert_eq!(brief(actual), brief(expected));
        }
        prop_assert_eq!(&actual, &expected);
        prop_assert_eq!(snapshot.system().uptime, self.published_at);
        let ticked = expected
            .sampled_at
            .duration_since(snapshot.started_at())
            .expect("ticks come after the start");
        prop_assert_eq!(snapshot.sampled_at_instant(), self.began + ticked);
        self.expected = expected;

        for &window in windows {
            let expected = self.oracle.samples(window);
            let actual = samples(&snapshot, window)?;
            for (actual, expected) in actual.iter().zip(&expected) {
                let lengths = (actual.len(), expected.len());
                prop_assert_eq!(lengths.0, lengths.1, "samples in {:?}", window);
                for (actual, expected) in actual.iter().zip(expected) {
                    prop_assert_eq!(actual, expected, "in {:?}", window);
                }
            }
            prop_assert_eq!(actual.len(), expected.len());
            for (view, expected) in snapshot.plugins().zip(expected) {
                walks_agree(view, window, &expected)?;
            }
            for (view, expected) in snapshot.plugins().zip(self.oracle.windows(window)) {
                aggregates_agree(view, window, expected)?;
            }
        }
        Ok(())
    }

    fn check_held(&self) -> Checked {
        for held in &self.held {
            prop_assert_eq!(&snapshot_fields(&held.snapshot)?, &held.snapshot_fields);
            prop_assert_eq!(&samples(&held.snapshot, Window::All)?, &held.samples);
        }
        Ok(())
    }
}

fn run(run: &Run) -> RunFields {
    RunFields {
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
    prop_assert!(
        close(percent, thousandths / 1_000.0),
        "{percent} is no whole number of thousandths"
    );
    Ok(thousandths as u64)
}

fn sample(view: PluginView<'_>, sample: Sample<'_>) -> Result<SampleFields, TestCaseError> {
    prop_assert_eq!(sample.plugin_name, view.name());
    Ok(SampleFields {
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

fn plugin(view: PluginView<'_>) -> Result<PluginFields, TestCaseError> {
    let current = view.current();
    Ok(PluginFields {
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
        read_error: view.read_error().copied(),
        current: current.map(|of_tick| sample(view, of_tick)).transpose()?,
    })
}

fn snapshot_fields(snapshot: &Snapshot) -> Result<SnapshotFields, TestCaseError> {
    let system = snapshot.system();
    let sampler = snapshot.sampler();
    let plugins = snapshot.plugins().map(plugin).collect::<Result<Vec<_>, _>>()?;
    for actual in &plugins {
        let found = snapshot.plugin(&actual.name).map(|view| view.name());
        prop_assert_eq!(found, Some(actual.name.as_str()));
    }
    let nameless = NAMES.iter().filter(|name| snapshot.plugin(name).is_none());
    prop_assert_eq!(nameless.count(), NAMES.len() - plugins.len());
    prop_assert_eq!(system.total_plugins, plugins.len());
    prop_assert_eq!(sampler.ticks, snapshot.tick());
    prop_assert_eq!(sampler.missed_ticks, 0);
    prop_assert!(!snapshot.is_stopped());
    Ok(SnapshotFields {
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

fn samples(snapshot: &Snapshot, window: Window) -> Result<Vec<Vec<SampleFields>>, TestCaseError> {
    let of_plugin = |view: PluginView<'_>| {
        let history = view.history(window);
        history.map(|of_tick| sample(view, of_tick)).collect()
    };
    snapshot.plugins().map(of_plugin).collect()
}

/// Asserts that the history is the same in both directions.
fn walks_agree(view: PluginView<'_>, window: Window, expected: &[SampleFields]) -> Checked {
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

fn close(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() <= 1e-12 * expected.abs().max(1.0)
}

fn summary_agrees(
    actual: Option<Summary>,
    sorted: Option<&oracle::SortedValues>,
    unit: f64,
) -> Checked {
    prop_assert_eq!(actual.is_some(), sorted.is_some());
    if let Some((actual, sorted)) = actual.zip(sorted) {
        let values = &sorted.0;
        let in_unit = |value: u64| value as f64 / unit;
        prop_assert_eq!(actual.count, values.len());
        let avg = in_unit(sorted.sum()) / values.len() as f64;
        prop_assert!(close(actual.avg, avg), "average {} is not {avg}", actual.avg);
        for (which, actual, expected) in [
            ("minimum", actual.min, values[0]),
            ("maximum", actual.max, values[values.len() - 1]),
            ("p95", actual.p95, sorted.p95()),
        ] {
            let expected = in_unit(expected);
            prop_assert!(close(actual, expected), "{which} {actual} is not {expected}");
        }
    }
    Ok(())
}

fn aggregates_agree(
    view: PluginView<'_>,
    window: Window,
    expected: Option<oracle::WindowFields>,
) -> Checked {
    let actual = view.aggregates(window);
    prop_assert_eq!(actual.is_some(), expected.is_some(), "{:?}", window);
    if let Some((actual, expected)) = actual.zip(expected) {
        prop_assert_eq!(&*actual.plugin_name, view.name());
        prop_assert_eq!(actual.sample_count, expected.sample_count);
        prop_assert_eq!(actual.time_span, expected.time_span);
        summary_agrees(actual.cpu, expected.cpu.as_ref(), 1_000.0)?;
        summary_agrees(actual.memory, expected.memory.as_ref(), 1.0)?;
        prop_assert_eq!(actual.events, expected.events);
        let per_second = if expected.sample_count == 1 {
            0.0
        } else {
            expected.events as f64 / expected.time_span.as_secs_f64()
        };
        let rate = actual.events_per_second;
        prop_assert!(close(rate, per_second), "{rate} events per second, not {per_second}");
        prop_assert_eq!(actual.crashes, expected.crashes);
    }
    Ok(())
}

/// Registers two plugins and runs the steps.
fn run_steps(lengths: (Duration, Duration), steps: Vec<Step>) -> Checked {
    let mut all = vec![Step::Register(0), Step::Register(1)];
    all.extend(steps);
    Harness::new(lengths).run(&all)
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
        run_steps(lengths, steps)?;
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
        run_steps(lengths, steps)?;
    }
}

/// The smallest history: one sample.
const SHORTEST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(10));
const ZERO: [WindowSpec; 2] = [WindowSpec::Zero, WindowSpec::Zero];
const IDLE: Step = Step::Ticks { count: 1, seed: 0, windows: ZERO };

#[test]
fn pending_crash_counts_after_many_runs() {
    let crash = Step::Tick {
        planned_readings: [PlannedReading::Ended(RunEnd::Exited(1)); PIDS.len()],
        during_tick: Vec::new(),
        windows: ZERO,
    };
    let second = Step::Advance(Duration::from_secs(1), ZERO);
    let steps = vec![Step::Reloads(0, 108), crash, IDLE, IDLE, Step::Reloads(0, 60), second];
    run_steps(SHORTEST, steps).expect("the oracle agrees");
}

#[test]
fn runs_are_listed_until_tick_passes_them() {
    let hour = Step::Advance(Duration::from_secs(3_600), ZERO);
    let now = Step::Advance(Duration::ZERO, ZERO);
    let before_a_tick = vec![Step::Reloads(0, 70), hour.clone(), Step::Reloads(0, 58), now.clone()];
    run_steps(SHORTEST, before_a_tick).expect("the oracle agrees");
    let after = vec![Step::Reloads(0, 70), IDLE, hour, Step::Reloads(0, 58), now, IDLE, IDLE];
    run_steps(SHORTEST, after).expect("the oracle agrees");
}

#[test]
fn restarted_run_keeps_process_start() {
    let named = |version| {
        let report_kind = ReportKind::Started { pid: Pid::One(11), version, fresh: false };
        Step::Say(HostReport { name: 0, stale: false, report_kind })
    };
    run_steps(SHORTEST, vec![named("1.0"), IDLE, named("1.1"), IDLE]).expect("the oracle agrees");
}
