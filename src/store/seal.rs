//! Moves batches to the other tables. When ten minutes are over, their samples are added to the rollups of
//! minutes; when an hour is over, they become blocks and the rollup of the hour, and the batches are deleted.
//! Thus each row is written once, beside those of the other plugins.

use std::collections::BTreeMap;

use rusqlite::{Connection, TransactionBehavior};

use super::batch::{BatchView, Block, Section};
use super::config::StoreSettings;
use super::measures::{RollupTable, RollupWriter, SampleRow, newest_sample, recent_blobs};
use super::retention::{file_bytes, limit_size, remove_old};
use super::rollup::{HOUR_MS, MINUTE_MS, Rollup, SLOT_MS, begin_of};
use super::row::TickTime;
use super::tables::{HostRow, PluginRow};

type Result<T> = rusqlite::Result<T>;

/// The largest number of batches that a reader has to look through.
const MAX_BATCHES: u32 = 150;

/// The samples of a block, which are in memory while it is written or read. An hour has more only if the poll
/// interval is shorter than a second.
const MAX_BLOCK_SAMPLES: usize = 4_096;

/// The work after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Ten minutes are over.
    RollUp,
    /// An hour is over.
    Seal,
    /// There are many batches, or large ones.
    SealAll,
}

/// Counts the batches that are not sealed.
#[derive(Debug, Default)]
pub(super) struct SealSchedule {
    /// In which the newest batch was written; `None` before the first.
    hour_ms: Option<i64>,
    batches: u32,
    bytes: u64,
}

impl SealSchedule {
    /// The work that is due after a batch of so many bytes was written.
    pub(super) fn on_written(&mut self, host: &HostRow, bytes: u64, max_bytes: u64) -> Due {
        self.batches += 1;
        self.bytes += bytes;
        self.due(host, max_bytes)
    }

    fn due(&self, host: &HostRow, max_bytes: u64) -> Due {
        let now_ms = host.end.at_ms;
        if self.batches >= MAX_BATCHES || self.bytes > max_bytes / 8 {
            Due::SealAll
        } else if self.hour_ms.is_none_or(|hour_ms| hour_ms < begin_of(now_ms, HOUR_MS)) {
            Due::Seal
        } else if host.rolled_up_ms < begin_of(now_ms, SLOT_MS) {
            Due::RollUp
        } else {
            Due::Nothing
        }
    }

    /// It was done.
    pub(super) fn on_done(&mut self, due: Due, host: &HostRow) {
        if matches!(due, Due::Seal | Due::SealAll) {
            let hour_ms = Some(begin_of(host.end.at_ms, HOUR_MS));
            *self = Self { hour_ms, ..Self::default() };
        }
    }
}

/// Does what is due, in one transaction, and then holds the file to its size. Changes the row of the session.
pub(super) fn seal(
    connection: &mut Connection,
    settings: &StoreSettings,
    host: &mut HostRow,
    due: Due,
) -> Result<()> {
    let now_ms = host.end.at_ms;
    let (rolled_up_ms, sealed_ms) = match due {
        // The rows of runs, notifications and plugins are in the file already.
        Due::Nothing if file_bytes(connection)? > settings.max_bytes => {
            return limit_size(connection, settings.max_bytes);
        }
        Due::Nothing => return Ok(()),
        Due::RollUp => (begin_of(now_ms, SLOT_MS), None),
        Due::Seal => (begin_of(now_ms, SLOT_MS), Some(begin_of(now_ms, HOUR_MS))),
        Due::SealAll => (now_ms + 1, Some(i64::MAX)),
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // After a session has begun, it may be in the middle of the ten minutes.
    let rolled_up_ms = rolled_up_ms.max(host.rolled_up_ms);
    roll_up(&transaction, host.rolled_up_ms, rolled_up_ms)?;
    let changed = HostRow { rolled_up_ms, ..host.clone() };
    changed.put(&transaction)?;
    if let Some(sealed_ms) = sealed_ms {
        seal_before(&transaction, sealed_ms)?;
        remove_old(&transaction, settings, now_ms)?;
    }
    transaction.commit()?;
    // Also if the file cannot be shortened now.
    *host = changed;
    limit_size(connection, settings.max_bytes)
}

/// Seals all batches.
pub(super) fn seal_all(connection: &Connection) -> Result<()> {
    roll_up(connection, HostRow::rolled_up_ms(connection)?, i64::MAX)?;
    seal_before(connection, i64::MAX)
}

/// A batch, with the time that each of its ticks covers.
struct Covered<'a> {
    batch: BatchView<'a>,
    covered: Vec<u64>,
}

