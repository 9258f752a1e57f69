//! The displayed facts about each plugin: a pure function of a snapshot and its age.

use std::cmp::{Ordering, Reverse};
use std::time::{Duration, SystemTime};

use plugmeter::findings::{self, Finding, FindingKind, Onset, Severity};
use plugmeter::{
    Limit, LimitMetric, LimitStatus, Limits, PluginState, PluginView, RunEnd, Snapshot, Window,
};

use crate::text::{ago, count, last, spoken};

const MINUTE: Duration = Duration::from_secs(60);

/// The age of a snapshot at the time of drawing.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// The time since the snapshot's tick.
    pub age: Duration,
    /// Whether the next tick is overdue.
    pub is_stale: bool,
}

impl Freshness {
    /// Reads the clock.
    pub fn of(snapshot: &Snapshot) -> Self {
        Self { age: snapshot.age(), is_stale: snapshot.is_stale() }
    }
}

/// Percent of one core.
pub const CPU_LIMIT: f64 = 50.0;
pub const MEMORY_LIMIT_MB: f64 = 100.0;

/// The values above which a plugin needs attention: in two samples in succession.
pub fn limits() -> Limits {
    let limit = |metric, above| Limit::new(metric, above).lasting(Duration::ZERO);
    Limits::default()
        .rule(limit(LimitMetric::CpuPercent, CPU_LIMIT).grace(Duration::ZERO))
        .rule(limit(LimitMetric::MemoryMb, MEMORY_LIMIT_MB))
}

/// A snapshot, its age, and the displayed window of its history.
#[derive(Debug)]
pub struct Scene<'a> {
    pub snapshot: &'a Snapshot,
    pub freshness: Freshness,
    /// The window of graphs and p95.
    pub window: Window,
    /// The current time by the clock of the snapshot's times.
    pub now: SystemTime,
}

impl<'a> Scene<'a> {
    pub fn new(snapshot: &'a Snapshot, freshness: Freshness, window: Window) -> Self {
        let now = snapshot.sampled_at() + freshness.age;
        Self { snapshot, freshness, window, now }
    }

    /// Returns the time since `at`, or zero if the clock was set back since then.
    pub fn since(&self, at: SystemTime) -> Duration {
        self.now.duration_since(at).unwrap_or_default()
    }

    /// The window in which crashes are recent.
    pub fn crash_window(&self) -> Duration {
        findings::crash_window(self.snapshot)
    }

    /// The time that the graphs of all plugins cover, beginning with the interval of the oldest
    /// sample.
    pub fn span(&self) -> Duration {
        let first = |view: PluginView<'a>| view.history(self.window).next();
        let oldest = self.snapshot.plugins().filter_map(first).map(|sample| sample.timestamp).min();
        let taken = self.snapshot.sampled_at();
        let long = oldest.and_then(|oldest| taken.duration_since(oldest).ok()).unwrap_or_default();
        long + self.snapshot.poll_interval()
    }

    /// The facts about all plugins.
    pub fn facts(&self) -> Vec<Facts<'a>> {
        self.snapshot.plugins().map(|view| Facts::of(view, self)).collect()
    }
}

/// The facts about one plugin.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub view: PluginView<'a>,
    /// `None` if the plugin does not need attention.
    pub attention: Option<Severity>,
    /// The findings that need attention, the worst first.
    pub findings: Vec<Finding>,
    /// The same as texts, without the plugin's name.
    pub messages: Vec<String>,
    /// Of the process that runs now and its descendants; `None` if unknown.
    pub cpu: Option<f64>,
    /// The sum of their resident sizes.
    pub memory_mb: Option<f64>,
    /// How many they are.
    pub processes: Option<u32>,
    pub uptime: Option<Duration>,
    /// Over the last minute, or two intervals if they are longer; `None` before the second sample.
    pub events_per_second: Option<f64>,
    /// In [`Scene::crash_window`].
    pub recent_crashes: u64,
    /// The time since it entered its state.
    pub since: Duration,
}

