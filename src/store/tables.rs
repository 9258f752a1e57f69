//! The rows of the tables, each with its CRC. A row whose CRC is another one is not used.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::batch::{Batch, StoredCounters};
use super::codec::{Decoder, Encoder, RowCrc};
use super::rollup::{Rollup, rollup_crc};
use super::row::TickTime;
use crate::snapshot::run::RunEnd;

type Result<T> = rusqlite::Result<T>;

/// A session of the host: a time in which it has recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostRow {
    pub id: i64,
    pub boot_id: Option<String>,
    pub start_ms: i64,
    /// The newest tick; the start before the first.
    pub end: TickTime,
    pub clean: bool,
    pub poll_ms: i64,
    pub step_ms: i64,
}

impl HostRow {
    fn crc(&self) -> i64 {
        let crc = RowCrc::default().int(self.id).text(self.boot_id.as_deref()).int(self.start_ms);
        let crc = crc.int(self.end.at_ms).int(self.end.boot_ms).int(self.clean.into());
        crc.int(self.poll_ms).int(self.step_ms).finish()
    }

    pub(super) fn put(&self, connection: &Connection) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO host VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        connection.prepare_cached(sql)?.execute(params![
            self.id,
            self.boot_id,
            self.start_ms,
            self.end.at_ms,
            self.end.boot_ms,
            self.clean,
            self.poll_ms,
            self.step_ms,
            self.crc(),
        ])?;
        Ok(())
    }

    fn read(row: &SqlRow<'_>) -> Result<Option<Self>> {
        let host = Self {
            id: row.get(0)?,
            boot_id: row.get(1)?,
            start_ms: row.get(2)?,
            end: TickTime { at_ms: row.get(3)?, boot_ms: row.get(4)? },
            clean: row.get(5)?,
            poll_ms: row.get(6)?,
            step_ms: row.get(7)?,
        };
        Ok((row.get::<_, i64>(8)? == host.crc()).then_some(host))
    }

    pub(super) fn load(connection: &Connection, id: i64) -> Result<Option<Self>> {
        read_one(connection, "SELECT * FROM host WHERE id = ?1", [id], Self::read)
    }

    /// All sessions, oldest first.
    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>> {
        read_all(connection, "SELECT * FROM host ORDER BY id", [], Self::read)
    }
}

/// Refuses a row of which a value has another type than it was written with: a damaged one.
fn refuse<T>(read: Result<Option<T>>) -> Result<Option<T>> {
    match read {
        Err(error) if error.sqlite_error_code().is_none() => Ok(None),
        other => other,
    }
}

/// Reads the rows that are not damaged.
fn read_all<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    mut read: impl FnMut(&SqlRow<'_>) -> Result<Option<T>>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, |row| refuse(read(row)))?;
    rows.filter_map(Result::transpose).collect()
}

/// Reads one row, if it exists and is not damaged.
fn read_one<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    read: impl FnOnce(&SqlRow<'_>) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let row = statement.query_row(parameters, |row| refuse(read(row))).optional()?;
    Ok(row.flatten())
}

/// A plugin: a name, from its registration to its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PluginRow {
    pub id: i64,
    pub name: String,
    pub first_ms: i64,
    pub removed_ms: Option<i64>,
    /// As of the newest seal.
    pub counters: StoredCounters,
}

