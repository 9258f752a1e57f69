//! One plugin: how it is, its charts, its aggregates, its runs.

use std::time::Duration;

use serde::Serialize;

use super::super::judge::Thresholds;
use super::chart::{Dot, Scale, Trace, largest, round_up, seconds, smallest};
use super::row::{Row, word};
use super::sentence::{self, Piece};
use super::words::{self, Moment, NONE, UNKNOWN};
use crate::{Aggregates, PluginState, PluginView, Run, RunEnd, Snapshot, Summary, Window};

/// Points in a large chart.
const POINTS: usize = 400;
/// Their size in units; the style sheet stretches them.
pub(super) const WIDTH: f64 = 960.0;
pub(super) const HEIGHT: f64 = 160.0;

const MB: f64 = 1_048_576.0;

/// All that the page of a plugin says; the script puts it where the page has it.
#[derive(Debug, Serialize)]
pub(super) struct Detail<'a> {
    pub level: &'static str,
    /// After the name: that it is well, or what is wrong.
    pub pieces: Vec<Piece>,
    pub facts: Vec<String>,
    pub charts: [Chart; 3],
    /// The beginning, the middle and the end of all charts, in milliseconds.
    pub times: [u64; 3],
    /// Newest first.
    pub runs: Vec<RunRow<'a>>,
}

/// What the facts are called, in their order.
pub(super) const FACTS: [&str; 8] =
    ["Uptime", "CPU time", "Events", "Crashes", "Restarts", "Version", "Pid", "Samples"];

/// One chart.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    #[serde(skip)]
    pub key: &'static str,
    #[serde(skip)]
    pub title: &'static str,
    pub now: String,
    /// In words, for those who do not see it.
    pub summary: String,
    /// Average, least, p95, most.
    pub four: [String; 4],
    pub line: String,
    pub area: String,
    pub limit: String,
    pub restarts: String,
    pub crashes: String,
    /// At the top, the middle and the bottom.
    pub labels: [String; 3],
    /// No value in the window.
    pub empty: bool,
}

/// One run.
#[derive(Debug, Serialize)]
pub(super) struct RunRow<'a> {
    pub id: u64,
    pub version: &'a str,
    pub pid: u32,
    pub began: u64,
    pub ended: Option<u64>,
    pub lasted: String,
    pub cpu: String,
    pub end: String,
    /// Neither with 0 nor by a signal that asks to end: wanted or not, it was not clean.
    pub bad: bool,
    #[serde(skip)]
    pub began_at: Moment,
    #[serde(skip)]
    pub ended_at: Option<Moment>,
}

impl<'a> Detail<'a> {
    pub(super) fn of(
        snapshot: &Snapshot,
        view: PluginView<'a>,
        thresholds: &Thresholds,
        window: Window,
    ) -> Self {
        let row = Row::of(snapshot, view, thresholds);
        let aggregates = view.aggregates(window);
        let mut pieces = sentence::pieces(&row.concerns, row.since.now);
        if pieces.is_empty() {
            pieces.push(Piece::Text("nothing to complain of".to_owned()));
        }
        let says_since = match view.state() {
            PluginState::Crashed | PluginState::Failed | PluginState::Unhealthy => true,
            PluginState::Stopped
            | PluginState::Starting
            | PluginState::Running
            | PluginState::Stopping => false,
        };
        if !says_since {
            let state = Piece::Text(format!("{} since ", row.state));
            pieces.splice(0..0, [state, Piece::Time(row.since), Piece::Text("; ".to_owned())]);
        }
        let now = snapshot.sampled_at();
        let runs = view.runs().rev().map(|run| RunRow::of(run, Moment { at: now, now }));
        let (from, to) = span(snapshot, window);
        let times = [from, f64::midpoint(from, to), to].map(|at| (at * 1_000.0) as u64);
        Self {
            level: word(row.status),
            pieces,
            facts: facts(view, &row, aggregates.as_ref()),
            charts: charts(snapshot, view, thresholds, window, &row, aggregates.as_ref()),
            times,
            runs: runs.collect(),
        }
    }
}

