//! Reads a store, from any thread and any process.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::batch::{Batch, Block};
use super::database::open_for_reading;
use super::error::StoreError;
use super::feed::{from_unix_ms, unix_ms};
use super::rollup::{GaugeRollup, HOUR_MS, MINUTE_MS, Rollup};
use super::row::{Row, known};
use super::sketch::RELATIVE_ERROR;
use super::tables::{NotificationRow, PluginRow, RollupTable, RunRow, SampleRow, recent_batches};
use super::values::{
    Quantile, Resolution, StoredAggregates, StoredNotification, StoredPlugin, StoredPoint,
    StoredSummary,
};
use super::writer::{begin_of, covered};
use crate::snapshot::downsample::ValueRange;
use crate::snapshot::run::{Run, RunId};
use crate::sync::fork::ForkGuard;

type Result<T> = rusqlite::Result<T>;

/// Reads a store, while a host writes to it or not. Each clone has a connection of its own.
///
/// Values are those of the newest write, at most one write interval old. Damaged rows are left out. A
/// query that fails returns what is there without it, nothing; [`error`](Self::error) tells why.
///
/// ```
/// use plugmeter::{Resolution, Store, StoreConfig, StoreReader};
/// use std::time::{Duration, SystemTime};
///
/// # let folder = std::env::temp_dir().join(format!("plugmeter-reader-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("plugmeter.db");
/// # drop(Store::open(StoreConfig::new(&path))?);
/// let reader = StoreReader::open(&path)?;
/// let now = SystemTime::now();
/// let week = now - Duration::from_secs(7 * 86_400)..now;
/// for plugin in reader.plugins() {
///     let aggregates = reader.aggregates(&plugin.name, week.clone());
///     println!("{}: {:?}", plugin.name, aggregates.tree_cpu.map(|cpu| cpu.p95));
///     println!("{} hours", reader.points(&plugin.name, week.clone(), Resolution::Hour).len());
/// }
/// assert!(reader.error().is_none());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StoreReader {
    path: PathBuf,
    state: Mutex<ReaderState>,
}

#[derive(Default)]
struct ReaderState {
    /// With the process that has opened it.
    connection: Option<(Connection, ForkGuard)>,
    error: Option<StoreError>,
}

impl Drop for ReaderState {
    fn drop(&mut self) {
        self.forget_after_fork();
    }
}

impl ReaderState {
    /// A connection must not be used, and not be closed, in a forked child.
    fn forget_after_fork(&mut self) {
        if self.connection.as_ref().is_some_and(|(_, guard)| !guard.in_owner_process()) {
            mem::forget(self.connection.take());
        }
    }
}

/// One sample.
struct RawSample {
    at_ms: i64,
    covered_ms: u64,
    row: Row,
}

