//! One plugin: its findings, key figures, charts and runs.

use serde::Serialize;

use super::chart_panel::{ChartPanel, chart_panels};
use super::display_time::{DisplayTime, unix_millis};
use super::finding_message::{Segment, segments};
use super::format::{self, NONE, UNKNOWN};
use super::row::Row;
use super::window_values::WindowValues;
use crate::format::number::{human_duration, precise_duration};
use crate::format::report::Cost;
use crate::{
    CurrentUsage, PluginState, PluginView, Run, RunEnd, RunId, Snapshot, VersionUsage, Window,
};

/// The values of the page of one plugin.
#[derive(Debug, Serialize)]
pub(super) struct PluginDetail<'a> {
    pub level: &'static str,
    /// State and findings.
    pub segments: Vec<Segment>,
    /// In the order of [`KEY_FIGURES`].
    pub key_figures: Vec<String>,
    pub charts: [ChartPanel; 3],
    /// The start, the middle and the end of all charts, in milliseconds since 1970.
    pub times: [u64; 3],
    /// The name and the count of each kind of events.
    pub kinds: Vec<[String; 2]>,
    /// Empty with fewer than two versions; the newest first.
    pub versions: Vec<[String; 8]>,
    /// Newest first.
    pub runs: Vec<RunRow<'a>>,
}

/// The labels of the key figures.
pub(super) const KEY_FIGURES: [&str; 10] = [
    "Uptime",
    "CPU time",
    "Events",
    "Crashes",
    "Restarts",
    "Version",
    "Pid",
    "Samples",
    "Processes",
    "Main process",
];

/// One run.
#[derive(Debug, Serialize)]
pub(super) struct RunRow<'a> {
    pub id: RunId,
    pub version: &'a str,
    pub pid: u32,
    pub started: u64,
    pub ended: Option<u64>,
    pub duration: String,
    pub cpu: String,
    pub end: String,
    /// Whether the process failed, announced or not.
    pub is_unclean: bool,
    #[serde(skip)]
    pub started_at: DisplayTime,
    #[serde(skip)]
    pub ended_at: Option<DisplayTime>,
}

impl<'a> PluginDetail<'a> {
    pub(super) fn new(view: PluginView<'a>, window: Window, values: &WindowValues) -> Self {
        let snapshot = view.snapshot();
        let row = Row::new(view, view.findings());
        let (from, to) = values.range;
        Self {
            level: row.status.as_str(),
            segments: state_and_findings(view.state(), &row),
            key_figures: key_figures(view, &row, values.sample_count),
            charts: chart_panels(view, &row, values),
            times: [from, f64::midpoint(from, to), to].map(|at| (at * 1_000.0) as u64),
            kinds: view
                .event_counts()
                .map(|(kind, count)| [kind.to_owned(), format::count(count)])
                .collect(),
            versions: version_rows(&view.versions(window)),
            runs: view.runs().rev().map(|run| RunRow::new(run, snapshot)).collect(),
        }
    }
}

/// Name, runs, time, average CPU, average memory, events, CPU time per event and crashes.
fn version_rows(versions: &[VersionUsage]) -> Vec<[String; 8]> {
    if versions.len() < 2 {
        return Vec::new();
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let row = |usage: &VersionUsage| {
        [
            or_none(usage.version.as_deref().map(str::to_owned)),
            usage.runs.to_string(),
            human_duration(usage.time),
            or_none(usage.cpu.map(|cpu| format::percent(cpu.avg))),
            or_none(usage.memory.map(|memory| format::memory(memory.avg as u64))),
            format::count(usage.events),
            or_none(usage.cpu_per_event.map(|cost| Cost(cost).to_string())),
            usage.crashes.to_string(),
        ]
    };
    versions.iter().rev().map(row).collect()
}

fn state_and_findings(state: PluginState, row: &Row<'_>) -> Vec<Segment> {
    let mut out = segments(&row.findings, row.since.now);
    if out.is_empty() {
        out.push(Segment::Text("no findings".to_owned()));
    }
    let has_finding = match state {
        PluginState::Crashed | PluginState::Failed | PluginState::Unhealthy => true,
        PluginState::Stopped
        | PluginState::Starting
        | PluginState::Running
        | PluginState::Stopping => false,
    };
    if !has_finding {
        let state = Segment::Text(format!("{} since ", row.state));
        out.splice(0..0, [state, Segment::Time(row.since), Segment::Text("; ".to_owned())]);
    }
    out
}

fn key_figures(view: PluginView<'_>, row: &Row<'_>, sample_count: u64) -> Vec<String> {
    let or_none = |text: &str| if text.is_empty() { NONE.to_owned() } else { text.to_owned() };
    let (usage, has_trees) = (view.usage(), view.snapshot().has_process_trees());
    let cpu_time = if has_trees { view.tree_cpu_time() } else { view.cpu_time() };
    vec![
        row.uptime.clone(),
        precise_duration(cpu_time),
        format::count(view.event_count()),
        row.crashes.to_string(),
        view.restart_count().to_string(),
        or_none(row.version),
        view.pid().map_or_else(|| NONE.to_owned(), |pid| pid.to_string()),
        sample_count.to_string(),
        usage.process_count.map_or_else(|| NONE.to_owned(), |count| count.to_string()),
        main_process(&usage),
    ]
}

/// CPU and memory of the reported process alone, where it is one of several.
fn main_process(usage: &CurrentUsage) -> String {
    let cpu = usage.cpu_percent.map(format::percent);
    let memory = usage.memory_bytes.map(format::memory);
    let parts: Vec<_> = cpu.into_iter().chain(memory).collect();
    if usage.process_count > Some(1) && !parts.is_empty() {
        parts.join(", ")
    } else {
        NONE.to_owned()
    }
}

impl<'a> RunRow<'a> {
    fn new(run: &'a Run, snapshot: &Snapshot) -> Self {
        let started = run.started_at.unwrap_or(run.reported_at);
        let until = run.ended_at.unwrap_or_else(|| snapshot.sampled_at());
        let duration = until.duration_since(started);
        let cpu = match run.cpu_time {
            Some(time) => precise_duration(time),
            None if run.end.is_some() => UNKNOWN.to_owned(),
            None => NONE.to_owned(),
        };
        Self {
            id: run.id,
            version: run.version.as_deref().unwrap_or(NONE),
            pid: run.pid,
            started: unix_millis(started),
            ended: run.ended_at.map(unix_millis),
            duration: duration.map_or_else(|_| UNKNOWN.to_owned(), precise_duration),
            cpu,
            end: run.end.map_or_else(|| "running".to_owned(), |end| end.to_string()),
            is_unclean: run.end.is_some_and(RunEnd::is_unclean),
            started_at: DisplayTime::new(started, snapshot),
            ended_at: run.ended_at.map(|at| DisplayTime::new(at, snapshot)),
        }
    }
}
