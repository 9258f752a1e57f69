//! What a recorder takes from snapshots and notifications.

use super::recording::{config, record};
use super::*;
use crate::snapshot::run::RunEnd;
use crate::store::tables::HostRow;
use crate::store::values::Resolution;

/// The first sample of a block covers the time since the sample before it, as it does in a batch.
#[test]
fn sealing_changes_no_aggregates() {
    let folder = Folder::new("sealed-aggregates");
    let mut host = Host::start(&folder.file(), config());
    host.sim.register("dice").unwrap().started(2, "");
    let at = |host: &Host| unix_ms(host.sim.snapshot().sampled_at());
    let mut tick = 0;
    // Up to the last tick of an hour; the next one is late.
    while tick < 3 || (at(&host) + 5_000) / 3_600_000 == at(&host) / 3_600_000 {
        tick += 1;
        host.tick(|pid| observed(tick, pid));
        if tick % 12 == 0 {
            host.write();
        }
    }
    host.write();
    host.sim.advance(40 * SECOND);
    for _ in 0..3 {
        tick += 1;
        host.tick(|pid| observed(tick, pid));
    }
    host.write();
    let start = host.sim.snapshot().started_at();
    let aggregates = |host: &Host| host.reader().aggregates("dice", start..start + 3 * HOUR);
    let before = aggregates(&host);
    assert_eq!(before.resolution, Resolution::Raw);
    host.seal(Due::SealAll);
    assert_eq!(aggregates(&host), before);
}

/// Of a host that is killed after it.
#[test]
fn clock_that_is_set_back_is_recorded() {
    let folder = Folder::new("set-back");
    let mut host = Host::start(&folder.file(), config());
    host.sim.register("dice").unwrap();
    host.tick(|_| None);
    host.write();
    host.sim.set_clock_back(HOUR);
    host.tick(|_| None);
    host.write();
    let rows = HostRow::all(&host.connection).unwrap();
    assert_eq!(rows.iter().map(|row| row.step_ms).collect::<Vec<_>>(), [3_600_000]);
    let points = host.reader().points("dice", all(), Resolution::Raw);
    let times: Vec<_> = points.iter().map(|point| unix_ms(point.timestamp)).collect();
    assert_eq!(times[1] - times[0], 5_000);
}

/// Each of them was recorded.
#[test]
fn late_tick_covers_the_time_since_the_one_before() {
    let folder = Folder::new("late-tick");
    let mut host = Host::start(&folder.file(), config());
    host.sim.register("dice").unwrap().started(1, "");
    host.sim.register("without process").unwrap();
    let start = host.sim.snapshot().started_at();
    for late in [0, 40, 0, 7, 0] {
        host.sim.advance(late * SECOND);
        host.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: 1 << 20 });
    }
    host.write();
    for is_sealed in [false, true] {
        for name in ["dice", "without process"] {
            let aggregates = host.reader().aggregates(name, start..start + HOUR);
            let covered = (aggregates.sample_count, aggregates.time_span);
            assert_eq!(covered, (5, 72 * SECOND), "{name}, sealed: {is_sealed}");
        }
        host.seal(Due::SealAll);
    }
}

/// A few ticks are no hour of them, however far the clock has jumped.
#[test]
fn ticks_before_a_jump_of_the_clock_are_written() {
    let folder = Folder::new("jump");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    for _ in 0..5 {
        plugin.events().increment();
        host.tick(|_| None);
    }
    host.sim.advance(8 * HOUR);
    host.tick(|_| None);
    host.feed.changes.on_write_failed();
    assert_eq!(host.feed.changes.batch.times.len(), 6);
    host.write();
    let points = host.reader().points("dice", all(), Resolution::Raw);
    assert_eq!(points.iter().map(|point| point.events).collect::<Vec<_>>(), [1, 1, 1, 1, 1, 0]);
}

