//! Registration and removal of plugins, and the stop of the collector.

use std::thread;
use std::time::Instant;

use plugmeter::{Collector, Config, PluginState, ProbeKind, RegisterError, StoppedError, Window};
use plugmeter_test_support::{HANG_TIMEOUT, manual_collector, probes, sleeper, wait_for};

#[test]
fn removed_plugin_stays_in_older_snapshots() {
    let collector = manual_collector(ProbeKind::default());
    let plugin = collector.register("dice").unwrap();
    let child = sleeper();
    plugin.started(child.pid(), "1.0");
    plugin.events().add(3);
    let before = collector.sample_now().unwrap();
    let other = collector.plugin("dice").unwrap();
    plugin.remove();
    assert!(collector.plugin("dice").is_none());

    let again = collector.register("dice").unwrap();
    let after = collector.sample_now().unwrap();
    let view = after.plugin("dice").unwrap();
    assert_eq!((view.event_count(), view.runs().count()), (0, 0));
    assert_eq!(view.history(Window::All).len(), 1);

    // Handles of the removed plugin have no effect.
    other.started(child.pid(), "2.0");
    other.remove();
    again.events().increment();
    let after = collector.sample_now().unwrap();
    let view = after.plugin("dice").unwrap();
    assert_eq!((view.state(), view.event_count()), (PluginState::Stopped, 1));

    let kept = before.plugin("dice").unwrap();
    assert_eq!((kept.version(), kept.event_count()), (Some("1.0"), 3));
}

#[test]
fn register_beyond_65536_plugins_fails() {
    let collector = manual_collector(ProbeKind::default());
    for i in 0..65_536 {
        collector.register(&i.to_string()).unwrap();
    }
    let error = collector.register("one more").unwrap_err();
    assert_eq!(error, RegisterError::TooManyPlugins { max: 65_536 });
    assert_eq!(collector.sample_now().unwrap().plugins().len(), 65_536);
    collector.plugin("7").unwrap().remove();
    collector.register("one more").unwrap();
    let snapshot = collector.sample_now().unwrap();
    assert!(snapshot.plugin("7").is_none() && snapshot.plugin("one more").is_some());
}

#[test]
fn stop_does_not_wait_for_tick_or_readers() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let child = sleeper();
        plugin.started(child.pid(), "1.0");
        let held = collector.sample_now().unwrap();
        let reader = collector.reader();
        let start = Instant::now();
        collector.stop();
        // Far less than the poll interval of an hour.
        assert!(start.elapsed() < HANG_TIMEOUT);
        collector.stop();

        let last = reader.snapshot();
        assert!(last.is_stopped() && !held.is_stopped());
        assert_eq!(last.plugin("dice").unwrap().version(), Some("1.0"));
        assert_eq!(collector.sample_now(), Err(StoppedError));
        assert_eq!(collector.register("8ball").unwrap_err(), RegisterError::Stopped);

        // Reports after the stop have no effect; events are still counted.
        plugin.started(child.pid(), "2.0");
        plugin.stopped();
        plugin.remove();
        plugin.events().increment();
        assert_eq!(plugin.events().get(), 1);
        assert_eq!(reader.snapshot(), last);
        drop(collector);
        assert_eq!(reader.snapshot(), last);
        assert_eq!(held.plugin("dice").unwrap().pid(), Some(child.pid()));
    }
}

#[test]
fn concurrent_stops_return_after_stop() {
    for _ in 0..20 {
        let collector = manual_collector(ProbeKind::default());
        let reader = collector.reader();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    collector.stop();
                    assert!(reader.snapshot().is_stopped(), "stop returns after the stop");
                });
            }
            scope.spawn(|| {
                // A snapshot or an error, in either order with the stop. The call must return.
                let _: Result<_, StoppedError> = collector.sample_now();
            });
        });
    }
}

#[test]
fn stop_counts_pending_crash() {
    let collector = manual_collector(ProbeKind::default());
    let plugin = collector.register("dice").unwrap();
    let mut child = sleeper();
    plugin.started(child.pid(), "");
    // A zombie, whose status is known.
    child.kill();
    wait_for("the crash", || {
        let snapshot = collector.sample_now().unwrap();
        (snapshot.plugin("dice").unwrap().state() == PluginState::Crashed).then_some(())
    });
    collector.stop();
    assert_eq!(collector.snapshot().plugin("dice").unwrap().crash_count(), 1);
}

#[test]
fn disabled_collector_counts_events_only() {
    let config = Config::default().enabled(false);
    let collector = Collector::start(config).unwrap();
    let plugin = collector.register("dice").unwrap();
    plugin.started(std::process::id(), "1.0");
    plugin.events().add(2);
    assert_eq!(plugin.events().get(), 2);
    assert!(collector.plugin("dice").is_some());
    assert!(matches!(collector.register("dice"), Err(RegisterError::AlreadyRegistered { .. })));
    assert_eq!(collector.sample_now(), Err(StoppedError));
    let snapshot = collector.snapshot();
    assert!(snapshot.is_stopped());
    assert_eq!((snapshot.tick(), snapshot.plugins().len()), (0, 0));
    collector.stop();
    assert_eq!(collector.register("8ball").unwrap_err(), RegisterError::Stopped);
}
