//! The recorder's thread.

use plugmeter::{PluginState, Resolution, Window};
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

/// The same if the store is closed in between, also by a collector that does not continue what a collector
/// before it has counted.
#[test]
fn store_that_is_opened_again_continues_the_session() {
    let folder = Folder::new("opened-again");
    let mut expected = 0;
    for _ in 0..2 {
        let collector = Collector::start(Config::default()).unwrap();
        let plugin = collector.register("dice").unwrap();
        plugin.started(std::process::id(), "1.0");
        for events in 1..=3 {
            let store = Store::open(config(&folder.file())).unwrap();
            let recorder = store.record(collector.reader()).unwrap();
            plugin.events().add(events);
            expected += events;
            collector.sample_now().unwrap();
            recorder.stop();
            assert!(recorder.error().is_none());
            let plugins = store.reader().plugins();
            assert_eq!((plugins.len(), plugins[0].event_count), (1, expected));
        }
    }
    let store = Store::open(config(&folder.file())).unwrap();
    let reader = store.reader();
    assert_eq!(reader.runs("dice").len(), 2);
    let points = |resolution| reader.points("dice", always(), resolution);
    for resolution in [Resolution::Raw, Resolution::Minute, Resolution::Hour] {
        let events = points(resolution).iter().map(|point| point.events).sum::<u64>();
        assert_eq!(events, expected, "{resolution:?}");
    }
    let points = points(Resolution::Raw);
    let times: Vec<_> = points.iter().map(|point| point.timestamp).collect();
    assert!(times.is_sorted_by(|a, b| a < b));
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

/// More notifications between two ticks than the queue of a subscription holds.
#[test]
fn notifications_between_two_ticks_are_recorded() {
    const ROUNDS: usize = 8;
    const PLUGINS: usize = 100;
    // A recorder that gets no core in time loses some: then another try follows.
    wait_for("a complete record", || {
        let folder = Folder::new("burst");
        let store = Store::open(StoreConfig::new(folder.file())).unwrap();
        let hour = Duration::from_secs(3_600);
        let config = Config::default().poll_interval(hour).history_duration(24 * hour);
        let collector = Collector::start(config).unwrap();
        let recorder = store.record(collector.reader()).unwrap();
        for round in 1..=ROUNDS {
            for number in 0..PLUGINS {
                let plugin = collector.register(&format!("{round}-{number}")).unwrap();
                plugin.started(std::process::id(), "1.0");
            }
            wait_for("the runs", || {
                let running = collector.snapshot().system().plugins_running;
                (running == round * PLUGINS).then_some(())
            });
        }
        recorder.stop();
        let stored = store.reader().notifications(always());
        let count = |kind: &str| stored.iter().filter(|stored| stored.kind == kind).count();
        let all = ROUNDS * PLUGINS;
        (["registered", "run_started", "lagged"].map(count) == [all, all, 0]).then_some(())
    });
}

/// A collector that ticks when it is told to. The tick at its start is over.
fn manual(store: &Store) -> Collector {
    let day = Duration::from_secs(86_400);
    let config = Config::default().poll_interval(day).history_duration(day * 400);
    let collector = Collector::resume(config, store.saved()).unwrap();
    collector.sample_now().unwrap();
    collector
}

/// The start of the collector is where it was, also if changes were published after the newest tick.
#[test]
fn late_recorder_stores_the_times_of_the_history() {
    let folder = Folder::new("late-start");
    let store = Store::open(StoreConfig::new(folder.file())).unwrap();
    let collector = manual(&store);
    let plugin = collector.register("dice").unwrap();
    // By more than two readings of clocks explain.
    wait_for("a publication after the tick", || {
        plugin.set_state(PluginState::Unhealthy);
        plugin.set_state(PluginState::Running);
        (collector.snapshot().system().uptime > Duration::from_millis(1_500)).then_some(())
    });
    let recorder = store.record(collector.reader()).unwrap();
    let snapshot = collector.sample_now().unwrap();
    recorder.stop();
    let millis = |time: std::time::SystemTime| {
        time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
    };
    let points = store.reader().points("dice", always(), Resolution::Raw);
    let stored: Vec<_> = points.iter().map(|point| millis(point.timestamp)).collect();
    let history = snapshot.plugin("dice").unwrap().history(Window::All);
    assert_eq!(stored, history.map(|sample| millis(sample.timestamp)).collect::<Vec<_>>());
}

/// A file that is removed while it is in use.
#[test]
fn reader_reads_the_file_that_has_taken_the_place() {
    let folder = Folder::new("followed");
    let store = Store::open(config(&folder.file())).unwrap();
    let collector = resume(&store);
    let recorder = store.record(collector.reader()).unwrap();
    collector.register("dice").unwrap();
    let reader = store.reader();
    wait_for("a write", || reader.plugins().pop());
    for suffix in ["", "-wal", "-shm"] {
        let path = folder.0.join(format!("plugmeter.db{suffix}"));
        let _: std::io::Result<()> = std::fs::remove_file(path);
    }
    collector.register("later").unwrap();
    wait_for("the new file", || {
        reader.plugins().into_iter().find(|plugin| &*plugin.name == "later")
    });
    recorder.stop();
}

/// A session that goes on has not ended properly.
#[test]
fn session_is_clean_only_while_nothing_records() {
    let folder = Folder::new("clean");
    let store = Store::open(config(&folder.file())).unwrap();
    let collector = resume(&store);
    collector.register("dice").unwrap();
    let connection = rusqlite::Connection::open(folder.file()).unwrap();
    let clean = || -> Option<bool> {
        connection
            .query_row("SELECT clean FROM sessions ORDER BY id DESC", [], |row| row.get(0))
            .ok()
    };
    for _ in 0..2 {
        let recorder = store.record(collector.reader()).unwrap();
        wait_for("a session that goes on", || (clean() == Some(false)).then_some(()));
        recorder.stop();
        assert_eq!(clean(), Some(true));
    }
}

/// A collector continues its session in each.
#[test]
fn second_file_has_the_history_too() {
    let folder = Folder::new("second-file");
    let collector = Collector::start(Config::default()).unwrap();
    let plugin = collector.register("dice").unwrap();
    let mut expected = 0;
    for name in ["first.db", "second.db", "first.db"] {
        let store = Store::open(config(&folder.0.join(name))).unwrap();
        let recorder = store.record(collector.reader()).unwrap();
        plugin.events().add(3);
        expected += 3;
        collector.sample_now().unwrap();
        recorder.stop();
        let points = store.reader().points("dice", always(), Resolution::Raw);
        assert_eq!(points.iter().map(|point| point.events).sum::<u64>(), expected, "{name}");
    }
}
