//! The feature `store` on real files, with real hosts: kills, damage, full disks, locks, clocks.
//!
//! `PLUGMETER_LONG=1` runs the long forms.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

#[cfg(target_os = "linux")]
mod clocks;
mod damage;
#[cfg(target_os = "linux")]
mod disks;
#[cfg(unix)]
mod kills;
mod locks;
mod recorder;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plugmeter::{Collector, Config, Store, StoreConfig};

/// A folder of its own, which is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("plugmeter-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("plugmeter.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Every time.
fn always() -> Range<SystemTime> {
    UNIX_EPOCH..SystemTime::now() + Duration::from_secs(1_000_000_000)
}

/// A store that writes often.
fn config(path: &Path) -> StoreConfig {
    StoreConfig::new(path).write_interval(Duration::from_millis(100))
}

fn is_long() -> bool {
    std::env::var_os("PLUGMETER_LONG").is_some()
}

/// A collector that ticks every 10 ms and continues the store.
fn resume(store: &Store) -> Collector {
    let config = Config::default().poll_interval(Duration::from_millis(10));
    Collector::resume(config.history_duration(Duration::from_secs(3_600)), store.saved()).unwrap()
}

/// The error of a recorder goes away, and nothing was lost: each tick from `first` on was written once.
fn assert_complete(store: &Store, collector: &Collector, plugin: &str, first: u64) {
    let snapshot = collector.snapshot();
    let view = snapshot.plugin(plugin).unwrap();
    let history: Vec<_> = view.history(plugmeter::Window::All).collect();
    let points = store.reader().points(plugin, always(), plugmeter::Resolution::Raw);
    let millis = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let stored: Vec<_> = points.iter().map(|point| millis(point.timestamp)).collect();
    assert!(stored.is_sorted_by(|a, b| a < b), "no tick twice");
    let newest = *stored.last().unwrap();
    let oldest = snapshot.tick() + 1 - history.len() as u64;
    for (tick, sample) in (oldest..).zip(&history).filter(|(tick, _)| *tick >= first) {
        let at = millis(sample.timestamp);
        let is_stored = stored.binary_search(&at).is_ok();
        assert!(is_stored || at > newest, "tick {tick} is missing");
    }
}
