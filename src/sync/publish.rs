//! The publication, from the sampler to all readers: the only `ArcSwap`.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::snapshot::Snapshot;
use crate::snapshot::inner::SnapshotInner;

/// The writing end. Deliberately not `Clone`: there is one sampler.
#[derive(Debug)]
pub(crate) struct Publisher(Arc<ArcSwap<SnapshotInner>>);

impl Publisher {
    pub(crate) fn new(first: SnapshotInner) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(first)))
    }

    /// Makes `next` visible to readers, and returns the replaced snapshot.
    pub(crate) fn publish(&mut self, next: Arc<SnapshotInner>) -> Arc<SnapshotInner> {
        self.0.swap(next)
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader(Arc::clone(&self.0))
    }
}

/// Takes snapshots, from any thread. It outlives the collector.
///
/// ```
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let reader = collector.reader();
/// let thread = std::thread::spawn(move || reader.snapshot().tick());
/// println!("tick {}", thread.join().unwrap());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Reader(Arc<ArcSwap<SnapshotInner>>);

impl Reader {
    /// Returns the newest snapshot.
    ///
    /// # Cost
    ///
    /// One `ArcSwap::load_full`, with its guarantees: wait-free in the usual case, and always
    /// lock-free. It never waits for the sampler or for another reader. Take one snapshot and query
    /// it often, rather than one for each query.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        // `load_full` and never a `Guard`: a thread that holds more than a few guards makes loads
        // slow, and snapshots are made to be held.
        Snapshot(self.0.load_full())
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.snapshot()).finish()
    }
}
