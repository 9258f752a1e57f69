//! A host that is started again: what it continues, and what it does not.

use super::sessions::{PLAIN, Start, config, kill, restart, saved, ticks};
use super::*;
use crate::collector::saved::Saved;
use crate::findings::FindingKind;
use crate::snapshot::run::RunEnd;
use crate::store::tables::HostRow;
use crate::store::values::Resolution;

/// Crashes of more than an hour ago, with and without samples in memory.
#[test]
fn crashes_of_earlier_sessions_are_no_crash_loop() {
    let folder = Folder::new("loop");
    for gap in [30 * SECOND, 2 * HOUR] {
        let mut host = Host::start(&folder.0.join(gap.as_secs().to_string()), config());
        let plugin = host.sim.register("dice").unwrap();
        for pid in 101..104 {
            plugin.started(pid, "1.0");
            plugin.crashed();
            ticks(&mut host, &plugin, 1);
        }
        for _ in 0..8 {
            ticks(&mut host, &plugin, 100);
            host.write();
        }
        let mut host = restart(&kill(host), config(), Start { gap, ..PLAIN });
        host.sim.register("dice").unwrap();
        host.sim.advance(Duration::ZERO);
        for _ in 0..2 {
            let snapshot = host.sim.snapshot();
            let view = snapshot.plugin("dice").unwrap();
            assert_eq!((view.crash_count(), view.findings()), (3, vec![]), "{gap:?}");
            host.tick(|_| None);
        }
    }
}

/// Four crashes after the newest sample, by the time between the two hosts, and whether the history is restored:
/// in the next host's first sample they would be a loop of now.
#[test]
fn unsampled_crashes_are_as_old_as_they_are() {
    let folder = Folder::new("unsampled");
    for (gap, has_samples, in_window) in [
        (20 * SECOND, true, 4),
        (180 * SECOND, true, 4),
        (HOUR / 2, true, 4),
        (2 * HOUR, true, 0),
        (72 * HOUR, true, 0),
        (20 * SECOND, false, 0),
    ] {
        let case = format!("{gap:?}, {has_samples}");
        let mut host = Host::start(&folder.0.join(&case), config());
        let plugin = host.sim.register("dice").unwrap();
        plugin.started(100, "1.0");
        ticks(&mut host, &plugin, 24);
        for pid in 101..105 {
            plugin.crashed();
            plugin.started(pid, "1.0");
        }
        host.sim.advance(SECOND);
        host.look();
        host.write();
        let poll_interval = if has_samples { 5 * SECOND } else { 7 * SECOND };
        let config = config().poll_interval(poll_interval);
        let mut host = restart(&kill(host), config, Start { gap, ..PLAIN });
        let plugin = host.sim.register("dice").unwrap();
        host.sim.advance(Duration::ZERO);
        for tick in 0..30u32 {
            let snapshot = host.sim.snapshot();
            let view = snapshot.plugin("dice").unwrap();
            // Two minutes from the sample of the crashes on, which is the newest before the first tick.
            let age = if tick == 0 { Duration::ZERO } else { gap + 5 * SECOND * tick };
            let is_loop = in_window > 0 && age <= 120 * SECOND;
            let loops = view.findings().into_iter().filter_map(|finding| match finding.kind {
                FindingKind::CrashLoop { count, .. } => Some(count),
                _ => None,
            });
            let expected = is_loop.then_some(4);
            assert_eq!(loops.collect::<Vec<_>>(), Vec::from_iter(expected), "{case}, tick {tick}");
            assert_eq!(view.crash_count(), 4, "{case}");
            if has_samples || tick > 0 {
                assert_eq!(view.crashes(Window::All), in_window, "{case}, tick {tick}");
            }
            ticks(&mut host, &plugin, 1);
        }
    }
}

