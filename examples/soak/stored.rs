//! A store that records the soak, and what a reader finds in it.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, SystemTime};
use std::{env, fs, process};

use plugmeter::{Reader, Resolution, Snapshot, Store, StoreConfig, StoreReader, StoredPlugin};

use crate::{Tally, Violation};

/// So often that many writes and seals take place.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// So small that the oldest values are removed again and again.
const MAX_BYTES: u64 = 32 << 20;
/// The interval between two looks into the store.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A folder for the file, which is removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let path = env::temp_dir().join(format!("plugmeter-soak-{}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Opens a store of its own.
    pub(crate) fn open(&self) -> Result<Store, Box<dyn Error>> {
        let config = StoreConfig::new(self.file()).write_interval(WRITE_INTERVAL);
        Ok(Store::open(config.max_bytes(MAX_BYTES))?)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("soak.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The size of the file without its write-ahead log.
pub(crate) fn bytes(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

/// Looks into the store until the end: nothing that was stored decreases or is ahead of the collector.
pub(crate) fn look(store: &StoreReader, reader: &Reader, tally: &Tally) -> Result<(), Violation> {
    let mut before = HashMap::<_, [u64; 3]>::new();
    while !tally.done.load(Ordering::Relaxed) {
        let plugins = living(store)?;
        // It is newer than what was written.
        let snapshot = reader.snapshot();
        for plugin in &plugins {
            let counts = counts(plugin);
            if before.get(&plugin.name).is_some_and(|before| !has_grown(before, &counts)) {
                return Err(format!("stored: {plugin:?} after {:?}", before[&plugin.name]));
            }
            if let Some(view) = snapshot.plugin(&plugin.name) {
                let newest = [view.event_count(), view.crash_count(), view.restart_count()];
                if !has_grown(&counts, &newest) {
                    return Err(format!("stored: {plugin:?}, newer than {newest:?}"));
                }
            }
        }
        before = plugins.iter().map(|plugin| (plugin.name.clone(), counts(plugin))).collect();
        check_points(store, plugins.first())?;
        tally.looks.fetch_add(1, Ordering::Relaxed);
        thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// After the recorder has stopped: the store has what the last snapshot has.
pub(crate) fn check_end(store: &StoreReader, last: &Snapshot) -> Result<(), Violation> {
    let plugins = living(store)?;
    if plugins.len() != last.plugins().len() {
        return Err(format!("stored: {} plugins of {}", plugins.len(), last.plugins().len()));
    }
    for plugin in plugins {
        let view = last.plugin(&plugin.name).ok_or_else(|| format!("stored: {plugin:?}"))?;
        let expected = [view.event_count(), view.crash_count(), view.restart_count()];
        if counts(&plugin) != expected || plugin.tree_cpu_time != view.tree_cpu_time() {
            let time = view.tree_cpu_time();
            return Err(format!("stored: {plugin:?}, not {expected:?} and {time:?}"));
        }
    }
    Ok(())
}

fn living(store: &StoreReader) -> Result<Vec<StoredPlugin>, Violation> {
    let mut plugins = store.plugins();
    if let Some(error) = store.error() {
        return Err(format!("the store cannot be read: {error}"));
    }
    plugins.retain(|plugin| plugin.removed_at.is_none());
    Ok(plugins)
}

fn counts(plugin: &StoredPlugin) -> [u64; 3] {
    [plugin.event_count, plugin.crash_count, plugin.restart_count]
}

fn has_grown(before: &[u64], after: &[u64]) -> bool {
    before.iter().zip(after).all(|(before, after)| before <= after)
}

/// The samples of the last minute are in order.
fn check_points(store: &StoreReader, plugin: Option<&StoredPlugin>) -> Result<(), Violation> {
    let Some(plugin) = plugin else { return Ok(()) };
    let now = SystemTime::now();
    let minute = now - Duration::from_secs(60)..now;
    let points = store.points(&plugin.name, minute, Resolution::Raw);
    if let Some(error) = store.error() {
        return Err(format!("the store cannot be read: {error}"));
    }
    let is_ordered = points.windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp);
    if is_ordered {
        Ok(())
    } else {
        Err(format!("the samples of {} are out of order", plugin.name))
    }
}