/// Numbers of the file are signed; a counter beyond that stays at the largest one.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl PluginRow {
    fn crc(&self, counters: &[u8]) -> i64 {
        let crc = RowCrc::default().int(self.id).text(Some(&self.name)).int(self.first_ms);
        crc.option(self.removed_ms).bytes(counters).finish()
    }

    pub(super) fn put(&self, connection: &Connection) -> Result<()> {
        let mut out = Encoder::default();
        self.counters.encode(&mut out);
        let (counters, blob) = (&self.counters, out.finish());
        let sql = "INSERT OR REPLACE INTO plugin
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        connection.prepare_cached(sql)?.execute(params![
            self.id,
            self.name,
            self.first_ms,
            self.removed_ms,
            signed(counters.events),
            signed(counters.crashes),
            signed(counters.restarts),
            signed(counters.unknown_ends),
            counters.last_crash_ms,
            signed(counters.cpu_ns),
            signed(counters.tree_cpu_ns),
            blob,
            self.crc(&blob),
        ])?;
        if !counters.kinds.is_empty() {
            let sql = "INSERT OR REPLACE INTO event_kind VALUES (?1, ?2, ?3)";
            let mut statement = connection.prepare_cached(sql)?;
            for (name, count) in &counters.kinds {
                statement.execute(params![self.id, name, signed(*count)])?;
            }
        }
        Ok(())
    }

    fn read(row: &SqlRow<'_>) -> Result<Option<Self>> {
        let blob = row.get::<_, Vec<u8>>(11)?;
        let mut plugin = Self {
            id: row.get(0)?,
            name: row.get(1)?,
            first_ms: row.get(2)?,
            removed_ms: row.get(3)?,
            counters: StoredCounters::default(),
        };
        let counters = Decoder::new(&blob).and_then(|mut input| {
            let counters = StoredCounters::decode(&mut input)?;
            input.end(counters)
        });
        let Some(counters) = counters.filter(|_| row.get(12) == Ok(plugin.crc(&blob))) else {
            return Ok(None);
        };
        plugin.counters = counters;
        Ok(Some(plugin))
    }

    pub(super) fn load(connection: &Connection, id: i64) -> Result<Option<Self>> {
        read_one(connection, "SELECT * FROM plugin WHERE id = ?1", [id], Self::read)
    }

    /// All plugins, by name, the oldest of a name first.
    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>> {
        read_all(connection, "SELECT * FROM plugin ORDER BY name, id", [], Self::read)
    }

    /// The plugins that had this name, oldest first.
    pub(super) fn named(connection: &Connection, name: &str) -> Result<Vec<Self>> {
        let sql = "SELECT * FROM plugin WHERE name = ?1 ORDER BY id";
        read_all(connection, sql, [name], Self::read)
    }
}

/// A run of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunRow {
    pub id: i64,
    pub plugin: i64,
    pub number: u64,
    pub host: i64,
    pub pid: u32,
    pub version: Option<String>,
    pub started_ms: Option<i64>,
    pub reported_ms: i64,
    pub ended_ms: Option<i64>,
    pub end: Option<RunEnd>,
    pub cpu_ns: Option<u64>,
    pub peak_bytes: Option<u64>,
    pub oom_killed: Option<bool>,
}

fn end_of(kind: &str, code: Option<i32>) -> Option<RunEnd> {
    Some(match (kind, code) {
        ("exited", Some(code)) => RunEnd::Exited(code),
        ("signaled", Some(signal)) => RunEnd::Signaled(signal),
        ("replaced", None) => RunEnd::Replaced,
        ("stopped", None) => RunEnd::Stopped,
        ("crashed", None) => RunEnd::Crashed,
        ("unknown", None) => RunEnd::Unknown,
        ("host_gone", None) => RunEnd::HostGone,
        _ => return None,
    })
}

const fn code_of(end: RunEnd) -> Option<i32> {
    match end {
        RunEnd::Exited(code) | RunEnd::Signaled(code) => Some(code),
        RunEnd::Replaced
        | RunEnd::Stopped
        | RunEnd::Crashed
        | RunEnd::Unknown
        | RunEnd::HostGone => None,
    }
}

impl RunRow {
    fn crc(&self) -> i64 {
        let option = |value: Option<u64>| value.map(signed);
        let crc = RowCrc::default().int(self.id).int(self.plugin).int(signed(self.number));
        let crc = crc.int(self.host).int(self.pid.into()).text(self.version.as_deref());
        let crc = crc.option(self.started_ms).int(self.reported_ms).option(self.ended_ms);
        let crc = crc.text(self.end.map(RunEnd::as_str));
        let crc = crc.option(self.end.and_then(code_of).map(i64::from));
        let crc = crc.option(option(self.cpu_ns)).option(option(self.peak_bytes));
        crc.option(self.oom_killed.map(i64::from)).finish()
    }