/// Crashes before and after a restart of the host, within a minute.
#[test]
fn crash_loop_over_a_restart_of_the_host_is_found() {
    let folder = Folder::new("loop-over-restart");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    plugin.started(101, "1.0");
    ticks(&mut host, &plugin, 24);
    plugin.crashed();
    ticks(&mut host, &plugin, 2);
    plugin.started(102, "1.0");
    plugin.crashed();
    host.sim.advance(SECOND);
    host.look();
    host.write();
    let mut host = restart(&kill(host), config(), PLAIN);
    let plugin = host.sim.register("dice").unwrap();
    plugin.started(103, "1.0");
    ticks(&mut host, &plugin, 1);
    let is_loop = |kind: &FindingKind| matches!(kind, FindingKind::CrashLoop { .. });
    let findings = |host: &Host| host.sim.snapshot().plugin("dice").unwrap().findings();
    assert!(findings(&host).iter().all(|finding| !is_loop(&finding.kind)));
    plugin.crashed();
    ticks(&mut host, &plugin, 1);
    let found = findings(&host);
    let found = found.iter().find(|finding| is_loop(&finding.kind)).unwrap();
    let FindingKind::CrashLoop { count, last } = found.kind else { unreachable!() };
    assert_eq!(count, 3);
    let snapshot = host.sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((Some(last), view.crash_count()), (view.last_crash(), 3));
}

#[test]
fn restored_plugin_that_is_removed_early_was_in_no_total() {
    let folder = Folder::new("removed");
    for (name, count) in [("before the first tick", 0), ("between two ticks", 1)] {
        let mut host = Host::start(&folder.0.join(name), config());
        let other = host.sim.register("8ball").unwrap();
        other.events().add(5);
        let plugin = host.sim.register("dice").unwrap();
        plugin.started(101, "1.0");
        ticks(&mut host, &plugin, 24);
        host.write();
        let mut host = restart(&kill(host), config(), PLAIN);
        host.sim.register("8ball").unwrap();
        (0..count).for_each(|_| host.tick(|_| None));
        host.sim.register("dice").unwrap().remove();
        host.sim.advance(Duration::ZERO);
        let system = host.sim.snapshot().system();
        let totals = (system.total_events, system.total_memory_bytes, system.process_count);
        assert_eq!(totals, (5 * count, 0, 0), "{name}");
        host.tick(|_| None);
        assert_eq!(host.sim.snapshot().system().total_events, 5, "{name}");
    }
}

/// Restored ticks were those of an earlier host. When the totals began is not known.
#[cfg(feature = "otlp")]
#[test]
fn encoder_begins_after_the_restored_ticks() {
    let folder = Folder::new("otlp");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 24);
    host.write();
    let mut host = restart(&kill(host), config(), PLAIN);
    let plugin = host.sim.register("dice").unwrap();
    let mut times = Vec::new();
    for _ in 0..2 {
        ticks(&mut host, &plugin, 1);
        times.push(host.sim.snapshot().sampled_at());
    }
    let mut encoder = crate::otlp::Encoder::new([("service.instance.id", "test")]);
    let request = encoder.encode(&host.sim.snapshot()).unwrap();
    assert_eq!(request.ticks(), 2);
    // The field `start_time_unix_nano` of a point.
    let has_start = |at: SystemTime| {
        let nanos = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let field = [&[0x11][..], &nanos.to_le_bytes()].concat();
        request.body().windows(field.len()).any(|part| part == field)
    };
    assert_eq!([times[0], times[1]].map(has_start), [true, false]);
}

/// Values that could not be read when the collector was started are not lost.
#[test]
fn collector_without_saved_values_adds_to_the_counters() {
    let folder = Folder::new("no-saved-values");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 5);
    drop(host.stop());
    let sim = Simulation::resume(config(), Saved::default()).unwrap();
    let mut host = Host::start_at(&folder.file(), sim, 2_000 * SECOND, Some("boot"));
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 3);
    host.write();
    assert_eq!(host.reader().plugins()[0].event_count, 8);
    let points = host.reader().points("dice", all(), Resolution::Raw);
    assert_eq!(points.iter().map(|point| point.events).collect::<Vec<_>>(), [1; 8]);
}

