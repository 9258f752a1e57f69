//! A `/proc` of another PID namespace: its PIDs refer to other processes than the host's PIDs do.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use plugmeter::{PluginState, ProbeKind, RunEnd};
use plugmeter_test_support::isolated_process::{enter_isolated, lacks_root, resident_bytes};
use plugmeter_test_support::{manual_collector, probes, sleeper, wait_for, wait_past_crash_grace};

#[test]
fn foreign_proc_yields_no_foreign_values() {
    let name = "a /proc of another PID namespace";
    let test = foreign_proc_yields_no_foreign_values;
    // A new PID namespace with the old `/proc`.
    let commands = ["unshare", "--pid", "--fork", "--kill-child"];
    if lacks_root(name) || !enter_isolated(test, &commands) {
        return;
    }
    let pid = std::fs::read_link("/proc/self").unwrap();
    assert_ne!(
        pid.to_str().unwrap(),
        std::process::id().to_string(),
        "it belongs to another PID namespace"
    );
    for probe in probes() {
        let collector = manual_collector(probe);
        let own = collector.register("this process").unwrap();
        own.started(std::process::id(), "");
        let mut child = sleeper();
        let plugin = collector.register("a child").unwrap();
        plugin.started(child.pid(), "");
        for _ in 0..3 {
            let snapshot = collector.sample_now().unwrap();
            for view in snapshot.plugins() {
                let name = view.name();
                assert_eq!(view.state(), PluginState::Running, "{probe}, {name}");
                assert!(view.pid().is_some(), "{probe}, {name}: the process is alive");
                // A value belongs to the process, or it is absent and there is a read error.
                let memory = view.current().unwrap().memory_bytes;
                match (memory, name) {
                    (Some(memory), "this process") => {
                        let truth = resident_bytes();
                        assert!(memory.abs_diff(truth) < truth / 4, "{probe}: {memory}, {truth}");
                    }
                    (Some(memory), _) => assert!(memory < resident_bytes(), "{probe}: {memory}"),
                    (None, _) => assert!(view.read_error().is_some(), "{probe}, {name}"),
                }
                let uptime = view.current().unwrap().uptime;
                assert!(
                    uptime.is_none_or(|up| up.as_secs() < 3_600),
                    "{probe}, {name}: {uptime:?}"
                );
            }
        }
        // The exit belongs to the process as well.
        child.kill();
        child.wait();
        wait_for("the exit", || {
            let snapshot = collector.sample_now().unwrap();
            snapshot.plugin("a child").unwrap().pid().is_none().then_some(())
        });
        if probe == ProbeKind::Native {
            // Also without reaping: the pidfd reports the exit independently of `/proc`.
            let mut next = sleeper();
            let plugin = collector.register("another child").unwrap();
            plugin.started(next.pid(), "");
            collector.sample_now().unwrap();
            next.kill();
            wait_for("the exit of an unreaped process", || {
                let snapshot = collector.sample_now().unwrap();
                let view = snapshot.plugin("another child").unwrap();
                let end = view.runs().last().unwrap().end?;
                assert_eq!((view.state(), end), (PluginState::Crashed, RunEnd::Signaled(9)));
                Some(())
            });
        }
        wait_past_crash_grace(&collector);
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("a child").unwrap();
        let end = view.runs().last().unwrap().end;
        let expected = match end {
            Some(RunEnd::Signaled(9)) => (PluginState::Crashed, 1, 0),
            Some(RunEnd::Unknown) => (PluginState::Stopped, 0, 1),
            _ => panic!("{probe}: {end:?}"),
        };
        let actual = (view.state(), view.crash_count(), view.unknown_end_count());
        assert_eq!(actual, expected, "{probe}");
    }
}

/// Counts the lines about such a `/proc`.
struct CountingLogger(AtomicUsize);

impl log::Log for CountingLogger {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.args().to_string().contains("another PID namespace") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

#[test]
fn foreign_proc_is_logged_once_per_collector() {
    static LOGGER: CountingLogger = CountingLogger(AtomicUsize::new(0));
    let name = "a /proc of another PID namespace, logged";
    let test = foreign_proc_is_logged_once_per_collector;
    let commands = ["unshare", "--pid", "--fork", "--kill-child"];
    if lacks_root(name) || !enter_isolated(test, &commands) {
        return;
    }
    // Finding out which there are starts collectors.
    let probes = probes();
    log::set_logger(&LOGGER).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    for (collectors, probe) in (1..).zip(probes) {
        let collector = manual_collector(probe);
        let plugin = collector.register("true").unwrap();
        for _ in 0..3 {
            plugin.spawn(&mut Command::new("true"), "").unwrap().wait().unwrap();
        }
        collector.stop();
        assert_eq!(LOGGER.0.load(Ordering::Relaxed), collectors, "{probe}");
    }
}