/// Its end is in no snapshot if both are reported at a time; without an end it ends with the removal.
#[cfg(unix)]
#[test]
fn run_of_a_removed_plugin_has_ended() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    let folder = Folder::new("removed-run");
    let mut host = Host::start(&folder.file(), config());
    let [job, left] = ["job", "left"].map(|name| host.sim.register(name).unwrap());
    let run = job.started(100, "");
    left.started(102, "");
    host.tick(|pid| observed(1, pid));
    host.write();
    job.exited(run, ExitStatus::from_raw(3 << 8));
    job.remove();
    left.remove();
    host.sim.advance(SECOND);
    host.look();
    host.write();
    let run = |name: &str| host.reader().runs(name).remove(0);
    assert_eq!(run("job").end, Some(RunEnd::Exited(3)));
    assert_eq!(run("left").end, Some(RunEnd::Unknown));
    assert!(run("job").ended_at.is_some() && run("left").ended_at.is_some());
}

/// A crash that is counted a second after its run has ended changes nothing else of the run.
#[test]
fn crash_that_is_counted_late_marks_its_run() {
    let folder = Folder::new("counted-late");
    let mut host = Host::start(&folder.file(), config());
    host.sim.register("dice").unwrap().started(2, "");
    host.tick(|pid| observed(1, pid));
    host.tick(|_| Observed::Exited(3));
    let is_crash = |host: &mut Host| -> bool {
        host.look();
        host.write();
        host.connection.query_row("SELECT is_crash FROM runs", [], |row| row.get(0)).unwrap()
    };
    assert!(!is_crash(&mut host));
    host.sim.advance(SECOND);
    assert!(is_crash(&mut host));
}

#[test]
fn write_without_a_tick_changes_no_covered_time() {
    let folder = Folder::new("empty-write");
    let mut host = Host::start(&folder.file(), config());
    host.sim.register("dice").unwrap();
    host.tick(|_| None);
    host.write();
    host.write();
    host.sim.advance(17 * SECOND);
    host.tick(|_| None);
    host.write();
    let start = host.sim.snapshot().started_at();
    let stored = host.reader().aggregates("dice", start..start + HOUR);
    assert_eq!((stored.sample_count, stored.time_span), (2, 27 * SECOND));
}

/// The recorder may look at the snapshot before once more.
#[test]
fn older_snapshot_adds_nothing() {
    let folder = Folder::new("older-snapshot");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    plugin.events().add(3);
    host.tick(|_| None);
    let old = host.sim.snapshot();
    plugin.events().add(4);
    host.tick(|_| None);
    host.feed.look(&old, host.boot + 5 * SECOND);
    host.tick(|_| None);
    host.write();
    let points = host.reader().points("dice", all(), Resolution::Raw);
    assert_eq!(points.iter().map(|point| point.events).collect::<Vec<_>>(), [3, 4, 0]);
    assert_eq!(host.reader().plugins()[0].event_count, 7);
}

/// A removal whose notification was lost. And `first_ms`, `removed_ms`.
#[test]
fn plugin_that_no_snapshot_shows_was_removed_after_its_newest_sample() {
    let folder = Folder::new("no-notification");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("job").unwrap();
    host.tick(|_| None);
    let first = unix_ms(host.sim.snapshot().sampled_at());
    host.tick(|_| None);
    let last = unix_ms(host.sim.snapshot().sampled_at());
    plugin.remove();
    host.sim.advance(SECOND);
    host.feed.look(&host.sim.snapshot(), host.boot + 10 * SECOND);
    host.write();
    let stored = host.reader().plugins().remove(0);
    assert_eq!((unix_ms(stored.first_seen), stored.removed_at.map(unix_ms)), (first, Some(last)));
}

/// All columns of a notification.
#[test]
fn notifications_are_read_as_sent() {
    let folder = Folder::new("notifications");
    let mut host = Host::start(&folder.file(), config());
    let sent = host.sim.subscribe();
    let plugin = host.sim.register("dice").unwrap();
    for pid in 1..4 {
        plugin.started(pid, "1.0");
        host.tick(|pid| observed(1, pid));
        plugin.crashed();
        host.tick(|_| None);
    }
    plugin.remove();
    host.sim.advance(SECOND);
    host.look();
    host.write();
    let mut expected = Vec::new();
    while let Ok(notification) = sent.try_recv() {
        expected.push((
            unix_ms(notification.at),
            notification.plugin.to_string(),
            notification.kind.as_str().to_owned(),
            notification.kind.to_string(),
            serde_json::to_string(&notification).unwrap(),
        ));
    }
    let stored = host.reader().notifications(all());
    let stored: Vec<_> = stored
        .into_iter()
        .map(|one| (unix_ms(one.at), one.plugin.to_string(), one.kind, one.text, one.json))
        .collect();
    assert!(stored.len() > 10);
    assert_eq!(stored, expected);
}