    pub(super) fn put(&self, connection: &Connection) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO run
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
        connection.prepare_cached(sql)?.execute(params![
            self.id,
            self.plugin,
            signed(self.number),
            self.host,
            self.pid,
            self.version,
            self.started_ms,
            self.reported_ms,
            self.ended_ms,
            self.end.map(RunEnd::as_str),
            self.end.and_then(code_of),
            self.cpu_ns.map(signed),
            self.peak_bytes.map(signed),
            self.oom_killed,
            self.crc(),
        ])?;
        Ok(())
    }

    fn read(row: &SqlRow<'_>) -> Result<Option<Self>> {
        let unsigned = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        let kind: Option<String> = row.get(9)?;
        let code: Option<i32> = row.get(10)?;
        let run = Self {
            id: row.get(0)?,
            plugin: row.get(1)?,
            number: unsigned(row.get(2)?).unwrap_or(0),
            host: row.get(3)?,
            pid: row.get(4)?,
            version: row.get(5)?,
            started_ms: row.get(6)?,
            reported_ms: row.get(7)?,
            ended_ms: row.get(8)?,
            end: kind.as_deref().and_then(|kind| end_of(kind, code)),
            cpu_ns: unsigned(row.get(11)?),
            peak_bytes: unsigned(row.get(12)?),
            oom_killed: row.get(13)?,
        };
        Ok((row.get::<_, i64>(14)? == run.crc()).then_some(run))
    }

    /// The runs of a plugin, oldest first.
    pub(super) fn of_plugin(connection: &Connection, plugin: i64) -> Result<Vec<Self>> {
        let sql = "SELECT * FROM run WHERE plugin = ?1 ORDER BY number, id";
        read_all(connection, sql, [plugin], Self::read)
    }

    /// The runs that have not ended.
    pub(super) fn active(connection: &Connection) -> Result<Vec<Self>> {
        read_all(connection, "SELECT * FROM run WHERE ended_ms IS NULL ORDER BY id", [], Self::read)
    }
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotificationRow {
    pub at_ms: i64,
    pub plugin: String,
    pub kind: String,
    pub text: String,
    pub json: String,
}

impl NotificationRow {
    fn crc(&self) -> i64 {
        let crc = RowCrc::default().int(self.at_ms).text(Some(&self.plugin));
        crc.text(Some(&self.kind)).text(Some(&self.text)).text(Some(&self.json)).finish()
    }

    pub(super) fn insert(&self, connection: &Connection) -> Result<()> {
        let sql = "INSERT INTO notification (at_ms, plugin, kind, text, json, crc)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        connection.prepare_cached(sql)?.execute(params![
            self.at_ms,
            self.plugin,
            self.kind,
            self.text,
            self.json,
            self.crc(),
        ])?;
        Ok(())
    }

    /// Those in a range of time, oldest first.
    pub(super) fn between(connection: &Connection, from_ms: i64, to_ms: i64) -> Result<Vec<Self>> {
        let sql = "SELECT at_ms, plugin, kind, text, json, crc FROM notification
                   WHERE at_ms >= ?1 AND at_ms < ?2 ORDER BY at_ms, id";
        read_all(connection, sql, [from_ms, to_ms], |row| {
            let row = (
                Self {
                    at_ms: row.get(0)?,
                    plugin: row.get(1)?,
                    kind: row.get(2)?,
                    text: row.get(3)?,
                    json: row.get(4)?,
                },
                row.get::<_, i64>(5)?,
            );
            Ok((row.1 == row.0.crc()).then_some(row.0))
        })
    }
}

/// A table of rollups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RollupTable {
    Minute,
    Hour,
}

impl RollupTable {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    pub(super) fn put(
        self,
        connection: &Connection,
        plugin: i64,
        at_ms: i64,
        rollup: &Rollup,
    ) -> Result<()> {
        let (columns, sketches) = (rollup.columns(), rollup.sketches());
        let crc = rollup_crc(plugin, at_ms, &columns, &sketches);
        let places = ["?"; Rollup::COLUMNS + 4].join(",");
        let sql = format!("INSERT OR REPLACE INTO {} VALUES ({places})", self.name());
        let mut statement = connection.prepare_cached(&sql)?;
        let key = [Some(plugin), Some(at_ms)];
        let mut at = 0;
        for value in key.iter().chain(&columns) {
            at += 1;
            statement.raw_bind_parameter(at, value)?;
        }
        statement.raw_bind_parameter(at + 1, sketches)?;
        statement.raw_bind_parameter(at + 2, crc)?;
        statement.raw_execute()?;
        Ok(())
    }

