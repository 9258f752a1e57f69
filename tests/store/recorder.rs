//! The recorder's thread.

use plugmeter::{Resolution, Window};
use plugmeter_test_support::wait_for;

use super::*;

#[test]
fn dropped_recorder_writes_the_rest() {
    let folder = Folder::new("drop");
    let store = Store::open(StoreConfig::new(folder.file())).unwrap();
    let collector = resume(&store);
    // Recorded too: what the history holds already.
    let plugin = collector.register("dice").unwrap();
    plugin.events().add(5);
    collector.sample_now().unwrap();
    let recorder = store.record(collector.reader()).unwrap();
    plugin.events().add(7);
    let snapshot = collector.sample_now().unwrap();
    drop(recorder);
    assert_eq!(store.reader().plugins()[0].event_count, 12);
    assert_complete(&store, &collector, "dice", 1);
    let points = store.reader().points("dice", always(), Resolution::Raw);
    assert!(points.len() >= snapshot.plugin("dice").unwrap().history(Window::All).len());
}

/// A second recorder of the same collector goes on where the first one has stopped.
#[test]
fn second_recorder_continues_the_session() {
    let folder = Folder::new("continue");
    let store = Store::open(config(&folder.file())).unwrap();
    let collector = resume(&store);
    let plugin = collector.register("dice").unwrap();
    plugin.started(std::process::id(), "1.0");
    for events in 1..=3 {
        let recorder = store.record(collector.reader()).unwrap();
        plugin.events().add(events);
        collector.sample_now().unwrap();
        recorder.stop();
        collector.sample_now().unwrap();
    }
    let recorder = store.record(collector.reader()).unwrap();
    recorder.stop();
    recorder.stop();
    assert!(recorder.error().is_none());
    let reader = store.reader();
    assert_eq!(reader.plugins()[0].event_count, 6);
    assert_eq!(reader.runs("dice").len(), 1);
    assert_complete(&store, &collector, "dice", 1);
    let events: u64 =
        reader.points("dice", always(), Resolution::Raw).iter().map(|point| point.events).sum();
    assert_eq!(events, 6);
}

#[test]
fn recorder_outlives_its_collector() {
    let folder = Folder::new("outlives");
    let store = Store::open(config(&folder.file())).unwrap();
    let collector = resume(&store);
    let recorder = store.record(collector.reader()).unwrap();
    collector.register("dice").unwrap().events().add(9);
    collector.sample_now().unwrap();
    drop(collector);
    // Written although nobody has stopped the recorder.
    wait_for("the last write", || {
        store.reader().plugins().first().filter(|plugin| plugin.event_count == 9).map(|_| ())
    });
    recorder.stop();
    // The next collector of the same store.
    let collector = resume(&store);
    assert_eq!(collector.register("dice").unwrap().events().get(), 9);
    let recorder = store.record(collector.reader()).unwrap();
    collector.sample_now().unwrap();
    recorder.stop();
    assert_eq!(store.reader().plugins()[0].event_count, 9);
}

#[test]
fn disabled_collector_is_recorded_as_nothing() {
    let folder = Folder::new("disabled");
    let store = Store::open(config(&folder.file())).unwrap();
    let collector = Collector::resume(Config::default().enabled(false), store.saved()).unwrap();
    let recorder = store.record(collector.reader()).unwrap();
    collector.register("dice").unwrap();
    recorder.stop();
    assert!(recorder.error().is_none() && store.reader().plugins().is_empty());
}
