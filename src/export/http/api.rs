//! The documents of the JSON API.

use std::io::Write as _;

use axum::body::Bytes;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use tokio::task::yield_now;

use super::event_rate::recent_event_rate;
use super::notifications::{MAX_AGE, RecentNotifications};
use super::plugin_findings::PluginFindings;
use super::plugin_status::PluginStatus;
use super::to_json::append_json;
use crate::findings::Finding;
use crate::format::number::{megabytes, round2, timestamp};
use crate::{Downsampler, PluginView, Point, ReadError, Snapshot, Window};

/// Increases when a key changes its meaning or is removed.
const SCHEMA: u32 = 1;
/// Plugins that are written before other tasks of the thread can run.
const PLUGINS_PER_YIELD: usize = 128;
/// Notifications, likewise.
const NOTIFICATIONS_PER_YIELD: usize = 128;
/// Samples, likewise.
const SAMPLES_PER_YIELD: u64 = 4_096;

/// A JSON document under construction.
struct Document(Vec<u8>);

impl Document {
    fn new(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self(out)
    }

    fn write(&mut self, value: &impl Serialize) {
        append_json(&mut self.0, value);
    }

    fn key(&mut self, key: &str) {
        if !matches!(self.0.last(), Some(b'{')) {
            self.0.push(b',');
        }
        write!(self.0, "\"{key}\":").expect("writing to a vector does not fail");
    }

    fn field(&mut self, key: &str, value: &impl Serialize) {
        self.key(key);
        self.write(value);
    }

    /// An element of an array, after a comma unless it is the first.
    fn element(&mut self, value: &impl Serialize) {
        if !matches!(self.0.last(), Some(b'[')) {
            self.0.push(b',');
        }
        self.write(value);
    }
}

/// A plugin's current values and its status.
#[derive(Serialize)]
struct PluginRow<'a> {
    #[serde(flatten)]
    view: PluginView<'a>,
    status: PluginStatus,
    state_since: String,
    read_error: Option<String>,
    last_crash: Option<String>,
    unknown_end_count: u64,
    restart_count: u64,
    crashes_in_window: u64,
    events_per_second: f64,
}

impl<'a> PluginRow<'a> {
    fn new(view: PluginView<'a>, findings: &[Finding]) -> Self {
        Self {
            view,
            status: PluginStatus::of_findings(findings),
            state_since: timestamp(view.state_since()),
            read_error: view.read_error().map(ReadError::to_string),
            last_crash: view.last_crash().map(timestamp),
            unknown_end_count: view.unknown_end_count(),
            restart_count: view.restart_count(),
            crashes_in_window: crashes_since_oldest_sample(view),
            events_per_second: round2(recent_event_rate(view)),
        }
    }
}

/// The crashes between the oldest sample of the history and the revision, as in the aggregates.
fn crashes_since_oldest_sample(view: PluginView<'_>) -> u64 {
    let count = view.crash_count();
    if count == 0 {
        return 0;
    }
    let oldest = view.history(Window::All).next();
    // Without a sample: those of this collector.
    let all = || view.crashes(Window::All);
    oldest.map_or_else(all, |sample| count.saturating_sub(sample.crash_count))
}

/// The start of the document of all plugins: everything that changes within a revision.
pub(super) fn metrics_head(snapshot: &Snapshot) -> Bytes {
    let mut head = Document::new(256);
    head.field("schema", &SCHEMA);
    head.field("timestamp", &timestamp(snapshot.sampled_at()));
    head.field("started_at", &timestamp(snapshot.started_at()));
    head.field("tick", &snapshot.tick());
    head.field("revision", &snapshot.revision());
    head.field("age_seconds", &round2(snapshot.age().as_secs_f64()));
    head.0.into()
}

/// The findings of all plugins.
pub(super) fn findings(snapshot: &Snapshot, findings: &PluginFindings) -> Bytes {
    let mut out = Document::new(1_024);
    out.field("schema", &SCHEMA);
    out.field("timestamp", &timestamp(snapshot.sampled_at()));
    out.field("tick", &snapshot.tick());
    out.field("revision", &snapshot.revision());
    out.field("findings", &findings.all);
    out.0.push(b'}');
    out.0.into()
}

/// The rest of that document.
pub(super) async fn metrics_rest(snapshot: &Snapshot, findings: &PluginFindings) -> Bytes {
    let plugins = snapshot.plugins();
    let mut rest = Document(Vec::with_capacity(1_024 + plugins.len() * 512));
    rest.field("poll_interval_seconds", &snapshot.poll_interval().as_secs_f64());
    rest.field("history_seconds", &snapshot.history_duration().as_secs_f64());
    rest.field("stopped", &snapshot.is_stopped());
    rest.key("plugins");
    rest.0.push(b'[');
    for (index, view) in plugins.enumerate() {
        if index % PLUGINS_PER_YIELD == PLUGINS_PER_YIELD - 1 {
            yield_now().await;
        }
        rest.element(&PluginRow::new(view, &findings.of_plugin(view.name())));
    }
    rest.0.push(b']');
    rest.field("system", &snapshot.system());
    rest.field("sampler", &snapshot.sampler());
    rest.0.push(b'}');
    rest.0.into()
}

