//! The host is stopped for a while, or the machine is suspended: missed ticks are not caught up,
//! and no time is lost.

use std::time::Duration;

use plugmeter::{Collector, Config, PluginState, Snapshot, Window};
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::{probes, shell, sleeper, wait_for};

const INTERVAL: Duration = Duration::from_millis(10);

/// Number of deadlines that were kept or counted as missed.
fn counted(snapshot: &Snapshot) -> u64 {
    snapshot.sampler().ticks + snapshot.sampler().missed_ticks
}

#[test]
fn paused_host_misses_ticks_without_catch_up() {
    if !enter_isolated(paused_host_misses_ticks_without_catch_up, &[]) {
        return;
    }
    for probe in probes() {
        let config = Config::default().poll_interval(INTERVAL).history_duration(INTERVAL * 10_000);
        let collector = Collector::start(config.probe(probe)).unwrap();
        let plugin = collector.register("dice").unwrap();
        let child = sleeper();
        plugin.started(child.pid(), "1.0");
        let mut before = wait_for("ticks", || {
            let snapshot = collector.snapshot();
            (snapshot.tick() > 20).then_some(snapshot)
        });
        for round in 0..5 {
            plugin.events().increment();
            // Stops the whole process, sampler included, for fifty intervals.
            let mut stopper = shell("kill -STOP $PPID; sleep 0.5; kill -CONT $PPID");
            assert!(stopper.wait().success());
            let now = wait_for("ticks after the pause", || {
                let snapshot = collector.snapshot();
                (snapshot.tick() > before.tick() + 20
                    && snapshot.sampler().missed_ticks >= before.sampler().missed_ticks + 40)
                    .then_some(snapshot)
            });
            let elapsed = (now.sampled_at_instant() - before.sampled_at_instant()).as_secs_f64();
            let deadlines = elapsed / INTERVAL.as_secs_f64();
            let counted = (counted(&now) - counted(&before)) as f64;
            assert!(
                (counted - deadlines).abs() < 1.0,
                "{probe}, round {round}: {counted} of {deadlines} deadlines"
            );
            let view = now.plugin("dice").unwrap();
            assert_eq!((view.state(), view.pid()), (PluginState::Running, Some(child.pid())));
            assert_eq!((view.crash_count(), view.event_count()), (0, round + 1));
            assert_eq!(view.history(Window::All).len() as u64, now.tick() - first_tick(&now));
            before = now;
        }
    }
}

/// Returns the tick before the first one that has a sample of the plugin.
fn first_tick(snapshot: &Snapshot) -> u64 {
    let view = snapshot.plugin("dice").unwrap();
    let all = view.aggregates(Window::All).unwrap();
    snapshot.tick() - all.sample_count as u64
}

#[cfg(feature = "testing")]
/// A machine that was suspended for eight hours has lost none of its counts and has missed no tick.
#[test]
fn suspended_machine_loses_no_counts() {
    use plugmeter::testing::{Observed, Simulation, Usage};

    let minute = Duration::from_secs(60);
    let config = Config::default().poll_interval(minute).history_duration(minute * 60);
    let mut sim = Simulation::new(config).unwrap();
    let names = ["continues", "was killed"];
    let plugins = names.map(|name| sim.register(name).unwrap());
    plugins[0].started(1, "1.0");
    plugins[1].started(2, "1.0");
    let usage = |seconds| Usage { cpu_time: Duration::from_secs(seconds), memory_bytes: 1 << 20 };
    for tick in 1..=60 {
        sim.tick(|_| usage(tick));
    }
    plugins[0].events().add(5);
    sim.tick(|pid| if pid == 2 { Observed::Signaled(9) } else { usage(61).into() });
    let before = sim.snapshot();
    assert_eq!(before.plugin(names[1]).unwrap().crash_count(), 0, "the host can still report");

    sim.advance(Duration::from_secs(8 * 3_600));
    let asleep = sim.snapshot();
    assert_eq!(asleep.tick(), 61, "time has passed, and no tick");
    assert_eq!(asleep.plugin(names[1]).unwrap().crash_count(), 1);
    sim.tick(|_| usage(62));
    let awake = sim.snapshot();
    assert_eq!((awake.tick(), awake.sampler().missed_ticks), (62, 0));
    let view = awake.plugin(names[0]).unwrap();
    // One second of CPU time in eight hours and one minute.
    let cpu = view.current().unwrap().cpu_percent.unwrap();
    assert!((cpu - 100.0 / (8.0 * 3_600.0 + 60.0)).abs() < 0.001, "{cpu} %");
    assert_eq!((view.event_count(), view.cpu_time()), (5, Duration::from_secs(62)));
    // The last hour contains one sample. The history keeps sixty, by their number.
    assert_eq!(view.history(minute * 60).count(), 1);
    assert_eq!(view.history(Window::All).count(), 60);
    let day = Duration::from_secs(8 * 3_600) + minute * 62;
    assert_eq!(view.current().unwrap().uptime, Some(day));
}
