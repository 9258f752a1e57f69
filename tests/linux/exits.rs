//! Processes that exit, and processes that only seem to have exited.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use plugmeter::{Collector, PluginState, ProbeKind, RunEnd, Window};
use plugmeter_test_support::{
    ChildGuard, manual_collector, probes, report_missing, sleeper, state_after_unclean_exit,
    wait_for, wait_for_plugin, wait_past_crash_grace,
};

use crate::test_child::{
    TestChild, cpu_time, release, signal, tasks, wait_for_command_name, wait_for_state,
    waiting_shell,
};

fn wait_for_end(collector: &Collector, name: &str) -> plugmeter::Snapshot {
    wait_for_plugin(collector, name, "its exit", |view| {
        view.run().is_none() && view.runs().last().is_some_and(|run| run.end.is_some())
    })
}

#[test]
fn exit_status_is_detected_without_tick() {
    let collector = manual_collector(ProbeKind::Native);
    let first = collector.sample_now().unwrap().tick();
    for (name, end, state) in [
        ("exit 0", RunEnd::Exited(0), PluginState::Stopped),
        ("exit 3", RunEnd::Exited(3), PluginState::Crashed),
        ("exit 255", RunEnd::Exited(255), PluginState::Crashed),
        ("kill -KILL $$", RunEnd::Signaled(9), PluginState::Crashed),
        ("kill -USR1 $$", RunEnd::Signaled(10), PluginState::Crashed),
        ("kill -TERM $$", RunEnd::Signaled(15), PluginState::Stopped),
        // Not `HUP`: children of a process under nohup ignore it.
        ("kill -PIPE $$", RunEnd::Signaled(13), PluginState::Stopped),
    ] {
        let plugin = collector.register(name).unwrap();
        let mut child = waiting_shell(name);
        plugin.started(child.pid(), "");
        wait_for_plugin(&collector, name, "its process", |view| view.pid().is_some());
        release(&mut child);
        let snapshot = wait_for_end(&collector, name);
        assert_eq!(snapshot.tick(), first, "no tick was requested");
        let view = snapshot.plugin(name).unwrap();
        assert_eq!((view.state(), view.pid()), (state, None), "{name}");
        let run = view.runs().next().unwrap();
        assert_eq!(run.end, Some(end));
        assert!(run.cpu_time.is_some() && run.ended_at >= run.started_at);
        let status = child.wait();
        let waited = status.code().map(RunEnd::Exited).or(status.signal().map(RunEnd::Signaled));
        assert_eq!(waited, Some(end), "the host can still wait for the process");
    }
    wait_past_crash_grace(&collector);
    let snapshot = collector.snapshot();
    for view in snapshot.plugins() {
        let crashes = u64::from(view.state() == PluginState::Crashed);
        assert_eq!(view.crash_count(), crashes, "{}", view.name());
    }
}

#[test]
fn exit_is_published_without_tick() {
    let collector = manual_collector(ProbeKind::Native);
    let first = collector.sample_now().unwrap().tick();
    for reap in [false, true] {
        for round in 0..20 {
            let name = format!("{round} {reap}");
            let plugin = collector.register(&name).unwrap();
            let mut child = sleeper();
            plugin.started(child.pid(), "");
            if round % 2 == 0 {
                wait_for_plugin(&collector, &name, "its process", |view| view.pid().is_some());
            }
            child.kill();
            if reap {
                child.wait();
            }
            let snapshot = wait_for_end(&collector, &name);
            assert_eq!(snapshot.tick(), first);
            let view = snapshot.plugin(&name).unwrap();
            let expected = match view.runs().next().unwrap().end {
                Some(RunEnd::Signaled(9)) => PluginState::Crashed,
                // It was reaped before the sampler could attach it, or the kernel does not report
                // the status after that.
                Some(RunEnd::Unknown) if reap => PluginState::Stopped,
                end => panic!("{end:?}"),
            };
            assert_eq!((view.state(), view.pid()), (expected, None));
        }
    }
}

#[test]
fn unreported_exit_counts_without_tick() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let mut child = sleeper();
        plugin.started(child.pid(), "");
        collector.sample_now().unwrap();
        child.kill();
        if probe != ProbeKind::Native {
            // Only this tick detects the exit, and no further tick is requested.
            child.wait();
            collector.sample_now().unwrap();
        }
        let is_native = probe == ProbeKind::Native;
        let counts = (u64::from(is_native), u64::from(!is_native));
        wait_for_plugin(&collector, "dice", "its count", |view| {
            (view.crash_count(), view.unknown_end_count()) == counts
        });
    }
}

