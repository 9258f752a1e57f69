//! CPU and memory of known loads.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use plugmeter::{Collector, PluginState, ProbeKind, Window};
use plugmeter_test_support::{manual_collector, probes, sleeper, wait_for};

use crate::test_child::{TestChild, cpu_time, resident_pages, signal, tasks, wait_for_state};

/// CPU time and wall time immediately before and after the sampler reads a process: the reading is
/// between them.
#[derive(Clone, Copy, Debug)]
struct Bracket {
    start: Instant,
    least: Duration,
    most: Duration,
    end: Instant,
}

impl Bracket {
    fn around<T>(pid: u32, read: impl FnOnce() -> T) -> (Self, T) {
        let start = Instant::now();
        let least = cpu_time(pid);
        let it = read();
        let most = cpu_time(pid);
        (Self { start, least, most, end: Instant::now() }, it)
    }

    /// Returns the lowest and the highest possible percentage between a reading in `self` and a
    /// reading in `later`.
    ///
    /// A single-threaded process uses no more CPU time than wall time. So the CPU time `used`
    /// within a bracket took at least as much wall time: a reading that includes all of it was at
    /// least `used` after the beginning, and a reading that includes none of it at least `used`
    /// before the end.
    fn to(&self, later: &Self) -> (f64, f64) {
        let (used, used_later) = (self.most - self.least, later.most - later.least);
        let percent = |busy: Duration, wall: Duration| busy.as_secs_f64() / wall.as_secs_f64();
        let low = percent(
            later.least.saturating_sub(self.most),
            (later.end - used_later).duration_since(self.start + used),
        );
        let high = percent(
            later.most - self.least,
            (later.start + used_later).duration_since(self.end - used),
        );
        (low * 100.0, high * 100.0)
    }
}

/// The load of a sample's interval.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// 3.3 ms of CPU time in 10 ms, also during the reading.
    Steady,
    /// 33 ms of CPU time, used before the reading. Then only the time of the reading is uncertain:
    /// other load on the machine, which makes the bracket longer, matters less. It also makes the
    /// burst longer, and with it the interval.
    Burst,
}

/// Takes samples at least `interval` apart until `wanted` of them had bounds closer together than
/// `max_width` percentage points, and checks all of them.
fn check_share(probe: ProbeKind, kind: Load, interval: Duration, max_width: f64, wanted: usize) {
    let collector = manual_collector(probe);
    let plugin = collector.register("busy").unwrap();
    let mut load = TestChild::start(match kind {
        Load::Steady => "share 3300 6700",
        Load::Burst => "idle",
    });
    let pid = load.pid();
    let own_before = load.own_cpu_time();
    plugin.started(pid, "");
    // Up to the first value, which starts with the reading that `started` has caused.
    let (mut last, ()) = Bracket::around(pid, || {
        wait_for("a first value", || {
            let snapshot = collector.sample_now().unwrap();
            snapshot.plugin("busy").unwrap().current().unwrap().cpu_percent.map(|_| ())
        });
    });
    let own_at_first = load.own_cpu_time();
    // The clock of the portable probe has steps of 10 ms, one for system time and one for user
    // time.
    let step = match probe {
        ProbeKind::Portable => Duration::from_millis(20),
        _ => Duration::ZERO,
    };
    let slack = 0.01 + 100.0 * step.as_secs_f64() / interval.as_secs_f64();
    // The start of the interval is known precisely from the second sample on.
    let (mut first, mut narrow) = (true, 0);
    wait_for("samples with narrow bounds", || {
        match kind {
            Load::Steady => {}
            Load::Burst => {
                load.request("burn 33");
            }
        }
        thread::sleep(interval.saturating_sub(last.end.elapsed()));
        let (bracket, snapshot) = Bracket::around(pid, || collector.sample_now().unwrap());
        let sample = snapshot.plugin("busy").unwrap().current().unwrap();
        let Some(cpu) = sample.cpu_percent else {
            assert_ne!(probe, ProbeKind::Native, "the native probe has a value every millisecond");
            return None; // the interval continues
        };
        let (low, high) = last.to(&bracket);
        if !first {
            let allowed = low - slack..=high + slack;
            assert!(allowed.contains(&cpu), "{probe}: {cpu} % is not in {low}..={high}");
            // Wide bounds come from the load of the machine, which also delays the sampler.
            narrow += usize::from(high - low < max_width);
        }
        (first, last) = (false, bracket);
        (narrow >= wanted).then_some(())
    });
    // The total by the child's own clock, between its values before and after the first and the
    // last reading.
    let own_at_last = load.own_cpu_time();
    let used = collector.sample_now().unwrap().plugin("busy").unwrap().cpu_time();
    let own_after = load.own_cpu_time();
    let (least, most) = (own_at_last - own_at_first, own_after - own_before);
    assert!(used + step >= least && used <= most + step, "{probe}: {used:?}, {least:?}..={most:?}");
}

