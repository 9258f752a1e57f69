//! The documents of the API, as JSON.

use std::io::Write as _;

use axum::body::Bytes;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::judge::{self, Status, Thresholds};
use crate::format::json::{SAMPLE_FIELDS, sample_fields};
use crate::format::number::{megabytes, round2, timestamp};
use crate::{Downsampler, PluginView, Point, ReadError, Snapshot, Window};

/// Rises when a field changes its meaning or goes.
const SCHEMA: u32 = 1;
/// Plugins, and samples, that are written before others get their turn.
const PLUGINS: usize = 128;
const SAMPLES: usize = 4_096;

/// Lets other tasks of the thread have their turn.
pub(super) async fn turn() {
    tokio::task::yield_now().await;
}

/// A JSON document in the making.
struct Document(Vec<u8>);

impl Document {
    fn new(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self(out)
    }

    fn write(&mut self, value: &impl Serialize) {
        serde_json::to_writer(&mut self.0, value)
            .expect("a value of ours is JSON, a vector takes it");
    }

    fn key(&mut self, key: &str) {
        if !matches!(self.0.last(), Some(b'{')) {
            self.0.push(b',');
        }
        write!(self.0, "\"{key}\":").expect("a vector takes all that is written");
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

/// A plugin as it is now, and what is to be thought of it.
pub(super) struct Row<'a> {
    pub snapshot: &'a Snapshot,
    pub view: PluginView<'a>,
    pub thresholds: &'a Thresholds,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { snapshot, view, thresholds } = *self;
        let mut out = serializer.serialize_struct("Row", SAMPLE_FIELDS + 7)?;
        sample_fields(&mut out, &view.as_sample())?;
        out.serialize_field("status", &Status::of(snapshot, view, thresholds))?;
        out.serialize_field("state_since", &timestamp(view.state_since()))?;
        out.serialize_field("problem", &view.read_error().map(ReadError::to_string))?;
        out.serialize_field("last_crash", &view.last_crash().map(timestamp))?;
        out.serialize_field("restart_count", &view.restart_count())?;
        out.serialize_field("crashes_in_window", &view.crashes(Window::All))?;
        let rate = judge::events_per_second(snapshot, view);
        out.serialize_field("events_per_second", &round2(rate))?;
        out.end()
    }
}

/// The beginning of the document of all plugins: what changes within a revision, too.
pub(super) fn metrics_head(snapshot: &Snapshot, age_seconds: f64) -> Bytes {
    let mut head = Document::new(256);
    head.field("schema", &SCHEMA);
    head.field("timestamp", &timestamp(snapshot.sampled_at()));
    head.field("started_at", &timestamp(snapshot.started_at()));
    head.field("tick", &snapshot.tick());
    head.field("revision", &snapshot.revision());
    head.field("age_seconds", &round2(age_seconds));
    head.0.into()
}

/// The rest of it.
pub(super) async fn metrics_rest(snapshot: &Snapshot, thresholds: &Thresholds) -> Bytes {
    let plugins = snapshot.plugins();
    let mut rest = Document(Vec::with_capacity(1_024 + plugins.len() * 512));
    rest.field("poll_interval_seconds", &snapshot.poll_interval().as_secs_f64());
    rest.field("history_seconds", &snapshot.history_duration().as_secs_f64());
    rest.field("stopped", &snapshot.is_stopped());
    rest.key("plugins");
    rest.0.push(b'[');
    for (nth, view) in plugins.enumerate() {
        if nth % PLUGINS == PLUGINS - 1 {
            turn().await;
        }
        rest.element(&Row { snapshot, view, thresholds });
    }
    rest.0.push(b']');
    rest.field("system", &snapshot.system());
    rest.field("sampler", &snapshot.sampler());
    rest.0.push(b'}');
    rest.0.into()
}

/// A point of the history: the largest values of its samples, and the average of CPU.
struct HistoryPoint(Point);

impl Serialize for HistoryPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(point) = self;
        let mut out = serializer.serialize_struct("Point", 8)?;
        out.serialize_field("timestamp", &timestamp(point.timestamp))?;
        out.serialize_field("cpu_percent", &point.cpu_percent.map(|cpu| round2(cpu.max)))?;
        out.serialize_field("cpu_average", &point.cpu_percent.map(|cpu| round2(cpu.avg)))?;
        let memory = point.memory.map(|memory| megabytes(memory.max as u64));
        out.serialize_field("memory_mb", &memory)?;
        out.serialize_field("event_count", &point.event_count)?;
        out.serialize_field("crash_count", &point.crash_count)?;
        out.serialize_field("state", &point.state)?;
        out.serialize_field("run", &point.run)?;
        out.end()
    }
}

/// One plugin, with its history.
pub(super) async fn plugin(
    snapshot: &Snapshot,
    view: PluginView<'_>,
    thresholds: &Thresholds,
    window: Window,
    points: usize,
) -> Bytes {
    let mut out = Document::new(4_096);
    out.field("schema", &SCHEMA);
    out.field("timestamp", &timestamp(snapshot.sampled_at()));
    out.field("tick", &snapshot.tick());
    out.field("revision", &snapshot.revision());
    out.field("name", &view.name());
    out.field("version", &view.version());
    out.field("state", &view.state());
    out.field("pid", &view.pid());
    out.field("current", &Row { snapshot, view, thresholds });
    out.field("aggregates", &view.aggregates(window));
    out.key("runs");
    out.0.push(b'[');
    view.runs().for_each(|run| out.element(run));
    out.0.push(b']');
    out.key("history");
    out.0.push(b'[');
    let history = view.history(window);
    // A tick records a sample of every plugin that is registered: they have no gap.
    let mut tick = snapshot.tick() + 1 - history.len() as u64;
    let mut downsampler = Downsampler::new(tick, snapshot.tick(), points);
    for sample in history {
        if let Some(point) = downsampler.push(tick, &sample) {
            out.element(&HistoryPoint(point));
        }
        tick += 1;
        if tick.is_multiple_of(SAMPLES as u64) {
            turn().await;
        }
    }
    if let Some(point) = downsampler.finish() {
        out.element(&HistoryPoint(point));
    }
    out.0.extend_from_slice(b"]}");
    out.0.into()
}
