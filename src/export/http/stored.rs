//! Windows beyond the history in memory, from a store.

use std::time::{Duration, SystemTime};

use axum::body::Bytes;

use super::api;
use super::dashboard::{
    MAX_POINTS, MAX_ROWS, RangeStats, RangeValues, Trace, in_range, unix_seconds,
};
use super::download;
use super::history_range::HistoryRange;
use super::state::AppState;
use crate::format::shown::Shown;
use crate::{
    PluginView, Resolution, Run, Snapshot, StoreReader, StoredAggregates, StoredPoint,
    StoredSummary, Window,
};

/// The source of windows beyond the memory.
pub(super) type WindowStore = StoreReader;

/// A range of one plugin.
#[derive(Debug)]
pub(super) struct StoredRange {
    pub from: SystemTime,
    pub until: SystemTime,
    pub points: Vec<StoredPoint>,
    pub aggregates: StoredAggregates,
    pub runs: Vec<Run>,
    /// When the runs of the range began that were not the plugin's first.
    restarts: Vec<f64>,
}

/// The times of which the values are in a store only: a window that is longer than the history in memory,
/// or a zoom into it that is not in memory.
fn beyond_memory(snapshot: &Snapshot, range: HistoryRange) -> Option<[SystemTime; 2]> {
    let Window::Last(length) = range.window else { return None };
    if length <= snapshot.history_duration() {
        return None;
    }
    match range.zoom {
        Some([from, _]) if from >= snapshot.oldest_sampled_at() => None,
        Some(zoom) => Some(zoom),
        None => {
            let to = snapshot.sampled_at();
            Some([to.checked_sub(length).unwrap_or(SystemTime::UNIX_EPOCH), to])
        }
    }
}

/// Reads a range, if there is a store, and the history in memory does not reach back to it. In a thread
/// for blocking calls, because it reads a file.
async fn read(
    state: &AppState,
    view: PluginView<'_>,
    range: HistoryRange,
    max_points: usize,
) -> Option<StoredRange> {
    let store = state.store.as_ref()?;
    let [from, to] = beyond_memory(view.snapshot(), range)?;
    // The end is included.
    let until = to + Duration::from_millis(1);
    let (store, name) = (store.clone(), view.name().to_owned());
    let read = move || {
        let mut runs = store.runs(&name);
        let restarts = runs.iter().skip(1).map(|run| run.reported_at);
        let restarts = restarts.filter(|at| (from..until).contains(at)).map(unix_seconds).collect();
        runs.retain(|run| run.ended_at.is_none_or(|ended| ended >= from));
        StoredRange {
            from,
            until,
            points: thinned(store.points(&name, from..until, Resolution::Auto), max_points),
            aggregates: store.aggregates(&name, from..until),
            runs,
            restarts,
        }
    };
    tokio::task::spawn_blocking(read).await.ok()
}

/// At most `max` points: as many as fit are merged, with their extremes.
fn thinned(points: Vec<StoredPoint>, max: usize) -> Vec<StoredPoint> {
    let size = points.len().div_ceil(max.max(1)).max(1);
    if size == 1 {
        return points;
    }
    let merge = |chunk: &[StoredPoint]| {
        let (first, rest) = chunk.split_first()?;
        Some(rest.iter().fold(first.clone(), |all, next| all.merged(next)))
    };
    points.chunks(size).filter_map(merge).collect()
}

/// The values of the charts.
pub(super) async fn range_values(
    state: &AppState,
    view: PluginView<'_>,
    range: HistoryRange,
) -> Option<RangeValues> {
    let stored = read(state, view, range, MAX_POINTS).await?;
    let shown = Shown::of(view.snapshot());
    let StoredRange { from, until, aggregates, points, restarts, .. } = &stored;
    let stats = |all: StoredSummary| [all.avg, all.min, all.p95.value(), all.max];
    Some(RangeValues {
        time_range: (unix_seconds(*from), unix_seconds(*until)),
        in_range: in_range(range, until.duration_since(*from).unwrap_or_default()),
        stats: RangeStats {
            sample_count: aggregates.sample_count,
            cpu: shown.value(aggregates.cpu, aggregates.tree_cpu).map(stats),
            memory: shown.value(aggregates.memory, aggregates.tree_memory).map(stats),
            events: aggregates.events,
            events_per_second: aggregates.events_per_second,
        },
        resolution: match stored.points.first().map_or(aggregates.resolution, |p| p.resolution) {
            Resolution::Raw => "From the store, by sample.",
            Resolution::Minute | Resolution::Auto => {
                "From the store, by minute; p95 may be within 1 %."
            }
            Resolution::Hour => "From the store, by hour; p95 within 1 %.",
        },
        trace: trace(points, restarts, shown),
        table: trace(&thinned(points.clone(), MAX_ROWS), restarts, shown),
        runs: Some(stored.runs),
    })
}

