//! A plugin that is being recorded: what was stored of it, and its counters over all sessions.

use std::time::SystemTime;

use super::batch::StoredCounters;
use super::feed::{nanos, unix_ms};
use super::run_rows::RunRow;
use super::stored_clock::StoredClock;
use crate::snapshot::plugin_view::PluginView;
use crate::snapshot::run::{Run, RunId};

/// A plugin that the newest snapshot shows.
#[derive(Debug)]
pub(super) struct LivePlugin {
    pub id: i64,
    /// Added to the counters of the collector. Those of the file as long as a collector that continues them
    /// shows none, because the plugin has no sample yet.
    pub base: StoredCounters,
    pub continues_file: bool,
    /// The counters at the newest row.
    pub events: u64,
    pub crashes: u64,
    pub last_run: u64,
    /// The runs that the view shows, each with its row.
    pub runs: Vec<(Run, RunRow)>,
    /// The index of its rows in the batch.
    pub entry: Option<usize>,
    /// What it has counted before its first row is not known.
    pub is_count_unknown: bool,
}

impl LivePlugin {
    /// The number of a run of the plugin; 0 if it is not shown.
    pub(super) fn run_number(&self, id: RunId) -> u64 {
        let run = self.runs.iter().rev().find(|(run, _)| run.id == id);
        run.map_or(0, |(_, row)| row.number)
    }

    /// The counters as of a view, over all sessions.
    pub(super) fn counters(&self, view: &PluginView<'_>, clock: &StoredClock) -> StoredCounters {
        let base = &self.base;
        let mut counters = StoredCounters {
            events: base.events.saturating_add(view.event_count()),
            crashes: base.crashes.saturating_add(view.crash_count()),
            restarts: base.restarts.saturating_add(view.restart_count()),
            unsampled_crashes: 0,
            unknown_ends: base.unknown_ends.saturating_add(view.unknown_end_count()),
            unknown_ends_detected: base
                .unknown_ends_detected
                .saturating_add(view.unknown_ends_detected()),
            last_crash_ms: view
                .last_crash()
                .map(|at| clock.stored(unix_ms(at)))
                .or(base.last_crash_ms),
            cpu_ns: base.cpu_ns.saturating_add(nanos(view.cpu_time())),
            tree_cpu_ns: base.tree_cpu_ns.saturating_add(nanos(view.tree_cpu_time())),
            kinds: base.kinds.clone(),
        };
        counters.unsampled_crashes = counters.crashes.saturating_sub(self.crashes);
        for (name, count) in view.event_counts() {
            match counters.kinds.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum = sum.saturating_add(count),
                None => counters.kinds.push((name.to_owned(), count)),
            }
        }
        counters
    }
}

/// The row of a run, which counts as no crash.
pub(super) fn run_row(
    run: &Run,
    id: i64,
    number: u64,
    plugin: i64,
    host: i64,
    clock: &StoredClock,
) -> RunRow {
    let stored = |time: SystemTime| clock.stored(unix_ms(time));
    RunRow {
        id,
        plugin,
        number,
        host,
        pid: run.pid,
        version: run.version.as_deref().map(str::to_owned),
        started_ms: run.started_at.map(stored),
        reported_ms: stored(run.reported_at),
        ended_ms: run.ended_at.map(stored),
        end: run.end,
        cpu_ns: run.cpu_time.map(nanos),
        peak_bytes: run.peak_memory_bytes,
        oom_killed: run.oom_killed,
        is_crash: false,
    }
}
