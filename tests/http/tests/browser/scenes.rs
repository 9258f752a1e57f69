//! Collectors in various situations.

use std::time::{Duration, Instant};

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Collector, Config, Limit, LimitMetric, Limits, PluginState, Severity};
use plugmeter_test_support::names::HOSTILE_NAMES;
use plugmeter_test_support::{ChildGuard, shell};

const MB: u64 = 1 << 20;

/// All simulated scenes with their names.
pub(crate) fn all() -> Vec<(&'static str, Simulation)> {
    vec![
        ("troubled", troubled()),
        ("well", well()),
        ("empty", Simulation::new(Config::default()).unwrap()),
        ("many", many(500)),
        ("single", single()),
        ("restarts", restarts()),
        ("hostile", hostile()),
    ]
}

/// A pseudo-random number from 0 to 99.
fn noise(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) % 100
}

pub(crate) fn well() -> Simulation {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let names = ["trivia", "dice", "8ball", "weather", "reminder"];
    let plugins: Vec<_> = names.iter().map(|name| sim.register(name).unwrap()).collect();
    for (pid, plugin) in (4_711..).zip(&plugins) {
        plugin.started(pid, "1.4.2");
    }
    let mut cpu = [0; 5];
    for tick in 0..500 {
        plugins[0].events().add(noise(tick) % 7);
        plugins[3].events().add(noise(tick) % 40);
        sim.tick(|pid| {
            let nth = (pid - 4_711) as usize;
            cpu[nth] += (noise(tick * 5 + u64::from(pid)) % 100) * (nth as u64 + 1) * 2;
            Usage {
                cpu_time: Duration::from_millis(cpu[nth]),
                memory_bytes: (20 + 7 * nth as u64) * MB
                    + noise(tick + u64::from(pid)) % 100 * 4_096,
            }
        });
    }
    sim
}

/// One plugin with a tree, limits, events of several kinds, three versions, of which the newest needs
/// more than the others, and a crash.
pub(crate) fn single() -> Simulation {
    let limits = Limits::default()
        .rule(Limit::new(LimitMetric::CpuPercent, 60.0).lasting(Duration::from_secs(60)))
        .rule(Limit::new(LimitMetric::MemoryMb, 96.0).severity(Severity::Critical))
        .rule(Limit::new(LimitMetric::ProcessCount, 16.0));
    let mut sim = Simulation::new(Config::default().limits(limits)).unwrap();
    let plugin = sim.register("dice").unwrap();
    let [roll, help] = ["roll", "help"].map(|kind| plugin.event_counter(kind).unwrap());
    let (mut cpu, mut pid) = (0, 4_000);
    plugin.started(pid, "1.0.0");
    for tick in 0..720_u64 {
        if tick == 240 || tick == 480 {
            pid += 1;
            cpu = 0;
            plugin.started(pid, if tick == 240 { "1.1.0" } else { "2.0.0" });
        }
        roll.add(4 + noise(tick) % 4);
        help.add(noise(tick + 7) % 2);
        let busy = if tick < 480 { 700 } else { 3_200 };
        cpu += busy + noise(tick) * 5;
        sim.tick(|_| {
            if tick == 470 {
                return Observed::Signaled(11);
            }
            let memory_bytes = 30 * MB + tick.saturating_sub(480) * MB / 3 + noise(tick) * 8_192;
            let main = Usage { cpu_time: Duration::from_millis(cpu / 4), memory_bytes: 9 * MB };
            let tree = Usage { cpu_time: Duration::from_millis(cpu), memory_bytes };
            Observed::RunningTree { main, tree, processes: 7 }
        });
    }
    sim
}

