//! From the sampler to everyone: the only `ArcSwap`.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::model::snapshot::{Published, Snapshot};

/// The writing end. Deliberately not `Clone`: there is one sampler.
#[derive(Debug)]
pub(crate) struct Publisher(Arc<ArcSwap<Published>>);

impl Publisher {
    pub(crate) fn new(first: Published) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(first)))
    }

    /// Makes `next` what readers see, and returns what they saw until now.
    pub(crate) fn publish(&mut self, next: Arc<Published>) -> Arc<Published> {
        self.0.swap(next)
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader(Arc::clone(&self.0))
    }
}

/// Takes snapshots, from any thread, for as long as it likes: it outlives the collector.
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
pub struct Reader(Arc<ArcSwap<Published>>);

impl Reader {
    /// The newest snapshot.
    ///
    /// # Cost
    ///
    /// What `ArcSwap::load_full` costs, and what it promises: wait-free in the usual case, and
    /// lock-free always. It never waits for the sampler or for another reader. Take one snapshot
    /// and ask it often, rather than one for each question.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        // `load_full` and never a `Guard`: a thread that holds more than a handful of those makes
        // loads slow, and a snapshot is made to be held.
        Snapshot(self.0.load_full())
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.snapshot()).finish()
    }
}
