//! PIDs that are reused immediately and on purpose.

use std::time::Duration;

use plugmeter::{Collector, Plugin, PluginState, ProbeKind, ReadError, RunEnd, Window};
use plugmeter_test_support::isolated_process::{
    OWN_PID_NAMESPACE, enter_isolated, lacks_root, own_descriptors,
};
use plugmeter_test_support::reaped::has_late_status;
use plugmeter_test_support::{
    ChildGuard, manual_collector, probes, sleeper, ticking_collector, wait_for,
    wait_past_crash_grace,
};

use crate::sampler_gate;
use crate::test_child::{HEAVY_BYTES, TestChild, cpu_time};

/// How many PIDs are reused.
const REUSED_PIDS: usize = 100;

/// CPU time that the next owner of a PID has used before any test reads it.
const NEW_OWNER_CPU_TIME: Duration = Duration::from_millis(20);

/// Starts a large and busy process with the given PID, which must be free.
fn new_owner(pid: u32) -> TestChild {
    let new_owner = wait_for("the PID to be reused", || {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let new_owner = TestChild::start("heavy");
        (new_owner.pid() == pid).then_some(new_owner)
    });
    wait_for("CPU time of the new owner", || (cpu_time(pid) > NEW_OWNER_CPU_TIME).then_some(()));
    new_owner
}

/// Time since the boot, in the steps of `/proc/uptime`, which are the steps of the kernel's start
/// times.
fn uptime() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    Duration::from_secs_f64(text.split(' ').next().unwrap().parse().unwrap())
}

fn wait_until_uptime_is(then: Duration) {
    wait_for("the clock to advance", || (uptime() > then).then_some(()));
}

/// Runs plugins whose processes die and are reaped without a report, and whose PIDs are reused.
fn reuse_pids(collector: &Collector, reuses: usize, what: &str) {
    let mut children: Vec<ChildGuard> = (0..reuses).map(|_| sleeper()).collect();
    let names: Vec<String> = (0..reuses).map(|i| format!("plugin {i}")).collect();
    let plugins: Vec<Plugin> = names.iter().map(|name| collector.register(name).unwrap()).collect();
    for (plugin, child) in plugins.iter().zip(&children) {
        plugin.started(child.pid(), "");
    }
    // The portable probe distinguishes processes by their start time in seconds.
    wait_until_uptime_is(uptime() + Duration::from_millis(1_100));
    // CPU time of the children's start is complete before this sample.
    let snapshot = collector.sample_now().unwrap();
    for (child, name) in children.iter_mut().zip(&names) {
        let sampled = snapshot.plugin(name).unwrap();
        assert_eq!(sampled.pid(), Some(child.pid()), "{what}");
        let before = collector.snapshot();
        let before = before.plugin(name).unwrap();
        let pid = child.pid();
        child.kill();
        child.wait();
        let new_owner = new_owner(pid);
        // The tick that detects the exit, and ticks that could read the new owner of the PID.
        for _ in 0..3 {
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin(name).unwrap();
            let expected = match view.runs().last().unwrap().end {
                Some(RunEnd::Signaled(9)) => PluginState::Crashed,
                Some(RunEnd::Unknown) => PluginState::Stopped,
                end => panic!("{what} {name}: {end:?}"),
            };
            assert_eq!((view.state(), view.pid()), (expected, None), "{what} {name}");
            let sample = view.current().unwrap();
            assert_eq!((sample.memory_bytes, sample.uptime), (None, None), "{what}: {name}");
        }
        let snapshot = collector.snapshot();
        let view = snapshot.plugin(name).unwrap();
        for sample in view.history(Window::All) {
            let memory = sample.memory_bytes.unwrap_or(0);
            assert!(
                memory < HEAVY_BYTES as u64,
                "{what}: {memory} bytes do not belong to a sleeping process"
            );
        }
        // The process slept and then exited, which uses little CPU time.
        let used = view.cpu_time() - before.cpu_time();
        assert!(
            used < NEW_OWNER_CPU_TIME / 2,
            "{what}: {used:?} do not belong to a sleeping process"
        );
        assert!(cpu_time(new_owner.pid()) > NEW_OWNER_CPU_TIME);
    }
    wait_past_crash_grace(collector);
    let snapshot = collector.snapshot();
    for name in &names {
        let view = snapshot.plugin(name).unwrap();
        let ends = view.crash_count() + view.unknown_end_count();
        assert_eq!((ends, view.runs().count()), (1, 1), "{what}: {name}");
    }
}

