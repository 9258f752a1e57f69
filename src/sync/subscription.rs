//! Notifications, from the sampler to its subscribers.
//!
//! Each subscriber has a bounded queue of its own, which the sampler fills without waiting. A full
//! queue costs its subscriber notifications, and nobody else anything.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use event_listener::Event;
use futures_core::Stream;

use super::fork::ForkGuard;
use super::listening::Listening;
use crate::snapshot::notification::{Notification, NotificationKind};

/// Notifications that wait for one subscriber. Fewer in Miri, which fills queues slowly.
const QUEUE_LEN: usize = if cfg!(miri) { 16 } else { 1_024 };

/// Why a [`Subscription`] has not returned a notification.
///
/// ```
/// use plugmeter::{Collector, Config, RecvError};
///
/// let collector = Collector::start(Config::default())?;
/// let subscription = collector.subscribe();
/// assert_eq!(subscription.try_recv(), Err(RecvError::Empty));
/// collector.stop();
/// assert_eq!(subscription.recv(), Err(RecvError::Closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecvError {
    /// No notification is waiting.
    Empty,
    /// No notification has arrived in time.
    TimedOut,
    /// The subscription has ended: the collector has stopped or is disabled, and all notifications were
    /// received; or this is a forked child.
    Closed,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "there is no notification now",
            Self::TimedOut => "no notification has arrived in time",
            Self::Closed => "there are no further notifications",
        })
    }
}

impl Error for RecvError {}

/// What a subscriber and the sampler share besides the queue.
#[derive(Debug, Default)]
struct Shared {
    /// Notified after each change of the queue.
    arrived: Event,
    /// Notifications that were lost after the last one in the queue. Set when the queue is closed.
    missed_at_end: AtomicU64,
    /// The last one of these. Set before their number.
    last_missed: OnceLock<Arc<Notification>>,
}

/// The sampler's end of one queue.
#[derive(Debug)]
struct Subscriber {
    queue: Sender<Arc<Notification>>,
    shared: Arc<Shared>,
    /// Notifications that were dropped since the last one that fitted.
    missed: u64,
    /// The newest one that was dropped.
    last_missed: Option<Arc<Notification>>,
}

impl Subscriber {
    /// Queues a notification, if it fits. Returns whether the subscription still exists.
    fn send(&mut self, notification: &Arc<Notification>, dropped: &mut u64) -> bool {
        // Only this thread adds to the queue, so what fits now fits later.
        let needed = if self.missed == 0 { 1 } else { 2 };
        let mut sent = Ok(());
        if self.queue.len() + needed > QUEUE_LEN {
            self.missed += 1;
            self.last_missed = Some(Arc::clone(notification));
            *dropped += 1;
        } else {
            let missed = mem::take(&mut self.missed);
            if missed != 0 {
                sent = self.queue.try_send(Arc::new(lagged(notification, missed)));
            }
            sent = sent.and_then(|()| self.queue.try_send(Arc::clone(notification)));
        }
        !matches!(sent, Err(TrySendError::Disconnected(_))) && Arc::strong_count(&self.shared) > 1
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(last) = self.last_missed.take() {
            let _: Result<(), _> = self.shared.last_missed.set(last);
        }
        // ORDERING: Release, paired with the Acquire in `try_recv`: a subscriber that sees the queue
        // disconnected sees the number. The queue orders them as well.
        self.shared.missed_at_end.store(self.missed, Ordering::Release);
        let (closed, _) = crossbeam_channel::bounded(0);
        drop(mem::replace(&mut self.queue, closed));
        self.shared.arrived.notify(usize::MAX);
    }
}

fn lagged(next: &Notification, missed: u64) -> Notification {
    let kind = NotificationKind::Lagged { missed };
    Notification { revision: next.revision, at: next.at, plugin: Arc::from(""), kind }
}

/// What the sampler receives from other threads for its subscribers.
#[derive(Debug)]
enum Incoming {
    Subscriber(Subscriber),
    /// Not from the engine. It is sent with those of the next publication, before them.
    #[cfg_attr(
        not(feature = "store"),
        expect(dead_code, reason = "only a store sends notifications")
    )]
    Notification(Notification),
}

/// The sampler's end: all subscribers. Dropping it closes their queues.
#[derive(Debug)]
pub(crate) struct Notifier {
    incoming: Receiver<Incoming>,
    subscribers: Vec<Subscriber>,
    dropped: u64,
}

impl Notifier {
    /// The two ends.
    pub(crate) fn new() -> (Self, SubscriberSender) {
        let (sender, incoming) = crossbeam_channel::unbounded();
        let notifier = Self { incoming, subscribers: Vec::new(), dropped: 0 };
        (notifier, SubscriberSender { sender: Some(sender), fork_guard: ForkGuard::new() })
    }

