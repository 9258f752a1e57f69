//! All plugins: the verdict, what needs attention, the totals and the table.

use axum::body::Bytes;
use serde::Serialize;

use super::super::api::turn;
use super::super::health::{Ailment, age, ailment};
use super::super::judge::{Status, Thresholds};
use super::row::{Lines, Row, encoded, word};
use super::sentence::{Piece, Sentence};
use super::words::{self, Moment};
use crate::{PluginView, Snapshot, Window};

/// Rows that are made before others get their turn, and samples that are looked at for them.
const ROWS: usize = 128;
const SAMPLES: usize = 65_536;
/// Sentences under the verdict, and among them those on plugins that need no attention. More stand
/// at the top of the table.
const SENTENCES: usize = 8;
const NOTES: usize = 3;

/// Counts the work until others get their turn: a history may have a hundred samples or a million.
#[derive(Debug, Default)]
pub(super) struct Turns {
    rows: usize,
    samples: usize,
}

impl Turns {
    /// To be waited for before each row.
    pub(super) async fn after(&mut self, view: PluginView<'_>) {
        self.rows += 1;
        self.samples += view.history(Window::All).len();
        if self.rows >= ROWS || self.samples >= SAMPLES {
            *self = Self::default();
            turn().await;
        }
    }
}

/// All that is said of a snapshot.
#[derive(Debug)]
pub(super) struct Overview<'a> {
    pub rows: Vec<Row<'a>>,
    pub verdict: Verdict,
    pub totals: Vec<String>,
}

/// The first thing that is read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Verdict {
    /// The worst status.
    pub level: &'static str,
    pub text: String,
}

/// What the totals are called, in their order.
pub(super) const TOTALS: [&str; 7] = [
    "Running",
    "Crashed or failed",
    "CPU, of one core",
    "Memory",
    "Events/s",
    "Events",
    "Sampler\u{2019}s CPU",
];

impl<'a> Overview<'a> {
    /// In turns.
    pub(super) async fn of(snapshot: &'a Snapshot, thresholds: &Thresholds) -> Self {
        let plugins = snapshot.plugins();
        let (mut rows, mut turns) = (Vec::with_capacity(plugins.len()), Turns::default());
        for view in plugins {
            turns.after(view).await;
            rows.push(Row::of(snapshot, view, thresholds));
        }
        let verdict = Verdict::of(snapshot, &rows);
        let totals = totals(snapshot, &rows);
        Self { rows, verdict, totals }
    }

    /// The gravest, then those that are only worth knowing; and how many more there are.
    pub(super) fn sentences(&self) -> (Vec<Sentence<'a>>, usize) {
        let mut rows: Vec<_> = self.rows.iter().filter(|row| !row.concerns.is_empty()).collect();
        rows.sort_by(|one, other| one.by_urgency(other));
        let grave = rows.iter().filter(|row| row.status != Status::Ok).count();
        let shown = grave.min(SENTENCES);
        let notes = (rows.len() - grave).min(NOTES).min(SENTENCES - shown);
        let chosen = rows[..shown].iter().chain(&rows[grave..grave + notes]);
        (chosen.filter_map(|row| Sentence::of(row)).collect(), grave - shown)
    }
}

