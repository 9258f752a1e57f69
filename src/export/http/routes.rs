//! The routes, and what holds for every answer.

use std::any::Any;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    REFERRER_POLICY, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing};
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;

use super::api;
use super::body::Shared;
use super::cache::{Cache, Kept};
use super::config::Plan;
use super::guard::{self, Refusal, Secret};
use super::health::{Ailment, age, ailment};
use super::judge::Thresholds;
use super::page;
use super::query::{BadQuery, Query};
use crate::Reader;
use crate::prometheus::{Format, render_in_turns};

/// What every handler has.
#[derive(Debug)]
pub(super) struct Site {
    pub reader: Reader,
    pub thresholds: Thresholds,
    allowed_hosts: Vec<String>,
    token: Option<Secret>,
    pub cache: Cache,
}

/// The routes of a plan, with everything that holds for all of them.
pub(super) fn router(reader: Reader, plan: Plan) -> Router {
    let Plan { enabled, thresholds, allowed_hosts, token, .. } = plan;
    let site = Site { reader, thresholds, allowed_hosts, token, cache: Cache::default() };
    let site = Arc::new(site);
    guard_all(if enabled { routes() } else { Router::new() }, site)
}

/// Puts before every route, and before what is none, what holds for all.
fn guard_all(routes: Router<Arc<Site>>, site: Arc<Site>) -> Router {
    routes
        .fallback(async || error(StatusCode::NOT_FOUND, "there is nothing here"))
        // The last one comes first.
        .layer(from_fn_with_state(Arc::clone(&site), guarded))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(with_headers))
        .with_state(site)
}

fn routes() -> Router<Arc<Site>> {
    page::routes()
        .route("/api/metrics", routing::get(metrics))
        .route("/api/plugin", routing::get(plugin_by_query))
        .route("/api/plugin/{name}", routing::get(plugin_by_path))
        .route("/metrics", routing::get(exposition))
        .route("/health", routing::get(health))
}

// -- what holds for every answer ---------------------------------------------------------------

/// Scripts, styles and pictures of ours, nothing else, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

async fn with_headers(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Under a host's `panic = "abort"` there is nothing to catch.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    log::error!("a request made its handler panic");
    error(StatusCode::INTERNAL_SERVER_ERROR, "the handler of this request has panicked")
}

/// Host, method, token, in this order; then the route.
async fn guarded(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let (uri, headers) = (request.uri(), request.headers());
    // A supervisor that asks whether we are well need not know the token.
    let token = site.token.as_ref().filter(|_| uri.path() != "/health");
    let allowed = guard::check_host(request.version(), uri, headers, &site.allowed_hosts)
        .and_then(|()| guard::check_method(request.method()))
        .and_then(|()| guard::check_token(headers, token));
    match allowed {
        Ok(()) => next.run(request).await,
        Err(refusal) => refuse(&refusal),
    }
}

fn refuse(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Host(reason) => error(StatusCode::MISDIRECTED_REQUEST, reason),
        Refusal::Method => {
            let mut response =
                error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        Refusal::Token => {
            let mut response = error(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
            for challenge in
                ["Bearer realm=\"plugmeter\"", "Basic realm=\"plugmeter\", charset=\"UTF-8\""]
            {
                let challenge = HeaderValue::from_static(challenge);
                response.headers_mut().append(WWW_AUTHENTICATE, challenge);
            }
            response
        }
    }
}

// -- answers -----------------------------------------------------------------------------------

pub(super) const JSON: &str = "application/json";

pub(super) fn answer(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let text = serde_json::to_vec(document).expect("a value of ours is JSON");
    let mut response = answer(JSON, text.into());
    *response.status_mut() = status;
    response
}

pub(super) fn error(status: StatusCode, reason: &str) -> Response {
    #[derive(Serialize)]
    struct Document<'a> {
        error: &'a str,
    }
    json(status, &Document { error: reason })
}

impl From<BadQuery> for Response {
    fn from(bad: BadQuery) -> Self {
        error(StatusCode::BAD_REQUEST, &bad.to_string())
    }
}

// -- the routes --------------------------------------------------------------------------------

