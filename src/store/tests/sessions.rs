//! A host that is started again.

use super::*;
use crate::collector::saved::Saved;
use crate::snapshot::run::RunEnd;
use crate::snapshot::state::PluginState;
use crate::store::saved::load;
use crate::store::tables::HostRow;
use crate::store::values::Resolution;
use crate::time::TimePoint;

pub(super) fn config() -> Config {
    Config::default().poll_interval(5 * SECOND).history_duration(HOUR)
}

/// The clocks of a machine: one that runs, and what a host at its start may have seen.
#[derive(Clone, Copy)]
pub(super) struct Start {
    pub gap: Duration,
    /// How far the wall clock is set back in the gap.
    pub set_back: Duration,
    pub is_other_boot: bool,
}

pub(super) const PLAIN: Start =
    Start { gap: Duration::from_secs(30), set_back: Duration::ZERO, is_other_boot: false };

/// A host that is killed: what was not written is lost.
pub(super) struct Killed {
    at: TimePoint,
    path: PathBuf,
}

pub(super) fn kill(host: Host) -> Killed {
    let snapshot = host.sim.snapshot();
    let at = snapshot.0.timeline.at(snapshot.tick()).unwrap();
    let boot = host.boot + snapshot.sampled_at_instant().duration_since(host.started);
    Killed { at: TimePoint { boot, ..at }, path: host.settings.path.clone() }
}

fn boot_id(start: &Start) -> &'static str {
    if start.is_other_boot { "other" } else { "boot" }
}

pub(super) fn saved(path: &Path, start: &Start) -> Saved {
    let connection = Connection::open(path).unwrap();
    load(&connection, Some(boot_id(start))).unwrap()
}

pub(super) fn restart(killed: &Killed, config: Config, start: Start) -> Host {
    let saved = saved(&killed.path, &start);
    let clocks = |_| {
        let mut now = killed.at.after(start.gap);
        now.wall -= start.set_back;
        if start.is_other_boot {
            now.boot = 20 * SECOND;
        }
        now
    };
    let mut boot = Duration::ZERO;
    let sim = Simulation::resume_at(config, saved, |started| {
        let now = clocks(started);
        boot = now.boot;
        now
    });
    Host::start_at(&killed.path, sim.unwrap(), boot, Some(boot_id(&start)))
}

/// Ticks with one event each.
pub(super) fn ticks(host: &mut Host, plugin: &crate::collector::Plugin, count: u64) {
    for tick in 1..=count {
        plugin.events().increment();
        host.tick(|pid| observed(tick, pid));
    }
}

#[test]
fn counters_and_runs_go_on_from_the_newest_write() {
    let folder = Folder::new("resume");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    plugin.event_counter("command").unwrap().add(5);
    plugin.started(100, "1.0");
    ticks(&mut host, &plugin, 3);
    plugin.crashed();
    plugin.started(101, "1.1");
    ticks(&mut host, &plugin, 9);
    host.write();
    let before = host.sim.snapshot();
    // Lost.
    ticks(&mut host, &plugin, 4);

    let mut host = restart(&kill(host), config(), PLAIN);
    let plugin = host.sim.register("dice").unwrap();
    assert_eq!(plugin.events().get(), 17);
    host.tick(|_| None);
    let (after, before) = (host.sim.snapshot(), before.plugin("dice").unwrap());
    let view = after.plugin("dice").unwrap();
    assert_eq!((view.event_count(), view.crash_count(), view.restart_count()), (17, 1, 1));
    assert!(view.event_counts().eq([("command", 5)]));
    assert_eq!(
        (view.cpu_time(), view.tree_cpu_time()),
        (before.cpu_time(), before.tree_cpu_time())
    );
    assert_eq!(view.last_crash().map(unix_ms), before.last_crash().map(unix_ms));
    assert_eq!(
        (view.state(), view.pid(), view.version()),
        (PluginState::Stopped, None, Some("1.1"))
    );
    let runs: Vec<_> = view.runs().collect();
    assert_eq!(
        runs.iter().map(|run| run.end).collect::<Vec<_>>(),
        [Some(RunEnd::Crashed), Some(RunEnd::HostGone)]
    );
    let ended = unix_ms(runs[1].ended_at.unwrap());
    assert_eq!(ended, unix_ms(before.snapshot().sampled_at()));

    // The next run is no restart, the one after it is. CPU time goes on.
    plugin.started(200, "1.1");
    host.tick(|pid| observed(1, pid));
    plugin.stopped();
    plugin.started(201, "1.1");
    host.tick(|pid| observed(2, pid));
    let after = host.sim.snapshot();
    let view = after.plugin("dice").unwrap();
    assert_eq!((view.restart_count(), view.crash_count()), (2, 1));
    assert!(view.cpu_time() > before.cpu_time());
    assert!(view.tree_cpu_time() - view.cpu_time() > before.tree_cpu_time() - before.cpu_time());
    host.write();
    let stored = host.reader().runs("dice");
    let ends: Vec<_> = stored.iter().map(|run| run.end).collect();
    assert_eq!(ends, [Some(RunEnd::Crashed), Some(RunEnd::HostGone), Some(RunEnd::Stopped), None]);
    assert_eq!(stored[1].ended_at.map(unix_ms), Some(ended));
    let plugins = host.reader().plugins();
    assert_eq!((plugins.len(), plugins[0].event_count, plugins[0].restart_count), (1, 17, 2));
}

