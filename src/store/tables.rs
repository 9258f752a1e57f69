//! The rows of what there is: sessions and plugins. Each has a CRC; a row whose CRC is another one is not used.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::batch::StoredCounters;
use super::codec::{Decoder, Encoder, RowCrc};
use super::row::TickTime;

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
    /// Samples before this time are in the rollups of minutes.
    pub rolled_up_ms: i64,
}

impl HostRow {
    fn crc(&self) -> i64 {
        let crc = RowCrc::default().int(self.id).text(self.boot_id.as_deref()).int(self.start_ms);
        let crc = crc.int(self.end.at_ms).int(self.end.boot_ms).int(self.clean.into());
        crc.int(self.poll_ms).int(self.step_ms).int(self.rolled_up_ms).finish()
    }

    pub(super) fn put(&self, connection: &Connection) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO host VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        connection.prepare_cached(sql)?.execute(params![
            self.id,
            self.boot_id,
            self.start_ms,
            self.end.at_ms,
            self.end.boot_ms,
            self.clean,
            self.poll_ms,
            self.step_ms,
            self.rolled_up_ms,
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
            rolled_up_ms: row.get(8)?,
        };
        Ok(if_intact(host, row.get(9)?, Self::crc))
    }

    pub(super) fn load(connection: &Connection, id: i64) -> Result<Option<Self>> {
        read_one(connection, "SELECT * FROM host WHERE id = ?1", [id], Self::read)
    }

    /// All sessions, oldest first.
    pub(super) fn all(connection: &Connection) -> Result<Vec<Self>> {
        read_all(connection, "SELECT * FROM host ORDER BY id", [], Self::read)
    }

    /// The time before which samples are in the rollups of minutes. If the row of the newest session is
    /// damaged, that is not known: none is counted twice then.
    pub(super) fn rolled_up_ms(connection: &Connection) -> Result<i64> {
        let sql = "SELECT * FROM host ORDER BY id DESC LIMIT 1";
        let newest = read_all(connection, sql, [], |row| Ok(Some(refuse(Self::read(row))?)))?;
        let newest =
            newest.first().map(|host| host.as_ref().map_or(i64::MAX, |row| row.rolled_up_ms));
        Ok(newest.unwrap_or(i64::MIN))
    }
}

/// Refuses a row of which a value has another type than it was written with: a damaged one.
fn refuse<T>(read: Result<Option<T>>) -> Result<Option<T>> {
    match read {
        Err(error) if error.sqlite_error_code().is_none() => Ok(None),
        other => other,
    }
}

/// The values of a row, unless their CRC is another one than that of the row.
pub(super) fn if_intact<T>(values: T, crc: i64, crc_of: impl FnOnce(&T) -> i64) -> Option<T> {
    let expected = crc_of(&values);
    (crc == expected).then_some(values)
}

/// Reads the rows that are not damaged.
pub(super) fn read_all<T>(
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
pub(super) fn read_one<T>(
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
    /// As of the newest rollups.
    pub counters: StoredCounters,
}

/// Numbers of the file are signed; a counter beyond that stays at the largest one.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl PluginRow {
    /// Of what does not change with the counters, which have a CRC of their own.
    fn crc(&self) -> i64 {
        let crc = RowCrc::default().int(self.id).text(Some(&self.name)).int(self.first_ms);
        crc.option(self.removed_ms).finish()
    }

    /// Adds or changes everything but the counters of a row that exists.
    pub(super) fn put(&self, connection: &Connection) -> Result<()> {
        let sql = "INSERT INTO plugin (id, name, first_seen_ms, removed_ms, events, crashes, restarts,
                       unknown_ends, cpu_ns, tree_cpu_ns, counters, crc)
                   VALUES (?1, ?2, ?3, ?4, 0, 0, 0, 0, 0, 0, x'', ?5)
                   ON CONFLICT DO UPDATE SET name = ?2, first_seen_ms = ?3, removed_ms = ?4, crc = ?5";
        connection.prepare_cached(sql)?.execute(params![
            self.id,
            self.name,
            self.first_ms,
            self.removed_ms,
            self.crc(),
        ])?;
        Ok(())
    }

    /// Changes the counters of a plugin that exists.
    pub(super) fn put_counters(
        connection: &Connection,
        id: i64,
        counters: &StoredCounters,
    ) -> Result<()> {
        let mut out = Encoder::default();
        counters.encode(&mut out);
        let sql = "UPDATE plugin SET events = ?2, crashes = ?3, restarts = ?4, unknown_ends = ?5,
                       last_crash_ms = ?6, cpu_ns = ?7, tree_cpu_ns = ?8, counters = ?9
                   WHERE id = ?1";
        connection.prepare_cached(sql)?.execute(params![
            id,
            signed(counters.events),
            signed(counters.crashes),
            signed(counters.restarts),
            signed(counters.unknown_ends),
            counters.last_crash_ms,
            signed(counters.cpu_ns),
            signed(counters.tree_cpu_ns),
            out.finish(),
        ])?;
        if !counters.kinds.is_empty() {
            let sql = "INSERT OR REPLACE INTO event_kind VALUES (?1, ?2, ?3)";
            let mut statement = connection.prepare_cached(sql)?;
            for (name, count) in &counters.kinds {
                statement.execute(params![id, name, signed(*count)])?;
            }
        }
        Ok(())
    }

    fn read(row: &SqlRow<'_>) -> Result<Option<Self>> {
        let blob = row.get::<_, Vec<u8>>(11)?;
        let plugin = Self {
            id: row.get(0)?,
            name: row.get(1)?,
            first_ms: row.get(2)?,
            removed_ms: row.get(3)?,
            counters: StoredCounters::default(),
        };
        let Some(mut plugin) = if_intact(plugin, row.get(12)?, Self::crc) else { return Ok(None) };
        // None were written yet.
        if !blob.is_empty() {
            let counters = Decoder::new(&blob).and_then(|mut input| {
                let counters = StoredCounters::decode(&mut input)?;
                input.end(counters)
            });
            let Some(counters) = counters else { return Ok(None) };
            plugin.counters = counters;
        }
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
