//! Reads from the file what a collector continues.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::batch::{BatchView, Block, StoredCounters};
use super::feed::from_unix_ms;
use super::measures::{SampleRow, each_recent};
use super::reader::run_of;
use super::rollup::HOUR_MS;
use super::row::{Row, TickTime};
use super::run_rows::RunRow;
use super::tables::{HostRow, PluginRow};
use super::writer::is_same_boot;
use crate::collector::saved::{
    Saved, SavedCounters, SavedPlugin, SavedRun, SavedSample, SavedSession, SavedState, SavedTick,
};
use crate::snapshot::run::RunEnd;

type Result<T> = rusqlite::Result<T>;

/// The largest number of runs of a plugin that are restored, the newest: as many as a query shows.
const MAX_RUNS: usize = 256;

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The ticks of the last hour, each with its session and its rows by plugin.
type Ticks = BTreeMap<i64, (i64, TickTime, Vec<(i64, Row)>)>;

/// The values as of the newest write. `boot_id` is that of the machine now.
pub(super) fn load(connection: &Connection, boot_id: Option<&str>) -> Result<Saved> {
    let mut hosts = HostRow::all(connection)?;
    // Their rows are not written with each batch.
    each_recent(connection, i64::MIN, i64::MAX, |batch| {
        let host = hosts.iter_mut().rfind(|host| host.id == batch.host);
        if let (Some(host), Some(&last)) = (host, batch.times.last())
            && host.end.at_ms < last.at_ms
        {
            host.end = last;
        }
    })?;
    let mut plugins: Vec<_> = PluginRow::all(connection)?;
    plugins.retain(|plugin| plugin.removed_ms.is_none());
    // If the row of the newest session is damaged, there are no samples.
    let oldest_ms = hosts.last().map_or(i64::MAX, |last| last.end.at_ms - HOUR_MS);

    let mut ticks = Ticks::new();
    for plugin in &plugins {
        for row in SampleRow::between(connection, plugin.id, oldest_ms, i64::MAX)? {
            if let Some(block) = Block::decode(&row.data) {
                add_block(&mut ticks, plugin.id, &block, oldest_ms);
            }
        }
    }
    let mut newest_counters = HashMap::new();
    each_recent(connection, i64::MIN, i64::MAX, |batch| {
        add_batch(&mut ticks, batch, oldest_ms);
        for section in &batch.sections {
            newest_counters.extend(section.counters().map(|counters| (section.plugin, counters)));
        }
    })?;

    let session_of: HashMap<i64, usize> = hosts.iter().map(|host| host.id).zip(0..).collect();
    let session = |host: i64| session_of.get(&host).copied();
    let mut samples = HashMap::<i64, Vec<_>>::new();
    let mut saved_ticks = Vec::new();
    for (host, time, rows) in ticks.into_values() {
        // A session whose row is damaged has no clocks.
        let Some(session) = session(host) else { continue };
        let index = saved_ticks.len();
        let wall = from_unix_ms(time.at_ms);
        saved_ticks.push(SavedTick { session, wall, boot: millis(time.boot_ms) });
        for (plugin, row) in rows {
            samples.entry(plugin).or_default().push((index, saved_sample(&row)));
        }
    }
    let mut saved = Vec::with_capacity(plugins.len());
    for plugin in plugins {
        let counters = newest_counters.remove(&plugin.id).unwrap_or(plugin.counters);
        let mut runs = RunRow::of_plugin(connection, plugin.id)?;
        let is_needed = |run: &RunRow| run.ended_ms.is_none_or(|ended| ended >= oldest_ms);
        let first = runs.iter().position(is_needed).unwrap_or(runs.len());
        // At least the newest one, whose version is shown.
        let first =
            first.min(runs.len().saturating_sub(1)).max(runs.len().saturating_sub(MAX_RUNS));
        runs.drain(..first);
        let saved_run = |run: RunRow| {
            let (number, session, host) = (run.number, session(run.host), run.host);
            let is_crash = run.is_crash;
            let mut run = run_of(run);
            if run.ended_at.is_none() {
                let end = hosts.iter().find(|row| row.id == host).map(|row| row.end.at_ms);
                let end = end.map_or(run.reported_at, from_unix_ms);
                (run.ended_at, run.end) = (Some(end.max(run.reported_at)), Some(RunEnd::HostGone));
            }
            SavedRun { number, session, run, is_crash }
        };
        saved.push(SavedPlugin {
            name: Arc::from(plugin.name),
            counters: saved_counters(&counters),
            kinds: counters.kinds.iter().map(|(kind, n)| (Arc::from(&**kind), *n)).collect(),
            runs: runs.into_iter().map(saved_run).collect(),
            samples: samples.remove(&plugin.id).unwrap_or_default(),
        });
    }
    let sessions = hosts.iter().map(|host| SavedSession {
        is_same_boot: is_same_boot(host, boot_id),
        start: from_unix_ms(host.start_ms),
        start_boot: millis(host.end.boot_ms - (host.end.at_ms - host.start_ms)),
        poll_interval: millis(host.poll_ms),
    });
    Ok(Saved(SavedState { sessions: sessions.collect(), ticks: saved_ticks, plugins: saved }))
}

fn add_block(ticks: &mut Ticks, plugin: i64, block: &Block, oldest_ms: i64) {
    for (time, row) in block.times.iter().zip(&block.rows) {
        if time.at_ms >= oldest_ms {
            let tick = ticks.entry(time.at_ms).or_insert_with(|| (block.host, *time, Vec::new()));
            tick.2.push((plugin, *row));
        }
    }
}

fn add_batch(ticks: &mut Ticks, batch: &BatchView<'_>, oldest_ms: i64) {
    for section in &batch.sections {
        for (_, time, row) in batch.rows(section).filter(|(_, time, _)| time.at_ms >= oldest_ms) {
            let tick = ticks.entry(time.at_ms).or_insert_with(|| (batch.host, time, Vec::new()));
            tick.2.push((section.plugin, row));
        }
    }
}

fn saved_sample(row: &Row) -> SavedSample {
    SavedSample {
        cpu: row.cpu,
        kib: row.kib,
        tree_cpu: row.tree.cpu,
        tree_kib: row.tree.kib,
        processes: row.tree.processes,
        events: row.events,
        crashes: row.crashes,
        run: row.run,
        state: row.state,
    }
}

fn saved_counters(counters: &StoredCounters) -> SavedCounters {
    SavedCounters {
        events: counters.events,
        crashes: counters.crashes,
        unsampled_crashes: counters.unsampled_crashes,
        restarts: counters.restarts,
        unknown_ends: counters.unknown_ends,
        unknown_ends_detected: counters.unknown_ends_detected,
        last_crash: counters.last_crash_ms.map(from_unix_ms),
        cpu_time: Duration::from_nanos(counters.cpu_ns),
        others_cpu: Duration::from_nanos(counters.tree_cpu_ns.saturating_sub(counters.cpu_ns)),
    }
}
