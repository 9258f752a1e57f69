//! The thread that records: it looks at each tick, writes each minute, and goes on after errors.

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::pending;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::database::{Replaced, is_damage, open_or_replace};
use super::error::StoreError;
use super::feed::{Feed, capacity, unix_ms};
use super::kept_feeds;
use super::lock::StoreLock;
use super::row::TickTime;
use super::seal::{SealSchedule, seal};
use super::tables::HostRow;
use super::writer::{SessionOf, begin_session, write};
use super::{StoreInner, check_process};
use crate::os::clock;
use crate::os::files::file_identity;
use crate::os::machine::boot_id;
use crate::snapshot::Snapshot;
use crate::snapshot::notification::{Notification, NotificationKind};
use crate::sync::publish::Reader;
use crate::sync::subscription::Subscription;
use crate::sync::wakeup::{StopSignal, Woken};
use crate::sync::worker::Worker;

/// Ticks that are left in the history until the recorder takes them. A look at a thousand plugins takes nearly
/// a millisecond, however many ticks are new.
const MAX_WAITING_TICKS: u128 = 12;

/// Notifications that wait while the file cannot be opened. Later ones are dropped.
const MAX_WAITING_NOTIFICATIONS: usize = 10_000;

/// Records a collector in a store, in a thread of its own: see [`Store::record`](crate::Store::record).
/// Dropping it writes what is not written yet, and ends the thread.
///
/// ```
/// # use plugmeter::*;
/// # let folder = std::env::temp_dir().join(format!("plugmeter-recorder-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let store = Store::open(StoreConfig::new(folder.join("plugmeter.db")))?;
/// # let collector = Collector::start(Config::default())?;
/// # let dice = collector.register("dice")?;
/// let recorder = store.record(collector.reader())?;
/// dice.events().increment();
/// collector.sample_now()?;
/// recorder.stop();
/// if let Some(error) = recorder.error() {
///     eprintln!("the history is not recorded: {error}");
/// }
/// assert!(recorder.error().is_none());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a recorder ends the recording"]
pub struct Recorder {
    worker: Worker,
    status: Arc<RecorderStatus>,
}

impl Recorder {
    /// Writes what is not written yet, marks the session as ended, and ends the thread. Waits for that.
    /// Stopping twice is the same as stopping once.
    pub fn stop(&self) {
        if self.worker.stop().is_some_and(|result| result.is_err()) {
            log::error!("store: the recorder has panicked");
        }
    }

