//! Writes to the file: the begin of a session, and the changes since the write before.

use std::collections::HashMap;

use rusqlite::{Connection, TransactionBehavior};

use super::batch::{PluginBatch, StoredCounters};
use super::config::StoreSettings;
use super::feed::{Feed, KnownPlugin, SessionStart};
use super::measures::{append_batch, newest_sample};
use super::retention::remove_old;
use super::row::TickTime;
use super::run_rows::{NotificationRow, RunRow};
use super::seal::seal_all;
use super::stored_clock::StoredClock;
use super::tables::{HostRow, PluginRow};
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

/// The id of a plugin is not used again.
fn next_plugin_id(connection: &Connection) -> Result<i64> {
    let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'plugin'";
    let newest: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(next_id(connection, "plugin")?.max(newest.min(1 << 62) + 1))
}

/// Begins a session: seals what the session before has left, and ends the runs that were active in it.
pub(super) fn begin_session(
    connection: &mut Connection,
    settings: &StoreSettings,
    of: &SessionOf,
) -> Result<SessionStart> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    seal_all(&transaction)?;
    let hosts = HostRow::all(&transaction)?;
    for mut run in RunRow::active(&transaction)? {
        let host = hosts.iter().find(|host| host.id == run.host);
        // A run may have been reported after the newest tick.
        let ended_ms = host.map_or(run.reported_ms, |host| host.end.at_ms);
        run.ended_ms = Some(ended_ms.max(run.reported_ms));
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
        // Everything before was sealed.
        rolled_up_ms: clock.last().at_ms,
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
        next_plugin: next_plugin_id(&transaction)?,
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

/// About as many bytes has the row of a run.
const RUN_BYTES: u64 = 150;

/// Writes the changes in one transaction, and seals everything at the end of the session. Returns about the
/// number of bytes by which the file grows. The changes stay in the feed if that fails.
pub(super) fn write(connection: &mut Connection, feed: &Feed, is_end: bool) -> Result<u64> {
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
    let mut bytes = changes.runs.len() as u64 * RUN_BYTES;
    for NotificationRow { plugin, text, json, .. } in &changes.notifications {
        bytes += (plugin.len() + text.len() + json.len()) as u64;
    }
    for batch in changes.batch.split_by_hour() {
        bytes += append_batch(&transaction, &batch)?;
    }
    // The newest batch has the newest tick: a row that is written each time is a page more.
    if is_end {
        seal_all(&transaction)?;
        // Without a tick since the write before, there is no batch that has them.
        if changes.batch.times.is_empty() {
            for PluginBatch { plugin, counters, .. } in &changes.batch.plugins {
                PluginRow::put_counters(&transaction, *plugin, counters)?;
            }
        }
        let rolled_up_ms = feed.host.end.at_ms + 1;
        HostRow { clean: true, rolled_up_ms, ..feed.host.clone() }.put(&transaction)?;
    } else if feed.is_host_changed {
        feed.host.put(&transaction)?;
    }
    transaction.commit()?;
    Ok(bytes)
}
