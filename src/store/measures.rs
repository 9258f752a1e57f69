//! The rows of what was measured: batches that are not sealed, blocks of samples, rollups. A row whose CRC is
//! another one is not used.

use rusqlite::{CachedStatement, Connection, ErrorCode, Row as SqlRow, params};

use super::batch::{Batch, BatchView};
use super::codec::RowCrc;
use super::rollup::{HOUR_MS, MINUTE_MS, Rollup, SLOT_MS, rollup_crc};
use super::tables::{read_all, read_one};

type Result<T> = rusqlite::Result<T>;

/// A table of rollups. Its rows are in the order in which they are written, because a write to a page of
/// each plugin costs more than all else: by a part of time, then by plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RollupTable {
    Minute,
    Hour,
}

/// Where a rollup is in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RollupKey {
    slot: i64,
    /// The minute of the slot.
    minute: Option<i64>,
}

impl RollupTable {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    /// The column of the part of time.
    pub(super) const fn slot(self) -> &'static str {
        match self {
            Self::Minute => "ten_minutes",
            Self::Hour => "hour",
        }
    }

    pub(super) const fn slot_ms(self) -> i64 {
        match self {
            Self::Minute => SLOT_MS,
            Self::Hour => HOUR_MS,
        }
    }

    const fn key(self, at_ms: i64) -> RollupKey {
        let slot = at_ms.div_euclid(self.slot_ms());
        let minute = match self {
            Self::Minute => Some(at_ms.rem_euclid(SLOT_MS) / MINUTE_MS),
            Self::Hour => None,
        };
        RollupKey { slot, minute }
    }

    /// The opposite of [`key`](Self::key).
    fn at_ms(self, key: RollupKey) -> Option<i64> {
        let minute = key.minute.unwrap_or(0).checked_mul(MINUTE_MS)?;
        key.slot.checked_mul(self.slot_ms())?.checked_add(minute)
    }

    fn read(self, row: &SqlRow<'_>) -> Result<Option<(i64, Rollup)>> {
        let (slot, plugin): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (minute, first) = match self {
            Self::Minute => (Some(row.get(2)?), 3),
            Self::Hour => (None, 2),
        };
        let Some(at_ms) = self.at_ms(RollupKey { slot, minute }) else { return Ok(None) };
        let mut columns = [None; Rollup::COLUMNS];
        for (index, column) in (first..).zip(&mut columns) {
            *column = row.get(index)?;
        }
        let sketches: Vec<u8> = row.get(first + Rollup::COLUMNS)?;
        let crc: i64 = row.get(first + Rollup::COLUMNS + 1)?;
        if crc != rollup_crc(plugin, at_ms, &columns, &sketches) {
            return Ok(None);
        }
        Ok(Rollup::decode(&columns, &sketches).map(|rollup| (at_ms, rollup)))
    }

    fn load(self, connection: &Connection, plugin: i64, at_ms: i64) -> Result<Option<Rollup>> {
        let RollupKey { slot, minute } = self.key(at_ms);
        let row = match minute {
            Some(minute) => {
                let sql =
                    "SELECT * FROM minute WHERE ten_minutes = ?1 AND plugin = ?2 AND minute = ?3";
                read_one(connection, sql, [slot, plugin, minute], |row| self.read(row))?
            }
            None => {
                let sql = "SELECT * FROM hour WHERE hour = ?1 AND plugin = ?2";
                read_one(connection, sql, [slot, plugin], |row| self.read(row))?
            }
        };
        Ok(row.map(|(_, rollup)| rollup))
    }

    /// Those of a plugin that begin in a range of time, in no order.
    pub(super) fn between(
        self,
        connection: &Connection,
        plugin: i64,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<(i64, Rollup)>> {
        let (table, slot) = (self.name(), self.slot());
        // From one part of time to the next: there is no index by plugin.
        let sql = format!(
            "WITH RECURSIVE part(at) AS (
                 SELECT min({slot}) FROM {table} WHERE {slot} >= ?2
                 UNION ALL
                 SELECT (SELECT min({slot}) FROM {table} WHERE {slot} > part.at)
                 FROM part WHERE part.at < ?3
             )
             SELECT rollup.* FROM part CROSS JOIN {table} AS rollup
             ON rollup.{slot} = part.at AND rollup.plugin = ?1 WHERE part.at <= ?3"
        );
        let of = |at_ms: i64| at_ms.div_euclid(self.slot_ms());
        let parameters = [plugin, of(from_ms), of(to_ms)];
        let mut rollups = read_all(connection, &sql, parameters, |row| self.read(row))?;
        rollups.retain(|(at_ms, _)| (from_ms..to_ms).contains(at_ms));
        Ok(rollups)
    }

    /// The oldest part of time.
    pub(super) fn oldest_ms(self, connection: &Connection) -> Result<Option<i64>> {
        let sql = format!("SELECT min({}) FROM {}", self.slot(), self.name());
        let slot = read_one(connection, &sql, [], |row| row.get::<_, Option<i64>>(0))?;
        Ok(slot.and_then(|slot| slot.checked_mul(self.slot_ms())))
    }
}

