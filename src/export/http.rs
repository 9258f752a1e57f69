//! A dashboard, its data as JSON, and the page for Prometheus, over HTTP.
//!
//! [`serve`] is a server in a thread of its own, with its own small runtime: the host needs none.
//! [`router`] is the same to mount in an axum server that the host has. Both are made of a
//! [`Reader`] alone: they ask the sampler for nothing, and it does not know of them.
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
//! | route | answer |
//! |---|---|
//! | `GET /` | the dashboard: what needs attention, then all plugins, the worst first; from there, a page for each |
//! | `GET /api/metrics` | all plugins, the totals and the sampler, as JSON. With `?since=REVISION`: 204 if that is the current revision, 400 if it is no number |
//! | `GET /api/plugin?name=NAME` | one plugin with its aggregates, runs and history. `window=SECONDS` looks at so much of it; `points=N` thins the history to so many at most (720 unless given; 1 to 10,000). 404 if nobody has that name |
//! | `GET /api/plugin/{name}` | the same; a name that is a path of its own, such as `..`, is only reached by the query |
//! | `GET /metrics` | the [exposition](crate::prometheus), in the format that `Accept` asks for; 503 once the collector is stopped |
//! | `GET /health` | 200 `{"status": "ok"}`; or 503 `{"status": "error", "reason": "..."}`: the collector is stopped, or its last tick is older than three intervals and a second |
//!
//! Other errors are `{"error": "..."}`; a parameter that is wrong, or there twice, is a 400. What is
//! not HTTP, or too large, is refused without a document. Everything else that is answered belongs
//! to the dashboard, and may change at any time.
//!
//! ## `/api/metrics`
//!
//! `{"schema": 1, "timestamp", "started_at", "tick", "revision", "age_seconds" (of the tick, now),
//! "poll_interval_seconds", "history_seconds", "stopped", "plugins": [...], "system", "sampler"}`.
//!
//! A plugin is what [`PluginView`](crate::PluginView) serializes as (state, pid, version and crashes
//! of the revision; CPU, memory and uptime of the process that runs now, or null), and:
//!
//! - `"status"`: `"error"` where it is crashed or failed; `"warning"` over a threshold of the
//!   [config](HttpConfig), in state `UNHEALTHY`, with a problem, or with a crash in the last hour;
//!   else `"ok"`;
//! - `"state_since"`, `"problem"` (a sentence or null), `"last_crash"`, `"restart_count"`;
//! - `"crashes_in_window"`: since the oldest sample of the history;
//! - `"events_per_second"`: over the last minute, at least two intervals; 0 with one sample.
//!
//! ## `/api/plugin`
//!
//! `{"schema": 1, "timestamp", "tick", "revision", "name", "version", "state", "pid", "current" (as
//! in `/api/metrics`), "aggregates" (of the window, or null), "runs", "history": [{"timestamp",
//! "cpu_percent", "cpu_average", "memory_mb", "event_count", "crash_count", "state", "run"}]}`.
//!
//! A history that is longer than `points` is thinned to buckets of ticks. The size of a bucket is
//! the smallest power of two with which they fit wherever the window lies, so there may be little
//! more than half as many points as asked for; and it begins at a multiple of that, so that a chart
//! drawn from it moves on as time does, and does not shimmer; a new run begins a bucket of its own
//! while there is room. Of each bucket it gives the largest CPU share (and the average) and memory, and
//! the time, counts, state and run of its newest sample; what none of its samples knows is null.
//!
//! # Who may ask
//!
//! It listens on 127.0.0.1 unless told otherwise. A request has to be for an address, for
//! `localhost`, or for a host that was [allowed](HttpConfig::allow_host) (else 421), so that no page
//! of another site can read it by a name that points here. It has to be GET or HEAD (else 405), and
//! to bring the [token](HttpConfig::token), if there is one (else 401; `/health` does without).
//! There is no CORS: other origins may not read it. TLS is a reverse proxy's affair.
//!
//! # Limits
//!
//! Of a server that [`serve`] starts: 256 connections unless configured (more are closed at once),
//! 16 KiB and 64 headers a request, ten seconds for its head and between two of them, ten seconds in
//! which a client takes nothing of an answer, sixty for all of it. What is the same for everybody is
//! made once for each revision, however many ask.

mod api;
mod body;
mod cache;
mod config;
pub(crate) mod guard;
mod health;
mod judge;
mod page;
pub(crate) mod query;
mod routes;
mod server;

use axum::Router;

pub use self::config::{HttpConfig, HttpError};
pub use self::server::HttpServer;
use crate::Reader;

/// Serves what `reader` reads, from a thread of its own, until the server is
/// [stopped](HttpServer::stop) or dropped. It listens when this returns.
///
/// # Errors
///
/// [`HttpError::Bind`] if the address cannot be had, mostly because the port is in use;
/// [`HttpError::Config`] if a setting makes no sense; [`HttpError::Thread`] if the thread cannot be
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

/// The routes, to mount in a host's own axum server, with the checks of host and token and the
/// headers of every answer.
///
/// Mount it by `nest_service`, which also answers the path with a slash at its end; links hold
/// either way. Not by `nest`, which does not answer that path, nor by `merge`, which would put the
/// check of `Host` and the answer to unknown paths in place of the host's own.
///
/// `host`, `port` and `max_connections` of the config mean nothing here: how many connections there
/// are, and how long they may take, is the host's affair, and so is the check of `Host` on its own
/// routes.
///
/// # Errors
///
/// [`HttpError::Config`] if a setting makes no sense.
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
    Ok(routes::router(reader, config.plan()?))
}