impl StoreReader {
    /// Opens the file for reading. A host may write to it at the same time.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if there is no such file, [`StoreError::Newer`] and [`StoreError::Database`] if
    /// it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> std::result::Result<Self, StoreError> {
        let path = path.as_ref();
        let reader = Self::new(path.to_owned());
        reader.lock().connection = Some((open_for_reading(path)?, ForkGuard::new()));
        Ok(reader)
    }

    /// The file is opened by the first query.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ReaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the newest query has failed; `None` if it has not.
    #[must_use]
    pub fn error(&self) -> Option<StoreError> {
        self.lock().error.as_ref().map(StoreError::copy)
    }

    /// Runs a query on one state of the file.
    pub(super) fn query<T: Default>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> T {
        let mut state = self.lock();
        state.forget_after_fork();
        let result = self.try_query(&mut state, query);
        match result {
            Ok(value) => {
                state.error = None;
                value
            }
            Err(error) => {
                // The file may be another one by now.
                state.connection = None;
                state.error = Some(error);
                T::default()
            }
        }
    }

    fn try_query<T>(
        &self,
        state: &mut ReaderState,
        query: impl FnOnce(&Connection) -> Result<T>,
    ) -> std::result::Result<T, StoreError> {
        if state.connection.is_none() {
            state.connection = Some((open_for_reading(&self.path)?, ForkGuard::new()));
        }
        let Some((connection, _)) = &state.connection else {
            unreachable!("it was opened above");
        };
        let run = || {
            let transaction = connection.unchecked_transaction()?;
            let value = query(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(StoreError::database)
    }

    /// All plugins by name, the oldest of a name first: a name that was removed and registered again is
    /// several plugins.
    #[must_use]
    pub fn plugins(&self) -> Vec<StoredPlugin> {
        self.query(|connection| {
            let mut plugins = PluginRow::all(connection)?;
            // Newer counters than those of the newest seal.
            for (_, batch) in recent_batches(connection)? {
                for recent in batch.into_iter().flat_map(|batch| batch.plugins) {
                    let plugin = plugins.iter_mut().find(|plugin| plugin.id == recent.plugin);
                    if let Some(plugin) = plugin {
                        plugin.counters = recent.counters;
                    }
                }
            }
            Ok(plugins.into_iter().map(stored_plugin).collect())
        })
    }

    /// The runs of all plugins that had this name, oldest first. Their ids are those of the store. A run
    /// that was active when the host ended has the end [`HostGone`](crate::RunEnd::HostGone), once the
    /// next session has begun.
    #[must_use]
    pub fn runs(&self, name: &str) -> Vec<Run> {
        self.query(|connection| {
            let mut runs = Vec::new();
            for plugin in PluginRow::named(connection, name)? {
                runs.extend(RunRow::of_plugin(connection, plugin.id)?.into_iter().map(run_of));
            }
            Ok(runs)
        })
    }

    /// The samples of all plugins that had this name, or their rollups that overlap the range, oldest
    /// first.
    #[must_use]
    pub fn points(
        &self,
        name: &str,
        range: Range<SystemTime>,
        resolution: Resolution,
    ) -> Vec<StoredPoint> {
        let (from_ms, to_ms) = (unix_ms(range.start), unix_ms(range.end));
        self.query(|connection| {
            let ids = ids_of(connection, name)?;
            let resolution = match resolution {
                Resolution::Auto => {
                    finest(connection, &ids, from_ms, Resolution::of_range(&range))?
                }
                chosen => chosen,
            };
            Ok(match resolution {
                Resolution::Raw => {
                    raw_samples(connection, &ids, from_ms, to_ms)?.iter().map(raw_point).collect()
                }
                Resolution::Minute | Resolution::Auto => {
                    let rollups = rollups(connection, RollupTable::Minute, &ids, from_ms, to_ms)?;
                    rollups.iter().map(|(&at, all)| point(at, all, Resolution::Minute)).collect()
                }
                Resolution::Hour => {
                    let rollups = rollups(connection, RollupTable::Hour, &ids, from_ms, to_ms)?;
                    rollups.iter().map(|(&at, all)| point(at, all, Resolution::Hour)).collect()
                }
            })
        })
    }

    /// CPU and memory of all plugins that had this name over the range, their events and crashes: from the
    /// samples, as far as these are kept, otherwise from rollups. Without a sample, counts are 0.
    #[must_use]
    pub fn aggregates(&self, name: &str, range: Range<SystemTime>) -> StoredAggregates {
        let (from_ms, to_ms) = (unix_ms(range.start), unix_ms(range.end));
        let span = range.end.duration_since(range.start).unwrap_or_default();
        let wanted = if span <= 26 * Resolution::HOUR {
            Resolution::Raw
        } else if span <= 8 * 24 * Resolution::HOUR {
            Resolution::Minute
        } else {
            Resolution::Hour
        };
        let found = self.query(|connection| {
            let ids = ids_of(connection, name)?;
            let resolution = finest(connection, &ids, from_ms, wanted)?;
            let table = match resolution {
                Resolution::Raw => {
                    let samples = raw_samples(connection, &ids, from_ms, to_ms)?;
                    return Ok(Some(exact_aggregates(name, &samples)));
                }
                Resolution::Minute | Resolution::Auto => RollupTable::Minute,
                Resolution::Hour => RollupTable::Hour,
            };
            let mut all = Rollup::default();
            let rollups = rollups(connection, table, &ids, from_ms, to_ms)?;
            rollups.values().for_each(|rollup| all.merge(rollup));
            let within = |gauge: &GaugeRollup, unit: Unit| {
                let value = gauge.sketch.p95()?.max(gauge.min as f64).min(gauge.max as f64);
                let value = value * unit.numerator / unit.denominator;
                Some(Quantile::Within { value, relative_error: RELATIVE_ERROR })
            };
            Ok(Some(aggregates(name, resolution, &all, within)))
        });
        found.unwrap_or_else(|| aggregates(name, wanted, &Rollup::default(), |_, _| None))
    }

    /// The notifications in a range of time, oldest first.
    #[must_use]
    pub fn notifications(&self, range: Range<SystemTime>) -> Vec<StoredNotification> {
        let (from_ms, to_ms) = (unix_ms(range.start), unix_ms(range.end));
        self.query(|connection| {
            let rows = NotificationRow::between(connection, from_ms, to_ms)?;
            let stored = |row: NotificationRow| StoredNotification {
                at: from_unix_ms(row.at_ms),
                plugin: Arc::from(row.plugin),
                kind: row.kind,
                text: row.text,
                json: row.json,
            };
            Ok(rows.into_iter().map(stored).collect())
        })
    }
}

impl Clone for StoreReader {
    fn clone(&self) -> Self {
        Self::new(self.path.clone())
    }
}

/// Two readers are equal if they read the same path.
impl PartialEq for StoreReader {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for StoreReader {}

impl fmt::Debug for StoreReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreReader").field(&self.path).finish()
    }
}

