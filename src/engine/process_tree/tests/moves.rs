//! Members that become roots, and move to another tree with what is below them.

use super::driver::Driver;
use super::edges::{MS, SETTINGS, child, one_plugin, others_ms, usage, wait_for};
use super::kernel::Kernel;
use super::registration::{calls, orphaned_during_registration};
use crate::engine::process_tree::roots::NewRoot;
use crate::engine::process_tree::{AddedRoot, FinalRoot, RootReading, TreeId};
use crate::history::units::{CpuShare, CpuTime};
use crate::time::MonoNanos;

fn nested_ms(driver: &Driver) -> u64 {
    driver.trees.usage(TreeId(1)).unwrap().others_cpu.0 / MS
}

/// The root was the subreaper of a process that has moved to another tree since, and the last times of the
/// root contain it.
#[test]
fn last_times_of_reaped_root_do_not_show_moved_member() {
    let (mut driver, root) = one_plugin();
    driver.kernel.processes[root].is_subreaper = true;
    let inner = child(&mut driver, root);
    let middle = child(&mut driver, inner);
    let leaf = child(&mut driver, middle);
    driver.tick();
    driver.kernel.run(leaf, 300 * MS);
    driver.trees.begin_pass(&mut driver.kernel);
    driver.kernel.exit(middle);
    driver.kernel.exit(leaf);
    wait_for(&mut driver, leaf);
    driver.kernel.exit(root);
    let children_cpu = Some(driver.kernel.children_cpu(root));
    assert!(children_cpu >= Some(CpuTime(280 * MS)), "{children_cpu:?}");
    driver.kernel.wait_for(root);
    driver.trees.set_root_reading(TreeId(0), RootReading::Reaped);
    driver.trees.finish_pass();
    assert_eq!(others_ms(&driver), 300);
    driver.add(1, inner, false);
    let last = FinalRoot { cpu_time: CpuTime(1), children_cpu };
    driver.trees.exit_pass(TreeId(0), &mut driver.kernel, Some(last));
    assert_eq!(others_ms(&driver), 300);
    driver.tick();
    assert_eq!((others_ms(&driver), nested_ms(&driver)), (300, 0));
}

/// Processes that were missed when the outer root was added are no newborn ones in the inner tree, and
/// what they have used before does not count once they are waited for.
#[test]
fn missed_processes_keep_their_age_in_nested_tree() {
    let mut missed = 0;
    for (calls, is_waited_for) in calls().flat_map(|calls| [(calls, false), (calls, true)]) {
        let (mut driver, inner, worker) = orphaned_during_registration(calls);
        let pid = driver.kernel.processes[worker].pid;
        missed += u32::from(driver.trees.members.with_pid(pid).is_none());
        driver.add(1, inner, false);
        if is_waited_for {
            driver.kernel.exit(worker);
            wait_for(&mut driver, worker);
        }
        for _ in 0..3 {
            driver.tick();
            driver.check().unwrap();
        }
        assert_eq!((others_ms(&driver), nested_ms(&driver)), (0, 0), "{calls}");
    }
    assert!(missed > 0);
}

/// Registers a process as root of the second tree; its CPU time was read just now.
fn add_nested(driver: &mut Driver, inner: usize, counts_from_start: bool) -> AddedRoot {
    let process = &driver.kernel.processes[inner];
    let cpu_time = Some(CpuTime(process.cpu()));
    let new = NewRoot { pid: process.pid, cpu_time, counts_from_start };
    driver.trees.add_root(TreeId(1), new, MonoNanos(1), &mut driver.kernel)
}

/// Of a spawned process its tracker counts all that no tick has read.
#[test]
fn member_that_becomes_root_counts_in_old_tree_until_then() {
    for (counts_from_start, expected) in [(false, 150), (true, 100)] {
        let (mut driver, root) = one_plugin();
        let inner = child(&mut driver, root);
        driver.kernel.run(inner, 100 * MS);
        driver.tick();
        driver.kernel.run(inner, 50 * MS);
        let counts_from = Some(CpuTime(expected * MS));
        let added = add_nested(&mut driver, inner, counts_from_start);
        assert_eq!(added, AddedRoot::Followed { counts_from });
        assert_eq!(others_ms(&driver), expected);
        let share = driver.trees.take_share(TreeId(0), MonoNanos(1_000 * MS + 1), 0);
        assert_eq!(share, CpuShare::from_times(CpuTime(expected * MS), 1_000 * MS));
    }
}

/// Not even its last reading is proven.
#[test]
fn unproven_member_that_becomes_root_counts_nowhere_until_then() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    let inner = child(&mut driver, root);
    driver.add(0, root, false);
    driver.kernel.run(inner, 50 * MS);
    let counts_from = Some(CpuTime(50 * MS));
    let added = add_nested(&mut driver, inner, false);
    assert_eq!((added, others_ms(&driver)), (AddedRoot::Followed { counts_from }, 0));
}

