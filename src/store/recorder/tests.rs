//! What the thread takes from the publications that it sees, one by one.

use std::path::PathBuf;
use std::time::SystemTime;

use super::*;
use crate::store::values::Resolution;
use crate::{Collector, Config, Store, StoreConfig};

const DAY: Duration = Duration::from_secs(86_400);

struct Recording {
    folder: PathBuf,
    collector: Collector,
    thread: RecorderThread,
    /// The newest publication that the thread has seen.
    seen: Snapshot,
    store: Store,
}

impl Recording {
    /// Of a collector that ticks when it is told to. The tick at its start is over.
    fn start(name: &str, history_ticks: u32) -> Self {
        let name = format!("plugmeter-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _: io::Result<()> = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let store = Store::open(StoreConfig::new(folder.join("plugmeter.db"))).unwrap();
        let config = Config::default().poll_interval(DAY).history_duration(DAY * history_ticks);
        let collector = Collector::start(config).unwrap();
        collector.sample_now().unwrap();
        let status = Arc::default();
        let mut thread = RecorderThread::new(Arc::clone(&store.0), collector.reader(), status);
        assert!(thread.begin());
        let seen = thread.look();
        Self { folder, collector, thread, seen, store }
    }

    /// The thread sees the newest publication.
    fn see(&mut self) {
        self.seen = self.thread.on_change(&self.seen, self.collector.snapshot());
    }

    fn tick(&mut self) {
        self.collector.sample_now().unwrap();
        self.see();
    }

    /// Waits until the plugin is registered, or removed.
    fn wait_for(&self, plugin: &str, is_registered: bool) {
        while self.collector.snapshot().plugin(plugin).is_some() != is_registered {
            std::thread::yield_now();
        }
    }

    fn end(&mut self) {
        self.thread.take_newest(&self.seen);
        assert!(self.thread.write(true));
    }

    fn events(&self, plugin: &str) -> Vec<u64> {
        let always = SystemTime::UNIX_EPOCH..SystemTime::now() + DAY;
        let points = self.store.reader().points(plugin, always, Resolution::Raw);
        points.iter().map(|point| point.events).collect()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _: io::Result<()> = std::fs::remove_dir_all(&self.folder);
    }
}

/// Ticks wait in the history until they are taken, and a removed plugin is in no later publication.
#[test]
#[cfg_attr(miri, ignore = "Miri runs no C")]
fn removal_between_two_ticks_loses_nothing() {
    for sees_removal in [true, false] {
        let mut recording = Recording::start("removal", 400);
        let jobs = ["again", "gone"].map(|name| recording.collector.register(name).unwrap());
        for _ in 0..6 {
            jobs.iter().for_each(|job| job.events().add(2));
            recording.tick();
        }
        jobs.iter().for_each(|job| job.remove());
        recording.wait_for("gone", false);
        if sees_removal {
            recording.see();
        }
        let again = recording.collector.register("again").unwrap();
        recording.wait_for("again", true);
        recording.see();
        again.events().add(5);
        recording.tick();
        recording.end();
        assert_eq!(recording.events("gone"), [2; 6], "sees the removal: {sees_removal}");
        assert_eq!(recording.events("again"), [2, 2, 2, 2, 2, 2, 5]);
        let plugins = recording.store.reader().plugins();
        let counts: Vec<_> =
            plugins.iter().map(|plugin| (&*plugin.name, plugin.event_count)).collect();
        assert_eq!(counts, [("again", 12), ("again", 5), ("gone", 12)]);
        assert!(plugins.iter().map(|p| p.removed_at.is_some()).eq([true, false, true]));
    }
}

/// By the clocks of the machine: a session after it may find a wall clock that was set back.
#[test]
#[cfg_attr(miri, ignore = "Miri runs no C")]
fn session_ends_at_its_newest_tick() {
    let mut recording = Recording::start("newest-tick", 400);
    recording.collector.register("dice").unwrap();
    let before = clock::now();
    recording.tick();
    recording.end();
    let after = clock::now();
    let hosts = HostRow::all(recording.thread.connection.as_ref().unwrap()).unwrap();
    let end = hosts[0].end;
    assert!((unix_ms(before.wall)..=unix_ms(after.wall)).contains(&end.at_ms));
    assert!((millis(before.boot)..=millis(after.boot)).contains(&end.boot_ms));
    let text = format!("{:?}", recording.store.reader());
    assert!(text.starts_with("StoreReader(") && text.contains("plugmeter.db"), "{text}");
}

/// A history of eight ticks must not lose one before it is taken.
#[test]
#[cfg_attr(miri, ignore = "Miri runs no C")]
fn short_history_is_taken_in_time() {
    let mut recording = Recording::start("short", 8);
    let plugin = recording.collector.register("dice").unwrap();
    for _ in 0..40 {
        plugin.events().increment();
        recording.tick();
    }
    recording.end();
    assert_eq!(recording.events("dice"), [1; 40]);
}

/// Writes to the file that was there would succeed, and nobody would read them.
#[test]
#[cfg(unix)] // removes open files
#[cfg_attr(miri, ignore = "Miri runs no C")]
fn file_in_the_place_of_another_is_written() {
    let mut recording = Recording::start("replaced", 400);
    let plugin = recording.collector.register("dice").unwrap();
    plugin.events().add(2);
    recording.tick();
    recording.tick();
    assert!(recording.thread.write(false));
    let path = recording.store.0.path().to_owned();
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", path.display())).unwrap();
    }
    drop(open_or_replace(&path, false, SystemTime::now()).unwrap());
    plugin.events().add(3);
    recording.tick();
    recording.tick();
    assert!(recording.thread.write(false));
    assert_eq!(recording.events("dice").iter().sum::<u64>(), 5, "the whole history");
    recording.end();
}

#[test]
#[cfg(unix)] // removes open files
#[cfg_attr(miri, ignore = "Miri runs no C")]
fn ticks_that_cannot_be_written_are_dropped_after_an_hour() {
    let mut recording = Recording::start("dropped", 400);
    recording.collector.sample_now().unwrap();
    std::fs::remove_dir_all(&recording.folder).unwrap();
    let times = |thread: &mut RecorderThread| {
        let feed = thread.feed.as_mut().unwrap();
        feed.changes.batch.times.clone()
    };
    let now = millis(clock::now().boot);
    let of = |hours: i64| TickTime { at_ms: hours * 3_600_000, boot_ms: now };
    recording.thread.feed.as_mut().unwrap().changes.batch.times = (0..40).map(of).collect();
    assert!(!recording.thread.write(false));
    // Twelve, however old they are.
    assert_eq!(times(&mut recording.thread), (28..40).map(of).collect::<Vec<_>>());
    std::fs::create_dir_all(&recording.folder).unwrap();
    assert!(recording.thread.write(false));
    assert_eq!(times(&mut recording.thread), []);
}
