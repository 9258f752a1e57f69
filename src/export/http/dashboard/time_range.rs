//! The time range of a chart, and the windows among which a reader of the page can choose.

use std::time::Duration;

use super::chart::unix_seconds;
use super::format;
use crate::{Snapshot, Window};

/// The length of a window, at most the history's.
pub(super) fn window_length(snapshot: &Snapshot, window: Window) -> Duration {
    let all = snapshot.history_duration();
    let length = match window {
        Window::All => all,
        Window::Last(last) => last.min(all),
    };
    length.max(snapshot.poll_interval())
}

/// The start and the end of a chart, in seconds since 1970. A chart of the whole history does not
/// start before its first tick.
pub(super) fn time_range(snapshot: &Snapshot, window: Window) -> (f64, f64) {
    let to = unix_seconds(snapshot.sampled_at());
    let from = to - window_length(snapshot, window).as_secs_f64();
    match window {
        Window::All => (from.max(unix_seconds(snapshot.oldest_sampled_at()).min(to - 1.0)), to),
        Window::Last(_) => (from, to),
    }
}

/// A window that can be chosen.
#[derive(Debug)]
pub(super) struct WindowChoice {
    pub label: String,
    /// The query parameter of the link; empty for the whole history.
    pub query: String,
    pub is_chosen: bool,
}

/// The usual windows that are shorter than the history, the requested one, and the whole history; with a
/// store also longer ones.
pub(super) fn window_choices(
    snapshot: &Snapshot,
    window: Window,
    has_store: bool,
) -> Vec<WindowChoice> {
    const SECONDS: [u64; 8] = [60, 300, 900, 3_600, 21_600, 86_400, 7 * 86_400, 30 * 86_400];
    let all = snapshot.history_duration();
    let usual = SECONDS.map(Duration::from_secs).into_iter();
    let usual = usual.filter(|&length| length >= snapshot.poll_interval() * 2);
    let is_usual = |&length: &Duration| {
        length < all || (has_store && length > all && length >= Duration::from_secs(86_400))
    };
    let mut lengths: Vec<_> = usual.filter(is_usual).collect();
    let requested = match window {
        Window::Last(length) => {
            Some(length).filter(|&length| length < all || has_store && length > all)
        }
        Window::All => None,
    };
    if let Some(length) = requested
        && let Err(index) = lengths.binary_search(&length)
    {
        lengths.insert(index, length);
    }
    let choice = |length: Duration| WindowChoice {
        label: format::short_duration(length),
        query: format!("&window={}", length.as_secs_f64()),
        is_chosen: requested == Some(length),
    };
    let shorter = lengths.partition_point(|&length| length < all);
    let mut choices: Vec<_> = lengths.into_iter().map(choice).collect();
    // In a store there is more than the history.
    let label = if has_store { "in memory" } else { "all" };
    let whole = WindowChoice {
        label: format!("{label}, {}", format::short_duration(all)),
        query: String::new(),
        is_chosen: requested.is_none(),
    };
    choices.insert(shorter, whole);
    choices
}
