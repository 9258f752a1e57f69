//! Whether a name of two snapshots is one registration of a plugin or two.

use super::catalog::{MetricType, Number, PLUGIN_FAMILIES, PluginRow, PluginSeries};
use crate::{PluginView, Snapshot, Window};

/// Whether `new` is another registration of the name than `old`, which is of an earlier snapshot of
/// the same collector.
pub(super) fn is_another_registration(old: PluginView<'_>, new: PluginView<'_>) -> bool {
    let tick = old.current().map_or(0, |_| old.snapshot().tick());
    if tick > 0 && is_newer_than(new, tick) {
        return true;
    }
    // Where the history has no answer: a total that has decreased.
    let [old_row, new_row] = [old, new].map(PluginRow::new);
    let is_less = (0..PLUGIN_FAMILIES.len()).any(|family| {
        let [old, new] = [&old_row, &new_row].map(|row| total(family, row).map(Number::as_f64));
        old.zip(new).is_some_and(|(old, new)| new < old)
    });
    // Kinds are listed in the order of their first request, and only added.
    let (mut kinds, mut kinds_now) = (old.event_counts(), new.event_counts());
    is_less
        || kinds.any(|(kind, count)| {
            kinds_now.next().is_none_or(|(now, total)| now != kind || total < count)
        })
}

/// Whether the plugin was registered after a tick. `false` if its history does not reach back to it.
///
/// Every tick records a sample of every registered plugin, so a plugin that has a sample of one tick
/// has one of each later tick, up to the length of the history.
pub(super) fn is_newer_than(view: PluginView<'_>, tick: u64) -> bool {
    let count = view.history(Window::All).len() as u64;
    is_history_whole(view) && view.snapshot().tick() - count >= tick
}

/// Whether the history contains the plugin's first sample.
pub(super) fn is_history_whole(view: PluginView<'_>) -> bool {
    (view.history(Window::All).len() as u64) < capacity(view.snapshot())
}

/// The number of samples that the history of a plugin has at most.
fn capacity(snapshot: &Snapshot) -> u64 {
    let interval = snapshot.poll_interval().as_nanos().max(1);
    let samples = (snapshot.history_duration().as_nanos() / interval).max(1);
    u64::try_from(samples).unwrap_or(u64::MAX)
}

/// The plugin's total in a family of counters; `None` in another family.
pub(super) fn total(family: usize, row: &PluginRow<'_>) -> Option<Number> {
    let family = PLUGIN_FAMILIES.get(family)?;
    if family.metric_type != MetricType::Counter {
        return None;
    }
    match family.series {
        PluginSeries::Value(source) | PluginSeries::Parts { total: source, .. } => {
            (source.now)(row)
        }
        PluginSeries::Limits
        | PluginSeries::States
        | PluginSeries::Version
        | PluginSeries::Findings => None,
    }
}
