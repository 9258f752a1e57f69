//! The routes, and the handlers of all but the dashboard's.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, State};
use axum::http::header::{ACCEPT, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router, routing};
use serde::Serialize;

use super::accept_encoding::Encoding;
use super::cache::CacheKey;
use super::content::Content;
use super::events::{EventStream, ServerStop};
use super::health::HealthProblem;
use super::history_range::HistoryRange;
use super::notifications::{NotificationLog, Recorder};
use super::query::{Query, QueryError};
use super::response::{JSON, document, error, json, response};
use super::settings::HttpSettings;
use super::state::AppState;
use super::{api, dashboard, download, middleware, stored};
use crate::prometheus::{Format, render_in_steps};
use crate::{Reader, Snapshot};

/// The routes for these settings, with the middleware.
pub(super) fn router(
    reader: Reader,
    settings: HttpSettings,
    log: Arc<NotificationLog>,
    recorder: Option<Recorder>,
) -> Router {
    let routes = if settings.enabled { routes() } else { Router::new() };
    middleware::with_middleware(routes, Arc::new(AppState::new(reader, settings, log, recorder)))
}

fn routes() -> Router<Arc<AppState>> {
    dashboard::routes()
        .route("/api/metrics", routing::get(api_metrics))
        .route("/api/findings", routing::get(api_findings))
        .route("/api/plugin", routing::get(api_plugin_by_query))
        .route("/api/plugin/{name}", routing::get(api_plugin_by_path))
        .route("/api/history.csv", routing::get(history_csv))
        .route("/api/history.json", routing::get(history_json))
        .route("/api/events", routing::get(api_events))
        .route("/api/notifications", routing::get(api_notifications))
        .route("/metrics", routing::get(exposition))
        .route("/health", routing::get(health))
}

/// The newest snapshot; `None` if it has the revision that the client has already.
fn newer(state: &AppState, since: Option<u64>) -> Option<Snapshot> {
    let snapshot = state.reader.snapshot();
    (since != Some(snapshot.revision())).then_some(snapshot)
}

async fn api_metrics(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    let Some(snapshot) = newer(&state, Query::new(uri.query()).since()?) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let findings = state.cache.findings(&snapshot).await;
    let make = api::metrics_rest(&snapshot, &findings);
    let rest = state.cache.get((snapshot.revision(), 0), CacheKey::ApiMetrics, make).await;
    Ok(document(JSON, api::metrics_head(&snapshot), rest, encoding).await)
}

async fn api_findings(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    let Some(snapshot) = newer(&state, Query::new(uri.query()).since()?) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let findings = state.cache.findings(&snapshot).await;
    let make = async { api::findings(&snapshot, &findings) };
    let content = state.cache.get((snapshot.revision(), 0), CacheKey::ApiFindings, make).await;
    Ok(document(JSON, "", content, encoding).await)
}

async fn api_plugin_by_query(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    let query = Query::new(uri.query());
    let name = plugin_name(&query)?;
    api_plugin(&state, &name, &query, encoding).await
}

async fn api_plugin_by_path(
    State(state): State<Arc<AppState>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    let path = path.map_err(|_| error(StatusCode::BAD_REQUEST, "the name is not UTF-8"))?;
    // If the router is mounted under a path with parameters, those come first.
    let name = path.iter().last().map(|(_, name)| name).unwrap_or_default();
    api_plugin(&state, name, &Query::new(uri.query()), encoding).await
}

async fn api_plugin(
    state: &AppState,
    name: &str,
    query: &Query<'_>,
    encoding: Encoding,
) -> Result<Response, Response> {
    let (window, points) = (query.window()?, query.points()?);
    let snapshot = state.reader.snapshot();
    let view = snapshot.plugin(name).ok_or_else(|| no_such_plugin(name))?;
    let stored = stored::plugin_document(state, view, window, points).await;
    let content = match stored {
        Some(document) => document,
        None => api::plugin(view, window, points).await,
    };
    let content = Content::new(content);
    Ok(document(JSON, "", content, encoding).await)
}