#[test]
fn zombie_counts_as_exited() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let mut child = waiting_shell("exit 3");
        release(&mut child);
        wait_for_state(child.pid(), 'Z');
        let plugin = collector.register("dice").unwrap();
        plugin.started(child.pid(), "1.0");
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.state(), view.pid()), (state_after_unclean_exit(probe), None));
        let expected = match probe {
            ProbeKind::Native => RunEnd::Exited(3),
            _ => RunEnd::Unknown,
        };
        assert_eq!(view.runs().next().unwrap().end, Some(expected), "{probe}");
        let sample = view.current().unwrap();
        assert_eq!((sample.memory_bytes, sample.cpu_percent, sample.pid), (None, None, None));
        assert_eq!(child.wait().code(), Some(3));
    }
}

#[test]
fn process_reaped_during_attach_is_counted() {
    const EACH: u64 = 300;
    for probe in probes() {
        for zombie in [false, true] {
            let collector = manual_collector(probe);
            let plugin = collector.register("dice").unwrap();
            for round in 0..EACH {
                let mut child = waiting_shell("exit 3");
                if zombie {
                    release(&mut child);
                    wait_for_state(child.pid(), 'Z');
                }
                plugin.started(child.pid(), "");
                // The sampler attaches now, and the process exits at some point of that.
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(round % 100) {}
                if !zombie {
                    child.kill();
                }
                child.wait();
            }
            collector.sample_now().unwrap();
            wait_past_crash_grace(&collector);
            let snapshot = collector.snapshot();
            let view = snapshot.plugin("dice").unwrap();
            // Each is a crash, or unknown if it was reaped before the sampler could attach it.
            let (crashes, unknown) = (view.crash_count(), view.unknown_end_count());
            let actual = (view.read_error(), view.restart_count(), crashes + unknown);
            assert_eq!(actual, (None, EACH - 1, EACH), "{probe}, zombie: {zombie}");
            assert!(probe == ProbeKind::Native || crashes == 0, "{probe}: {crashes}");
            let state = match view.runs().last().unwrap().end {
                Some(RunEnd::Unknown) => PluginState::Stopped,
                _ => PluginState::Crashed,
            };
            assert_eq!(view.state(), state, "{probe}, zombie: {zombie}");
        }
    }
}

#[test]
fn cpu_time_before_exit_is_recorded() {
    const BURNED: Duration = Duration::from_millis(300);
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("busy").unwrap();
        let mut child = TestChild::start("idle");
        let pid = child.pid();
        plugin.started(pid, "");
        collector.sample_now().unwrap();
        let after = cpu_time(pid);
        child.send(&format!("burn-and-exit-3 {}", BURNED.as_millis()));
        wait_for_state(pid, 'Z');
        // The CPU clock of a zombie has the total of its process.
        let total = cpu_time(pid);
        assert!(total - after >= BURNED);
        if probe == ProbeKind::Native {
            wait_for_end(&collector, "busy");
        } else {
            collector.sample_now().unwrap();
        }
        // The sample of the tick after the one that has detected the exit.
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("busy").unwrap();
        let used = view.runs().next().unwrap().cpu_time.unwrap();
        // The run counts from the reading that `started` has caused. The time before it is small.
        // Clocks with steps of 10 ms are off by up to two of them.
        let steps = match probe {
            ProbeKind::Native => Duration::ZERO,
            _ => Duration::from_millis(20),
        };
        assert!(used + steps >= total - after, "{probe}: {used:?} of {total:?} - {after:?}");
        assert!(used <= total + steps, "{probe}: {used:?} of {total:?}");
        assert_eq!(view.cpu_time(), used);
        let sample = view.current().unwrap();
        assert_eq!((sample.pid, sample.memory_bytes), (None, None));
        let shares = view.history(Window::All).filter_map(|sample| sample.cpu_percent);
        assert!(sample.cpu_percent.is_some(), "{probe}: {:?}", shares.collect::<Vec<_>>());
        let next = collector.sample_now().unwrap();
        assert_eq!(next.plugin("busy").unwrap().current().unwrap().cpu_percent, None, "only once");
    }
}