fn ids_of(connection: &Connection, name: &str) -> Result<Vec<i64>> {
    Ok(PluginRow::named(connection, name)?.into_iter().map(|plugin| plugin.id).collect())
}

fn stored_plugin(row: PluginRow) -> StoredPlugin {
    let counters = row.counters;
    StoredPlugin {
        name: Arc::from(row.name),
        first_seen: from_unix_ms(row.first_ms),
        removed_at: row.removed_ms.map(from_unix_ms),
        event_count: counters.events,
        event_counts: counters.kinds.into_iter().map(|(kind, n)| (Arc::from(kind), n)).collect(),
        crash_count: counters.crashes,
        restart_count: counters.restarts,
        unknown_end_count: counters.unknown_ends,
        last_crash: counters.last_crash_ms.map(from_unix_ms),
        cpu_time: Duration::from_nanos(counters.cpu_ns),
        tree_cpu_time: Duration::from_nanos(counters.tree_cpu_ns),
    }
}

pub(super) fn run_of(row: RunRow) -> Run {
    Run {
        id: RunId(u64::try_from(row.id).unwrap_or(0)),
        pid: row.pid,
        version: row.version.map(Arc::from),
        started_at: row.started_ms.map(from_unix_ms),
        reported_at: from_unix_ms(row.reported_ms),
        ended_at: row.ended_ms.map(from_unix_ms),
        end: row.end,
        cpu_time: row.cpu_ns.map(Duration::from_nanos),
        peak_memory_bytes: row.peak_bytes,
        oom_killed: row.oom_killed,
    }
}

/// The wanted resolution, or a coarser one if only that reaches back to `from_ms`.
fn finest(
    connection: &Connection,
    ids: &[i64],
    from_ms: i64,
    wanted: Resolution,
) -> Result<Resolution> {
    let oldest = |sql: &str| -> Result<Option<i64>> {
        let mut oldest = None;
        let mut statement = connection.prepare_cached(sql)?;
        for id in ids {
            let at: Option<i64> = statement.query_row([id], |row| row.get(0))?;
            oldest = oldest.into_iter().chain(at).min();
        }
        Ok(oldest)
    };
    let raw = oldest("SELECT min(from_ms) FROM sample WHERE plugin = ?1")?;
    let minute = oldest("SELECT min(at_ms) FROM minute WHERE plugin = ?1")?;
    let hour = oldest("SELECT min(at_ms) FROM hour WHERE plugin = ?1")?;
    // Without samples, all there is was not sealed yet.
    let reaches = |own: Option<i64>, coarser: Option<i64>, length_ms: i64| match (own, coarser) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(own), Some(coarser)) => own <= from_ms || own < coarser + length_ms,
    };
    let minute_reaches = reaches(minute, hour, HOUR_MS);
    Ok(match wanted {
        Resolution::Raw if reaches(raw, minute, MINUTE_MS) && minute_reaches => Resolution::Raw,
        Resolution::Raw | Resolution::Minute | Resolution::Auto if minute_reaches => {
            Resolution::Minute
        }
        Resolution::Raw | Resolution::Minute | Resolution::Auto | Resolution::Hour => {
            Resolution::Hour
        }
    })
}

