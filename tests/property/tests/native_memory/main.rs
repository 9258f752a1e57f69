//! Allocations of a collector that reads real processes and their descendants, counted by a heap
//! profiler. One test, because a process has one heap.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use dhat::HeapStats;
use plugmeter::{Collector, Config, Reader};
use plugmeter_test_support::isolated_process::{OWN_PID_NAMESPACE, enter_isolated};
use plugmeter_test_support::{ChildGuard, wait_for};

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

const PLUGINS: usize = 10;
const POLL: Duration = Duration::from_millis(10);
/// Samples in the window.
const WINDOW: u64 = 100;

/// A shell with two descendants, which exit when its input is closed.
fn wrapper() -> ChildGuard {
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3<&0; cat <&3 & cat <&3 & wait"]);
    ChildGuard(command.stdin(Stdio::piped()).spawn().unwrap())
}

/// Waits until the collector has run this many more ticks. It does not allocate.
fn wait_for_ticks(reader: &Reader, ticks: u64) {
    let first = reader.snapshot().tick();
    while reader.snapshot().tick() < first + ticks {
        thread::sleep(POLL);
    }
}

/// Ticks that pass while processes neither start nor exit allocate nothing, in any phase: frames, blocks,
/// the lists of members and the search for new processes.
#[test]
fn quiet_process_trees_need_no_allocation() {
    // Outside of it other processes start: more of them in a tick than ever before need a longer list.
    if !enter_isolated(quiet_process_trees_need_no_allocation, OWN_PID_NAMESPACE) {
        return;
    }
    let profiler = dhat::Profiler::builder().testing().build();
    let config = Config::default().poll_interval(POLL).history_duration(POLL * WINDOW as u32);
    let collector = Collector::start(config).unwrap();
    let reader = collector.reader();
    let mut roots = Vec::new();
    for i in 0..PLUGINS {
        let root = wrapper();
        collector.register(&format!("plugin {i}")).unwrap().started(root.pid(), "1.0");
        roots.push(root);
    }
    wait_for("all trees", || {
        let snapshot = reader.snapshot();
        snapshot
            .plugins()
            .all(|p| p.current().and_then(|c| c.process_count) == Some(3))
            .then_some(())
    });
    // Retired frames and blocks are reused from the second window on.
    wait_for_ticks(&reader, 3 * WINDOW);

    let (before, first) = (HeapStats::get(), reader.snapshot().tick());
    wait_for_ticks(&reader, 3 * WINDOW);
    let (after, last) = (HeapStats::get(), reader.snapshot().tick());
    println!("{} ticks", last - first);
    assert_eq!(
        after.total_blocks - before.total_blocks,
        0,
        "allocations in {} ticks",
        last - first
    );
    assert_eq!(after.curr_bytes, before.curr_bytes);
    drop(profiler);
}
