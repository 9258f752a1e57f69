//! The only atomics that the host's hot path touches.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::model::run::RunId;

/// Counts the events of one plugin. Clones count into the same total.
///
/// A counter belongs to the registered name: it goes on when the process is restarted, and it never
/// goes down. [`get`](Self::get) is its value now; samples hold the value at their tick.
///
/// ```
/// use plugmeter::{Collector, Config};
///
/// let collector = Collector::start(Config::default())?;
/// let plugin = collector.register("dice")?;
/// let events = plugin.events().clone();
/// std::thread::spawn(move || events.add(41)).join().unwrap();
/// plugin.events().increment();
/// assert_eq!(plugin.events().get(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cost
///
/// One atomic addition. It is lock-free, and no two counters share a cache line.
#[derive(Clone)]
pub struct EventCounter(Arc<CachePadded<AtomicU64>>);

impl EventCounter {
    pub(crate) fn new() -> Self {
        Self(Arc::new(CachePadded::new(AtomicU64::new(0))))
    }

    /// Counts one event.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts so many events at once.
    pub fn add(&self, events: u64) {
        // ORDERING: Relaxed. The total guards no other memory, and additions to one location
        // are never lost. Two counters read in turn are not one cut; nobody is promised that.
        self.0.fetch_add(events, Ordering::Relaxed);
    }

    /// All events so far, also those since the last tick.
    #[must_use]
    pub fn get(&self) -> u64 {
        // ORDERING: Relaxed, as in `add`: a thread sees its own additions, and those of others
        // that it knows of by other means.
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for EventCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventCounter").field(&self.get()).finish()
    }
}

/// Gives out the ids of runs, unique in this process.
pub(crate) fn next_run_id() -> RunId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // ORDERING: Relaxed. All that is promised is that no two are alike and that a thread's own
    // ids rise.
    RunId(NEXT.fetch_add(1, Ordering::Relaxed))
}
