//! Removal of values that are too old, or that exceed the size limit.

use super::recording::config;
use super::*;
use crate::store::retention::file_bytes;
use crate::store::values::Resolution;

#[test]
fn each_resolution_is_kept_as_long_as_configured() {
    let folder = Folder::new("retention");
    let config = Config::default().poll_interval(60 * SECOND).history_duration(2 * HOUR);
    let mut host = Host::start(&folder.file(), config);
    let store = StoreConfig::new(folder.file());
    let store = store.retention(2 * HOUR).minutes(5 * HOUR).hours(9 * HOUR);
    host.settings = store.validate().unwrap();
    host.sim.register("dice").unwrap().started(2, "");
    for tick in 0..20 * 60 {
        host.tick(|pid| observed(tick, pid));
        if tick % 10 == 9 {
            host.write();
        }
    }
    let now = unix_ms(host.sim.snapshot().sampled_at());
    let hours_back = |resolution| {
        let points = host.reader().points("dice", all(), resolution);
        (now - unix_ms(points[0].timestamp)) as f64 / 3_600_000.0
    };
    // Samples are removed by the hour.
    assert!((1.9..3.1).contains(&hours_back(Resolution::Raw)), "{}", hours_back(Resolution::Raw));
    assert!((4.9..6.1).contains(&hours_back(Resolution::Minute)));
    assert!((7.9..10.1).contains(&hours_back(Resolution::Hour)));
    // Times older than the samples are read from the rollups.
    let range = |hours: u32| {
        let end = host.sim.snapshot().sampled_at();
        end - hours * HOUR..end - (hours - 1) * HOUR
    };
    let resolution = |hours| host.reader().aggregates("dice", range(hours)).resolution;
    assert_eq!(resolution(1), Resolution::Raw);
    assert_eq!(resolution(4), Resolution::Minute);
    assert_eq!(resolution(8), Resolution::Hour);
}

#[test]
fn file_stays_below_its_size() {
    let folder = Folder::new("size");
    let config = Config::default().poll_interval(5 * SECOND).history_duration(HOUR);
    let mut host = Host::start(&folder.file(), config);
    host.settings = StoreConfig::new(folder.file()).max_bytes(1 << 20).validate().unwrap();
    for pid in 0..10 {
        host.sim.register(&pid.to_string()).unwrap().started(pid, "");
    }
    let mut largest = 0;
    for tick in 0..720 * 12_u64 {
        host.tick(|pid| observed(tick * tick, pid));
        if tick % 120 == 119 {
            host.write();
            let bytes = file_bytes(&host.connection).unwrap();
            assert!(bytes <= 1 << 20, "{bytes} bytes at tick {tick}");
            largest = largest.max(bytes);
        }
    }
    assert!(largest > 900 << 10, "the limit was not reached: {largest}");
    // Minutes are kept longer than samples.
    let oldest = |resolution| host.reader().points("3", all(), resolution)[0].timestamp;
    assert!(oldest(Resolution::Minute) < oldest(Resolution::Raw));
    let newest = host.reader().points("3", all(), Resolution::Raw).last().unwrap().timestamp;
    assert_eq!(unix_ms(newest), unix_ms(host.sim.snapshot().sampled_at()));
}

/// Also if notifications and runs of an hour alone are too large.
#[test]
fn file_of_crash_loop_stays_below_its_size() {
    let folder = Folder::new("crash-loop-size");
    let config = Config::default().poll_interval(5 * SECOND).history_duration(HOUR);
    let mut host = Host::start(&folder.file(), config);
    host.settings = StoreConfig::new(folder.file()).max_bytes(1 << 20).validate().unwrap();
    let plugin = host.sim.register("crashy").unwrap();
    let mut largest = 0;
    for minute in 0..30 {
        for run in 0..150 {
            plugin.started(1 + minute * 150 + run, "1.0");
            plugin.crashed();
        }
        host.tick(|_| None);
        host.write();
        let bytes = file_bytes(&host.connection).unwrap();
        assert!(bytes <= 1 << 20, "{bytes} bytes after {minute} minutes");
        largest = largest.max(bytes);
    }
    assert!(largest > 900 << 10, "the limit was not reached: {largest}");
    let counted = host.reader().plugins()[0].crash_count;
    assert_eq!(counted, 30 * 150);
    assert!(!host.reader().runs("crashy").is_empty());
}

/// Ticks that cannot be written are kept for an hour.
#[test]
fn ticks_wait_for_an_hour() {
    let folder = Folder::new("waiting");
    let config = Config::default().poll_interval(5 * SECOND).history_duration(HOUR);
    let mut host = Host::start(&folder.file(), config);
    let plugin = host.sim.register("dice").unwrap();
    for _ in 0..700 {
        plugin.events().increment();
        host.tick(|_| None);
    }
    host.feed.changes.on_write_failed();
    assert_eq!(host.feed.changes.batch.times.len(), 700);
    for tick in 0..900 {
        plugin.events().increment();
        host.tick(|_| None);
        if tick % 12 == 0 {
            host.feed.changes.on_write_failed();
        }
    }
    let waiting = host.feed.changes.batch.times.len();
    assert!((720..=800).contains(&waiting), "{waiting}");
    host.write();
    let points = host.reader().points("dice", all(), Resolution::Raw);
    assert!((720..=800).contains(&points.len()), "{}", points.len());
    assert!(points.iter().all(|point| point.events == 1));
    let last = unix_ms(points.last().unwrap().timestamp);
    assert_eq!(last, unix_ms(host.sim.snapshot().sampled_at()));
}

