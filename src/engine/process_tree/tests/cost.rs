//! Calls of the source, and the processes that few calls must find.

use super::driver::Driver;
use super::edges::{MS, SETTINGS, child, end_job, end_stranger, one_plugin, others_ms, start_lap};
use super::edges::{usage, wait_for};
use super::kernel::{Counts, HOST, Kernel};
use crate::engine::process_tree::{RootReading, TreeId};

/// A pass in which processes that have a pid may not be born yet.
fn pass(driver: &mut Driver) {
    driver.trees.begin_pass(&mut driver.kernel);
    driver.trees.set_root_reading(TreeId(0), RootReading::Alive { cpu_time: None });
    driver.trees.finish_pass();
}

#[test]
fn quiet_member_costs_one_reading_a_pass() {
    let (mut driver, root) = one_plugin();
    child(&mut driver, root);
    driver.tick();
    driver.tick();
    driver.kernel.counts = Counts::default();
    pass(&mut driver);
    assert_eq!(driver.kernel.counts, Counts { last_pids: 1, reads: 1, ..Counts::default() });
}

/// Neither before the first pass, nor for a second root.
#[test]
fn registration_needs_no_list() {
    for is_spawned in [true, false] {
        let mut driver = Driver::new(Kernel::new(SETTINGS));
        for slot in 0..2 {
            let root = driver.kernel.spawn(true).unwrap();
            child(&mut driver, root);
            driver.add(slot, root, is_spawned);
            driver.tick();
        }
        assert_eq!(driver.kernel.counts.lists, 0);
        assert!(driver.kernel.counts.opens < 50, "{:?}", driver.kernel.counts);
    }
}

#[test]
fn removal_needs_no_list() {
    let (mut driver, root) = one_plugin();
    child(&mut driver, root);
    let other = driver.kernel.spawn(true).unwrap();
    driver.add(1, other, true);
    driver.tick();
    driver.trees.remove_tree(TreeId(0));
    driver.kernel.counts = Counts::default();
    driver.trees.begin_pass(&mut driver.kernel);
    driver.trees.finish_pass();
    assert_eq!((driver.kernel.counts.lists, driver.kernel.counts.opens), (0, 0));
}

/// Pids that were assigned while there were no trees.
#[test]
fn pids_without_trees_are_not_opened() {
    let (mut driver, root) = one_plugin();
    driver.kernel.exit(root);
    driver.kernel.wait_for(root);
    driver.tick();
    driver.tick();
    driver.kernel.forks_left = 600;
    (0..500).for_each(|_| end_stranger(&mut driver));
    let root = driver.kernel.spawn(true).unwrap();
    driver.add(0, root, true);
    driver.kernel.counts = Counts::default();
    driver.tick();
    assert!(driver.kernel.counts.opens < 100, "{:?}", driver.kernel.counts);
}

/// A pid without a process is tried once more.
#[test]
fn pid_without_process_is_tried_again_once() {
    let (mut driver, root) = one_plugin();
    driver.tick();
    let unborn = driver.kernel.fork(root).unwrap();
    pass(&mut driver);
    assert_eq!(usage(&driver).processes, 0);
    // It has ended by then.
    driver.kernel.be_born();
    driver.kernel.run(unborn, 300 * MS);
    driver.kernel.exit(unborn);
    wait_for(&mut driver, unborn);
    super::edges::bury(&mut driver, unborn);
    pass(&mut driver);
    assert!((280..=300).contains(&others_ms(&driver)), "{:?}", usage(&driver));
    driver.kernel.counts = Counts::default();
    pass(&mut driver);
    assert_eq!(driver.kernel.counts.opens, 0);
}

#[test]
fn process_born_after_pass_is_found_by_next_one() {
    for reports_last_pid in [true, false] {
        let (mut driver, root) = one_plugin();
        driver.kernel.settings.reports_last_pid = reports_last_pid;
        driver.tick();
        driver.kernel.settings.reports_last_pid = true;
        let unborn = driver.kernel.fork(root).unwrap();
        pass(&mut driver);
        driver.kernel.be_born();
        driver.kernel.run(unborn, 100 * MS);
        pass(&mut driver);
        assert_eq!((others_ms(&driver), usage(&driver).processes), (100, 1));
    }
}