impl Verdict {
    fn of(snapshot: &Snapshot, rows: &[Row<'_>]) -> Self {
        let troubled = rows.iter().filter(|row| row.status != Status::Ok).count();
        let level = rows.iter().map(|row| row.status).max().map_or("note", word);
        let (all, running) = (rows.len(), snapshot.system().plugins_running);
        let text = match troubled {
            _ if all == 0 => "No plugin is registered.".to_owned(),
            0 if running == all => match all {
                1 => "All is well: the one plugin is running.".to_owned(),
                _ => format!("All is well: {all} plugins are running."),
            },
            0 => format!("All is well: {running} of {all} plugins running."),
            1 => format!("1 of {all} needs attention."),
            _ => format!("{troubled} of {all} need attention."),
        };
        Self { level, text }
    }
}

fn totals(snapshot: &Snapshot, rows: &[Row<'_>]) -> Vec<String> {
    let (system, sampler) = (snapshot.system(), snapshot.sampler());
    let down = rows.iter().filter(|row| row.status == Status::Error).count();
    let cpu = rows.iter().filter_map(|row| row.keys.cpu).reduce(|sum, cpu| sum + cpu);
    let memory = rows.iter().any(|row| row.keys.memory.is_some());
    let unknown = || words::NONE.to_owned();
    vec![
        format!("{} of {}", system.plugins_running, system.total_plugins),
        down.to_string(),
        cpu.map_or_else(unknown, words::percent),
        if memory { words::memory(system.total_memory_bytes) } else { unknown() },
        words::rate(rows.iter().map(|row| row.keys.rate).sum()),
        words::count(system.total_events),
        sampler.overhead_percent.map_or_else(unknown, |cost| format!("{cost:.3}\u{a0}%")),
    ]
}

// -- for the script ------------------------------------------------------------------------------

/// The beginning: what changes within a revision, too.
pub(super) fn head(snapshot: &Snapshot) -> Bytes {
    let age = age(snapshot).as_secs_f64();
    format!("{{\"age\":{age:.2},").into()
}

/// The rest: rows in the order of their names, which is that of [`lines`].
pub(super) async fn data(snapshot: &Snapshot, thresholds: &Thresholds) -> Bytes {
    #[derive(Serialize)]
    struct Document<'a> {
        started: u64,
        revision: u64,
        tick: u64,
        now: u64,
        stopped: bool,
        verdict: &'a Verdict,
        sentences: Vec<Sentence<'a>>,
        more: usize,
        totals: &'a [String],
    }
    let overview = Overview::of(snapshot, thresholds).await;
    let (sentences, more) = overview.sentences();
    let document = Document {
        started: words::millis(snapshot.started_at()),
        revision: snapshot.revision(),
        tick: snapshot.tick(),
        now: words::millis(snapshot.sampled_at()),
        stopped: snapshot.is_stopped(),
        verdict: &overview.verdict,
        sentences,
        more,
        totals: &overview.totals,
    };
    let mut out = serde_json::to_vec(&document).expect("a value of ours is JSON");
    // The head has the brace that opens it.
    out.remove(0);
    out.pop();
    out.extend_from_slice(b",\"rows\":[");
    for (nth, row) in overview.rows.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        if nth % ROWS == ROWS - 1 {
            turn().await;
        }
        serde_json::to_writer(&mut out, row).expect("a value of ours is JSON, a vector takes it");
    }
    out.extend_from_slice(b"]}");
    out.into()
}

/// The small lines of the plugins at these places in the order of names. Each brings its name: the
/// order may have changed since it was asked by.
pub(super) async fn lines(snapshot: &Snapshot, thresholds: &Thresholds, places: &[usize]) -> Bytes {
    #[derive(Serialize)]
    struct Document<'a> {
        tick: u64,
        lines: Vec<(&'a str, Lines)>,
    }
    let views: Vec<PluginView<'_>> = snapshot.plugins().collect();
    let (mut lines, mut turns) = (Vec::with_capacity(places.len()), Turns::default());
    for view in places.iter().filter_map(|&place| views.get(place)) {
        turns.after(*view).await;
        lines.push((view.name(), Lines::of(snapshot, *view, thresholds)));
    }
    let document = Document { tick: snapshot.tick(), lines };
    serde_json::to_vec(&document).expect("a value of ours is JSON").into()
}

// -- for those who open it -----------------------------------------------------------------------

/// Why the values are not those of now, as the page says it.
#[derive(Debug)]
pub(super) struct Banner {
    pub kind: &'static str,
    pub text: &'static str,
}

impl Banner {
    pub(super) const STOPPED: &'static str =
        "The collector is stopped. What is below is the last it has seen.";
    pub(super) const LATE: &'static str =
        "The collector is late: no new sample has come for more than three intervals.";

    /// These are for the script, which alone can know.
    pub(super) const SILENT: &'static str =
        "The server does not answer. What is below is the last it has said.";
    pub(super) const REFUSED: &'static str = "The server does not say what is new; it answers";
    pub(super) const GONE: &'static str =
        "The plugin is no longer registered. This is the last of it.";

    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        Some(match ailment(snapshot, age(snapshot))? {
            Ailment::Stopped => Self { kind: "stopped", text: Self::STOPPED },
            Ailment::Late { .. } => Self { kind: "late", text: Self::LATE },
        })
    }
}

/// The link to the plugin's own page.
pub(super) fn link(base: &str, name: &str) -> String {
    format!("{base}plugin?name={}", encoded(name))
}

/// Whether a row comes with its lines: a page of thousands would be megabytes of them. The script
/// asks for those of the others when they come into view.
pub(super) const WITH_LINES: usize = 100;

/// The moment of the snapshot.
pub(super) fn moment(snapshot: &Snapshot) -> Moment {
    Moment { at: snapshot.sampled_at(), now: snapshot.sampled_at() }
}

/// Pieces as a template takes them.
pub(super) fn parts(pieces: &[Piece]) -> impl Iterator<Item = (&str, Option<Moment>)> {
    pieces.iter().map(|piece| match piece {
        Piece::Text(text) => (text.as_str(), None),
        Piece::Time(moment) => ("", Some(*moment)),
    })
}
