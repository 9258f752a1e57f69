//! All metric families, in the order of the exposition, and the sources of their values.

use std::fmt;

use super::number::Number;
use super::plugin_row::PluginRow;
use crate::Snapshot;

/// The type of a family in OpenMetrics. The text format 0.0.4 has counters and gauges only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricType {
    Counter,
    Gauge,
    Info,
    StateSet,
}

/// The metadata of a family, and its `series`.
#[derive(Debug)]
pub(super) struct Family<S> {
    /// As in OpenMetrics: without the suffix of its samples.
    pub name: &'static str,
    pub metric_type: MetricType,
    pub unit: Option<&'static str>,
    /// Contains nothing that needs escaping.
    pub help: &'static str,
    pub series: S,
}

/// The series of one plugin in a family.
pub(super) enum PluginSeries {
    /// One, if there is a value.
    Value(fn(&PluginRow<'_>) -> Option<Number>),
    /// One, and one for each part of it, with `label` and the part's name.
    Parts { total: fn(&PluginRow<'_>) -> Number, label: &'static str, parts: PartsOf },
    /// One for each metric that has limits.
    Limits,
    /// One for each state.
    States,
    /// One with the version as a label, if it is known.
    Version,
    /// One for each kind and severity of findings that there are.
    Findings,
}

/// Calls the function with the name and the value of each part.
pub(super) type PartsOf =
    fn(&PluginRow<'_>, &mut dyn FnMut(&str, Number) -> fmt::Result) -> fmt::Result;

/// The one series of a family that describes the sampler.
pub(super) enum SamplerSeries {
    Value(fn(&Snapshot) -> Option<Number>),
    /// One with this crate's version as a label.
    Version,
}

const SECONDS: Option<&str> = Some("seconds");

const fn plugin_family(
    metric_type: MetricType,
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    value: fn(&PluginRow<'_>) -> Option<Number>,
) -> Family<PluginSeries> {
    Family { name, metric_type, unit, help, series: PluginSeries::Value(value) }
}

pub(super) const PLUGIN_FAMILIES: [Family<PluginSeries>; 18] = [
    plugin_family(
        MetricType::Counter,
        "plugin_cpu_seconds",
        SECONDS,
        "CPU time used by the plugin's main processes so far, without their descendants.",
        |row| Some(Number::from(row.view.cpu_time())),
    ),
    plugin_family(
        MetricType::Counter,
        "plugin_tree_cpu_seconds",
        SECONDS,
        "CPU time used by the plugin's main processes and their descendants so far.",
        |row| {
            let has_trees = row.view.snapshot().has_process_trees();
            has_trees.then(|| Number::from(row.view.tree_cpu_time()))
        },
    ),
    plugin_family(
        MetricType::Gauge,
        "plugin_cpu_percent",
        Some("percent"),
        "CPU use over the last interval; 100 is one core. Alert on the rate of the counter instead.",
        |row| row.usage.cpu_percent.map(Number::Float),
    ),
    plugin_family(
        MetricType::Gauge,
        "plugin_tree_cpu_percent",
        Some("percent"),
        "CPU use of the process and its descendants over the last interval; 100 is one core.",
        |row| row.usage.tree_cpu_percent.map(Number::Float),
    ),
    plugin_family(
        MetricType::Gauge,
        "plugin_resident_memory_bytes",
        Some("bytes"),
        "Resident memory of the process.",
        |row| row.usage.memory_bytes.map(Number::Integer),
    ),
    plugin_family(
        MetricType::Gauge,
        "plugin_tree_memory_bytes",
        Some("bytes"),
        "Sum of the resident memory of the process and its descendants; shared pages count in each.",
        |row| row.usage.tree_memory_bytes.map(Number::Integer),
    ),
    plugin_family(
        MetricType::Gauge,
        "plugin_processes",
        None,
        "Living processes: the process and its descendants, also those that survived it.",
        |row| row.usage.process_count.map(|count| Number::Integer(count.into())),
    ),
    plugin_family(
        MetricType::Gauge,
        "plugin_start_time_seconds",
        SECONDS,
        "Unix time at which the process started.",
        |row| row.view.run()?.started_at.map(Number::from),
    ),
    plugin_family(
        MetricType::Gauge,
        "plugin_last_crash_timestamp_seconds",
        SECONDS,
        "Unix time of the last crash.",
        |row| row.view.last_crash().map(Number::from),
    ),
    Family {
        name: "plugin_events",
        metric_type: MetricType::Counter,
        unit: None,
        help: "Events that the host has counted. Without the label kind, all of a plugin.",
        series: PluginSeries::Parts {
            total: |row| Number::Integer(row.view.event_count()),
            label: "kind",
            parts: |row, each| {
                let mut kinds = row.view.event_counts();
                kinds.try_for_each(|(kind, count)| each(kind, Number::Integer(count)))
            },
        },
    },
    plugin_family(MetricType::Counter, "plugin_crashes", None, "Processes that crashed.", |row| {
        Some(Number::Integer(row.view.crash_count()))
    }),
    plugin_family(
        MetricType::Counter,
        "plugin_unknown_ends",
        None,
        "Processes whose exit status was unknown when they were found to have exited.",
        |row| Some(Number::Integer(row.view.unknown_ends_detected())),
    ),
    plugin_family(
        MetricType::Counter,
        "plugin_restarts",
        None,
        "Processes after the first.",
        |row| Some(Number::Integer(row.view.restart_count())),
    ),
    plugin_family(MetricType::Gauge, "plugin_up", None, "1 with a live process, else 0.", |row| {
        Some(Number::Integer(u64::from(row.view.run().is_some())))
    }),
    Family {
        name: "plugin_limit_exceeded",
        metric_type: MetricType::Gauge,
        unit: None,
        help: "Whether the plugin is over its limit of this metric, as defined by the host.",
        series: PluginSeries::Limits,
    },
    Family {
        name: "plugin_state",
        metric_type: MetricType::StateSet,
        unit: None,
        help: "What the plugin is doing: exactly one of its states is 1.",
        series: PluginSeries::States,
    },
    Family {
        name: "plugin",
        metric_type: MetricType::Info,
        unit: None,
        help: "Version of the newest process.",
        series: PluginSeries::Version,
    },
    Family {
        name: "plugin_findings",
        metric_type: MetricType::Gauge,
        unit: None,
        help: "Findings of this kind and severity: what needs attention. Absent without one.",
        series: PluginSeries::Findings,
    },
];

const fn sampler_family(
    metric_type: MetricType,
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    value: fn(&Snapshot) -> Option<Number>,
) -> Family<SamplerSeries> {
    Family { name, metric_type, unit, help, series: SamplerSeries::Value(value) }
}

pub(super) const SAMPLER_FAMILIES: [Family<SamplerSeries>; 10] = [
    sampler_family(
        MetricType::Gauge,
        "plugmeter_plugins",
        None,
        "Registered plugins.",
        |snapshot| Some(Number::Integer(snapshot.plugins().len() as u64)),
    ),
    sampler_family(
        MetricType::Gauge,
        "plugmeter_start_time_seconds",
        SECONDS,
        "Unix time at which the sampler was started.",
        |snapshot| Some(Number::from(snapshot.started_at())),
    ),
    sampler_family(
        MetricType::Gauge,
        "plugmeter_poll_interval_seconds",
        SECONDS,
        "Time from one tick to the next.",
        |snapshot| Some(Number::from(snapshot.poll_interval())),
    ),
    sampler_family(
        MetricType::Gauge,
        "plugmeter_last_tick_timestamp_seconds",
        SECONDS,
        "Unix time of the last tick.",
        |snapshot| (snapshot.tick() > 0).then(|| Number::from(snapshot.sampled_at())),
    ),
    sampler_family(
        MetricType::Gauge,
        "plugmeter_last_tick_duration_seconds",
        SECONDS,
        "How long the last tick took.",
        |snapshot| {
            (snapshot.tick() > 0).then(|| Number::from(snapshot.sampler().last_tick_duration))
        },
    ),
    sampler_family(MetricType::Counter, "plugmeter_ticks", None, "Ticks so far.", |snapshot| {
        Some(Number::Integer(snapshot.sampler().ticks))
    }),
    sampler_family(
        MetricType::Counter,
        "plugmeter_missed_ticks",
        None,
        "Deadlines that passed without a tick.",
        |snapshot| Some(Number::Integer(snapshot.sampler().missed_ticks)),
    ),
    sampler_family(
        MetricType::Counter,
        "plugmeter_failed_reads",
        None,
        "Reads of a process that failed.",
        |snapshot| Some(Number::Integer(snapshot.sampler().failed_reads)),
    ),
    sampler_family(
        MetricType::Counter,
        "plugmeter_sampler_cpu_seconds",
        SECONDS,
        "CPU time used by the thread of the sampler.",
        |snapshot| snapshot.sampler().cpu_time.map(Number::from),
    ),
    Family {
        name: "plugmeter_build",
        metric_type: MetricType::Info,
        unit: None,
        help: "Version of plugmeter.",
        series: SamplerSeries::Version,
    },
];
