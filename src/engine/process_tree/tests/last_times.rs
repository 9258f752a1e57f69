//! The last times of roots that were reaped.

use super::driver::Driver;
use super::edges::{
    MS, SETTINGS, child, end_job, end_stranger, one_plugin, others_ms, usage, wait_for,
};
use super::kernel::Kernel;
use crate::engine::process_tree::{FinalRoot, RootReading, TreeId};
use crate::history::units::CpuTime;

#[test]
fn final_children_cpu_of_reaped_root_counts() {
    for is_found_reaped in [false, true] {
        let (mut driver, root) = one_plugin();
        // No nested tree.
        let other = driver.kernel.spawn(true).unwrap();
        driver.add(1, other, true);
        child(&mut driver, other);
        driver.tick();
        let job = child(&mut driver, root);
        driver.kernel.run(job, 300 * MS);
        driver.kernel.exit(job);
        wait_for(&mut driver, job);
        driver.kernel.exit(root);
        let children_cpu = Some(driver.kernel.children_cpu(root));
        driver.kernel.wait_for(root);
        if is_found_reaped {
            driver.tick();
            assert_eq!(others_ms(&driver), 0);
        }
        let last = FinalRoot { cpu_time: CpuTime(1), children_cpu };
        driver.trees.exit_pass(TreeId(0), &mut driver.kernel, Some(last));
        assert!((280..=300).contains(&others_ms(&driver)), "{:?}", usage(&driver));
    }
}

#[test]
fn zombie_root_counts_children_in_exit_pass() {
    let (mut driver, root) = one_plugin();
    let job = child(&mut driver, root);
    driver.kernel.run(job, 300 * MS);
    driver.kernel.exit(job);
    wait_for(&mut driver, job);
    driver.kernel.exit(root);
    driver.trees.begin_exit_pass(TreeId(0), &mut driver.kernel, None);
    driver.trees.set_root_reading(TreeId(0), RootReading::Zombie { cpu_time: None });
    driver.trees.finish_pass();
    assert!((280..=300).contains(&others_ms(&driver)), "{:?}", usage(&driver));
}

/// A child of the root that the host waits for is read before it is reaped, and the tick before has
/// found the root reaped: of the charges that its last times contain, none may be forgotten.
#[test]
fn late_last_times_pay_charges_of_members() {
    let (mut driver, root) = one_plugin();
    let worker = child(&mut driver, root);
    driver.tick();
    driver.kernel.run(worker, 300 * MS);
    // The pass reads the worker alive; the root waits for it, and is reaped, before it is read.
    driver.trees.begin_pass(&mut driver.kernel);
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    driver.kernel.exit(root);
    let children_cpu = Some(driver.kernel.children_cpu(root));
    driver.kernel.wait_for(root);
    driver.trees.set_root_reading(TreeId(0), RootReading::Reaped);
    driver.trees.finish_pass();
    let last = FinalRoot { cpu_time: CpuTime(1), children_cpu };
    driver.trees.exit_pass(TreeId(0), &mut driver.kernel, Some(last));
    assert_eq!(others_ms(&driver), 300);
}

/// Less than two clock ticks of what was waited for before the registration are hidden.
#[test]
fn late_last_times_do_not_show_what_was_hidden() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    let wait_for_job = |driver: &mut Driver, nanos| {
        let job = child(driver, root);
        driver.kernel.run(job, nanos);
        driver.kernel.exit(job);
        wait_for(driver, job);
    };
    // Less than a clock tick in each of the two numbers.
    wait_for_job(&mut driver, 14 * MS);
    driver.add(0, root, false);
    driver.tick();
    wait_for_job(&mut driver, 7 * MS);
    driver.kernel.exit(root);
    let children_cpu = Some(driver.kernel.children_cpu(root));
    assert_eq!(children_cpu, Some(CpuTime(10 * MS)));
    driver.kernel.wait_for(root);
    driver.trees.begin_pass(&mut driver.kernel);
    driver.trees.set_root_reading(TreeId(0), RootReading::Reaped);
    driver.trees.finish_pass();
    let last = FinalRoot { cpu_time: CpuTime(2), children_cpu };
    driver.trees.exit_pass(TreeId(0), &mut driver.kernel, Some(last));
    assert!(others_ms(&driver) <= 7, "{:?}", usage(&driver));
}

