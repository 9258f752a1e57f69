//! Since when a condition has held.

use std::time::SystemTime;

use super::finding::Onset;
use crate::{PluginView, Sample, Window};

/// Since when `holds` has been true of the samples of the active run, without a break.
pub(super) fn onset(view: PluginView<'_>, holds: impl Fn(&Sample<'_>) -> bool) -> Onset {
    let run = view.run().map(|run| run.id);
    let mut history = view.history(Window::All).rev().peekable();
    let mut oldest = view.snapshot().sampled_at();
    while let Some(sample) = history.next_if(|sample| sample.run == run && holds(sample)) {
        oldest = sample.timestamp;
    }
    let reaches_end = history.peek().is_none();
    if reaches_end && is_run_older(view, oldest) {
        Onset::Before(oldest)
    } else {
        Onset::At(oldest)
    }
}

/// Whether the active run began before its oldest sample of this time. A run's first sample is of
/// the first tick after the report.
fn is_run_older(view: PluginView<'_>, oldest: SystemTime) -> bool {
    let interval = view.snapshot().poll_interval();
    view.run()
        .is_some_and(|run| oldest.duration_since(run.reported_at).is_ok_and(|age| age > interval))
}
