//! The definitions, one by one, in simulated time.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{
    Config, ConfigError, PluginState, ReadError, RegisterError, RunEnd, Snapshot, Window,
};

const POLL: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

/// A simulation whose history keeps `samples` samples.
fn keeping(samples: u32) -> Simulation {
    Simulation::new(Config::default().poll_interval(POLL).history_duration(POLL * samples)).unwrap()
}

fn usage(cpu_ms: u64, kib: u64) -> Usage {
    Usage { cpu_time: Duration::from_millis(cpu_ms), memory_bytes: kib * 1_024 }
}

fn idle(_pid: u32) -> Usage {
    usage(0, 1_024)
}

fn exit(code: i32) -> ExitStatus {
    ExitStatus::from_raw(code << 8)
}

fn signal(signal: i32) -> ExitStatus {
    ExitStatus::from_raw(signal)
}

/// State, crash count and the end of the last run of the only plugin.
fn shown(sim: &Simulation) -> (PluginState, u64, Option<RunEnd>) {
    let snapshot = sim.snapshot();
    let view = snapshot.plugins().next().unwrap();
    (view.state(), view.crash_count(), view.runs().last().and_then(|run| run.end))
}

fn cpu(snapshot: &Snapshot, name: &str) -> Vec<Option<f64>> {
    snapshot.plugin(name).unwrap().history(Window::All).map(|sample| sample.cpu_percent).collect()
}

#[test]
fn first_tick_has_cpu_percent() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_| usage(1_000, 1));
    assert_eq!(cpu(&sim.snapshot(), "dice"), [Some(20.0)]);
}

#[test]
fn aggregates_match_definition() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "");
    let mut used = 0;
    for i in 1..=40u64 {
        used += i * 50; // `i * 50` ms in five seconds are `i` percent
        plugin.events().add(i);
        sim.tick(|_| usage(used, i * 100));
    }
    let snapshot = sim.snapshot();
    let all = snapshot.plugin("dice").unwrap().aggregates(Window::All).unwrap();
    let cpu = all.cpu.unwrap();
    assert_eq!((cpu.count, cpu.min, cpu.max), (40, 1.0, 40.0));
    assert_eq!((cpu.avg, cpu.p95), (20.5, 39.0)); // index 38 of 0..40
    let memory = all.memory.unwrap();
    assert_eq!((memory.min, memory.max), (102_400.0, 4_096_000.0));
    assert_eq!(memory.avg, 20.5 * 102_400.0);
    assert_eq!(all.time_span, POLL * 39);
    assert_eq!(all.events, (2..=40).sum::<u64>());
    assert_eq!(all.events_per_second, all.events as f64 / 195.0);

    // A window of fifteen seconds includes the sample that is exactly that old.
    let last = snapshot.plugin("dice").unwrap().aggregates(POLL * 3).unwrap();
    assert_eq!(last.sample_count, 4);
    let cpu = last.cpu.unwrap();
    assert_eq!((cpu.min, cpu.max, cpu.p95), (37.0, 40.0, 40.0));
    let one = snapshot.plugin("dice").unwrap().aggregates(Duration::ZERO).unwrap();
    assert_eq!((one.sample_count, one.events, one.events_per_second), (1, 0, 0.0));
}

#[test]
fn history_keeps_newest_samples() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    for _ in 0..25 {
        plugin.events().increment();
        sim.tick(|_| None);
    }
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert!(view.history(Window::All).map(|sample| sample.event_count).eq(16..=25));
    let oldest = view.history(Window::All).next().unwrap();
    let age = snapshot.sampled_at().duration_since(oldest.timestamp).unwrap();
    assert_eq!(age, POLL * 9);
    // The newest ten stay, even after a suspension of the machine.
    sim.advance(POLL * 1_000);
    sim.tick(|_| None);
    let snapshot = sim.snapshot();
    assert_eq!(snapshot.plugin("dice").unwrap().history(Window::All).len(), 10);
    assert_eq!(snapshot.plugin("dice").unwrap().history(POLL * 10).len(), 1);
    assert_eq!(snapshot.sampler().missed_ticks, 0);
}