#[test]
fn exec_continues_run() {
    for probe in probes() {
        // Executed by the first thread, and by another thread, which takes over the first thread's
        // ID.
        for thread in [false, true] {
            let collector = manual_collector(probe);
            let plugin = collector.register("dice").unwrap();
            let mut shell = waiting_shell("exec sleep 1000");
            let mut test_child = TestChild::start("idle");
            let pid = if thread { test_child.pid() } else { shell.pid() };
            let run = plugin.started(pid, "1.0");
            collector.sample_now().unwrap();
            if thread {
                test_child.send("exec");
            } else {
                release(&mut shell);
            }
            wait_for_command_name(pid, "sleep");
            wait_for_state(pid, 'S');
            for _ in 0..3 {
                let snapshot = collector.sample_now().unwrap();
                let view = snapshot.plugin("dice").unwrap();
                assert_eq!(view.run().map(|run| run.id), Some(run), "{probe} {thread}");
                let sample = view.current().unwrap();
                let page = rustix::param::page_size() as u64;
                let pages = crate::test_child::resident_pages(pid);
                assert_eq!(sample.memory_bytes, Some(pages * page), "memory of the new program");
                assert!(sample.uptime.is_some());
                assert_eq!(view.read_error(), None);
            }
            let used = collector.snapshot().plugin("dice").unwrap().cpu_time();
            assert!(used <= cpu_time(pid));

            // The same process reported again is another run, but not a restart.
            let next = plugin.started(pid, "2.0");
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("dice").unwrap();
            assert_eq!(view.run().map(|run| run.id), Some(next));
            assert_eq!((view.version(), view.restart_count()), (Some("2.0"), 0));
            let ends: Vec<_> = view.runs().map(|run| run.end).collect();
            assert_eq!(ends, [Some(RunEnd::Replaced), None]);
            wait_past_crash_grace(&collector);
            let snapshot = collector.snapshot();
            let view = snapshot.plugin("dice").unwrap();
            assert_eq!((view.pid(), view.crash_count()), (Some(pid), 0), "{probe} {thread}");

            // Its exit is still detected.
            signal(pid, "KILL");
            wait_for("its exit", || {
                if probe != ProbeKind::Native {
                    collector.sample_now().unwrap();
                }
                let snapshot = collector.snapshot();
                let state = snapshot.plugin("dice").unwrap().state();
                (state == state_after_unclean_exit(probe)).then_some(())
            });
        }
    }
}

#[test]
fn same_process_started_again_is_no_restart() {
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let (first, other) = (sleeper(), sleeper());
        for (pid, restarts) in [(first.pid(), 0), (first.pid(), 0), (other.pid(), 1)] {
            plugin.started(pid, "");
            collector.sample_now().unwrap();
            plugin.stopped();
            let snapshot = collector.sample_now().unwrap();
            assert_eq!(snapshot.plugin("dice").unwrap().restart_count(), restarts, "{probe}");
        }
    }
}

/// The first thread exits by the system call, as `pthread_exit` does; another thread stays busy.
const NO_MAIN_THREAD: &str = "
import ctypes, platform, threading
def work():
    while True: sum(range(10000))
threading.Thread(target=work).start()
exit = {'x86_64': 60, 'aarch64': 93}[platform.machine()]
ctypes.CDLL(None).syscall(exit, 0)
";

#[test]
fn process_without_main_thread_keeps_running() {
    for probe in probes() {
        let mut command = Command::new("python3");
        command.args(["-c", NO_MAIN_THREAD]).stdin(Stdio::null());
        let Ok(child) = command.spawn() else {
            report_missing("there is no python3", "a process without its main thread");
            return;
        };
        let mut child = ChildGuard(child);
        let pid = child.pid();
        let collector = manual_collector(probe);
        let plugin = collector.register("reported before").unwrap();
        let early = plugin.started(pid, "");
        collector.sample_now().unwrap();
        wait_for_state(pid, 'Z');
        assert!(tasks(pid).len() > 1);
        let late = collector.register("reported after").unwrap().started(pid, "");
        for _ in 0..5 {
            for (name, run) in [("reported before", early), ("reported after", late)] {
                let used = collector.sample_now().unwrap().plugin(name).unwrap().cpu_time();
                wait_for("its CPU time to increase", || {
                    let snapshot = collector.sample_now().unwrap();
                    let view = snapshot.plugin(name).unwrap();
                    assert_eq!(
                        view.run().map(|run| run.id),
                        Some(run),
                        "{probe}, {name}: {view:?}"
                    );
                    assert_eq!((view.state(), view.read_error()), (PluginState::Running, None));
                    // `statm` reads zero for such a process. The probe must not report that as its
                    // memory.
                    assert_ne!(view.current().unwrap().memory_bytes, Some(0));
                    let has_share = view.current().unwrap().cpu_percent? > 0.0;
                    (view.cpu_time() > used && has_share).then_some(())
                });
            }
        }
        child.kill();
        wait_for("the exit of the other thread", || (tasks(pid).len() == 1).then_some(()));
        for name in ["reported before", "reported after"] {
            let expected = match probe {
                ProbeKind::Native => RunEnd::Signaled(9),
                _ => {
                    // Without exit notifications a tick detects the exit.
                    collector.sample_now().unwrap();
                    RunEnd::Unknown
                }
            };
            let snapshot = wait_for_end(&collector, name);
            let end = snapshot.plugin(name).unwrap().runs().last().unwrap().end;
            assert_eq!(end, Some(expected), "{probe}");
        }
    }
}
