//! The displayed facts about each plugin: a pure function of a snapshot and its age.

use std::cmp::{Ordering, Reverse};
use std::time::{Duration, SystemTime};

use plugmeter::findings::{self, Finding, FindingKind, MessagePart, Onset, Severity};
use plugmeter::{Limit, LimitMetric, Limits, PluginView, Snapshot, Window};

use crate::text::{ago, spoken};

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
            attention: findings.iter().map(|finding| finding.severity).max(),
            messages: findings.iter().map(|finding| message(finding, scene)).collect(),
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
        let is_cpu = |kind: &FindingKind| {
            matches!(kind, FindingKind::CpuShift { .. } | FindingKind::Saturated { .. })
                || is_limit_of(kind, LimitMetric::CpuPercent)
        };
        self.findings.iter().any(|f| is_cpu(&f.kind) || f.evidence.iter().any(is_cpu))
    }

    pub fn is_memory_high(&self) -> bool {
        let is_memory = |kind: &FindingKind| {
            matches!(kind, FindingKind::MemoryGrowth { .. })
                || is_limit_of(kind, LimitMetric::MemoryMb)
        };
        self.findings.iter().any(|finding| is_memory(&finding.kind))
    }

    /// Orders by urgency: critical plugins, then those with a warning; among these by the impact of
    /// their worst finding, and then by CPU.
    pub fn by_need(&self, other: &Self) -> Ordering {
        let urgency = |facts: &Self| Reverse(facts.attention);
        let impact = |facts: &Self| facts.findings.first().map(|finding| finding.impact);
        (urgency(self).cmp(&urgency(other)))
            .then_with(|| larger_first(impact(self), impact(other)))
            .then_with(|| larger_first(self.cpu, other.cpu))
    }
}

fn is_limit_of(kind: &FindingKind, metric: LimitMetric) -> bool {
    matches!(kind, FindingKind::LimitExceeded(status) if status.limit.metric == metric)
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
fn message(finding: &Finding, scene: &Scene<'_>) -> String {
    let words = |part| match part {
        MessagePart::Text(text) => text,
        MessagePart::Since(Onset::Before(at)) => {
            format!("for more than {}", spoken(scene.since(at)))
        }
        MessagePart::Since(since) => format!("for {}", spoken(scene.since(since.time()))),
        MessagePart::At(at) => ago(scene.since(at)),
        part => part.to_string(),
    };
    finding.message().into_iter().map(words).collect()
}