#[test]
fn denied_read_loses_no_cpu_time() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    sim.tick(|_| usage(1_000, 1));
    sim.tick(|_| Observed::Denied);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.read_error(), Some(&ReadError::PermissionDenied));
    let sample = view.current().unwrap();
    assert_eq!((sample.cpu_percent, sample.memory_bytes), (None, None));
    assert_eq!(sample.uptime, Some(POLL * 2));
    sim.tick(|_| usage(2_000, 1));
    let snapshot = sim.snapshot();
    assert_eq!(cpu(&snapshot, "dice"), [Some(20.0), None, Some(10.0)]);
    assert_eq!(snapshot.plugin("dice").unwrap().read_error(), None);
    assert_eq!(snapshot.plugin("dice").unwrap().cpu_time(), SECOND * 2);
    assert_eq!(snapshot.sampler().failed_reads, 1);
}

#[test]
fn panicking_read_affects_one_sample() {
    let mut sim = keeping(10);
    for (name, pid) in [("a", 1), ("b", 2), ("c", 3)] {
        sim.register(name).unwrap().started(pid, "");
    }
    sim.tick(|pid| if pid == 2 { panic!("a read that panics") } else { usage(500, 7) });
    let snapshot = sim.snapshot();
    for (name, expected) in [("a", Some(10.0)), ("b", None), ("c", Some(10.0))] {
        assert_eq!(cpu(&snapshot, name), [expected]);
    }
    assert_eq!(snapshot.sampler().failed_reads, 1);
    let problem = snapshot.plugin("b").unwrap().read_error();
    assert_eq!(problem, Some(&ReadError::Io(std::io::ErrorKind::Other)));
    sim.tick(|_| usage(1_000, 7));
    assert_eq!(cpu(&sim.snapshot(), "b"), [None, Some(10.0)]);
}

#[test]
fn hot_reload_keeps_history_without_crash() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    plugin.events().add(3);
    sim.tick(|_| usage(1_000, 1));
    plugin.started(2, "2.0");
    sim.tick(|pid| usage(u64::from(pid) * 250, 1));
    sim.advance(SECOND * 2);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.crash_count(), view.restart_count(), view.event_count()), (0, 1, 3));
    let versions = view.history(Window::All).map(|sample| sample.version);
    assert!(versions.eq([Some("1.0"), Some("2.0")]));
    let runs: Vec<_> = view.runs().map(|run| (run.pid, run.end, run.cpu_time)).collect();
    assert_eq!(runs, [(1, Some(RunEnd::Replaced), Some(SECOND)), (2, None, None)]);
    assert_eq!(cpu(&snapshot, "dice"), [Some(20.0), Some(10.0)]);
    assert_eq!(view.cpu_time(), Duration::from_millis(1_500));
}

#[test]
fn same_process_continues_from_readings() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(7, "1.0");
    sim.tick(|_| usage(1_000, 1));
    plugin.started(7, "2.0");
    sim.tick(|_| usage(1_500, 1));
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(cpu(&snapshot, "dice"), [Some(20.0), Some(10.0)]);
    assert_eq!(view.cpu_time(), Duration::from_millis(1_500));
    assert_eq!((view.restart_count(), view.runs().count()), (0, 2));
    assert_eq!(view.version(), Some("2.0"));
}

