//! In place of `stored`, in a build without stores: all windows are in memory.

use axum::body::Bytes;

use super::dashboard::RangeValues;
use super::history_range::HistoryRange;
use super::state::AppState;
use crate::{PluginView, Window};

/// There is no store.
#[derive(Debug)]
pub(super) enum WindowStore {}

pub(super) async fn range_values(
    _state: &AppState,
    _view: PluginView<'_>,
    _range: HistoryRange,
) -> Option<RangeValues> {
    None
}

pub(super) async fn downloaded(
    _state: &AppState,
    _view: PluginView<'_>,
    _range: HistoryRange,
    _points: usize,
    _is_csv: bool,
) -> Option<Bytes> {
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
