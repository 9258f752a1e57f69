//! The charges of reaped members: the members that they are posted to, and the pass in which they end.

use super::driver::Driver;
use super::edges::{MS, child, end_job, end_stranger, one_plugin, others_ms, usage, wait_for};
use super::kernel::{Event, EventKind};
use crate::engine::process_tree::tree::SharedCharges;
use crate::engine::process_tree::{FinalRoot, RootReading, TreeId};
use crate::history::units::CpuTime;
use crate::time::MonoNanos;

fn nested_ms(driver: &Driver) -> u64 {
    driver.trees.usage(TreeId(1)).unwrap().others_cpu.0 / MS
}

/// A nested tree with a worker that has used 300 ms.
fn nested_worker() -> (Driver, usize, usize, usize) {
    let (mut driver, root) = one_plugin();
    let inner = child(&mut driver, root);
    driver.add(1, inner, false);
    let worker = child(&mut driver, inner);
    driver.kernel.run(worker, 300 * MS);
    driver.tick();
    assert_eq!(nested_ms(&driver), 300);
    (driver, root, inner, worker)
}

/// A member that could not be read may have been reaped before the `children_cpu` of this pass was read.
#[test]
fn unread_member_makes_children_cpu_uncertain() {
    let (mut driver, root) = one_plugin();
    let worker = child(&mut driver, root);
    driver.kernel.run(worker, 300 * MS);
    driver.tick();
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    end_stranger(&mut driver);
    driver.kernel.unavailable.push(worker);
    driver.tick();
    assert_eq!(others_ms(&driver), 300);
    driver.kernel.unavailable.clear();
    driver.tick();
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (300, 0));
    // The uncertainty is over.
    end_job(&mut driver, root, 200);
    driver.tick();
    assert!((480..=500).contains(&others_ms(&driver)), "{:?}", usage(&driver));
}

/// The nested root has waited for the member, and the outer root for the nested one.
#[test]
fn unread_member_of_nested_tree_makes_outer_tree_uncertain() {
    let (mut driver, _, inner, worker) = nested_worker();
    for process in [worker, inner] {
        driver.kernel.exit(process);
        wait_for(&mut driver, process);
    }
    end_stranger(&mut driver);
    driver.kernel.unavailable.push(worker);
    driver.tick();
    driver.check().unwrap();
    driver.kernel.unavailable.clear();
    for _ in 0..3 {
        driver.tick();
        driver.check().unwrap();
    }
    assert_eq!((others_ms(&driver), nested_ms(&driver)), (0, 300));
}

/// Last times that contain a member that could not be read.
#[test]
fn unread_member_does_not_count_again_in_last_times() {
    let (mut driver, root) = one_plugin();
    let worker = child(&mut driver, root);
    driver.kernel.run(worker, 300 * MS);
    driver.tick();
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    driver.kernel.exit(root);
    let children_cpu = Some(driver.kernel.children_cpu(root));
    driver.kernel.wait_for(root);
    driver.kernel.unavailable.push(worker);
    let last = FinalRoot { cpu_time: CpuTime(1), children_cpu };
    driver.trees.exit_pass(TreeId(0), &mut driver.kernel, Some(last));
    assert_eq!(others_ms(&driver), 300);
}

/// Only the parent has waited, so that all of the outer tree's growth counts.
#[test]
fn charge_of_living_parent_leaves_outer_tree_alone() {
    let (mut driver, root, inner, worker) = nested_worker();
    // A zombie, and one more in each pass.
    let zombie = child(&mut driver, root);
    driver.kernel.exit(zombie);
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    for round in 1..4 {
        end_job(&mut driver, root, 100);
        let ended = child(&mut driver, inner);
        driver.tick();
        driver.kernel.exit(ended);
        let least = 100 * round - 20;
        assert!((least..=100 * round).contains(&others_ms(&driver)), "{:?}", usage(&driver));
    }
    assert_eq!(nested_ms(&driver), 300);
}

/// The kernel reaps the children of a process that ignores SIGCHLD, and it receives no time: the charge
/// is forgiven by the next pass, although the process sleeps.
#[test]
fn charge_of_sleeping_parent_is_forgiven_by_next_pass() {
    for is_root in [true, false] {
        let (mut driver, root) = one_plugin();
        let parent = if is_root { root } else { child(&mut driver, root) };
        let worker = child(&mut driver, parent);
        driver.kernel.run(worker, 300 * MS);
        driver.tick();
        let who = driver.kernel.present().iter().position(|&at| at == parent).unwrap() as u16;
        let ignore = Event { kind: EventKind::IgnoreSigchld, who, amount: 0 };
        driver.kernel.happen(ignore);
        driver.kernel.exit(worker);
        driver.tick();
        driver.tick();
        driver.kernel.happen(ignore);
        end_job(&mut driver, parent, 300);
        driver.tick();
        assert!((560..=600).contains(&others_ms(&driver)), "{:?}", usage(&driver));
    }
}

