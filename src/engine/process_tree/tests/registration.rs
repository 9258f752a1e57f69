//! Processes that exist when a root is added, or are born meanwhile.

use super::driver::Driver;
use super::edges::{
    MS, SETTINGS, bury, child, end_stranger, one_plugin, others_ms, start_lap, usage, wait_for,
};
use super::kernel::{Event, EventKind, HOST, Kernel};
use crate::engine::process_tree::roots::NewRoot;
use crate::engine::process_tree::{AddedRoot, RootReading, TreeId};
use crate::history::units::CpuTime;
use crate::time::MonoNanos;

/// More than a registration needs.
const CALLS: u8 = 30;

/// The same, but for Miri, where the cases of such a test take minutes.
const CALLS_OF_MANY: u8 = if cfg!(miri) { 5 } else { CALLS };

/// All calls of a registration; in Miri some.
pub(super) fn calls() -> impl Iterator<Item = u8> {
    (0..CALLS).step_by(if cfg!(miri) { 3 } else { 1 })
}

/// A process ends after so many calls of the source, and its parent waits for it.
fn end_during(driver: &mut Driver, calls: u8, process: usize, parent: usize) {
    let place = |of: usize| driver.kernel.present().iter().position(|&at| at == of).unwrap();
    let event = |kind, who: usize| Event { kind, who: who as u16, amount: 0 };
    let events = [
        (calls, event(EventKind::Exit, place(process))),
        (0, event(EventKind::Wait, place(parent))),
        // It is gone.
        (0, event(EventKind::Run, place(process))),
    ];
    driver.kernel.during = events.into();
}

/// A worker loses its parent after so many calls of a registration, and goes to `inner`, a child of
/// the root. It has used 500 ms before. Returns `inner` and the worker.
pub(super) fn orphaned_during_registration(calls: u8) -> (Driver, usize, usize) {
    orphaned(Driver::new(Kernel::new(SETTINGS)), calls)
}

/// The same. The root is not the first one, so that all are newborn for the next pass.
fn orphaned_after_first_pass(calls: u8) -> (Driver, usize, usize) {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let other = driver.kernel.spawn(true).unwrap();
    driver.add(4, other, true);
    driver.tick();
    orphaned(driver, calls)
}

fn orphaned(mut driver: Driver, calls: u8) -> (Driver, usize, usize) {
    let root = driver.kernel.spawn(false).unwrap();
    let inner = child(&mut driver, root);
    driver.kernel.processes[inner].is_subreaper = true;
    let middle = child(&mut driver, inner);
    let worker = child(&mut driver, middle);
    driver.kernel.run(worker, 500 * MS);
    end_during(&mut driver, calls, middle, inner);
    driver.add(0, root, false);
    driver.kernel.during.clear();
    (driver, inner, worker)
}

/// An orphan is found by the second pass at the latest.
#[test]
fn orphan_missed_by_registration_is_no_newborn() {
    for orphaned in [orphaned_during_registration, orphaned_after_first_pass] {
        for calls in calls() {
            let (mut driver, _, worker) = orphaned(calls);
            driver.tick();
            driver.tick();
            driver.kernel.run(worker, 70 * MS);
            driver.tick();
            assert_eq!(others_ms(&driver), 70, "{calls}");
        }
    }
}

/// A root whose parent could not be read may be a descendant of any other root.
#[test]
fn root_without_stat_counts_nowhere_else_when_it_is_waited_for() {
    for has_child in [false, true] {
        let mut driver = Driver::new(Kernel::new(SETTINGS));
        let outer = driver.kernel.spawn(false).unwrap();
        let inner = child(&mut driver, outer);
        driver.kernel.run(inner, 600 * MS);
        driver.kernel.can_stat = false;
        driver.add(1, inner, false);
        driver.kernel.can_stat = true;
        driver.add(0, outer, false);
        if has_child {
            let worker = child(&mut driver, inner);
            driver.kernel.run(worker, 300 * MS);
            driver.kernel.can_stat = false;
            driver.tick();
            driver.kernel.exit(worker);
            wait_for(&mut driver, worker);
            driver.kernel.can_stat = true;
        }
        driver.kernel.exit(inner);
        wait_for(&mut driver, inner);
        driver.tick();
        driver.tick();
        assert_eq!(others_ms(&driver), 0, "{has_child}");
        driver.check().unwrap();
    }
}