/// The document of the newest notifications.
pub(super) async fn notifications(snapshot: &Snapshot, recent: &RecentNotifications) -> Bytes {
    let mut out = Document::new(256 + recent.items.len() * 256);
    out.field("schema", &SCHEMA);
    out.field("timestamp", &timestamp(snapshot.sampled_at()));
    out.field("revision", &snapshot.revision());
    out.field("max_age_seconds", &MAX_AGE.as_secs());
    out.field("dropped", &recent.dropped);
    out.key("notifications");
    out.0.push(b'[');
    for (index, notification) in recent.items.iter().enumerate() {
        if index % NOTIFICATIONS_PER_YIELD == NOTIFICATIONS_PER_YIELD - 1 {
            yield_now().await;
        }
        out.element(&**notification);
    }
    out.0.extend_from_slice(b"]}");
    out.0.into()
}

/// A point of the history: the largest values of its samples, and the average of CPU.
struct HistoryPoint(Point);

impl Serialize for HistoryPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(point) = self;
        let mut out = serializer.serialize_struct("Point", 11)?;
        out.serialize_field("timestamp", &timestamp(point.timestamp))?;
        out.serialize_field("cpu_percent", &point.cpu_percent.map(|cpu| round2(cpu.max)))?;
        out.serialize_field("cpu_average", &point.cpu_percent.map(|cpu| round2(cpu.avg)))?;
        let memory = point.memory.map(|memory| megabytes(memory.max as u64));
        out.serialize_field("memory_mb", &memory)?;
        let tree_cpu = point.tree_cpu_percent;
        out.serialize_field("tree_cpu_percent", &tree_cpu.map(|cpu| round2(cpu.max)))?;
        out.serialize_field("tree_cpu_average", &tree_cpu.map(|cpu| round2(cpu.avg)))?;
        let memory = point.tree_memory.map(|memory| megabytes(memory.max as u64));
        out.serialize_field("tree_memory_mb", &memory)?;
        out.serialize_field("event_count", &point.event_count)?;
        out.serialize_field("crash_count", &point.crash_count)?;
        out.serialize_field("state", &point.state)?;
        out.serialize_field("run", &point.run)?;
        out.end()
    }
}

/// The part of the document of one plugin that does not depend on the window.
fn plugin_head(view: PluginView<'_>) -> Document {
    let snapshot = view.snapshot();
    let mut out = Document::new(4_096);
    out.field("schema", &SCHEMA);
    out.field("timestamp", &timestamp(snapshot.sampled_at()));
    out.field("tick", &snapshot.tick());
    out.field("revision", &snapshot.revision());
    out.field("name", &view.name());
    out.field("version", &view.version());
    out.field("state", &view.state());
    out.field("pid", &view.pid());
    let findings = view.findings();
    out.field("current", &PluginRow::new(view, &findings));
    out.field("findings", &findings);
    out
}

/// The document of one plugin, with a window from a store.
#[cfg(feature = "store")]
pub(super) fn stored_plugin(view: PluginView<'_>, stored: &super::stored::StoredRange) -> Bytes {
    let mut out = plugin_head(view);
    out.field("aggregates", &stored.aggregates);
    let resolution = stored.points.first().map(|point| point.resolution);
    out.field("resolution", &resolution.unwrap_or(stored.aggregates.resolution));
    out.field("versions", &view.versions(Window::All));
    out.field("runs", &stored.runs);
    out.field("history", &stored.points);
    out.0.push(b'}');
    out.0.into()
}

/// The document of one plugin, with its history in at most `points` points.
pub(super) async fn plugin(view: PluginView<'_>, window: Window, points: usize) -> Bytes {
    let snapshot = view.snapshot();
    let mut out = plugin_head(view);
    out.field("aggregates", &view.aggregates(window));
    out.field("versions", &view.versions(window));
    out.key("runs");
    out.0.push(b'[');
    view.runs().for_each(|run| out.element(run));
    out.0.push(b']');
    out.key("history");
    out.0.push(b'[');
    let history = view.history(window);
    // Every tick records a sample of every registered plugin: there are no gaps.
    let oldest = snapshot.tick() + 1 - history.len() as u64;
    let mut downsampler = Downsampler::new(oldest, snapshot.tick(), points);
    for (tick, sample) in (oldest..).zip(history) {
        if let Some(point) = downsampler.push(tick, &sample) {
            out.element(&HistoryPoint(point));
        }
        if (tick + 1).is_multiple_of(SAMPLES_PER_YIELD) {
            yield_now().await;
        }
    }
    if let Some(point) = downsampler.finish() {
        out.element(&HistoryPoint(point));
    }
    out.0.extend_from_slice(b"]}");
    out.0.into()
}
