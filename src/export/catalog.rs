//! The catalogue: all exported metrics, in the order of the exposition, with the sources of their
//! values. Every exporter renders this list.
//!
//! A family has two names. The one of OpenMetrics ends with the unit. The one of an OpenTelemetry
//! instrument has the unit beside it, and becomes the former by the published rules: dots become
//! underscores, the unit and `total` are appended.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::findings::Findings;
use crate::{CurrentUsage, LimitStatus, PluginView, Sample, Severity, Snapshot};

/// What the values of a family are. The text format 0.0.4 has counters and gauges only, and
/// OpenTelemetry has no infos and no statesets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricType {
    /// A total that does not decrease.
    Counter,
    /// A value whose sum over plugins has no meaning, for example a time.
    Gauge,
    /// A gauge whose sum over plugins has a meaning: an up-down counter in OpenTelemetry.
    Amount,
    Info,
    StateSet,
}

/// The unit of a family's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Percent,
    Bytes,
    /// A number of things, whose name is an annotation of UCUM: `{event}`.
    Count(&'static str),
    /// 0 or 1. OpenTelemetry's `1` would become a suffix `_ratio`.
    None,
}

impl Unit {
    /// The unit in OpenMetrics, where counts have none.
    #[cfg(any(feature = "prometheus", test))]
    pub(super) const fn open_metrics(self) -> Option<&'static str> {
        match self {
            Self::Seconds => Some("seconds"),
            Self::Percent => Some("percent"),
            Self::Bytes => Some("bytes"),
            Self::Count(_) | Self::None => None,
        }
    }

    /// The unit in UCUM, as in OpenTelemetry.
    #[cfg(any(feature = "opentelemetry", feature = "otlp"))]
    pub(super) const fn ucum(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Percent => "%",
            Self::Bytes => "By",
            Self::Count(annotation) => annotation,
            Self::None => "",
        }
    }

    /// Whether values are floating-point numbers where a metric has one type of number.
    #[cfg(any(feature = "opentelemetry", feature = "otlp"))]
    pub(super) const fn is_fractional(self) -> bool {
        matches!(self, Self::Seconds | Self::Percent)
    }
}

/// The value of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Integer(u64),
    /// In seconds, exact to the nanosecond.
    Seconds {
        negative: bool,
        size: Duration,
    },
    Float(f64),
}

impl From<Duration> for Number {
    fn from(size: Duration) -> Self {
        Self::Seconds { negative: false, size }
    }
}

impl From<SystemTime> for Number {
    /// Unix time, negative before 1970.
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(size) => Self::from(size),
            Err(before) => Self::Seconds { negative: true, size: before.duration() },
        }
    }
}

#[cfg(any(feature = "opentelemetry", feature = "otlp"))]
impl Number {
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Seconds { negative: false, size } => size.as_secs_f64(),
            Self::Seconds { negative: true, size } => -size.as_secs_f64(),
            Self::Float(value) => value,
        }
    }
}

/// One plugin, with the values that several families need.
pub(super) struct PluginRow<'a> {
    pub view: PluginView<'a>,
    /// Values of the active run.
    pub usage: CurrentUsage,
}

impl<'a> PluginRow<'a> {
    pub(super) fn new(view: PluginView<'a>) -> Self {
        Self { view, usage: view.usage() }
    }
}

/// One plugin at one tick of the history.
pub(super) struct TickRow<'a> {
    pub sample: Sample<'a>,
    /// When the process of the sample's run started.
    pub started_at: Option<SystemTime>,
    /// CPU time of all runs up to the tick.
    pub cpu_time: Duration,
    /// The same with descendants; `None` without process trees.
    pub tree_cpu_time: Option<Duration>,
}

/// The metadata of a family, and its `series`.
#[derive(Debug)]
pub(super) struct Family<S> {
    /// As in OpenMetrics: without the suffix of its samples.
    pub name: &'static str,
    /// The name of the instrument in OpenTelemetry.
    #[cfg_attr(
        not(any(test, feature = "opentelemetry", feature = "otlp")),
        expect(dead_code, reason = "Prometheus has the other name")
    )]
    pub instrument: &'static str,
    pub metric_type: MetricType,
    pub unit: Unit,
    /// Contains nothing that needs escaping.
    pub help: &'static str,
    pub series: S,
}

