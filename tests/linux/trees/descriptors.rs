//! More members than descriptors.

use plugmeter::Plugin;
use plugmeter_test_support::isolated_process::{enter_isolated, own_descriptors};
use plugmeter_test_support::sleeper;

use super::run::{NAME, TreeRun};
use crate::descriptors::open_all;
use crate::test_child::signal;

const MEMBERS: usize = 60;

fn held(kind: &str) -> usize {
    own_descriptors().iter().filter(|name| name.contains(kind)).count()
}

#[test]
fn members_beyond_descriptor_limit_are_not_lost() {
    let commands = ["prlimit", "--nofile=64"];
    if !enter_isolated(members_beyond_descriptor_limit_are_not_lost, &commands) {
        return;
    }
    let script = "
        i=0; while [ $i -lt 59 ]; do sleep 1000 & i=$((i + 1)); done
        (burn 40; burn 60; last 200) & report started; wait";
    let Some(mut run) = TreeRun::start("descriptors", script) else { return };
    run.go();
    run.tick_until_reported(2);
    run.wait_until_asleep();
    run.assert_complete(1);
    run.assert_processes();
    let tick = run.tick();
    assert_eq!(tick.sample().process_count, Some(MEMBERS as u32 + 1));
    assert!(tick.sample().tree_memory_bytes > tick.sample().memory_bytes);
    let by_members = held("/statm") - 1;
    assert!((10..32).contains(&by_members), "{by_members}");

    // Roots come first: each has two, and members give theirs back.
    let children: Vec<_> = (0..8).map(|_| sleeper()).collect();
    let plugins: Vec<Plugin> =
        (0..8).map(|number| run.collector.register(&format!("{number}")).unwrap()).collect();
    for (plugin, child) in plugins.iter().zip(&children) {
        plugin.started(child.pid(), "");
    }
    // Each tick frees some of them.
    run.tick_until("descriptors of all roots", |tick| {
        assert_eq!(tick.sample().process_count, Some(MEMBERS as u32 + 1));
        held("pidfd") == 9
    });
    assert!(held("/statm") - 9 < by_members, "{} {by_members}", held("/statm"));
    // Half of the limit is left to the host.
    assert!(held("/statm") + held("pidfd") <= 64 / 2);

    // No descriptor is free at all.
    let taken = open_all();
    for _ in 0..3 {
        let tick = run.tick();
        assert_eq!(tick.sample().process_count, Some(MEMBERS as u32 + 1));
        assert!(tick.sample().tree_memory_bytes > tick.sample().memory_bytes);
    }
    drop(taken);

    // Those of ended members are given back.
    plugins.iter().for_each(Plugin::remove);
    let root = run.root.pid();
    for pid in run.cgroup.pids().into_iter().filter(|&pid| pid != root) {
        signal(pid, "KILL");
    }
    // The shell ends after its last child.
    run.root.wait();
    let tick = run.tick_until("the end", |tick| tick.sample().process_count == Some(0));
    assert_eq!(tick.snapshot.plugin(NAME).unwrap().pid(), None);
    assert_eq!((held("/statm"), held("pidfd")), (0, 0));
}