#[test]
fn last_hour_is_in_history_before_the_first_tick() {
    let folder = Folder::new("hour");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    plugin.started(101, "1.0");
    for _ in 0..8 {
        ticks(&mut host, &plugin, 100);
        host.write();
    }
    host.seal(Due::SealAll);
    ticks(&mut host, &plugin, 100);
    host.write();
    let old = host.sim.snapshot();
    let old = old.plugin("dice").unwrap();

    let host = restart(&kill(host), config(), PLAIN);
    let plugin = host.sim.register("dice").unwrap();
    let mut sim = host.sim;
    sim.advance(Duration::ZERO);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.current(), view.usage().memory_bytes), (None, None), "no tick yet");
    assert_eq!(view.event_count(), 900);
    // The newest sample is 30 s old.
    let restored: Vec<_> = view.history(Window::All).collect();
    assert_eq!(restored.len(), (3_600 - 30) / 5 + 1);
    let skipped = old.history(Window::All).len() - restored.len();
    for (sample, old) in restored.iter().zip(old.history(Window::All).skip(skipped)) {
        assert_eq!(unix_ms(sample.timestamp), unix_ms(old.timestamp));
        assert_eq!((sample.cpu_percent, sample.memory_bytes), (old.cpu_percent, old.memory_bytes));
        assert_eq!(sample.tree_cpu_percent, old.tree_cpu_percent);
        assert_eq!(sample.tree_memory_bytes, old.tree_memory_bytes);
        assert_eq!((sample.process_count, sample.pid), (old.process_count, old.pid));
        assert_eq!((sample.event_count, sample.state), (old.event_count, old.state));
        let uptimes = [sample.uptime, old.uptime].map(|uptime| uptime.unwrap().as_secs_f64());
        assert!((uptimes[0] - uptimes[1]).abs() < 0.01, "{uptimes:?}");
    }
    let (aggregates, expected) = (view.aggregates(Window::All).unwrap(), restored.len());
    assert_eq!((aggregates.sample_count, aggregates.events), (expected, expected as u64 - 1));

    // Only new samples are recorded, and the window moves on.
    plugin.events().add(7);
    sim.tick(|_| None);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    let history = view.history(Window::All);
    assert_eq!(history.len(), expected + 1);
    let newest: Vec<_> = history.rev().take(2).collect();
    assert_eq!((newest[0].event_count, newest[1].event_count), (907, 900));
    assert_eq!(view.sample_age(1), Some(35 * SECOND));
    let gap = newest[0].timestamp.duration_since(newest[1].timestamp).unwrap();
    assert!(gap.abs_diff(35 * SECOND) < Duration::from_millis(2), "{gap:?}");
}

#[test]
fn rates_do_not_span_the_gap() {
    let folder = Folder::new("rates");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    plugin.started(102, "1.0");
    ticks(&mut host, &plugin, 120);
    host.write();
    let mut host = restart(&kill(host), config(), Start { gap: HOUR / 2, ..PLAIN });
    let plugin = host.sim.register("dice").unwrap();
    plugin.started(104, "1.0");
    ticks(&mut host, &plugin, 120);
    host.write();
    let snapshot = host.sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.history(Window::All).len(), 240);
    // One event each 5 s.
    assert!((view.event_rate(Window::All) - 0.2).abs() < 0.002, "{}", view.event_rate(Window::All));
    let aggregates = view.aggregates(Window::All).unwrap();
    assert!((aggregates.events_per_second - 0.2).abs() < 0.002);
    assert!(aggregates.time_span > HOUR / 2);
    let versions = view.versions(Window::All);
    assert!(versions[0].time <= 20 * 60 * SECOND, "{:?}", versions[0].time);
    let stored = host.reader().aggregates("dice", all());
    assert_eq!((stored.events, stored.events_per_second), (240, 0.2));
}

