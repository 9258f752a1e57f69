//! Responses: a body with a content type, and errors as JSON.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::query::QueryError;
use super::to_json::to_json;

pub(super) const JSON: &str = "application/json";

pub(super) fn response(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
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