/// A recorder that begins late takes them all from the history.
#[test]
fn history_of_more_than_an_hour_is_recorded() {
    let folder = Folder::new("long-history");
    let config = Config::default().poll_interval(5 * SECOND).history_duration(3 * HOUR);
    let mut sim = Simulation::new(config).unwrap();
    let plugin = sim.register("dice").unwrap();
    for tick in 0..2_000 {
        plugin.events().increment();
        if tick % 100 == 0 {
            plugin.started(1 + tick, "");
            plugin.stopped();
        }
        sim.tick(|_| None);
    }
    let mut host = Host::start_at(&folder.file(), sim, 20_000 * SECOND, Some("boot"));
    host.look();
    assert_eq!(host.feed.changes.batch.times.len(), 2_000);
    host.write();
    let points = host.reader().points("dice", all(), Resolution::Minute);
    assert_eq!(points.iter().map(|point| point.events).sum::<u64>(), 2_000);
    assert_eq!(host.reader().runs("dice").len(), 20);
}

/// Beyond an hour, a look takes as many as fit into memory.
#[test]
fn rows_that_wait_for_their_first_write_are_bounded() {
    const PLUGINS: usize = 500;
    let folder = Folder::new("many-rows");
    let config = Config::default().poll_interval(5 * SECOND).history_duration(4 * HOUR);
    let mut sim = Simulation::new(config).unwrap();
    let _plugins: Vec<_> =
        (0..PLUGINS).map(|at| sim.register(&format!("plugin {at}")).unwrap()).collect();
    for _ in 0..2_500 {
        sim.tick(|_| None);
    }
    let mut host = Host::start_at(&folder.file(), sim, 20_000 * SECOND, Some("boot"));
    host.look();
    assert_eq!(host.feed.changes.batch.times.len(), 2_000);
    assert!(host.feed.changes.batch.plugins.iter().all(|plugin| plugin.rows.len() == 2_000));
}

/// Then the sealed values are in the file already.
#[test]
fn minutes_are_counted_once_if_the_file_cannot_be_shortened() {
    let folder = Folder::new("not-shortened");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    let tick = |host: &mut Host| {
        plugin.events().increment();
        host.tick(|_| None);
    };
    for _ in 0..300 {
        tick(&mut host);
    }
    host.write();
    // The values that are old enough are removed in the same transaction as others are sealed.
    let trigger = "CREATE TRIGGER keep BEFORE DELETE ON sample BEGIN SELECT RAISE(ABORT, ''); END";
    host.connection.execute_batch(trigger).unwrap();
    host.settings.max_bytes = 1;
    let seal_all = |host: &mut Host| {
        seal(&mut host.connection, &host.settings, &mut host.feed.host, Due::SealAll)
    };
    seal_all(&mut host).unwrap_err();
    for _ in 0..12 {
        tick(&mut host);
    }
    write(&mut host.connection, &host.feed, false).unwrap();
    host.feed.on_written(false);
    seal_all(&mut host).unwrap_err();
    let minutes = host.reader().points("dice", all(), Resolution::Minute);
    assert_eq!(minutes.iter().map(|point| point.events).sum::<u64>(), 312);
}

/// The rows of removed plugins are values as well.
#[test]
fn file_of_many_removed_plugins_stays_below_its_size() {
    let folder = Folder::new("removed-size");
    let mut host = Host::start(&folder.file(), config());
    host.settings = StoreConfig::new(folder.file()).max_bytes(1 << 20).validate().unwrap();
    let mut largest = 0;
    for minute in 0..60 {
        let plugins: Vec<_> = (0..100)
            .map(|at| host.sim.register(&format!("job {minute} {at} {}", "x".repeat(40))).unwrap())
            .collect();
        plugins.iter().for_each(|plugin| plugin.event_counter("command").unwrap().increment());
        host.tick(|_| None);
        plugins.iter().for_each(|plugin| plugin.remove());
        host.sim.advance(60 * SECOND);
        host.look();
        host.write();
        let bytes = file_bytes(&host.connection).unwrap();
        assert!(bytes <= 1 << 20, "{bytes} bytes after {minute} minutes");
        largest = largest.max(bytes);
        let sql = "SELECT count(*) FROM event_kind WHERE plugin NOT IN (SELECT id FROM plugin)";
        let orphans: i64 = host.connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(orphans, 0, "kinds of events of no plugin");
    }
    assert!(largest > 900 << 10, "the limit was not reached: {largest}");
    let plugins = host.reader().plugins();
    assert!((100..6_000).contains(&plugins.len()), "{}", plugins.len());
}

/// Samples and runs of a plugin may be kept longer than its row.
#[test]
fn no_id_of_a_plugin_is_used_again() {
    let folder = Folder::new("ids");
    let mut host = Host::start(&folder.file(), config());
    let [first, second] = ["cat", "dice"].map(|name| host.sim.register(name).unwrap());
    first.events().add(1);
    second.events().add(2);
    host.tick(|_| None);
    second.remove();
    host.sim.advance(SECOND);
    host.look();
    host.write();
    host.connection.execute("DELETE FROM plugin WHERE name = 'dice'", []).unwrap();
    host.stop();
    let mut host = Host::start(&folder.file(), config());
    let third = host.sim.register("cow").unwrap();
    third.events().add(4);
    host.tick(|_| None);
    host.write();
    let points = host.reader().points("cow", all(), Resolution::Raw);
    assert_eq!(points.iter().map(|point| point.events).collect::<Vec<_>>(), [4]);
}
