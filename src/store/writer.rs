//! Writes to the file: the begin of a session, the changes of a minute, the seal of ten, and what is
//! removed because it is too old.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, TransactionBehavior};

use super::batch::{Block, StoredCounters};
use super::config::StoreSettings;
use super::feed::{Feed, KnownPlugin, SessionStart};
use super::rollup::{HOUR_MS, MINUTE_MS, Rollup};
use super::row::{Row, TickTime};
use super::stored_clock::StoredClock;
use super::tables::{
    HostRow, PluginRow, RollupTable, RunRow, SampleRow, newest_sample, recent_batches,
};
use crate::snapshot::inner::Resumed;
use crate::snapshot::run::RunEnd;

type Result<T> = rusqlite::Result<T>;

/// The collector that is to be recorded, and its machine.
#[derive(Clone, Debug)]
pub(super) struct SessionOf {
    pub boot_id: Option<String>,
    /// The wall clock and the boot clock at the start of the collector.
    pub start: TickTime,
    pub now: TickTime,
    pub poll_ms: i64,
    pub resumed: Option<Resumed>,
    /// The newest tick.
    pub tick: u64,
}

/// Whether the machine was not started since that session.
pub(super) fn is_same_boot(host: &HostRow, boot_id: Option<&str>) -> bool {
    host.boot_id.is_some() && host.boot_id.as_deref() == boot_id
}

fn next_id(connection: &Connection, table: &str) -> Result<i64> {
    // A damaged id may be the largest integer.
    let sql = format!("SELECT min(coalesce(max(id), 0), 1 << 62) + 1 FROM {table}");
    connection.query_row(&sql, [], |row| row.get(0))
}

/// Begins a session: seals what the session before has left, and ends the runs that were active in it.
pub(super) fn begin_session(
    connection: &mut Connection,
    settings: &StoreSettings,
    of: &SessionOf,
) -> Result<SessionStart> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    seal_recent(&transaction)?;
    let hosts = HostRow::all(&transaction)?;
    for mut run in RunRow::active(&transaction)? {
        let host = hosts.iter().find(|host| host.id == run.host);
        run.ended_ms = Some(host.map_or(run.reported_ms, |host| host.end.at_ms));
        run.end = Some(RunEnd::HostGone);
        run.put(&transaction)?;
    }
    let last = hosts.last();
    let newest = newest_sample(&transaction)?;
    let mut same_boot = last.is_some_and(|host| is_same_boot(host, of.boot_id.as_deref()));
    let mut end = last.map(|host| host.end);
    if newest > end.map(|end| end.at_ms) {
        // The row of the newest session is damaged.
        same_boot = false;
        end = newest.map(|at_ms| TickTime { at_ms, boot_ms: 0 });
    }
    // Another host has recorded since the collector was started: its history is not taken.
    let overlaps = same_boot && end.is_some_and(|end| end.boot_ms >= of.start.boot_ms);
    let TickTime { at_ms, boot_ms } = if overlaps { of.now } else { of.start };
    let clock = StoredClock::begin(at_ms, boot_ms, end, same_boot);
    let host = HostRow {
        id: next_id(&transaction, "host")?,
        boot_id: of.boot_id.clone(),
        start_ms: clock.last().at_ms,
        end: clock.last(),
        clean: false,
        poll_ms: of.poll_ms,
        step_ms: clock.step_ms(),
    };
    host.put(&transaction)?;
    let mut known = HashMap::new();
    for plugin in PluginRow::all(&transaction)? {
        if plugin.removed_ms.is_none() {
            let sql = "SELECT coalesce(max(number), 0) FROM run WHERE plugin = ?1";
            let last_run: i64 =
                transaction.prepare_cached(sql)?.query_row([plugin.id], |row| row.get(0))?;
            let last_run = u64::try_from(last_run).unwrap_or(0);
            let PluginRow { id, counters, .. } = plugin;
            known.insert(plugin.name, KnownPlugin { id, counters, last_run });
        }
    }
    let start = SessionStart {
        host,
        clock,
        known,
        next_plugin: next_id(&transaction, "plugin")?,
        next_run: next_id(&transaction, "run")?,
        resumed: of.resumed,
        last_tick: match of.resumed {
            _ if overlaps => of.tick,
            Some(resumed) => resumed.ticks,
            None => 0,
        },
    };
    remove_old(&transaction, settings, start.clock.last().at_ms)?;
    transaction.commit()?;
    Ok(start)
}

