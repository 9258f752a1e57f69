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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::run::RunEnd;
    use crate::store::row::TickTime;

    const HOUR: i64 = 3_600_000;

    /// Ticks at these times, of a host with this poll interval.
    fn waiting(poll_ms: i64, times: impl IntoIterator<Item = i64>) -> Changes {
        let times = times.into_iter().map(|at_ms| TickTime { at_ms, boot_ms: at_ms }).collect();
        Changes { batch: Batch { poll_ms, times, ..Batch::default() }, ..Changes::default() }
    }

    /// The times that wait after a write has failed.
    fn kept(mut changes: Changes) -> Vec<i64> {
        changes.on_write_failed();
        changes.batch.times.iter().map(|time| time.at_ms).collect()
    }

    fn every(interval_ms: i64, count: i64) -> impl Iterator<Item = i64> {
        (1..=count).map(move |tick| tick * interval_ms)
    }

    #[test]
    fn ticks_of_the_last_hour_are_kept() {
        let expected: Vec<_> = every(1_000, 7_200).skip(3_599).collect();
        assert_eq!(kept(waiting(1_000, every(1_000, 7_200))), expected);
        assert_eq!((expected[0], expected.last()), (HOUR, Some(&(2 * HOUR))));
        // However many they are: samples on demand come between the others.
        assert_eq!(kept(waiting(1_000, every(100, 30_000))).len(), 30_000);
    }

    /// An hour may pass without ticks, if the machine sleeps, or the clock is set forward.
    #[test]
    fn so_many_ticks_as_an_hour_has_are_kept() {
        let jump = |poll_ms, count, by| {
            let times = every(poll_ms, count).chain([poll_ms * count + by]);
            kept(waiting(poll_ms, times)).len()
        };
        assert_eq!(jump(5_000, 719, 9 * HOUR), 720);
        assert_eq!(jump(5_000, 1_000, 9 * HOUR), 720);
        // At long intervals, twelve.
        assert_eq!(jump(HOUR / 2, 40, 9 * HOUR), 12);
        assert_eq!(jump(2 * HOUR, 3, 9 * HOUR), 4);
    }

    /// Dropping a few would move all others at each failure.
    #[test]
    fn few_ticks_are_not_dropped() {
        let len = |count| kept(waiting(5_000, every(5_000, count))).len();
        assert_eq!((len(790), len(810)), (790, 721));
    }

    #[test]
    fn what_is_older_than_the_ticks_is_dropped() {
        let mut changes = waiting(5_000, every(5_000, 1_440));
        let oldest = HOUR;
        for at_ms in [oldest - 1, oldest] {
            changes.notifications.push(NotificationRow {
                at_ms,
                plugin: "dice".to_owned(),
                kind: String::new(),
                text: String::new(),
                json: String::new(),
            });
        }
        for (id, ended_ms) in [(1, Some(oldest - 1)), (2, Some(oldest)), (3, None)] {
            let run = RunRow {
                id,
                plugin: 1,
                number: 1,
                host: 1,
                pid: 1,
                version: None,
                started_ms: None,
                reported_ms: 0,
                ended_ms,
                end: ended_ms.map(|_| RunEnd::Stopped),
                cpu_ns: None,
                peak_bytes: None,
                oom_killed: None,
                is_crash: false,
            };
            changes.runs.insert(id, run);
        }
        changes.on_write_failed();
        assert_eq!(changes.batch.times[0].at_ms, oldest);
        let times: Vec<_> = changes.notifications.iter().map(|it| it.at_ms).collect();
        assert_eq!(times, [oldest]);
        assert!(changes.runs.keys().eq(&[2, 3]));
    }
}
