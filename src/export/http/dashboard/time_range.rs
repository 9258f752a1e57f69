//! The time range of a chart, and the windows among which a reader of the page can choose.

use std::time::Duration;

use super::super::history_range::HistoryRange;
use super::chart::unix_seconds;
use super::display_time::unix_millis;
use super::format;
use crate::format::number::precise_duration;
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
pub(super) fn time_range(snapshot: &Snapshot, range: HistoryRange) -> (f64, f64) {
    if let Some([from, to]) = range.zoom {
        return (unix_seconds(from), unix_seconds(to));
    }
    let to = unix_seconds(snapshot.sampled_at());
    let from = to - window_length(snapshot, range.window).as_secs_f64();
    match range.window {
        Window::All => (from.max(unix_seconds(snapshot.oldest_sampled_at()).min(to - 1.0)), to),
        Window::Last(_) => (from, to),
    }
}

/// `In the last hour`, `In the chosen 3m 20s`: the start of a sentence about the range, which is a window
/// of that length or a zoom.
pub(in crate::export::http) fn in_range(range: HistoryRange, window: Duration) -> String {
    match range.zoomed_length() {
        Some(length) => format!("In the chosen {}", precise_duration(length)),
        None => format!("In the last {}", format::span(window)),
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

/// The query parameter of a window: `&window=60`; empty for the whole history in memory.
pub(super) fn window_query(snapshot: &Snapshot, window: Window, has_store: bool) -> String {
    match window {
        Window::Last(length) if is_window(snapshot, length, has_store) => {
            format!("&window={}", length.as_secs_f64())
        }
        Window::Last(_) | Window::All => String::new(),
    }
}

/// Whether a window is another one than the whole history in memory.
fn is_window(snapshot: &Snapshot, length: Duration, has_store: bool) -> bool {
    let all = snapshot.history_duration();
    length < all || (has_store && length > all)
}

/// The query parameters of a zoom: `&from=1000&to=2000`; empty without one.
pub(super) fn zoom_query(range: HistoryRange) -> String {
    let query = |[from, to]: [u64; 2]| format!("&from={from}&to={to}");
    range.zoom.map(|zoom| query(zoom.map(unix_millis))).unwrap_or_default()
}

/// The usual windows that are shorter than the history, the requested one, and the whole history; with a
/// store also longer ones. With a zoom, none of them is chosen.
pub(super) fn window_choices(
    snapshot: &Snapshot,
    range: HistoryRange,
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
    let requested = match range.window {
        Window::Last(length) => Some(length).filter(|&l| is_window(snapshot, l, has_store)),
        Window::All => None,
    };
    if let Some(length) = requested
        && let Err(index) = lengths.binary_search(&length)
    {
        lengths.insert(index, length);
    }
    let choice = |length: Duration| WindowChoice {
        label: format::short_duration(length),
        query: window_query(snapshot, Window::Last(length), has_store),
        is_chosen: requested == Some(length) && range.zoom.is_none(),
    };
    let shorter = lengths.partition_point(|&length| length < all);
    let mut choices: Vec<_> = lengths.into_iter().map(choice).collect();
    // In a store there is more than the history.
    let label = if has_store { "in memory" } else { "all" };
    let whole = WindowChoice {
        label: format!("{label}, {}", format::short_duration(all)),
        query: String::new(),
        is_chosen: requested.is_none() && range.zoom.is_none(),
    };
    choices.insert(shorter, whole);
    choices
}
