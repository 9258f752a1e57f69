//! Pids that belong to other processes by then.

use super::driver::Driver;
use super::edges::{
    MS, SETTINGS, bury, child, end_stranger, one_plugin, others_ms, start_lap, usage, wait_for,
};
use super::kernel::{HOST, Kernel};
use crate::engine::process_tree::members::PidReuse;
use crate::engine::process_tree::pid_window::Window;
use crate::engine::process_tree::roots::NewRoot;
use crate::engine::process_tree::{AddedRoot, TreeId};
use crate::history::units::CpuTime;
use crate::time::MonoNanos;

/// A root with a worker, which was reaped since the last tick; a child of `parent`, or of the root, has its
/// pid.
fn successor_of_worker(parent: Option<usize>) -> (Driver, usize, usize) {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    driver.add(0, root, true);
    let worker = child(&mut driver, root);
    end_stranger(&mut driver);
    driver.tick();
    let pid = driver.kernel.processes[worker].pid;
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    bury(&mut driver, worker);
    start_lap(&mut driver);
    let successor = child(&mut driver, parent.unwrap_or(root));
    assert_eq!(driver.kernel.processes[successor].pid, pid);
    driver.kernel.run(successor, 100 * MS);
    (driver, worker, successor)
}

#[test]
fn descendants_of_successor_are_not_taken_in() {
    let (mut driver, _, successor) = successor_of_worker(Some(HOST));
    let mut descendant = successor;
    for _ in 0..3 {
        descendant = child(&mut driver, descendant);
        driver.kernel.run(descendant, 100 * MS);
    }
    for _ in 0..3 {
        driver.tick();
        driver.check().unwrap();
        assert_eq!(usage(&driver).processes, 0);
    }
}

/// A reading by pid may be that of a successor, unless something proves that the member still has the pid.
#[test]
fn stat_of_unread_member_changes_nothing() {
    let (mut driver, worker, _) = successor_of_worker(Some(HOST));
    let parent_of = |driver: &Driver| driver.trees.processes(TreeId(0)).next().unwrap().parent_pid;
    let parent = parent_of(&driver);
    driver.kernel.unavailable.push(worker);
    driver.tick();
    assert!(driver.kernel.counts.stats > 0);
    assert_eq!(parent_of(&driver), parent);
    driver.check().unwrap();
}

#[test]
fn successor_in_the_same_tree_is_taken_in() {
    let (mut driver, _, _) = successor_of_worker(None);
    driver.tick();
    driver.tick();
    assert_eq!((usage(&driver).processes, others_ms(&driver)), (1, 100));
    driver.check().unwrap();
}

/// An ancestor of a root ends, and a descendant gets its pid: it takes no orphans of the tree.
#[test]
fn successor_of_ancestor_takes_no_orphans() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let ancestor = child(&mut driver, HOST);
    let root = child(&mut driver, ancestor);
    let pid = driver.kernel.processes[root].pid;
    (driver.kernel.processes[root].session, driver.kernel.processes[root].group) = (pid, pid);
    driver.add(0, root, false);
    (0..3).for_each(|_| end_stranger(&mut driver));
    driver.tick();
    driver.kernel.exit(ancestor);
    wait_for(&mut driver, ancestor);
    bury(&mut driver, ancestor);
    start_lap(&mut driver);
    let successor = child(&mut driver, root);
    let above = driver.kernel.processes[ancestor].pid;
    assert_eq!(driver.kernel.processes[successor].pid, above);
    child(&mut driver, successor);
    driver.kernel.unavailable.push(successor);
    driver.tick();
    assert_eq!(usage(&driver).processes, 0);
}

/// A list has contained it, so that it is not one of the pids that may not be processes yet: it comes to
/// the tree later, as an orphan in the session of the root.
#[test]
fn orphan_that_was_listed_is_no_newborn() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    let middle = child(&mut driver, root);
    let daemon = child(&mut driver, middle);
    let worker = child(&mut driver, daemon);
    driver.kernel.run(worker, 500 * MS);
    let process = &mut driver.kernel.processes[daemon];
    (process.session, process.group) = (process.pid, process.pid);
    driver.kernel.exit(middle);
    driver.add(0, root, false);
    for reports_last_pid in [false, true] {
        driver.kernel.settings.reports_last_pid = reports_last_pid;
        driver.tick();
    }
    driver.kernel.exit(daemon);
    driver.tick();
    driver.check().unwrap();
    assert_eq!(others_ms(&driver), 0);
}

/// The root has the newest pid.
#[test]
fn root_lost_before_its_first_pass_is_held_again() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    driver.add(0, root, true);
    driver.kernel.can_open = false;
    driver.stop(0);
    driver.kernel.can_open = true;
    driver.tick();
    assert_eq!(usage(&driver).processes, 1);
}

/// It is the same process, so that what it has used meanwhile counts as a survivor's.
#[test]
fn lost_root_that_is_reported_again_continues() {
    let (mut driver, root) = one_plugin();
    driver.kernel.run(root, 100 * MS);
    driver.tick();
    driver.kernel.can_open = false;
    driver.stop(0);
    driver.kernel.run(root, 50 * MS);
    let pid = driver.kernel.processes[root].pid;
    let cpu_time = Some(CpuTime(driver.kernel.processes[root].cpu()));
    let new = NewRoot { pid, cpu_time, counts_from_start: false };
    let added = driver.trees.add_root(TreeId(0), new, MonoNanos(1), &mut driver.kernel);
    assert_eq!(added, AddedRoot::Followed { counts_from: cpu_time });
    assert_eq!(others_ms(&driver), 50);
}

#[test]
fn window_has_positions_across_the_end_of_a_lap() {
    let window = |before, last| Window { before, last, first_of_lap: 300, last_of_lap: 1_000 };
    let positions = |window: Window| [301, 303, 305, 998, 1_000].map(|pid| window.position(pid));
    assert_eq!(positions(window(300, 303)), [1, 3, 5, 698, 700]);
    assert_eq!(positions(window(998, 303)), [4, 6, 8, 0, 2]);
    let mut pids = [301, 303, 305, 998, 1_000];
    pids.sort_unstable_by_key(|&pid| window(998, 303).order(pid));
    assert_eq!(pids, [305, 998, 1_000, 301, 303], "the pids of the last lap come first");
    for (before, last, pids) in [
        (300, 303, &[301, 302, 303][..]),
        (303, 303, &[]),
        (998, 301, &[999, 1_000, 300, 301]),
        (1_000, 300, &[300]),
    ] {
        let window = window(before, last);
        assert_eq!(
            (window.len() as usize, window.pids().collect::<Vec<_>>()),
            (pids.len(), pids.to_vec())
        );
        assert!((300..=1_000).all(|pid| window.contains(pid) == pids.contains(&pid)));
    }
}

/// The pid that was assigned last when the process was added may be its own.
#[test]
fn pid_is_reused_if_it_is_in_the_window_after_the_process() {
    let window = Window { before: 998, last: 305, first_of_lap: 300, last_of_lap: 1_000 };
    for (pid, known_since, expected) in [
        (998, None, PidReuse::No),
        (999, None, PidReuse::Yes),
        (305, None, PidReuse::Yes),
        (306, None, PidReuse::No),
        (300, Some(300), PidReuse::No),
        (301, Some(300), PidReuse::Yes),
        (1_000, Some(300), PidReuse::No),
        // Of an earlier window.
        (301, Some(700), PidReuse::Yes),
    ] {
        assert_eq!(PidReuse::of(pid, known_since, &window), expected, "{pid} {known_since:?}");
    }
}