/// The samples of plugins in a range of time, oldest first.
fn raw_samples(
    connection: &Connection,
    ids: &[i64],
    from_ms: i64,
    to_ms: i64,
) -> Result<Vec<RawSample>> {
    let mut samples = Vec::new();
    let in_range = from_ms..to_ms;
    for &id in ids {
        for row in SampleRow::between(connection, id, from_ms, to_ms)? {
            let Some(block) = Block::decode(&row.data) else { continue };
            let mut previous = None;
            for (time, row) in block.times.iter().zip(&block.rows) {
                let since = previous.map_or(block.poll_ms, |previous| time.at_ms - previous);
                previous = Some(time.at_ms);
                if in_range.contains(&time.at_ms) {
                    let covered_ms = u64::try_from(since).unwrap_or(0);
                    samples.push(RawSample { at_ms: time.at_ms, covered_ms, row: *row });
                }
            }
        }
    }
    for (_, batch) in recent_batches(connection)? {
        let Some(batch) = batch else { continue };
        each_of(&batch, ids, |at_ms, row, covered_ms| {
            if in_range.contains(&at_ms) {
                samples.push(RawSample { at_ms, covered_ms, row: *row });
            }
        });
    }
    samples.sort_by_key(|sample| sample.at_ms);
    Ok(samples)
}

/// Calls `each` with the rows of these plugins.
fn each_of(batch: &Batch, ids: &[i64], mut each: impl FnMut(i64, &Row, u64)) {
    let covered = covered(batch);
    for plugin in batch.plugins.iter().filter(|plugin| ids.contains(&plugin.plugin)) {
        let covered = covered.iter().skip(plugin.first);
        for ((time, row), &covered) in plugin.timed(batch).zip(covered) {
            each(time.at_ms, row, covered);
        }
    }
}

/// The rollups of plugins that overlap a range of time, by their begin.
fn rollups(
    connection: &Connection,
    table: RollupTable,
    ids: &[i64],
    from_ms: i64,
    to_ms: i64,
) -> Result<BTreeMap<i64, Rollup>> {
    let length_ms = match table {
        RollupTable::Minute => MINUTE_MS,
        RollupTable::Hour => HOUR_MS,
    };
    let first = begin_of(from_ms, length_ms);
    let mut all = BTreeMap::<i64, Rollup>::new();
    for &id in ids {
        for (at, rollup) in table.between(connection, id, first, to_ms)? {
            all.entry(at).or_default().merge(&rollup);
        }
    }
    for (_, batch) in recent_batches(connection)? {
        let Some(batch) = batch else { continue };
        each_of(&batch, ids, |at_ms, row, covered_ms| {
            let at = begin_of(at_ms, length_ms);
            if (first..to_ms).contains(&at) {
                all.entry(at).or_default().add(row, covered_ms);
            }
        });
    }
    Ok(all)
}

/// A stored unit in a public one, as a fraction: the division comes last, so that results are rounded
/// once.
#[derive(Clone, Copy)]
struct Unit {
    numerator: f64,
    denominator: f64,
}

/// Percent, of thousandths.
const PERCENT: Unit = Unit { numerator: 1.0, denominator: 1_000.0 };
/// Bytes, of KiB.
const BYTES: Unit = Unit { numerator: 1_024.0, denominator: 1.0 };

impl Unit {
    fn of(self, value: u64) -> f64 {
        value as f64 * self.numerator / self.denominator
    }

    /// Arithmetic mean; `None` without values.
    fn avg(self, gauge: &GaugeRollup) -> Option<f64> {
        let count = gauge.count as f64;
        (gauge.count > 0).then(|| gauge.sum as f64 * self.numerator / (self.denominator * count))
    }
}