/// Nothing of it is in the history, so the view has no events before its first sample.
#[test]
fn plugin_that_is_registered_again_has_its_counters_before_its_first_sample() {
    let folder = Folder::new("before-first-sample");
    let mut host = Host::start(&folder.file(), config());
    let [first, late] = ["first", "late"].map(|name| host.sim.register(name).unwrap());
    late.event_counter("command").unwrap().add(40);
    late.started(101, "");
    ticks(&mut host, &first, 12);
    host.write();
    let before = host.reader().plugins();
    let mut host = restart(&kill(host), config(), Start { gap: 2 * HOUR, ..PLAIN });
    let first = host.sim.register("first").unwrap();
    ticks(&mut host, &first, 3);
    let _late = host.sim.register("late").unwrap();
    host.sim.advance(Duration::ZERO);
    host.look();
    host.write();
    assert_eq!(host.reader().plugins()[1], before[1]);
    // And with its first sample.
    host.tick(|_| None);
    host.write();
    assert_eq!(host.reader().plugins()[1], before[1]);
}

/// Also without a tick since the write before.
#[test]
fn crash_after_the_newest_write_is_in_the_counters_at_the_end() {
    let folder = Folder::new("crash-at-end");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    plugin.started(100, "");
    ticks(&mut host, &plugin, 3);
    host.write();
    plugin.crashed();
    host.sim.advance(SECOND);
    let sim = host.stop();
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    let stored = StoreReader::open(folder.file()).unwrap().plugins().remove(0);
    assert_eq!((stored.crash_count, stored.event_count), (1, 3));
    assert_eq!(stored.last_crash.map(unix_ms), view.last_crash().map(unix_ms));
    assert_eq!(stored.cpu_time, view.cpu_time());
}

#[test]
fn run_that_was_reported_after_the_newest_tick_ends_then() {
    let folder = Folder::new("run-after-tick");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 3);
    host.sim.advance(2 * SECOND);
    plugin.started(100, "");
    host.sim.advance(Duration::ZERO);
    host.look();
    host.write();
    let host = restart(&kill(host), config(), PLAIN);
    let run = host.reader().runs("dice").remove(0);
    assert_eq!((run.end, run.ended_at), (Some(RunEnd::HostGone), Some(run.reported_at)));
}

/// Ticks that are taken after a suspension.
#[test]
fn ticks_before_a_suspension_keep_their_times() {
    let folder = Folder::new("suspended");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 2);
    for _ in 0..4 {
        host.sim.tick(|_| None);
    }
    host.sim.sleep(8 * HOUR);
    host.tick(|_| None);
    host.write();
    let points = host.reader().points("dice", all(), Resolution::Raw);
    let stored: Vec<_> = points.iter().map(|point| unix_ms(point.timestamp)).collect();
    let snapshot = host.sim.snapshot();
    let history = snapshot.plugin("dice").unwrap().history(Window::All);
    assert_eq!(stored, history.map(|sample| unix_ms(sample.timestamp)).collect::<Vec<_>>());
    assert!(stored[6] - stored[5] > 8 * 3_600_000);
}

/// Only a file that has taken the place of another one begins with differences.
#[test]
fn new_plugin_of_a_resumed_host_has_its_first_events() {
    let folder = Folder::new("resumed-new");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 3);
    host.write();
    let mut host = restart(&kill(host), config(), PLAIN);
    host.sim.register("dice").unwrap();
    host.sim.register("new").unwrap().events().add(7);
    host.tick(|_| None);
    host.tick(|_| None);
    host.write();
    let points = host.reader().points("new", all(), Resolution::Raw);
    assert_eq!(points.iter().map(|point| point.events).collect::<Vec<_>>(), [7, 0]);
}

