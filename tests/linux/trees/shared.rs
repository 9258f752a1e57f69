//! Processes that are in the tree of more than one plugin.

use std::time::Duration;

use plugmeter::{Collector, ProbeKind};
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::{manual_collector, wait_for};

use super::run::{HIDDEN, MAX_AHEAD, NAME, TreeRun};
use crate::test_child::{TestChild, cpu_time};

fn tree_cpu_times<const N: usize>(collector: &Collector, names: [&str; N]) -> [Duration; N] {
    let snapshot = collector.sample_now().unwrap();
    names.map(|name| snapshot.plugin(name).unwrap().tree_cpu_time())
}

fn process_count(collector: &Collector, name: &str) -> Option<u32> {
    collector.snapshot().plugin(name).unwrap().current().unwrap().process_count
}

/// A plugin whose process is in the tree of another one counts there no more: both together are
/// within the kernel's account, and complete.
#[test]
fn nested_plugin_counts_once() {
    let script = "sleep 1000 & (read begin <&3; burn 30; burn 40; last 200) & report $!; wait";
    let Some(mut run) = TreeRun::start("nested", script) else { return };
    run.go();
    let inner: u32 = run.tick_until_reported(1)[0].parse().unwrap();
    let plugin = run.collector.register("inner").unwrap();
    plugin.started(inner, "");
    run.go();
    let before = run.first_told();
    let is_done = |run: &TreeRun| run.reports().try_iter().any(|report| report == "done");
    wait_for("the inner plugin", || {
        let [outer, inner] = tree_cpu_times(&run.collector, [NAME, "inner"]);
        let truth = run.cgroup.cpu_time() - run.truth_before();
        assert!(outer + inner - before <= truth + MAX_AHEAD, "{outer:?} {inner:?} {truth:?}");
        is_done(&run).then_some(())
    });
    run.wait_until_asleep();
    let truth = run.truth();
    tree_cpu_times(&run.collector, [NAME, "inner"]);
    let told: Duration = tree_cpu_times(&run.collector, [NAME, "inner"]).into_iter().sum();
    let least = truth.mul_f64(0.995).saturating_sub(HIDDEN * 3);
    assert!(told - before >= least, "{told:?} of {truth:?}");
    let counts = [NAME, "inner"].map(|name| process_count(&run.collector, name).unwrap());
    assert_eq!(counts, [2, 1]);
    assert_eq!(run.cgroup.pids().len(), 3);

    // What the processes of the inner one have used never counts in the outer tree.
    plugin.remove();
    run.tick();
    drop(run);
}

#[test]
fn process_of_two_plugins_has_equal_trees() {
    let script = "share 3000 2000 & share 1000 4000 & report done; hold";
    let Some(mut run) = TreeRun::start("two names", script) else { return };
    let other = run.collector.register("other").unwrap();
    other.started(run.root.pid(), "");
    run.go();
    run.tick_until_reported(1);
    run.tick_until("all processes", |tick| tick.sample().process_count == Some(3));
    wait_for("CPU time of both", || {
        let tick = run.tick();
        let other = tick.snapshot.plugin("other").unwrap();
        let (one, two) = (tick.sample(), other.current().unwrap());
        assert_eq!((one.process_count, two.process_count), (Some(3), Some(3)));
        assert_eq!(one.tree_memory_bytes.is_some(), two.tree_memory_bytes.is_some());
        let told = other.tree_cpu_time();
        assert!(told <= run.cgroup.cpu_time() + MAX_AHEAD, "{told:?}");
        (told > Duration::from_millis(100)).then_some(())
    });
    // The other plugin keeps the tree, whichever of them was first.
    run.plugin.remove();
    wait_for("the tree of the other plugin", || {
        let before = tree_cpu_times(&run.collector, ["other"]);
        let after = tree_cpu_times(&run.collector, ["other"]);
        assert!(after[0] <= run.cgroup.cpu_time() + MAX_AHEAD);
        let is_whole = process_count(&run.collector, "other") == Some(3);
        (is_whole && after > before).then_some(())
    });
}

/// The host as a plugin: itself and those of its children that are not in another plugin's tree.
#[test]
fn host_is_a_plugin_of_itself() {
    if !enter_isolated(host_is_a_plugin_of_itself, &[]) {
        return;
    }
    let collector = manual_collector(ProbeKind::Native);
    let mut helper = TestChild::start("idle");
    let mut child = TestChild::start("idle");
    let pids = [std::process::id(), helper.pid(), child.pid()];
    let start = pids.map(cpu_time);
    collector.register("host").unwrap().started(pids[0], "");
    collector.register("child").unwrap().started(pids[2], "");
    let [host_before, child_before] = tree_cpu_times(&collector, ["host", "child"]);
    for _ in 0..10 {
        helper.request("burn 20");
        child.request("burn 20");
        let [host, plugin] = tree_cpu_times(&collector, ["host", "child"]);
        let end = pids.map(cpu_time);
        let used = |at: usize| end[at] - start[at];
        let host = host - host_before;
        assert!(host <= used(0) + used(1), "{host:?}, {:?} and {:?}", used(0), used(1));
        assert!(plugin - child_before <= used(2), "{plugin:?}, {:?}", used(2));
        assert_eq!(process_count(&collector, "host"), Some(2));
        assert_eq!(process_count(&collector, "child"), Some(1));
    }
    let [host, plugin] = tree_cpu_times(&collector, ["host", "child"]);
    assert!(host - host_before >= Duration::from_millis(200), "{host:?}");
    assert!(plugin - child_before >= Duration::from_millis(200), "{plugin:?}");
}
