//! A `/proc` that is not the kernel's own, or shows less: trees have right values, or none.

use plugmeter::ProbeKind;
use plugmeter_test_support::isolated_process::{AS_NOBODY, enter_isolated, lacks_root};
use plugmeter_test_support::{manual_collector, wait_for};

use super::burner::GroupGuard;
use super::off::LOG;
use super::run::TreeRun;

/// Files that report no last pid, or another number, as in a container with lxcfs.
const MOUNTS: [(&str, &str); 4] = [
    // The second source is used.
    ("another loadavg", "mount --bind $file /proc/loadavg"),
    ("an empty loadavg", "mount --bind /dev/null /proc/loadavg"),
    // All processes are listed.
    ("others", "mount --bind $file /proc/loadavg; mount --bind $file /proc/sys/kernel/ns_last_pid"),
    (
        "no children, either",
        "mount --bind /dev/null /proc/loadavg; mount --bind /dev/null /proc/sys/kernel/ns_last_pid",
    ),
];

#[test]
fn foreign_loadavg_does_not_matter() {
    if lacks_root("mounting") {
        return;
    }
    let mount = "set -e; file=$(mktemp); echo '0.10 0.20 0.30 1/100 4711' > $file; eval \"$0\"; rm -f $file; exec \"$@\"";
    for (name, mounts) in MOUNTS {
        let commands = ["unshare", "--mount", "sh", "-c", mount, mounts];
        if !enter_isolated(foreign_loadavg_does_not_matter, &commands) {
            continue;
        }
        let loadavg = std::fs::read_to_string("/proc/loadavg").unwrap();
        assert!(loadavg.is_empty() || loadavg.trim().ends_with("4711"), "{name}: {loadavg}");
        let script = "
            for ms in 5 11 17 23 29; do become burn $ms & become burn $((52 - ms)) & wait; done
            (last 100) & last 200";
        let Some(mut run) = TreeRun::start("loadavg", script) else { return };
        run.go();
        run.tick_until_reported(2);
        run.wait_until_asleep();
        run.assert_complete(1);
        run.assert_processes();
        run.end();
        return;
    }
}

/// As `tests/faults/foreign_proc.rs`: a new PID namespace with the old `/proc`.
#[test]
fn foreign_proc_yields_no_trees() {
    let commands = ["unshare", "--pid", "--fork", "--kill-child"];
    if lacks_root("a /proc of another PID namespace")
        || !enter_isolated(foreign_proc_yields_no_trees, &commands)
    {
        return;
    }
    LOG.install();
    let collector = manual_collector(ProbeKind::Native);
    assert!(!collector.snapshot().has_process_trees());
    assert_eq!(LOG.count("process trees"), 1, "{:?}", LOG.0.lock().unwrap());
    let child = GroupGuard::shell("sleep 1000; :");
    collector.register("shell").unwrap().started(child.pid(), "");
    for _ in 0..3 {
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("shell").unwrap();
        super::off::assert_no_tree(view);
    }
}

#[test]
fn hidden_processes_are_no_strangers() {
    if lacks_root("a /proc with hidepid") {
        return;
    }
    let mount = "mount -t proc -o hidepid=$0 proc /proc && exec \"$@\"";
    for hide in ["1", "2"] {
        let mut commands = vec!["unshare", "--mount", "sh", "-c", mount, hide];
        commands.extend(AS_NOBODY);
        if !enter_isolated(hidden_processes_are_no_strangers, &commands) {
            continue;
        }
        let collector = manual_collector(ProbeKind::Native);
        assert!(collector.snapshot().has_process_trees());
        let hidden = collector.register("root's").unwrap();
        hidden.started(std::os::unix::process::parent_id(), "");
        let child = GroupGuard::shell("sleep 1000 & sleep 1000 & wait");
        collector.register("shell").unwrap().started(child.pid(), "");
        wait_for("the processes of this user", || {
            let snapshot = collector.sample_now().unwrap();
            let root = snapshot.plugin("root's").unwrap().current().unwrap();
            assert_eq!((root.process_count, root.tree_cpu_percent), (None, None));
            let sample = snapshot.plugin("shell").unwrap().current().unwrap();
            assert!(sample.process_count <= Some(3), "{sample:?}");
            assert!(sample.tree_memory_bytes >= sample.memory_bytes);
            (sample.process_count == Some(3)).then_some(())
        });
        return;
    }
}