    fn read(row: &SqlRow<'_>) -> Result<Option<(i64, Rollup)>> {
        let (plugin, at_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
        let columns: Vec<Option<i64>> =
            (0..Rollup::COLUMNS).map(|i| row.get(i + 2)).collect::<Result<_>>()?;
        let sketches: Vec<u8> = row.get(Rollup::COLUMNS + 2)?;
        let crc: i64 = row.get(Rollup::COLUMNS + 3)?;
        if crc != rollup_crc(plugin, at_ms, &columns, &sketches) {
            return Ok(None);
        }
        Ok(Rollup::decode(&columns, &sketches).map(|rollup| (at_ms, rollup)))
    }

    pub(super) fn load(
        self,
        connection: &Connection,
        plugin: i64,
        at_ms: i64,
    ) -> Result<Option<Rollup>> {
        let sql = format!("SELECT * FROM {} WHERE plugin = ?1 AND at_ms = ?2", self.name());
        let row = read_one(connection, &sql, [plugin, at_ms], Self::read)?;
        Ok(row.map(|(_, rollup)| rollup))
    }

    /// Those of a plugin that begin in a range of time, oldest first.
    pub(super) fn between(
        self,
        connection: &Connection,
        plugin: i64,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<(i64, Rollup)>> {
        let sql = format!(
            "SELECT * FROM {} WHERE plugin = ?1 AND at_ms >= ?2 AND at_ms < ?3 ORDER BY at_ms",
            self.name()
        );
        read_all(connection, &sql, [plugin, from_ms, to_ms], Self::read)
    }
}

/// The samples of one plugin in an hour.
#[derive(Clone, Debug)]
pub(super) struct SampleRow {
    pub plugin: i64,
    pub from_ms: i64,
    pub to_ms: i64,
    pub samples: i64,
    pub data: Vec<u8>,
}

impl SampleRow {
    fn crc(&self) -> i64 {
        let crc = RowCrc::default().int(self.plugin).int(self.from_ms).int(self.to_ms);
        crc.int(self.samples).bytes(&self.data).finish()
    }

    pub(super) fn put(&self, connection: &Connection) -> Result<()> {
        let sql = "INSERT INTO sample (plugin, from_ms, to_ms, samples, data, crc)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT (plugin, from_ms)
                   DO UPDATE SET to_ms = ?3, samples = ?4, data = ?5, crc = ?6";
        connection.prepare_cached(sql)?.execute(params![
            self.plugin,
            self.from_ms,
            self.to_ms,
            self.samples,
            self.data,
            self.crc(),
        ])?;
        Ok(())
    }

    /// Those of a plugin that overlap a range of time, oldest first.
    pub(super) fn between(
        connection: &Connection,
        plugin: i64,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Self>> {
        let sql = "SELECT plugin, from_ms, to_ms, samples, data, crc FROM sample
                   WHERE plugin = ?1 AND from_ms >= ?2 - 3600000 AND from_ms < ?3 AND to_ms >= ?2
                   ORDER BY from_ms";
        read_all(connection, sql, [plugin, from_ms, to_ms], |row| {
            let (row, crc) = (
                Self {
                    plugin: row.get(0)?,
                    from_ms: row.get(1)?,
                    to_ms: row.get(2)?,
                    samples: row.get(3)?,
                    data: row.get(4)?,
                },
                row.get::<_, i64>(5)?,
            );
            Ok((crc == row.crc()).then_some(row))
        })
    }
}

/// The batches that are not sealed, oldest first: each with its id, `None` if it is damaged.
pub(super) fn recent_batches(connection: &Connection) -> Result<Vec<(i64, Option<Batch>)>> {
    read_all(connection, "SELECT id, data FROM recent ORDER BY id", [], |row| {
        let id: i64 = row.get(0)?;
        let data: Option<Vec<u8>> = row.get(1).ok();
        Ok(Some((id, data.as_deref().and_then(Batch::decode))))
    })
}

/// The newest time of a sample.
pub(super) fn newest_sample(connection: &Connection) -> Result<Option<i64>> {
    let sql = "SELECT max(at) FROM (SELECT max(to_ms) AS at FROM sample
               UNION ALL SELECT max(last_ms) FROM recent)";
    read_one(connection, sql, [], |row| row.get::<_, Option<i64>>(0))
}
