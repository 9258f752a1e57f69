//! Members that become roots, and move to another tree with what is below them.

use super::driver::Driver;
use super::edges::{MS, child, one_plugin, others_ms, wait_for};
use super::registration::{CALLS, orphaned_during_registration};
use crate::engine::process_tree::{FinalRoot, RootReading, TreeId};
use crate::history::units::CpuTime;

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
    for (calls, is_waited_for) in (0..CALLS).flat_map(|calls| [(calls, false), (calls, true)]) {
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
