//! What applies to every request and response: access checks, the base path, security headers, and
//! panics of handlers.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, LOCATION, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;

use super::access::{self, Rejection};
use super::base_path::{BasePath, Target};
use super::response::error;
use super::state::AppState;

/// Puts the middleware before every route and before the response to unknown paths.
pub(super) fn with_middleware(routes: Router<Arc<AppState>>, state: Arc<AppState>) -> Router {
    let routes = routes.fallback(async || no_such_route()).with_state(Arc::clone(&state));
    // The layers of a router run after it has selected a route. These can change the path, because
    // the outer router has no routes.
    Router::new()
        .fallback_service(routes)
        // The layer that is added last runs first.
        .layer(from_fn_with_state(state, admit))
        .layer(CatchPanicLayer::custom(handler_panicked))
        .layer(from_fn(add_headers))
}

fn no_such_route() -> Response {
    error(StatusCode::NOT_FOUND, "no such route")
}

/// Allows this server's own scripts, styles and images only, and no embedding in a frame.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

async fn add_headers(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
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

/// If the host is built with `panic = "abort"`, there is nothing to catch.
fn handler_panicked(_: Box<dyn Any + Send>) -> Response {
    log::error!("the handler of an HTTP request panicked");
    error(StatusCode::INTERNAL_SERVER_ERROR, "the handler of this request panicked")
}

/// Checks host, method and token, in this order, and replaces the path by the one of the route.
async fn admit(State(state): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let (uri, headers) = (request.uri(), request.headers());
    let target = base_path(&state, &request).resolve(uri.path());
    // A supervisor can check the health without the token.
    let is_health = matches!(&target, Target::Route(path) if path == "/health");
    let token = state.token.as_ref().filter(|_| !is_health);
    let access = access::check_host(request.version(), uri, headers, &state.allowed_hosts)
        .and_then(|()| access::check_method(request.method()))
        .and_then(|()| access::check_token(headers, token));
    if let Err(rejection) = access {
        return reject(&rejection);
    }
    match target {
        Target::Outside => no_such_route(),
        Target::Bare => redirect(&path_with_query(&format!("{}/", state.base_path), uri)),
        Target::Route(path) => {
            if path != uri.path() {
                let Some(uri) = with_path(uri, &path) else {
                    return no_such_route();
                };
                *request.uri_mut() = uri;
            }
            next.run(request).await
        }
    }
}

/// The base path that the path of the request still has. A host's router that has removed a prefix
/// has removed it too.
fn base_path<'a>(state: &'a AppState, request: &Request) -> &'a BasePath {
    const NONE: &BasePath = &BasePath::ROOT;
    let original = request.extensions().get::<OriginalUri>();
    let is_mounted = original.is_some_and(|original| original.0.path() != request.uri().path());
    if is_mounted { NONE } else { &state.base_path }
}

fn path_with_query(path: &str, uri: &Uri) -> String {
    uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_with_query(path, uri).parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// `target` begins with the base path, so it has one slash at its start: with two, a browser would
/// take the first segment as a host.
fn redirect(target: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(target) else {
        return no_such_route();
    };
    let mut response = Response::default();
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response
}

fn reject(rejection: &Rejection) -> Response {
    match rejection {
        Rejection::Host(reason) => error(StatusCode::MISDIRECTED_REQUEST, reason),
        Rejection::Method => {
            let mut response =
                error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are supported");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        Rejection::Token => {
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

#[cfg(all(test, feature = "testing"))]
mod tests {
    use axum::body::Body;
    use axum::http::header::CONTENT_TYPE;
    use axum::routing;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::Config;
    use crate::http::HttpConfig;
    use crate::http::response::JSON;
    use crate::testing::Simulation;

    #[test]
    fn handler_panic_fails_its_request_only() {
        let sim = Simulation::new(Config::default()).unwrap();
        let state = AppState::new(
            sim.reader(),
            HttpConfig::default().validate().unwrap(),
            Arc::default(),
            None,
        );
        let routes = Router::new()
            .route("/panic", routing::get(async || panic!("expected by the test") as ()))
            .route("/fine", routing::get(async || error(StatusCode::OK, "")));
        let service = TowerToHyperService::new(with_middleware(routes, Arc::new(state)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (target, status) in [("/panic", 500), ("/fine", 200), ("/panic", 500)] {
            let request = Request::get(target).header("host", "localhost");
            let response = service.call(request.body(Body::empty()).unwrap());
            let response = runtime.block_on(response).unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[CONTENT_TYPE], JSON);
            assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], CONTENT_POLICY);
        }
    }
}