/// Rows of several looks are one section of the batch, so that a batch stays small.
#[test]
fn plugin_has_one_section_in_a_batch() {
    let folder = Folder::new("sections");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    host.sim.advance(Duration::ZERO);
    host.look();
    for _ in 0..3 {
        host.tick(|_| None);
    }
    let rows = |host: &Host| -> Vec<usize> {
        host.feed.changes.batch.plugins.iter().map(|plugin| plugin.rows.len()).collect()
    };
    assert_eq!(rows(&host), [3]);
    plugin.remove();
    host.sim.register("dice").unwrap();
    host.tick(|_| None);
    assert_eq!(rows(&host), [3, 1]);
}

/// Nothing is counted twice if it is not known until when rollups were written; and a value of
/// another type is a damaged row, not an error.
#[test]
fn damaged_session_counts_no_sample_twice() {
    let folder = Folder::new("damaged-row");
    let mut host = record(&folder.file(), 12);
    let mut tick = 12;
    loop {
        for _ in 0..12 {
            host.tick(|pid| observed(tick, pid));
            tick += 1;
        }
        if host.write() == Due::RollUp {
            break;
        }
    }
    let samples = |host: &Host| -> Vec<(i64, u64)> {
        let points = host.reader().points("cat", all(), Resolution::Minute);
        points.iter().map(|point| (unix_ms(point.timestamp), point.sample_count)).collect()
    };
    let intact = samples(&host);
    for damage in ["crc = crc + 1", "start_ms = 'then'"] {
        host.connection.execute(&format!("UPDATE host SET {damage}"), []).unwrap();
        assert!(HostRow::all(&host.connection).unwrap().is_empty(), "{damage}");
        assert!(HostRow::load(&host.connection, 1).unwrap().is_none(), "{damage}");
        let left = samples(&host);
        assert!(!left.is_empty() && left.len() < intact.len(), "{damage}");
        assert!(left.iter().all(|minute| intact.contains(minute)), "{damage}: {left:?}");
    }
}

/// The columns of plugins and runs that no other test looks at.
#[test]
fn plugins_and_runs_have_all_values() {
    let folder = Folder::new("all-values");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    for (pid, end) in [(2, Observed::Gone), (4, Observed::Signaled(11))] {
        plugin.started(pid, "1.0");
        host.tick(|pid| observed(1, pid));
        host.tick(|_| end);
        host.sim.advance(2 * SECOND);
    }
    host.tick(|_| None);
    host.write();
    let (snapshot, reader) = (host.sim.snapshot(), host.reader());
    let (view, stored) = (snapshot.plugin("dice").unwrap(), reader.plugins().remove(0));
    assert_eq!((stored.unknown_end_count, view.unknown_end_count()), (1, 1));
    assert_eq!((stored.crash_count, view.crash_count()), (1, 1));
    assert!(view.last_crash().is_some());
    assert_eq!(stored.last_crash.map(unix_ms), view.last_crash().map(unix_ms));
    let times = |run: &crate::Run| {
        [run.started_at, Some(run.reported_at), run.ended_at].map(|time| time.map(unix_ms))
    };
    let runs = reader.runs("dice");
    assert_eq!(runs.len(), 2);
    for (run, expected) in runs.iter().zip(view.runs()) {
        assert_eq!(times(run), times(expected));
        assert_eq!(run.peak_memory_bytes, expected.peak_memory_bytes);
        assert_eq!((run.end, run.oom_killed), (expected.end, expected.oom_killed));
    }
    assert!(runs[0].id < runs[1].id);
}

