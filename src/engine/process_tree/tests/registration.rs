//! Processes that exist when a root is added, or are born meanwhile.

use super::driver::Driver;
use super::edges::{MS, SETTINGS, child, others_ms, usage, wait_for};
use super::kernel::{Event, EventKind, Kernel};
use crate::engine::process_tree::{RootReading, TreeId};

/// More than a registration needs.
pub(super) const CALLS: u8 = 30;

/// A worker loses its parent after so many calls of a registration, and goes to `inner`, a child of
/// the root. It has used 500 ms before. Returns `inner` and the worker.
pub(super) fn orphaned_during_registration(calls: u8) -> (Driver, usize, usize) {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(false).unwrap();
    let inner = child(&mut driver, root);
    driver.kernel.processes[inner].is_subreaper = true;
    let middle = child(&mut driver, inner);
    let worker = child(&mut driver, middle);
    driver.kernel.run(worker, 500 * MS);
    let place = |of: usize| driver.kernel.present().iter().position(|&at| at == of).unwrap();
    let event = |kind, who: usize| Event { kind, who: who as u16, amount: 0 };
    let events = [
        (calls, event(EventKind::Exit, place(middle))),
        (0, event(EventKind::Wait, place(inner))),
        // It is gone.
        (0, event(EventKind::Run, place(middle))),
    ];
    driver.kernel.during = events.into();
    driver.add(0, root, false);
    driver.kernel.during.clear();
    (driver, inner, worker)
}

/// An orphan is found by the second pass at the latest.
#[test]
fn orphan_missed_by_registration_is_no_newborn() {
    for calls in 0..CALLS {
        let (mut driver, _, worker) = orphaned_during_registration(calls);
        driver.tick();
        driver.tick();
        driver.kernel.run(worker, 70 * MS);
        driver.tick();
        assert_eq!(others_ms(&driver), 70, "{calls}");
    }
}

/// A pass that neither finds an orphan, nor what its new parent has waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Incomplete {
    None,
    /// Before the parent waits.
    Exit,
    /// After the parent has waited.
    WithoutStat,
}

/// Whatever a descendant has used before the registration is in no `children_cpu` that counts.
#[test]
fn orphan_waited_for_after_registration_does_not_count() {
    let passes = [Incomplete::None, Incomplete::Exit, Incomplete::WithoutStat];
    for (calls, pass) in (0..CALLS).flat_map(|calls| passes.map(|pass| (calls, pass))) {
        let (mut driver, _, worker) = orphaned_during_registration(calls);
        if pass == Incomplete::Exit {
            driver.trees.begin_exit_pass(TreeId(0), &mut driver.kernel, None);
            driver.trees.set_root_reading(TreeId(0), RootReading::Alive { cpu_time: None });
            driver.trees.finish_pass();
        }
        driver.kernel.exit(worker);
        wait_for(&mut driver, worker);
        driver.kernel.can_stat = pass != Incomplete::WithoutStat;
        driver.tick();
        driver.kernel.can_stat = true;
        for _ in 0..3 {
            driver.tick();
            driver.check().unwrap();
        }
        assert_eq!(others_ms(&driver), 0, "{calls} {pass:?}");
    }
}

/// A pid is assigned a moment before there is a process, and no list has it then.
#[test]
fn process_born_during_registration_is_taken_in() {
    for lists_children in [false, true] {
        let mut driver = Driver::new(Kernel::new(SETTINGS));
        driver.kernel.settings.lists_children = lists_children;
        let root = driver.kernel.spawn(false).unwrap();
        driver.kernel.fork(root).unwrap();
        driver.add(0, root, false);
        driver.tick();
        assert_eq!(usage(&driver).processes, 1);
    }
}

/// The next pass finds what was missing, so that the one after it counts.
#[test]
fn incomplete_registration_is_completed_by_next_pass() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(false).unwrap();
    driver.kernel.fork(root).unwrap();
    driver.add(0, root, false);
    driver.tick();
    let job = child(&mut driver, root);
    driver.kernel.run(job, 300 * MS);
    driver.kernel.exit(job);
    wait_for(&mut driver, job);
    driver.tick();
    assert!((280..=300).contains(&others_ms(&driver)), "{:?}", usage(&driver));
}
