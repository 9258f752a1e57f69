//! The wall clock is set while the sampler runs: by libfaketime in a process of its own. The clock
//! of the machine does not change, nor do the monotonic clocks.

use std::time::{Duration, Instant, SystemTime};

use plugmeter::{Collector, Config, PluginState, ProbeKind, Snapshot, Window};
#[cfg(feature = "portable")]
use plugmeter_test_support::isolated_process::{enter_isolated, lacks_root};
#[cfg(feature = "portable")]
use plugmeter_test_support::wall_clock::TemporaryFile;
use plugmeter_test_support::wall_clock::Wall;
use plugmeter_test_support::{ChildGuard, probes, shell, sleeper, wait_for};

const HOUR: i64 = 3_600;
const INTERVAL: Duration = Duration::from_millis(10);
/// Longer than one step of a test, and far shorter than any change of the clock.
const MAX_STEP_TIME: Duration = Duration::from_secs(300);

fn ticking_collector(probe: ProbeKind) -> Collector {
    let config = Config::default().poll_interval(INTERVAL).history_duration(INTERVAL * 3_000);
    Collector::start(config.probe(probe)).unwrap()
}

/// Waits for a snapshot that is `ticks` ticks newer than `before`.
fn after(collector: &Collector, before: &Snapshot, ticks: u64) -> Snapshot {
    wait_for("ticks", || {
        let snapshot = collector.snapshot();
        (snapshot.tick() >= before.tick() + ticks).then_some(snapshot)
    })
}

/// Returns the seconds from `earlier` to `later`.
fn seconds(later: SystemTime, earlier: SystemTime) -> f64 {
    match later.duration_since(earlier) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    }
}

/// The offsets that the clock is set to, in order.
fn offsets(probe: ProbeKind) -> &'static [i64] {
    match probe {
        // libfaketime treats the CPU clock of another process as a wall clock and moves it as well.
        // The offsets keep that clock positive, because the kernel's is never negative.
        ProbeKind::Native => &[HOUR, 0, 2 * HOUR, HOUR, 0, HOUR, 0],
        // Forwards, back to the true time, backwards, between the two, and to before 1970.
        _ => &[HOUR, 0, -HOUR, HOUR, -HOUR, -60 * 365 * 24 * HOUR, 0],
    }
}

#[test]
fn wall_clock_change_moves_no_tick_or_value() {
    let name = "wall_clock_change";
    let test = wall_clock_change_moves_no_tick_or_value;
    let Some(mut wall) = Wall::enter_isolated(test, name) else { return };
    for probe in probes() {
        let collector = ticking_collector(probe);
        let plugin = collector.register("busy").unwrap();
        let busy = shell("while :; do :; done");
        plugin.started(busy.pid(), "1.0");
        plugin.events().add(7);
        let mut before = after(&collector, &collector.snapshot(), 50);
        for &offset in offsets(probe) {
            let was = wall.offset();
            wall.set(offset);
            let now = after(&collector, &before, 50);
            let what = format!("{probe}, {was:+} to {offset:+}");
            let elapsed = now.sampled_at_instant() - before.sampled_at_instant();
            assert!(elapsed < MAX_STEP_TIME, "{what}: {elapsed:?}");

            // Wall-clock times follow the clock as it was set.
            let shown = seconds(now.sampled_at(), before.sampled_at());
            let expected = (offset - was) as f64 + elapsed.as_secs_f64();
            assert!((shown - expected).abs() < 60.0, "{what}: {shown} s, not {expected} s");

            // Ticks: each deadline has a tick or was counted as missed.
            let counted = |of: &Snapshot| of.sampler().ticks + of.sampler().missed_ticks;
            let deadlines = elapsed.as_secs_f64() / INTERVAL.as_secs_f64();
            let counted = (counted(&now) - counted(&before)) as f64;
            assert!((counted - deadlines).abs() < 1.0, "{what}: {counted} of {deadlines}");

            // Windows: exactly the samples of the window's age.
            let view = now.plugin("busy").unwrap();
            let window = now.sampled_at_instant() - before.sampled_at_instant();
            let in_it = view.history(window).len() as u64;
            assert_eq!(in_it, now.tick() - before.tick() + 1, "{what}");
            let all = view.aggregates(Window::All).unwrap();
            assert!(all.time_span < MAX_STEP_TIME, "{what}: {:?}", all.time_span);

            // Values: plausible in every sample.
            let cores = std::thread::available_parallelism().unwrap().get();
            // In so short an interval one step of the scheduler's clock is many percent.
            let most = 100.0 * (cores + 10) as f64;
            let mut moved = 0;
            for sample in view.history(window) {
                let cpu = sample.cpu_percent.unwrap_or(0.0);
                if probe == ProbeKind::Native && cpu > most {
                    moved += 1; // its clock was moved as well: see `offsets`
                } else {
                    assert!((0.0..=most).contains(&cpu), "{what}: {cpu} %");
                }
                assert_eq!((sample.pid, sample.event_count), (Some(busy.pid()), 7), "{what}");
                let uptime = sample.uptime.unwrap_or_else(|| {
                    panic!("{what}: {sample:?} {:?}", view.runs().collect::<Vec<_>>())
                });
                assert!(uptime < MAX_STEP_TIME, "{what}: {uptime:?}");
            }
            assert!(moved <= 1, "{what}: in {moved} samples");
            assert!(now.system().uptime < MAX_STEP_TIME, "{what}: {:?}", now.system().uptime);

            // The run is the same, with the times that were recorded at its start.
            let runs =
                |of: &Snapshot| of.plugin("busy").unwrap().runs().cloned().collect::<Vec<_>>();
            assert_eq!(runs(&now), runs(&before), "{what}");
            assert_eq!((view.state(), view.crash_count()), (PluginState::Running, 0), "{what}");
            for text in [now.to_string(), serde_json::to_string(&now).unwrap()] {
                assert!(!text.is_empty(), "{what}");
            }
            before = now;
        }
    }
}