/// Whatever the clocks do: stored times ascend, and the gap is measured by the clock that went on.
#[test]
fn stored_time_never_goes_back() {
    let folder = Folder::new("clocks");
    for (name, start, gap) in [
        ("plain", PLAIN, 30 * SECOND),
        ("set back", Start { set_back: HOUR, ..PLAIN }, 30 * SECOND),
        ("other boot", Start { is_other_boot: true, ..PLAIN }, 30 * SECOND),
        (
            "other boot, set back",
            Start { is_other_boot: true, set_back: HOUR, ..PLAIN },
            Duration::from_millis(1),
        ),
    ] {
        let path = folder.0.join(name);
        let mut host = Host::start(&path, config());
        let plugin = host.sim.register("dice").unwrap();
        ticks(&mut host, &plugin, 24);
        host.write();
        let mut host = restart(&kill(host), config(), start);
        let step = host.feed.host.step_ms;
        assert_eq!(step > 0, start.set_back > Duration::ZERO, "{name}: {step}");
        let plugin = host.sim.register("dice").unwrap();
        ticks(&mut host, &plugin, 24);
        host.write();
        let snapshot = host.sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!(view.history(Window::All).len(), 48, "{name}");
        let age = view.sample_age(24).unwrap() - view.sample_age(23).unwrap();
        let error = age.abs_diff(gap + 5 * SECOND);
        assert!(error < Duration::from_millis(5), "{name}: {age:?}");
        let points = host.reader().points("dice", all(), Resolution::Raw);
        let times: Vec<_> = points.iter().map(|point| unix_ms(point.timestamp)).collect();
        assert_eq!(times.len(), 48, "{name}");
        assert!(times.is_sorted_by(|a, b| a < b), "{name}: {times:?}");
        let gap_ms = gap.as_millis() as i64 + 5_000;
        assert!((times[24] - times[23]).abs_diff(gap_ms) < 5, "{name}: {}", times[24] - times[23]);
    }
}

#[test]
fn plugin_that_is_registered_late_or_never_is_hidden_until_then() {
    let folder = Folder::new("late-registration");
    let mut host = Host::start(&folder.file(), config());
    let plugins = ["gone", "late"].map(|name| host.sim.register(name).unwrap());
    plugins[0].started(102, "");
    plugins[1].started(104, "");
    plugins[0].events().add(1_000);
    ticks(&mut host, &plugins[1], 12);
    host.write();
    let mut host = restart(&kill(host), config(), PLAIN);
    let other = host.sim.register("other").unwrap();
    ticks(&mut host, &other, 5);
    let snapshot = host.sim.snapshot();
    assert!(snapshot.plugins().map(|view| view.name()).eq(["other"]));
    let system = snapshot.system();
    assert_eq!((system.total_plugins, system.total_events, system.process_count), (1, 5, 0));
    let late = host.sim.register("late").unwrap();
    assert_eq!(late.events().get(), 12);
    late.started(106, "");
    ticks(&mut host, &late, 3);
    let snapshot = host.sim.snapshot();
    assert_eq!(snapshot.system().total_events, 5 + 15);
    let view = snapshot.plugin("late").unwrap();
    let history: Vec<_> = view.history(Window::All).collect();
    assert_eq!(history.len(), 12 + 5 + 3);
    for sample in &history[12..17] {
        assert_eq!(
            (sample.state, sample.run, sample.event_count),
            (PluginState::Stopped, None, 12)
        );
        assert_eq!((sample.cpu_percent, sample.memory_bytes), (None, None));
    }
    // A plugin that is never registered keeps no slot beyond the history, and its counters are not lost.
    ticks(&mut host, &late, 721);
    let snapshot = host.sim.snapshot();
    assert_eq!(snapshot.system().total_plugins, 2);
    let gone = host.sim.register("gone").unwrap();
    assert_eq!(gone.events().get(), 1_000);
    host.tick(|_| None);
    let snapshot = host.sim.snapshot();
    let view = snapshot.plugin("gone").unwrap();
    assert_eq!((view.history(Window::All).len(), view.event_count()), (1, 1_000));
    host.write();
    let stored = host.reader().plugins();
    let counts = stored.iter().map(|plugin| (&*plugin.name, plugin.event_count));
    assert!(counts.eq([("gone", 1_000), ("late", 12 + 3 + 721), ("other", 5)]));
}