fn facts(view: PluginView<'_>, row: &Row<'_>, aggregates: Option<&Aggregates>) -> Vec<String> {
    let or_none = |text: &str| if text.is_empty() { NONE.to_owned() } else { text.to_owned() };
    vec![
        row.uptime.clone(),
        words::length(view.cpu_time()),
        words::count(view.event_count()),
        row.crashes.to_string(),
        view.restart_count().to_string(),
        or_none(row.version),
        view.pid().map_or_else(|| NONE.to_owned(), |pid| pid.to_string()),
        aggregates.map_or(0, |aggregates| aggregates.sample_count).to_string(),
    ]
}

/// How long a window is that a chart shows.
pub(super) fn length(snapshot: &Snapshot, window: Window) -> Duration {
    let all = snapshot.history_duration();
    let length = match window {
        Window::All => all,
        Window::Last(last) => last.min(all),
    };
    length.max(snapshot.poll_interval())
}

/// The edges of the charts. Before the collector was started there is nothing to be seen.
pub(super) fn span(snapshot: &Snapshot, window: Window) -> (f64, f64) {
    let to = seconds(snapshot.sampled_at());
    let from = to - length(snapshot, window).as_secs_f64();
    match window {
        Window::All => (from.max(seconds(snapshot.started_at()).min(to - 1.0)), to),
        Window::Last(_) => (from, to),
    }
}

fn charts(
    snapshot: &Snapshot,
    view: PluginView<'_>,
    thresholds: &Thresholds,
    window: Window,
    row: &Row<'_>,
    aggregates: Option<&Aggregates>,
) -> [Chart; 3] {
    let history = view.history(window);
    let oldest = snapshot.tick() + 1 - history.len() as u64;
    let trace = Trace::of(history, oldest, snapshot.poll_interval(), POINTS);
    let (from, to) = span(snapshot, window);
    let scale = |low, high| Scale { from, to, low, high, width: WIDTH, height: HEIGHT };
    let over = words::span(length(snapshot, window));
    let marks = (&trace.restarts[..], &trace.crashes[..]);

    let top = round_up(largest(&trace.cpu).unwrap_or(0.0).max(1.0));
    let cpu = Plan {
        key: "cpu",
        title: "CPU, % of one core",
        now: row.cpu.clone(),
        dots: &trace.cpu,
        scale: scale(0.0, top),
        limit: thresholds.cpu_percent,
        show: &|value| words::percent(value),
        label: &|value| plain(value, top),
    };
    let summary = aggregates.and_then(|aggregates| aggregates.cpu);
    let cpu = cpu.chart(summary, &over, marks);

    let (least, most) = (smallest(&trace.memory), largest(&trace.memory));
    let (low, high) = between(least.unwrap_or(0.0) / MB, most.unwrap_or(0.0) / MB);
    let memory = Plan {
        key: "memory",
        title: "Memory, MB",
        now: row.memory.clone(),
        dots: &trace.memory,
        scale: scale(low * MB, high * MB),
        limit: thresholds.memory_mb * MB,
        show: &|value| words::megabytes(value / MB),
        label: &|value| plain(value / MB, high - low),
    };
    let summary = aggregates.and_then(|aggregates| aggregates.memory);
    let memory = memory.chart(summary, &over, marks);

    let top = round_up(largest(&trace.rate).unwrap_or(0.0).max(1.0));
    let rate = Plan {
        key: "rate",
        title: "Events per second",
        now: row.rate.clone(),
        dots: &trace.rate,
        scale: scale(0.0, top),
        limit: f64::INFINITY,
        show: &|value| words::rate(value),
        label: &|value| plain(value, top),
    };
    let mut rate = rate.chart(None, &over, marks);
    if let Some(aggregates) = aggregates.filter(|_| !rate.empty) {
        let (least, most) = (smallest(&trace.rate), largest(&trace.rate));
        let [least, most] = [least, most].map(|rate| words::rate(rate.unwrap_or(0.0)));
        let average = words::rate(aggregates.events_per_second);
        let events = aggregates.events;
        rate.summary =
            format!("In the last {over} {events} events, {average} per second; at most {most}.");
        rate.four = [average, least, NONE.to_owned(), most];
    }
    [cpu, memory, rate]
}

/// What a chart is made of.
struct Plan<'a> {
    key: &'static str,
    title: &'static str,
    now: String,
    dots: &'a [Dot],
    scale: Scale,
    limit: f64,
    show: &'a dyn Fn(f64) -> String,
    label: &'a dyn Fn(f64) -> String,
}

