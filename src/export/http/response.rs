//! Responses: a body with a content type, and errors as JSON.

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::accept_encoding::Encoding;
use super::body::SharedBody;
use super::content::Content;
use super::query::QueryError;
use super::to_json::to_json;

pub(super) const JSON: &str = "application/json";

pub(super) fn response(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// `start` and `rest`, compressed if the client prefers that. Small documents are never compressed.
pub(super) async fn document(
    content_type: &'static str,
    start: impl Into<Bytes>,
    rest: Content,
    encoding: Encoding,
) -> Response {
    let start = start.into();
    let parts = match encoding {
        Encoding::Identity => None,
        Encoding::Gzip => rest.gzip(&start).await,
    };
    let is_compressed = parts.is_some();
    let body = SharedBody::body(parts.unwrap_or_else(|| rest.identity(start)));
    let mut response = response(content_type, body);
    let headers = response.headers_mut();
    // Also on small documents, because the resource may have grown in another revision.
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let mut response = response(JSON, to_json(document).into());
    *response.status_mut() = status;
    response
}

/// `{"error": reason}`.
pub(super) fn error(status: StatusCode, reason: &str) -> Response {
    #[derive(Serialize)]
    struct Document<'a> {
        error: &'a str,
    }
    json(status, &Document { error: reason })
}

impl From<QueryError> for Response {
    fn from(query_error: QueryError) -> Self {
        error(StatusCode::BAD_REQUEST, &query_error.to_string())
    }
}
