//! The queues of subscribers. The tests in `threads` also run in Miri.

mod threads {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};
    use std::time::{Duration, SystemTime};

    use futures_core::Stream;

    use crate::snapshot::notification::{Notification, NotificationKind};
    use crate::sync::subscription::{Notifier, QUEUE_LEN, RecvError, Subscription};

    const LONG: Duration = Duration::from_secs(120);
    const ROUNDS: u64 = if cfg!(miri) { 30 } else { 20_000 };

    /// A notification with a number.
    fn numbered(number: u64) -> Notification {
        Notification {
            revision: number,
            at: SystemTime::UNIX_EPOCH,
            plugin: Arc::from("dice"),
            kind: NotificationKind::CrashCounted { crash_count: number },
        }
    }

    fn send(notifier: &mut Notifier, numbers: std::ops::Range<u64>) -> u64 {
        notifier.send(&mut numbers.map(numbered).collect())
    }

    /// Counts what arrives, and checks that numbers ascend without a gap other than `Lagged`.
    #[derive(Default)]
    struct Count {
        next: u64,
        received: u64,
        missed: u64,
    }

    impl Count {
        fn add(&mut self, notification: &Notification) {
            match notification.kind {
                NotificationKind::CrashCounted { crash_count } => {
                    assert_eq!(crash_count, self.next, "the order, without gaps");
                    (self.next, self.received) = (crash_count + 1, self.received + 1);
                }
                NotificationKind::Lagged { missed } => {
                    (self.next, self.missed) = (self.next + missed, self.missed + missed);
                }
                ref other => panic!("{other:?}"),
            }
        }
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn poll(subscription: &mut Subscription) -> Poll<Option<Notification>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        Pin::new(subscription).poll_next(&mut Context::from_waker(&waker))
    }

    fn next_of_stream(subscription: &mut Subscription) -> Option<Notification> {
        loop {
            match poll(subscription) {
                Poll::Ready(next) => return next,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// The sender waits until the receiver has caught up, so nothing is lost; and each notification
    /// races with the next wait.
    #[test]
    fn no_notification_is_missed() {
        for mode in 0..3 {
            let (mut notifier, subscribers) = Notifier::new();
            let mut subscription = subscribers.subscribe();
            let (sender, seen) = crossbeam_channel::unbounded();
            thread::scope(|scope| {
                scope.spawn(move || {
                    let mut count = Count::default();
                    loop {
                        let next = match mode {
                            0 => subscription.recv().ok(),
                            1 => subscription.recv_timeout(LONG).ok(),
                            _ => next_of_stream(&mut subscription),
                        };
                        let Some(next) = next else { break };
                        count.add(&next);
                        sender.send(()).unwrap();
                    }
                    assert_eq!((count.received, count.missed), (ROUNDS, 0));
                });
                for number in 0..ROUNDS {
                    assert_eq!(send(&mut notifier, number..number + 1), 0);
                    assert_eq!(seen.recv_timeout(LONG), Ok(()), "a notification was missed");
                }
                drop(notifier);
            });
        }
    }

    /// Subscribers of different speed, and others that come and go.
    #[test]
    fn losses_of_slow_subscribers_are_counted_exactly() {
        let (mut notifier, subscribers) = Notifier::new();
        let slow = subscribers.subscribe();
        let sleeping = subscribers.subscribe();
        let total = ROUNDS + 2 * QUEUE_LEN as u64;
        thread::scope(|scope| {
            let counted = scope.spawn(move || {
                let mut count = Count::default();
                for notification in slow {
                    count.add(&notification);
                    if count.received % 16 == 0 {
                        thread::yield_now();
                    }
                }
                count
            });
            let visits = scope.spawn(|| {
                for _ in 0..ROUNDS / 10 {
                    let visitor = subscribers.subscribe();
                    let first = visitor.recv_timeout(Duration::from_micros(50));
                    assert!(!matches!(first, Err(RecvError::Closed)));
                }
            });
            let mut dropped = 0;
            let mut sent = 0;
            while sent < total || !visits.is_finished() {
                dropped = send(&mut notifier, sent..sent + 1);
                sent += 1;
            }
            visits.join().unwrap();
            drop(notifier);
            let count = counted.join().unwrap();
            assert_eq!(count.received + count.missed, sent);
            let mut asleep = Count::default();
            sleeping.into_iter().for_each(|notification| asleep.add(&notification));
            assert_eq!(asleep.received, QUEUE_LEN as u64);
            assert_eq!(asleep.missed, sent - QUEUE_LEN as u64);
            // Visitors may lose some as well: their queues are gone.
            assert!(dropped >= count.missed + asleep.missed);
        });
    }

    #[test]
    fn full_queue_drops_and_reports_before_next() {
        let (mut notifier, subscribers) = Notifier::new();
        let subscription = subscribers.subscribe();
        let len = QUEUE_LEN as u64;
        assert_eq!(send(&mut notifier, 0..len), 0);
        assert_eq!(send(&mut notifier, len..len + 5), 5);
        // One place is not enough for the number and the notification.
        assert_eq!(subscription.try_recv().unwrap(), numbered(0));
        assert_eq!(send(&mut notifier, len + 5..len + 6), 6);
        assert_eq!(subscription.try_recv().unwrap(), numbered(1));
        assert_eq!(send(&mut notifier, len + 6..len + 7), 6);
        let rest: Vec<_> = std::iter::from_fn(|| subscription.try_recv().ok()).collect();
        assert_eq!(rest.len(), QUEUE_LEN);
        assert_eq!(rest[QUEUE_LEN - 2].kind, NotificationKind::Lagged { missed: 6 });
        assert_eq!(rest[QUEUE_LEN - 1], numbered(len + 6));
    }

    #[test]
    fn end_delivers_queued_and_lost_ones() {
        let (mut notifier, subscribers) = Notifier::new();
        let subscription = subscribers.subscribe();
        send(&mut notifier, 0..QUEUE_LEN as u64 + 3);
        drop(notifier);
        let mut count = Count::default();
        let mut last = numbered(0);
        while let Ok(notification) = subscription.try_recv() {
            count.add(&notification);
            last = notification;
        }
        assert_eq!((count.received, count.missed), (QUEUE_LEN as u64, 3));
        // With the revision of the newest one that was lost.
        assert_eq!(last.kind, NotificationKind::Lagged { missed: 3 });
        assert_eq!(last.revision, QUEUE_LEN as u64 + 2);
        assert_eq!(subscription.recv(), Err(RecvError::Closed));
        assert_eq!(subscribers.subscribe().recv(), Err(RecvError::Closed));
    }

    #[test]
    fn dropped_subscription_is_removed() {
        let (mut notifier, subscribers) = Notifier::new();
        let kept = subscribers.subscribe();
        (0..100).for_each(|_| drop(subscribers.subscribe()));
        assert_eq!(notifier.send(&mut Vec::new()), 0);
        assert_eq!(notifier.subscribers.len(), 1);
        drop(kept);
        send(&mut notifier, 0..1);
        assert_eq!(notifier.subscribers.len(), 0);
    }

    #[test]
    fn receiving_without_notification_returns_why() {
        let (notifier, subscribers) = Notifier::new();
        let mut subscription = subscribers.subscribe();
        assert_eq!(subscription.try_recv(), Err(RecvError::Empty));
        assert_eq!(subscription.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut));
        assert!(poll(&mut subscription).is_pending());
        drop(notifier);
        assert_eq!(poll(&mut subscription), Poll::Ready(None));
    }
}