impl Plan<'_> {
    fn chart(self, summary: Option<Summary>, over: &str, marks: (&[f64], &[f64])) -> Chart {
        let Self { key, title, now, dots, scale, limit, show, label } = self;
        let four = summary.map(|summary| [summary.avg, summary.min, summary.p95, summary.max]);
        let four = four.map(|four| four.map(show));
        let summary = four.as_ref().map_or_else(
            || format!("No value is known in the last {over}."),
            |[avg, min, p95, max]| {
                format!("In the last {over} on average {avg}, from {min} to {max}; p95 {p95}; now {now}.")
            },
        );
        let middle = f64::midpoint(scale.low, scale.high);
        Chart {
            key,
            title,
            now,
            summary,
            four: four.unwrap_or_else(|| [(); 4].map(|()| NONE.to_owned())),
            line: scale.line(dots),
            // A fill says that it is measured from zero.
            area: if scale.low == 0.0 { scale.area(dots) } else { String::new() },
            limit: scale.level(limit),
            restarts: scale.uprights(marks.0),
            crashes: scale.marks(marks.1),
            labels: [scale.high, middle, scale.low].map(label),
            empty: largest(dots).is_none(),
        }
    }
}

/// A number beside an axis of that length: with decimals only where they tell its marks apart.
fn plain(value: f64, length: f64) -> String {
    let decimals = match length {
        8.0.. => 0,
        0.8..8.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// Round numbers around these, and not too near to each other.
fn between(low: f64, high: f64) -> (f64, f64) {
    let step = round_up(((high - low) / 2.0).max(high / 40.0).max(0.5));
    let bottom = (low / step).floor() * step;
    let mut top = bottom + 2.0 * step;
    while top < high {
        top += 2.0 * step;
    }
    (bottom, top)
}

impl<'a> RunRow<'a> {
    fn of(run: &'a Run, now: Moment) -> Self {
        let began = run.started_at.unwrap_or(run.reported_at);
        let until = run.ended_at.unwrap_or(now.at);
        let moment = |at| Moment { at, ..now };
        let lasted = until.duration_since(began).map_or_else(|_| UNKNOWN.to_owned(), words::length);
        let cpu = match run.cpu_time {
            Some(time) => words::length(time),
            None if run.end.is_some() => UNKNOWN.to_owned(),
            None => NONE.to_owned(),
        };
        Self {
            id: run.id.0,
            version: run.version.as_deref().unwrap_or(NONE),
            pid: run.pid,
            began: words::millis(began),
            ended: run.ended_at.map(words::millis),
            lasted,
            cpu,
            end: run.end.map_or_else(|| "running".to_owned(), |end| end.to_string()),
            bad: run.end.is_some_and(RunEnd::is_unclean),
            began_at: moment(began),
            ended_at: run.ended_at.map(moment),
        }
    }
}

/// A window that can be chosen.
#[derive(Debug)]
pub(super) struct Choice {
    pub text: String,
    /// The parameter of the link; empty for all of the history.
    pub query: String,
    pub chosen: bool,
}

/// Those shorter than the history, and all of it. One that was asked for is among them, whether it
/// is offered to others or not.
pub(super) fn choices(snapshot: &Snapshot, window: Window) -> Vec<Choice> {
    const SECONDS: [u64; 6] = [60, 300, 900, 3_600, 21_600, 86_400];
    let all = snapshot.history_duration();
    let shorter = SECONDS.map(Duration::from_secs).into_iter().filter(|&length| length < all);
    let shorter = shorter.filter(|&length| length >= snapshot.poll_interval() * 2);
    let mut lengths: Vec<_> = shorter.collect();
    let asked = match window {
        Window::Last(asked) => Some(asked).filter(|&asked| asked < all),
        Window::All => None,
    };
    if let Some(asked) = asked
        && let Err(place) = lengths.binary_search(&asked)
    {
        lengths.insert(place, asked);
    }
    let choice = |length: Duration| Choice {
        text: words::brief(length),
        query: format!("&window={}", length.as_secs_f64()),
        chosen: asked == Some(length),
    };
    let mut out: Vec<_> = lengths.into_iter().map(choice).collect();
    let chosen = asked.is_none();
    out.push(Choice { text: format!("all, {}", words::brief(all)), query: String::new(), chosen });
    out
}

/// A moment beside the axis of time.
pub(super) fn moment(millis: u64, snapshot: &Snapshot) -> Moment {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(millis);
    Moment { at, now: snapshot.sampled_at() }
}