/// The resolution of aggregates, to the millisecond.
#[test]
fn aggregates_of_long_ranges_are_those_of_rollups() {
    let folder = Folder::new("ranges");
    let host = record(&folder.file(), 12);
    let start = host.sim.snapshot().started_at();
    let of = |span: Duration| host.reader().aggregates("cat", start..start + span).resolution;
    let millisecond = Duration::from_millis(1);
    assert_eq!((of(26 * HOUR), of(26 * HOUR + millisecond)), (Resolution::Raw, Resolution::Minute));
    let week = 8 * 24 * HOUR;
    assert_eq!((of(week), of(week + millisecond)), (Resolution::Minute, Resolution::Hour));
    // Without a file: nothing, and the reason.
    let reader = StoreReader::new(folder.0.join("none.db"));
    let none = reader.aggregates("cat", start..start + HOUR);
    assert_eq!((none.sample_count, none.resolution, none.cpu), (0, Resolution::Raw, None));
    assert!(reader.error().is_some());
    assert!(reader == reader.clone() && reader != host.reader());
}

/// A view shows the newest 256 runs of a plugin; the notifications have the others.
#[test]
fn crash_loop_between_two_looks_has_all_runs() {
    const RUNS: u32 = 700;
    let folder = Folder::new("many-runs");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    host.tick(|_| None);
    for pid in 2..RUNS + 2 {
        plugin.started(pid, "1.0");
        if pid % 10 == 0 {
            plugin.stopped();
        } else {
            plugin.crashed();
        }
        host.sim.advance(Duration::from_millis(1));
        host.receive();
    }
    host.tick(|_| None);
    host.write();
    let runs = host.reader().runs("dice");
    assert!(runs.iter().map(|run| run.pid).eq(2..RUNS + 2));
    assert!(runs.iter().all(|run| run.ended_at >= Some(run.reported_at)));
    let crashes: i64 = host
        .connection
        .query_row("SELECT count(*) FROM run WHERE is_crash AND number = id", [], |row| row.get(0))
        .unwrap();
    assert_eq!(crashes, i64::from(RUNS - RUNS / 10));
    let stopped = runs.iter().filter(|run| run.end == Some(RunEnd::Stopped)).count();
    assert_eq!(stopped, RUNS as usize / 10);
}

/// The time that a share covers may be longer than an hour.
#[test]
fn cpu_time_of_intervals_of_hours_is_exact() {
    let folder = Folder::new("long-interval");
    let config = Config::default().poll_interval(6 * HOUR).history_duration(24 * HOUR);
    let mut host = Host::start(&folder.file(), config);
    let plugin = host.sim.register("dice").unwrap();
    host.tick(|_| None);
    host.sim.advance(HOUR);
    plugin.started(2, "1.0");
    host.sim.advance(Duration::ZERO);
    // A tenth of a core, for six of the seven hours between the ticks.
    let used = 6 * HOUR / 10;
    host.tick(|_| Usage { cpu_time: used, memory_bytes: 1 << 20 });
    let snapshot = host.sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.cpu_time(), view.usage().cpu_percent), (used, Some(10.0)));
    host.write();
    let start = snapshot.started_at();
    let cpu_times = |host: &Host| {
        let spans = [(24 * HOUR, Resolution::Raw), (48 * HOUR, Resolution::Minute)];
        spans.map(|(span, resolution)| {
            let aggregates = host.reader().aggregates("dice", start..start + span);
            assert_eq!(aggregates.resolution, resolution);
            aggregates.cpu_time
        })
    };
    assert_eq!(cpu_times(&host), [used; 2]);
    host.seal(Due::SealAll);
    assert_eq!(cpu_times(&host), [used; 2]);
}

/// Also if the notification of the removal is lost, or comes late.
#[test]
fn registration_of_the_same_name_is_another_plugin() {
    for is_late in [false, true] {
        let folder = Folder::new("registered-again");
        let mut host = Host::start(&folder.file(), config());
        let first = host.sim.register("dice").unwrap();
        first.events().add(3);
        host.tick(|_| None);
        first.remove();
        let second = host.sim.register("dice").unwrap();
        second.events().add(2);
        host.sim.tick(|_| None);
        host.look_without_notifications();
        if is_late {
            host.receive();
        } else {
            while host.subscription.try_recv().is_ok() {}
        }
        second.events().increment();
        host.tick(|_| None);
        host.write();
        let reader = host.reader();
        let plugins = reader.plugins();
        let of = |is_removed: bool| {
            let mut plugins = plugins.iter().filter(|it| it.removed_at.is_some() == is_removed);
            let events: Vec<_> = plugins.by_ref().map(|plugin| plugin.event_count).collect();
            events
        };
        assert_eq!((of(true), of(false)), (vec![3], vec![3]), "late: {is_late}");
        let events = reader.points("dice", all(), Resolution::Raw);
        assert_eq!(events.iter().map(|point| point.events).collect::<Vec<_>>(), [3, 2, 1]);
    }
}

