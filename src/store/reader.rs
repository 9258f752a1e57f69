//! Reads a store, from any thread and any process.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::batch::Section;
use super::check_process;
use super::database::open_for_reading;
use super::error::StoreError;
use super::feed::{from_unix_ms, unix_ms};
use super::lookup::Lookup;
use super::measures::{RollupTable, each_recent};
use super::rollup::Rollup;
use super::run_rows::{NotificationRow, RunRow};
use super::summary::{aggregates, exact_aggregates, point, raw_point, within};
use super::tables::{HostRow, PluginRow};
use super::values::{Resolution, StoredAggregates, StoredNotification, StoredPlugin, StoredPoint};
use crate::os::files::file_identity;
use crate::snapshot::run::{Run, RunId};

type Result<T> = rusqlite::Result<T>;

/// Reads a store, while a host writes to it or not. Each clone has a connection of its own.
///
/// Values are those of the newest write, at most one write interval old. Damaged rows are left out. A
/// query that fails returns an empty result, and [`error`](Self::error) the reason. In a child that was
/// forked without `exec` from a process that has opened a store or a reader, every query fails.
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
    connection: Option<OpenFile>,
    error: Option<StoreError>,
}

struct OpenFile {
    connection: Connection,
    /// Of the file; `None` if it is not known.
    identity: Option<(u64, u64)>,
}

impl OpenFile {
    fn open(path: &Path) -> std::result::Result<Self, StoreError> {
        let identity = file_identity(path).ok();
        let connection = open_for_reading(path)?;
        Ok(Self { connection, identity })
    }
}

impl Drop for ReaderState {
    fn drop(&mut self) {
        // A connection must not be closed in a forked child.
        if check_process().is_err() {
            mem::forget(self.connection.take());
        }
    }
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
        check_process().map_err(|error| StoreError::from(error).at(path))?;
        let reader = Self::new(path.to_owned());
        let open = OpenFile::open(path).map_err(|error| error.at(path))?;
        reader.lock().connection = Some(open);
        Ok(reader)
    }

    /// The file is opened by the first query.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ReaderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reason why the newest query has failed; `None` if it has not.
    #[must_use]
    pub fn error(&self) -> Option<StoreError> {
        if let Err(error) = check_process() {
            return Some(error.into());
        }
        self.lock().error.as_ref().map(StoreError::copy)
    }

    /// Runs a query on one state of the file.
    pub(super) fn query<T: Default>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> T {
        // Another thread may have held the lock at the fork.
        if check_process().is_err() {
            return T::default();
        }
        let mut state = self.lock();
        let result = self.try_query(&mut state, query);
        match result {
            Ok(value) => {
                state.error = None;
                value
            }
            Err(error) => {
                // The file may be another one by now.
                state.connection = None;
                state.error = Some(error.at(&self.path));
                T::default()
            }
        }
    }

    fn try_query<T>(
        &self,
        state: &mut ReaderState,
        query: impl FnOnce(&Connection) -> Result<T>,
    ) -> std::result::Result<T, StoreError> {
        let identity = file_identity(&self.path).ok();
        // Otherwise another file is in its place, or none.
        let open = state.connection.take().filter(|open| open.identity == identity);
        let open = open.map_or_else(|| OpenFile::open(&self.path), Ok)?;
        let connection = &state.connection.insert(open).connection;
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
            // Newer counters than those of the newest rollups.
            let rolled_up_ms = HostRow::rolled_up_ms(connection)?;
            let mut newest = HashMap::new();
            each_recent(connection, rolled_up_ms, i64::MAX, |batch| {
                let counters = |section: &Section<'_>| Some((section.plugin, section.counters()?));
                newest.extend(batch.sections.iter().filter_map(counters));
            })?;
            for plugin in &mut plugins {
                if let Some(counters) = newest.remove(&plugin.id) {
                    plugin.counters = counters;
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
            let lookup = Lookup::new(connection, name, from_ms, to_ms)?;
            let resolution = match resolution {
                Resolution::Auto => lookup.finest(Resolution::of_range(&range))?,
                chosen => chosen,
            };
            Ok(match resolution {
                Resolution::Raw => lookup.samples()?.iter().map(raw_point).collect(),
                Resolution::Minute | Resolution::Auto => {
                    let rollups = lookup.rollups(RollupTable::Minute)?;
                    rollups.iter().map(|(&at, all)| point(at, all, Resolution::Minute)).collect()
                }
                Resolution::Hour => {
                    let rollups = lookup.rollups(RollupTable::Hour)?;
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
            let lookup = Lookup::new(connection, name, from_ms, to_ms)?;
            let resolution = lookup.finest(wanted)?;
            let table = match resolution {
                Resolution::Raw => return Ok(Some(exact_aggregates(name, &lookup.samples()?))),
                Resolution::Minute | Resolution::Auto => RollupTable::Minute,
                Resolution::Hour => RollupTable::Hour,
            };
            let mut all = Rollup::default();
            lookup.rollups(table)?.values().for_each(|rollup| all.merge(rollup));
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