impl<'a> Facts<'a> {
    fn of(view: PluginView<'a>, scene: &Scene<'a>) -> Self {
        let usage = view.usage();
        let rate_window = MINUTE.max(scene.snapshot.poll_interval().saturating_mul(2));
        let mut findings = view.findings();
        findings.retain(|finding| finding.severity > Severity::Notice);
        Self {
            view,
            attention: view.attention(),
            messages: findings.iter().map(|finding| message(finding, view, scene)).collect(),
            findings,
            cpu: of_tree(scene.snapshot, usage.cpu_percent, usage.tree_cpu_percent),
            memory_mb: of_tree(scene.snapshot, usage.memory_bytes, usage.tree_memory_bytes)
                .map(|bytes| bytes as f64 / 1_048_576.0),
            processes: usage.process_count,
            uptime: usage.uptime,
            events_per_second: view.sample_age(1).map(|_| view.event_rate(rate_window)),
            recent_crashes: view.crashes(scene.crash_window()),
            since: scene.since(view.state_since()),
        }
    }

    pub fn is_cpu_high(&self) -> bool {
        self.is_over_limit(LimitMetric::CpuPercent)
    }

    pub fn is_memory_high(&self) -> bool {
        self.is_over_limit(LimitMetric::MemoryMb)
    }

    fn is_over_limit(&self, metric: LimitMetric) -> bool {
        let of_metric = |kind: &FindingKind| match kind {
            FindingKind::LimitExceeded(status) => status.limit.metric == metric,
            _ => false,
        };
        self.findings.iter().any(|finding| of_metric(&finding.kind))
    }

    /// Orders by urgency: critical plugins, then those with a warning, then by CPU.
    pub fn by_need(&self, other: &Self) -> Ordering {
        let urgency = |facts: &Self| Reverse(facts.attention);
        urgency(self).cmp(&urgency(other)).then_with(|| larger_first(self.cpu, other.cpu))
    }
}

/// The value of the process tree; that of the process, if the host does without trees.
pub fn of_tree<T>(snapshot: &Snapshot, own: Option<T>, tree: Option<T>) -> Option<T> {
    if snapshot.has_process_trees() { tree } else { own }
}

/// Orders the larger value first, and unknown values last.
pub fn larger_first(a: Option<f64>, b: Option<f64>) -> Ordering {
    b.unwrap_or(f64::NEG_INFINITY).total_cmp(&a.unwrap_or(f64::NEG_INFINITY))
}

/// A finding in words, with times relative to now.
fn message(finding: &Finding, view: PluginView<'_>, scene: &Scene<'_>) -> String {
    let began = scene.since(finding.since.time());
    match &finding.kind {
        FindingKind::Down { state: PluginState::Failed, .. } => format!("failed {}", ago(began)),
        FindingKind::Down { end, .. } => {
            let end = match end {
                Some(end @ (RunEnd::Exited(_) | RunEnd::Signaled(_))) => format!(": {end}"),
                // The other ends add nothing.
                Some(_) | None => String::new(),
            };
            format!("crashed {}, and is down{end}", ago(began))
        }
        FindingKind::Unhealthy => format!("unhealthy for {}", spoken(began)),
        FindingKind::Unreadable(error) => format!("not measured: {error}"),
        FindingKind::Crashed { count: crashes, within, last: at } if *crashes > 1 => {
            let (crashes, within) = (count(*crashes), last(*within));
            if view.state() == PluginState::Crashed {
                // The finding before this one states when the last crash was.
                format!("{crashes} crashes in the {within}")
            } else {
                format!("crashed {crashes} times in the {within}, last {}", ago(scene.since(*at)))
            }
        }
        FindingKind::Crashed { last, .. } => format!("crashed {}", ago(scene.since(*last))),
        FindingKind::LimitExceeded(status) => over_limit(status, finding.since, scene),
        kind => kind.name().replace('_', " "),
    }
}

/// `memory 131 MB, limit 100 MB for 2 min`.
fn over_limit(status: &LimitStatus, since: Onset, scene: &Scene<'_>) -> String {
    let (metric, above) = (status.limit.metric, status.limit.above);
    let long = for_how_long(since, scene);
    let unit = match metric {
        LimitMetric::CpuPercent => " %",
        LimitMetric::MemoryMb => " MB",
        LimitMetric::EventsPerSecond => " per second",
        LimitMetric::SilentSeconds => " s",
        _ => "",
    };
    let value =
        status.value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.0}{unit}"));
    format!("{metric} {value}, limit {above}{unit}{long}")
}

/// Returns from the onset to the newest sample; empty if only the newest sample has the value.
fn for_how_long(onset: Onset, scene: &Scene<'_>) -> String {
    let long = scene.since(onset.time()).saturating_sub(scene.freshness.age);
    if long >= scene.snapshot.poll_interval() {
        format!(" for {}", spoken(long))
    } else {
        String::new()
    }
}