    /// The reason why nothing can be written at present; `None` if the newest write has succeeded.
    ///
    /// The recorder tries again at each write interval, and what could not be written is kept in memory
    /// for an hour. A file that was damaged or written by a newer version was renamed, and a new one was
    /// created: then this returns that error until the recorder is stopped. In a forked child nothing is
    /// recorded, and there is no error.
    #[must_use]
    pub fn error(&self) -> Option<StoreError> {
        if check_process().is_err() {
            return None;
        }
        let status = self.status.lock();
        status.error.as_ref().or(status.replaced.as_ref()).map(StoreError::copy)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("error", &self.error()).finish_non_exhaustive()
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The status that the thread and the host share.
#[derive(Debug, Default)]
struct RecorderStatus(Mutex<Errors>);

#[derive(Debug, Default)]
struct Errors {
    error: Option<StoreError>,
    replaced: Option<StoreError>,
}

impl RecorderStatus {
    fn lock(&self) -> std::sync::MutexGuard<'_, Errors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs each error once.
    fn set(&self, error: Option<StoreError>) {
        let mut status = self.lock();
        let text = |error: &Option<StoreError>| error.as_ref().map(ToString::to_string);
        let (old, new) = (text(&status.error), text(&error));
        status.error = error;
        drop(status);
        match (old, new) {
            (old, Some(new)) if old.as_ref() != Some(&new) => log::error!("store: {new}"),
            (Some(_), None) => log::info!("store: writing again"),
            _ => {}
        }
    }
}

/// Starts the thread. It is the only one of the store that writes.
///
/// `recording` is dropped when the thread has ended.
pub(super) fn start(
    store: Arc<StoreInner>,
    recording: Arc<()>,
    reader: Reader,
) -> io::Result<Recorder> {
    let status = Arc::new(RecorderStatus::default());
    let signal = Arc::new(StopSignal::default());
    let thread = RecorderThread::new(store, reader, Arc::clone(&status));
    let stop = Arc::clone(&signal);
    let body = move || {
        thread.run(&signal);
        drop(recording);
    };
    let worker = Worker::spawn("plugmeter-store", move || stop.request(), body)?;
    Ok(Recorder { worker, status })
}

/// On the boot clock.
fn boot_time_of(snapshot: &Snapshot) -> Duration {
    snapshot.0.sampled_at().boot
}

struct RecorderThread {
    store: Arc<StoreInner>,
    reader: Reader,
    subscription: Subscription,
    status: Arc<RecorderStatus>,
    /// `None` while the file cannot be opened.
    connection: Option<Connection>,
    /// Of the file of the connection.
    identity: Option<(u64, u64)>,
    /// `None` until the session has begun.
    feed: Option<Feed>,
    /// Notifications that were received, and are not taken yet.
    waiting: Vec<Notification>,
    schedule: SealSchedule,
    /// The database has reported damage.
    is_suspect: bool,
    /// The session was found in the file of the connection.
    is_session_found: bool,
}

impl RecorderThread {
    fn new(store: Arc<StoreInner>, reader: Reader, status: Arc<RecorderStatus>) -> Self {
        let (connection, replaced) = store.take_connection();
        let mut thread = Self {
            // A recorder of the same collector continues the session of the one before.
            feed: kept_feeds::take(store.path(), &reader),
            subscription: reader.subscribe(),
            reader,
            status,
            identity: file_identity(store.path()).ok(),
            connection,
            store,
            waiting: Vec::new(),
            schedule: SealSchedule::default(),
            is_suspect: false,
            is_session_found: false,
        };
        if let Some(replaced) = replaced {
            thread.report_replaced(replaced);
        }
        thread
    }

    fn run(mut self, signal: &Arc<StopSignal>) {
        let interval = self.store.settings.write_interval;
        let mut next_write = Instant::now() + interval;
        self.begin();
        let mut snapshot = self.look();
        loop {
            let now = Instant::now();
            if now >= next_write {
                snapshot = self.take_newest(&snapshot);
                self.write(false);
                next_write = Instant::now() + interval;
            }
            let timeout = next_write.saturating_duration_since(Instant::now());
            match signal.wait(self.reader.changed(&snapshot), timeout) {
                Woken::Ready(Some(newer)) => snapshot = self.on_change(&snapshot, newer),
                Woken::Ready(None) => {
                    // The collector has ended: what it has left is written, until that has succeeded.
                    snapshot = self.take_newest(&snapshot);
                    if self.write(false) {
                        signal.wait(pending::<()>(), Duration::MAX);
                    } else {
                        signal.wait(pending::<()>(), interval);
                    }
                    if signal.is_requested() {
                        break;
                    }
                }
                Woken::TimedOut => {}
                Woken::Stopped => break,
            }
        }
        self.take_newest(&snapshot);
        self.write(true);
        if let Some(feed) = self.feed {
            kept_feeds::keep(self.store.path(), &self.reader, feed);
        }
    }

    /// Changes between two ticks are taken with the next one, and a tick without notifications with a later one,
    /// because taking several at a time costs as much as taking one. The history must still hold them then.
    fn on_change(&mut self, before: &Snapshot, newer: Snapshot) -> Snapshot {
        self.take_before(before, &newer);
        // The queue is bounded.
        self.receive();
        if newer.tick() == before.tick() {
            return newer;
        }
        let last = self.feed.as_ref().map(Feed::last_tick);
        let is_due = last.is_none_or(|last| {
            let waiting = newer.tick().saturating_sub(last);
            u128::from(waiting) > MAX_WAITING_TICKS.min(capacity(&newer) / 4)
        });
        if is_due || !self.waiting.is_empty() {
            self.take(&newer);
        }
        newer
    }

    /// A plugin that was removed is in the snapshot before for the last time.
    fn take_before(&mut self, before: &Snapshot, newer: &Snapshot) {
        if before.has_plugin_removed_by(newer) {
            self.take(before);
        }
    }

    fn take_newest(&mut self, before: &Snapshot) -> Snapshot {
        let newest = self.reader.snapshot();
        self.take_before(before, &newest);
        self.take(&newest);
        newest
    }

    /// Receives the notifications that are queued.
    fn receive(&mut self) {
        self.waiting.extend(std::iter::from_fn(|| self.subscription.try_recv().ok()));
    }

    /// Takes what is new, after the notifications up to the snapshot's revision. Later ones are about later
    /// snapshots, in which a name may be that of another plugin.
    fn take(&mut self, snapshot: &Snapshot) {
        self.receive();
        let Some(feed) = &mut self.feed else {
            self.waiting.truncate(MAX_WAITING_NOTIFICATIONS);
            return;
        };
        let later = self.waiting.iter().position(|it| it.revision > snapshot.revision());
        let count = later.unwrap_or(self.waiting.len());
        self.waiting.drain(..count).for_each(|notification| feed.notify(&notification));
        feed.look(snapshot, boot_time_of(snapshot));
    }

    fn look(&mut self) -> Snapshot {
        let snapshot = self.reader.snapshot();
        self.take(&snapshot);
        snapshot
    }

    /// Opens the file, if it is not open, and begins a session, if none has begun. The history in memory
    /// is the buffer until then.
    fn begin(&mut self) -> bool {
        match self.try_begin() {
            Ok(()) => true,
            Err(error) => {
                self.status.set(Some(error.at(self.store.path())));
                false
            }
        }
    }

    fn try_begin(&mut self) -> Result<(), StoreError> {
        let path = self.store.path().to_owned();
        let identity = file_identity(&path);
        let is_other = identity.as_ref().ok().is_none_or(|new| Some(new) != self.identity.as_ref());
        if self.connection.is_some() && is_other {
            // The file was removed, or another one is in its place. Writes to the removed one would
            // succeed.
            self.connection = None;
        }
        if self.connection.is_none() {
            self.open(&path)?;
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        // After the file was opened again, it may be another one.
        if let Some(feed) = &self.feed {
            if self.is_session_found {
                return Ok(());
            }
            // Another host may have recorded since.
            let newest = HostRow::all(connection).map_err(StoreError::database)?.pop();
            self.is_session_found = newest.is_some_and(|newest| {
                (newest.id, newest.start_ms) == (feed.host.id, feed.host.start_ms)
            });
            if self.is_session_found {
                return Ok(());
            }
            self.feed = None;
        }
        let snapshot = self.reader.snapshot();
        let now = clock::now();
        let started = snapshot.0.info.started;
        let of = SessionOf {
            boot_id: boot_id(),
            start: TickTime {
                at_ms: unix_ms(started.wall).min(unix_ms(now.wall)),
                boot_ms: millis(started.boot),
            },
            now: TickTime { at_ms: unix_ms(now.wall), boot_ms: millis(now.boot) },
            poll_ms: millis(snapshot.poll_interval()),
            resumed: snapshot.resumed(),
            tick: snapshot.tick(),
        };
        let start = begin_session(connection, &self.store.settings, &of);
        let start = start.map_err(|error| self.on_error(error))?;
        self.feed = Some(Feed::new(start));
        self.is_session_found = true;
        self.schedule = SealSchedule::default();
        self.look();
        Ok(())
    }

    fn open(&mut self, path: &Path) -> Result<(), StoreError> {
        // The lock file may be gone with its folder.
        if !super::database::lock_path(path).exists() {
            self.store.replace_lock(StoreLock::acquire(path)?);
        }
        let opened = open_or_replace(path, self.is_suspect, clock::now().wall)?;
        self.is_suspect = false;
        self.identity = file_identity(path).ok();
        self.is_session_found = false;
        self.connection = Some(opened.connection);
        if let Some(replaced) = opened.replaced {
            self.report_replaced(replaced);
        }
        Ok(())
    }

    fn report_replaced(&mut self, Replaced { error, moved_to }: Replaced) {
        log::error!("store: {error}; the file was renamed to {}", moved_to.display());
        self.reader.notify(Notification {
            revision: self.reader.snapshot().revision(),
            at: clock::now().wall,
            plugin: Arc::from(""),
            kind: NotificationKind::StoreReplaced {
                moved_to: Arc::from(moved_to.display().to_string()),
                reason: Arc::from(error.to_string()),
            },
        });
        self.status.lock().replaced = Some(error);
    }

    /// Writes what waits. Returns whether that has succeeded; if not, it goes on waiting.
    fn write(&mut self, is_end: bool) -> bool {
        let result = self.try_begin().and_then(|()| self.try_write(is_end));
        let is_written = result.is_ok();
        if let Some(feed) = self.feed.as_mut().filter(|_| !is_written) {
            feed.changes.on_write_failed();
        }
        self.status.set(result.err().map(|error| error.at(self.store.path())));
        is_written
    }

    fn try_write(&mut self, is_end: bool) -> Result<(), StoreError> {
        let (Some(connection), Some(feed)) = (&mut self.connection, &mut self.feed) else {
            return Ok(());
        };
        let settings = &self.store.settings;
        let mut result = write(connection, feed, is_end).map(|bytes| {
            feed.on_written(is_end);
            self.schedule.on_written(&feed.host, bytes, settings.max_bytes)
        });
        if let Ok(due) = result
            && !is_end
        {
            result = seal(connection, settings, &mut feed.host, due).map(|()| {
                self.schedule.on_done(due, &feed.host);
                due
            });
        }
        result.map(drop).map_err(|error| self.on_error(error))
    }

    /// Damage is found by the check when the file is opened again. Then it is renamed.
    fn on_error(&mut self, error: rusqlite::Error) -> StoreError {
        if is_damage(&error) {
            (self.connection, self.is_suspect) = (None, true);
        }
        StoreError::database(error)
    }
}