/// Kills a process of the plugin and waits until the crash is counted: after its detection, or after
/// the host's report where the probe does not read exit statuses.
fn crash(collector: &Collector, probe: ProbeKind, mut child: ChildGuard) -> Snapshot {
    let plugin = collector.plugin("dice").unwrap();
    let run = plugin.started(child.pid(), "");
    let count = |snapshot: &Snapshot| snapshot.plugin("dice").unwrap().crash_count();
    let before = count(&collector.sample_now().unwrap());
    child.kill();
    if probe != ProbeKind::Native {
        plugin.exited(run, child.wait());
    }
    wait_for("the crash to be counted", || {
        let snapshot = collector.snapshot();
        (count(&snapshot) > before).then_some(snapshot)
    })
}

#[test]
fn last_crash_is_newest_after_clock_set_back() {
    let name = "last_crash";
    let test = last_crash_is_newest_after_clock_set_back;
    let Some(mut wall) = Wall::enter_isolated(test, name) else { return };
    for probe in probes() {
        let collector = ticking_collector(probe);
        collector.register("dice").unwrap();
        for (number, offset) in [0, HOUR, 0, -HOUR].into_iter().enumerate() {
            wall.set(offset);
            let start = Instant::now();
            let snapshot = crash(&collector, probe, sleeper());
            // The grace period is a second of a monotonic clock. The bound detects a wait of an
            // hour.
            assert!(start.elapsed() < MAX_STEP_TIME);
            let view = snapshot.plugin("dice").unwrap();
            let newest = view.runs().last().unwrap();
            assert_eq!(view.crash_count(), number as u64 + 1, "{probe}, at {offset:+}");
            assert_eq!(view.last_crash(), newest.ended_at, "{probe}, at {offset:+}");
            let ago = seconds(SystemTime::now(), view.last_crash().unwrap());
            assert!((-1.0..300.0).contains(&ago), "{probe}, at {offset:+}: {ago} s ago");
        }
        wall.set(0);
    }
}

/// Returns `/proc/stat` with another boot time. The kernel computes the boot time from the wall
/// clock, so it moves when that is set.
#[cfg(feature = "portable")]
fn with_boot_time_moved(stat: &str, by: i64) -> String {
    let lines = stat.lines().map(|line| match line.strip_prefix("btime ") {
        Some(time) => format!("btime {}\n", time.parse::<i64>().unwrap() + by),
        None => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(feature = "portable")]
#[test]
fn portable_start_times_survive_clock_change() {
    let name = "portable_start_times";
    let test = portable_start_times_survive_clock_change;
    if lacks_root(name) || !enter_isolated(test, &["unshare", "--mount"]) {
        return;
    }
    let file =
        TemporaryFile(std::env::temp_dir().join(format!("plugmeter-stat-{}", std::process::id())));
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    std::fs::write(&file.0, &stat).unwrap();
    let mut mount = std::process::Command::new("mount");
    let mounted = mount.arg("--bind").arg(&file.0).arg("/proc/stat").status().unwrap();
    assert!(mounted.success());
    for by in [0, HOUR, -HOUR, 0] {
        std::fs::write(&file.0, with_boot_time_moved(&stat, by)).unwrap();
        let collector = ticking_collector(ProbeKind::Portable);
        let child = sleeper();
        collector.register("dice").unwrap().started(child.pid(), "1.0");
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.state(), view.read_error()), (PluginState::Running, None), "{by:+}");
        let uptime = view.current().unwrap().uptime.expect("the start time is known");
        assert!(uptime < MAX_STEP_TIME, "{by:+}: {uptime:?}");
        let started_at = view.run().unwrap().started_at.unwrap();
        let ago = seconds(SystemTime::now(), started_at);
        assert!((-2.0..300.0).contains(&ago), "{by:+}: {ago} s ago");
    }
}
