//! PIDs that are no processes, processes of other users, and processes that cannot be read.

use std::os::unix::process::parent_id;
use std::process::Command;

use plugmeter::{PluginState, ProbeKind, ReadError};
use plugmeter_test_support::isolated_process::{AS_NOBODY, enter_isolated, lacks_root};
use plugmeter_test_support::{
    ChildGuard, manual_collector, probes, sleeper, wait_for, wait_for_plugin,
};

use crate::descriptors::open_all;
use crate::test_child::{TestChild, kill_and_wait_for_end, signal, tasks};

#[test]
fn thread_id_is_invalid_pid() {
    let child = TestChild::start("threads 2");
    let threads: Vec<u32> =
        tasks(child.pid()).into_iter().filter(|&id| id != child.pid()).collect();
    assert!(threads.len() >= 2);
    for probe in probes() {
        let collector = manual_collector(probe);
        let plugin = collector.register("dice").unwrap();
        for &thread in &threads {
            // An invalid report still ends the run before it.
            plugin.started(child.pid(), "");
            plugin.started(thread, "");
            for _ in 0..2 {
                let snapshot = collector.sample_now().unwrap();
                let view = snapshot.plugin("dice").unwrap();
                assert_eq!((view.state(), view.pid()), (PluginState::Failed, None), "{probe}");
                assert_eq!(view.read_error(), Some(&ReadError::InvalidPid));
                assert_eq!(view.current().unwrap().memory_bytes, None);
            }
        }
        assert_eq!(collector.snapshot().plugin("dice").unwrap().crash_count(), 0);
    }
}

#[test]
fn other_users_process_is_readable() {
    if lacks_root("to run as another user") {
        return;
    }
    if !enter_isolated(other_users_process_is_readable, &AS_NOBODY) {
        return;
    }
    assert!(!rustix::process::geteuid().is_root());
    for probe in probes() {
        let collector = manual_collector(probe);
        // The parent of this process, which belongs to root.
        collector.register("root's").unwrap().started(parent_id(), "");
        let cpu = wait_for("a value", || {
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("root's").unwrap();
            assert_eq!((view.pid(), view.read_error()), (Some(parent_id()), None), "{probe}");
            let sample = view.current().unwrap();
            assert!(sample.memory_bytes.is_some() && sample.uptime.is_some());
            sample.cpu_percent
        });
        assert!(cpu >= 0.0);
    }
}

#[test]
fn hidden_process_is_denied_not_crashed() {
    if lacks_root("a /proc with hidepid") {
        return;
    }
    // A mount namespace, so that only this process sees the changed `/proc`.
    let mount = "mount -t proc -o hidepid=$0 proc /proc && exec \"$@\"";
    for hide in ["1", "2"] {
        let mut commands = vec!["unshare", "--mount", "sh", "-c", mount, hide];
        commands.extend(AS_NOBODY);
        if !enter_isolated(hidden_process_is_denied_not_crashed, &commands) {
            continue;
        }
        for probe in probes() {
            let collector = manual_collector(probe);
            let plugin = collector.register("root's").unwrap();
            plugin.started(parent_id(), "");
            for _ in 0..3 {
                let snapshot = collector.sample_now().unwrap();
                let view = snapshot.plugin("root's").unwrap();
                assert_eq!(
                    view.read_error(),
                    Some(&ReadError::PermissionDenied),
                    "{probe}: {view:?}"
                );
                assert_eq!((view.state(), view.pid()), (PluginState::Running, Some(parent_id())));
                let sample = view.current().unwrap();
                assert_eq!((sample.cpu_percent, sample.memory_bytes), (None, None));
            }
            // Processes of the same user are visible.
            let child = sleeper();
            plugin.started(child.pid(), "");
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("root's").unwrap();
            assert_eq!(view.read_error(), None);
            assert!(view.current().unwrap().memory_bytes.is_some());
        }
        return;
    }
}

fn mount(arguments: &[&str]) {
    assert!(Command::new(arguments[0]).args(&arguments[1..]).status().unwrap().success());
}