/// The pass that takes orphans in panics before it has opened all of them.
#[test]
fn orphan_is_no_newborn_after_a_panic_in_source() {
    for calls in 0..CALLS_OF_MANY {
        for panics_after in (0..12).step_by(if cfg!(miri) { 3 } else { 1 }) {
            let (mut driver, _, _) = orphaned_after_first_pass(calls);
            driver.tick();
            driver.kernel.panics_after = Some(panics_after);
            driver.tick();
            driver.kernel.panics_after = None;
            driver.tick();
            assert_eq!(others_ms(&driver), 0, "{calls}, {panics_after}");
            driver.check().unwrap();
        }
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
    let cases = (0..CALLS_OF_MANY).flat_map(|calls| passes.map(|pass| (calls, pass)));
    for ((calls, pass), lists_children) in cases.flat_map(|case| [(case, true), (case, false)]) {
        let mut driver = Driver::new(Kernel::new(SETTINGS));
        driver.kernel.settings.lists_children = lists_children;
        let (mut driver, _, worker) = orphaned(driver, calls);
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

/// A child that has used 500 ms, and that its parent waits for after so many calls of the registration.
/// Returns what counts.
fn child_waited_for_during_registration(
    calls: u8,
    lists_children: bool,
    prepare: impl FnOnce(&mut Kernel),
) -> u64 {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    driver.kernel.settings.lists_children = lists_children;
    let root = driver.kernel.spawn(false).unwrap();
    let inner = child(&mut driver, root);
    let leaf = child(&mut driver, inner);
    driver.kernel.run(leaf, 500 * MS);
    end_during(&mut driver, calls, leaf, inner);
    prepare(&mut driver.kernel);
    driver.add(0, root, false);
    driver.kernel.during.clear();
    (driver.kernel.settings.fails_every, driver.kernel.panics_after) = (None, None);
    for _ in 0..3 {
        driver.tick();
        driver.check().unwrap();
    }
    others_ms(&driver)
}

#[test]
fn child_waited_for_during_registration_does_not_count() {
    for (calls, lists_children) in calls().flat_map(|calls| [(calls, true), (calls, false)]) {
        let counted = child_waited_for_during_registration(calls, lists_children, |_| {});
        assert_eq!(counted, 0, "{calls}");
    }
}

/// Not even if a reading of the registration fails, so that the time may seem to be new.
#[test]
fn child_waited_for_during_failing_registration_does_not_count() {
    for (calls, lists_children) in
        (0..CALLS_OF_MANY).flat_map(|calls| [(calls, true), (calls, false)])
    {
        for fails_every in 2..u32::from(CALLS_OF_MANY) {
            let counted = child_waited_for_during_registration(calls, lists_children, |kernel| {
                (kernel.can_fail, kernel.settings.fails_every) = (true, Some(fails_every));
            });
            assert_eq!(counted, 0, "{calls}, {fails_every}");
        }
    }
}

/// The registration ends by a panic, before or after the child is missed.
#[test]
fn child_waited_for_during_panicking_registration_does_not_count() {
    for (calls, lists_children) in
        (0..CALLS_OF_MANY).flat_map(|calls| [(calls, true), (calls, false)])
    {
        for panics_after in 0..CALLS_OF_MANY {
            let counted = child_waited_for_during_registration(calls, lists_children, |kernel| {
                kernel.panics_after = Some(panics_after);
            });
            assert_eq!(counted, 0, "{calls}, {panics_after}");
        }
    }
}

/// The first root has missed a process, which no registration of a second one below it finds.
#[test]
fn second_root_before_first_pass_does_not_complete_tree() {
    for calls in calls() {
        let (mut driver, _, worker) = orphaned_during_registration(calls);
        let second = driver.kernel.spawn(false).unwrap();
        driver.add(0, second, false);
        driver.kernel.exit(worker);
        wait_for(&mut driver, worker);
        for _ in 0..3 {
            driver.tick();
            driver.check().unwrap();
        }
        assert_eq!(others_ms(&driver), 0, "{calls}");
    }
}

/// The list of all processes is read instead.
#[test]
fn children_that_cannot_be_listed_are_found() {
    for is_spawned in [true, false] {
        let mut driver = Driver::new(Kernel::new(SETTINGS));
        let root = driver.kernel.spawn(false).unwrap();
        let inner = child(&mut driver, root);
        let leaf = child(&mut driver, inner);
        driver.kernel.unlisted.push(inner);
        driver.add(0, root, is_spawned);
        let pid = driver.kernel.processes[leaf].pid;
        assert!(driver.trees.members.with_pid(pid).is_some());
    }
}

/// The pid of a child belonged to a member of another tree, which was reaped since the last tick.
#[test]
fn child_with_pid_of_reaped_member_exists_already() {
    let (mut driver, first) = one_plugin();
    let worker = child(&mut driver, first);
    driver.kernel.run(worker, 300 * MS);
    let root = driver.kernel.spawn(true).unwrap();
    driver.tick();
    let pid = driver.kernel.processes[worker].pid;
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    bury(&mut driver, worker);
    start_lap(&mut driver);
    let successor = child(&mut driver, root);
    assert_eq!(driver.kernel.processes[successor].pid, pid);
    driver.kernel.run(successor, 100 * MS);
    driver.add(1, root, false);
    for _ in 0..3 {
        driver.tick();
        driver.check().unwrap();
    }
    let nested = driver.trees.usage(TreeId(1)).unwrap();
    assert_eq!((nested.others_cpu.0, nested.processes), (0, 1));
    assert_eq!(others_ms(&driver), 300);
}

#[test]
fn root_with_pid_of_reaped_member_is_another_process() {
    let (mut driver, first) = one_plugin();
    let worker = child(&mut driver, first);
    driver.kernel.run(worker, 300 * MS);
    end_stranger(&mut driver);
    driver.tick();
    let pid = driver.kernel.processes[worker].pid;
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    bury(&mut driver, worker);
    start_lap(&mut driver);
    let successor = driver.kernel.spawn(true).unwrap();
    assert_eq!(driver.kernel.processes[successor].pid, pid);
    let cpu_time = Some(CpuTime(driver.kernel.processes[successor].cpu()));
    let new = NewRoot { pid, cpu_time, counts_from_start: false };
    let added = driver.trees.add_root(TreeId(1), new, MonoNanos(1), &mut driver.kernel);
    assert_eq!(added, AddedRoot::Followed { counts_from: None });
    driver.tick();
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (300, 0));
}

/// A process of the root's session whose parent ends at any moment of the pass that finds it.
#[test]
fn session_proves_newborn_whose_parent_ends() {
    for calls in calls() {
        let (mut driver, root) = one_plugin();
        driver.tick();
        let middle = child(&mut driver, root);
        let leaf = child(&mut driver, middle);
        driver.kernel.run(leaf, 100 * MS);
        end_during(&mut driver, calls, middle, root);
        driver.tick();
        driver.kernel.during.clear();
        driver.tick();
        assert_eq!((others_ms(&driver), usage(&driver).processes >= 1), (100, true), "{calls}");
    }
}

/// An existing process that cannot be opened at first. Each pass lists all processes if the last pid is
/// not known.
#[test]
fn process_that_could_not_be_opened_is_tried_again() {
    for reports_last_pid in [true, false] {
        let mut driver = Driver::new(Kernel::new(SETTINGS));
        driver.kernel.settings.reports_last_pid = reports_last_pid;
        let root = driver.kernel.spawn(true).unwrap();
        let worker = child(&mut driver, root);
        driver.kernel.run(worker, 500 * MS);
        driver.kernel.forks_left = 100;
        (0..80).for_each(|_| end_stranger(&mut driver));
        driver.kernel.unavailable.push(worker);
        driver.add(0, root, false);
        if !reports_last_pid {
            driver.tick();
        }
        driver.kernel.unavailable.clear();
        driver.tick();
        driver.kernel.run(worker, 70 * MS);
        driver.tick();
        assert_eq!((others_ms(&driver), usage(&driver).processes), (70, 1));
    }
}

#[test]
fn ancestors_end_with_the_first_process() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    driver.add(0, root, true);
    assert_eq!(driver.trees.trees[0].as_ref().unwrap().above, [2, 1]);
}

#[test]
fn number_of_ancestors_is_bounded() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    driver.kernel.max_processes = 100;
    driver.kernel.forks_left = 100;
    let root = (0..80).fold(HOST, |parent, _| child(&mut driver, parent));
    driver.add(0, root, true);
    assert_eq!(driver.trees.trees[0].as_ref().unwrap().above.len(), 64);
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

/// As long as processes may be missing, their number is not known.
#[test]
fn failed_registration_is_incomplete_until_next_pass() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(false).unwrap();
    child(&mut driver, root);
    driver.kernel.can_stat = false;
    driver.add(0, root, false);
    driver.kernel.can_stat = true;
    assert!(!usage(&driver).is_complete);
    driver.tick();
    assert!(usage(&driver).is_complete);
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