/// A detected exit is published immediately. If it is a crash, it counts after one second.
#[test]
fn detected_crash_counts_after_grace_period() {
    for (observed, state, counted) in [
        (Observed::Exited(0), PluginState::Stopped, 0),
        (Observed::Signaled(15), PluginState::Stopped, 0),
        (Observed::Exited(1), PluginState::Crashed, 1),
        (Observed::Signaled(9), PluginState::Crashed, 1),
        (Observed::Gone, PluginState::Crashed, 1),
    ] {
        let mut sim = keeping(10);
        sim.register("dice").unwrap().started(1, "");
        sim.tick(|_| observed);
        let end = match observed {
            Observed::Exited(code) => RunEnd::Exited(code),
            Observed::Signaled(signal) => RunEnd::Signaled(signal),
            _ => RunEnd::Unknown,
        };
        assert_eq!(shown(&sim), (state, 0, Some(end)), "{observed:?}");
        let snapshot = sim.snapshot();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!(view.pid(), None);
        // The sample of that tick has the state before the exit and no values.
        let sample = view.current().unwrap();
        assert_eq!(sample.state, PluginState::Running);
        assert_eq!((sample.cpu_percent, sample.memory_bytes, sample.uptime), (None, None, None));
        sim.advance(SECOND - Duration::from_nanos(1));
        assert_eq!(shown(&sim).1, 0);
        sim.advance(Duration::from_nanos(1));
        assert_eq!(shown(&sim), (state, counted, Some(end)), "{observed:?}");
        sim.advance(SECOND * 10);
        assert_eq!(shown(&sim).1, counted, "once");
    }
}

#[test]
fn report_within_grace_prevents_crash() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "");
    sim.tick(|_| Observed::Gone);
    plugin.stopped();
    sim.advance(SECOND * 2);
    assert_eq!(shown(&sim), (PluginState::Stopped, 0, Some(RunEnd::Stopped)));

    let run = plugin.started(2, "");
    sim.tick(|_| Observed::Gone);
    plugin.exited(run, exit(0));
    sim.advance(SECOND * 2);
    assert_eq!(shown(&sim), (PluginState::Stopped, 0, Some(RunEnd::Exited(0))));

    // Too late: a counted crash stays counted.
    plugin.started(3, "");
    sim.tick(|_| Observed::Gone);
    sim.advance(SECOND);
    plugin.stopped();
    sim.advance(SECOND);
    assert_eq!(shown(&sim), (PluginState::Stopped, 1, Some(RunEnd::Unknown)));
}

/// A reported crash counts immediately, and once, however often it is reported.
#[test]
fn reported_crash_counts_once() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let run = plugin.started(1, "");
    plugin.exited(run, signal(11));
    plugin.exited(run, signal(11));
    plugin.crashed();
    sim.advance(Duration::from_nanos(1));
    assert_eq!(shown(&sim), (PluginState::Crashed, 1, Some(RunEnd::Signaled(11))));

    plugin.started(2, "");
    plugin.crashed();
    plugin.crashed();
    sim.advance(SECOND * 2);
    assert_eq!(shown(&sim), (PluginState::Crashed, 2, Some(RunEnd::Crashed)));
    // A clean exit that only the sampler has detected can still be reported as a crash.
    plugin.started(3, "");
    sim.tick(|_| Observed::Exited(0));
    plugin.crashed();
    sim.advance(Duration::from_nanos(1));
    assert_eq!(shown(&sim), (PluginState::Crashed, 3, Some(RunEnd::Exited(0))));
}

/// An exit in the state `Stopping` is not a crash, whether the sampler or the host detects it.
#[test]
fn exit_while_stopping_is_no_crash() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "");
    plugin.set_state(PluginState::Stopping);
    sim.tick(|_| Observed::Signaled(9));
    assert_eq!(shown(&sim), (PluginState::Stopped, 0, Some(RunEnd::Signaled(9))));

    let run = plugin.started(2, "");
    plugin.set_state(PluginState::Stopping);
    plugin.exited(run, signal(9));
    sim.tick(idle);
    assert_eq!(shown(&sim), (PluginState::Stopped, 0, Some(RunEnd::Signaled(9))));
    sim.advance(SECOND * 5);
    assert_eq!(shown(&sim).1, 0);
}

#[test]
fn older_run_exit_counts_without_state_change() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let old = plugin.started(1, "");
    sim.tick(|_| Observed::Gone);
    plugin.started(2, "");
    plugin.exited(old, exit(7));
    sim.advance(Duration::from_nanos(1));
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.state(), view.crash_count()), (PluginState::Running, 1));
    let ends: Vec<_> = view.runs().map(|run| run.end).collect();
    assert_eq!(ends, [Some(RunEnd::Exited(7)), None]);
    let end = view.runs().next().unwrap().ended_at;
    assert_eq!(view.last_crash(), end, "the time of the exit, not of the count");
}

