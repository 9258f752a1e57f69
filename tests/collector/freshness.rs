//! Status, age and staleness of snapshots.

use std::time::Duration;

use plugmeter::{Collector, CollectorStatus, Config, ProbeKind};
use plugmeter_test_support::{manual_collector, ticking_collector, wait_for};

#[test]
fn status_states_why_collector_does_not_sample() {
    let collector = manual_collector(ProbeKind::default());
    let running = collector.snapshot();
    assert_eq!(running.status(), CollectorStatus::Running);
    collector.stop();
    assert_eq!(collector.snapshot().status(), CollectorStatus::Stopped);
    assert_eq!(running.status(), CollectorStatus::Running, "a snapshot does not change");
    let disabled = Collector::start(Config::default().enabled(false)).unwrap();
    assert_eq!(disabled.snapshot().status(), CollectorStatus::Disabled);
    disabled.stop();
    assert_eq!(disabled.snapshot().status(), CollectorStatus::Disabled);
}

/// Stale is older than three intervals and a second.
#[test]
fn stopped_collector_becomes_stale() {
    let interval = Duration::from_millis(10);
    let limit = interval * 3 + Duration::from_secs(1);
    let collector = ticking_collector(ProbeKind::default(), interval);
    collector.sample_now().unwrap();
    collector.stop();
    let snapshot = collector.snapshot();
    let elapsed = snapshot.sampled_at_instant().elapsed();
    assert!(snapshot.age() >= elapsed);
    wait_for("a stale snapshot", || {
        let (before, is_stale, after) = (snapshot.age(), snapshot.is_stale(), snapshot.age());
        assert!(before <= after);
        assert!(is_stale || before <= limit, "not stale at {before:?}");
        assert!(!is_stale || after > limit, "stale at {after:?}");
        is_stale.then_some(())
    });
    assert!(collector.snapshot().is_stale());
}
