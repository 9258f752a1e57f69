//! Publications: what a snapshot contains, and when the next one is published.

use std::thread;
use std::time::{Duration, Instant};

use plugmeter::{PluginState, ProbeKind, Window};
use plugmeter_test_support::{
    manual_collector, probes, ticking_collector, wait_for, wait_for_plugin,
};

#[test]
fn sample_now_includes_earlier_reports() {
    let collector = manual_collector(ProbeKind::default());
    for i in 0..200u64 {
        let name = format!("plugin {i}");
        let plugin = collector.register(&name).unwrap();
        plugin.events().add(i);
        plugin.set_state(PluginState::Unhealthy);
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin(&name).unwrap();
        assert_eq!((view.event_count(), view.state()), (i, PluginState::Unhealthy));
    }
}

#[test]
fn change_is_published_between_ticks() {
    let collector = manual_collector(ProbeKind::default());
    let plugin = collector.register("dice").unwrap();
    wait_for_plugin(&collector, "dice", "its registration", |_| true);
    let first = collector.snapshot();
    plugin.set_state(PluginState::Starting);
    let second = wait_for_plugin(&collector, "dice", "its state", |view| {
        view.state() == PluginState::Starting
    });
    assert!(second.revision() > first.revision());
    assert_eq!(second.tick(), first.tick());
}

/// Changes are published at most every ten milliseconds, and the last change is published too.
#[test]
fn publications_are_10_ms_apart_and_end_current() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let start = Instant::now();
        let first = collector.sample_now().unwrap().revision();
        wait_for("twenty publications", || {
            for _ in 0..20 {
                plugin.set_state(PluginState::Starting);
                plugin.set_state(PluginState::Unhealthy);
                thread::sleep(Duration::from_micros(50));
            }
            (collector.snapshot().revision() >= first + 20).then_some(())
        });
        plugin.set_state(PluginState::Stopping);
        let last = wait_for_plugin(&collector, "dice", "the last state", |view| {
            view.state() == PluginState::Stopping
        });
        let most = start.elapsed().as_millis() / 10;
        let published = last.revision() - first;
        assert!(u128::from(published) <= most, "{probe}: {published} in {most} times 10 ms");
    }
}

#[test]
fn unchanged_state_is_not_published() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        plugin.set_state(PluginState::Unhealthy);
        let mut before = collector.sample_now().unwrap();
        for _ in 0..10 {
            // Waits until the rate limit of publications allows another one.
            thread::sleep(Duration::from_millis(15));
            plugin.set_state(PluginState::Unhealthy);
            thread::sleep(Duration::from_millis(15));
            let after = collector.sample_now().unwrap();
            assert_eq!(after.revision(), before.revision() + 1, "{probe}: only the tick publishes");
            before = after;
        }
    }
}

#[test]
fn concurrent_events_are_all_counted() {
    const EACH: u64 = 100_000;
    let collector = ticking_collector(ProbeKind::default(), Duration::from_millis(10));
    let plugin = collector.register("busy").unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            let events = plugin.events().clone();
            scope.spawn(move || (0..EACH).for_each(|_| events.increment()));
        }
    });
    assert_eq!(plugin.events().get(), 8 * EACH);
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("busy").unwrap();
    assert_eq!(view.event_count(), 8 * EACH);
    assert_eq!(view.current().unwrap().event_count, 8 * EACH);
    assert_eq!(snapshot.system().total_events, 8 * EACH);
    let counts: Vec<u64> = view.history(Window::All).map(|sample| sample.event_count).collect();
    assert!(counts.is_sorted(), "{counts:?}");
}

#[test]
fn plugins_are_sorted_by_name() {
    let collector = manual_collector(ProbeKind::default());
    for name in ["pear", "apple", "öl", "zoo", "fig"] {
        collector.register(name).unwrap();
    }
    collector.plugin("pear").unwrap().remove();
    let snapshot = collector.sample_now().unwrap();
    let names: Vec<_> = snapshot.plugins().map(|plugin| plugin.name()).collect();
    assert_eq!(names, ["apple", "fig", "zoo", "öl"]);
}