/// A history that is shorter than the collector is old has lost nothing.
#[test]
fn plugin_that_was_registered_before_the_recorder_begins_has_its_first_events() {
    let folder = Folder::new("begun-later");
    let mut sim = Simulation::new(config()).unwrap();
    for _ in 0..3 {
        sim.tick(|_| None);
    }
    let dice = sim.register("dice").unwrap();
    for events in [7, 2] {
        dice.events().add(events);
        sim.tick(|_| None);
    }
    let mut host = Host::start_at(&folder.file(), sim, 2_000 * SECOND, Some("boot"));
    host.look();
    host.write();
    let points = host.reader().points("dice", all(), Resolution::Raw);
    assert_eq!(points.iter().map(|point| point.events).collect::<Vec<_>>(), [7, 2]);
}

/// The file is replaced before the first tick, and nothing of the
/// plugin is in the history.
#[test]
fn replaced_file_waits_for_the_first_sample() {
    let folder = Folder::new("replaced-early");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 24);
    host.write();
    let mut resumed = restart(&kill(host), config(), Start { gap: 2 * HOUR, ..PLAIN });
    let dice = resumed.sim.register("dice").unwrap();
    resumed.sim.advance(Duration::ZERO);
    let Host { sim, boot, .. } = resumed;
    let mut host = Host::start_at(&folder.0.join("other"), sim, boot, Some("boot"));
    host.look();
    dice.events().add(3);
    host.tick(|_| None);
    let new = host.sim.register("new").unwrap();
    new.events().add(5);
    host.tick(|_| None);
    host.write();
    let events = |name: &str| -> Vec<u64> {
        let points = host.reader().points(name, all(), Resolution::Raw);
        points.iter().map(|point| point.events).collect()
    };
    assert_eq!((events("dice"), events("new")), (vec![0, 0], vec![5]));
}

/// A collector that was not resumed adds each of its counters to that of the file.
#[test]
fn plain_start_adds_all_counters() {
    let folder = Folder::new("plain-sums");
    let live = |host: &mut Host, kinds: [(&str, u64); 2], first_pid: u32| {
        let plugin = host.sim.register("dice").unwrap();
        for (kind, count) in kinds {
            plugin.event_counter(kind).unwrap().add(count);
        }
        plugin.events().add(10);
        for pid in first_pid..first_pid + 3 {
            plugin.started(pid, "");
            for tick in 1..3 {
                let main = Usage { cpu_time: tick * SECOND, memory_bytes: 1 << 20 };
                let tree = Usage { cpu_time: 3 * main.cpu_time, ..main };
                host.tick(|_| Observed::RunningTree { main, tree, processes: 2 });
            }
            match pid - first_pid {
                0 => plugin.crashed(),
                1 => host.tick(|_| Observed::Gone),
                _ => plugin.stopped(),
            }
        }
        host.tick(|_| None);
        host.write();
        host.reader().plugins().remove(0)
    };
    let mut host = Host::start(&folder.file(), config());
    let before = live(&mut host, [("command", 5), ("message", 1)], 100);
    assert_eq!((before.crash_count, before.unknown_end_count, before.restart_count), (1, 1, 2));
    drop(host.stop());
    let mut host = Host::start(&folder.file(), config());
    // The counters of the session before are shown until the first new event.
    host.sim.register("dice").unwrap();
    host.tick(|_| None);
    host.write();
    assert_eq!(host.reader().plugins()[0], before);
    drop(host.stop());
    let mut host = Host::start(&folder.file(), config());
    let after = live(&mut host, [("reaction", 2), ("command", 3)], 200);
    let counts: Vec<_> = after.event_counts.iter().map(|(kind, count)| (&**kind, *count)).collect();
    assert_eq!(counts, [("command", 8), ("message", 1), ("reaction", 2)]);
    assert_eq!((before.event_count, after.event_count), (16, 31));
    assert_eq!((after.crash_count, after.unknown_end_count, after.restart_count), (2, 2, 4));
    assert_eq!(
        (after.cpu_time, after.tree_cpu_time),
        (2 * before.cpu_time, 2 * before.tree_cpu_time)
    );
    assert!(after.last_crash > before.last_crash && after.first_seen == before.first_seen);
}

