//! The dashboard.

use std::sync::Arc;

use askama::Template;
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use axum::{Router, routing};

use super::judge::{Status, Thresholds};
use super::routes::{Site, answer};
use crate::{PluginView, Snapshot};

/// The routes of the page, which are nobody else's affair.
pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/", routing::get(index))
}

async fn index(State(site): State<Arc<Site>>, OriginalUri(uri): OriginalUri) -> Response {
    let page = render(&site.reader.snapshot(), &site.thresholds, uri.path());
    answer("text/html; charset=utf-8", page.into())
}

#[derive(Template)]
#[template(
    source = "<!doctype html><title>plugmeter</title><table>{% for row in rows %}<tr><td>{{ row.0 }}<td>{{ row.1.name() }}<td>{{ row.1.state() }}{% endfor %}</table>",
    ext = "html"
)]
struct Index<'a> {
    rows: Vec<(&'static str, PluginView<'a>)>,
}

/// The page of all plugins. `path` is that of the request, before anything was cut off it.
fn render(snapshot: &Snapshot, thresholds: &Thresholds, _path: &str) -> String {
    let word = |view| match Status::of(snapshot, view, thresholds) {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Error => "error",
    };
    let rows = snapshot.plugins().map(|view| (word(view), view)).collect();
    Index { rows }.render().expect("a string takes all that is written")
}