fn raw_point(sample: &RawSample) -> StoredPoint {
    let row = &sample.row;
    let range = |value: u32, unit: Unit| {
        let value = unit.of(known(value)?.into());
        Some(ValueRange { min: value, avg: value, max: value })
    };
    StoredPoint {
        timestamp: from_unix_ms(sample.at_ms),
        resolution: Resolution::Raw,
        sample_count: 1,
        cpu_percent: range(row.cpu, PERCENT),
        memory: range(row.kib, BYTES),
        tree_cpu_percent: range(row.tree.cpu, PERCENT),
        tree_memory: range(row.tree.kib, BYTES),
        events: row.events,
        crashes: row.crashes,
        state: Some(row.state),
    }
}

fn point(at_ms: i64, rollup: &Rollup, resolution: Resolution) -> StoredPoint {
    let range = |gauge: &GaugeRollup, unit: Unit| {
        let avg = unit.avg(gauge)?;
        Some(ValueRange { min: unit.of(gauge.min), avg, max: unit.of(gauge.max) })
    };
    StoredPoint {
        timestamp: from_unix_ms(at_ms),
        resolution,
        sample_count: rollup.samples,
        cpu_percent: range(&rollup.cpu, PERCENT),
        memory: range(&rollup.memory, BYTES),
        tree_cpu_percent: range(rollup.tree_cpu(), PERCENT),
        tree_memory: range(rollup.tree_memory(), BYTES),
        events: rollup.events,
        crashes: rollup.crashes,
        state: None,
    }
}

fn aggregates(
    name: &str,
    resolution: Resolution,
    all: &Rollup,
    p95: impl Fn(&GaugeRollup, Unit) -> Option<Quantile>,
) -> StoredAggregates {
    let summary = |gauge: &GaugeRollup, unit: Unit| {
        Some(StoredSummary {
            count: gauge.count,
            avg: unit.avg(gauge)?,
            min: unit.of(gauge.min),
            max: unit.of(gauge.max),
            p95: p95(gauge, unit)?,
        })
    };
    let time_span = Duration::from_millis(all.covered_ms);
    let cpu_time = Duration::from_nanos(all.cpu_ns);
    let per_second = all.events as f64 / time_span.as_secs_f64();
    let per_event = cpu_time.as_nanos().checked_div(u128::from(all.events));
    StoredAggregates {
        plugin_name: Arc::from(name),
        resolution,
        sample_count: all.samples,
        time_span,
        cpu: summary(&all.cpu, PERCENT),
        memory: summary(&all.memory, BYTES),
        tree_cpu: summary(all.tree_cpu(), PERCENT),
        tree_memory: summary(all.tree_memory(), BYTES),
        cpu_time,
        events: all.events,
        events_per_second: if per_second.is_finite() { per_second } else { 0.0 },
        cpu_per_event: per_event
            .map(|nanos| Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))),
        crashes: all.crashes,
    }
}

/// Aggregates whose percentiles are those of the samples.
fn exact_aggregates(name: &str, samples: &[RawSample]) -> StoredAggregates {
    let mut all = Rollup::default();
    samples.iter().for_each(|sample| all.add(&sample.row, sample.covered_ms));
    let exact = |get: fn(&Row) -> u32, unit: Unit| {
        let mut values: Vec<u32> = samples.iter().filter_map(|s| known(get(&s.row))).collect();
        let rank = (values.len() * 95 / 100).min(values.len().checked_sub(1)?);
        let (_, value, _) = values.select_nth_unstable(rank);
        Some(Quantile::Exact(unit.of(u64::from(*value))))
    };
    let found = aggregates(name, Resolution::Raw, &all, |_, _| Some(Quantile::Exact(0.0)));
    let with = |summary: Option<StoredSummary>, p95: Option<Quantile>| {
        summary.zip(p95).map(|(summary, p95)| StoredSummary { p95, ..summary })
    };
    StoredAggregates {
        cpu: with(found.cpu, exact(|row| row.cpu, PERCENT)),
        memory: with(found.memory, exact(|row| row.kib, BYTES)),
        tree_cpu: with(found.tree_cpu, exact(|row| row.tree.cpu, PERCENT)),
        tree_memory: with(found.tree_memory, exact(|row| row.tree.kib, BYTES)),
        ..found
    }
}