/// Which ticks of a collector are recorded that is older than the end of
/// the newest session.
#[test]
fn collector_that_is_older_than_the_newest_session_is_recorded_from_now_on() {
    let folder = Folder::new("older-collector");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 3);
    host.write();
    let (end, settings) = (host.feed.host.end, host.settings.clone());
    let mut connection = host.connection;
    let begin = |connection: &mut Connection, start_boot: i64, boot_id: Option<&str>| {
        let of = SessionOf {
            boot_id: boot_id.map(str::to_owned),
            start: TickTime { at_ms: end.at_ms + 1_000, boot_ms: start_boot },
            now: TickTime { at_ms: end.at_ms + 60_000, boot_ms: end.boot_ms + 60_000 },
            poll_ms: 5_000,
            resumed: None,
            tick: 7,
        };
        let start = begin_session(connection, &settings, &of).unwrap();
        // The next case is about the same session before.
        connection.execute("DELETE FROM host WHERE id = ?1", [start.host.id]).unwrap();
        (start.last_tick, start.host.start_ms - end.at_ms)
    };
    assert_eq!(begin(&mut connection, end.boot_ms, Some("boot")), (7, 60_000));
    assert_eq!(begin(&mut connection, end.boot_ms + 1, Some("boot")), (0, 1_000));
    // Of another boot, or of one that is not known, boot times tell nothing.
    assert_eq!(begin(&mut connection, end.boot_ms, Some("other")), (0, 1_000));
    assert_eq!(begin(&mut connection, end.boot_ms, None), (0, 1_000));
    let host = HostRow::all(&connection).unwrap().remove(0);
    HostRow { boot_id: None, ..host }.put(&connection).unwrap();
    assert_eq!(begin(&mut connection, end.boot_ms, None), (0, 1_000));
}

/// The row of the newest session is damaged, and the wall clock was set back.
#[test]
fn session_after_a_damaged_one_begins_after_the_newest_sample() {
    let folder = Folder::new("damaged-session");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 24);
    host.write();
    host.seal(Due::SealAll);
    host.connection.execute("UPDATE host SET crc = crc + 1", []).unwrap();
    let newest = unix_ms(host.sim.snapshot().sampled_at());
    let mut host = restart(&kill(host), config(), Start { set_back: HOUR, ..PLAIN });
    assert_eq!(host.feed.host.start_ms, newest + 1);
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 3);
    host.write();
    let points = host.reader().points("dice", all(), Resolution::Raw);
    let times: Vec<_> = points.iter().map(|point| unix_ms(point.timestamp)).collect();
    assert!(times.len() == 27 && times.is_sorted_by(|a, b| a < b), "{times:?}");
}

/// Samples of a session whose row is damaged have no clocks; those of the next one have.
#[test]
fn samples_of_a_damaged_session_are_not_restored() {
    let folder = Folder::new("one-damaged");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 12);
    host.write();
    let mut host = restart(&kill(host), config(), PLAIN);
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 5);
    host.write();
    host.connection.execute("UPDATE host SET crc = crc + 1 WHERE id = 1", []).unwrap();
    let mut host = restart(&kill(host), config(), PLAIN);
    host.sim.register("dice").unwrap();
    host.tick(|_| None);
    let snapshot = host.sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.history(Window::All).len(), view.event_count()), (6, 17));
}

