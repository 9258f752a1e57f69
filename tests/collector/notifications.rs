//! Subscribers and waiting readers of a collector with its own thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use plugmeter::{
    Collector, Config, NotificationKind, Plugin, PluginState, RecvError, Subscription,
};
use plugmeter_test_support::{HANG_TIMEOUT, wait_for};

/// Restarts of one plugin: each is the end of a run and the begin of the next.
const RESTARTS: u64 = 10_000;
/// Reports that are sent before the subscriber has to have received earlier ones.
const AHEAD: u64 = 200;

fn collector() -> (Collector, Plugin, Subscription) {
    let collector =
        Collector::start(Config::default().poll_interval(Duration::from_secs(3_600))).unwrap();
    let subscription = collector.subscribe();
    let plugin = collector.register("dice").unwrap();
    (collector, plugin, subscription)
}

/// Counts begins and ends of runs until the subscription is closed. Runs begin and end in turn.
fn count(subscription: Subscription, received: &AtomicU64) -> (u64, u64) {
    let (mut begun, mut ended, mut active) = (0, 0, None);
    for notification in subscription {
        match notification.kind {
            NotificationKind::RunStarted(run) => {
                assert_eq!(active.replace(run.id), None);
                begun += 1;
            }
            NotificationKind::RunEnded { run, crash } => {
                assert_eq!((active.take(), crash), (Some(run.id), false));
                ended += 1;
            }
            NotificationKind::Lagged { missed } => panic!("{missed} are lost"),
            _ => {}
        }
        // ORDERING: Relaxed. Only the number matters.
        received.store(begun, Ordering::Relaxed);
    }
    (begun, ended)
}

#[test]
fn reading_subscriber_loses_no_restart() {
    let (collector, plugin, subscription) = collector();
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        let received = &received;
        let counted = scope.spawn(move || count(subscription, received));
        for restart in 1..=RESTARTS {
            plugin.started(std::process::id(), "");
            if restart % AHEAD == 0 {
                let is_read = || received.load(Ordering::Relaxed) + AHEAD >= restart;
                wait_for("the subscriber", || is_read().then_some(()));
            }
        }
        collector.sample_now().unwrap();
        wait_for("all", || (received.load(Ordering::Relaxed) == RESTARTS).then_some(()));
        plugin.stopped();
        collector.stop();
        assert_eq!(counted.join().unwrap(), (RESTARTS, RESTARTS));
    });
    assert_eq!(collector.snapshot().sampler().dropped_notifications, 0);
}

#[test]
fn losses_of_sleeping_subscriber_are_counted() {
    let (collector, plugin, subscription) = collector();
    for _ in 0..RESTARTS {
        plugin.started(std::process::id(), "");
    }
    collector.stop();
    let (mut received, mut missed) = (0, 0);
    for notification in subscription {
        match notification.kind {
            NotificationKind::Lagged { missed: more } => missed += more,
            _ => received += 1,
        }
    }
    // Registered, the first run with its state, and then two for each restart.
    let sent = 1 + 2 + 2 * (RESTARTS - 1);
    assert_eq!((received + missed, received), (sent, 1_024));
}

#[test]
fn snapshot_after_notification_shows_its_change() {
    let (collector, plugin, subscription) = collector();
    thread::scope(|scope| {
        let reader = collector.reader();
        let checked = scope.spawn(move || {
            let mut states = 0;
            for notification in subscription {
                assert!(reader.snapshot().revision() >= notification.revision);
                states +=
                    u32::from(matches!(notification.kind, NotificationKind::StateChanged { .. }));
            }
            states
        });
        for _ in 0..100 {
            plugin.set_state(PluginState::Unhealthy);
            plugin.set_state(PluginState::Running);
        }
        collector.stop();
        assert_eq!(checked.join().unwrap(), 200);
    });
}

#[test]
fn stop_ends_waiting_subscribers_and_readers() {
    let (collector, _plugin, subscription) = collector();
    assert_eq!(subscription.recv().unwrap().kind, NotificationKind::Registered);
    let reader = collector.reader();
    thread::scope(|scope| {
        let received = scope.spawn(|| subscription.recv());
        let waited = scope.spawn(|| {
            let mut seen = reader.snapshot();
            while let Some(newer) = reader.wait_for_newer(&seen, HANG_TIMEOUT) {
                seen = newer;
            }
            seen
        });
        collector.stop();
        assert_eq!(received.join().unwrap(), Err(RecvError::Closed));
        assert!(waited.join().unwrap().is_stopped());
    });
    assert_eq!(collector.subscribe().recv(), Err(RecvError::Closed));
    let seen = reader.snapshot();
    assert_eq!(reader.wait_for_newer(&seen, HANG_TIMEOUT), None);
}

#[test]
fn disabled_collector_has_nothing_to_wait_for() {
    let collector = Collector::start(Config::default().enabled(false)).unwrap();
    let seen = collector.snapshot();
    assert_eq!(collector.subscribe().recv(), Err(RecvError::Closed));
    assert_eq!(collector.reader().wait_for_newer(&seen, HANG_TIMEOUT), None);
}

/// Subscribers and waiting readers that come and go while reports are applied.
#[test]
fn subscribers_come_and_go() {
    let (collector, plugin, subscription) = collector();
    drop(subscription);
    let rounds = std::env::var("PLUGMETER_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap());
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..4)
            .map(|visitor| {
                let (collector, plugin) = (&collector, &plugin);
                scope.spawn(move || {
                    for round in 0..rounds {
                        let subscription = collector.subscribe();
                        let seen = collector.snapshot();
                        plugin.started(std::process::id(), "");
                        let first = subscription.recv_timeout(HANG_TIMEOUT).unwrap();
                        let newer = collector.reader().wait_for_newer(&seen, HANG_TIMEOUT).unwrap();
                        assert!(newer.revision() > seen.revision());
                        if (round + visitor) % 2 == 0 {
                            continue; // dropped with the rest
                        }
                        assert!(collector.snapshot().revision() >= first.revision);
                    }
                })
            })
            .collect();
        visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
    });
    assert_eq!(collector.sample_now().unwrap().sampler().dropped_notifications, 0);
}