/// Adds rollups to a table.
pub(super) struct RollupWriter<'a> {
    connection: &'a Connection,
    table: RollupTable,
    insert: CachedStatement<'a>,
}

impl<'a> RollupWriter<'a> {
    pub(super) fn new(connection: &'a Connection, table: RollupTable) -> Result<Self> {
        let insert = connection.prepare_cached(&Self::sql(table, "INSERT"))?;
        Ok(Self { connection, table, insert })
    }

    fn sql(table: RollupTable, verb: &str) -> String {
        let keys = if table == RollupTable::Minute { 3 } else { 2 };
        let places = vec!["?"; keys + Rollup::COLUMNS + 2].join(",");
        format!("{verb} INTO {} VALUES ({places})", table.name())
    }

    /// Adds the samples of one rollup to the row, which usually is a new one.
    pub(super) fn add(&mut self, plugin: i64, at_ms: i64, rollup: &Rollup) -> Result<()> {
        let (connection, table) = (self.connection, self.table);
        match put_rollup(&mut self.insert, table, plugin, at_ms, rollup) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {}
            other => return other,
        }
        let mut all = table.load(connection, plugin, at_ms)?.unwrap_or_default();
        all.merge(rollup);
        let mut replace = connection.prepare_cached(&Self::sql(table, "REPLACE"))?;
        put_rollup(&mut replace, table, plugin, at_ms, &all)
    }
}

fn put_rollup(
    statement: &mut CachedStatement<'_>,
    table: RollupTable,
    plugin: i64,
    at_ms: i64,
    rollup: &Rollup,
) -> Result<()> {
    let (columns, sketches) = (rollup.columns(), rollup.sketches());
    let crc = rollup_crc(plugin, at_ms, &columns, &sketches);
    let RollupKey { slot, minute } = table.key(at_ms);
    let key = [Some(slot), Some(plugin)].into_iter().chain(minute.map(Some));
    let mut at = 0;
    for value in key.chain(columns) {
        at += 1;
        statement.raw_bind_parameter(at, value)?;
    }
    statement.raw_bind_parameter(at + 1, sketches)?;
    statement.raw_bind_parameter(at + 2, crc)?;
    statement.raw_execute()?;
    Ok(())
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

/// Appends a batch. Returns the number of its bytes.
pub(super) fn append_batch(connection: &Connection, batch: &Batch) -> Result<u64> {
    let (Some(first), Some(last)) = (batch.times.first(), batch.times.last()) else { return Ok(0) };
    let sql = "INSERT INTO recent (host, first_ms, last_ms, data) VALUES (?1, ?2, ?3, ?4)";
    let data = batch.encode();
    let row = params![batch.host, first.at_ms, last.at_ms, data];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(data.len() as u64)
}

/// Calls `each` with the batches that are not sealed and overlap a range of time, oldest first. Damaged ones
/// are left out.
pub(super) fn each_recent(
    connection: &Connection,
    from_ms: i64,
    to_ms: i64,
    mut each: impl FnMut(&BatchView<'_>),
) -> Result<()> {
    let sql = "SELECT data FROM recent WHERE last_ms >= ?1 AND first_ms < ?2 ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([from_ms, to_ms])?;
    while let Some(row) = rows.next()? {
        let data = row.get_ref(0)?.as_blob().unwrap_or_default();
        if let Some(batch) = BatchView::decode(data) {
            each(&batch);
        }
    }
    Ok(())
}

/// The blobs of the batches that are not sealed and have samples from a time on, oldest first, each with
/// its id.
pub(super) fn recent_blobs(connection: &Connection, from_ms: i64) -> Result<Vec<(i64, Vec<u8>)>> {
    let sql = "SELECT id, data FROM recent WHERE last_ms >= ?1 ORDER BY id";
    read_all(connection, sql, [from_ms], |row| {
        Ok(Some((row.get(0)?, row.get(1).unwrap_or_default())))
    })
}

/// The newest time of a sample that is sealed.
pub(super) fn newest_sample(connection: &Connection) -> Result<Option<i64>> {
    let sql = "SELECT max(to_ms) FROM sample";
    read_one(connection, sql, [], |row| row.get::<_, Option<i64>>(0))
}

/// The oldest time of a sample that is sealed. Blocks are written in the order of time.
pub(super) fn oldest_sample(connection: &Connection) -> Result<Option<i64>> {
    read_one(connection, "SELECT from_ms FROM sample ORDER BY id LIMIT 1", [], |row| row.get(0))
}

/// The oldest time of a sample that is not sealed.
pub(super) fn oldest_recent(connection: &Connection) -> Result<Option<i64>> {
    let sql = "SELECT min(first_ms) FROM recent";
    read_one(connection, sql, [], |row| row.get::<_, Option<i64>>(0))
}
