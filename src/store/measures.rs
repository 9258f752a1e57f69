//! The rows of what was measured: batches that are not sealed, blocks of samples, rollups. A row whose CRC is
//! another one is not used.

use rusqlite::{CachedStatement, Connection, ErrorCode, Row as SqlRow, params};

use super::batch::{Batch, BatchView};
use super::codec::RowCrc;
use super::rollup::{HOUR_MS, MINUTE_MS, Rollup, SLOT_MS};
use super::rollup_row::{COLUMNS, RollupRow};
use super::tables::{if_intact, read_all, read_one};

type Result<T> = rusqlite::Result<T>;

/// A table of rollups. Its rows are in the order in which they are written, because a write to a page of
/// each plugin costs more than all else: by a part of time, then by plugin.
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

    /// The time of each rollup.
    pub(super) const fn length_ms(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Hour => HOUR_MS,
        }
    }

    /// The number of rollups in a row.
    pub(super) const fn count(self) -> usize {
        (self.slot_ms() / self.length_ms()) as usize
    }

    /// Reads the part of time, and its rollups.
    fn read(self, row: &SqlRow<'_>) -> Result<Option<(i64, Vec<Rollup>)>> {
        let (slot, plugin): (i64, i64) = (row.get(0)?, row.get(1)?);
        let mut columns = [const { None }; COLUMNS];
        for (index, column) in (2..).zip(&mut columns) {
            *column = row.get::<_, Option<Vec<u8>>>(index)?;
        }
        let values = RollupRow { columns, details: row.get(2 + COLUMNS)? };
        let Some(values) = if_intact(values, row.get(3 + COLUMNS)?, |row| row.crc(plugin, slot))
        else {
            return Ok(None);
        };
        Ok(values.rollups(self.count()).map(|rollups| (slot, rollups)))
    }

    fn load(self, connection: &Connection, plugin: i64, slot: i64) -> Result<Option<Vec<Rollup>>> {
        let (table, column) = (self.name(), self.slot());
        let sql = format!("SELECT * FROM {table} WHERE {column} = ?1 AND plugin = ?2");
        let row = read_one(connection, &sql, [slot, plugin], |row| self.read(row))?;
        Ok(row.map(|(_, rollups)| rollups))
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
        let mut found = Vec::new();
        for (slot, rollups) in read_all(connection, &sql, parameters, |row| self.read(row))? {
            let Some(begin_ms) = slot.checked_mul(self.slot_ms()) else { continue };
            for (at, rollup) in (0..).zip(rollups) {
                let at_ms = begin_ms.saturating_add(at * self.length_ms());
                if rollup.samples > 0 && (from_ms..to_ms).contains(&at_ms) {
                    found.push((at_ms, rollup));
                }
            }
        }
        Ok(found)
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
        let places = vec!["?"; 2 + COLUMNS + 2].join(",");
        format!("{verb} INTO {} VALUES ({places})", table.name())
    }

    /// Adds the samples of rollups to the row of a part of time, which usually is a new one.
    pub(super) fn add(&mut self, plugin: i64, slot: i64, rollups: &[Rollup]) -> Result<()> {
        let (connection, table) = (self.connection, self.table);
        match put_rollups(&mut self.insert, plugin, slot, rollups) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {}
            other => return other,
        }
        let mut all = rollups.to_vec();
        let earlier = table.load(connection, plugin, slot)?.unwrap_or_default();
        all.iter_mut().zip(&earlier).for_each(|(all, earlier)| all.merge(earlier));
        let mut replace = connection.prepare_cached(&Self::sql(table, "REPLACE"))?;
        put_rollups(&mut replace, plugin, slot, &all)
    }
}

fn put_rollups(
    statement: &mut CachedStatement<'_>,
    plugin: i64,
    slot: i64,
    rollups: &[Rollup],
) -> Result<()> {
    let row = RollupRow::of(rollups);
    statement.raw_bind_parameter(1, slot)?;
    statement.raw_bind_parameter(2, plugin)?;
    for (at, column) in (3..).zip(&row.columns) {
        statement.raw_bind_parameter(at, column.as_deref())?;
    }
    statement.raw_bind_parameter(3 + COLUMNS, &row.details[..])?;
    statement.raw_bind_parameter(4 + COLUMNS, row.crc(plugin, slot))?;
    statement.raw_execute()?;
    Ok(())
}

/// Samples of one plugin in one hour.
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
        read_all(connection, sql, [plugin, from_ms, to_ms], Self::read)
    }

    /// The newest of a plugin that begins in a range of time. `None` if that one is damaged.
    pub(super) fn newest_in(
        connection: &Connection,
        plugin: i64,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Option<Self>> {
        let sql = "SELECT plugin, from_ms, to_ms, samples, data, crc FROM sample
                   WHERE plugin = ?1 AND from_ms >= ?2 AND from_ms < ?3
                   ORDER BY from_ms DESC LIMIT 1";
        read_one(connection, sql, [plugin, from_ms, to_ms], Self::read)
    }

    fn read(row: &SqlRow<'_>) -> Result<Option<Self>> {
        let sample = Self {
            plugin: row.get(0)?,
            from_ms: row.get(1)?,
            to_ms: row.get(2)?,
            samples: row.get(3)?,
            data: row.get(4)?,
        };
        Ok(if_intact(sample, row.get(5)?, Self::crc))
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
