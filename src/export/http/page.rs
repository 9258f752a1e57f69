//! The dashboard: the page of all plugins, and a page for each.
//!
//! What is shown is made here alone, and complete: without a script it is a page like any other. The
//! script puts newer words and paths into the places where the older ones are.

mod chart;
mod detail;
mod overview;
mod row;
mod sentence;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing};

use self::detail::{Choice, Detail, FACTS};
use self::overview::{Banner, Overview, TOTALS, Turns, WITH_LINES};
use self::row::{Keys, Lines, Row};
use self::sentence::Sentence;
use self::words::Moment;
use super::body::Shared;
use super::cache::Kept;
use super::health::age;
use super::judge::{Status, Thresholds, recent};
use super::query::{BadQuery, Query};
use super::routes::{JSON, Site, answer, error};
use crate::Snapshot;

const HTML: &str = "text/html; charset=utf-8";

/// The routes of the page. All but the first are nobody else's affair.
pub(super) fn routes() -> Router<Arc<Site>> {
    const STYLE: &str = include_str!("page/page.css");
    const SCRIPT: &str = include_str!("page/page.js");
    const ICON: &str = include_str!("page/favicon.svg");
    let file = |content_type, text: &'static str| {
        routing::get(async move || answer(content_type, text.into()))
    };
    Router::new()
        .route("/", routing::get(index))
        .route("/plugin", routing::get(plugin))
        .route("/page/rows", routing::get(rows))
        .route("/page/lines", routing::get(lines))
        .route("/page/plugin", routing::get(plugin_data))
        .route("/page.css", file("text/css; charset=utf-8", STYLE))
        .route("/page.js", file("text/javascript; charset=utf-8", SCRIPT))
        .route("/favicon.svg", file("image/svg+xml", ICON))
}

/// What links begin with on the page of all plugins. A browser resolves them against the path that
/// it asked for, which may end in a slash or not wherever the router is mounted.
fn base(path: &str) -> String {
    match path.rsplit('/').next() {
        None | Some("") => "./".to_owned(),
        Some(segment) => format!("./{segment}/"),
    }
}

/// On all other pages, which are below that.
const HERE: &str = "./";

// -- the page of all plugins ---------------------------------------------------------------------

async fn index(State(site): State<Arc<Site>>, OriginalUri(uri): OriginalUri) -> Response {
    let snapshot = site.reader.snapshot();
    let base = base(uri.path());
    let make = render_rest(&snapshot, &site.thresholds, &base);
    // Links are the same for everybody but those who asked without the slash.
    let rest =
        if base == HERE { site.cache.get(&snapshot, Kept::Page, make).await } else { make.await };
    answer(HTML, Shared::body(render_top(&snapshot, &base), rest))
}

/// What changes while the revision does not.
#[derive(Template)]
#[template(path = "index.html", block = "top")]
struct Top<'a> {
    base: &'a str,
    frame: Frame,
}

/// What every page says of the collector.
struct Frame {
    banner: Option<Banner>,
    age: String,
    age_seconds: f64,
    interval: f64,
    started: u64,
    revision: u64,
    /// 0: there is no data yet.
    tick: u64,
}

impl Frame {
    fn of(snapshot: &Snapshot) -> Self {
        let age = age(snapshot);
        Self {
            banner: Banner::of(snapshot),
            age: words::age(age),
            age_seconds: age.as_secs_f64(),
            interval: snapshot.poll_interval().as_secs_f64(),
            started: words::millis(snapshot.started_at()),
            revision: snapshot.revision(),
            tick: snapshot.tick(),
        }
    }
}

fn render_top(snapshot: &Snapshot, base: &str) -> Bytes {
    let top = Top { base, frame: Frame::of(snapshot) };
    top.render().expect("a string takes all that is written").into()
}

#[derive(Template)]
#[template(path = "index.html", block = "rest")]
struct Rest<'a> {
    base: &'a str,
    overview: &'a Overview<'a>,
    sentences: &'a [Sentence<'a>],
    more: usize,
    lately: String,
    lately_brief: String,
    history: String,
    interval: String,
    /// Rows, which are markup already.
    rows: &'a str,
    blank: &'a str,
}

#[derive(Template)]
#[template(path = "row.html")]
struct RowMarkup<'a> {
    row: &'a Row<'a>,
    link: String,
    lines: Lines,
}

async fn render_rest(snapshot: &Snapshot, thresholds: &Thresholds, base: &str) -> Bytes {
    let mut overview = Overview::of(snapshot, thresholds).await;
    overview.rows.sort_by(Row::by_urgency);
    let mut rows = String::with_capacity(overview.rows.len() * 1_024);
    let mut turns = Turns::default();
    for (nth, row) in overview.rows.iter().enumerate() {
        let mut lines = Lines::default();
        if let Some(view) = snapshot.plugin(row.name) {
            turns.after(view).await;
            if nth < WITH_LINES {
                lines = Lines::of(snapshot, view, thresholds);
            }
        }
        let markup = RowMarkup { row, link: overview::link(base, row.name), lines };
        markup.render_into(&mut rows).expect("a string takes all that is written");
    }
    let (sentences, more) = overview.sentences();
    let rest = Rest {
        base,
        overview: &overview,
        sentences: &sentences,
        more,
        lately: words::span(recent(snapshot)),
        lately_brief: words::brief(recent(snapshot)),
        history: words::span(snapshot.history_duration()),
        interval: words::span(snapshot.poll_interval()),
        rows: &rows,
        blank: &blank(snapshot, base),
    };
    rest.render().expect("a string takes all that is written").into()
}