    /// Sends notifications to all subscribers, and removes them from the list. Returns the number of
    /// those that were dropped so far, because a queue was full. Never waits for a subscriber.
    pub(crate) fn send(&mut self, notifications: &mut Vec<Notification>) -> u64 {
        let mut others = 0;
        for incoming in self.incoming.try_iter() {
            match incoming {
                Incoming::Subscriber(subscriber) => self.subscribers.push(subscriber),
                Incoming::Notification(notification) => {
                    notifications.insert(others, notification);
                    others += 1;
                }
            }
        }
        if self.subscribers.is_empty() {
            notifications.clear();
            return self.dropped;
        }
        self.subscribers.retain(|subscriber| Arc::strong_count(&subscriber.shared) > 1);
        let Self { subscribers, dropped, .. } = self;
        let is_any = !notifications.is_empty();
        for notification in notifications.drain(..).map(Arc::new) {
            subscribers.retain_mut(|subscriber| subscriber.send(&notification, dropped));
        }
        if is_any {
            for subscriber in subscribers {
                subscriber.shared.arrived.notify(usize::MAX);
            }
        }
        *dropped
    }
}

/// The host's end: creates subscriptions.
#[derive(Debug)]
pub(crate) struct SubscriberSender {
    /// `None` without a sampler.
    sender: Option<Sender<Incoming>>,
    fork_guard: ForkGuard,
}

impl SubscriberSender {
    /// For a collector without a sampler: all subscriptions are closed.
    pub(crate) fn disabled() -> Self {
        Self { sender: None, fork_guard: ForkGuard::new() }
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        let fork_guard = self.fork_guard;
        let sender = self.sender.as_ref().filter(|_| fork_guard.in_owner_process());
        let parts = sender.map(|sender| {
            let (queue, receiver) = crossbeam_channel::bounded(QUEUE_LEN);
            let shared = Arc::new(Shared::default());
            let subscriber =
                Subscriber { queue, shared: Arc::clone(&shared), missed: 0, last_missed: None };
            // An error means that the sampler is gone: dropping the subscriber closes the queue.
            let _: Result<(), _> = sender.send(Incoming::Subscriber(subscriber));
            Parts { receiver, shared }
        });
        Subscription { parts, listening: None, fork_guard }
    }
}

#[cfg(feature = "store")]
impl SubscriberSender {
    /// Sends a notification to all subscribers, with the next publication.
    pub(crate) fn notify(&self, notification: Notification) {
        if let Some(sender) = self.sender.as_ref().filter(|_| self.fork_guard.in_owner_process()) {
            // An error means that the sampler is gone, and with it all subscribers.
            let _: Result<(), _> = sender.send(Incoming::Notification(notification));
        }
    }
}

impl Drop for SubscriberSender {
    fn drop(&mut self) {
        if !self.fork_guard.in_owner_process() {
            // The channel may use locks that were held at the fork.
            mem::forget(self.sender.take());
        }
    }
}

/// A subscriber's end of its queue.
#[derive(Debug)]
struct Parts {
    receiver: Receiver<Arc<Notification>>,
    shared: Arc<Shared>,
}

/// Receives notifications, from its creation on: see [`Collector::subscribe`].
///
/// Each subscription receives every notification, in the order in which the sampler processed the
/// changes. Its queue holds 1,024 notifications. While it is full, further ones are dropped, and the next
/// one that fits is preceded by [`NotificationKind::Lagged`] with their number; the sampler never waits.
/// The notifications of a publication are sent together, so even a fast subscriber may lose some if there
/// are more than 1,024 of them. After [`Collector::stop`], the queued notifications can be received, then
/// [`RecvError::Closed`]. Dropping the subscription ends it.
///
/// It can be received from in a thread ([`recv`](Self::recv), or as an [`Iterator`]) and in any async
/// runtime ([`next`](Self::next), or as a [`Stream`]). Where `StreamExt` is in scope, name the trait in calls
/// of a method that both traits have: `StreamExt::filter(subscription, ..)`. If several threads share a
/// subscription, each notification is received by one of them. Do not wait on the sampler's own thread,
/// for example in the host's logger.
///
/// ```
/// use plugmeter::{Collector, Config, NotificationKind};
///
/// let collector = Collector::start(Config::default())?;
/// let subscription = collector.subscribe();
/// let thread = std::thread::spawn(move || {
///     let mut removed = 0;
///     for notification in subscription {
///         println!("{notification}");
///         removed += u32::from(notification.kind == NotificationKind::Removed);
///     }
///     removed // the collector has stopped
/// });
/// collector.register("dice")?.remove();
/// collector.stop();
/// assert_eq!(thread.join().unwrap(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Collector::subscribe`]: crate::Collector::subscribe
/// [`Collector::stop`]: crate::Collector::stop
pub struct Subscription {
    /// `None` without a sampler.
    parts: Option<Parts>,
    /// Of a pending poll of the stream.
    listening: Option<Listening>,
    fork_guard: ForkGuard,
}