/// The last times of a reaped root contain those of a nested root that it had waited for, which were
/// counted in its own tree and are charged too late.
#[test]
fn last_times_of_reaped_root_do_not_show_nested_root() {
    let (mut driver, root) = one_plugin();
    let inner = child(&mut driver, root);
    driver.add(1, inner, false);
    driver.kernel.run(inner, 200 * MS);
    driver.tick();
    driver.kernel.exit(inner);
    wait_for(&mut driver, inner);
    driver.kernel.exit(root);
    let children_cpu = Some(driver.kernel.children_cpu(root));
    driver.kernel.wait_for(root);
    // This pass does not read the nested root.
    driver.trees.begin_exit_pass(TreeId(0), &mut driver.kernel, None);
    driver.trees.set_root_reading(TreeId(0), RootReading::Reaped);
    driver.trees.finish_pass();
    driver.tick();
    let last = FinalRoot { cpu_time: CpuTime(1), children_cpu };
    driver.trees.exit_pass(TreeId(0), &mut driver.kernel, Some(last));
    assert_eq!(others_ms(&driver), 0);
    driver.check().unwrap();
}

/// New members that were not proven, because the root was reaped in their first pass: what they had used
/// before is in its last times.
#[test]
fn last_times_do_not_show_unproven_members() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    driver.kernel.processes[root].is_subreaper = true;
    let middle = child(&mut driver, root);
    let leaf = child(&mut driver, middle);
    driver.kernel.run(leaf, 500 * MS);
    driver.add(0, root, false);
    driver.trees.begin_pass(&mut driver.kernel);
    for member in [middle, leaf] {
        driver.kernel.exit(member);
        wait_for(&mut driver, member);
    }
    driver.kernel.exit(root);
    let children_cpu = Some(driver.kernel.children_cpu(root));
    driver.kernel.wait_for(root);
    driver.trees.set_root_reading(TreeId(0), RootReading::Reaped);
    driver.trees.finish_pass();
    let last = FinalRoot { cpu_time: CpuTime(2), children_cpu };
    driver.trees.exit_pass(TreeId(0), &mut driver.kernel, Some(last));
    assert_eq!((others_ms(&driver), usage(&driver).processes), (0, 0));
}

/// What a root hides of a child that it did not create shows up with a later child.
#[test]
fn hidden_time_of_waited_for_orphan_counts_once() {
    let (mut driver, root) = one_plugin();
    driver.kernel.processes[root].is_subreaper = true;
    let middle = child(&mut driver, root);
    let leaf = child(&mut driver, middle);
    driver.tick();
    // 8 ms and 16 ms: the root shows 10 ms of them.
    driver.kernel.run(leaf, 24 * MS);
    driver.tick();
    for member in [middle, leaf] {
        driver.kernel.exit(member);
        wait_for(&mut driver, member);
    }
    for _ in 0..3 {
        end_stranger(&mut driver);
        driver.tick();
    }
    assert_eq!((others_ms(&driver), usage(&driver).processes), (24, 0));
    // 2 ms and 4 ms: it shows 30 ms.
    end_job(&mut driver, root, 6);
    driver.tick();
    assert_eq!(others_ms(&driver), 30);
    driver.check().unwrap();
}

/// A member that was reaped in the same pass is in the last times.
#[test]
fn last_times_pay_charges_of_the_same_pass() {
    let (mut driver, root) = one_plugin();
    let worker = child(&mut driver, root);
    driver.kernel.run(worker, 300 * MS);
    driver.tick();
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    driver.kernel.exit(root);
    let children_cpu = Some(driver.kernel.children_cpu(root));
    driver.kernel.wait_for(root);
    let last = FinalRoot { cpu_time: CpuTime(1), children_cpu };
    driver.trees.exit_pass(TreeId(0), &mut driver.kernel, Some(last));
    assert_eq!(others_ms(&driver), 300);
}