/// A view shows the newest 256.
#[test]
fn all_runs_before_the_first_look_at_a_plugin_are_kept() {
    let folder = Folder::new("first-runs");
    let mut host = Host::start(&folder.file(), config());
    host.tick(|_| None);
    let dice = host.sim.register("dice").unwrap();
    for pid in 1..=300 {
        dice.started(pid, "");
        dice.stopped();
        host.sim.advance(Duration::from_millis(10));
    }
    host.tick(|_| None);
    host.write();
    let runs = host.reader().runs("dice");
    assert!(runs.iter().map(|run| run.pid).eq(1..=300), "{}", runs.len());
}

/// The first sample after them covers a poll interval, also in a block.
#[test]
fn ticks_that_were_not_recorded_are_in_no_aggregate() {
    let folder = Folder::new("breaks");
    let config = Config::default().poll_interval(5 * SECOND).history_duration(60 * SECOND);
    let mut host = Host::start(&folder.file(), config);
    let observe = |tick: u64| {
        let main = Usage { cpu_time: tick as u32 * SECOND, memory_bytes: 1 << 20 };
        Observed::Running(main)
    };
    let dice = host.sim.register("dice").unwrap();
    dice.started(1, "");
    let start = host.sim.snapshot().started_at();
    let mut tick = 0;
    let mut tick_times = |host: &mut Host, times: u64, is_recorded: bool| {
        for _ in 0..times {
            tick += 1;
            if is_recorded {
                host.tick(|_| observe(tick));
            } else {
                host.sim.tick(|_| observe(tick));
            }
        }
    };
    tick_times(&mut host, 3, true);
    // The history holds twelve of these, the last of which is taken with the next.
    tick_times(&mut host, 40, false);
    tick_times(&mut host, 1, true);
    let aggregates = |host: &Host, plugin: &str| {
        let aggregates = host.reader().aggregates(plugin, start..start + HOUR);
        assert_eq!(aggregates.resolution, Resolution::Raw);
        (aggregates.sample_count, aggregates.time_span)
    };
    let expected = (15, 75 * SECOND);
    host.write();
    assert_eq!(aggregates(&host, "dice"), expected);
    host.seal(Due::SealAll);
    assert_eq!(aggregates(&host, "dice"), expected, "sealed");
    // The next block of the hour does not go on where the one before has ended.
    tick_times(&mut host, 40, false);
    tick_times(&mut host, 1, true);
    host.write();
    host.seal(Due::SealAll);
    let expected = (27, 135 * SECOND);
    assert_eq!(aggregates(&host, "dice"), expected, "sealed again");
    // Nothing is recorded without plugins.
    dice.remove();
    tick_times(&mut host, 30, true);
    let cat = host.sim.register("cat").unwrap();
    tick_times(&mut host, 2, true);
    cat.remove();
    tick_times(&mut host, 30, true);
    host.sim.register("cow").unwrap();
    tick_times(&mut host, 2, true);
    host.write();
    for is_sealed in [false, true] {
        assert_eq!(aggregates(&host, "dice"), expected, "sealed: {is_sealed}");
        for name in ["cat", "cow"] {
            let expected = (2, 10 * SECOND);
            assert_eq!(aggregates(&host, name), expected, "{name}, sealed: {is_sealed}");
        }
        host.seal(Due::SealAll);
    }
}

/// A plugin that no tick has sampled.
#[test]
fn rollup_without_samples_is_no_point() {
    let folder = Folder::new("no-samples");
    let mut host = Host::start(&folder.file(), config());
    host.sim.register("dice").unwrap();
    host.tick(|_| None);
    host.sim.register("new").unwrap();
    host.sim.advance(SECOND);
    host.look();
    host.write();
    host.seal(Due::SealAll);
    assert_eq!(host.reader().plugins().len(), 2);
    let rows: i64 =
        host.connection.query_row("SELECT count(*) FROM hour", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
    assert_eq!(host.reader().points("new", all(), Resolution::Hour), []);
}