#[test]
fn failed_state_ends_run_without_crash() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let run = plugin.started(1, "");
    plugin.set_state(PluginState::Failed);
    sim.tick(idle);
    assert_eq!(shown(&sim), (PluginState::Failed, 0, Some(RunEnd::Unknown)));
    // The host reaps the process afterwards, which adds the exit status.
    plugin.exited(run, signal(9));
    sim.advance(SECOND * 2);
    assert_eq!(shown(&sim), (PluginState::Failed, 0, Some(RunEnd::Signaled(9))));
}

#[test]
fn invalid_pid_ends_active_run() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    plugin.started(1, "1.0");
    sim.tick(idle);
    plugin.started(0, "2.0");
    sim.tick(|_| -> Usage { panic!("no process may be read") });
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.state(), view.pid()), (PluginState::Failed, None));
    assert_eq!(view.read_error(), Some(&ReadError::InvalidPid));
    assert_eq!(view.version(), Some("1.0"), "no run has started");
    assert_eq!(view.runs().last().unwrap().end, Some(RunEnd::Replaced));
    plugin.started(3, "3.0");
    sim.tick(idle);
    assert_eq!(sim.snapshot().plugin("dice").unwrap().read_error(), None);
}

#[test]
fn excess_events_carry_to_next_tick() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    sim.tick(idle);
    plugin.events().add(10_000_000_000);
    let mut counts = Vec::new();
    for _ in 0..4 {
        sim.tick(idle);
        counts.push(sim.snapshot().plugin("dice").unwrap().event_count());
    }
    let most = u64::from(u32::MAX);
    assert_eq!(counts, [most, 2 * most, 10_000_000_000, 10_000_000_000]);
    let snapshot = sim.snapshot();
    let history = snapshot.plugin("dice").unwrap().history(Window::All);
    let forwards: Vec<_> = history.clone().map(|sample| sample.event_count).collect();
    assert_eq!(forwards, [0, most, 2 * most, 10_000_000_000, 10_000_000_000]);
    let mut backwards: Vec<_> = history.rev().map(|sample| sample.event_count).collect();
    backwards.reverse();
    assert_eq!(backwards, forwards);
}

#[test]
fn history_iterates_from_both_ends() {
    let mut sim = keeping(100);
    let plugin = sim.register("dice").unwrap();
    for _ in 0..75 {
        plugin.events().increment();
        sim.tick(idle);
    }
    let snapshot = sim.snapshot();
    let mut history = snapshot.plugin("dice").unwrap().history(Window::All);
    for i in 1..=37 {
        assert_eq!(history.len(), 75 - 2 * (i - 1));
        assert_eq!(history.next().unwrap().event_count, i as u64);
        assert_eq!(history.next_back().unwrap().event_count, 76 - i as u64);
    }
    assert_eq!(history.next().unwrap().event_count, 38);
    assert!(history.next().is_none() && history.next_back().is_none() && history.next().is_none());
}

#[test]
fn reused_slot_has_no_old_history() {
    let mut sim = keeping(100);
    let old = sim.register("old").unwrap();
    old.started(1, "");
    old.events().add(1_000);
    for _ in 0..40 {
        sim.tick(|_| usage(1_000, 5_000));
    }
    let before = sim.snapshot();
    old.remove();
    let new = sim.register("new").unwrap();
    sim.advance(Duration::from_nanos(1));
    let snapshot = sim.snapshot();
    assert!(snapshot.plugin("old").is_none());
    assert_eq!(snapshot.system().total_events, 0);
    let view = snapshot.plugin("new").unwrap();
    assert!(view.current().is_none() && view.aggregates(Window::All).is_none());
    assert_eq!((view.event_count(), view.cpu_time()), (0, Duration::ZERO));
    new.events().add(1);
    for i in 1..=35 {
        sim.tick(|_| None);
        let snapshot = sim.snapshot();
        let aggregates = snapshot.plugin("new").unwrap().aggregates(Window::All).unwrap();
        assert_eq!((aggregates.sample_count, aggregates.events), (i, 0));
        assert!(aggregates.memory.is_none());
    }
    assert_eq!(before.plugin("old").unwrap().event_count(), 1_000);
    assert_eq!(before.plugin("old").unwrap().history(Window::All).len(), 40);
}

