//! In place of `stored`, in a build without stores: all windows are in memory.

use axum::body::Bytes;

use super::dashboard::WindowValues;
use super::state::AppState;
use crate::{PluginView, Window};

/// There is no store.
#[derive(Debug)]
pub(super) enum WindowStore {}

pub(super) async fn window_values(
    _state: &AppState,
    _view: PluginView<'_>,
    _window: Window,
) -> Option<WindowValues> {
    None
}

pub(super) async fn plugin_document(
    _state: &AppState,
    _view: PluginView<'_>,
    _window: Window,
    _points: usize,
) -> Option<Bytes> {
    None
}