/// Writes the changes in one transaction. They stay in the feed if that fails.
pub(super) fn write(connection: &mut Connection, feed: &Feed, is_end: bool) -> Result<()> {
    let changes = &feed.changes;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for plugin in &changes.new_plugins {
        let row = PluginRow {
            id: plugin.id,
            name: plugin.name.to_string(),
            first_ms: plugin.first_ms,
            removed_ms: None,
            counters: StoredCounters::default(),
        };
        row.put(&transaction)?;
    }
    for &(id, at_ms) in &changes.removed {
        if let Some(mut row) = PluginRow::load(&transaction, id)? {
            row.removed_ms = Some(at_ms);
            row.put(&transaction)?;
        }
    }
    for run in changes.runs.values() {
        run.put(&transaction)?;
    }
    for notification in &changes.notifications {
        notification.insert(&transaction)?;
    }
    let batch = &changes.batch;
    if let (Some(first), Some(last)) = (batch.times.first(), batch.times.last()) {
        let sql = "INSERT INTO recent (host, first_ms, last_ms, data) VALUES (?1, ?2, ?3, ?4)";
        let mut statement = transaction.prepare_cached(sql)?;
        statement.execute(rusqlite::params![
            batch.host,
            first.at_ms,
            last.at_ms,
            batch.encode()
        ])?;
    }
    let host = HostRow { clean: is_end, ..feed.host.clone() };
    host.put(&transaction)?;
    if is_end {
        seal_recent(&transaction)?;
    }
    transaction.commit()
}

/// Moves what was written since the last seal to the tables by plugin, and removes what is too old or
/// too much.
pub(super) fn seal(
    connection: &mut Connection,
    settings: &StoreSettings,
    now_ms: i64,
) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    seal_recent(&transaction)?;
    remove_old(&transaction, settings, now_ms)?;
    transaction.commit()?;
    limit_size(connection, settings.max_bytes)
}

/// The samples of one plugin that are sealed.
#[derive(Debug, Default)]
struct PluginSeal {
    minutes: BTreeMap<i64, Rollup>,
    hours: BTreeMap<i64, Rollup>,
    /// By hour and session.
    blocks: BTreeMap<(i64, i64), Block>,
    counters: StoredCounters,
}

impl PluginSeal {
    fn add(&mut self, host: i64, poll_ms: i64, time: TickTime, row: &Row, covered_ms: u64) {
        let (minute, hour) = (begin_of(time.at_ms, MINUTE_MS), begin_of(time.at_ms, HOUR_MS));
        self.minutes.entry(minute).or_default().add(row, covered_ms);
        self.hours.entry(hour).or_default().add(row, covered_ms);
        let block = self.blocks.entry((hour, host)).or_default();
        (block.host, block.poll_ms) = (host, poll_ms);
        block.times.push(time);
        block.rows.push(*row);
    }
}

/// The begin of the minute or hour.
pub(super) const fn begin_of(at_ms: i64, length_ms: i64) -> i64 {
    at_ms - at_ms.rem_euclid(length_ms)
}

/// The time that each tick of a batch covers: since the tick before it.
pub(super) fn covered(batch: &super::batch::Batch) -> Vec<u64> {
    let mut previous = batch.previous_ms;
    let cover = |time: &TickTime| {
        let since = previous.map_or(batch.poll_ms, |previous| time.at_ms - previous);
        previous = Some(time.at_ms);
        u64::try_from(since).unwrap_or(0)
    };
    batch.times.iter().map(cover).collect()
}

fn seal_recent(connection: &Connection) -> Result<()> {
    let batches = recent_batches(connection)?;
    let Some(&(last, _)) = batches.last() else { return Ok(()) };
    let mut seals = BTreeMap::<i64, PluginSeal>::new();
    for (id, batch) in &batches {
        let Some(batch) = batch else {
            log::error!("store: batch {id} is damaged: its samples are lost");
            continue;
        };
        let covered = covered(batch);
        for plugin in &batch.plugins {
            let seal = seals.entry(plugin.plugin).or_default();
            let covered = covered.iter().skip(plugin.first);
            for ((time, row), &covered) in plugin.timed(batch).zip(covered) {
                seal.add(batch.host, batch.poll_ms, time, row, covered);
            }
            seal.counters = plugin.counters.clone();
        }
    }
    for (plugin, seal) in seals {
        put_seal(connection, plugin, seal)?;
    }
    connection.execute("DELETE FROM recent WHERE id <= ?1", [last])?;
    Ok(())
}

fn put_seal(connection: &Connection, plugin: i64, seal: PluginSeal) -> Result<()> {
    for (table, rollups) in [(RollupTable::Minute, seal.minutes), (RollupTable::Hour, seal.hours)] {
        for (at_ms, mut rollup) in rollups {
            // The first seal of a minute usually is the only one.
            if let Some(earlier) = table.load(connection, plugin, at_ms)? {
                let mut all = earlier;
                all.merge(&rollup);
                rollup = all;
            }
            table.put(connection, plugin, at_ms, &rollup)?;
        }
    }
    for ((hour, host), block) in seal.blocks {
        put_block(connection, plugin, hour, host, block)?;
    }
    if let Some(mut row) = PluginRow::load(connection, plugin)? {
        row.counters = seal.counters;
        row.put(connection)?;
    }
    Ok(())
}

