//! The part of a plugin's history that a page or a download shows.

use std::time::{Duration, SystemTime};

use super::query::{Query, QueryError};
use crate::{PluginView, Sample, Window};

/// A window, or a part of the history between two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HistoryRange {
    /// Ends at the newest tick. With a zoom, the window to which a reader returns.
    pub window: Window,
    /// Both times are included.
    pub zoom: Option<[SystemTime; 2]>,
}

impl HistoryRange {
    /// Of the parameters `window`, `from` and `to`.
    pub(super) fn from_query(query: &Query<'_>) -> Result<Self, QueryError> {
        Ok(Self { window: query.window()?, zoom: query.zoom()? })
    }

    /// The samples of the range, oldest first, and the tick of the first of them. Every tick records a
    /// sample of every registered plugin: there are no gaps.
    pub(super) fn samples<'a>(
        self,
        view: PluginView<'a>,
    ) -> (u64, impl ExactSizeIterator<Item = Sample<'a>> + Clone) {
        let all = view.history(Window::All);
        let (before, inside) = match self.zoom {
            None => {
                let inside = view.history(self.window).len();
                (all.len() - inside, inside)
            }
            Some([from, to]) => {
                let before = all.clone().take_while(|sample| sample.timestamp < from).count();
                let rest = all.clone().skip(before);
                (before, rest.take_while(|sample| sample.timestamp <= to).count())
            }
        };
        let oldest = view.snapshot().tick() + 1 - all.len() as u64;
        (oldest + before as u64, all.skip(before).take(inside))
    }

    /// The length of the zoom.
    pub(super) fn zoomed_length(self) -> Option<Duration> {
        self.zoom.map(|[from, to]| to.duration_since(from).unwrap_or_default())
    }
}
