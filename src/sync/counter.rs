//! Event counters: the only atomics on the host's hot path.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::snapshot::run::RunId;

/// Counts the events of one plugin. Clones count into the same total.
///
/// A counter belongs to the registered name: it continues when the process is restarted, and it never
/// decreases. [`get`](Self::get) is the live value; samples hold the value at their tick.
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

    /// Counts this many events in one operation.
    pub fn add(&self, events: u64) {
        // ORDERING: Relaxed. The total guards no other memory, and additions to one location
        // are never lost. Not guaranteed: that two counters read in turn are consistent.
        self.0.fetch_add(events, Ordering::Relaxed);
    }

    /// All events so far, including those since the last tick.
    #[must_use]
    pub fn get(&self) -> u64 {
        // ORDERING: Relaxed, as in `add`: a thread sees its own additions, and additions of other
        // threads that it has synchronized with by other means.
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for EventCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventCounter").field(&self.get()).finish()
    }
}

/// Returns a new run id, unique in this process.
pub(crate) fn next_run_id() -> RunId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // ORDERING: Relaxed. Guaranteed is only that ids are unique and that one thread's ids
    // increase.
    RunId(NEXT.fetch_add(1, Ordering::Relaxed))
}
