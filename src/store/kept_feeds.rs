//! Sessions whose recorders have ended, while their collectors go on: the next recorder of the same collector
//! into the same file continues the session. A new one would count what the collector has counted twice.

use std::path::{Path, PathBuf, absolute};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::feed::Feed;
use crate::sync::publish::{Reader, WeakReader};

/// Of the whole process, because the store that has recorded may have been dropped.
static KEPT: Mutex<Vec<KeptFeed>> = Mutex::new(Vec::new());

struct KeptFeed {
    path: PathBuf,
    collector: WeakReader,
    feed: Feed,
}

/// The feeds of collectors that still have a reader.
fn kept() -> MutexGuard<'static, Vec<KeptFeed>> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|kept| kept.collector.is_alive());
    kept
}

/// The same for each spelling of a path.
fn identity_of(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// Keeps the session of a recorder that ends.
pub(super) fn keep(path: &Path, reader: &Reader, feed: Feed) {
    let path = identity_of(path);
    let collector = reader.downgrade();
    kept().push(KeptFeed { path, collector, feed });
}

/// The session of the newest recorder of the same collector into the same file.
pub(super) fn take(path: &Path, reader: &Reader) -> Option<Feed> {
    let path = identity_of(path);
    let mut kept = kept();
    let found = kept.iter().position(|kept| kept.path == path && kept.collector.is_of(reader))?;
    Some(kept.swap_remove(found).feed)
}
