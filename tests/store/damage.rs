//! Damaged files: cut at many lengths, and with changed bytes. Never a panic, and never a wrong number.

use std::fs;

use plugmeter::{Resolution, Run, StoreReader, StoredNotification, StoredPlugin, StoredPoint};

use super::*;

/// What a reader sees.
struct Contents {
    points: Vec<StoredPoint>,
    minutes: Vec<StoredPoint>,
    runs: Vec<Run>,
    plugins: Vec<StoredPlugin>,
    notifications: Vec<StoredNotification>,
}

impl Contents {
    fn read(path: &Path) -> Self {
        let reader = StoreReader::open(path);
        let read = |resolution| {
            let reader = reader.as_ref().ok()?;
            let points =
                ["cat", "dice"].iter().flat_map(|name| reader.points(name, always(), resolution));
            Some(points.collect::<Vec<_>>())
        };
        let of = reader.as_ref().ok();
        Self {
            points: read(Resolution::Raw).unwrap_or_default(),
            minutes: read(Resolution::Minute).unwrap_or_default(),
            runs: of.map(|reader| reader.runs("dice")).unwrap_or_default(),
            plugins: of.map(StoreReader::plugins).unwrap_or_default(),
            notifications: of.map(|reader| reader.notifications(always())).unwrap_or_default(),
        }
    }

    /// Everything here is in `original` too. Rollups and counters may lack the newest batches.
    fn assert_part_of(&self, original: &Self, what: &str) {
        for point in &self.points {
            assert!(original.points.contains(point), "{what}: {point:?}");
        }
        for point in &self.minutes {
            let known = original.minutes.iter().find(|known| known.timestamp == point.timestamp);
            assert!(known.is_some(), "{what}: {point:?}");
            let most = original.minutes.iter().map(|known| known.sample_count).sum::<u64>();
            assert!(point.sample_count <= most, "{what}: {point:?}");
        }
        for run in &self.runs {
            let is_known =
                original.runs.iter().any(|known| known.pid == run.pid && known.id == run.id);
            assert!(is_known, "{what}: {run:?}");
        }
        for plugin in &self.plugins {
            let known = original.plugins.iter().find(|known| known.name == plugin.name);
            let known = known.unwrap_or_else(|| panic!("{what}: {plugin:?}"));
            assert!(plugin.event_count <= known.event_count, "{what}: {plugin:?}");
        }
        for notification in &self.notifications {
            assert!(original.notifications.contains(notification), "{what}: {notification:?}");
        }
    }
}

/// A small file and its log, as a killed host leaves them: sealed samples, and some that are not.
fn small_store(folder: &Folder) -> [(PathBuf, Vec<u8>); 2] {
    let path = folder.file();
    let config = StoreConfig::new(&path).write_interval(Duration::from_millis(100));
    let manual = || Config::default().poll_interval(Duration::from_secs(86_400));
    let manual = || manual().history_duration(Duration::from_secs(86_400 * 400));
    for session in 0..2 {
        let store = Store::open(config.clone()).unwrap();
        let collector = Collector::resume(manual(), store.saved()).unwrap();
        let recorder = store.record(collector.reader()).unwrap();
        let plugins = ["cat", "dice"].map(|name| collector.register(name).unwrap());
        for tick in 0..20 {
            plugins[0].events().add(tick);
            plugins[1].started(std::process::id(), "1.0");
            collector.sample_now().unwrap();
        }
        if session == 0 {
            recorder.stop();
        } else {
            // As after a kill: copied while the host is alive.
            plugmeter_test_support::wait_for("a write", || {
                let plugins = store.reader().plugins();
                plugins.iter().any(|plugin| plugin.event_count == 380).then_some(())
            });
            let log = folder.0.join("plugmeter.db-wal");
            let files = [path.clone(), log].map(|path| (path.clone(), fs::read(path).unwrap()));
            drop(recorder);
            return files;
        }
    }
    unreachable!("the second session returns");
}

/// Writes the files anew, opens them as a host would, and returns what is there.
fn reopen(folder: &Folder, files: &[(PathBuf, Vec<u8>)]) -> Contents {
    for entry in fs::read_dir(&folder.0).unwrap().flatten() {
        fs::remove_file(entry.path()).unwrap();
    }
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
    // As another process sees it, and as the next host does.
    let _: Contents = Contents::read(&folder.file());
    if let Ok(store) = Store::open(config(&folder.file())) {
        let config = Config::default().poll_interval(Duration::from_secs(86_400));
        let config = config.history_duration(Duration::from_secs(86_400 * 400));
        let collector = Collector::resume(config, store.saved()).unwrap();
        for name in ["cat", "dice"] {
            let count = collector.register(name).unwrap().events().get();
            assert!(count <= 380, "{name}: {count} events");
        }
    }
    Contents::read(&folder.file())
}

#[test]
fn cut_files_give_a_part_of_what_was_written() {
    let folder = Folder::new("cut");
    let files = small_store(&folder);
    let original = reopen(&folder, &files);
    // The tick at the start may come after the registration.
    let points = original.points.len();
    assert!((80..=84).contains(&points) && original.plugins.len() == 2, "{points} points");
    let steps = if is_long() { 2_000 } else { 24 };
    for (at, (path, bytes)) in files.iter().enumerate() {
        for step in 0..steps {
            let len = bytes.len() * step / steps;
            let mut cut = files.clone();
            cut[at] = (path.clone(), bytes[..len].to_vec());
            let what = format!("{} of {} bytes of {}", len, bytes.len(), path.display());
            reopen(&folder, &cut).assert_part_of(&original, &what);
        }
    }
}

#[test]
fn changed_bytes_give_no_wrong_number() {
    let folder = Folder::new("flipped");
    let files = small_store(&folder);
    let original = reopen(&folder, &files);
    // The log is copied into the file, and the file alone is changed.
    let store = Store::open(config(&folder.file())).unwrap();
    drop(store);
    let bytes = fs::read(folder.file()).unwrap();
    // The next host opens each 211th of them too.
    let stride = std::env::var("PLUGMETER_STRIDE").ok().and_then(|stride| stride.parse().ok());
    let (step, opened) = if is_long() { (stride.unwrap_or(1), 211) } else { (211, 1) };
    let (mut all, mut some) = (0, 0);
    for at in (0..bytes.len()).step_by(step) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let what = format!("byte {at} of {}", bytes.len());
        let contents = if at.is_multiple_of(step * opened) {
            reopen(&folder, &[(folder.file(), changed)])
        } else {
            fs::write(folder.file(), changed).unwrap();
            Contents::read(&folder.file())
        };
        contents.assert_part_of(&original, &what);
        all += usize::from(contents.points.len() == original.points.len());
        some += usize::from(contents.points.len() < original.points.len());
    }
    eprintln!("{all} files with all samples, {some} with less");
    assert!(all > 0 && some > 0);
}