/// Too many new pids to open them before a list is read, and there is none.
#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn newborns_are_found_without_a_list() {
    let (mut driver, root) = one_plugin();
    driver.kernel.forks_left = 1_200;
    (0..1_100).for_each(|_| end_stranger(&mut driver));
    let worker = child(&mut driver, root);
    driver.kernel.run(worker, 100 * MS);
    driver.kernel.can_list = false;
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (100, 1));
    assert!(usage(&driver).is_complete);
}

/// In a list, each process of the chain comes before its parent.
#[test]
fn chain_across_laps_is_taken_in() {
    let (mut driver, root) = one_plugin();
    driver.kernel.settings.reports_last_pid = false;
    driver.kernel.forks_left = 500;
    // Takes the lower pids, so that each lap begins lower than the chain was before.
    let low: Vec<usize> = (0..6).map(|_| child(&mut driver, HOST)).collect();
    let mut parent = root;
    for &stranger in low.iter().rev() {
        parent = child(&mut driver, parent);
        driver.kernel.exit(stranger);
        wait_for(&mut driver, stranger);
        super::edges::bury(&mut driver, stranger);
        start_lap(&mut driver);
        driver.kernel.forks_left = 500;
    }
    driver.tick();
    assert_eq!(usage(&driver).processes, 6);
}

/// A job that begins and ends between the registration and the first pass.
#[test]
fn job_counts_right_after_registration() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    child(&mut driver, root);
    driver.add(0, root, false);
    end_job(&mut driver, root, 300);
    let worker = child(&mut driver, root);
    driver.kernel.run(worker, 100 * MS);
    driver.tick();
    assert!((380..=400).contains(&others_ms(&driver)), "{:?}", usage(&driver));
}

#[test]
fn process_that_cannot_be_opened_is_not_listed_in_each_pass() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    let worker = child(&mut driver, root);
    driver.kernel.unavailable.push(worker);
    driver.add(0, root, false);
    driver.tick();
    driver.tick();
    driver.kernel.counts = Counts::default();
    driver.tick();
    assert_eq!((driver.kernel.counts.lists, driver.kernel.counts.opens), (0, 0));
}

/// A newborn process that cannot be opened is missing, but no other one is taken for an older one.
#[test]
fn newborn_that_cannot_be_opened_makes_no_other_old() {
    let (mut driver, root) = one_plugin();
    let worker = child(&mut driver, root);
    driver.kernel.unavailable.push(worker);
    driver.tick();
    driver.kernel.unavailable.clear();
    driver.kernel.settings.reports_last_pid = false;
    driver.tick();
    let other = child(&mut driver, root);
    driver.kernel.run(other, 100 * MS);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (100, 2));
}

/// Of the tree that has ended, and of those around it and in it.
#[test]
fn end_of_a_root_is_looked_for_in_connected_trees_only() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let roots = [0, 1, 2].map(|slot| {
        let root = driver.kernel.spawn(true).unwrap();
        child(&mut driver, root);
        driver.add(slot, root, true);
        root
    });
    let nested = child(&mut driver, roots[2]);
    driver.add(3, nested, false);
    driver.tick();
    let mut looked_at = |slot: u8| {
        driver.trees.begin_exit_pass(TreeId(slot.into()), &mut driver.kernel, None);
        let scope = [driver.trees.scope.trees.len(), driver.trees.scope.members.len()];
        driver.trees.set_root_reading(TreeId(slot.into()), RootReading::Failed);
        driver.trees.finish_pass();
        scope
    };
    assert_eq!(looked_at(0), [1, 2]);
    assert_eq!(looked_at(2), [4, 7]);
    assert_eq!(looked_at(3), [4, 7]);
    // Without the inner tree it stands alone again.
    driver.kernel.exit(nested);
    wait_for(&mut driver, nested);
    driver.remove(3);
    driver.tick();
    let mut looked_at = |slot: u8| {
        driver.trees.begin_exit_pass(TreeId(slot.into()), &mut driver.kernel, None);
        driver.trees.scope.members.len()
    };
    assert_eq!(looked_at(2), 2);
}
