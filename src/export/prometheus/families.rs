//! The table: all families, in the order of the page, and where their values come from.

use super::number::Number;
use super::page::Row;
use crate::Snapshot;

/// A family of OpenMetrics; the older format makes gauges of what it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Info,
    StateSet,
}

/// What both formats say of a family, and its `series`.
#[derive(Debug)]
pub(super) struct Family<S> {
    /// As OpenMetrics has it: without the suffix of its samples.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Option<&'static str>,
    /// Without anything that would have to be escaped.
    pub help: &'static str,
    pub series: S,
}

/// The series of one plugin in a family.
pub(super) enum OfPlugin {
    /// One, while there is a value.
    Value(fn(&Row<'_>) -> Option<Number>),
    /// One of each state.
    States,
    /// One with the version as a label, while one is known.
    Version,
}

/// The one series in a family of the sampler's.
pub(super) enum OfSampler {
    Value(fn(&Snapshot) -> Option<Number>),
    /// With this crate's version as a label.
    Version,
}

const SECONDS: Option<&str> = Some("seconds");

const fn value(
    kind: Kind,
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    value: fn(&Row<'_>) -> Option<Number>,
) -> Family<OfPlugin> {
    Family { name, kind, unit, help, series: OfPlugin::Value(value) }
}

pub(super) const PLUGIN: [Family<OfPlugin>; 11] = [
    value(
        Kind::Counter,
        "plugin_cpu_seconds",
        SECONDS,
        "CPU time used by all processes of the plugin so far.",
        |row| Some(Number::from(row.view.cpu_time())),
    ),
    value(
        Kind::Gauge,
        "plugin_cpu_percent",
        Some("percent"),
        "CPU use over the last interval; 100 is one core. Alert on the rate of the counter instead.",
        |row| row.live.cpu_percent.map(Number::Float),
    ),
    value(
        Kind::Gauge,
        "plugin_resident_memory_bytes",
        Some("bytes"),
        "Resident memory of the process.",
        |row| row.live.memory_bytes.map(Number::Integer),
    ),
    value(
        Kind::Gauge,
        "plugin_start_time_seconds",
        SECONDS,
        "Unix time at which the process started.",
        |row| row.view.run()?.started_at.map(Number::from),
    ),
    value(
        Kind::Gauge,
        "plugin_last_crash_timestamp_seconds",
        SECONDS,
        "Unix time of the last crash.",
        |row| row.view.last_crash().map(Number::from),
    ),
    value(Kind::Counter, "plugin_events", None, "Events that the host has counted.", |row| {
        Some(Number::Integer(row.view.event_count()))
    }),
    value(Kind::Counter, "plugin_crashes", None, "Processes that crashed.", |row| {
        Some(Number::Integer(row.view.crash_count()))
    }),
    value(Kind::Counter, "plugin_restarts", None, "Processes after the first.", |row| {
        Some(Number::Integer(row.view.restart_count()))
    }),
    value(Kind::Gauge, "plugin_up", None, "1 with a live process, else 0.", |row| {
        Some(Number::Integer(u64::from(row.view.run().is_some())))
    }),
    Family {
        name: "plugin_state",
        kind: Kind::StateSet,
        unit: None,
        help: "What the plugin is doing: exactly one of its states is 1.",
        series: OfPlugin::States,
    },
    Family {
        name: "plugin",
        kind: Kind::Info,
        unit: None,
        help: "Version of the newest process.",
        series: OfPlugin::Version,
    },
];

const fn sampler(
    kind: Kind,
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    value: fn(&Snapshot) -> Option<Number>,
) -> Family<OfSampler> {
    Family { name, kind, unit, help, series: OfSampler::Value(value) }
}

pub(super) const SAMPLER: [Family<OfSampler>; 10] = [
    sampler(Kind::Gauge, "plugmeter_plugins", None, "Registered plugins.", |snapshot| {
        Some(Number::Integer(snapshot.plugins().len() as u64))
    }),
    sampler(
        Kind::Gauge,
        "plugmeter_start_time_seconds",
        SECONDS,
        "Unix time at which the sampler was started.",
        |snapshot| Some(Number::from(snapshot.started_at())),
    ),
    sampler(
        Kind::Gauge,
        "plugmeter_poll_interval_seconds",
        SECONDS,
        "Time from one tick to the next.",
        |snapshot| Some(Number::from(snapshot.poll_interval())),
    ),
    sampler(
        Kind::Gauge,
        "plugmeter_last_tick_timestamp_seconds",
        SECONDS,
        "Unix time of the last tick.",
        |snapshot| (snapshot.tick() > 0).then(|| Number::from(snapshot.sampled_at())),
    ),
    sampler(
        Kind::Gauge,
        "plugmeter_last_tick_duration_seconds",
        SECONDS,
        "How long the last tick took.",
        |snapshot| {
            (snapshot.tick() > 0).then(|| Number::from(snapshot.sampler().last_tick_duration))
        },
    ),
    sampler(Kind::Counter, "plugmeter_ticks", None, "Ticks so far.", |snapshot| {
        Some(Number::Integer(snapshot.sampler().ticks))
    }),
    sampler(
        Kind::Counter,
        "plugmeter_missed_ticks",
        None,
        "Deadlines that passed without a tick.",
        |snapshot| Some(Number::Integer(snapshot.sampler().missed_ticks)),
    ),
    sampler(
        Kind::Counter,
        "plugmeter_failed_reads",
        None,
        "Reads of a process that failed.",
        |snapshot| Some(Number::Integer(snapshot.sampler().failed_reads)),
    ),
    sampler(
        Kind::Counter,
        "plugmeter_sampler_cpu_seconds",
        SECONDS,
        "CPU time used by the thread of the sampler.",
        |snapshot| snapshot.sampler().cpu_time.map(Number::from),
    ),
    Family {
        name: "plugmeter_build",
        kind: Kind::Info,
        unit: None,
        help: "Version of plugmeter.",
        series: OfSampler::Version,
    },
];