/// Crashes that are not in the history are not in its windows.
#[test]
fn windows_have_only_their_own_crashes() {
    let folder = Folder::new("crashes");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    for run in 0..3 {
        plugin.started(100 + run, "");
        plugin.crashed();
    }
    ticks(&mut host, &plugin, 1);
    plugin.started(110, "");
    plugin.crashed();
    ticks(&mut host, &plugin, 1);
    host.write();
    for (gap, restored) in [(PLAIN.gap, 4), (2 * HOUR, 0)] {
        let killed = Killed {
            at: {
                let snapshot = host.sim.snapshot();
                snapshot.0.timeline.at(snapshot.tick()).unwrap()
            },
            path: folder.file(),
        };
        let boot = Duration::from_millis(host.feed.host.end.boot_ms as u64);
        let killed = Killed { at: TimePoint { boot, ..killed.at }, ..killed };
        let saved = saved(&killed.path, &PLAIN);
        let mut sim = Simulation::resume_at(config(), saved, |_| killed.at.after(gap)).unwrap();
        sim.register("dice").unwrap();
        sim.tick(|_| None);
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!(view.crash_count(), 4);
        assert_eq!(view.crashes(Window::All), restored, "after {gap:?}");
    }
}

/// A crash between the newest sample and the end of the host is in the counter of the file, so the next session
/// restores it with that sample, and records it with its own first one.
#[test]
fn crash_after_newest_sample_is_restored_with_it() {
    for is_resumed in [true, false] {
        let folder = Folder::new("late-crash");
        let mut host = Host::start(&folder.file(), config());
        let plugin = host.sim.register("dice").unwrap();
        plugin.started(100, "");
        ticks(&mut host, &plugin, 2);
        plugin.crashed();
        host.sim.advance(SECOND);
        host.look();
        host.write();
        assert_eq!(host.reader().plugins()[0].crash_count, 1);
        assert_eq!(host.reader().aggregates("dice", all()).crashes, 0);
        let killed = kill(host);
        let mut host = if is_resumed {
            restart(&killed, config(), PLAIN)
        } else {
            Host::start_at(
                &killed.path,
                Simulation::new(config()).unwrap(),
                2_000 * SECOND,
                Some("boot"),
            )
        };
        let plugin = host.sim.register("dice").unwrap();
        host.sim.advance(Duration::ZERO);
        if is_resumed {
            let snapshot = host.sim.snapshot();
            assert_eq!(snapshot.plugin("dice").unwrap().crashes(Window::All), 1);
        }
        ticks(&mut host, &plugin, 2);
        if is_resumed {
            let snapshot = host.sim.snapshot();
            let view = snapshot.plugin("dice").unwrap();
            assert_eq!((view.crash_count(), view.crashes(Window::All)), (1, 1));
            assert_eq!(view.aggregates(Window::All).unwrap().crashes, 1);
            let counts: Vec<_> =
                view.history(Window::All).map(|sample| sample.crash_count).collect();
            assert_eq!(counts, [0, 1, 1, 1]);
        }
        host.write();
        assert_eq!(host.reader().plugins()[0].crash_count, 1);
        assert_eq!(host.reader().aggregates("dice", all()).crashes, 1, "resumed: {is_resumed}");
        host.stop();
        let reader = StoreReader::open(folder.file()).unwrap();
        assert_eq!(reader.aggregates("dice", all()).crashes, 1);
    }
}

#[test]
fn clean_end_and_plain_start_add_to_the_counters() {
    let folder = Folder::new("plain-start");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 5);
    drop(host.stop());
    // A collector that was not resumed counts from 0.
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    plugin.events().add(100);
    ticks(&mut host, &plugin, 5);
    host.write();
    let plugins = host.reader().plugins();
    assert_eq!((plugins.len(), plugins[0].event_count), (1, 110));
    let points = host.reader().points("dice", all(), Resolution::Raw);
    let events: Vec<_> = points.iter().map(|point| point.events).collect();
    assert_eq!(events, [1, 1, 1, 1, 1, 101, 1, 1, 1, 1]);
    let clean: Vec<bool> = {
        let mut statement = host.connection.prepare("SELECT clean FROM host ORDER BY id").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(clean, [true, false]);
}

