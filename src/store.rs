//! A history that survives the host: an SQLite file, which any tool can open.
//!
//! Path of a tick: the recorder's thread looks at each snapshot, `feed` turns what is new into rows, and
//! `writer` appends the rows of a minute of all plugins as one blob (`recent`). `seal` adds them to the rollups
//! of minutes each ten minutes, and moves them to blocks and rollups of an hour when it is over: rows of all
//! plugins one after the other, each written once, because a write that touches a page of each plugin costs a
//! hundred times more. `reader` reads both. The sampler is not involved, and the
//! history in memory is the buffer for a file that cannot be written.

mod batch;
mod bits;
mod changes;
mod codec;
mod config;
mod database;
mod error;
mod feed;
#[cfg(test)]
mod fixtures;
mod json;
mod kept_feeds;
mod live_plugin;
mod lock;
mod lookup;
mod measures;
mod reader;
mod recorder;
mod retention;
mod rollup;
mod rollup_row;
mod row;
mod run_rows;
mod saved;
mod seal;
mod sketch;
mod stored_clock;
mod summary;
mod tables;
#[cfg(test)]
#[cfg(all(feature = "testing", not(miri)))] // Miri runs no C
mod tests;
mod values;
mod writer;

use std::fmt;
use std::io;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rusqlite::Connection;

pub use self::config::StoreConfig;
use self::config::StoreSettings;
use self::database::{Opened, Replaced, open_or_replace};
pub use self::error::{StoreConfigError, StoreError};
use self::lock::StoreLock;
pub use self::reader::StoreReader;
pub use self::recorder::Recorder;
pub use self::values::{
    Quantile, Resolution, StoredAggregates, StoredNotification, StoredPlugin, StoredPoint,
    StoredSummary,
};
use crate::collector::saved::Saved;
use crate::os::clock;
use crate::os::machine::boot_id;
use crate::sync::fork::FirstProcess;
use crate::sync::publish::Reader;

static SQLITE: FirstProcess = FirstProcess::new();

/// SQLite cannot be used in a child that was forked from a process that has used it, not even for another file:
/// its mutexes may have been locked at the fork, and it takes the locks of the parent for its own
/// (<https://sqlite.org/howtocorrupt.html>, "Carrying an open database connection across a fork()").
fn check_process() -> io::Result<()> {
    if SQLITE.is_this() { Ok(()) } else { Err(io::Error::other("this is a forked child")) }
}

/// A file with the history of all plugins, which one host writes to.
///
/// A child that is forked without `exec` from a process that has opened a store or a reader can use neither:
/// every call fails.
///
/// ```
/// use plugmeter::{Collector, Config, Store, StoreConfig};
///
/// # let folder = std::env::temp_dir().join(format!("plugmeter-store-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("plugmeter.db");
/// let store = Store::open(StoreConfig::new(&path))?;
/// let collector = Collector::start(Config::default())?;
/// let recorder = store.record(collector.reader())?; // in a thread of its own
/// collector.register("dice")?.events().add(3);
/// collector.sample_now()?;
///
/// recorder.stop(); // writes the rest
/// assert_eq!(store.reader().plugins()[0].event_count, 3);
/// # drop((store, collector));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Store(Arc<StoreInner>);

/// The state that a store and its recorder share.
pub(crate) struct StoreInner {
    settings: StoreSettings,
    state: Mutex<StoreState>,
}

struct StoreState {
    lock: Option<StoreLock>,
    /// Until the first recorder takes it.
    connection: Option<Connection>,
    replaced: Option<Replaced>,
    /// Alive while a recorder is.
    recording: Weak<()>,
}

impl Store {
    /// Opens the file, or creates it (mode 0600). Its folder must exist.
    ///
    /// The store is locked for other hosts until it and its recorder are dropped, by a file beside it with
    /// the suffix `.lock`. After an end without [`Recorder::stop`] the file is checked, which takes about
    /// a second for 256 MB. A damaged file, or one of a newer version of this crate, is renamed (suffix
    /// `.damaged-TIME`), and a new one begun: that is logged, sent as a
    /// [notification](crate::NotificationKind::StoreReplaced), and returned by [`Recorder::error`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Config`], [`StoreError::InUse`] if another host has opened it, and
    /// [`StoreError::Io`] or [`StoreError::Database`] if it cannot be opened, or is no store.
    pub fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let settings = config.validate()?;
        let open = || {
            check_process()?;
            let lock = StoreLock::acquire(&settings.path)?;
            Ok((lock, open_or_replace(&settings.path, false, clock::now().wall)?))
        };
        let (lock, Opened { connection, replaced }) =
            open().map_err(|error: StoreError| error.at(&settings.path))?;
        if let Some(Replaced { error, moved_to }) = &replaced {
            log::error!("store: {error}; the file was renamed to {}", moved_to.display());
        }
        let state = StoreState {
            lock: Some(lock),
            connection: Some(connection),
            replaced,
            recording: Weak::new(),
        };
        Ok(Self(Arc::new(StoreInner { settings, state: Mutex::new(state) })))
    }

    /// Records the ticks, runs and notifications of a collector from now on, in a thread of its own, and
    /// also what its history holds already.
    ///
    /// A collector that was recorded before, in this file and process, continues its session.
    ///
    /// It looks at each tick, writes once in each [write interval](StoreConfig::write_interval), and never
    /// delays the sampler. It does not fail either: see [`Recorder::error`].
    ///
    /// # Errors
    ///
    /// If a recorder of this store exists already ([`io::ErrorKind::AlreadyExists`]), or the operating
    /// system does not provide a thread.
    pub fn record(&self, reader: Reader) -> io::Result<Recorder> {
        check_process()?;
        let mut state = self.0.lock();
        if state.recording.strong_count() > 0 {
            let text = "the store is recording already";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        let recording = Arc::new(());
        state.recording = Arc::downgrade(&recording);
        drop(state);
        recorder::start(Arc::clone(&self.0), recording, reader)
    }

    /// The counters and runs of all plugins as of the newest write, and the last hour of samples, for
    /// [`Collector::resume`](crate::Collector::resume). A new store has none.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let reader = self.reader();
        let saved = reader.query(|connection| saved::load(connection, boot_id().as_deref()));
        if let Some(error) = reader.error() {
            log::error!("store: no counters are continued: {error}");
        }
        saved
    }

    /// A reader of the file, for any thread.
    #[must_use]
    pub fn reader(&self) -> StoreReader {
        StoreReader::new(self.0.settings.path.clone())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.settings.path).finish()
    }
}

impl StoreInner {
    fn lock(&self) -> MutexGuard<'_, StoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> &Path {
        &self.settings.path
    }

    fn take_connection(&self) -> (Option<Connection>, Option<Replaced>) {
        let mut state = self.lock();
        (state.connection.take(), state.replaced.take())
    }

    fn replace_lock(&self, lock: StoreLock) {
        self.lock().lock = Some(lock);
    }
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        if check_process().is_err() {
            // Closing the file here would release the locks of the parent: fcntl(2).
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            mem::forget((state.connection.take(), state.lock.take()));
        }
    }
}

/// For `fuzz/`: what is decoded is encoded again without a change.
#[cfg(fuzzing)]
pub(crate) fn check_blob(bytes: &[u8]) {
    if let Some(batch) = batch::Batch::decode(bytes) {
        assert_eq!(batch::Batch::decode(&batch.encode()), Some(batch));
    }
    if let Some(block) = batch::Block::decode(bytes) {
        assert_eq!(batch::Block::decode(&block.encode()), Some(block));
    }
}
