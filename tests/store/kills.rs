//! `kill -9` of a host at random moments: what a reader has seen before is there afterwards.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use plugmeter::{Resolution, RunEnd, Store, StoreReader};
use plugmeter_test_support::ChildGuard;
use plugmeter_test_support::lives::Random;

use super::*;

const PATH: &str = "PLUGMETER_STORE_OF_HOST";
const PLUGINS: [&str; 3] = ["cat", "dice", "idle"];

/// The host, in a process of its own: runs until it is killed.
#[test]
fn host_process() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let store = Store::open(config(Path::new(&path))).unwrap();
    let collector = resume(&store);
    let recorder = store.record(collector.reader()).unwrap();
    let plugins = PLUGINS.map(|name| collector.register(name).unwrap());
    for plugin in &plugins {
        plugin.started(std::process::id(), "1.0");
    }
    loop {
        plugins[0].events().increment();
        plugins[1].event_counter("command").unwrap().add(2);
        assert!(recorder.error().is_none(), "{:?}", recorder.error());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start_host(path: &Path) -> ChildGuard {
    let mut host = Command::new(std::env::current_exe().unwrap());
    host.args(["--exact", "kills::host_process", "--nocapture"]).env(PATH, path);
    ChildGuard(host.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
}

/// What a reader sees: the samples of all plugins, and their event counts.
fn seen(path: &Path) -> Option<(Vec<plugmeter::StoredPoint>, Vec<u64>)> {
    let reader = StoreReader::open(path).ok()?;
    let points = PLUGINS.iter().flat_map(|name| reader.points(name, always(), Resolution::Raw));
    let points = points.collect();
    let counts = reader.plugins().iter().map(|plugin| plugin.event_count).collect();
    reader.error().is_none().then_some((points, counts))
}

#[test]
fn killed_host_loses_nothing_that_was_written() {
    let rounds = if is_long() { 120 } else { 6 };
    let folder = Folder::new("kills");
    let path = folder.file();
    let mut random = Random::new(20_261_129);
    let mut acknowledged = 0;
    for round in 1..=rounds {
        let mut host = start_host(&path);
        // At least one write, then a random moment between two of them.
        let before = seen(&path).map_or(0, |(points, _)| points.len());
        let begun = Instant::now();
        while seen(&path).is_none_or(|(points, _)| points.len() <= before) {
            assert!(begun.elapsed() < Duration::from_secs(60), "round {round}: nothing is written");
            assert_eq!(host.0.try_wait().unwrap(), None, "round {round}: the host has ended");
        }
        std::thread::sleep(Duration::from_micros(random.between(0, 250_000) as u64));
        let (points, counts) = seen(&path).unwrap();
        host.kill();
        host.wait();

        let store = Store::open(config(&path)).unwrap();
        let (after, after_counts) = seen(&path).unwrap();
        acknowledged = points.len();
        for point in &points {
            assert!(after.contains(point), "round {round}: {point:?} is lost");
        }
        assert!(after_counts.iter().zip(&counts).all(|(after, before)| after >= before));
        let aside = std::fs::read_dir(&folder.0).unwrap().flatten();
        let aside: Vec<_> = aside.map(|entry| entry.file_name()).collect();
        let is_damaged = aside.iter().any(|name| name.to_string_lossy().contains("damaged"));
        assert!(!is_damaged, "round {round}: {aside:?}");
        drop(store);
    }
    eprintln!("{rounds} kills, {acknowledged} samples written, none lost");

    // Every run but those of the newest host has ended with its host.
    let store = Store::open(config(&path)).unwrap();
    let collector = resume(&store);
    let recorder = store.record(collector.reader()).unwrap();
    let dice = collector.register("dice").unwrap();
    let snapshot = collector.sample_now().unwrap();
    recorder.stop();
    assert!(recorder.error().is_none());
    let runs = store.reader().runs("dice");
    assert_eq!(runs.len(), rounds);
    assert!(runs.iter().all(|run| run.end == Some(RunEnd::HostGone)), "{runs:?}");
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.crash_count(), view.restart_count()), (0, 0));
    assert_eq!(dice.events().get(), view.event_count());
    assert_eq!(dice.events().get() % 2, 0, "two at a time");
}