fn decode(blobs: &[(i64, Vec<u8>)]) -> Vec<Covered<'_>> {
    let mut batches = Vec::with_capacity(blobs.len());
    for (id, data) in blobs {
        match BatchView::decode(data) {
            Some(batch) => batches.push(Covered { covered: batch.covered(), batch }),
            None => log::error!("store: batch {id} is damaged: its samples are lost"),
        }
    }
    batches
}

/// The sections of each plugin, oldest first, each with its batch.
fn by_plugin<'b, 'a>(batches: &'b [Covered<'a>]) -> Vec<(&'b Covered<'a>, Section<'a>)> {
    let count = batches.iter().map(|batch| batch.batch.sections.len()).sum();
    let mut sections = Vec::with_capacity(count);
    for batch in batches {
        sections.extend(batch.batch.sections.iter().map(|section| (batch, *section)));
    }
    sections.sort_by_key(|(_, section)| section.plugin);
    sections
}

/// Adds the samples in a range of time to the rollups of minutes, and updates the counters of plugins.
fn roll_up(connection: &Connection, from_ms: i64, until_ms: i64) -> Result<()> {
    let blobs = recent_blobs(connection, from_ms)?;
    let batches = decode(&blobs);
    let mut writer = RollupWriter::new(connection, RollupTable::Minute)?;
    let mut minutes = vec![Rollup::default(); RollupTable::Minute.count()];
    for sections in by_plugin(&batches).chunk_by(|(_, a), (_, b)| a.plugin == b.plugin) {
        let Some((_, newest)) = sections.last() else { continue };
        let mut slot = None;
        for (Covered { batch, covered }, section) in sections {
            for (tick, time, row) in batch.rows(section) {
                if !(from_ms..until_ms).contains(&time.at_ms) {
                    continue;
                }
                let of = time.at_ms.div_euclid(SLOT_MS);
                if let Some(slot) = slot.replace(of).filter(|&slot| slot != of) {
                    writer.add(section.plugin, slot, &minutes)?;
                    minutes.iter_mut().for_each(Rollup::clear);
                }
                let minute = (time.at_ms.rem_euclid(SLOT_MS) / MINUTE_MS) as usize;
                minutes[minute].add(&row, covered[tick]);
            }
        }
        if let Some(slot) = slot {
            writer.add(newest.plugin, slot, &minutes)?;
            minutes.iter_mut().for_each(Rollup::clear);
        }
        if let Some(counters) = newest.counters() {
            PluginRow::put_counters(connection, newest.plugin, &counters)?;
        }
    }
    Ok(())
}

/// Seals the batches before a time. Each batch is of one hour.
fn seal_before(connection: &Connection, until_ms: i64) -> Result<()> {
    let mut blobs = recent_blobs(connection, i64::MIN)?;
    let last_ms = |data: &[u8]| BatchView::decode(data)?.times.last().map(|last| last.at_ms);
    let count = blobs.iter().take_while(|(_, data)| last_ms(data).is_none_or(|at| at < until_ms));
    let count = count.count();
    blobs.truncate(count);
    let Some(&(last, _)) = blobs.last() else { return Ok(()) };
    let batches = decode(&blobs);
    update_sessions(connection, &batches)?;
    let hour_of =
        |batch: &Covered<'_>| batch.batch.times.first().map(|first| begin_of(first.at_ms, HOUR_MS));
    let mut writer = RollupWriter::new(connection, RollupTable::Hour)?;
    // Looking for the earlier block of each plugin takes longer than adding the new one.
    let newest_ms = newest_sample(connection)?;
    for hour in batches.chunk_by(|a, b| hour_of(a) == hour_of(b)) {
        let Some(hour_ms) = hour.first().and_then(hour_of) else { continue };
        for sections in by_plugin(hour).chunk_by(|(_, a), (_, b)| a.plugin == b.plugin) {
            let is_continued = newest_ms >= Some(hour_ms);
            seal_plugin(connection, &mut writer, sections, hour_ms, is_continued)?;
        }
    }
    connection.execute("DELETE FROM recent WHERE id <= ?1", [last])?;
    Ok(())
}

