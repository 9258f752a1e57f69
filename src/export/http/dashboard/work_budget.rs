//! Lets other tasks of the thread run during long work.

use tokio::task::yield_now;

use crate::{PluginView, Window};

/// Rows that are made before other tasks can run.
const MAX_ROWS: usize = 128;
/// Samples, likewise.
const MAX_SAMPLES: usize = 65_536;

/// Counts rows and samples, because a history may have a hundred samples or a million.
#[derive(Debug, Default)]
pub(super) struct WorkBudget {
    rows: usize,
    samples: usize,
}

impl WorkBudget {
    /// Accounts for the row of this plugin, and yields if the budget is used up.
    pub(super) async fn spend(&mut self, view: PluginView<'_>) {
        self.rows += 1;
        self.samples += view.history(Window::All).len();
        if self.rows >= MAX_ROWS || self.samples >= MAX_SAMPLES {
            *self = Self::default();
            yield_now().await;
        }
    }
}