fn trace(points: &[StoredPoint], restarts: &[f64], shown: Shown) -> Trace {
    let mut trace = Trace::default();
    let times: Vec<_> = points.iter().map(|point| unix_seconds(point.timestamp)).collect();
    // The usual distance of two points.
    let mut steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(0.0);
    let mut before: Option<f64> = None;
    for (point, &at) in points.iter().zip(&times) {
        if let Some(before) = before.filter(|before| at - before > usual * 1.5) {
            trace.break_line(before);
        }
        let cpu = shown.value(point.cpu_percent, point.tree_cpu_percent);
        let memory = shown.value(point.memory, point.tree_memory);
        trace.cpu.push((at, cpu.map(|cpu| cpu.max)));
        trace.memory.push((at, memory.map(|memory| memory.max)));
        let covered = point.time_span.as_secs_f64();
        trace.rate.push((at, (covered > 0.0).then(|| point.events as f64 / covered)));
        trace.crashes.extend((point.crashes > 0).then_some(at));
        before = Some(at);
    }
    trace.restarts.extend(restarts);
    trace
}

/// The document of one plugin in the API.
pub(super) async fn plugin_document(
    state: &AppState,
    view: PluginView<'_>,
    window: Window,
    points: usize,
) -> Option<Bytes> {
    let stored = read(state, view, HistoryRange { window, zoom: None }, points).await?;
    Some(api::stored_plugin(view, &stored))
}

/// The points of a range as a file.
pub(super) async fn downloaded(
    state: &AppState,
    view: PluginView<'_>,
    range: HistoryRange,
    points: usize,
    is_csv: bool,
) -> Option<Bytes> {
    let StoredRange { points, .. } = read(state, view, range, points).await?;
    let name = view.name();
    Some(if is_csv { download::stored_csv(name, &points) } else { download::stored_json(&points) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Collector, Config, Store, StoreConfig};

    #[test]
    #[cfg_attr(miri, ignore = "Miri runs no C")]
    fn merged_points_have_extremes_and_sums() {
        let folder = std::env::temp_dir().join(format!("plugmeter-merged-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = Store::open(StoreConfig::new(folder.join("plugmeter.db"))).unwrap();
        let collector = Collector::start(Config::default()).unwrap();
        let recorder = store.record(collector.reader()).unwrap();
        let plugin = collector.register("dice").unwrap();
        for events in 1..=5 {
            plugin.events().add(events);
            plugin.started(std::process::id(), "");
            collector.sample_now().unwrap();
        }
        recorder.stop();
        let now = SystemTime::now() + Duration::from_secs(60);
        let all = now - Duration::from_secs(3_600)..now;
        let points = store.reader().points("dice", all, Resolution::Raw);
        let few = thinned(points.clone(), 2);
        assert!(few.len() <= 2 && points.len() >= 5);
        let sum = |points: &[StoredPoint]| {
            let events: u64 = points.iter().map(|point| point.events).sum();
            let time: Duration = points.iter().map(|point| point.time_span).sum();
            (events, points.iter().map(|point| point.sample_count).sum::<u64>(), time)
        };
        assert_eq!(sum(&few), sum(&points));
        let memory = |points: &[StoredPoint]| {
            let max = points.iter().filter_map(|point| point.memory).map(|memory| memory.max);
            max.fold(0.0, f64::max)
        };
        assert_eq!(memory(&few), memory(&points));
        assert_eq!(thinned(points.clone(), 100), points);
        drop(store);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