impl Subscription {
    /// Returns the next notification without waiting.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`] if none is waiting, [`RecvError::Closed`] after the last one.
    pub fn try_recv(&self) -> Result<Notification, RecvError> {
        let parts = self.parts.as_ref().filter(|_| self.fork_guard.in_owner_process());
        let Parts { receiver, shared } = parts.ok_or(RecvError::Closed)?;
        match receiver.try_recv() {
            Ok(notification) => Ok(Arc::unwrap_or_clone(notification)),
            Err(TryRecvError::Empty) => Err(RecvError::Empty),
            Err(TryRecvError::Disconnected) => {
                // ORDERING: AcqRel. Acquire pairs with the Release of the close; the exchange lets one
                // of several receivers report the number.
                match shared.missed_at_end.swap(0, Ordering::AcqRel) {
                    0 => Err(RecvError::Closed),
                    missed => {
                        let last = shared.last_missed.get().ok_or(RecvError::Closed)?;
                        Ok(lagged(last, missed))
                    }
                }
            }
        }
    }

    /// Waits for the next notification.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] after the last one.
    pub fn recv(&self) -> Result<Notification, RecvError> {
        self.recv_until(None)
    }

    /// Waits for the next notification, at most this long.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`] if none arrives in time, [`RecvError::Closed`] after the last one.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Notification, RecvError> {
        // A time beyond the clock's range never comes.
        self.recv_until(Instant::now().checked_add(timeout))
    }

    fn recv_until(&self, deadline: Option<Instant>) -> Result<Notification, RecvError> {
        loop {
            match self.try_recv() {
                Err(RecvError::Empty) => {}
                received => return received,
            }
            let Some(listening) = self.listen() else { return Err(RecvError::Closed) };
            // Between the first look and the registration one may have arrived.
            match self.try_recv() {
                Err(RecvError::Empty) => {}
                received => return received,
            }
            if !listening.wait(deadline) {
                return self.try_recv().map_err(|error| match error {
                    RecvError::Empty => RecvError::TimedOut,
                    RecvError::TimedOut | RecvError::Closed => error,
                });
            }
        }
    }

    /// Waits for the next notification, in any async runtime; `None` after the last one. Dropping the
    /// future loses no notification. In a thread use [`recv`](Self::recv) or a `for` loop.
    ///
    /// ```
    /// # async fn watch(collector: plugmeter::Collector) {
    /// let subscription = collector.subscribe();
    /// while let Some(notification) = subscription.next().await {
    ///     println!("{notification}");
    /// }
    /// # }
    /// ```
    pub fn next(&self) -> impl Future<Output = Option<Notification>> + Send + '_ {
        let mut listening = None;
        std::future::poll_fn(move |context| self.poll_recv(&mut listening, context))
    }

    fn poll_recv(
        &self,
        listening: &mut Option<Listening>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Notification>> {
        loop {
            match self.try_recv() {
                Ok(notification) => {
                    *listening = None;
                    return Poll::Ready(Some(notification));
                }
                Err(RecvError::Empty) => {}
                Err(RecvError::TimedOut | RecvError::Closed) => return Poll::Ready(None),
            }
            match listening {
                Some(registered) => {
                    if registered.poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    *listening = None;
                }
                // Then look again: one may have arrived before.
                None => *listening = self.listen(),
            }
        }
    }

    fn listen(&self) -> Option<Listening> {
        let parts = self.parts.as_ref()?;
        Some(Listening::new(&parts.shared.arrived, self.fork_guard))
    }
}

impl Iterator for Subscription {
    type Item = Notification;

    /// Waits for the next notification; `None` after the last one.
    fn next(&mut self) -> Option<Notification> {
        self.recv().ok()
    }
}

impl Stream for Subscription {
    type Item = Notification;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Notification>> {
        let mut listening = self.listening.take();
        let polled = self.poll_recv(&mut listening, context);
        self.listening = listening;
        polled
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.fork_guard.in_owner_process() {
            // The queue may use locks that were held at the fork.
            mem::forget(self.parts.take());
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued = self.parts.as_ref().map_or(0, |parts| parts.receiver.len());
        f.debug_struct("Subscription").field("queued", &queued).finish_non_exhaustive()
    }
}
