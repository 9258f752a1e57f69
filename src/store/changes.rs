//! The values that wait for a write, and how many of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::batch::Batch;
use super::rollup::HOUR_MS;
use super::run_rows::{NotificationRow, RunRow};

/// What could not be written is dropped when it is older than this.
const MAX_WAITING_MS: i64 = HOUR_MS;

/// Ticks of an hour, or fewer than these, wait for their first write as well if they are older: after a
/// suspension, or if the clock was set forward.
const MIN_WAITING_TICKS: usize = 12;

/// Rows that may wait for their first write beyond the ticks of an hour: 64 MiB. A recorder that begins late
/// takes the whole history.
const MAX_WAITING_ROWS: usize = 1_000_000;

/// A plugin that is to be added.
#[derive(Clone, Debug)]
pub(super) struct NewPlugin {
    pub id: i64,
    pub name: Arc<str>,
    pub first_ms: i64,
}

/// The values that wait for a write.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub batch: Batch,
    pub new_plugins: Vec<NewPlugin>,
    /// Ids, each with the time of the removal.
    pub removed: Vec<(i64, i64)>,
    pub runs: BTreeMap<i64, RunRow>,
    pub notifications: Vec<NotificationRow>,
}

impl Changes {
    /// A look has added rows: of more than fit into memory, the oldest are dropped.
    pub(super) fn limit_rows(&mut self) {
        let Batch { times, plugins, .. } = &self.batch;
        let rows: usize = plugins.iter().map(|plugin| plugin.rows.len()).sum();
        if rows > MAX_WAITING_ROWS {
            self.drop_ticks(times.len().saturating_sub(MAX_WAITING_ROWS / plugins.len()));
        }
    }

    /// They could not be written: they wait for the next write, but not for longer than an hour.
    pub(super) fn on_write_failed(&mut self) {
        let Some(newest) = self.batch.times.last() else { return };
        let oldest = newest.at_ms.saturating_sub(MAX_WAITING_MS);
        self.drop_ticks(self.batch.times.partition_point(|time| time.at_ms < oldest));
    }

    /// Drops so many of the oldest ticks, but none of the newest that an hour has, with the runs and
    /// notifications that are older than the others.
    fn drop_ticks(&mut self, count: usize) {
        let Self { batch, runs, notifications, .. } = self;
        let of_an_hour =
            usize::try_from(MAX_WAITING_MS / batch.poll_ms.max(1)).unwrap_or(usize::MAX);
        let too_many = batch.times.len().saturating_sub(of_an_hour.max(MIN_WAITING_TICKS));
        let count = count.min(too_many);
        // A few at a time, because that moves all others.
        if count == 0 || count < batch.times.len() / 10 {
            return;
        }
        if let Some(oldest) = batch.times.get(count).map(|time| time.at_ms) {
            notifications.retain(|notification| notification.at_ms >= oldest);
            runs.retain(|_, run| run.ended_ms.is_none_or(|ended| ended >= oldest));
        }
        batch.drop_ticks(count);
        log::warn!("store: {count} ticks are dropped: too many wait for a write");
    }
}