/// The series of one plugin in a family.
pub(super) enum PluginSeries {
    /// One, if there is a value.
    Value(Source),
    /// One, and one for each part of it, with `label` and the part's name.
    Parts { total: Source, label: &'static str, parts: PartsOf },
    /// One for each metric that has limits.
    Limits,
    /// One for each state.
    States,
    /// One with the version as a label, if it is known.
    Version,
    /// One for each kind and severity of findings that there are.
    Findings,
}

/// The source of a plugin's value.
#[derive(Clone, Copy)]
pub(super) struct Source {
    /// The newest value.
    pub now: fn(&PluginRow<'_>) -> Option<Number>,
    /// The value at a tick of the history; `None` where the history does not contain it.
    #[cfg_attr(
        not(feature = "otlp"),
        expect(dead_code, reason = "only OTLP exports ticks of the past")
    )]
    pub at_tick: Option<fn(&TickRow<'_>) -> Option<Number>>,
}

/// Calls the function with the name and the value of each part, until it fails.
pub(super) type PartsOf = fn(&PluginRow<'_>, &mut PartVisitor<'_>) -> std::fmt::Result;

pub(super) type PartVisitor<'a> = dyn FnMut(&str, Number) -> std::fmt::Result + 'a;

/// The one series of a family that describes the sampler.
pub(super) enum SamplerSeries {
    Value(fn(&Snapshot) -> Option<Number>),
    /// One with this crate's version as a label.
    Version,
}

/// This crate's version: the label of the family of the build.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Fills `metrics` with the metrics of the plugin's limits, in the order of the limits, each with
/// whether one of its limits is exceeded. A plugin has sixteen at most.
pub(super) fn exceeded_limits(view: PluginView<'_>, metrics: &mut Vec<(&'static str, bool)>) {
    metrics.clear();
    for LimitStatus { limit, state, .. } in view.limits() {
        let (metric, is_exceeded) = (limit.metric.as_str(), state.is_exceeded());
        match metrics.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, is_any_exceeded)) => *is_any_exceeded |= is_exceeded,
            None => metrics.push((metric, is_exceeded)),
        }
    }
}

/// The number of findings of each plugin, kind and severity, in that order.
pub(super) fn finding_counts(findings: &Findings) -> BTreeMap<(&str, &'static str, Severity), u64> {
    let mut counts = BTreeMap::new();
    for finding in &findings.items {
        let key = (&*finding.plugin, finding.kind.name(), finding.severity);
        *counts.entry(key).or_insert(0u64) += 1;
    }
    counts
}

const fn plugin_family(
    metric_type: MetricType,
    (name, instrument, unit): (&'static str, &'static str, Unit),
    help: &'static str,
    source: Source,
) -> Family<PluginSeries> {
    Family { name, instrument, metric_type, unit, help, series: PluginSeries::Value(source) }
}

