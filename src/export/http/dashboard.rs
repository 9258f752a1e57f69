//! The dashboard: the page of all plugins, and a page for each.
//!
//! The server renders everything, so the page works without JavaScript. The script updates it: it
//! fetches the same texts and SVG paths and puts them into the elements that show them. The page
//! loads no third-party resources.

mod banner;
mod chart;
mod chart_panel;
mod data_table;
mod display_time;
mod finding_marks;
mod finding_message;
mod format;
mod index_data;
mod link;
mod overview;
mod page_header;
mod plugin_page;
mod range_stats;
mod range_values;
mod row;
mod run_band;
mod script_text;
mod sparklines;
mod threshold;
mod time_range;
mod timeline;
mod work_budget;

use std::borrow::Cow;
use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing};

use self::banner::Banner;
#[cfg(feature = "store")]
pub(super) use self::chart::{Trace, unix_seconds};
use self::display_time::{DisplayTime, unix_millis};
use self::overview::{Messages, Overview, TOTALS};
use self::page_header::PageHeader;
use self::plugin_page::{KEY_FIGURES, PluginDetail};
#[cfg(feature = "store")]
pub(super) use self::range_stats::RangeStats;
pub(super) use self::range_values::RangeValues;
#[cfg(feature = "store")]
pub(super) use self::range_values::{MAX_POINTS, MAX_ROWS};
use self::row::Row;
use self::run_band::BandRun;
use self::script_text::without_comments;
use self::sparklines::Sparklines;
use self::time_range::WindowChoice;
#[cfg(feature = "store")]
pub(super) use self::time_range::in_range;
use self::timeline::Timeline;
use self::work_budget::WorkBudget;
use super::accept_encoding::Encoding;
use super::cache::CacheKey;
use super::content::Content;
use super::history_range::HistoryRange;
use super::notifications::RecentNotifications;
use super::plugin_findings::PluginFindings;
use super::query::{Query, QueryError};
use super::response::{JSON, document, error, response};
use super::state::AppState;
use super::stored;
use super::to_json::to_json;
use crate::findings::crash_window;
use crate::{PluginView, Snapshot};

const HTML: &str = "text/html; charset=utf-8";
/// Rows of the page that include their sparklines: for thousands of plugins they would be megabytes.
/// The script fetches those of the other rows when they become visible.
const MAX_SPARKLINE_ROWS: usize = 100;
/// The maximum number of sparklines in one response.
const MAX_REQUESTED_SPARKLINES: usize = 256;
const RENDER: &str = "writing to a string does not fail";

/// The routes of the dashboard. All but `/` are private to it.
pub(super) fn routes() -> Router<Arc<AppState>> {
    const STYLE: &str = include_str!("dashboard/dashboard.css");
    const SCRIPT: &str = concat!(
        include_str!("dashboard/script/dom.js"),
        include_str!("dashboard/script/refresh.js"),
        include_str!("dashboard/script/index_page.js"),
        include_str!("dashboard/script/table_order.js"),
        include_str!("dashboard/script/plugin_page.js"),
        include_str!("dashboard/script/cursor.js"),
        include_str!("dashboard/script/main.js"),
    );
    const ICON: &str = include_str!("dashboard/favicon.svg");
    let file = |content_type, text: String| {
        let content = Content::new(text);
        routing::get(async move |encoding| document(content_type, "", content, encoding).await)
    };
    Router::new()
        .route("/", routing::get(index_page))
        .route("/plugin", routing::get(plugin_page))
        .route("/page/rows", routing::get(index_data))
        .route("/page/lines", routing::get(sparkline_data))
        .route("/page/plugin", routing::get(plugin_data))
        .route("/page/timeline", routing::get(timeline_data))
        .route("/page.css", file("text/css; charset=utf-8", STYLE.to_owned()))
        .route("/page.js", file("text/javascript; charset=utf-8", without_comments(SCRIPT)))
        .route("/favicon.svg", file("image/svg+xml", ICON.to_owned()))
}

/// The prefix of links on the page of all plugins. A browser resolves relative links against the
/// requested path, which may or may not end in a slash where the router is mounted.
fn index_link_base<'a>(state: &'a AppState, path: &str) -> Cow<'a, str> {
    match path.rsplit('/').next() {
        Some(segment) if state.base_path.is_empty() && !segment.is_empty() => {
            format!("./{segment}/").into()
        }
        _ => Cow::Borrowed(&state.link_base),
    }
}

// -- the page of all plugins ---------------------------------------------------------------------

