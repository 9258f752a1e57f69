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
    // A plugin is kept as long as anything of it.
    let longest = settings.hours_ms.max(settings.minutes_ms).max(settings.raw_ms);
    let forgotten = now_ms.saturating_sub(longest);
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
        [forgotten],
    )?;
    connection.execute("DELETE FROM plugin WHERE removed_ms < ?1", [forgotten])?;
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
/// Those that were removed.
const PLUGIN: (&str, &str, i64) = ("plugin", "removed_ms", 1);
const MINUTE: (&str, &str, i64) =
    (RollupTable::Minute.name(), RollupTable::Minute.slot(), RollupTable::Minute.slot_ms());
const HOUR: (&str, &str, i64) =
    (RollupTable::Hour.name(), RollupTable::Hour.slot(), RollupTable::Hour.slot_ms());

/// The tables in the order in which they are shortened.
const SHORTENED: [Shortened; 16] = [
    shortened(SAMPLE, 2 * HOUR_MS),
    shortened(MINUTE, 24 * HOUR_MS),
    shortened(NOTIFICATION, 24 * HOUR_MS),
    shortened(RUN, 24 * HOUR_MS),
    shortened(HOUR, 7 * 24 * HOUR_MS),
    shortened(MINUTE, HOUR_MS),
    shortened(NOTIFICATION, HOUR_MS),
    shortened(RUN, HOUR_MS),
    shortened(HOUR, 24 * HOUR_MS),
    shortened(PLUGIN, 24 * HOUR_MS),
    // A crash loop may have more in an hour than there is room for.
    shortened(NOTIFICATION, 0),
    shortened(RUN, 0),
    shortened(SAMPLE, 0),
    shortened(MINUTE, 0),
    shortened(HOUR, 0),
    shortened(PLUGIN, 0),
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
            if table == PLUGIN.0 {
                let sql = "DELETE FROM event_kind WHERE plugin NOT IN (SELECT id FROM plugin)";
                connection.execute(sql, [])?;
            }
            return Ok(removed);
        }
    }
    Ok(0)
}

#[cfg(test)]
#[cfg(not(miri))] // Miri runs no C
mod tests {
    use super::*;
    use crate::store::config::StoreConfig;
    use crate::store::database::open_or_replace;
    use crate::store::rollup::SLOT_MS;

