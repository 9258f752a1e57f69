//! The publication, from the sampler to all readers: the only `ArcSwap`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
#[cfg(feature = "store")]
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use event_listener::Event;

use super::fork::ForkGuard;
use super::listening::Listening;
use super::subscription::{SubscriberSender, Subscription};
use crate::snapshot::Snapshot;
use crate::snapshot::inner::SnapshotInner;

/// What the writer and the readers share.
struct Published {
    newest: ArcSwap<SnapshotInner>,
    /// Notified after each publication, and at the end.
    changed: Event,
    /// There are no further publications.
    is_ended: AtomicBool,
    fork_guard: ForkGuard,
    /// Not part of the publication: here, so that a reader can subscribe too.
    subscribers: SubscriberSender,
}

impl Published {
    /// The newest snapshot if it is newer than `revision`, `None` if there will be none, and pending
    /// otherwise.
    fn newer_than(&self, revision: u64) -> Poll<Option<Snapshot>> {
        // ORDERING: Acquire, paired with the Release at the end: the last publication is visible to
        // whoever sees the end, because it is loaded afterwards.
        let is_ended = self.is_ended.load(Ordering::Acquire);
        // A revision is compared before an owner is counted.
        let newest = self.newest.load();
        if newest.revision > revision {
            return Poll::Ready(Some(Snapshot(Arc::clone(&newest))));
        }
        // In a forked child nothing is published.
        let is_ended = is_ended || !self.fork_guard.in_owner_process();
        if is_ended { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// The writing end. Deliberately not `Clone`: there is one sampler. Dropping it ends all waits.
pub(crate) struct Publisher(Arc<Published>);

impl Publisher {
    pub(crate) fn new(first: SnapshotInner, subscribers: SubscriberSender) -> Self {
        Self(Arc::new(Published {
            newest: ArcSwap::from_pointee(first),
            changed: Event::new(),
            is_ended: AtomicBool::new(false),
            fork_guard: ForkGuard::new(),
            subscribers,
        }))
    }

    /// Makes `next` visible to readers, wakes those that wait, and returns the replaced snapshot.
    ///
    /// Nothing is missed: a waiting reader registers first and looks at the snapshot afterwards, and
    /// here it is the other way round, with a fence in between on both sides (in the event).
    pub(crate) fn publish(&mut self, next: Arc<SnapshotInner>) -> Arc<SnapshotInner> {
        let old = self.0.newest.swap(next);
        self.0.changed.notify(usize::MAX);
        old
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader(Arc::clone(&self.0))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // ORDERING: Release, see `newer_than`.
        self.0.is_ended.store(true, Ordering::Release);
        if self.0.fork_guard.in_owner_process() {
            self.0.changed.notify(usize::MAX);
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publisher").field(&self.reader().snapshot()).finish()
    }
}

/// Takes snapshots, and waits for newer ones, from any thread.
///
/// [`Collector::reader`](crate::Collector::reader) returns it. It is cheap to clone, `Send` and `Sync`, and
/// remains usable after the collector was dropped.
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
pub struct Reader(Arc<Published>);

impl Reader {
    /// Returns the newest snapshot.
    ///
    /// # Cost
    ///
    /// One `load_full` of the crate arc-swap, with its guarantees: wait-free in the usual case, and always
    /// lock-free. It never waits for the sampler or for another reader. Take one snapshot for several
    /// queries, rather than one for each.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        // `load_full` and never a `Guard`: a thread that holds more than a few guards makes loads
        // slow, and snapshots are made to be held.
        Snapshot(self.0.newest.load_full())
    }

    /// Returns a subscription to the notifications from now on, as
    /// [`Collector::subscribe`](crate::Collector::subscribe) does: for a component that has only a reader.
    /// It is closed when the collector stops.
    ///
    /// ```
    /// use plugmeter::{Collector, Config, NotificationKind};
    /// use std::time::Duration;
    ///
    /// let collector = Collector::start(Config::default())?;
    /// let reader = collector.reader();
    /// let subscription = reader.subscribe();
    /// collector.register("dice")?;
    /// let first = subscription.recv_timeout(Duration::from_secs(10))?;
    /// assert_eq!(first.kind, NotificationKind::Registered);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.0.subscribers.subscribe()
    }

    /// Sends a notification that is not the engine's, with the next publication.
    #[cfg(feature = "store")]
    pub(crate) fn notify(&self, notification: crate::snapshot::notification::Notification) {
        self.0.subscribers.notify(notification);
    }

    /// A reader that keeps nothing of the collector.
    #[cfg(feature = "store")]
    pub(crate) fn downgrade(&self) -> WeakReader {
        WeakReader(Arc::downgrade(&self.0))
    }

    /// Blocks until a snapshot with a newer revision than that of `than` is published, and returns
    /// it. If there is one already, it returns immediately.
    ///
    /// `None` if none is published within `timeout`, or if none will be: the collector has stopped or is
    /// disabled, or this is a forked child; [`Snapshot::is_stopped`] distinguishes the first two from a
    /// timeout. Several revisions may be published between two calls; the newest one is returned. Both
    /// snapshots have to be of the same collector.
    ///
    /// Do not wait on the sampler's own thread, for example in the host's logger: nothing is published
    /// during that wait.
    ///
    /// ```
    /// use plugmeter::{Collector, Config};
    /// use std::time::Duration;
    ///
    /// let collector = Collector::start(Config::default())?;
    /// let reader = collector.reader();
    /// let seen = reader.snapshot();
    /// collector.register("dice")?;
    /// let newer = reader.wait_for_newer(&seen, Duration::from_secs(10)).unwrap();
    /// assert!(newer.revision() > seen.revision());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Cost
    ///
    /// It does not poll. A publication without waiting readers costs the sampler one fence and one atomic
    /// load.
    #[must_use]
    pub fn wait_for_newer(&self, than: &Snapshot, timeout: Duration) -> Option<Snapshot> {
        let revision = than.revision();
        // A time beyond the clock's range never comes.
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if let Poll::Ready(newer) = self.0.newer_than(revision) {
                return newer;
            }
            let listening = Listening::new(&self.0.changed, self.0.fork_guard);
            // Between the first look and the registration one may have been published.
            if let Poll::Ready(newer) = self.0.newer_than(revision) {
                return newer;
            }
            if !listening.wait(deadline) {
                return match self.0.newer_than(revision) {
                    Poll::Ready(newer) => newer,
                    Poll::Pending => None,
                };
            }
        }
    }

    /// Waits until a snapshot with a newer revision than that of `since` is published, in any async
    /// runtime: [`wait_for_newer`](Self::wait_for_newer) without a timeout. `None` if none will be
    /// published any more.
    ///
    /// Dropping the future ends the wait.
    ///
    /// ```
    /// # async fn watch(reader: plugmeter::Reader) {
    /// let mut snapshot = reader.snapshot();
    /// while let Some(newer) = reader.changed(&snapshot).await {
    ///     println!("revision {}", newer.revision());
    ///     snapshot = newer;
    /// }
    /// # }
    /// ```
    #[must_use = "futures do nothing unless they are polled"]
    pub fn changed(
        &self,
        since: &Snapshot,
    ) -> impl Future<Output = Option<Snapshot>> + Send + use<> {
        let (published, revision) = (Arc::clone(&self.0), since.revision());
        let mut listening = None;
        std::future::poll_fn(move |context| {
            poll_newer(&published, revision, &mut listening, context)
        })
    }
}

/// Tells whether a reader is of the same collector.
#[cfg(feature = "store")]
pub(crate) struct WeakReader(Weak<Published>);

#[cfg(feature = "store")]
impl WeakReader {
    /// Whether the collector, or a reader of it, exists.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(crate) fn is_of(&self, reader: &Reader) -> bool {
        self.0.as_ptr() == Arc::as_ptr(&reader.0)
    }
}

fn poll_newer(
    published: &Published,
    revision: u64,
    listening: &mut Option<Listening>,
    context: &mut Context<'_>,
) -> Poll<Option<Snapshot>> {
    loop {
        if let Poll::Ready(newer) = published.newer_than(revision) {
            *listening = None;
            return Poll::Ready(newer);
        }
        match listening {
            Some(registered) => {
                if registered.poll(context).is_pending() {
                    return Poll::Pending;
                }
                *listening = None;
            }
            // Then look again: one may have been published before.
            None => *listening = Some(Listening::new(&published.changed, published.fork_guard)),
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.snapshot()).finish()
    }
}