async fn index_page(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    OriginalUri(uri): OriginalUri,
) -> Response {
    let snapshot = state.reader.snapshot();
    let base = index_link_base(&state, uri.path());
    let findings = state.cache.findings(&snapshot).await;
    let recent = state.notifications.recent();
    let make = render_index_rest(&snapshot, &findings, &recent, &base);
    // Links depend on whether the requested path ends in a slash; only that variant is cached.
    let rest = if base == state.link_base {
        let version = (snapshot.revision(), recent.version);
        state.index_cache.get(version, CacheKey::IndexPage, make).await
    } else {
        Content::new(make.await)
    };
    document(HTML, render_index_top(&snapshot, &base), rest, encoding).await
}

/// The part that changes within a revision.
#[derive(Template)]
#[template(path = "index.html", block = "top")]
struct IndexTop<'a> {
    base: &'a str,
    header: PageHeader,
}

fn render_index_top(snapshot: &Snapshot, base: &str) -> Bytes {
    let top = IndexTop { base, header: PageHeader::new(snapshot) };
    top.render().expect(RENDER).into()
}

#[derive(Template)]
#[template(path = "index.html", block = "rest")]
struct IndexRest<'a> {
    base: &'a str,
    overview: &'a Overview<'a>,
    messages: &'a Messages<'a>,
    crash_window: String,
    crash_window_short: String,
    history: String,
    interval: String,
    /// Rendered markup.
    rows: &'a str,
    timeline: Timeline<'a>,
    /// Rendered markup of a row without values.
    empty_row: &'a str,
}

#[derive(Template)]
#[template(path = "row.html")]
struct RowMarkup<'a> {
    row: &'a Row<'a>,
    link: String,
    lines: Sparklines,
}

async fn render_index_rest(
    snapshot: &Snapshot,
    findings: &PluginFindings,
    recent: &RecentNotifications,
    base: &str,
) -> Bytes {
    let mut overview = Overview::new(snapshot, findings).await;
    overview.rows.sort_by(Row::by_urgency);
    let mut rows = String::with_capacity(overview.rows.len() * 1_024);
    let mut budget = WorkBudget::default();
    for (index, row) in overview.rows.iter().enumerate() {
        let mut lines = Sparklines::default();
        if let Some(view) = snapshot.plugin(row.name) {
            budget.spend(view).await;
            if index < MAX_SPARKLINE_ROWS {
                lines = Sparklines::new(view);
            }
        }
        let markup = RowMarkup { row, link: link::plugin(base, row.name), lines };
        markup.render_into(&mut rows).expect(RENDER);
    }
    let messages = Overview::messages(snapshot, findings);
    let window = crash_window(snapshot);
    let rest = IndexRest {
        base,
        overview: &overview,
        messages: &messages,
        crash_window: format::span(window),
        crash_window_short: format::short_duration(window),
        history: format::span(snapshot.history_duration()),
        interval: format::span(snapshot.poll_interval()),
        rows: &rows,
        timeline: Timeline::new(recent, snapshot),
        empty_row: &render_empty_row(snapshot, base),
    };
    rest.render().expect(RENDER).into()
}

/// The row that the script copies for a new plugin.
fn render_empty_row(snapshot: &Snapshot, base: &str) -> String {
    let row = Row::empty(snapshot);
    let lines = Sparklines::default();
    RowMarkup { row: &row, link: link::plugin(base, ""), lines }.render().expect(RENDER)
}

/// Whether the script has this publication. Revisions start again when the host restarts, so the
/// start time must be the same.
fn is_current(query: &Query<'_>, snapshot: &Snapshot) -> Result<bool, QueryError> {
    let started = query.text("started")?.and_then(|started| started.parse().ok());
    let is_same_start = started == Some(unix_millis(snapshot.started_at()));
    Ok(is_same_start && query.since()? == Some(snapshot.revision()))
}

/// Whether the script has these notifications.
fn has_log(query: &Query<'_>, recent: &RecentNotifications) -> Result<bool, QueryError> {
    Ok(query.text("log")?.is_none_or(|log| log.parse() == Ok(recent.version)))
}

async fn index_data(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    let snapshot = state.reader.snapshot();
    let recent = state.notifications.recent();
    let query = Query::new(uri.query());
    if is_current(&query, &snapshot)? && has_log(&query, &recent)? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let findings = state.cache.findings(&snapshot).await;
    let make = index_data::rest(&snapshot, &findings, &recent);
    let version = (snapshot.revision(), recent.version);
    let rest = state.index_cache.get(version, CacheKey::IndexData, make).await;
    Ok(document(JSON, index_data::head(&snapshot), rest, encoding).await)
}