/// The rows of sessions are not written with each batch.
fn update_sessions(connection: &Connection, batches: &[Covered<'_>]) -> Result<()> {
    for of_session in batches.chunk_by(|a, b| a.batch.host == b.batch.host) {
        let Some(Covered { batch, .. }) = of_session.last() else { continue };
        let Some(&end) = batch.times.last() else { continue };
        if let Some(mut host) = HostRow::load(connection, batch.host)?
            && host.end.at_ms < end.at_ms
        {
            host.end = end;
            host.put(connection)?;
        }
    }
    Ok(())
}

/// Writes the samples of a plugin in one hour: blocks for each session, and the rollup. `is_continued`: the
/// file may have a block of the hour.
fn seal_plugin(
    connection: &Connection,
    writer: &mut RollupWriter<'_>,
    sections: &[(&Covered<'_>, Section<'_>)],
    hour_ms: i64,
    is_continued: bool,
) -> Result<()> {
    let Some(&(_, Section { plugin, .. })) = sections.first() else { return Ok(()) };
    let mut rollup = Rollup::default();
    let mut blocks = BTreeMap::<i64, Block>::new();
    for (Covered { batch, covered }, section) in sections {
        let block = blocks.entry(batch.host).or_default();
        (block.host, block.poll_ms) = (batch.host, batch.poll_ms);
        for (tick, time, row) in batch.rows(section) {
            rollup.add(&row, covered[tick]);
            if block.times.len() == MAX_BLOCK_SAMPLES || !continues(block, time, covered[tick]) {
                put_block(connection, plugin, block)?;
                block.times.clear();
                block.rows.clear();
            }
            if block.times.is_empty() {
                block.first_covered_ms = covered[tick];
            }
            block.times.push(time);
            block.rows.push(row);
        }
    }
    if rollup.samples > 0 {
        writer.add(plugin, hour_ms.div_euclid(HOUR_MS), &[rollup])?;
    }
    for block in blocks.into_values() {
        let block =
            if is_continued { with_earlier(connection, plugin, hour_ms, block)? } else { block };
        put_block(connection, plugin, &block)?;
    }
    Ok(())
}

/// Whether a tick that covers so much time is the next one of a block.
fn continues(block: &Block, time: TickTime, covered_ms: u64) -> bool {
    let since = |last: &TickTime| u64::try_from(time.at_ms - last.at_ms);
    block.times.last().is_none_or(|last| since(last) == Ok(covered_ms))
}

/// Appends to the newest block of the hour, if there is one of the same session that has room.
fn with_earlier(connection: &Connection, plugin: i64, hour: i64, block: Block) -> Result<Block> {
    let earlier = SampleRow::newest_in(connection, plugin, hour, hour + HOUR_MS)?;
    let has_room = |row: &SampleRow| {
        usize::try_from(row.samples)
            .is_ok_and(|count| count + block.times.len() <= MAX_BLOCK_SAMPLES)
    };
    let is_continued = |earlier: &Block| {
        block.times.first().is_some_and(|first| continues(earlier, *first, block.first_covered_ms))
    };
    let earlier = earlier
        .filter(has_room)
        .and_then(|row| Block::decode(&row.data))
        .filter(|earlier| earlier.host == block.host && is_continued(earlier));
    Ok(match earlier {
        Some(mut all) => {
            all.times.extend(&block.times);
            all.rows.extend(&block.rows);
            all
        }
        None => block,
    })
}

fn put_block(connection: &Connection, plugin: i64, block: &Block) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seals_are_due_when_time_is_over_or_batches_are_many() {
        const MAX_BYTES: u64 = 1 << 20;
        let minutes = |at: i64| at * MINUTE_MS;
        let host = |at_ms, rolled_up_ms| HostRow {
            id: 1,
            boot_id: None,
            start_ms: 0,
            end: TickTime { at_ms, boot_ms: 0 },
            clean: false,
            poll_ms: 5_000,
            step_ms: 0,
            rolled_up_ms,
        };
        let mut schedule = SealSchedule::default();
        let mut due = |at: i64, rolled_up: i64, bytes: u64| {
            let host = host(minutes(at), minutes(rolled_up));
            let due = schedule.on_written(&host, bytes, MAX_BYTES);
            schedule.on_done(due, &host);
            due
        };
        // The first write may follow hours that were not sealed.
        assert_eq!(due(65, 65, 1), Due::Seal);
        assert_eq!(due(69, 65, 1), Due::Nothing);
        assert_eq!(due(70, 65, 1), Due::RollUp);
        assert_eq!(due(71, 70, 1), Due::Nothing);
        assert_eq!(due(120, 70, 1), Due::Seal);
        assert_eq!(due(121, 120, MAX_BYTES / 8), Due::Nothing);
        assert_eq!(due(121, 120, 1), Due::SealAll);
        for _ in 1..MAX_BATCHES {
            assert_eq!(due(121, 121, 1), Due::Nothing);
        }
        assert_eq!(due(121, 121, 1), Due::SealAll);
    }
}