/// The markup of a row in which nothing is said: the script copies it.
fn blank(snapshot: &Snapshot, base: &str) -> String {
    let row = Row {
        name: "",
        status: Status::Ok,
        state: "",
        since: overview::moment(snapshot),
        cpu: String::new(),
        p95: String::new(),
        memory: String::new(),
        change: String::new(),
        rate: String::new(),
        crashes_lately: 0,
        crashes: 0,
        uptime: String::new(),
        version: "",
        pid: String::new(),
        concerns: Vec::new(),
        keys: Keys::default(),
    };
    let markup = RowMarkup { row: &row, link: overview::link(base, ""), lines: Lines::default() };
    markup.render().expect("a string takes all that is written")
}

/// Whether the script has this publication. A host that was started anew counts from the beginning.
fn has(query: &Query<'_>, snapshot: &Snapshot) -> Result<bool, BadQuery> {
    let started = query.text("started")?.and_then(|started| started.parse().ok());
    let same = started == Some(words::millis(snapshot.started_at()));
    Ok(same && query.since()? == Some(snapshot.revision()))
}

async fn rows(State(site): State<Arc<Site>>, uri: Uri) -> Result<Response, Response> {
    let snapshot = site.reader.snapshot();
    if has(&Query::new(uri.query()), &snapshot)? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let make = overview::data(&snapshot, &site.thresholds);
    let rest = site.cache.get(&snapshot, Kept::Rows, make).await;
    Ok(answer(JSON, Shared::body(overview::head(&snapshot), rest)))
}

/// Places that one request may ask for.
const PLACES: usize = 256;

async fn lines(State(site): State<Arc<Site>>, uri: Uri) -> Result<Response, Response> {
    let at = Query::new(uri.query()).text("at")?.unwrap_or_default();
    let places = at.split(',').take(PLACES).map_while(|place| place.parse().ok());
    let snapshot = site.reader.snapshot();
    let places: Vec<usize> = places.collect();
    let lines = overview::lines(&snapshot, &site.thresholds, &places).await;
    Ok(answer(JSON, Shared::body(Bytes::new(), lines)))
}

// -- the page of one -----------------------------------------------------------------------------

#[derive(Template)]
#[template(path = "plugin.html")]
struct PluginPage<'a> {
    base: &'a str,
    frame: Frame,
    title: String,
    name: &'a str,
    encoded: String,
    detail: Detail<'a>,
    choices: Vec<Choice>,
    /// The parameter of the chosen window.
    window: String,
    times: [Moment; 3],
}

#[derive(Template)]
#[template(path = "missing.html")]
struct MissingPage<'a> {
    base: &'a str,
    name: &'a str,
}

async fn plugin(State(site): State<Arc<Site>>, uri: Uri) -> Result<Response, Response> {
    let query = Query::new(uri.query());
    let (name, window) = (query.text("name")?.unwrap_or_default(), query.window()?);
    let snapshot = site.reader.snapshot();
    let Some(view) = snapshot.plugin(&name) else {
        let page = MissingPage { base: HERE, name: &name };
        let page = page.render().expect("a string takes all that is written");
        let mut response = answer(HTML, page.into());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    let detail = Detail::of(&snapshot, view, &site.thresholds, window);
    let choices = detail::choices(&snapshot, window);
    let chosen = choices.iter().find(|choice| choice.chosen);
    let page = PluginPage {
        base: HERE,
        frame: Frame::of(&snapshot),
        title: format!("{} \u{2013} plugmeter", view.name()),
        name: view.name(),
        encoded: row::encoded(view.name()),
        window: chosen.map_or_else(String::new, |choice| choice.query.clone()),
        choices,
        times: detail.times.map(|millis| detail::moment(millis, &snapshot)),
        detail,
    };
    let page = page.render().expect("a string takes all that is written");
    Ok(answer(HTML, Shared::body(Bytes::new(), page.into())))
}

async fn plugin_data(State(site): State<Arc<Site>>, uri: Uri) -> Result<Response, Response> {
    #[derive(serde::Serialize)]
    struct Document<'a> {
        age: f64,
        started: u64,
        revision: u64,
        tick: u64,
        now: u64,
        stopped: bool,
        #[serde(flatten)]
        detail: Detail<'a>,
    }
    let query = Query::new(uri.query());
    let (name, window) = (query.text("name")?.unwrap_or_default(), query.window()?);
    let snapshot = site.reader.snapshot();
    let view = snapshot.plugin(&name);
    let view = view.ok_or_else(|| error(StatusCode::NOT_FOUND, "nobody has that name"))?;
    if has(&query, &snapshot)? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let document = Document {
        age: age(&snapshot).as_secs_f64(),
        started: words::millis(snapshot.started_at()),
        revision: snapshot.revision(),
        tick: snapshot.tick(),
        now: words::millis(snapshot.sampled_at()),
        stopped: snapshot.is_stopped(),
        detail: Detail::of(&snapshot, view, &site.thresholds, window),
    };
    let text = serde_json::to_vec(&document).expect("a value of ours is JSON");
    Ok(answer(JSON, Shared::body(Bytes::new(), text.into())))
}