#[test]
fn plugin_between_ticks_keeps_totals() {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let [first, other] = ["first", "other"].map(|name| sim.register(name).unwrap());
    for (pid, plugin) in (1..).zip([&first, &other]) {
        plugin.started(pid, "");
        plugin.events().add(u64::from(pid) * 10);
    }
    sim.tick(|pid| usage(0, 1_024 * u64::from(pid)));
    let totals = |sim: &Simulation| {
        let system = sim.snapshot().system();
        (system.total_plugins, system.total_events, system.total_memory_bytes)
    };
    assert_eq!(totals(&sim), (2, 30, 3 << 20));
    first.remove();
    sim.advance(Duration::from_millis(1));
    assert_eq!(totals(&sim), (1, 20, 2 << 20));
    // They use the slot of the first plugin, and no tick samples them.
    for nth in 0..3 {
        let short_lived = sim.register("short-lived").unwrap();
        short_lived.started(3, "");
        sim.advance(Duration::from_millis(1));
        assert_eq!(totals(&sim), (2, 20, 2 << 20), "{nth}");
        short_lived.remove();
        sim.advance(Duration::from_millis(1));
        assert_eq!(totals(&sim), (1, 20, 2 << 20), "{nth}");
    }
}

#[test]
fn newest_256_runs_in_history_are_listed() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    for _ in 0..1_000 {
        let run = plugin.started(1, "");
        plugin.exited(run, exit(1));
    }
    sim.tick(idle);
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.runs().count(), view.crash_count(), view.restart_count()), (256, 1_000, 999));
    for _ in 0..12 {
        sim.tick(idle);
    }
    let snapshot = sim.snapshot();
    assert_eq!(
        snapshot.plugin("dice").unwrap().runs().count(),
        0,
        "they are older than the history"
    );
    assert_eq!(snapshot.plugin("dice").unwrap().crash_count(), 1_000);
}

#[test]
fn sample_keeps_run_after_many_restarts() {
    let mut sim = keeping(2_000);
    let plugin = sim.register("dice").unwrap();
    let mut expected = Vec::new();
    for i in 0..1_500u32 {
        let version = format!("1.{i}");
        plugin.started(i + 1, &version);
        expected.push(version);
        sim.tick(idle);
    }
    let snapshot = sim.snapshot();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.runs().count(), 256);
    let versions = view.history(Window::All).map(|sample| sample.version.unwrap());
    assert!(versions.eq(expected.iter().map(String::as_str)));
    let pids = view.history(Window::All).map(|sample| sample.pid.unwrap());
    assert!(pids.eq(1..=1_500));
}

#[test]
fn simulation_has_own_time() {
    let mut sim = keeping(10);
    sim.register("dice").unwrap().started(1, "");
    let start = sim.snapshot();
    assert_eq!((start.tick(), start.sampled_at()), (0, start.started_at()));
    sim.advance(Duration::from_secs(86_400));
    sim.tick(idle);
    let snapshot = sim.snapshot();
    let passed = Duration::from_secs(86_400) + POLL;
    assert_eq!(snapshot.sampled_at(), start.started_at() + passed);
    assert_eq!(snapshot.sampled_at_instant(), start.sampled_at_instant() + passed);
    assert_eq!(snapshot.system().uptime, passed);
    let sample = snapshot.plugin("dice").unwrap().current().unwrap();
    assert_eq!(sample.uptime, Some(passed));
    sim.advance(Duration::MAX);
    sim.tick(idle);
}

