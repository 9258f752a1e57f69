//! Waiting for publications. The tests in `threads` also run in Miri.

mod threads {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};
    use std::time::{Duration, Instant, SystemTime};

    use crate::snapshot::inner::{CollectorInfo, SnapshotInner};
    use crate::snapshot::system::CollectorStatus;
    use crate::sync::publish::{Publisher, Reader};
    use crate::sync::subscription::SubscriberSender;
    use crate::time::{MonoNanos, TimePoint};

    const LONG: Duration = Duration::from_secs(120);
    /// Publications of a race: a million with `PLUGMETER_LONG`; few in Miri, for each of its schedules.
    fn rounds() -> u64 {
        match std::env::var_os("PLUGMETER_LONG") {
            _ if cfg!(miri) => 20,
            Some(_) => 1_000_000,
            None => 100_000,
        }
    }

    fn publisher(first: SnapshotInner) -> Publisher {
        Publisher::new(first, SubscriberSender::disabled())
    }

    fn inner(revision: u64) -> SnapshotInner {
        let started =
            TimePoint { mono: MonoNanos(0), wall: SystemTime::UNIX_EPOCH, boot: Duration::ZERO };
        let info = CollectorInfo {
            started,
            started_instant: Instant::now(),
            poll_interval: Duration::from_secs(1),
            history_duration: Duration::from_secs(1),
            process_trees: false,
            cpu_cores: 1,
            machine_memory: None,
            resumed: None,
        };
        let first = SnapshotInner::before_first_tick(info, CollectorStatus::Running);
        SnapshotInner { revision, ..first }
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Publishes as fast as `wait` returns: each publication races with the next wait. A lost wake-up
    /// would be a timeout.
    fn race(rounds: u64, wait: impl Fn(&Reader, u64) -> u64 + Sync) {
        let mut publisher = publisher(inner(0));
        let reader = publisher.reader();
        let (sender, seen) = crossbeam_channel::unbounded();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut revision = 0;
                while revision < rounds {
                    let newer = wait(&reader, revision);
                    assert!(newer > revision);
                    revision = newer;
                    sender.send(newer).unwrap();
                }
            });
            for revision in 1..=rounds {
                publisher.publish(Arc::new(inner(revision)));
                // In turn: the publication meets the wait at all its points.
                assert_eq!(seen.recv_timeout(LONG), Ok(revision), "a publication was missed");
            }
        });
    }

    #[test]
    fn no_publication_is_missed_by_blocking_wait() {
        race(rounds(), |reader, revision| {
            let seen = crate::snapshot::Snapshot(Arc::new(inner(revision)));
            reader.wait_for_newer(&seen, LONG).expect("it is published").revision()
        });
    }

    #[test]
    fn no_publication_is_missed_by_future() {
        race(rounds(), |reader, revision| {
            let seen = crate::snapshot::Snapshot(Arc::new(inner(revision)));
            block_on(reader.changed(&seen)).expect("it is published").revision()
        });
    }

    /// The writer publishes without a pause, as readers begin and end waits.
    #[test]
    fn waits_end_with_newest_revision_under_writer() {
        let mut publisher = publisher(inner(0));
        let readers = [publisher.reader(), publisher.reader()];
        thread::scope(|scope| {
            for reader in &readers {
                scope.spawn(move || {
                    let mut seen = reader.snapshot();
                    while let Some(newer) = reader.wait_for_newer(&seen, LONG) {
                        assert!(newer.revision() > seen.revision());
                        seen = newer;
                    }
                    // The last publication, although it was followed by the end.
                    assert_eq!(seen.revision(), rounds());
                });
            }
            (1..=rounds()).for_each(|revision| drop(publisher.publish(Arc::new(inner(revision)))));
            drop(publisher);
        });
    }

    #[test]
    fn end_wakes_all_waits() {
        let publisher = publisher(inner(3));
        let reader = publisher.reader();
        let seen = reader.snapshot();
        let older = crate::snapshot::Snapshot(Arc::new(inner(2)));
        thread::scope(|scope| {
            let waits = [
                scope.spawn(|| reader.wait_for_newer(&seen, LONG)),
                scope.spawn(|| block_on(reader.changed(&seen))),
            ];
            drop(publisher);
            for wait in waits {
                assert_eq!(wait.join().unwrap(), None);
            }
        });
        assert_eq!(reader.wait_for_newer(&seen, Duration::MAX), None);
        // A publication before the end is returned after it.
        assert_eq!(reader.wait_for_newer(&older, LONG), Some(seen));
    }

    #[test]
    fn wait_without_publication_times_out() {
        let publisher = publisher(inner(0));
        let reader = publisher.reader();
        let seen = reader.snapshot();
        for timeout in [Duration::ZERO, Duration::from_millis(5)] {
            let start = Instant::now();
            assert_eq!(reader.wait_for_newer(&seen, timeout), None);
            assert!(start.elapsed() >= timeout);
        }
    }

    #[test]
    fn dropped_futures_leave_no_listener() {
        let mut publisher = publisher(inner(0));
        let reader = publisher.reader();
        let seen = reader.snapshot();
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        for _ in 0..10 {
            let mut future = pin!(reader.changed(&seen));
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(publisher.0.changed.total_listeners(), 0);
        drop(publisher.publish(Arc::new(inner(1))));
    }
}
