//! Event counters: the only atomics on the host's hot path.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use once_cell::race::OnceBox;

use crate::error::CounterError;
use crate::name::check_kind;
use crate::snapshot::run::RunId;

/// The most kinds of events of one plugin.
pub(crate) const MAX_EVENT_KINDS: usize = 32;

/// Counts the events of one plugin, or those of one kind. Clones count into the same total.
///
/// [`Plugin::events`](crate::Plugin::events) is the counter of all events: its value includes those
/// of every kind. [`Plugin::event_counter`](crate::Plugin::event_counter) is the counter of one kind.
///
/// A counter belongs to the registered name: it continues when the process is restarted, and it never
/// decreases, up to 2^64 events. [`get`](Self::get) returns the current value; samples have the value at
/// their tick.
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
/// Counting costs one atomic addition, also for events of a kind, because the total over all kinds is
/// computed when it is read. It is lock-free. No two counters share a cache line, so that threads that
/// count different kinds do not contend.
#[derive(Clone)]
pub struct EventCounter(Arc<CachePadded<Events>>);

#[derive(Default)]
struct Events {
    /// Events that were counted by this counter itself.
    count: AtomicU64,
    /// Of the counter of all events: the counters of its kinds, once there is one.
    kinds: OnceBox<EventKinds>,
}

/// The counters of a plugin's kinds, in the order of their creation. The first free place follows the
/// last one in use, and a place never changes once it is in use.
#[derive(Default)]
struct EventKinds([OnceBox<EventKind>; MAX_EVENT_KINDS]);

/// One kind of a plugin's events.
#[derive(Debug)]
pub(crate) struct EventKind {
    pub name: Arc<str>,
    pub counter: EventCounter,
}

impl EventCounter {
    pub(crate) fn new() -> Self {
        Self(Arc::new(CachePadded::new(Events::default())))
    }

    /// A counter that continues from a number of events, of which a part have a kind.
    #[cfg(feature = "store")]
    pub(crate) fn restored(events: u64, kinds: &[(Arc<str>, u64)]) -> Self {
        let counter = Self::new();
        let mut rest = events;
        for (kind, count) in kinds {
            if let Ok(of_kind) = counter.of_kind(kind) {
                of_kind.add((*count).min(rest));
                rest = rest.saturating_sub(*count);
            }
        }
        counter.add(rest);
        counter
    }

    /// The counter of one kind, which is created at the first call. Takes no lock.
    pub(crate) fn of_kind(&self, kind: &str) -> Result<Self, CounterError> {
        check_kind(kind)?;
        let new = || EventKind { name: Arc::from(kind), counter: Self::new() };
        let EventKinds(places) = self.0.kinds.get_or_init(Box::default);
        for place in places {
            // Of two threads that fill the same place, the second one gets the kind of the first, and
            // goes on to the next place if that is another one.
            let at_place = place.get_or_init(|| Box::new(new()));
            if *at_place.name == *kind {
                return Ok(at_place.counter.clone());
            }
        }
        Err(CounterError::TooManyKinds { max: MAX_EVENT_KINDS })
    }

    /// The kinds, in the order of their creation.
    #[inline]
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &EventKind> {
        let places = self.0.kinds.get().map_or(&[][..], |EventKinds(places)| places);
        places.iter().map_while(OnceBox::get)
    }

    /// Whether there are kinds.
    #[inline]
    pub(crate) fn has_kinds(&self) -> bool {
        self.0.kinds.get().is_some()
    }

    /// The events that were counted by this counter itself.
    #[inline]
    pub(crate) fn own(&self) -> u64 {
        // ORDERING: Relaxed, as in `add`: a thread sees its own additions, and additions of other
        // threads that it has synchronized with by other means.
        self.0.count.load(Ordering::Relaxed)
    }

    /// Counts one event.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts this many events, in one atomic addition.
    pub fn add(&self, events: u64) {
        // ORDERING: Relaxed. The total guards no other memory, and additions to one location
        // are never lost. Not guaranteed: that two counters read in turn are consistent.
        self.0.count.fetch_add(events, Ordering::Relaxed);
    }

    /// Returns the number of all events so far, including those since the last tick.
    #[must_use]
    pub fn get(&self) -> u64 {
        // No part decreases, and a kind is never removed: neither does the sum decrease.
        self.kinds().fold(self.own(), |sum, kind| sum.saturating_add(kind.counter.own()))
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

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::error::NameError;

    fn counts(events: &EventCounter) -> Vec<(&str, u64)> {
        events.kinds().map(|kind| (&*kind.name, kind.counter.get())).collect()
    }

    #[test]
    fn total_includes_events_of_every_kind() {
        let events = EventCounter::new();
        assert!(!events.has_kinds());
        let command = events.of_kind("command").unwrap();
        let message = events.clone().of_kind("message").unwrap();
        command.add(2);
        message.increment();
        events.add(10);
        events.of_kind("command").unwrap().increment();
        assert_eq!(counts(&events), [("command", 3), ("message", 1)]);
        assert_eq!((events.get(), events.own(), command.get()), (14, 10, 3));
        // The largest sum is not exceeded.
        message.add(u64::MAX - 1);
        assert_eq!(events.get(), u64::MAX);
    }

    #[test]
    fn thirty_third_kind_is_rejected() {
        let events = EventCounter::new();
        for nth in 0..MAX_EVENT_KINDS {
            events.of_kind(&nth.to_string()).unwrap().increment();
        }
        let too_many = CounterError::TooManyKinds { max: 32 };
        assert_eq!(events.of_kind("one more").unwrap_err(), too_many);
        assert_eq!(events.of_kind("31").unwrap().get(), 1, "existing kinds can still be requested");
        assert_eq!((counts(&events).len(), events.get()), (32, 32));
    }

    #[test]
    fn invalid_kind_is_rejected() {
        let events = EventCounter::new();
        let long = "x".repeat(129);
        for (kind, expected) in [
            ("", NameError::Empty),
            (&*long, NameError::TooLong { max: 128 }),
            ("a\nb", NameError::Control),
        ] {
            match events.of_kind(kind) {
                Err(CounterError::InvalidName { reason, .. }) => assert_eq!(reason, expected),
                other => panic!("{kind:?}: {other:?}"),
            }
        }
        assert!(!events.has_kinds());
    }

    /// Threads that request the same kinds at the same time get the same counters.
    #[test]
    fn kinds_are_created_once_by_racing_threads() {
        const THREADS: usize = 4;
        let rounds = if cfg!(miri) { 3 } else { 200 };
        for _ in 0..rounds {
            let (events, barrier) = (EventCounter::new(), Barrier::new(THREADS));
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (events, barrier) = (&events, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        for nth in 0..8 {
                            let kind = (nth * (2 * thread + 1)) % 8;
                            events.of_kind(&kind.to_string()).unwrap().increment();
                        }
                    });
                }
            });
            let mut counts = counts(&events);
            counts.sort_unstable();
            let expected = ["0", "1", "2", "3", "4", "5", "6", "7"].map(|kind| (kind, 4));
            assert_eq!(counts, expected);
            assert_eq!(events.get(), 32);
        }
    }
}