/// At least the newest run, and at most as many as a query shows.
#[test]
fn newest_runs_are_restored() {
    let folder = Folder::new("newest-runs");
    let mut host = Host::start(&folder.file(), config());
    let [old, busy] = ["old", "busy"].map(|name| host.sim.register(name).unwrap());
    for version in ["1.0", "1.1"] {
        old.started(2, version);
        ticks(&mut host, &busy, 1);
        old.stopped();
    }
    for _ in 0..8 {
        ticks(&mut host, &busy, 100);
        host.write();
    }
    for pid in 1..=300 {
        busy.started(pid, "");
        busy.stopped();
        if pid % 50 == 0 {
            ticks(&mut host, &busy, 1);
        }
    }
    host.write();
    let saved = saved(&folder.file(), &PLAIN);
    let runs = |name: &str| {
        let plugin = saved.0.plugins.iter().find(|plugin| &*plugin.name == name).unwrap();
        let runs = plugin.runs.iter().map(|run| (run.run.version.clone(), run.run.pid));
        runs.collect::<Vec<_>>()
    };
    assert_eq!(runs("old"), [(Some("1.1".into()), 2)]);
    assert_eq!((runs("busy").len(), runs("busy")[0].1), (256, 45));
}

/// In the tick in which the last restored sample leaves the history, too.
#[test]
fn totals_never_have_plugins_that_are_not_registered_again() {
    let folder = Folder::new("left-out");
    let config = || config().history_duration(60 * SECOND);
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("old").unwrap();
    ticks(&mut host, &plugin, 24);
    host.write();
    let mut host = restart(&kill(host), config(), Start { gap: SECOND, ..PLAIN });
    host.sim.register("new").unwrap().events().add(3);
    for tick in 0..24 {
        host.tick(|_| None);
        assert_eq!(host.sim.snapshot().system().total_events, 3, "tick {tick}");
    }
}

/// With crashes that no sample has, and a gap that is longer than the history.
#[test]
fn crashes_of_earlier_sessions_are_in_no_window() {
    let folder = Folder::new("old-crashes");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    for pid in 101..105 {
        plugin.started(pid, "1.0");
        plugin.crashed();
        ticks(&mut host, &plugin, 1);
    }
    plugin.started(105, "1.0");
    plugin.crashed();
    host.sim.advance(SECOND);
    host.look();
    host.write();
    let mut host = restart(&kill(host), config(), Start { gap: 2 * HOUR, ..PLAIN });
    host.sim.register("dice").unwrap();
    host.sim.advance(Duration::ZERO);
    for _ in 0..3 {
        let snapshot = host.sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        assert!(view.crash_count() >= 4);
        assert_eq!(view.crashes(Window::All), 0);
        host.tick(|_| None);
    }
}

#[test]
fn disabled_simulation_continues_nothing() {
    let folder = Folder::new("disabled-resume");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 24);
    host.write();
    drop(host);
    let sim = Simulation::resume(config().enabled(false), saved(&folder.file(), &PLAIN)).unwrap();
    let snapshot = sim.snapshot();
    assert_eq!((snapshot.plugins().len(), snapshot.tick()), (0, 0));
    assert_eq!(snapshot.status(), crate::CollectorStatus::Disabled);
}

/// A recorder that starts when the history has lost its oldest samples: the share of its first row covers one
/// interval, not the run.
#[test]
fn first_row_of_a_cut_history_covers_one_interval() {
    let folder = Folder::new("cut-history");
    let config = config().poll_interval(SECOND).history_duration(10 * SECOND);
    let mut sim = Simulation::new(config).unwrap();
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    let mut used = Duration::ZERO;
    let mut observe = move |_pid| {
        used += SECOND / 5;
        Usage { cpu_time: used, memory_bytes: 1 << 20 }
    };
    (0..400).for_each(|_| sim.tick(&mut observe));
    let mut host = Host::start_at(&folder.file(), sim, 1_000 * SECOND, Some("boot"));
    host.look();
    host.tick(&mut observe);
    host.write();
    // Eleven samples of a fifth of a core.
    let cpu_time = host.reader().aggregates("dice", all()).cpu_time;
    assert!(cpu_time.abs_diff(11 * SECOND / 5) < SECOND / 100, "{cpu_time:?}");
}
