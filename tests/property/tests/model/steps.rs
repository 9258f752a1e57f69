//! The steps of a case, and the strategies that generate them.

use std::time::Duration;

use plugmeter::{PluginState, RunEnd};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::registration::CLEAN_EXIT_CODE;

pub(crate) const NAMES: [&str; 4] = ["dice", "8ball", "dice-2", "würfel"];
pub(crate) const PIDS: [u32; 5] = [11, 12, 13, 14, i32::MAX as u32];
const INVALID_PIDS: [u32; 3] = [0, i32::MAX as u32 + 1, u32::MAX];
pub(crate) const VERSIONS: [&str; 4] = ["", "1.0", "1.1", "2.0-β"];
/// The largest memory that a sample can store, and its neighbors.
const MEMORY: [u64; 8] =
    [0, 1, 1_023, 4_097, (1 << 42) - 2_049, (1 << 42) - 2_048, 1 << 42, u64::MAX];
/// Clean exit codes besides 0, and their neighbors.
const CLEAN_CODES: [i32; 7] = [129, 130, 141, 143, CLEAN_EXIT_CODE, CLEAN_EXIT_CODE + 1, 137];
/// Most events have no kind.
const KINDS: [Option<&str>; 5] = [None, None, Some("command"), Some("message"), Some("タスク")];
const STATES: [PluginState; 7] = [
    PluginState::Stopped,
    PluginState::Starting,
    PluginState::Running,
    PluginState::Unhealthy,
    PluginState::Stopping,
    PluginState::Crashed,
    PluginState::Failed,
];

/// The process that the host reports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pid {
    /// The process of the last report: `exec`, if it is still alive.
    Same,
    One(u32),
}

/// A report about one plugin.
#[derive(Clone, Debug)]
pub(crate) enum ReportKind {
    Started {
        pid: Pid,
        version: &'static str,
        /// Its CPU time starts at zero, as that of a new process.
        fresh: bool,
    },
    /// Refers to the run that is `back` runs before the newest one.
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
pub(crate) struct HostReport {
    pub(crate) name: usize,
    /// Sent to a handle of a removed plugin that had this name.
    pub(crate) stale: bool,
    pub(crate) kind: ReportKind,
}

/// What a tick reads of the descendants of one PID.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedTree {
    /// Of the interval; `None` for a CPU time that decreases.
    pub(crate) permille: Option<u32>,
    pub(crate) memory: u64,
    pub(crate) processes: u32,
}

/// What a tick reads of one PID.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PlannedReading {
    Alive {
        /// Of the interval.
        permille: u32,
        nanos: u64,
        memory: u64,
        tree: Option<PlannedTree>,
    },
    /// Its CPU time decreases.
    Down(Option<PlannedTree>),
    Ended(RunEnd),
    Denied,
    Panics,
}