/// The enclosing tree counts what a nested root had waited for, as soon as it is waited for itself.
#[test]
fn last_times_of_nested_root_count_in_enclosing_tree() {
    let (mut driver, root) = one_plugin();
    let inner = child(&mut driver, root);
    driver.add(1, inner, false);
    driver.tick();
    end_job(&mut driver, inner, 300);
    driver.kernel.exit(inner);
    let children_cpu = Some(driver.kernel.children_cpu(inner));
    wait_for(&mut driver, inner);
    driver.tick();
    driver.tick();
    let last = FinalRoot { cpu_time: CpuTime(1), children_cpu };
    driver.trees.exit_pass(TreeId(1), &mut driver.kernel, Some(last));
    let inner = driver.trees.usage(TreeId(1)).unwrap().others_cpu.0 / MS;
    assert_eq!(inner, 0);
    assert!((280..=300).contains(&others_ms(&driver)), "{:?}", usage(&driver));
}

/// The last times of a root may contain processes that were missed when it was added.
#[test]
fn last_times_of_incomplete_tree_do_not_count() {
    for is_found_reaped in [false, true] {
        let mut driver = Driver::new(Kernel::new(SETTINGS));
        let root = driver.kernel.spawn(true).unwrap();
        let worker = child(&mut driver, root);
        driver.kernel.run(worker, 500 * MS);
        driver.kernel.can_open = false;
        driver.add(0, root, false);
        driver.kernel.exit(worker);
        wait_for(&mut driver, worker);
        driver.kernel.exit(root);
        let children_cpu = Some(driver.kernel.children_cpu(root));
        driver.kernel.wait_for(root);
        if is_found_reaped {
            driver.trees.begin_exit_pass(TreeId(0), &mut driver.kernel, None);
            driver.trees.set_root_reading(TreeId(0), RootReading::Reaped);
            driver.trees.finish_pass();
        }
        let last = FinalRoot { cpu_time: CpuTime(1), children_cpu };
        driver.trees.exit_pass(TreeId(0), &mut driver.kernel, Some(last));
        assert_eq!(others_ms(&driver), 0);
    }
}

/// The last times of a root that was reaped are outstanding, and a survivor goes on waiting for children.
#[test]
fn survivor_waits_beside_reaped_root() {
    let (mut driver, root) = one_plugin();
    let survivor = child(&mut driver, root);
    let worker = child(&mut driver, survivor);
    driver.kernel.run(worker, 300 * MS);
    driver.tick();
    driver.kernel.exit(root);
    driver.kernel.wait_for(root);
    driver.trees.begin_exit_pass(TreeId(0), &mut driver.kernel, None);
    driver.trees.set_root_reading(TreeId(0), RootReading::Reaped);
    driver.trees.finish_pass();
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    driver.tick();
    driver.tick();
    end_job(&mut driver, survivor, 300);
    driver.tick();
    assert!((580..=600).contains(&others_ms(&driver)), "{:?}", usage(&driver));
}

/// The host waits for the process by itself.
#[test]
fn last_times_of_forgotten_root_do_not_count() {
    let (mut driver, root) = one_plugin();
    end_job(&mut driver, root, 300);
    driver.kernel.exit(root);
    let children_cpu = Some(driver.kernel.children_cpu(root));
    driver.kernel.wait_for(root);
    driver.trees.begin_exit_pass(TreeId(0), &mut driver.kernel, None);
    driver.trees.set_root_reading(TreeId(0), RootReading::Reaped);
    driver.trees.finish_pass();
    driver.trees.forget_reaped_root(TreeId(0));
    let last = FinalRoot { cpu_time: CpuTime(1), children_cpu };
    driver.trees.exit_pass(TreeId(0), &mut driver.kernel, Some(last));
    assert_eq!(others_ms(&driver), 0);
}
