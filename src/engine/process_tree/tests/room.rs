//! Processes for which a tree has no room.

use super::driver::Driver;
use super::edges::{MS, SETTINGS, child, end, end_job, one_plugin, others_ms, usage};
use super::kernel::{Counts, Kernel};
use crate::engine::process_tree::{MemberLimits, TreeId};

/// A tree with room for one child, of which the others were skipped.
fn full_tree() -> (Driver, usize, [usize; 3]) {
    let (mut driver, root) = one_plugin();
    driver.trees.limits = MemberLimits { of_tree: 1, of_all: 10 };
    let children = [(); 3].map(|()| child(&mut driver, root));
    driver.kernel.run(children[1], 6 * MS);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).is_complete), (0, false));
    (driver, root, children)
}

#[test]
fn process_without_room_counts_from_its_start_once_there_is_room() {
    let (mut driver, root, [first, second, third]) = full_tree();
    let grandchild = child(&mut driver, third);
    driver.kernel.run(grandchild, 5 * MS);
    driver.tick();
    assert_eq!(others_ms(&driver), 0);
    end(&mut driver, first);
    driver.trees.limits = MemberLimits::default();
    let late = child(&mut driver, root);
    driver.kernel.run(late, 7 * MS);
    driver.tick();
    assert_eq!(others_ms(&driver), 6 + 5 + 7);
    assert_eq!(usage(&driver).processes, 4);
    // Both end with whole clock ticks, so nothing is hidden.
    driver.kernel.run(second, 54 * MS);
    end(&mut driver, second);
    driver.tick();
    driver.tick();
    end_job(&mut driver, root, 30);
    driver.tick();
    assert_eq!(others_ms(&driver), 6 + 5 + 7 + 54 + 30);
    driver.check().unwrap();
}

#[test]
fn process_without_room_when_its_plugin_is_registered_counts_from_then_on() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    driver.trees.limits = MemberLimits { of_tree: 1, of_all: 10 };
    let root = driver.kernel.spawn(true).unwrap();
    let children = [(); 2].map(|()| child(&mut driver, root));
    driver.kernel.run(children[1], 50 * MS);
    driver.add(0, root, false);
    driver.tick();
    driver.trees.limits = MemberLimits::default();
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (0, 2));
    driver.kernel.run(children[1], 3 * MS);
    driver.tick();
    assert_eq!(others_ms(&driver), 3);
}

/// So many that the processes are listed, of which only those with new pids are opened.
#[test]
fn process_without_room_is_remembered_while_many_pids_are_assigned() {
    let (mut driver, root, _) = full_tree();
    driver.kernel.forks_left = 3_000;
    for _ in 0..1_200 {
        end_job(&mut driver, root, 0);
    }
    driver.kernel.counts = Counts::default();
    driver.tick();
    assert_eq!((driver.kernel.counts.lists, others_ms(&driver)), (1, 0));
    driver.trees.limits = MemberLimits::default();
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (6, 3));
    driver.check().unwrap();
}

#[test]
fn process_without_room_that_existed_does_not_count_when_it_is_waited_for() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    driver.trees.limits = MemberLimits { of_tree: 1, of_all: 10 };
    let root = driver.kernel.spawn(true).unwrap();
    let children = [(); 3].map(|()| child(&mut driver, root));
    driver.kernel.run(children[1], 60 * MS);
    driver.add(0, root, false);
    driver.tick();
    driver.tick();
    end(&mut driver, children[1]);
    driver.tick();
    driver.tick();
    assert_eq!(others_ms(&driver), 0);
    // Once all are known, what is waited for counts again.
    driver.trees.limits = MemberLimits::default();
    driver.tick();
    driver.tick();
    end_job(&mut driver, root, 120);
    driver.tick();
    assert_eq!(others_ms(&driver), 100);
    driver.check().unwrap();
}

/// The list that follows on its registration contains it, so it is not one of the pids that may not be
/// processes yet.
#[test]
fn process_without_room_that_existed_is_no_newborn_after_a_list() {
    let (mut driver, _, [first, ..]) = full_tree();
    let root = driver.kernel.spawn(true).unwrap();
    let children = [(); 2].map(|()| child(&mut driver, root));
    driver.kernel.run(children[1], 9 * MS);
    driver.add(1, root, false);
    // Leaves room in the other tree.
    end(&mut driver, first);
    driver.tick();
    driver.trees.limits = MemberLimits::default();
    driver.tick();
    let usage = driver.trees.usage(TreeId(1)).unwrap();
    assert_eq!((usage.others_cpu.0, usage.processes), (0, 2));
    driver.check().unwrap();
}

#[test]
fn process_without_room_of_a_removed_plugin_exists_already_for_the_next_one() {
    let (mut driver, root, [_, second, _]) = full_tree();
    // Another one, so that pids are followed all the time.
    let other = driver.kernel.spawn(true).unwrap();
    driver.add(1, other, true);
    driver.remove(0);
    driver.add(0, root, false);
    driver.tick();
    assert!(!usage(&driver).is_complete);
    driver.trees.limits = MemberLimits::default();
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (0, 3));
    driver.kernel.run(second, 3 * MS);
    driver.tick();
    assert_eq!(others_ms(&driver), 3);
    driver.check().unwrap();
}

#[test]
fn process_without_room_that_is_registered_counts_in_its_own_tree() {
    let (mut driver, _, [_, second, _]) = full_tree();
    let below = child(&mut driver, second);
    driver.kernel.run(below, 8 * MS);
    driver.tick();
    driver.add(1, second, false);
    driver.trees.limits = MemberLimits::default();
    driver.tick();
    driver.tick();
    let inner = driver.trees.usage(TreeId(1)).unwrap();
    assert_eq!((inner.others_cpu.0, inner.processes), (0, 1));
    assert_eq!((others_ms(&driver), usage(&driver).processes), (0, 2));
    driver.check().unwrap();
}
