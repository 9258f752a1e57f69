//! A dashboard, its data as JSON, and the exposition for Prometheus, over HTTP.
//!
//! [`serve`] runs a server in its own thread with its own small async runtime: the host needs none.
//! [`router`] returns the same routes to mount in the host's axum server. Both read snapshots through
//! a [`Reader`] and never wait for the sampler. Feature `http`.
//!
//! ```
//! use plugmeter::http::{self, HttpConfig};
//! use plugmeter::{Collector, Config};
//!
//! let collector = Collector::start(Config::default())?;
//! let server = http::serve(collector.reader(), HttpConfig::default().port(0))?;
//! println!("http://{}/", server.local_addr().expect("it is enabled"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Routes
//!
//! | route | response |
//! |---|---|
//! | `GET /` | the dashboard: findings, then all plugins, the most urgent first, with a page for each |
//! | `GET /api/metrics` | all plugins, the totals and the sampler, as JSON. With `?since=REVISION`: 204 if that is the current revision, 400 if it is not a number |
//! | `GET /api/findings` | the [findings](crate::findings) of all plugins, as JSON; `since` is as above |
//! | `GET /api/plugin?name=NAME` | one plugin with its aggregates, runs and history. `window=SECONDS` limits these to the newest part of the history; `points=N` limits the history to N points (1 to 10,000; 720 by default). 404 if no plugin has that name. A window beyond the memory [comes from a store](#windows-beyond-the-memory) if there is one |
//! | `GET /api/plugin/{name}` | the same; a name such as `..`, which has a meaning in a path, can only be requested by the query |
//! | `GET /api/history.csv?name=NAME`, `GET /api/history.json?name=NAME` | the history of one plugin [as a file](#apihistorycsv-apihistoryjson) |
//! | `GET /api/events` | [server-sent events](#apievents): one for each new revision |
//! | `GET /api/notifications` | what happened in the last hour, newest first: [notifications](#apinotifications) |
//! | `GET /metrics` | the [exposition](crate::prometheus), in the format that `Accept` selects; 503 once the collector is stopped |
//! | `GET /health` | 200 `{"status": "ok"}`; or 503 `{"status": "error", "reason": "..."}` if the collector is stopped or the snapshot is [stale](crate::Snapshot::is_stale) |
//!
//! Other errors are `{"error": "..."}`; a parameter that is invalid or given twice is a 400. Requests
//! that are not HTTP or too large are rejected without a document. All other routes belong to the
//! dashboard and may change in any release.
//!
//! ## `/api/metrics`
//!
//! `{"schema": 1, "timestamp", "started_at", "tick", "revision", "age_seconds" (time since the tick),
//! "poll_interval_seconds", "history_seconds", "stopped", "plugins": [...], "system", "sampler"}`.
//!
//! A plugin has the keys that [`PluginView`](crate::PluginView) serializes (state, pid, version and
//! crash count at the revision; CPU, memory and uptime of the running process, or null), and:
//!
//! - `"status"`: `"error"` with a [finding](crate::findings) of severity critical, `"warning"` with
//!   one of severity warning, else `"ok"`;
//! - `"state_since"`, `"read_error"` (a sentence, or null), `"last_crash"`, `"restart_count"`,
//!   `"unknown_end_count"`;
//! - `"crashes_in_window"`: crashes since the oldest sample of the history;
//! - `"events_per_second"`: over the last minute, or over two intervals if that is longer; 0 with
//!   one sample.
//!
//! ## `/api/findings`
//!
//! `{"schema": 1, "timestamp", "tick", "revision", "findings": {"items", "judged", "too_young",
//! "over_seconds", "message"}}`, where an item is as [`Finding`](crate::findings::Finding) serializes.
//!
//! ## `/api/plugin`
//!
//! `{"schema": 1, "timestamp", "tick", "revision", "name", "version", "state", "pid", "current" (as
//! in `/api/metrics`), "findings" (as in `/api/findings`), "aggregates" (of the window, or null),
//! "versions", "runs", "history": [{"timestamp", "cpu_percent", "cpu_average", "memory_mb", "tree_cpu_percent",
//! "tree_cpu_average", "tree_memory_mb", "event_count", "crash_count", "state", "run"}]}`.
//!
//! A history with more samples than `points` is reduced by
//! [`PluginView::points`](crate::PluginView::points), which may return little more than half as many
//! points. A point has the largest CPU and memory of its samples, the average CPU, and the time,
//! counts, state and run of its newest sample; a value that no sample has is null.
//!
//! ### Windows beyond the memory
//!
//! With a store (`HttpConfig::store`, feature `store`), a `window` that is longer than the history in
//! memory is read from it. The document then also has the key `"resolution"`, and
//! `"aggregates"` and `"history"` are those of `StoreReader`: each point has the events and crashes of
//! its own time, instead of the counters.
//!
//! ## `/api/history.csv`, `/api/history.json`
//!
//! The history of `?name=` as a file to save, with a row for each sample: time, plugin, run, version,
//! state, CPU and memory of the process and of its tree, and the counts of events and crashes. `window`
//! is as above, with its rows from a store if there is one; `from` and `to` (Unix time in milliseconds,
//! both included) select a part instead. With more than `points` samples (at most and by default
//! 10,000), rows are points as above, and `cpu_average` differs from `cpu_percent`. The CSV follows
//! RFC 4180, in UTF-8. A name or a version that a spreadsheet would read as a formula has an apostrophe
//! before it.
//!
//! ## `/api/events`
//!
//! A stream of server-sent events (`text/event-stream`) for clients that fetch a document when it has
//! changed, instead of at an interval. An event `revision` has the revision as its id, and the data
//! `{"tick", "revision", "stopped"}`. Events are at least 250 ms apart; several publications in that
//! time are one event. With `?since=REVISION`, or with the header `Last-Event-ID` of a client that
//! connects again, the first event is sent immediately unless that is the current revision. Without a
//! publication, an event `heartbeat` is sent every fifteen seconds. A stream occupies one connection,
//! and ends when the collector or the server stops. The runtime of a host that mounts the router needs
//! timers.
//!
//! ## `/api/notifications`
//!
//! `{"schema": 1, "timestamp" (of the newest tick), "revision", "max_age_seconds": 3600, "dropped",
//! "notifications": [...]}`: the [notifications](crate::Notification) since the server or the router
//! was created, newest first, of the last hour, at most 1,000. `dropped` counts those that are missing
//! although they are less than an hour old: there were more than 1,000, or more at a time than the queue
//! of a [subscription](crate::Subscription) holds. They are kept in memory only. The dashboard shows the
//! newest fifty.
//!
//! # Access
//!
//! The server listens on 127.0.0.1 by default. The host of a request must be an IP address,
//! `localhost`, or an [allowed](HttpConfig::allow_host) host (else 421), which prevents DNS
//! rebinding. The method must be GET or HEAD (else 405), and the request must have the
//! [token](HttpConfig::token) if one is set (else 401; `/health` does not require it). No CORS
//! headers are sent, so other origins cannot read responses. For TLS use a reverse proxy.
//!
//! # Compression
//!
//! Documents of 1 KiB or more are compressed with gzip for clients that accept it
//! (`Accept-Encoding`, with its weights). With 1,000 plugins, the dashboard's page becomes about thirty
//! times smaller, and `/metrics` sixteen times. A document that is the same for all clients is
//! compressed once for each revision, and in chunks, between which other requests are answered. Errors
//! are not compressed.
//!
//! # Behind a proxy
//!
//! Links are relative, so a proxy that removes its prefix from the path needs no setting. For one
//! that forwards the path unchanged, set the prefix as [base path](HttpConfig::base_path). Several
//! slashes in a path count as one, as from a proxy that adds its own.
//!
//! # Limits
//!
//! A server started by [`serve`] allows 256 connections by default (further ones are closed
//! immediately), and a head of 16 KiB with 64 headers for each request. It closes a connection
//!
//! - after ten seconds without a complete head of a request, also between two requests;
//! - after ten seconds in which the client accepts nothing of a response;
//! - when a response has taken sixty seconds, apart from the stream of events.
//!
//! Bodies that are the same for all clients are rendered once for each revision.