/// Appends to the block of the hour, if there is one of the same session.
fn put_block(
    connection: &Connection,
    plugin: i64,
    hour: i64,
    host: i64,
    block: Block,
) -> Result<()> {
    let earlier = SampleRow::between(connection, plugin, hour, hour + HOUR_MS)?;
    let earlier = earlier.into_iter().rfind(|row| row.from_ms >= hour);
    let is_before = |earlier: &Block| {
        let times = (earlier.times.last(), block.times.first());
        matches!(times, (Some(last), Some(first)) if last.at_ms < first.at_ms)
    };
    let earlier = earlier
        .and_then(|row| Block::decode(&row.data))
        .filter(|earlier| earlier.host == host && is_before(earlier));
    let block = match earlier {
        Some(mut all) => {
            all.times.extend(&block.times);
            all.rows.extend(&block.rows);
            all
        }
        None => block,
    };
    let (Some(first), Some(last)) = (block.times.first(), block.times.last()) else {
        return Ok(());
    };
    let row = SampleRow {
        plugin,
        from_ms: first.at_ms,
        to_ms: last.at_ms,
        samples: i64::try_from(block.times.len()).unwrap_or(i64::MAX),
        data: block.encode(),
    };
    row.put(connection)
}

/// Removes what is older than it is to be kept.
fn remove_old(connection: &Connection, settings: &StoreSettings, now_ms: i64) -> Result<()> {
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

/// The rollups are by plugin: no other order needs an index.
fn remove_rollups(connection: &Connection, table: RollupTable, before_ms: i64) -> Result<()> {
    let mut plugins = connection.prepare_cached("SELECT id FROM plugin")?;
    let plugins: Vec<i64> = plugins.query_map([], |row| row.get(0))?.collect::<Result<_>>()?;
    let sql = format!("DELETE FROM {} WHERE plugin = ?1 AND at_ms < ?2", table.name());
    let mut statement = connection.prepare_cached(&sql)?;
    for plugin in plugins {
        statement.execute([plugin, before_ms])?;
    }
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> Result<u64> {
    let value = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))?;
    Ok(u64::try_from(value).unwrap_or(0))
}

/// Bytes in use.
pub(super) fn used_bytes(connection: &Connection) -> Result<u64> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    Ok(pages * pragma(connection, "page_size")?)
}

/// A tenth of the time that a table covers is removed in each step.
const STEPS: i64 = 10;

/// The tables in the order in which they are shortened, each with the column of its times, and with the
/// time that is kept of it until the others were shortened too.
const SHORTENED: [(&str, &str, i64); 10] = [
    ("sample", "to_ms", 2 * HOUR_MS),
    ("minute", "at_ms", 24 * HOUR_MS),
    ("notification", "at_ms", 24 * HOUR_MS),
    ("run", "ended_ms", 24 * HOUR_MS),
    ("hour", "at_ms", 7 * 24 * HOUR_MS),
    ("minute", "at_ms", HOUR_MS),
    ("notification", "at_ms", HOUR_MS),
    ("run", "ended_ms", HOUR_MS),
    ("hour", "at_ms", 24 * HOUR_MS),
    ("sample", "to_ms", 0),
];

/// Removes the oldest values until the file has no more than these bytes, and releases free pages.
fn limit_size(connection: &mut Connection, max_bytes: u64) -> Result<()> {
    while used_bytes(connection)? > max_bytes {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let removed = remove_oldest(&transaction)?;
        transaction.commit()?;
        if removed == 0 {
            log::warn!("store: the newest values alone take more than {max_bytes} bytes");
            break;
        }
    }
    // A step of the statement releases one page.
    let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Removes a tenth of the first table that can be shortened. Returns the number of rows.
fn remove_oldest(connection: &Connection) -> Result<usize> {
    for (table, column, kept_ms) in SHORTENED {
        let sql = format!("SELECT min({column}), max({column}) FROM {table}");
        let range = connection.query_row(&sql, [], |row| {
            Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
        })?;
        let Some((oldest, newest)) = range else { continue };
        let until = (oldest + (newest - oldest) / STEPS).min(newest - kept_ms);
        let sql = format!("DELETE FROM {table} WHERE {column} <= ?1");
        let removed = connection.execute(&sql, [until])?;
        if removed > 0 {
            return Ok(removed);
        }
    }
    Ok(0)
}
