//! Pids that belong to other processes by then.

use super::driver::Driver;
use super::edges::{
    MS, SETTINGS, bury, child, end_stranger, others_ms, start_lap, usage, wait_for,
};
use super::kernel::{HOST, Kernel};
use crate::engine::process_tree::TreeId;

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

/// What is read by pid may be the successor's if nothing proves that the member still has it.
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
