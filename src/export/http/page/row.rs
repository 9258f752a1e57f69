//! One plugin in the table.

use std::cmp::Ordering;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use super::super::judge::{self, Concern, Growth, Status, Thresholds};
use super::chart::{Scale, Trace, largest, smallest};
use super::detail::span;
use super::words::{self, Moment, NONE, UNKNOWN};
use crate::format::number::human_duration;
use crate::{PluginState, PluginView, Snapshot, Window};

/// All but what RFC 3986 leaves unreserved.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name as the value of a parameter.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, QUERY).to_string()
}

/// What the table says of a plugin. All of it is words already, so that the page and what the
/// script puts into it cannot differ.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub name: &'a str,
    pub status: Status,
    pub state: &'static str,
    pub since: Moment,
    pub cpu: String,
    pub p95: String,
    pub memory: String,
    pub change: String,
    pub rate: String,
    pub crashes_lately: u64,
    pub crashes: u64,
    pub uptime: String,
    pub version: &'a str,
    pub pid: String,
    pub concerns: Vec<Concern>,
    /// By these rows are sorted: percent, MB, events per second, seconds.
    pub keys: Keys,
}

/// Numbers behind words.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keys {
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
    pub rate: f64,
    pub uptime: Option<f64>,
}

impl<'a> Row<'a> {
    pub(super) fn of(snapshot: &Snapshot, view: PluginView<'a>, thresholds: &Thresholds) -> Self {
        let (live, status) = (view.usage(), Status::of(snapshot, view, thresholds));
        let growth = Growth::of(view, Window::All);
        // What a process has and nobody knows; what there cannot be without a process.
        let absent = if view.run().is_some() { UNKNOWN } else { NONE };
        let or_absent = |value: Option<String>| value.unwrap_or_else(|| absent.to_owned());
        let cpu = view.aggregates(Window::All).and_then(|aggregates| aggregates.cpu);
        let rate = judge::events_per_second(snapshot, view);
        Self {
            name: view.name(),
            status,
            state: state(view.state()),
            since: Moment { at: view.state_since(), now: snapshot.sampled_at() },
            cpu: or_absent(live.cpu_percent.map(words::percent)),
            p95: cpu.map_or_else(String::new, |cpu| format!("p95 {}", words::percent(cpu.p95))),
            memory: or_absent(live.memory_bytes.map(words::memory)),
            change: growth.map_or_else(String::new, |growth| words::change(growth.bytes)),
            rate: words::rate(rate),
            crashes_lately: view.crashes(judge::recent(snapshot)),
            crashes: view.crash_count(),
            uptime: or_absent(live.uptime.map(human_duration)),
            version: view.version().unwrap_or_default(),
            pid: view.pid().map_or_else(String::new, |pid| format!("pid {pid}")),
            concerns: judge::concerns(snapshot, view, thresholds, growth),
            keys: Keys {
                cpu: live.cpu_percent,
                memory: live.memory_bytes.map(crate::format::number::mebibytes),
                rate,
                uptime: live.uptime.map(|uptime| uptime.as_secs_f64()),
            },
        }
    }

    /// Worst first: error, warning, then by CPU.
    pub(super) fn by_urgency(&self, other: &Self) -> Ordering {
        let cpu = |row: &Self| row.keys.cpu.unwrap_or(-1.0);
        (other.status.cmp(&self.status))
            .then_with(|| cpu(other).total_cmp(&cpu(self)))
            .then_with(|| self.name.cmp(other.name))
    }

    /// The status in a word: its shape and its colour say no more.
    pub(super) fn word(&self) -> &'static str {
        word(self.status)
    }
}

/// As JSON says it.
pub(super) const fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Error => "error",
    }
}

/// The state as one reads it.
pub(super) const fn state(state: PluginState) -> &'static str {
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

/// A list, in the order in which the script names the fields: keys would be more than the values.
impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = |value: Option<f64>| value.map(|value| (value * 100.0).round() / 100.0);
        let Keys { cpu, memory, rate, uptime } = self.keys;
        let mut out = serializer.serialize_seq(None)?;
        out.serialize_element(self.name)?;
        out.serialize_element(&(self.status as u8))?;
        out.serialize_element(self.state)?;
        out.serialize_element(&self.since.millis())?;
        for text in [&self.cpu, &self.p95, &self.memory, &self.change, &self.rate] {
            out.serialize_element(text)?;
        }
        out.serialize_element(&self.crashes_lately)?;
        out.serialize_element(&self.crashes)?;
        out.serialize_element(&self.uptime)?;
        out.serialize_element(self.version)?;
        out.serialize_element(&self.pid)?;
        for key in [whole(cpu), whole(memory), whole(Some(rate))] {
            out.serialize_element(&key)?;
        }
        out.serialize_element(&uptime.map(|uptime| uptime as u64))?;
        out.end()
    }
}

/// The small lines of a row.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Lines {
    pub cpu: String,
    pub memory: String,
    pub restarts: String,
    pub crashes: String,
}

/// Their size; the style sheet gives them as much.
pub(super) const WIDTH: f64 = 96.0;
pub(super) const HEIGHT: f64 = 24.0;
/// As many points as can be told apart in that width.
const POINTS: usize = 48;

impl Lines {
    /// Of the whole history. CPU from zero to at least the threshold, so that a plugin at rest is a
    /// flat line, and one that is not stands out among the others.
    pub(super) fn of(snapshot: &Snapshot, view: PluginView<'_>, thresholds: &Thresholds) -> Self {
        let history = view.history(Window::All);
        let oldest = snapshot.tick() + 1 - history.len() as u64;
        let trace = Trace::of(history, oldest, snapshot.poll_interval(), POINTS);
        let (from, to) = span(snapshot, Window::All);
        let scale = |low, high| Scale { from, to, low, high, width: WIDTH, height: HEIGHT };
        let floor = thresholds.cpu_percent.clamp(1.0, 100.0);
        let cpu = scale(0.0, largest(&trace.cpu).unwrap_or(0.0).max(floor));
        let (low, high) = around(&trace);
        Self {
            cpu: cpu.line(&trace.cpu),
            memory: scale(low, high).line(&trace.memory),
            restarts: cpu.uprights(&trace.restarts),
            crashes: cpu.marks(&trace.crashes),
        }
    }
}

/// What a line of memory lies between: a change of less than a tenth, or a megabyte, is not to look
/// like much.
fn around(trace: &Trace) -> (f64, f64) {
    let low = smallest(&trace.memory).unwrap_or(0.0);
    let high = largest(&trace.memory).unwrap_or(0.0);
    let least = (high / 10.0).max(1_048_576.0);
    let missing = (least - (high - low)).max(0.0);
    (low - missing / 2.0, high + missing / 2.0)
}