#[test]
fn reused_pid_never_yields_foreign_values() {
    if lacks_root("control over PIDs") {
        return;
    }
    if !enter_isolated(reused_pid_never_yields_foreign_values, OWN_PID_NAMESPACE) {
        return;
    }
    for probe in probes() {
        reuse_pids(&manual_collector(probe), REUSED_PIDS, &format!("{probe}, manual ticks"));
        let collector = ticking_collector(probe, Duration::from_millis(10));
        reuse_pids(&collector, REUSED_PIDS / 4, &format!("{probe}, ticking"));
    }
}

#[test]
fn reused_pid_is_detected_without_descriptors() {
    if lacks_root("control over PIDs") {
        return;
    }
    let commands = [&["prlimit", "--nofile=64"], OWN_PID_NAMESPACE].concat();
    if !enter_isolated(reused_pid_is_detected_without_descriptors, &commands) {
        return;
    }
    let collector = manual_collector(ProbeKind::Native);
    // They use all descriptors that the probe may use.
    let children: Vec<_> = (0..40).map(|_| sleeper()).collect();
    for (number, child) in children.iter().enumerate() {
        collector.register(&format!("descriptor user {number}")).unwrap().started(child.pid(), "");
    }
    collector.sample_now().unwrap();
    let open = own_descriptors().len();
    reuse_pids(&collector, REUSED_PIDS / 2, "without descriptors");
    assert_eq!(own_descriptors().len(), open);
}

#[test]
fn process_younger_than_report_is_rejected() {
    if lacks_root("control over PIDs") {
        return;
    }
    if !enter_isolated(process_younger_than_report_is_rejected, OWN_PID_NAMESPACE) {
        return;
    }
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let mut child = sleeper();
        let pid = child.pid();
        let new_owner = sampler_gate::while_blocked(&collector, || {
            plugin.started(pid, "1.0");
            child.kill();
            child.wait();
            // One step of the start time: 10 ms, or a second with the portable probe.
            let step = match probe {
                ProbeKind::Portable => Duration::from_millis(1_100),
                _ => Duration::from_millis(20),
            };
            wait_until_uptime_is(uptime() + step);
            new_owner(pid)
        });
        for _ in 0..2 {
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("dice").unwrap();
            assert_eq!((view.state(), view.pid()), (PluginState::Failed, None), "{probe}");
            assert_eq!(view.read_error(), Some(&ReadError::PidReused));
            assert_eq!(view.runs().count(), 0, "no run starts");
            let sample = view.current().unwrap();
            assert_eq!((sample.cpu_percent, sample.memory_bytes), (None, None));
        }

        // Reported now, the PID refers to the new process.
        plugin.started(new_owner.pid(), "1.1");
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.state(), view.read_error()), (PluginState::Running, None));
        assert!(view.current().unwrap().memory_bytes.unwrap() >= HEAVY_BYTES as u64);
        assert_eq!((view.crash_count(), view.restart_count()), (0, 0));
    }
}

#[test]
fn next_run_may_reuse_pid() {
    if lacks_root("control over PIDs") {
        return;
    }
    if !enter_isolated(next_run_may_reuse_pid, OWN_PID_NAMESPACE) {
        return;
    }
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        let mut child = sleeper();
        let pid = child.pid();
        plugin.started(pid, "1.0");
        wait_until_uptime_is(uptime() + Duration::from_millis(1_100));
        collector.sample_now().unwrap();
        // The sampler processes the exit and the report together, so `started` finds the old
        // process gone.
        let next = sampler_gate::while_blocked(&collector, || {
            child.kill();
            child.wait();
            let next = new_owner(pid);
            plugin.started(pid, "1.1");
            next
        });
        collector.sample_now().unwrap();
        wait_past_crash_grace(&collector);
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        let ends: Vec<_> = view.runs().map(|run| (run.pid, run.end)).collect();
        // The status is that of the first process, although its pid was reused.
        let is_known = probe == ProbeKind::Native && has_late_status();
        let end = if is_known { RunEnd::Signaled(9) } else { RunEnd::Unknown };
        assert_eq!(ends, [(pid, Some(end)), (pid, None)], "{probe}");
        let counts = (view.crash_count(), view.unknown_end_count(), view.restart_count());
        assert_eq!(counts, (u64::from(is_known), u64::from(!is_known), 1), "{probe}");
        let first = view.runs().next().unwrap().cpu_time.unwrap_or_default();
        assert!(first < Duration::from_millis(50), "{probe}: {first:?} of a sleeping process");
        assert!(view.current().unwrap().memory_bytes.unwrap() >= HEAVY_BYTES as u64);
        assert_eq!(next.pid(), pid);
    }
}
