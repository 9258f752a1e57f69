//! One plugin in the table.

use std::cmp::Ordering;

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use super::super::event_rate::recent_event_rate;
use super::super::plugin_status::PluginStatus;
use super::display_time::DisplayTime;
use super::format::{self, NONE, UNKNOWN};
use crate::findings::{Finding, crash_window};
use crate::format::number::{human_duration, mebibytes, round2};
use crate::format::shown::Shown;
use crate::{CurrentUsage, PluginState, PluginView, Snapshot, Window};

/// The texts of one plugin, formatted once, so that the page and its updates by the script agree.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub name: &'a str,
    pub status: PluginStatus,
    pub state: &'static str,
    pub since: DisplayTime,
    pub cpu: String,
    pub p95: String,
    pub memory: String,
    pub memory_change: String,
    pub rate: String,
    pub recent_crashes: u64,
    pub crashes: u64,
    pub uptime: String,
    pub version: &'a str,
    /// With the number of processes, if it is not that of the run alone.
    pub pid: String,
    /// CPU and memory of the main process, where it is one of several: a tooltip.
    pub own: String,
    pub findings: Vec<Finding>,
    pub sort_keys: SortKeys,
}

/// The numbers by which rows are sorted: percent, MB, events per second, seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SortKeys {
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
    pub rate: f64,
    pub uptime: Option<f64>,
}

impl<'a> Row<'a> {
    pub(super) fn new(view: PluginView<'a>, findings: Vec<Finding>) -> Self {
        let (snapshot, usage) = (view.snapshot(), view.usage());
        let absent = if view.run().is_some() { UNKNOWN } else { NONE };
        let or_absent = |value: Option<String>| value.unwrap_or_else(|| absent.to_owned());
        let shown = Shown::of(snapshot);
        let (now, bytes) = (shown.cpu(&usage), shown.memory(&usage));
        let cpu = view.aggregates(Window::All);
        let cpu = cpu.and_then(|aggregates| shown.value(aggregates.cpu, aggregates.tree_cpu));
        let change = view.memory_change(Window::All);
        let rate = recent_event_rate(view);
        Self {
            name: view.name(),
            status: PluginStatus::of_findings(&findings),
            state: state_label(view.state()),
            since: DisplayTime::new(view.state_since(), snapshot),
            cpu: or_absent(now.map(format::percent)),
            p95: cpu.map_or_else(String::new, |cpu| format!("p95 {}", format::percent(cpu.p95))),
            memory: or_absent(bytes.map(format::memory)),
            memory_change: change.map_or_else(String::new, |change| format::change(change.bytes())),
            rate: format::rate(rate),
            recent_crashes: view.crashes(crash_window(snapshot)),
            crashes: view.crash_count(),
            uptime: or_absent(usage.uptime.map(human_duration)),
            version: view.version().unwrap_or_default(),
            pid: pid_and_processes(view.pid(), usage.process_count),
            own: main_process(&usage)
                .map_or_else(String::new, |own| format!("Main process: {own}")),
            findings,
            sort_keys: SortKeys {
                cpu: now,
                memory: bytes.map(mebibytes),
                rate,
                uptime: usage.uptime.map(|uptime| uptime.as_secs_f64()),
            },
        }
    }

    /// A row without values.
    pub(super) fn empty(snapshot: &Snapshot) -> Self {
        Self {
            name: "",
            status: PluginStatus::Ok,
            state: "",
            since: DisplayTime::new(snapshot.sampled_at(), snapshot),
            cpu: String::new(),
            p95: String::new(),
            memory: String::new(),
            memory_change: String::new(),
            rate: String::new(),
            recent_crashes: 0,
            crashes: 0,
            uptime: String::new(),
            version: "",
            pid: String::new(),
            own: String::new(),
            findings: Vec::new(),
            sort_keys: SortKeys::default(),
        }
    }

    /// Error, warning, ok; then the larger CPU.
    pub(super) fn by_urgency(&self, other: &Self) -> Ordering {
        let cpu = |row: &Self| row.sort_keys.cpu.unwrap_or(-1.0);
        (other.status.cmp(&self.status))
            .then_with(|| cpu(other).total_cmp(&cpu(self)))
            .then_with(|| self.name.cmp(other.name))
    }
}

fn pid_and_processes(pid: Option<u32>, processes: Option<u32>) -> String {
    let processes = match (pid, processes) {
        (Some(_), Some(0 | 1)) | (None, Some(0)) | (_, None) => None,
        (_, Some(1)) => Some("1 process".to_owned()),
        (_, Some(count)) => Some(format!("{count} processes")),
    };
    let pid = pid.map(|pid| format!("pid {pid}"));
    let parts: Vec<_> = pid.into_iter().chain(processes).collect();
    parts.join(" \u{b7} ")
}

/// CPU and memory of the reported process alone; `None` if it is not one of several, or unknown.
pub(super) fn main_process(usage: &CurrentUsage) -> Option<String> {
    let cpu = usage.cpu_percent.map(format::percent);
    let memory = usage.memory_bytes.map(format::memory);
    let parts: Vec<_> = cpu.into_iter().chain(memory).collect();
    (usage.process_count > Some(1) && !parts.is_empty()).then(|| parts.join(", "))
}

pub(super) const fn state_label(state: PluginState) -> &'static str {
    match state {
        PluginState::Stopped => "Stopped",
        PluginState::Starting => "Starting",
        PluginState::Running => "Running",
        PluginState::Unhealthy => "Unhealthy",
        PluginState::Stopping => "Stopping",
        PluginState::Crashed => "Crashed",
        PluginState::Failed => "Failed",
    }
}

/// An array, in the order of `FIELDS` in the script, because keys would be longer than the values.
impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SortKeys { cpu, memory, rate, uptime } = self.sort_keys;
        let mut out = serializer.serialize_seq(None)?;
        out.serialize_element(self.name)?;
        out.serialize_element(&(self.status as u8))?;
        out.serialize_element(self.state)?;
        out.serialize_element(&self.since.millis())?;
        for text in [&self.cpu, &self.p95, &self.memory, &self.memory_change, &self.rate] {
            out.serialize_element(text)?;
        }
        out.serialize_element(&self.recent_crashes)?;
        out.serialize_element(&self.crashes)?;
        out.serialize_element(&self.uptime)?;
        out.serialize_element(self.version)?;
        out.serialize_element(&self.pid)?;
        out.serialize_element(&self.own)?;
        for key in [cpu.map(round2), memory.map(round2), Some(round2(rate))] {
            out.serialize_element(&key)?;
        }
        out.serialize_element(&uptime.map(|uptime| uptime as u64))?;
        out.end()
    }
}