/// A window relative to the history at the time of the query.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WindowSpec {
    Zero,
    Longer,
    /// Intervals, and thousandths of an interval.
    Intervals(u32, u32),
    /// The age of the sample with this number from the end, and an offset in nanoseconds.
    Sample(usize, i64),
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Register(usize),
    Report(HostReport),
    /// Name, events, and the kind, if they have one.
    Events(usize, u64, Option<&'static str>),
    /// Consecutive hot reloads.
    Reloads(usize, u16),
    Tick {
        /// In a box, because it is larger than all other steps.
        planned: Box<[PlannedReading; PIDS.len()]>,
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
        1 => select(&INVALID_PIDS[..]).prop_map(Pid::One),
    ];
    let status = || {
        prop_oneof![
            3 => Just(0),
            2 => (1..=255).prop_map(|code| code << 8),
            1 => select(&CLEAN_CODES[..]).prop_map(|code| code << 8),
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
        .prop_map(|(name, stale, kind)| HostReport { name, stale, kind })
}

fn end() -> impl Strategy<Value = RunEnd> {
    prop_oneof![
        1 => Just(RunEnd::Exited(0)),
        1 => any::<i32>().prop_map(RunEnd::Exited),
        1 => select(&CLEAN_CODES[..]).prop_map(RunEnd::Exited),
        2 => (1..=64).prop_map(RunEnd::Signaled),
        2 => Just(RunEnd::Unknown),
    ]
}

fn planned_reading() -> BoxedStrategy<PlannedReading> {
    let memory = || prop_oneof![3 => 1..1_u64 << 34, 1 => select(&MEMORY[..])];
    let permille = || prop_oneof![1 => Just(0), 4 => 0..4_000_u32];
    let tree = || {
        let of_others = prop_oneof![1 => Just(None), 8 => permille().prop_map(Some)];
        let processes =
            prop_oneof![1 => Just(0), 2 => Just(1), 6 => 2..2_000_u32, 1 => any::<u32>()];
        let tree = (of_others, memory(), processes)
            .prop_map(|(permille, memory, processes)| PlannedTree { permille, memory, processes });
        prop_oneof![3 => Just(None), 2 => tree.prop_map(Some)]
    };
    prop_oneof![
        16 => (permille(), 0..1_000_u64, memory(), tree()).prop_map(
            |(permille, nanos, memory, tree)| PlannedReading::Alive { permille, nanos, memory, tree }
        ),
        1 => tree().prop_map(PlannedReading::Down),
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
    let planned = [
        planned_reading(),
        planned_reading(),
        planned_reading(),
        planned_reading(),
        planned_reading(),
    ];
    let delay =
        select(vec![0, 1, 10_000_000, 999_999_999, 1_000_000_000]).prop_map(Duration::from_nanos);
    let kinds = || vec(report_kind(), 0..4);
    let ended = prop::bool::weighted(0.8);
    let parts = (0..NAMES.len(), kinds(), planned, end(), ended, kinds(), kinds());
    (parts, delay, windows()).prop_map(|(parts, delay, windows)| {
        let (name, before, mut planned, end, ended, during_tick, after) = parts;
        let host_report = |kind| HostReport { name, stale: false, kind };
        if ended {
            planned = [PlannedReading::Ended(end); PIDS.len()];
        }
        let during_tick = during_tick.into_iter().map(host_report).collect();
        let mut steps = vec![Step::Register(name)];
        steps.extend(before.into_iter().map(host_report).map(Step::Report));
        steps.push(Step::Tick { planned: Box::new(planned), during_tick, windows });
        steps.extend(after.into_iter().map(host_report).map(Step::Report));
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
    let planned = [
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
        20 => host_report().prop_map(Step::Report),
        3 => (name(), events, select(KINDS.to_vec()))
            .prop_map(|(name, events, kind)| Step::Events(name, events, kind)),
        reloads => (name(), prop_oneof![8 => 2..6_u16, 1 => 60..130_u16, 1 => 250..300_u16])
            .prop_map(|(name, count)| Step::Reloads(name, count)),
        12 => (planned, during_tick, windows())
            .prop_map(|(planned, during_tick, windows)| Step::Tick { planned: Box::new(planned), during_tick, windows }),
        2 => (2..45_u32, any::<u32>(), windows())
            .prop_map(|(count, seed, windows)| Step::Ticks { count, seed, windows }),
        4 => (time, windows()).prop_map(|(time, windows)| Step::Advance(time, windows)),
        1 => Just(Step::Hold),
    ]
}

pub(crate) fn steps(reloads: u32, most: usize) -> impl Strategy<Value = Vec<Step>> {
    // Boxed, because the values are too large for the stack of a test thread.
    let one = step(reloads).prop_map(|step| vec![step]).boxed();
    let some = prop_oneof![12 => one, 1 => exit_sequence().boxed()];
    vec(some, 1..most).prop_map(|steps| steps.concat())
}

/// Poll interval and history duration.
/// Intervals and lengths of histories whose older part is packed, or is just too short for it: an hour
/// is at most 120 ticks.
pub(crate) fn packed_lengths() -> impl Strategy<Value = (Duration, Duration)> {
    let interval = select(vec![30, 31, 60, 86_400]).prop_map(Duration::from_secs);
    let samples = select(vec![359_u32, 360, 361, 390, 419, 480]);
    (interval, samples).prop_map(|(interval, samples)| (interval, interval * samples))
}

/// Ticks until blocks are packed, until some of these have left the history, or until one is being
/// packed; with other steps before, in between, and after.
pub(crate) fn packed_steps() -> impl Strategy<Value = Vec<Step>> {
    let ticks = |count: std::ops::Range<u32>| {
        (count, any::<u32>(), windows())
            .prop_map(|(count, seed, windows)| vec![Step::Ticks { count, seed, windows }])
    };
    let some = || steps(1, 12);
    let parts = (some(), ticks(150..330), some(), ticks(0..200), some(), ticks(0..150), some());
    parts.prop_map(|(a, b, c, d, e, f, g)| [a, b, c, d, e, f, g].concat())
}

pub(crate) fn lengths() -> impl Strategy<Value = (Duration, Duration)> {
    let interval = select(vec![10, 500, 999, 1_000, 5_000, 7_000]).prop_map(Duration::from_millis);
    let samples = select(vec![1_u32, 2, 3, 10, 29, 30, 31, 60, 65, 95]);
    (interval, samples, 0..1_000_u32).prop_map(|(interval, samples, more)| {
        (interval, interval * samples + interval * more / 1_000)
    })
}