#[test]
fn unfollowed_process_counts_its_children_and_charges_its_parent() {
    let (mut driver, root) = one_plugin();
    let inner = child(&mut driver, root);
    driver.kernel.run(inner, 300 * MS);
    end_job(&mut driver, inner, 200);
    driver.kernel.exit(inner);
    let cpu_time = CpuTime(driver.kernel.processes[inner].cpu());
    let children_cpu = Some(driver.kernel.children_cpu(inner));
    let Some(CpuTime(children)) = children_cpu else { unreachable!() };
    wait_for(&mut driver, inner);
    let parent = driver.kernel.processes[root].pid;
    let last = FinalRoot { cpu_time, children_cpu };
    driver.trees.count_unfollowed(TreeId(1), last, parent, MonoNanos(1));
    assert_eq!(driver.trees.usage(TreeId(1)).unwrap().others_cpu.0, children);
    for _ in 0..3 {
        driver.tick();
    }
    // The rest of what it had waited for.
    assert!(others_ms(&driver) <= 20, "{:?}", usage(&driver));
}

/// What grows after the charges are paid.
fn unpaid(charges: &mut SharedCharges, growth: u64) -> u64 {
    let mut growth = growth;
    charges.pay(&mut growth);
    growth
}

#[test]
fn shared_charge_is_forgiven_but_for_hidden_part() {
    let mut charges = SharedCharges::default();
    charges.post(300 * MS, 2);
    charges.end_pass(false, 3);
    // The pass after the one in which it was posted could have paid it.
    assert_eq!(unpaid(&mut charges.clone(), 1_000 * MS), 700 * MS);
    charges.end_pass(false, 3);
    assert_eq!(charges.hidden(), 60 * MS);
    assert_eq!(unpaid(&mut charges, 1_000 * MS), 940 * MS);
    assert_eq!(unpaid(&mut charges, 1_000 * MS), 1_000 * MS);
}

/// As long as members are reaped, one of them may have had it in its own `children_cpu`.
#[test]
fn shared_charge_waits_for_as_many_passes_as_members_above() {
    let mut charges = SharedCharges::default();
    charges.post(300 * MS, 2);
    for _ in 0..3 {
        charges.end_pass(true, 3);
        assert_eq!(unpaid(&mut charges.clone(), 1_000 * MS), 700 * MS);
        // A later one with fewer members above.
        charges.post(0, 1);
    }
    charges.end_pass(true, 3);
    assert_eq!(unpaid(&mut charges.clone(), 1_000 * MS), 940 * MS);
    // The next one begins with its own depth.
    charges.post(300 * MS, 1);
    for expected in [640, 640, 940] {
        charges.end_pass(true, 3);
        assert_eq!(unpaid(&mut charges.clone(), 1_000 * MS), expected * MS);
    }
}

#[test]
fn exit_of_unrelated_root_does_not_end_passes() {
    let (mut driver, _) = one_plugin();
    let other = driver.kernel.spawn(true).unwrap();
    driver.add(1, other, true);
    let worker = child(&mut driver, other);
    driver.tick();
    driver.kernel.run(worker, 100 * MS);
    driver.trees.begin_exit_pass(TreeId(0), &mut driver.kernel, None);
    driver.trees.set_root_reading(TreeId(0), RootReading::Alive { cpu_time: None });
    driver.trees.finish_pass();
    assert_eq!(nested_ms(&driver), 0);
    driver.tick();
    assert_eq!(nested_ms(&driver), 100);
}

#[test]
fn charges_of_moved_members_are_added() {
    let mut charges = SharedCharges::default();
    charges.post(100 * MS, 1);
    let mut other = SharedCharges::default();
    other.post(300 * MS, 2);
    other.end_pass(true, 3);
    other.post(200 * MS, 1);
    charges.add(&other);
    assert_eq!(unpaid(&mut charges.clone(), 1_000 * MS), 400 * MS);
    // The depth is the other one's.
    for expected in [400, 400, 680] {
        charges.end_pass(true, 1);
        assert_eq!(unpaid(&mut charges.clone(), 1_000 * MS), expected * MS);
    }
}

/// The parent has not received the time, as is known after a reading that began later.
#[test]
fn charge_of_unfollowed_process_is_forgiven_by_next_pass() {
    let (mut driver, root) = one_plugin();
    let parent = driver.kernel.processes[root].pid;
    let last = FinalRoot { cpu_time: CpuTime(500 * MS), children_cpu: None };
    driver.trees.count_unfollowed(TreeId(1), last, parent, MonoNanos(1));
    driver.tick();
    end_job(&mut driver, root, 300);
    driver.tick();
    assert!((260..=300).contains(&others_ms(&driver)), "{:?}", usage(&driver));
}