    fn database(name: &str) -> (std::path::PathBuf, Connection) {
        let name = format!("plugmeter-{name}-{}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _: std::io::Result<()> = std::fs::remove_file(&path);
        let database = open_or_replace(&path, false, std::time::SystemTime::now()).unwrap();
        (path, database.connection)
    }

    fn insert(connection: &Connection, table: &str, columns: &[(&str, i64)]) {
        let sql = format!("SELECT name, type, \"notnull\", pk FROM pragma_table_info('{table}')");
        let mut statement = connection.prepare(&sql).unwrap();
        let mut all = statement.query([]).unwrap();
        let (mut names, mut values) = (Vec::new(), Vec::new());
        while let Some(row) = all.next().unwrap() {
            let (name, kind): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
            let is_needed: bool = row.get(2).unwrap();
            let value = match columns.iter().find(|(column, _)| *column == name) {
                Some((_, value)) => value.to_string(),
                None if !is_needed => continue,
                None if kind == "BLOB" => "x''".to_owned(),
                None => "0".to_owned(),
            };
            names.push(name);
            values.push(value);
        }
        let (names, values) = (names.join(","), values.join(","));
        connection
            .execute(&format!("INSERT INTO {table} ({names}) VALUES ({values})"), [])
            .unwrap();
    }

    fn column(connection: &Connection, table: &str, column: &str) -> Vec<i64> {
        let sql = format!("SELECT {column} FROM {table} ORDER BY 1");
        let mut statement = connection.prepare(&sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Each of a time that is just kept, and of one that is not.
    #[test]
    fn values_are_kept_until_their_retention_is_over() {
        let (path, connection) = database("borders");
        let hour = std::time::Duration::from_secs(3_600);
        let config = StoreConfig::new("a.db").retention(hour).minutes(2 * hour).hours(3 * hour);
        let settings = config.validate().unwrap();
        let now = 1_000 * HOUR_MS;
        let oldest = now - 3 * HOUR_MS;
        for (plugin, before) in [(1, 0), (2, 1)] {
            let sample = now - HOUR_MS - before;
            insert(&connection, "sample", &[("plugin", plugin), ("to_ms", sample)]);
            insert(&connection, "notification", &[("at_ms", oldest - before)]);
            insert(&connection, "run", &[("id", plugin), ("ended_ms", oldest - before)]);
            insert(&connection, "plugin", &[("id", plugin), ("removed_ms", oldest - before)]);
            insert(&connection, "event_kind", &[("plugin", plugin)]);
            insert(&connection, "host", &[("id", plugin), ("end_ms", oldest - before)]);
            let slot = (now - 2 * HOUR_MS) / SLOT_MS - before;
            insert(&connection, "minute", &[("ten_minutes", slot), ("plugin", plugin)]);
            insert(&connection, "hour", &[("hour", oldest / HOUR_MS - before), ("plugin", plugin)]);
        }
        // Neither a run that goes on nor a registered plugin is old, nor is the newest session.
        insert(&connection, "run", &[("id", 3)]);
        insert(&connection, "plugin", &[("id", 3)]);
        insert(&connection, "event_kind", &[("plugin", 3)]);
        insert(&connection, "host", &[("id", 3), ("end_ms", 5)]);
        remove_old(&connection, &settings, now).unwrap();
        for (table, id, left) in [
            ("sample", "plugin", &[1][..]),
            ("notification", "at_ms", &[oldest]),
            ("run", "id", &[1, 3]),
            ("plugin", "id", &[1, 3]),
            ("event_kind", "plugin", &[1, 3]),
            ("host", "id", &[1, 3]),
            ("minute", "plugin", &[1]),
            ("hour", "plugin", &[1]),
        ] {
            assert_eq!(column(&connection, table, id), left, "{table}");
        }
        std::fs::remove_file(path).unwrap();
    }

    /// A tenth of the time of the first table that has more than is kept of it.
    #[test]
    fn oldest_tenth_is_removed_from_the_first_table() {
        let (path, connection) = database("tenths");
        // Eleven samples in twenty hours, ten minutes' rollups of two days.
        for at in 0..11 {
            insert(&connection, "sample", &[("plugin", at), ("to_ms", at * 2 * HOUR_MS)]);
        }
        for slot in 0..=48 * 6 {
            insert(&connection, "minute", &[("ten_minutes", slot)]);
        }
        assert_eq!(remove_oldest(&connection).unwrap(), 2);
        assert_eq!(column(&connection, "sample", "plugin"), (2..11).collect::<Vec<_>>());
        // The samples of two hours remain, then rollups are removed.
        let mut steps = 0;
        while column(&connection, "minute", "ten_minutes").len() == 48 * 6 + 1 {
            steps += remove_oldest(&connection).unwrap();
        }
        let newest_ms = 20 * HOUR_MS;
        let samples = column(&connection, "sample", "to_ms");
        assert_eq!(samples, [newest_ms]);
        let minutes = column(&connection, "minute", "ten_minutes");
        assert_eq!((minutes[0], steps), (29, 8 + 29));
        // A day of them is kept until the others were shortened too, then an hour.
        let mut kept = Vec::new();
        while remove_oldest(&connection).unwrap() > 0 {
            let minutes = column(&connection, "minute", "ten_minutes");
            kept.push(48 * 6 - minutes.first().copied().unwrap_or(48 * 6 + 1));
        }
        assert!(kept.contains(&(24 * 6 - 1)) && kept.contains(&5), "{kept:?}");
        assert_eq!(kept.last(), Some(&-1));
        assert!(column(&connection, "sample", "to_ms").is_empty());
        std::fs::remove_file(path).unwrap();
    }

    /// More than 4 MB and more than a quarter of the file.
    #[test]
    fn free_pages_are_released_when_they_are_many() {
        let (path, mut connection) = database("free");
        for (free_mb, kept_mb, is_released) in [(3, 1, false), (5, 3, true), (5, 20, false)] {
            let sql = "INSERT INTO recent (host, first_ms, last_ms, data)
                       VALUES (0, ?1, 0, zeroblob(?2))";
            for (at, megabytes) in [(1, free_mb), (2, kept_mb)] {
                connection.execute(sql, [at, megabytes << 20]).unwrap();
            }
            connection.execute("DELETE FROM recent WHERE first_ms = 1", []).unwrap();
            let before = file_bytes(&connection).unwrap();
            limit_size(&mut connection, 1 << 30).unwrap();
            let is_smaller = file_bytes(&connection).unwrap() < before;
            let is_full = free_bytes(&connection).unwrap() == 0;
            assert_eq!((is_smaller, is_full), (is_released, is_released), "{free_mb} MB");
            connection.execute("DELETE FROM recent", []).unwrap();
            release_pages(&connection).unwrap();
        }
        std::fs::remove_file(path).unwrap();
    }
}