#[test]
fn simulation_rejects_invalid_config() {
    let config = Config::default().poll_interval(Duration::ZERO);
    assert!(matches!(Simulation::new(config), Err(ConfigError::PollInterval { .. })));
    let mut sim = Simulation::new(Config::default().enabled(false)).unwrap();
    sim.register("dice").unwrap();
    assert!(matches!(sim.register("dice"), Err(RegisterError::AlreadyRegistered { .. })));
    sim.tick(idle);
    sim.advance(SECOND);
    assert!(sim.snapshot().is_stopped());
    assert_eq!(sim.snapshot().tick(), 0);
}

#[test]
fn snapshot_displays_as_table() {
    let mut sim = keeping(10);
    let dice = sim.register("dice").unwrap();
    dice.started(1, "");
    dice.events().add(1_234);
    sim.register("骰子").unwrap();
    let crashed = sim.register("8ball").unwrap();
    let run = crashed.started(2, "");
    crashed.exited(run, exit(1));
    sim.tick(|_| usage(1_492, 2_150));
    let expected = "\
PLUGIN  STATE    CPU % OF A CORE  MEMORY MB  EVENTS  CRASHES  UPTIME
8ball   CRASHED                -          -       0        1       -
dice    RUNNING            29.84       2.10    1234        0      5s
骰子    STOPPED                -          -       0        0       -
3 plugins, 1 running, 1 crashed; 1234 events, 2.10 MB, up 5s";
    assert_eq!(sim.snapshot().to_string(), expected);
}

#[test]
fn json_combines_tick_values_and_current_state() {
    let mut sim = keeping(10);
    let dice = sim.register("dice").unwrap();
    dice.started(4_711, "1.0");
    dice.events().add(7);
    sim.tick(|_| usage(1_492, 2_150));
    // A publication between ticks has the new state, pid, version and crash count, and no values.
    dice.crashed();
    sim.advance(Duration::from_nanos(1));
    let snapshot = sim.snapshot();
    let mut json = serde_json::to_value(&snapshot).unwrap();
    let timestamp = json["timestamp"].take();
    let plugin = &mut json["plugins"][0];
    assert_eq!(plugin["timestamp"].take(), timestamp);
    let text = timestamp.as_str().unwrap();
    assert!(text.len() == 24 && text.ends_with('Z'), "{text}");
    assert_eq!(
        json,
        serde_json::json!({
            "timestamp": null,
            "tick": 1,
            "revision": 2,
            "plugins": [{
                "timestamp": null, "plugin_name": "dice", "version": "1.0", "pid": null,
                "state": "CRASHED", "cpu_percent": null, "memory_mb": null,
                "uptime_seconds": null, "event_count": 7, "crash_count": 1,
            }],
            "system": {
                "uptime_seconds": 5.0, "uptime_human": "5s", "total_plugins": 1,
                "plugins_running": 0, "plugins_crashed": 1, "total_events": 7,
                "total_memory_mb": 2.1,
            },
            "sampler": {
                "ticks": 1, "missed_ticks": 0, "failed_reads": 0, "last_tick_seconds": 0.0,
                "cpu_seconds": null, "overhead_percent": null,
            },
        })
    );
    let row = serde_json::to_value(snapshot.plugin("dice").unwrap()).unwrap();
    assert_eq!(row["state"], "CRASHED");
}

#[test]
fn state_since_moves_on_change_or_new_run() {
    let mut sim = keeping(10);
    let plugin = sim.register("dice").unwrap();
    let since =
        |sim: &Simulation| -> SystemTime { sim.snapshot().plugin("dice").unwrap().state_since() };
    let start = sim.snapshot().started_at();
    sim.advance(SECOND);
    assert_eq!(since(&sim), start);
    plugin.started(1, "");
    sim.advance(SECOND);
    assert_eq!(since(&sim), start + SECOND);
    plugin.set_state(PluginState::Running);
    sim.advance(SECOND);
    assert_eq!(since(&sim), start + SECOND, "no change");
    plugin.started(1, "2");
    sim.advance(SECOND);
    assert_eq!(since(&sim), start + SECOND * 3);
}