/// A source that the history contains.
const fn recorded(
    now: fn(&PluginRow<'_>) -> Option<Number>,
    at_tick: fn(&TickRow<'_>) -> Option<Number>,
) -> Source {
    Source { now, at_tick: Some(at_tick) }
}

/// A source that only the newest snapshot has.
const fn current(now: fn(&PluginRow<'_>) -> Option<Number>) -> Source {
    Source { now, at_tick: None }
}

pub(super) const PLUGIN_FAMILIES: [Family<PluginSeries>; 18] = [
    plugin_family(
        MetricType::Counter,
        ("plugin_cpu_seconds", "plugin.cpu", Unit::Seconds),
        "CPU time used by the plugin's main processes so far, without their descendants.",
        recorded(
            |row| Some(Number::from(row.view.cpu_time())),
            |row| Some(Number::from(row.cpu_time)),
        ),
    ),
    plugin_family(
        MetricType::Counter,
        ("plugin_tree_cpu_seconds", "plugin.tree_cpu", Unit::Seconds),
        "CPU time used by the plugin's main processes and their descendants so far.",
        recorded(
            |row| {
                let has_trees = row.view.snapshot().has_process_trees();
                has_trees.then(|| Number::from(row.view.tree_cpu_time()))
            },
            |row| row.tree_cpu_time.map(Number::from),
        ),
    ),
    plugin_family(
        MetricType::Gauge,
        ("plugin_cpu_percent", "plugin.cpu_percent", Unit::Percent),
        "CPU use over the last interval; 100 is one core. Alert on the rate of the counter instead.",
        recorded(
            |row| row.usage.cpu_percent.map(Number::Float),
            |row| row.sample.cpu_percent.map(Number::Float),
        ),
    ),
    plugin_family(
        MetricType::Gauge,
        ("plugin_tree_cpu_percent", "plugin.tree_cpu_percent", Unit::Percent),
        "CPU use of the process and its descendants over the last interval; 100 is one core.",
        recorded(
            |row| row.usage.tree_cpu_percent.map(Number::Float),
            |row| row.sample.tree_cpu_percent.map(Number::Float),
        ),
    ),
    plugin_family(
        MetricType::Amount,
        ("plugin_resident_memory_bytes", "plugin.resident_memory", Unit::Bytes),
        "Resident memory of the process.",
        recorded(
            |row| row.usage.memory_bytes.map(Number::Integer),
            |row| row.sample.memory_bytes.map(Number::Integer),
        ),
    ),
    plugin_family(
        MetricType::Amount,
        ("plugin_tree_memory_bytes", "plugin.tree_memory", Unit::Bytes),
        "Sum of the resident memory of the process and its descendants; shared pages count in each.",
        recorded(
            |row| row.usage.tree_memory_bytes.map(Number::Integer),
            |row| row.sample.tree_memory_bytes.map(Number::Integer),
        ),
    ),
    plugin_family(
        MetricType::Amount,
        ("plugin_processes", "plugin.processes", Unit::Count("{process}")),
        "Living processes: the process and its descendants, also those that survived it.",
        recorded(
            |row| row.usage.process_count.map(|count| Number::Integer(count.into())),
            |row| row.sample.process_count.map(|count| Number::Integer(count.into())),
        ),
    ),
    plugin_family(
        MetricType::Gauge,
        ("plugin_start_time_seconds", "plugin.start_time", Unit::Seconds),
        "Unix time at which the process started.",
        recorded(
            |row| row.view.run()?.started_at.map(Number::from),
            |row| row.started_at.map(Number::from),
        ),
    ),
    plugin_family(
        MetricType::Gauge,
        ("plugin_last_crash_timestamp_seconds", "plugin.last_crash_timestamp", Unit::Seconds),
        "Unix time of the last crash.",
        current(|row| row.view.last_crash().map(Number::from)),
    ),
    Family {
        name: "plugin_events",
        instrument: "plugin.events",
        metric_type: MetricType::Counter,
        unit: Unit::Count("{event}"),
        help: "Events that the host has counted. Without the label kind, all of a plugin.",
        series: PluginSeries::Parts {
            total: recorded(
                |row| Some(Number::Integer(row.view.event_count())),
                |row| Some(Number::Integer(row.sample.event_count)),
            ),
            label: "kind",
            parts: |row, each| {
                let mut kinds = row.view.event_counts();
                kinds.try_for_each(|(kind, count)| each(kind, Number::Integer(count)))
            },
        },
    },
    plugin_family(
        MetricType::Counter,
        ("plugin_crashes", "plugin.crashes", Unit::Count("{crash}")),
        "Processes that crashed.",
        recorded(
            |row| Some(Number::Integer(row.view.crash_count())),
            |row| Some(Number::Integer(row.sample.crash_count)),
        ),
    ),
    plugin_family(
        MetricType::Counter,
        ("plugin_unknown_ends", "plugin.unknown_ends", Unit::Count("{end}")),
        "Processes whose exit status was unknown when they were found to have exited.",
        current(|row| Some(Number::Integer(row.view.unknown_ends_detected()))),
    ),
    plugin_family(
        MetricType::Counter,
        ("plugin_restarts", "plugin.restarts", Unit::Count("{restart}")),
        "Processes after the first.",
        current(|row| Some(Number::Integer(row.view.restart_count()))),
    ),
    plugin_family(
        MetricType::Amount,
        ("plugin_up", "plugin.up", Unit::None),
        "1 with a live process, else 0.",
        recorded(
            |row| Some(Number::Integer(u64::from(row.view.run().is_some()))),
            |row| Some(Number::Integer(u64::from(row.sample.run.is_some()))),
        ),
    ),
    Family {
        name: "plugin_limit_exceeded",
        instrument: "plugin.limit_exceeded",
        metric_type: MetricType::Amount,
        unit: Unit::None,
        help: "Whether the plugin is over its limit of this metric, as defined by the host.",
        series: PluginSeries::Limits,
    },
    Family {
        name: "plugin_state",
        instrument: "plugin.state",
        metric_type: MetricType::StateSet,
        unit: Unit::None,
        help: "What the plugin is doing: exactly one of its states is 1.",
        series: PluginSeries::States,
    },
    Family {
        name: "plugin",
        instrument: "plugin.info",
        metric_type: MetricType::Info,
        unit: Unit::None,
        help: "Version of the newest process.",
        series: PluginSeries::Version,
    },
    Family {
        name: "plugin_findings",
        instrument: "plugin.findings",
        metric_type: MetricType::Amount,
        unit: Unit::Count("{finding}"),
        help: "Findings of this kind and severity: what needs attention. Absent without one.",
        series: PluginSeries::Findings,
    },
];

const fn sampler_family(
    metric_type: MetricType,
    (name, instrument, unit): (&'static str, &'static str, Unit),
    help: &'static str,
    value: fn(&Snapshot) -> Option<Number>,
) -> Family<SamplerSeries> {
    Family { name, instrument, metric_type, unit, help, series: SamplerSeries::Value(value) }
}

pub(super) const SAMPLER_FAMILIES: [Family<SamplerSeries>; 10] = [
    sampler_family(
        MetricType::Amount,
        ("plugmeter_plugins", "plugmeter.plugins", Unit::Count("{plugin}")),
        "Registered plugins.",
        |snapshot| Some(Number::Integer(snapshot.plugins().len() as u64)),
    ),
    sampler_family(
        MetricType::Gauge,
        ("plugmeter_start_time_seconds", "plugmeter.start_time", Unit::Seconds),
        "Unix time at which the sampler was started.",
        |snapshot| Some(Number::from(snapshot.started_at())),
    ),
    sampler_family(
        MetricType::Gauge,
        ("plugmeter_poll_interval_seconds", "plugmeter.poll_interval", Unit::Seconds),
        "Time from one tick to the next.",
        |snapshot| Some(Number::from(snapshot.poll_interval())),
    ),
    sampler_family(
        MetricType::Gauge,
        ("plugmeter_last_tick_timestamp_seconds", "plugmeter.last_tick_timestamp", Unit::Seconds),
        "Unix time of the last tick.",
        |snapshot| (snapshot.tick() > 0).then(|| Number::from(snapshot.sampled_at())),
    ),
    sampler_family(
        MetricType::Gauge,
        ("plugmeter_last_tick_duration_seconds", "plugmeter.last_tick_duration", Unit::Seconds),
        "How long the last tick took.",
        |snapshot| {
            (snapshot.tick() > 0).then(|| Number::from(snapshot.sampler().last_tick_duration))
        },
    ),
    sampler_family(
        MetricType::Counter,
        ("plugmeter_ticks", "plugmeter.ticks", Unit::Count("{tick}")),
        "Ticks so far.",
        |snapshot| Some(Number::Integer(snapshot.sampler().ticks)),
    ),
    sampler_family(
        MetricType::Counter,
        ("plugmeter_missed_ticks", "plugmeter.missed_ticks", Unit::Count("{tick}")),
        "Deadlines that passed without a tick.",
        |snapshot| Some(Number::Integer(snapshot.sampler().missed_ticks)),
    ),
    sampler_family(
        MetricType::Counter,
        ("plugmeter_failed_reads", "plugmeter.failed_reads", Unit::Count("{read}")),
        "Reads of a process that failed.",
        |snapshot| Some(Number::Integer(snapshot.sampler().failed_reads)),
    ),
    sampler_family(
        MetricType::Counter,
        ("plugmeter_sampler_cpu_seconds", "plugmeter.sampler_cpu", Unit::Seconds),
        "CPU time used by the thread of the sampler.",
        |snapshot| snapshot.sampler().cpu_time.map(Number::from),
    ),
    Family {
        name: "plugmeter_build",
        instrument: "plugmeter.build_info",
        metric_type: MetricType::Info,
        unit: Unit::None,
        help: "Version of plugmeter.",
        series: SamplerSeries::Version,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, instrument, type, unit and help of every family.
    fn all() -> Vec<(&'static str, &'static str, MetricType, Unit, &'static str)> {
        let plugins =
            PLUGIN_FAMILIES.iter().map(|f| (f.name, f.instrument, f.metric_type, f.unit, f.help));
        let sampler =
            SAMPLER_FAMILIES.iter().map(|f| (f.name, f.instrument, f.metric_type, f.unit, f.help));
        plugins.chain(sampler).collect()
    }

    #[test]
    fn family_names_end_with_unit_and_have_no_suffix() {
        for (name, _, metric_type, unit, help) in all() {
            let unit = unit.open_metrics();
            assert!(unit.is_none_or(|unit| name.ends_with(&format!("_{unit}"))), "{name}");
            let has_no_unit = matches!(metric_type, MetricType::Info | MetricType::StateSet);
            assert!(unit.is_none() || !has_no_unit, "{name}");
            assert!(!help.contains(['\\', '"', '\n']), "{help}");
            assert!(!name.ends_with("_total") && !name.ends_with("_info"), "{name}");
        }
    }

    /// By the rules of <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>.
    #[test]
    fn instruments_become_families() {
        for (name, instrument, metric_type, unit, _) in all() {
            let mut words: Vec<_> = instrument.split(['.', '_']).collect();
            words.extend(unit.open_metrics().filter(|unit| !words.contains(unit)));
            let suffix = if metric_type == MetricType::Info { "_info" } else { "" };
            assert_eq!(words.join("_"), format!("{name}{suffix}"));
        }
    }
}