async fn sparkline_data(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    let indexes = Query::new(uri.query()).text("at")?.unwrap_or_default();
    let indexes = indexes.split(',').take(MAX_REQUESTED_SPARKLINES);
    let indexes: Vec<usize> = indexes.map_while(|index| index.parse().ok()).collect();
    let snapshot = state.reader.snapshot();
    let lines = index_data::sparklines(&snapshot, &indexes).await;
    Ok(document(JSON, "", Content::new(lines), encoding).await)
}

/// The notifications of the plugins whose names contain a text.
async fn timeline_data(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    let names = Query::new(uri.query()).text("names")?.unwrap_or_default();
    let recent = state.notifications.recent();
    let timeline = to_json(&Timeline::of_names(&recent, &state.reader.snapshot(), &names));
    Ok(document(JSON, "", Content::new(timeline), encoding).await)
}

// -- the page of one plugin ----------------------------------------------------------------------

#[derive(Template)]
#[template(path = "plugin.html")]
struct PluginPage<'a> {
    base: &'a str,
    header: PageHeader,
    title: String,
    name: &'a str,
    encoded_name: String,
    detail: PluginDetail<'a>,
    choices: Vec<WindowChoice>,
    /// The query parameters of the chosen window.
    window_query: String,
    /// The query parameters of the shown range: the window, and the zoom.
    range_query: String,
    is_zoomed: bool,
    axis_times: [DisplayTime; 3],
    /// How finely values from a store are shown; empty for samples.
    resolution: &'static str,
}

#[derive(Template)]
#[template(path = "missing.html")]
struct MissingPage<'a> {
    base: &'a str,
    name: &'a str,
}

/// The values of a range: from the history in memory, or beyond it from the store.
async fn range_values(state: &AppState, view: PluginView<'_>, range: HistoryRange) -> RangeValues {
    let stored = stored::range_values(state, view, range).await;
    stored.unwrap_or_else(|| RangeValues::of_view(view, range))
}

async fn plugin_page(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    let query = Query::new(uri.query());
    let name = query.text("name")?.unwrap_or_default();
    let range = HistoryRange::from_query(&query)?;
    let snapshot = state.reader.snapshot();
    let Some(view) = snapshot.plugin(&name) else {
        let page = MissingPage { base: &state.link_base, name: &name }.render().expect(RENDER);
        let mut response = response(HTML, page.into());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    let recent = state.notifications.recent();
    let values = range_values(&state, view, range).await;
    let detail = PluginDetail::new(view, range, &values, &recent);
    let has_store = state.store.is_some();
    let choices = time_range::window_choices(&snapshot, range, has_store);
    let window_query = time_range::window_query(&snapshot, range.window, has_store);
    let page = PluginPage {
        base: &state.link_base,
        header: PageHeader::new(&snapshot),
        title: format!("{} \u{2013} plugmeter", view.name()),
        name: view.name(),
        encoded_name: link::encode(view.name()),
        range_query: window_query.clone() + &time_range::zoom_query(range),
        window_query,
        is_zoomed: range.zoom.is_some(),
        choices,
        resolution: values.resolution,
        axis_times: detail.times.map(|millis| DisplayTime::from_millis(millis, &snapshot)),
        detail,
    };
    let page = page.render().expect(RENDER);
    Ok(document(HTML, "", Content::new(page), encoding).await)
}

async fn plugin_data(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    #[derive(serde::Serialize)]
    struct Document<'a> {
        age: f64,
        started: u64,
        revision: u64,
        tick: u64,
        now: u64,
        stopped: bool,
        #[serde(flatten)]
        detail: PluginDetail<'a>,
    }
    let query = Query::new(uri.query());
    let name = query.text("name")?.unwrap_or_default();
    let range = HistoryRange::from_query(&query)?;
    let snapshot = state.reader.snapshot();
    let recent = state.notifications.recent();
    let not_found =
        || error(StatusCode::NOT_FOUND, &format!("no plugin is registered as {name:?}"));
    let view = snapshot.plugin(&name).ok_or_else(not_found)?;
    if is_current(&query, &snapshot)? && has_log(&query, &recent)? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let values = range_values(&state, view, range).await;
    let data = Document {
        age: snapshot.age().as_secs_f64(),
        started: unix_millis(snapshot.started_at()),
        revision: snapshot.revision(),
        tick: snapshot.tick(),
        now: unix_millis(snapshot.sampled_at()),
        stopped: snapshot.is_stopped(),
        detail: PluginDetail::new(view, range, &values, &recent),
    };
    Ok(document(JSON, "", Content::new(to_json(&data)), encoding).await)
}