/// An orphan in the group of a root, in another session.
#[test]
fn group_of_promoted_root_proves_orphan() {
    for is_promoted in [false, true] {
        let (mut driver, mut root) = one_plugin();
        if is_promoted {
            root = child(&mut driver, root);
            let pid = driver.kernel.processes[root].pid;
            driver.kernel.processes[root].group = pid;
            driver.tick();
            driver.add(1, root, false);
        }
        let middle = child(&mut driver, root);
        let daemon = child(&mut driver, middle);
        driver.kernel.processes[daemon].session = 0;
        driver.kernel.exit(middle);
        driver.tick();
        let id = TreeId(u32::from(is_promoted));
        assert_eq!(driver.trees.usage(id).unwrap().processes, 1);
    }
}

/// The registration of an ancestor finds a parent between two roots.
#[test]
fn nested_root_is_linked_to_parent_that_is_found_later() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    let middle = child(&mut driver, root);
    let inner = child(&mut driver, middle);
    driver.add(1, inner, true);
    driver.add(0, root, true);
    let at = |process: usize| {
        driver.trees.members.with_pid(driver.kernel.processes[process].pid).unwrap()
    };
    let parent = |process: usize| driver.trees.members.get(at(process)).unwrap().parent;
    assert_eq!((parent(inner), parent(middle)), (Some(at(middle)), Some(at(root))));
}

/// The survivor of an earlier run is a child of the new root, and stays where it is.
#[test]
fn survivor_below_new_root_stays_in_its_tree() {
    let (mut driver, root) = one_plugin();
    driver.stop(0);
    driver.add(1, super::kernel::HOST, false);
    assert_eq!(usage(&driver).processes, 1);
    driver.kernel.run(root, 30 * MS);
    driver.tick();
    assert_eq!(others_ms(&driver), 30);
}

#[test]
fn removal_of_a_tree_keeps_others() {
    let (mut driver, _) = one_plugin();
    let other = driver.kernel.spawn(true).unwrap();
    driver.add(1, other, true);
    let worker = child(&mut driver, other);
    driver.tick();
    driver.trees.remove_tree(TreeId(0));
    assert_eq!(driver.trees.root_pid(TreeId(1)), Some(driver.kernel.processes[other].pid));
    driver.kernel.run(worker, 100 * MS);
    driver.trees.begin_pass(&mut driver.kernel);
    driver.trees.set_root_reading(TreeId(1), RootReading::Alive { cpu_time: None });
    driver.trees.finish_pass();
    assert_eq!(nested_ms(&driver), 100);
}

/// Its parent is not known yet when it is registered.
#[test]
fn nested_root_is_linked_to_newborn_parent() {
    let (mut driver, root) = one_plugin();
    let middle = child(&mut driver, root);
    let inner = child(&mut driver, middle);
    driver.add(1, inner, true);
    driver.tick();
    let at = |process: usize| {
        driver.trees.members.with_pid(driver.kernel.processes[process].pid).unwrap()
    };
    assert_eq!(driver.trees.members.get(at(inner)).unwrap().parent, Some(at(middle)));
}

/// Although another tree is nested in a third one.
#[test]
fn tree_that_is_not_enclosed_is_removed_at_once() {
    let (mut driver, _) = one_plugin();
    let outer = driver.kernel.spawn(true).unwrap();
    driver.add(1, outer, true);
    let inner = child(&mut driver, outer);
    driver.add(2, inner, true);
    driver.tick();
    driver.trees.remove_tree(TreeId(0));
    assert_eq!(driver.trees.trees.iter().flatten().count(), 2);
}

fn parent_of(driver: &Driver, process: usize) -> Option<u32> {
    let members = &driver.trees.members;
    let member = members.with_pid(driver.kernel.processes[process].pid).unwrap();
    let parent = members.get(member).unwrap().parent?;
    Some(members.get(parent).unwrap().pid)
}

/// The charges of an orphan of a nested tree are shared by both trees, as long as nothing tells its parent.
#[test]
fn orphan_of_nested_tree_stays_linked_in_it() {
    let (mut driver, root) = one_plugin();
    let inner = child(&mut driver, root);
    let middle = child(&mut driver, inner);
    let worker = child(&mut driver, middle);
    driver.add(1, inner, true);
    driver.tick();
    driver.kernel.can_stat = false;
    driver.kernel.exit(middle);
    wait_for(&mut driver, middle);
    driver.tick();
    child(&mut driver, root);
    driver.tick();
    assert_eq!(usage(&driver).processes, 1);
    assert_eq!(parent_of(&driver, worker), Some(driver.kernel.processes[inner].pid));
}

#[test]
fn orphan_is_linked_to_ancestor_that_is_registered_later() {
    let (mut driver, root) = one_plugin();
    let middle = child(&mut driver, root);
    let daemon = child(&mut driver, middle);
    driver.kernel.exit(middle);
    driver.tick();
    assert_eq!(parent_of(&driver, daemon), None);
    driver.add(1, super::kernel::HOST, false);
    assert_eq!(parent_of(&driver, daemon), Some(2));
    assert_eq!(parent_of(&driver, root), Some(2));
}