/// A plugin that is restarted every other tick, with more runs than are kept, and one that is not.
pub(crate) fn restarts() -> Simulation {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let plugin = sim.register("dice").unwrap();
    sim.register("trivia").unwrap().started(1, "1.0");
    for tick in 0..600_u32 {
        if tick % 2 == 0 {
            plugin.started(10_000 + tick, ["0.9.0", "0.9.1", "1.0.0"][tick as usize / 100 % 3]);
        }
        sim.tick(|pid| match pid {
            pid if pid == 10_000 + tick - 1 && tick % 6 == 1 => Observed::Exited(3),
            _ => Observed::from(Usage {
                cpu_time: Duration::from_millis(u64::from(tick) * 90),
                memory_bytes: 12 * MB,
            }),
        });
    }
    sim
}

/// Plugins, versions and kinds with names that are markup or control characters.
pub(crate) fn hostile() -> Simulation {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let mut plugins = vec![sim.register("dice").unwrap()];
    plugins.extend(HOSTILE_NAMES.map(|name| sim.register(name).unwrap()));
    for (pid, (plugin, version)) in (1..).zip(plugins.iter().zip(HOSTILE_NAMES)) {
        plugin.started(pid, version);
        plugin.event_counter(version).unwrap().increment();
        if pid % 3 == 0 {
            plugin.set_state(PluginState::Unhealthy);
        }
    }
    plugins[0].started(1_000, "<b>2</b>");
    for tick in 1..=30 {
        let cpu_time = Duration::from_millis(100 * tick);
        sim.tick(|_| Usage { cpu_time, memory_bytes: MB });
    }
    sim
}

pub(crate) fn troubled() -> Simulation {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let names = [
        "trivia",
        "dice",
        "8ball",
        "weather",
        "reminder",
        "translate",
        "music",
        "karma",
        "polls",
        "welcome",
        "quotes",
        "moderation",
        "rss",
        "a plugin whose name is as long as a name may be, which is one hundred and twenty-eight bytes, so it is cut off here",
    ];
    let plugins: Vec<_> = names.iter().map(|name| sim.register(name).unwrap()).collect();
    for (nth, plugin) in plugins.iter().enumerate().filter(|(nth, _)| *nth != 8) {
        plugin
            .started(4_000 + nth as u32, ["1.4.2", "0.9.0", "2.0.0-rc.1+build.20261124"][nth % 3]);
    }
    let mut cpu = vec![0_u64; 100_000];
    let mut dice_pid = 4_001;
    for tick in 0..720_u64 {
        plugins[0].events().add(noise(tick) % 9);
        plugins[3].events().add(noise(tick + 1_000) % 60);
        plugins[6].events().add(1_250);
        if [560, 640, 660, 700].contains(&tick) {
            dice_pid = 10_000 + tick as u32;
            plugins[1].started(dice_pid, "0.9.1");
        }
        if tick == 600 {
            plugins[5].set_state(PluginState::Unhealthy);
        }
        sim.tick(|pid| {
            let busy = match pid {
                4_002 if tick > 590 => 4_700 + noise(tick) % 300,
                4_002 => 300 + noise(tick) % 900,
                4_006 => 800 + noise(tick) % 1_000,
                _ => noise(tick + u64::from(pid)) % 100 * 3,
            };
            cpu[pid as usize] += busy;
            if pid == dice_pid && [550, 620, 652, 690].contains(&tick) {
                return Observed::Exited(3);
            }
            if pid == 4_010 && tick == 700 {
                return Observed::Signaled(11);
            }
            if pid == 4_012 && tick > 500 {
                return Observed::Denied;
            }
            let memory_bytes = match pid {
                4_000 => 62 * MB + tick * MB / 18,
                4_006 => 140 * MB,
                _ => (12 + u64::from(pid) % 23) * MB + noise(tick + u64::from(pid)) % 90 * 8_192,
            };
            Observed::from(Usage {
                cpu_time: Duration::from_millis(cpu[pid as usize]),
                memory_bytes,
            })
        });
    }
    sim.advance(Duration::from_secs(2));
    sim
}

