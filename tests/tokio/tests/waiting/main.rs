//! Waiting for snapshots and notifications by several async runtimes, and by a thread. No runtime is
//! required by the library.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use plugmeter::{Collector, Config, NotificationKind, PluginState, Reader, Subscription};

/// State changes that each waiter has to see.
const CHANGES: usize = 200;

/// Sends state changes, each after the snapshot with the previous one was published, and stops.
fn report(collector: &Collector) {
    let plugin = collector.register("dice").unwrap();
    let reader = collector.reader();
    let mut seen = reader.snapshot();
    for change in 0..CHANGES {
        let even = [PluginState::Running, PluginState::Unhealthy];
        plugin.set_state(even[change % 2]);
        while seen.plugin("dice").is_none_or(|dice| dice.state() != even[change % 2]) {
            seen = reader.wait_for_newer(&seen, Duration::MAX).unwrap();
        }
    }
    collector.stop();
}

/// Follows the snapshots to the end, and returns their number.
async fn follow(reader: Reader) -> usize {
    let mut seen = reader.snapshot();
    let mut count = 0;
    while let Some(newer) = reader.changed(&seen).await {
        assert!(newer.revision() > seen.revision());
        (seen, count) = (newer, count + 1);
    }
    assert!(seen.is_stopped());
    count
}

fn is_change(kind: &NotificationKind) -> bool {
    matches!(kind, NotificationKind::StateChanged { .. })
}

/// Counts state changes by the method.
async fn by_next(subscription: Subscription) -> usize {
    let mut count = 0;
    while let Some(notification) = subscription.next().await {
        count += usize::from(is_change(&notification.kind));
    }
    count
}

/// Counts state changes by the stream.
async fn by_stream(subscription: Subscription) -> usize {
    StreamExt::filter(subscription, |next| std::future::ready(is_change(&next.kind))).count().await
}

/// Runs three waiters at a time on an executor.
fn check(
    run: impl FnOnce(
        std::pin::Pin<Box<dyn Future<Output = (usize, usize, usize)> + Send>>,
    ) -> (usize, usize, usize),
) {
    let config = Config::default().poll_interval(Duration::from_secs(3_600));
    let collector = Collector::start(config).unwrap();
    let (next, stream) = (collector.subscribe(), collector.subscribe());
    let reader = collector.reader();
    thread::scope(|scope| {
        scope.spawn(|| report(&collector));
        let (snapshots, next, stream) = run(Box::pin(async {
            futures_util::join!(follow(reader), by_next(next), by_stream(stream))
        }));
        assert!(snapshots > 0);
        assert_eq!((next, stream), (CHANGES, CHANGES));
    });
}

#[test]
fn waiters_run_on_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    check(|waiters| runtime.block_on(async { tokio::spawn(waiters).await.unwrap() }));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    check(|waiters| runtime.block_on(waiters));
}

#[test]
fn waiters_run_on_executor_of_smol() {
    let executor = async_executor::Executor::new();
    check(|waiters| futures_lite::future::block_on(executor.run(executor.spawn(waiters))));
}

#[test]
fn waiters_run_on_futures_block_on() {
    check(futures_executor::block_on);
}

#[test]
fn waiters_run_in_threads() {
    let config = Config::default().poll_interval(Duration::from_secs(3_600));
    let collector = Collector::start(config).unwrap();
    let (reader, subscription) = (collector.reader(), collector.subscribe());
    thread::scope(|scope| {
        scope.spawn(|| report(&collector));
        let followed = scope.spawn(|| {
            let mut seen = reader.snapshot();
            while let Some(newer) = reader.wait_for_newer(&seen, Duration::MAX) {
                seen = newer;
            }
            seen.is_stopped()
        });
        let changes = Iterator::filter(subscription, |next| is_change(&next.kind)).count();
        assert_eq!(changes, CHANGES);
        assert!(followed.join().unwrap());
    });
}