mod accept_encoding;
pub(crate) mod access;
mod api;
mod base_path;
mod body;
mod cache;
mod compression;
mod config;
mod content;
mod dashboard;
mod download;
mod error;
mod event_rate;
mod events;
mod health;
mod history_range;
mod middleware;
#[cfg(not(feature = "store"))]
mod not_stored;
mod notifications;
mod plugin_findings;
mod plugin_status;
pub(crate) mod query;
mod response;
mod routes;
mod server;
mod settings;
mod state;
#[cfg(feature = "store")]
mod stored;
mod to_json;

use std::sync::Arc;

use axum::Router;

#[cfg(not(feature = "store"))]
use self::not_stored as stored;

pub use self::config::HttpConfig;
pub use self::error::HttpError;
use self::notifications::{NotificationLog, Recorder};
pub use self::server::HttpServer;
use crate::Reader;

/// Starts a server for the snapshots of `reader` in its own thread. It listens when this function
/// returns, until it is [stopped](HttpServer::stop) or dropped.
///
/// # Errors
///
/// [`HttpError::Bind`] if the server cannot listen on the address, usually because the port is in
/// use; [`HttpError::Config`] if a setting is invalid; [`HttpError::Thread`] if the thread cannot be
/// started.
///
/// ```
/// use plugmeter::http::{self, HttpConfig, HttpError};
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let first = http::serve(collector.reader(), HttpConfig::default().port(0))?;
/// let port = first.local_addr().expect("it is enabled").port();
/// let second = http::serve(collector.reader(), HttpConfig::default().port(port));
/// assert!(matches!(second, Err(HttpError::Bind { addr, .. }) if addr.port() == port));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn serve(reader: Reader, config: HttpConfig) -> Result<HttpServer, HttpError> {
    HttpServer::start(reader, &config)
}

/// Returns the routes to mount in the host's own axum server, with the checks of host and token and
/// the security headers.
///
/// Mount it with `nest_service`, which also serves the path with a trailing slash; links work either
/// way. Do not use `nest`, which does not serve that path, or `merge`, which would replace the
/// host's own response to unknown paths.
///
/// The settings `host`, `port` and `max_connections` have no effect here: the host's server limits
/// connections and their duration, and checks `Host` for its own routes.
///
/// # Errors
///
/// [`HttpError::Config`] if a setting is invalid; [`HttpError::Thread`] if the thread that records
/// notifications cannot be started. It ends with the last clone of the router.
///
/// ```
/// use axum::Router;
/// use plugmeter::http::{self, HttpConfig};
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let plugins = http::router(collector.reader(), HttpConfig::default())?;
/// let app: Router = Router::new().nest_service("/plugins", plugins);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn router(reader: Reader, config: HttpConfig) -> Result<Router, HttpError> {
    let settings = config.validate()?;
    let log = Arc::new(NotificationLog::default());
    let recorder = if settings.enabled { Some(Recorder::start(&reader, &log)?) } else { None };
    Ok(routes::router(reader, settings, log, recorder))
}
