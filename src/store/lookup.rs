//! Looks up the samples and rollups of a name in a range of time: those that are sealed, and those that are not.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::batch::{BatchView, Block};
use super::measures::{RollupTable, SampleRow, each_recent, oldest_recent, oldest_sample};
use super::rollup::{HOUR_MS, MINUTE_MS, Rollup, begin_of};
use super::row::Row;
use super::tables::{HostRow, PluginRow};
use super::values::Resolution;

type Result<T> = rusqlite::Result<T>;

/// One sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawSample {
    pub at_ms: i64,
    pub covered_ms: u64,
    pub row: Row,
}

/// All plugins that had a name, and a range of time.
#[derive(Debug)]
pub(super) struct Lookup<'a> {
    connection: &'a Connection,
    ids: Vec<i64>,
    /// When the first of them was recorded first.
    first_ms: i64,
    from_ms: i64,
    to_ms: i64,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        name: &str,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Self> {
        let plugins = PluginRow::named(connection, name)?;
        let first_ms = plugins.iter().map(|plugin| plugin.first_ms).min().unwrap_or(i64::MAX);
        let ids = plugins.into_iter().map(|plugin| plugin.id).collect();
        Ok(Self { connection, ids, first_ms, from_ms, to_ms })
    }

    /// The wanted resolution, or a coarser one if only that reaches back to the begin.
    pub(super) fn finest(&self, wanted: Resolution) -> Result<Resolution> {
        let begin_ms = self.from_ms.max(self.first_ms);
        let recent = oldest_recent(self.connection)?;
        let with_recent = |oldest: Option<i64>| oldest.into_iter().chain(recent).min();
        let raw = with_recent(oldest_sample(self.connection)?);
        let minute = with_recent(RollupTable::Minute.oldest_ms(self.connection)?);
        let hour = with_recent(RollupTable::Hour.oldest_ms(self.connection)?);
        let sessions = HostRow::all(self.connection)?;
        let newest = sessions.last().map(|newest| newest.id);
        // The first tick of a session comes after its start, and its row has an older end while it records.
        let was_recorded_before = |own_ms: i64| {
            sessions.iter().any(|session| {
                let is_open = Some(session.id) == newest && !session.clean;
                session.start_ms.saturating_add(2 * session.poll_ms) < own_ms
                    && (is_open || session.end.at_ms >= begin_ms)
            })
        };
        // Older values were removed, from all plugins.
        let reaches = |own: Option<i64>, coarser: Option<i64>, length_ms: i64| match (own, coarser)
        {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(coarser)) => {
                own <= begin_ms
                    || own < coarser.saturating_add(length_ms)
                    || !was_recorded_before(own)
            }
        };
        let minute_reaches = reaches(minute, hour, HOUR_MS);
        Ok(match wanted {
            Resolution::Raw
                if reaches(raw, minute, RollupTable::Minute.slot_ms()) && minute_reaches =>
            {
                Resolution::Raw
            }
            Resolution::Raw | Resolution::Minute | Resolution::Auto if minute_reaches => {
                Resolution::Minute
            }
            Resolution::Raw | Resolution::Minute | Resolution::Auto | Resolution::Hour => {
                Resolution::Hour
            }
        })
    }

    /// The samples in the range, oldest first.
    pub(super) fn samples(&self) -> Result<Vec<RawSample>> {
        let mut samples = Vec::new();
        let (from_ms, to_ms) = (self.from_ms, self.to_ms);
        let in_range = from_ms..to_ms;
        for &id in &self.ids {
            for row in SampleRow::between(self.connection, id, from_ms, to_ms)? {
                let Some(block) = Block::decode(&row.data) else { continue };
                let mut previous = None;
                for (time, row) in block.times.iter().zip(&block.rows) {
                    let since = previous.replace(time.at_ms).map(|at_ms| time.at_ms - at_ms);
                    let covered = since.map(|since| u64::try_from(since).unwrap_or(0));
                    if in_range.contains(&time.at_ms) {
                        let covered_ms = covered.unwrap_or(block.first_covered_ms);
                        samples.push(RawSample { at_ms: time.at_ms, covered_ms, row: *row });
                    }
                }
            }
        }
        each_recent(self.connection, from_ms, to_ms, |batch| {
            self.each_of(batch, |sample| {
                if in_range.contains(&sample.at_ms) {
                    samples.push(sample);
                }
            });
        })?;
        samples.sort_by_key(|sample| sample.at_ms);
        Ok(samples)
    }

    /// Calls `each` with the samples of these plugins.
    fn each_of(&self, batch: &BatchView<'_>, mut each: impl FnMut(RawSample)) {
        let covered = batch.covered();
        for section in batch.sections.iter().filter(|section| self.ids.contains(&section.plugin)) {
            for (tick, time, row) in batch.rows(section) {
                each(RawSample { at_ms: time.at_ms, covered_ms: covered[tick], row });
            }
        }
    }

    /// The rollups that overlap the range, by their begin.
    pub(super) fn rollups(&self, table: RollupTable) -> Result<BTreeMap<i64, Rollup>> {
        let (length_ms, unsealed_ms) = match table {
            RollupTable::Minute => (MINUTE_MS, HostRow::rolled_up_ms(self.connection)?),
            RollupTable::Hour => (HOUR_MS, i64::MIN),
        };
        let first = begin_of(self.from_ms, length_ms);
        let mut all = BTreeMap::<i64, Rollup>::new();
        for &id in &self.ids {
            for (at, rollup) in table.between(self.connection, id, first, self.to_ms)? {
                all.entry(at).or_default().merge(&rollup);
            }
        }
        each_recent(self.connection, first.max(unsealed_ms), i64::MAX, |batch| {
            self.each_of(batch, |RawSample { at_ms, covered_ms, row }| {
                let at = begin_of(at_ms, length_ms);
                if at_ms >= unsealed_ms && (first..self.to_ms).contains(&at) {
                    all.entry(at).or_default().add(&row, covered_ms);
                }
            });
        })?;
        Ok(all)
    }
}
