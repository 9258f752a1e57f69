//! One plugin: its findings, key figures, charts and runs.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::super::history_range::HistoryRange;
use super::super::notifications::RecentNotifications;
use super::chart_panel::{ChartPanel, chart_panels};
use super::data_table::{ChartPoint, DataRow, chart_points, data_rows};
use super::display_time::{DisplayTime, unix_millis};
use super::finding_message::{Segment, segments};
use super::format::{self, NONE, UNKNOWN};
use super::range_values::RangeValues;
use super::row::{Row, main_process};
use super::run_band::RunBand;
use super::timeline::Timeline;
use crate::format::number::{human_duration, precise_duration};
use crate::format::report::Cost;
use crate::{PluginState, PluginView, ProcessInfo, Run, RunEnd, RunId, Snapshot, VersionUsage};

/// The values of the page of one plugin.
#[derive(Debug, Serialize)]
pub(super) struct PluginDetail<'a> {
    pub level: &'static str,
    /// State and findings.
    pub segments: Vec<Segment>,
    /// In the order of [`KEY_FIGURES`].
    pub key_figures: Vec<String>,
    pub charts: [ChartPanel; 3],
    pub band: RunBand,
    /// The start, the middle and the end of all charts, in milliseconds since 1970.
    pub times: [u64; 3],
    /// For the cursor of the script.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<ChartPoint>,
    pub data: Vec<DataRow>,
    /// Of the tree at the newest tick, its root first.
    pub processes: Vec<[String; 5]>,
    /// Each limit with its newest value and its state.
    pub limits: Vec<[String; 1]>,
    /// The name and the count of each kind of events.
    pub kinds: Vec<[String; 2]>,
    /// Empty with fewer than two versions; the newest first.
    pub versions: Vec<[String; 8]>,
    /// Newest first.
    pub runs: Vec<RunRow<'a>>,
    pub timeline: Timeline<'a>,
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
    /// The start and the end of a zoom to this run.
    pub zoom: [u64; 2],
    /// Whether the process failed, announced or not.
    pub is_unclean: bool,
    #[serde(skip)]
    pub started_at: DisplayTime,
    #[serde(skip)]
    pub ended_at: Option<DisplayTime>,
}

impl<'a> PluginDetail<'a> {
    pub(super) fn new(
        view: PluginView<'a>,
        range: HistoryRange,
        values: &RangeValues,
        recent: &'a RecentNotifications,
    ) -> Self {
        let snapshot = view.snapshot();
        let row = Row::new(view, view.findings());
        let (from, to) = values.time_range;
        Self {
            level: row.status.as_str(),
            segments: state_and_findings(view.state(), &row),
            key_figures: key_figures(view, &row, values.stats.sample_count),
            charts: chart_panels(view, &row, values),
            band: RunBand::new(view, values, &row.findings),
            times: [from, f64::midpoint(from, to), to].map(|at| (at * 1_000.0).round() as u64),
            points: chart_points(&values.trace),
            data: data_rows(&values.table, snapshot),
            processes: view.processes().map(process_row).collect(),
            limits: view.limits().map(|status| [status.to_string()]).collect(),
            kinds: view
                .event_counts()
                .map(|(kind, count)| [kind.to_owned(), format::count(count)])
                .collect(),
            versions: version_rows(&view.versions(range.window)),
            runs: view.runs().rev().map(|run| RunRow::new(run, snapshot)).collect(),
            timeline: Timeline::of_plugin(recent, snapshot, view.name()),
        }
    }
}

/// Name, pid, pid of the parent, CPU, memory.
fn process_row(process: ProcessInfo<'_>) -> [String; 5] {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    [
        if process.name.is_empty() { UNKNOWN.to_owned() } else { process.name.into_owned() },
        process.pid.to_string(),
        process.parent.map_or_else(|| NONE.to_owned(), |parent| parent.to_string()),
        or_unknown(process.cpu_percent.map(format::percent)),
        or_unknown(process.memory_bytes.map(format::memory)),
    ]
}

/// Name, runs, time, average CPU, average memory, events, CPU time per event and crashes. CPU, memory
/// and the cost of an event are compared with those of the version before.
fn version_rows(versions: &[VersionUsage]) -> Vec<[String; 8]> {
    if versions.len() < 2 {
        return Vec::new();
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let row = |(index, usage): (usize, &VersionUsage)| {
        let before = index.checked_sub(1).map(|before| &versions[before]);
        let compared = |value: fn(&VersionUsage) -> Option<f64>, text: &dyn Fn(f64) -> String| {
            or_none(value(usage).map(|now| {
                text(now)
                    + &before.and_then(value).map_or_else(String::new, |then| change(then, now))
            }))
        };
        [
            or_none(usage.version.as_deref().map(str::to_owned)),
            usage.runs.to_string(),
            human_duration(usage.time),
            compared(|usage| usage.cpu.map(|cpu| cpu.avg), &format::percent),
            compared(|usage| usage.memory.map(|memory| memory.avg), &|bytes| {
                format::memory(bytes as u64)
            }),
            format::count(usage.events),
            compared(|usage| usage.cpu_per_event.map(|cost| cost.as_secs_f64()), &|seconds| {
                Cost(Duration::from_secs_f64(seconds)).to_string()
            }),
            usage.crashes.to_string(),
        ]
    };
    versions.iter().enumerate().rev().map(row).collect()
}

/// ` (+34 %)`, or nothing without a value to compare with.
fn change(before: f64, now: f64) -> String {
    let percent = (now / before - 1.0) * 100.0;
    match percent {
        _ if !percent.is_finite() => String::new(),
        -0.5..0.5 => " (\u{b1}0)".to_owned(),
        ..0.0 => format!(" (\u{2212}{:.0}\u{a0}%)", -percent),
        1_000.0.. => format!(" (\u{d7}{:.0})", now / before),
        _ => format!(" (+{percent:.0}\u{a0}%)"),
    }
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
        main_process(&usage).unwrap_or_else(|| NONE.to_owned()),
    ]
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
            zoom: zoom_to(started, until),
            end: run.end.map_or_else(|| "running".to_owned(), |end| end.to_string()),
            is_unclean: run.end.is_some_and(RunEnd::is_unclean),
            started_at: DisplayTime::new(started, snapshot),
            ended_at: run.ended_at.map(|at| DisplayTime::new(at, snapshot)),
        }
    }
}

/// A range that contains these times and a twentieth more on both sides, at least a second.
fn zoom_to(from: SystemTime, to: SystemTime) -> [u64; 2] {
    let (from, to) = (unix_millis(from), unix_millis(to));
    let margin = (to.saturating_sub(from) / 20).max(1_000);
    [from.saturating_sub(margin), to.max(from) + margin]
}