#[test]
fn cpu_percent_of_known_load_is_right_at_100_ms() {
    for probe in probes() {
        check_share(probe, Load::Burst, Duration::from_millis(101), 0.5, 10);
    }
}

/// The process also runs during readings, so the bounds depend on the load of the machine.
#[test]
fn cpu_percent_of_running_load_is_right_at_100_ms() {
    for probe in probes() {
        check_share(probe, Load::Steady, Duration::from_millis(101), 5.0, 10);
    }
}

#[test]
fn cpu_percent_of_known_load_is_right_at_1_s() {
    for probe in probes() {
        check_share(probe, Load::Steady, Duration::from_secs(1), 0.5, 2);
    }
}

#[test]
fn memory_is_exact_to_the_page() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("grows").unwrap();
        let mut child = TestChild::start("memory");
        let pid = child.pid();
        plugin.started(pid, "");
        let memory = || {
            let snapshot = collector.sample_now().unwrap();
            snapshot.plugin("grows").unwrap().current().unwrap().memory_bytes.unwrap()
        };
        // The first request uses memory that later requests do not.
        child.request("touch 1");
        child.request("touch 1");
        let page = rustix::param::page_size() as u64;
        let mut before = memory();
        for pages in [1, 2, 63, 64, 65, 1_000, 7_777] {
            child.request(&format!("touch {pages}"));
            let after = memory();
            assert_eq!(after, resident_pages(pid) * page, "{probe}");
            assert_eq!(after - before, pages * page, "{probe}: {pages} pages");
            before = after;
        }
        let total = collector.snapshot().system().total_memory_bytes;
        assert_eq!(total, before);
    }
}

/// CPU time of each thread of a process, from `/proc`, in steps of 10 ms.
fn threads_cpu_time(pid: u32) -> Vec<Duration> {
    let of_task = |task: u32| {
        let stat = fs::read(format!("/proc/{pid}/task/{task}/stat")).unwrap();
        let stat = String::from_utf8_lossy(&stat);
        let (_, numbers) = stat.rsplit_once(')').unwrap();
        // utime and stime, the fields 14 and 15 of proc(5).
        let used = numbers.split_whitespace().skip(11).take(2);
        Duration::from_millis(used.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
    };
    let mut tasks = tasks(pid);
    tasks.sort_unstable();
    tasks.into_iter().map(of_task).collect()
}

#[test]
fn cpu_time_covers_all_threads() {
    // Other processes may take CPU from the threads, but all CPU time of the threads must be
    // counted.
    let each = Duration::from_millis(300);
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("busy").unwrap();
        let child = TestChild::start("threads 4");
        plugin.started(child.pid(), "");
        let start = Instant::now();
        let first = collector.sample_now().unwrap();
        let before = threads_cpu_time(child.pid());
        let used = wait_for("CPU time of four threads", || {
            let now = threads_cpu_time(child.pid());
            let used: Vec<_> =
                now.iter().zip(&before).map(|(now, before)| *now - *before).collect();
            (used.iter().filter(|&&used| used >= each).count() >= 4).then_some(used)
        });
        let second = collector.sample_now().unwrap();
        let wall = start.elapsed();
        let [first, second] = [&first, &second].map(|snapshot| snapshot.plugin("busy").unwrap());
        // Two values for each thread, each off by at most one step.
        let least = used.iter().sum::<Duration>().saturating_sub(Duration::from_millis(100));
        let busiest = *used.iter().max().unwrap();
        assert!(least > busiest + each, "one thread alone has used as much: {used:?}");
        let counted = second.cpu_time() - first.cpu_time();
        assert!(counted >= least, "{probe}: {counted:?}, but the threads have used {used:?}");
        let percent = second.current().unwrap().cpu_percent.unwrap();
        let at_least = 100.0 * least.as_secs_f64() / wall.as_secs_f64();
        assert!(percent >= at_least, "{probe}: {percent} %, less than {at_least} %");
        let cores = thread::available_parallelism().unwrap().get();
        let most = 100.0 * cores.min(4) as f64;
        assert!(percent < most + 15.0, "{probe}: {percent} % on {cores} cores");
    }
}