async fn metrics(State(site): State<Arc<Site>>, uri: Uri) -> Result<Response, Response> {
    let since = Query::new(uri.query()).since()?;
    let snapshot = site.reader.snapshot();
    if since == Some(snapshot.revision()) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let make = api::metrics_rest(&snapshot, &site.thresholds);
    let rest = site.cache.get(&snapshot, Kept::Metrics, make).await;
    let head = api::metrics_head(&snapshot, age(&snapshot).as_secs_f64());
    Ok(answer(JSON, Shared::body(head, rest)))
}

async fn plugin_by_query(State(site): State<Arc<Site>>, uri: Uri) -> Result<Response, Response> {
    let query = Query::new(uri.query());
    let name = query.text("name")?;
    let name = name.ok_or_else(|| error(StatusCode::BAD_REQUEST, "name is missing"))?;
    plugin(&site, &name, &query).await
}

async fn plugin_by_path(
    State(site): State<Arc<Site>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    uri: Uri,
) -> Result<Response, Response> {
    let path = path.map_err(|_| error(StatusCode::BAD_REQUEST, "the name is not UTF-8"))?;
    // Where it is mounted under a path with parameters, those come first.
    let name = path.iter().last().map(|(_, name)| name).unwrap_or_default();
    plugin(&site, name, &Query::new(uri.query())).await
}

async fn plugin(site: &Site, name: &str, query: &Query<'_>) -> Result<Response, Response> {
    let (window, points) = (query.window()?, query.points()?);
    let snapshot = site.reader.snapshot();
    let view = snapshot.plugin(name).ok_or_else(|| {
        error(StatusCode::NOT_FOUND, &format!("no plugin is registered as {name:?}"))
    })?;
    let document = api::plugin(&snapshot, view, &site.thresholds, window, points).await;
    Ok(answer(JSON, Shared::body(Bytes::new(), document)))
}

async fn exposition(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let snapshot = site.reader.snapshot();
    if snapshot.is_stopped() {
        // Nothing: values that no longer change would look like a plugin at rest.
        return error(StatusCode::SERVICE_UNAVAILABLE, &Ailment::Stopped.reason());
    }
    let accept: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|a| a.to_str().ok()).collect();
    let format = Format::negotiate(&accept.join(","));
    let kept = match format {
        Format::OpenMetrics => Kept::OpenMetrics,
        Format::Prometheus => Kept::Prometheus,
    };
    let make = async { render_in_turns(&snapshot, format, api::turn).await.into() };
    let page = site.cache.get(&snapshot, kept, make).await;
    let mut response = answer(format.content_type(), Shared::body(Bytes::new(), page));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

async fn health(State(site): State<Arc<Site>>) -> Response {
    #[derive(Serialize)]
    struct Document<'a> {
        status: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    let snapshot = site.reader.snapshot();
    match ailment(&snapshot, age(&snapshot)) {
        None => json(StatusCode::OK, &Document { status: "ok", reason: None }),
        Some(ailment) => {
            let document = Document { status: "error", reason: Some(ailment.reason()) };
            json(StatusCode::SERVICE_UNAVAILABLE, &document)
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::Config;
    use crate::http::HttpConfig;
    use crate::testing::Simulation;

    #[test]
    fn a_handler_that_panics_costs_its_request_and_no_other() {
        let sim = Simulation::new(Config::default()).unwrap();
        let Plan { thresholds, allowed_hosts, token, .. } = HttpConfig::default().plan().unwrap();
        let reader = sim.reader();
        let site = Site { reader, thresholds, allowed_hosts, token, cache: Cache::default() };
        let routes = routes().route("/panic", routing::get(async || panic!("on purpose") as ()));
        let service = TowerToHyperService::new(guard_all(routes, Arc::new(site)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (target, status) in [("/panic", 500), ("/health", 200), ("/panic", 500)] {
            let request = Request::get(target).header("host", "localhost");
            let answer = service.call(request.body(Body::empty()).unwrap());
            let answer = runtime.block_on(answer).unwrap();
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers()[CONTENT_TYPE], JSON);
            assert_eq!(answer.headers()[CONTENT_SECURITY_POLICY], POLICY);
        }
    }
}
