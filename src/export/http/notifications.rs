//! The notifications of the last hour, for clients that were not there when they were sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::watch;

use super::error::HttpError;
use crate::sync::worker::Worker;
use crate::{Notification, NotificationKind, Reader, Subscription};

/// Notifications that are kept.
const MAX_KEPT: usize = 1_000;
/// How long they are kept.
pub(super) const MAX_AGE: Duration = Duration::from_secs(3_600);

#[derive(Debug, Default)]
struct Entries {
    /// Oldest first, each with the time of its arrival.
    kept: VecDeque<(Instant, Arc<Notification>)>,
    /// Increases with each notification, and with each that is removed because of its age.
    version: u64,
    dropped: u64,
}

impl Entries {
    fn remove_old(&mut self, now: Instant) {
        let is_old = |(at, _): &mut (Instant, _)| now.duration_since(*at) > MAX_AGE;
        while self.kept.pop_front_if(is_old).is_some() {
            self.version += 1;
        }
    }
}

/// The newest notifications.
#[derive(Debug, Default)]
pub(super) struct NotificationLog(Mutex<Entries>);

/// The content of the log at one time.
#[derive(Clone, Debug)]
pub(super) struct RecentNotifications {
    /// Newest first.
    pub items: Vec<Arc<Notification>>,
    /// Notifications that are missing although they are not too old: there were more than are kept,
    /// or they came faster than they were taken. Counted since the log was created.
    pub dropped: u64,
    /// Changes whenever `items` or `dropped` do.
    pub version: u64,
}

impl NotificationLog {
    /// The lock is held for the copy of at most a thousand pointers.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, notification: Notification, now: Instant) {
        let mut entries = self.entries();
        entries.remove_old(now);
        entries.version += 1;
        if let NotificationKind::Lagged { missed } = notification.kind {
            entries.dropped += missed;
            return;
        }
        if entries.kept.len() == MAX_KEPT {
            entries.kept.pop_front();
            entries.dropped += 1;
        }
        entries.kept.push_back((now, Arc::new(notification)));
    }

    pub(super) fn recent(&self) -> RecentNotifications {
        self.recent_at(Instant::now())
    }

    fn recent_at(&self, now: Instant) -> RecentNotifications {
        let mut entries = self.entries();
        entries.remove_old(now);
        let items = entries.kept.iter().rev().map(|(_, item)| Arc::clone(item)).collect();
        RecentNotifications { items, dropped: entries.dropped, version: entries.version }
    }

    /// Records until the collector has ended.
    pub(super) async fn record(self: Arc<Self>, subscription: Subscription) {
        while let Some(notification) = subscription.next().await {
            self.push(notification, Instant::now());
        }
    }
}

/// A thread that records, for a router: the host's runtime may not exist yet. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Recorder {
    _worker: Worker,
}

impl Recorder {
    pub(super) fn start(reader: &Reader, log: &Arc<NotificationLog>) -> Result<Self, HttpError> {
        // It has no drivers, and no descriptors.
        let runtime = Builder::new_current_thread().build().map_err(HttpError::Thread)?;
        let (stop, mut stopped) = watch::channel(false);
        let record = Arc::clone(log).record(reader.subscribe());
        let body = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = record => {}
                    _ = stopped.wait_for(|&stopped| stopped) => {}
                }
            });
        };
        let request_stop = move || _ = stop.send_replace(true);
        let worker = Worker::spawn("plugmeter-log", request_stop, body);
        Ok(Self { _worker: worker.map_err(HttpError::Thread)? })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn crash(number: u64) -> Notification {
        let kind = NotificationKind::CrashCounted { crash_count: number };
        Notification { revision: number, at: SystemTime::UNIX_EPOCH, plugin: "dice".into(), kind }
    }

    fn revisions(recent: &RecentNotifications) -> Vec<u64> {
        recent.items.iter().map(|item| item.revision).collect()
    }

    #[test]
    fn notification_is_kept_for_an_hour() {
        let (log, start) = (NotificationLog::default(), Instant::now());
        log.push(crash(1), start);
        log.push(crash(2), start + Duration::from_secs(1));
        assert_eq!(revisions(&log.recent_at(start + MAX_AGE)), [2, 1], "newest first");
        let recent = log.recent_at(start + MAX_AGE + Duration::from_millis(1));
        assert_eq!((revisions(&recent), recent.dropped), (vec![2], 0), "age is no loss");
        log.push(crash(3), start + MAX_AGE * 2);
        assert_eq!(revisions(&log.recent_at(start + MAX_AGE * 2)), [3]);
    }

    #[test]
    fn thousand_newest_are_kept_and_others_counted() {
        let (log, start) = (NotificationLog::default(), Instant::now());
        (1..=1_002).for_each(|number| log.push(crash(number), start));
        let recent = log.recent_at(start);
        assert_eq!((recent.items.len(), recent.dropped, recent.version), (1_000, 2, 1_002));
        assert_eq!((revisions(&recent)[0], revisions(&recent)[999]), (1_002, 3));
        // Notifications that the queue has lost are counted, and are no entries.
        let lagged = Notification { kind: NotificationKind::Lagged { missed: 40 }, ..crash(1_003) };
        log.push(lagged, start);
        let recent = log.recent_at(start);
        assert_eq!((recent.items.len(), recent.dropped, recent.version), (1_000, 42, 1_003));
    }
}