/// `count` plugins with slightly different values and an hour of history.
pub(crate) fn many(count: u32) -> Simulation {
    let mut sim = Simulation::new(Config::default()).unwrap();
    let plugins: Vec<_> =
        (0..count).map(|nth| sim.register(&format!("plugin-{nth:03}")).unwrap()).collect();
    for (nth, plugin) in (1_000..).zip(&plugins) {
        plugin.started(nth, "1.0.7");
    }
    let mut cpu = vec![0_u64; count as usize];
    for tick in 0..720_u64 {
        sim.tick(|pid| {
            let nth = (pid - 1_000) as usize;
            cpu[nth] += noise(tick * 1_000 + nth as u64) % 100 * (1 + nth as u64 % 11) * 3;
            Usage {
                cpu_time: Duration::from_millis(cpu[nth]),
                memory_bytes: (5 + nth as u64 % 60) * MB + noise(tick + nth as u64) % 100 * 8_192,
            }
        });
        plugins[(tick % u64::from(count)) as usize].events().increment();
    }
    sim
}

/// Runs plugins as real processes for four minutes: one leaks, one enters a busy loop, one crashes
/// several times, one has just crashed, and the others behave normally.
pub(crate) fn live(collector: &Collector) -> Vec<ChildGuard> {
    const LITTLE: &str =
        "while :; do i=0; while [ $i -lt 9000 ]; do i=$((i+1)); done; sleep 0.3; done";
    const LEAK: &str = "exec awk 'BEGIN { s = sprintf(\"%8000s\", \"\"); s = s s s s s s s s s s; \
         for (;;) { x[n++] = s n; system(\"sleep 0.5\") } }'";
    const LOOP: &str = "sleep 165; while :; do :; done";
    const ROUND: Duration = Duration::from_millis(50);
    let plugins = [
        ("trivia", "2.3.0", LEAK),
        ("8ball", "1.4.2", LOOP),
        ("dice", "0.9.1", "sleep 1000"),
        ("weather", "3.1.0", LITTLE),
        ("reminder", "1.0.4", "sleep 1000"),
        ("translate", "2.0.0-rc.1", LITTLE),
        ("polls", "1.2.0", "sleep 1000"),
        ("welcome", "1.1.0", "sleep 1000"),
        ("karma", "0.4.0", "while sleep 0.05; do :; done"),
    ];
    let start = |name: &str, version: &str, script: &str| {
        let plugin = collector.plugin(name).unwrap_or_else(|| collector.register(name).unwrap());
        let child = shell(script);
        let run = plugin.started(child.pid(), version);
        (plugin, child, run)
    };
    let mut children: Vec<_> =
        plugins.iter().map(|(name, version, script)| start(name, version, script)).collect();
    let start_time = Instant::now();
    // Seconds at which the process is killed and at which it is restarted.
    let mut crashes = [(100.0, 101.0), (172.0, 175.0), (221.0, 222.5)].into_iter().peekable();
    let mut is_down = false;
    let mut has_lost_one = false;
    let mut rounds = 0_u64;
    while start_time.elapsed() < Duration::from_secs(250) {
        rounds += 1;
        let now = start_time.elapsed().as_secs_f64();
        if let Some(&(dies, lives)) = crashes.peek() {
            if !is_down && now > dies {
                let (plugin, child, run) = &mut children[2];
                child.kill();
                plugin.exited(*run, child.wait());
                is_down = true;
            }
            if is_down && now > lives {
                children[2] = start("dice", "0.9.1", "sleep 1000");
                (is_down, _) = (false, crashes.next());
            }
        }
        if now > 246.0 && !has_lost_one {
            let (plugin, child, run) = &mut children[6];
            child.kill();
            plugin.exited(*run, child.wait());
            has_lost_one = true;
        }
        children[3].0.events().add(noise(rounds) / 20);
        children[0].0.events().add(u64::from(noise(rounds + 9) < 12));
        children[8].0.events().add(u64::from(rounds.is_multiple_of(3)));
        std::thread::sleep(ROUND);
    }
    children.into_iter().map(|(_, child, _)| child).collect()
}