#[test]
fn too_short_interval_has_no_cpu_percent() {
    for probe in probes() {
        let shortest = Duration::from_millis(match probe {
            // Ten steps of 10 ms.
            ProbeKind::Portable => 100,
            _ => 1,
        });
        let collector = manual_collector(probe);
        let plugin = collector.register("busy").unwrap();
        let child = TestChild::start("threads 1");
        plugin.started(child.pid(), "");
        // The last value comes from a reading after this time.
        let mut last = None;
        let mut checked = 0;
        wait_for("values", || {
            // Requests ticks as fast as possible.
            for _ in 0..50 {
                let snapshot = collector.sample_now().unwrap();
                let now = Instant::now();
                let view = snapshot.plugin("busy").unwrap();
                if view.current().unwrap().cpu_percent.is_some()
                    && let Some(last) = last.replace(snapshot.sampled_at_instant())
                {
                    let interval = now - last;
                    assert!(interval >= shortest, "{probe}: a value after at most {interval:?}");
                    checked += 1;
                }
            }
            (checked >= 5).then_some(())
        });
    }
}

#[test]
fn suspended_process_is_running_at_zero_percent() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("busy").unwrap();
        let child = TestChild::start("threads 1");
        let pid = child.pid();
        plugin.started(pid, "");
        collector.sample_now().unwrap();
        signal(pid, "STOP");
        for task in tasks(pid) {
            wait_for_state(task, 'T');
        }
        let sample = || {
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("busy").unwrap();
            assert_eq!((view.state(), view.pid()), (PluginState::Running, Some(pid)));
            assert!(view.current().unwrap().memory_bytes.is_some());
            view.current().unwrap().cpu_percent
        };
        // A thread is in this state shortly before it leaves the CPU.
        wait_for("zero percent", || sample().filter(|&cpu| cpu == 0.0));
        for _ in 0..3 {
            let cpu = wait_for("a value", sample);
            assert!(cpu < 1.0, "{probe}: {cpu} % of a suspended process");
        }
        signal(pid, "CONT");
        wait_for("it to continue", || {
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("busy").unwrap();
            assert_eq!((view.pid(), view.runs().count()), (Some(pid), 1));
            view.current().unwrap().cpu_percent.filter(|&cpu| cpu > 1.0)
        });
    }
}

#[test]
fn replaced_run_is_read_once_more() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("busy").unwrap();
        let (first, second) =
            (TestChild::start("share 3300 6700"), TestChild::start("share 1 6700"));
        // No tick is due, and none is requested before the next process is reported.
        plugin.started(first.pid(), "1.0");
        wait_for("the first report to be processed", || {
            collector.snapshot().plugin("busy").and_then(|busy| busy.pid())
        });
        let at_start = cpu_time(first.pid());
        let used = Duration::from_millis(100);
        wait_for("more CPU time", || (cpu_time(first.pid()) > at_start + used).then_some(()));
        plugin.started(second.pid(), "1.1");
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("busy").unwrap();
        let cpu_time = view.runs().next().and_then(|run| run.cpu_time);
        // The portable probe counts in steps of 10 ms.
        let least = used - Duration::from_millis(20);
        assert!(cpu_time.is_some_and(|time| time >= least), "{probe}: {cpu_time:?}");
    }
}

/// The host reaps the old process itself, and starts the next one some time later.
#[test]
fn cpu_time_of_a_window_is_that_of_the_processes_after_a_restart() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let mut old = sleeper();
        plugin.started(old.pid(), "1.0");
        let sample = |collector: &Collector| {
            wait_for("a share", || {
                let snapshot = collector.sample_now().unwrap();
                let share = snapshot.plugin("dice").unwrap().current().unwrap().cpu_percent;
                share.map(|_| snapshot)
            })
        };
        sample(&collector);
        old.kill();
        old.wait();
        let reaped = Instant::now();
        wait_for("a time without a process", || {
            (reaped.elapsed() > Duration::from_millis(400)).then_some(())
        });
        let mut load = TestChild::start("idle");
        plugin.started(load.pid(), "2.0");
        load.request("burn 200");
        let snapshot = sample(&collector);
        let view = snapshot.plugin("dice").unwrap();
        let (window, used) = (view.aggregates(Window::All).unwrap().cpu_time, view.cpu_time());
        assert!(used >= Duration::from_millis(150), "{probe}: {used:?}");
        // The share is that of an interval that begins a little earlier than the reading.
        assert!(
            window <= used.mul_f64(1.2) + Duration::from_millis(30),
            "{probe}: {window:?}, {used:?}"
        );
    }
}