async fn history_csv(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    download_history(&state, &Query::new(uri.query()), encoding, "csv").await
}

async fn history_json(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    uri: Uri,
) -> Result<Response, Response> {
    download_history(&state, &Query::new(uri.query()), encoding, "json").await
}

async fn download_history(
    state: &AppState,
    query: &Query<'_>,
    encoding: Encoding,
    extension: &str,
) -> Result<Response, Response> {
    let name = &plugin_name(query)?;
    let (range, points) = (HistoryRange::from_query(query)?, query.downloaded_points()?);
    let snapshot = state.reader.snapshot();
    let view = snapshot.plugin(name).ok_or_else(|| no_such_plugin(name))?;
    let is_csv = extension == "csv";
    let file = match stored::downloaded(state, view, range, points, is_csv).await {
        Some(file) => file,
        None if is_csv => download::csv(view, range, points).await,
        None => download::json(view, range, points).await,
    };
    let content_type = if is_csv { download::CSV } else { JSON };
    let response = document(content_type, "", Content::new(file), encoding).await;
    Ok(download::as_file(response, name, extension))
}

fn plugin_name(query: &Query<'_>) -> Result<String, QueryError> {
    query.text("name")?.ok_or_else(|| QueryError("name is missing".to_owned()))
}

fn no_such_plugin(name: &str) -> Response {
    error(StatusCode::NOT_FOUND, &format!("no plugin is registered as {name:?}"))
}

async fn api_events(
    State(state): State<Arc<AppState>>,
    stop: Option<Extension<ServerStop>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Response> {
    let since = Query::new(uri.query()).since()?;
    // A client that connects again repeats its first query. An id that is not a number is not one of
    // this server.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let since = last.and_then(|id| id.parse().ok()).or(since);
    let stop = stop.map(|Extension(stop)| stop);
    let snapshot = state.reader.snapshot();
    if snapshot.is_stopped() && since == Some(snapshot.revision()) {
        // By the standard, the client does not connect again.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let body = EventStream::body(state.reader.clone(), since, stop);
    let mut response = response("text/event-stream", body);
    // nginx sends each event when it arrives.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

async fn api_notifications(State(state): State<Arc<AppState>>, encoding: Encoding) -> Response {
    let recent = state.notifications.recent();
    let content = Content::new(api::notifications(&state.reader.snapshot(), &recent).await);
    document(JSON, "", content, encoding).await
}

async fn exposition(
    State(state): State<Arc<AppState>>,
    encoding: Encoding,
    headers: HeaderMap,
) -> Response {
    let snapshot = state.reader.snapshot();
    if snapshot.is_stopped() {
        // Values that no longer change would look like those of an idle plugin.
        return error(StatusCode::SERVICE_UNAVAILABLE, &HealthProblem::Stopped.reason());
    }
    let accept: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|a| a.to_str().ok()).collect();
    let format = Format::negotiate(&accept.join(","));
    let key = match format {
        Format::OpenMetrics => CacheKey::OpenMetrics,
        Format::Prometheus => CacheKey::Prometheus,
    };
    let findings = state.cache.findings(&snapshot).await;
    let pause = tokio::task::yield_now;
    let make = async { render_in_steps(&snapshot, &findings.all, format, pause).await.into() };
    let text = state.cache.get((snapshot.revision(), 0), key, make).await;
    let mut response = document(format.content_type(), "", text, encoding).await;
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    response
}

async fn health(State(state): State<Arc<AppState>>) -> Response {
    #[derive(Serialize)]
    struct Document<'a> {
        status: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    match HealthProblem::of(&state.reader.snapshot()) {
        None => json(StatusCode::OK, &Document { status: "ok", reason: None }),
        Some(problem) => {
            let document = Document { status: "error", reason: Some(problem.reason()) };
            json(StatusCode::SERVICE_UNAVAILABLE, &document)
        }
    }
}