/// How an end was judged is part of it: the next collector may have other clean exit codes.
#[cfg(unix)]
#[test]
fn restored_runs_are_judged_as_before() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    let folder = Folder::new("judged");
    let mut host = Host::start(&folder.file(), config().clean_exit_codes(&[3]));
    let plugin = host.sim.register("dice").unwrap();
    for (pid, code) in [(100, 3), (101, 4)] {
        let run = plugin.started(pid, "1.0");
        ticks(&mut host, &plugin, 2);
        plugin.exited(run, ExitStatus::from_raw(code << 8));
        ticks(&mut host, &plugin, 2);
    }
    host.write();
    let crashes = |host: &Host| {
        let snapshot = host.sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        (view.crash_count(), view.versions(Window::All)[0].crashes)
    };
    assert_eq!(crashes(&host), (1, 1));
    let mut host = restart(&kill(host), config(), PLAIN);
    host.sim.register("dice").unwrap();
    host.tick(|_| None);
    assert_eq!(crashes(&host), (1, 1));
}

/// A file that takes the place of another one while a resumed host runs begins with the events of its own
/// ticks.
#[test]
fn replaced_file_begins_with_differences() {
    let folder = Folder::new("replaced");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 24);
    host.write();
    // Restored with samples, and without.
    for (name, gap) in [("near", PLAIN.gap), ("far", 2 * HOUR)] {
        let snapshot = host.sim.snapshot();
        let at = snapshot.0.timeline.at(snapshot.tick()).unwrap();
        let boot = Duration::from_millis(host.feed.host.end.boot_ms as u64);
        let killed = Killed { at: TimePoint { boot, ..at }, path: folder.file() };
        let mut resumed = restart(&killed, config(), Start { gap, ..PLAIN });
        let plugin = resumed.sim.register("dice").unwrap();
        ticks(&mut resumed, &plugin, 5);
        let Host { sim, boot, .. } = resumed;
        let mut replaced = Host::start_at(&folder.0.join(name), sim, boot, Some("boot"));
        replaced.look();
        replaced.write();
        let points = replaced.reader().points("dice", all(), Resolution::Raw);
        let events: Vec<_> = points.iter().map(|point| point.events).collect();
        // Of the first tick only if the sample before it is in the history.
        assert_eq!(events, [u64::from(name == "near"), 1, 1, 1, 1], "{name}");
        assert_eq!(replaced.reader().plugins()[0].event_count, 29, "{name}");
    }
}

/// A recorder that begins when the history has lost its oldest samples.
#[test]
fn late_recorder_begins_with_differences() {
    let folder = Folder::new("begun-late");
    let mut sim = Simulation::new(config().history_duration(100 * SECOND)).unwrap();
    let dice = sim.register("dice").unwrap();
    for _ in 0..200 {
        dice.events().increment();
        sim.tick(|_| None);
    }
    let late = sim.register("late").unwrap();
    late.events().add(7);
    sim.tick(|_| None);
    let mut host = Host::start_at(&folder.file(), sim, 2_000 * SECOND, Some("boot"));
    host.look();
    host.write();
    let events = |name: &str| -> Vec<_> {
        let points = host.reader().points(name, all(), Resolution::Raw);
        points.iter().map(|point| point.events).collect()
    };
    let dice = events("dice");
    assert!(dice.len() >= 20 && dice[0] == 0, "{dice:?}");
    assert!(dice[1..dice.len() - 1].iter().all(|&events| events == 1), "{dice:?}");
    assert_eq!(events("late"), [7]);
}

/// Ten sessions within a minute: all of their samples are in the history.
#[test]
fn host_restarted_ten_times_within_a_minute() {
    let folder = Folder::new("ten");
    let config = || config().poll_interval(SECOND);
    let mut host = Host::start(&folder.file(), config());
    for session in 1..=10 {
        let plugin = host.sim.register("dice").unwrap();
        plugin.started(100 + session, "");
        ticks(&mut host, &plugin, 4);
        host.write();
        let start = Start { gap: SECOND, ..PLAIN };
        host = restart(&kill(host), config(), start);
    }
    host.sim.register("dice").unwrap();
    host.tick(|_| None);
    let snapshot = host.sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.event_count(), view.history(Window::All).len()), (40, 41));
    assert_eq!((view.restart_count(), view.crash_count()), (0, 0));
    let runs: Vec<_> = view.runs().map(|run| (run.pid, run.end)).collect();
    let expected: Vec<_> = (101..=110).map(|pid| (pid, Some(RunEnd::HostGone))).collect();
    assert_eq!(runs, expected);
    // 40 events in the 4 s of each session; the first has no time before its first event.
    let rate = view.event_rate(Window::All);
    assert!((0.9..=1.0).contains(&rate), "{rate}");
    let counts: Vec<_> = view.history(Window::All).map(|sample| sample.event_count).collect();
    assert!(counts.iter().copied().eq((1..=40).chain([40])));
    // Each session has added to the rollups of the same minutes and hours.
    for resolution in [Resolution::Minute, Resolution::Hour] {
        let points = host.reader().points("dice", all(), resolution);
        assert!(points.len() <= 3, "{resolution:?}");
        let sums = points.iter().map(|point| (point.sample_count, point.events));
        let sums = sums.fold((0, 0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        assert_eq!(sums, (40, 40), "{resolution:?}");
    }
}

#[test]
fn other_poll_interval_restores_counters_alone() {
    let folder = Folder::new("interval");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 12);
    host.write();
    let mut host = restart(&kill(host), config().poll_interval(SECOND), PLAIN);
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 1);
    let snapshot = host.sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.history(Window::All).len(), view.event_count()), (1, 13));
}

