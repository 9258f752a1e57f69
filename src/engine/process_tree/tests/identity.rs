//! Pids that belong to other processes by then.

use super::driver::Driver;
use super::edges::{MS, SETTINGS, bury, child, usage, wait_for};
use super::kernel::{HOST, Kernel};
use crate::engine::process_tree::TreeId;

/// A root with a worker, which was reaped since the last tick; another process has its pid.
fn successor_of_worker() -> (Driver, usize) {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    driver.add(0, root, true);
    let worker = child(&mut driver, root);
    driver.tick();
    let pid = driver.kernel.processes[worker].pid;
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    bury(&mut driver, worker);
    driver.kernel.settings.last_pid_of_lap = pid;
    let successor = child(&mut driver, HOST);
    assert_eq!(driver.kernel.processes[successor].pid, pid);
    driver.kernel.settings.last_pid_of_lap = SETTINGS.last_pid_of_lap;
    driver.kernel.run(successor, 100 * MS);
    (driver, successor)
}

#[test]
fn descendants_of_successor_are_not_taken_in() {
    let (mut driver, successor) = successor_of_worker();
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
    let (mut driver, _) = successor_of_worker();
    let parent_of = |driver: &Driver| driver.trees.processes(TreeId(0)).next().unwrap().parent_pid;
    let parent = parent_of(&driver);
    driver.kernel.can_read = false;
    driver.tick();
    assert!(driver.kernel.counts.stats > 0);
    assert_eq!(parent_of(&driver), parent);
    driver.check().unwrap();
}