#[test]
fn open_files_survive_unmounted_proc() {
    if lacks_root("mounting") {
        return;
    }
    let commands = ["unshare", "--mount"];
    if !enter_isolated(open_files_survive_unmounted_proc, &commands) {
        return;
    }
    let collector = manual_collector(ProbeKind::Native);
    let busy = TestChild::start("threads 1");
    collector.register("attached").unwrap().started(busy.pid(), "");
    collector.sample_now().unwrap();
    let children = [sleeper(), sleeper()];

    mount(&["mount", "-t", "tmpfs", "none", "/proc"]);
    for (name, child) in [("alive", &children[0]), ("exits", &children[1])] {
        collector.register(name).unwrap().started(child.pid(), "");
    }
    for _ in 0..3 {
        wait_for("CPU of the attached process", || {
            let snapshot = collector.sample_now().unwrap();
            let view = snapshot.plugin("attached").unwrap();
            assert_eq!((view.pid(), view.read_error()), (Some(busy.pid()), None));
            assert!(view.current().unwrap().memory_bytes.is_some());
            view.current().unwrap().cpu_percent
        });
        let snapshot = collector.sample_now().unwrap();
        for name in ["alive", "exits"] {
            let view = snapshot.plugin(name).unwrap();
            assert_eq!(view.read_error(), Some(&ReadError::PermissionDenied));
            assert_eq!(view.state(), PluginState::Running);
            let sample = view.current().unwrap();
            assert_eq!((sample.cpu_percent, sample.memory_bytes), (None, None));
        }
        assert!(snapshot.sampler().failed_reads > 0);
    }
    // The exit of a process that could never be read is detected too, by a tick.
    signal(children[1].pid(), "KILL");
    wait_for("the exit", || {
        let snapshot = collector.sample_now().unwrap();
        (snapshot.plugin("exits").unwrap().state() == PluginState::Crashed).then_some(())
    });

    mount(&["umount", "/proc"]);
    wait_for("the values", || {
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("alive").unwrap();
        let sample = view.current().unwrap();
        let all = sample.cpu_percent.is_some() && sample.memory_bytes.is_some();
        (all && sample.uptime.is_some() && view.read_error().is_none()).then_some(())
    });
    let snapshot = collector.snapshot();
    assert_eq!(snapshot.plugin("alive").unwrap().runs().count(), 1);

    // It has descriptors now, so its exit is notified.
    signal(children[0].pid(), "KILL");
    wait_for_plugin(&collector, "alive", "its exit", |view| view.state() == PluginState::Crashed);
}

/// A running process stays `Running` whether it can be read or not, and has values again when it
/// can.
fn assert_survives<T>(probe: ProbeKind, hide: impl Fn() -> T, show: impl Fn(T)) {
    let collector = manual_collector(probe);
    let child = sleeper();
    let has_values = || {
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        assert_eq!((view.state(), view.pid()), (PluginState::Running, Some(child.pid())));
        let sample = view.current().unwrap();
        (sample.cpu_percent.is_some() && sample.memory_bytes.is_some()).then_some(())
    };
    collector.register("dice").unwrap().started(child.pid(), "");
    wait_for("values", has_values);
    let hidden = hide();
    for _ in 0..3 {
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("dice").unwrap();
        let actual = (view.state(), view.pid());
        assert_eq!(actual, (PluginState::Running, Some(child.pid())), "{probe}");
    }
    show(hidden);
    wait_for("values again", has_values);
    let snapshot = collector.snapshot();
    assert_eq!(snapshot.plugin("dice").unwrap().read_error(), None);
}

#[test]
fn unmounted_proc_is_no_crash() {
    if lacks_root("mounting") {
        return;
    }
    let commands = ["unshare", "--mount"];
    if enter_isolated(unmounted_proc_is_no_crash, &commands) {
        for probe in probes() {
            assert_survives(
                probe,
                || mount(&["mount", "-t", "tmpfs", "none", "/proc"]),
                |()| mount(&["umount", "/proc"]),
            );
        }
    }
}

#[test]
fn exits_are_found_without_proc_or_open_files() {
    if lacks_root("mounting") {
        return;
    }
    let commands = ["prlimit", "--nofile=64", "unshare", "--mount"];
    if !enter_isolated(exits_are_found_without_proc_or_open_files, &commands) {
        return;
    }
    let collector = manual_collector(ProbeKind::Native);
    // Fifteen fit into the descriptors. The rest are identified by their start time.
    let mut children: Vec<ChildGuard> = (0..20).map(|_| sleeper()).collect();
    let name = |number| format!("plugin {number}");
    for (number, child) in children.iter().enumerate() {
        collector.register(&name(number)).unwrap().started(child.pid(), "");
    }
    let snapshot = collector.sample_now().unwrap();
    assert!(snapshot.plugins().all(|view| view.current().unwrap().memory_bytes.is_some()));

    mount(&["mount", "-t", "tmpfs", "none", "/proc"]);
    for _ in 0..3 {
        let snapshot = collector.sample_now().unwrap();
        for (number, child) in children.iter().enumerate() {
            let view = snapshot.plugin(&name(number)).unwrap();
            let actual = (view.state(), view.pid());
            assert_eq!(actual, (PluginState::Running, Some(child.pid())), "{}", view.name());
        }
        let denied = snapshot
            .plugins()
            .filter(|view| view.read_error() == Some(&ReadError::PermissionDenied));
        assert!(denied.count() >= 5, "processes without descriptors cannot be read");
    }
    for reap in [false, true] {
        let last = children.pop().unwrap();
        kill_and_wait_for_end(&collector, &name(children.len()), last, reap);
    }

    mount(&["umount", "/proc"]);
    let snapshot = collector.sample_now().unwrap();
    for (number, child) in children.iter().enumerate() {
        let view = snapshot.plugin(&name(number)).unwrap();
        assert_eq!((view.pid(), view.read_error()), (Some(child.pid()), None), "{}", view.name());
        assert!(view.current().unwrap().memory_bytes.is_some());
        assert_eq!(view.runs().count(), 1);
    }
}

#[test]
fn exhausted_descriptors_are_no_crash() {
    let commands = ["prlimit", "--nofile=64"];
    if enter_isolated(exhausted_descriptors_are_no_crash, &commands) {
        probes().into_iter().for_each(|probe| assert_survives(probe, open_all, drop));
    }
}