#[test]
fn short_history_takes_the_newest_samples() {
    let folder = Folder::new("short");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    ticks(&mut host, &plugin, 200);
    host.write();
    let killed = kill(host);
    let mut host = restart(&killed, config().history_duration(100 * SECOND), PLAIN);
    host.sim.register("dice").unwrap();
    host.sim.advance(Duration::ZERO);
    let snapshot = host.sim.snapshot();
    let counts = snapshot.plugin("dice").unwrap().history(Window::All).map(|s| s.event_count);
    // The newest is 30 s old.
    assert_eq!(counts.collect::<Vec<_>>(), (186..=200).collect::<Vec<_>>());
}

/// Rollups are all that is left of the session before, which the range does not reach.
#[test]
fn range_that_begins_in_a_gap_has_samples() {
    let folder = Folder::new("gap-resolution");
    let mut host = Host::start(&folder.file(), config());
    let plugin = host.sim.register("dice").unwrap();
    plugin.started(2, "");
    ticks(&mut host, &plugin, 120);
    host.write();
    let killed = kill(host);
    let mut host = restart(&killed, config(), Start { gap: 40 * HOUR, ..PLAIN });
    let plugin = host.sim.register("dice").unwrap();
    plugin.started(3, "");
    // The first tick is late.
    host.sim.advance(3 * SECOND);
    ticks(&mut host, &plugin, 24);
    host.write();

    let now = host.sim.snapshot().sampled_at() + SECOND;
    let points = |back: Duration| {
        let from = now - back;
        let points = host.reader().points("dice", from..from + HOUR / 6, Resolution::Auto);
        (points.first().map(|point| point.resolution), points.len())
    };
    assert_eq!(points(HOUR / 6), (Some(Resolution::Raw), 24));
    // Of the session before.
    let (resolution, len) = points(40 * HOUR + HOUR / 6);
    assert_eq!(resolution, Some(Resolution::Minute));
    assert!((7..=11).contains(&len), "{len}");
    // A range in which both are.
    let samples = host.reader().aggregates("dice", now - 41 * HOUR..now);
    assert_eq!((samples.resolution, samples.sample_count), (Resolution::Minute, 144));
}

/// Of a host that was killed, the row of its session has the newest tick afterwards, and the next one but one
/// begins with the samples of an hour as well.
#[test]
fn killed_session_ends_at_its_newest_tick() {
    let folder = Folder::new("killed-end");
    let path = folder.file();
    let config = || config().history_duration(4 * HOUR);
    let mut host = Host::start(&path, config());
    for session in 0..2 {
        let plugin = host.sim.register("dice").unwrap();
        ticks(&mut host, &plugin, 480);
        host.write();
        ticks(&mut host, &plugin, 20);
        // Nothing is sealed.
        write(&mut host.connection, &host.feed, false).unwrap();
        let newest = unix_ms(host.sim.snapshot().sampled_at());
        host = restart(&kill(host), config(), PLAIN);
        let rows = HostRow::all(&host.connection).unwrap();
        assert_eq!((rows.len(), rows[session].end.at_ms), (session + 2, newest));
    }
    host.sim.register("dice").unwrap();
    host.sim.advance(Duration::ZERO);
    let snapshot = host.sim.snapshot();
    let history = snapshot.plugin("dice").unwrap().history(Window::All);
    // An hour, with 35 seconds between the two sessions.
    assert!((713..=715).contains(&history.len()), "{}", history.len());
}
