//! Removal of values that are older than their retention, and of the oldest of a file that is too large.

use rusqlite::{Connection, TransactionBehavior};

use super::config::StoreSettings;
use super::measures::RollupTable;
use super::rollup::HOUR_MS;

type Result<T> = rusqlite::Result<T>;

/// Removes what is older than it is to be kept.
pub(super) fn remove_old(
    connection: &Connection,
    settings: &StoreSettings,
    now_ms: i64,
) -> Result<()> {
    let oldest = now_ms.saturating_sub(settings.hours_ms);
    connection
        .execute("DELETE FROM sample WHERE to_ms < ?1", [now_ms.saturating_sub(settings.raw_ms)])?;
    connection.execute("DELETE FROM notification WHERE at_ms < ?1", [oldest])?;
    connection.execute("DELETE FROM run WHERE ended_ms < ?1", [oldest])?;
    connection.execute(
        "DELETE FROM host WHERE end_ms < ?1 AND id < (SELECT max(id) FROM host)",
        [oldest],
    )?;
    remove_rollups(connection, RollupTable::Minute, now_ms.saturating_sub(settings.minutes_ms))?;
    remove_rollups(connection, RollupTable::Hour, oldest)?;
    connection.execute(
        "DELETE FROM event_kind WHERE plugin IN (SELECT id FROM plugin WHERE removed_ms < ?1)",
        [oldest],
    )?;
    connection.execute("DELETE FROM plugin WHERE removed_ms < ?1", [oldest])?;
    Ok(())
}

fn remove_rollups(connection: &Connection, table: RollupTable, before_ms: i64) -> Result<()> {
    let sql = format!("DELETE FROM {} WHERE {} < ?1", table.name(), table.slot());
    connection.execute(&sql, [before_ms.div_euclid(table.slot_ms())])?;
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> Result<u64> {
    let value = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))?;
    Ok(u64::try_from(value).unwrap_or(0))
}

/// The size of the file, with its free pages.
pub(super) fn file_bytes(connection: &Connection) -> Result<u64> {
    Ok(pragma(connection, "page_count")? * pragma(connection, "page_size")?)
}

fn free_bytes(connection: &Connection) -> Result<u64> {
    Ok(pragma(connection, "freelist_count")? * pragma(connection, "page_size")?)
}

/// A tenth of the time that a table covers is removed in each step.
const STEPS: i64 = 10;

/// A table that can be shortened.
struct Shortened {
    table: &'static str,
    /// Of its times.
    column: &'static str,
    /// The unit of the column in milliseconds.
    unit_ms: i64,
    /// The time that is kept until the others were shortened too.
    kept_ms: i64,
}

const fn shortened(
    (table, column, unit_ms): (&'static str, &'static str, i64),
    kept_ms: i64,
) -> Shortened {
    Shortened { table, column, unit_ms, kept_ms }
}

const SAMPLE: (&str, &str, i64) = ("sample", "to_ms", 1);
const NOTIFICATION: (&str, &str, i64) = ("notification", "at_ms", 1);
const RUN: (&str, &str, i64) = ("run", "ended_ms", 1);
const MINUTE: (&str, &str, i64) =
    (RollupTable::Minute.name(), RollupTable::Minute.slot(), RollupTable::Minute.slot_ms());
const HOUR: (&str, &str, i64) =
    (RollupTable::Hour.name(), RollupTable::Hour.slot(), RollupTable::Hour.slot_ms());

/// The tables in the order in which they are shortened.
const SHORTENED: [Shortened; 14] = [
    shortened(SAMPLE, 2 * HOUR_MS),
    shortened(MINUTE, 24 * HOUR_MS),
    shortened(NOTIFICATION, 24 * HOUR_MS),
    shortened(RUN, 24 * HOUR_MS),
    shortened(HOUR, 7 * 24 * HOUR_MS),
    shortened(MINUTE, HOUR_MS),
    shortened(NOTIFICATION, HOUR_MS),
    shortened(RUN, HOUR_MS),
    shortened(HOUR, 24 * HOUR_MS),
    // A crash loop may have more in an hour than there is room for.
    shortened(NOTIFICATION, 0),
    shortened(RUN, 0),
    shortened(SAMPLE, 0),
    shortened(MINUTE, 0),
    shortened(HOUR, 0),
];

/// Free pages are released when they are more than a quarter of the file and this. Those of batches that
/// were sealed are used by the next batches: moving other pages into them would be written twice.
const FREE_BYTES: u64 = 4 << 20;

/// Removes the oldest values until the file has no more than these bytes.
pub(super) fn limit_size(connection: &mut Connection, max_bytes: u64) -> Result<()> {
    let (bytes, free) = (file_bytes(connection)?, free_bytes(connection)?);
    if bytes <= max_bytes {
        if free > FREE_BYTES && free > bytes / 4 {
            release_pages(connection)?;
        }
        return Ok(());
    }
    while file_bytes(connection)? - free_bytes(connection)? > max_bytes {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let removed = remove_oldest(&transaction)?;
        transaction.commit()?;
        if removed == 0 {
            log::warn!("store: the newest values alone take more than {max_bytes} bytes");
            break;
        }
    }
    release_pages(connection)
}

fn release_pages(connection: &Connection) -> Result<()> {
    // A step of the statement releases one page.
    let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Removes a tenth of the first table that can be shortened. Returns the number of rows.
fn remove_oldest(connection: &Connection) -> Result<usize> {
    for Shortened { table, column, unit_ms, kept_ms } in SHORTENED {
        let sql = format!("SELECT min({column}), max({column}) FROM {table}");
        let range = connection.query_row(&sql, [], |row| {
            Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
        })?;
        let Some((oldest, newest)) = range else { continue };
        let tenth = oldest.saturating_add(newest.saturating_sub(oldest) / STEPS);
        let until = tenth.min(newest.saturating_sub(kept_ms / unit_ms));
        let sql = format!("DELETE FROM {table} WHERE {column} <= ?1");
        let removed = connection.execute(&sql, [until])?;
        if removed > 0 {
            return Ok(removed);
        }
    }
    Ok(0)
}
