//! Single rules.

use super::driver::Driver;
use super::kernel::{Counts, Event, EventKind, HOST, Kernel, KernelSettings, State};
use crate::engine::process_tree::roots::NewRoot;
use crate::engine::process_tree::{AddedRoot, RootReading, TreeId};
use crate::engine::process_tree::{MAX_MEMBERS, MAX_TREE_MEMBERS, ProcessTrees, TreeUsage};
use crate::history::units::{CpuShare, CpuTime};
use crate::os::tree::TreeSource;
use crate::time::MonoNanos;

pub(super) const MS: u64 = 1_000_000;
pub(super) const SETTINGS: KernelSettings = KernelSettings {
    last_pid_of_lap: 30_000,
    reports_last_pid: true,
    lists_children: true,
    is_polite: false,
    fails_every: None,
    limits: None,
    is_traced: false,
};

/// A kernel with one registered plugin in slot 0.
pub(super) fn one_plugin() -> (Driver, usize) {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(true).unwrap();
    driver.add(0, root, true);
    driver.tick();
    (driver, root)
}

pub(super) fn child(driver: &mut Driver, of: usize) -> usize {
    let child = driver.kernel.fork(of).unwrap();
    driver.kernel.be_born();
    child
}

pub(super) fn usage(driver: &Driver) -> TreeUsage {
    driver.trees.usage(TreeId(0)).unwrap()
}

pub(super) fn others_ms(driver: &Driver) -> u64 {
    usage(driver).others_cpu.0 / MS
}

pub(super) fn wait_for(driver: &mut Driver, child: usize) {
    let parent = driver.kernel.processes[child].parent;
    driver.kernel.run(parent, 1);
    driver.kernel.wait_for(child);
}

pub(super) fn end(driver: &mut Driver, child: usize) {
    driver.kernel.exit(child);
    wait_for(driver, child);
    bury(driver, child);
}

/// A child that no pass sees uses this time, and is waited for.
pub(super) fn end_job(driver: &mut Driver, of: usize, ms: u64) {
    let job = child(driver, of);
    driver.kernel.run(job, ms * MS);
    end(driver, job);
}

/// Uses up the pids of the lap: the next process has the lowest free pid.
pub(super) fn start_lap(driver: &mut Driver) {
    let stranger = child(driver, HOST);
    driver.kernel.settings.last_pid_of_lap = driver.kernel.processes[stranger].pid + 4;
    driver.kernel.forks_left = 4;
    for _ in 0..4 {
        end_stranger(driver);
    }
    driver.kernel.forks_left = 4;
}

/// A process outside of all trees is born and ends: the next pass reads all `children_cpu`.
pub(super) fn end_stranger(driver: &mut Driver) {
    let stranger = child(driver, HOST);
    driver.kernel.exit(stranger);
    wait_for(driver, stranger);
    bury(driver, stranger);
}

/// A process that was waited for is gone.
pub(super) fn bury(driver: &mut Driver, process: usize) {
    let who = driver.kernel.present().iter().position(|&at| at == process).unwrap();
    driver.kernel.happen(Event { kind: EventKind::Run, who: who as u16, amount: 0 });
    assert_eq!(driver.kernel.processes[process].state, State::Gone);
}

#[test]
fn quiet_root_costs_one_last_pid_a_pass() {
    let (mut driver, _) = one_plugin();
    driver.tick();
    driver.kernel.counts = Counts::default();
    driver.trees.begin_pass(&mut driver.kernel);
    driver.trees.set_root_reading(TreeId(0), RootReading::Alive { cpu_time: Some(CpuTime(0)) });
    driver.trees.finish_pass();
    assert_eq!(driver.kernel.counts, Counts { last_pids: 1, ..Counts::default() });
}

#[test]
fn no_tree_needs_no_source() {
    let mut kernel = Kernel::new(SETTINGS);
    let mut trees = ProcessTrees::new();
    trees.begin_pass(&mut kernel);
    trees.finish_pass();
    assert_eq!(kernel.counts, Counts::default());
    assert_eq!(trees.usage(TreeId(0)), None);
}

#[test]
fn foreign_fork_reads_no_sleeping_root() {
    let (mut driver, _) = one_plugin();
    driver.tick();
    let stranger = child(&mut driver, HOST);
    driver.kernel.exit(stranger);
    driver.kernel.wait_for(stranger);
    driver.kernel.be_born();
    driver.kernel.counts = Counts::default();
    driver.tick();
    assert_eq!(driver.kernel.counts.stats, 0);
}

#[test]
fn child_counts_once_alive_and_waited_for() {
    let (mut driver, root) = one_plugin();
    let worker = child(&mut driver, root);
    driver.kernel.run(worker, 300 * MS);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (300, 1));
    driver.kernel.run(worker, 200 * MS);
    driver.kernel.exit(worker);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (500, 0));
    wait_for(&mut driver, worker);
    for _ in 0..3 {
        driver.tick();
    }
    assert_eq!(others_ms(&driver), 500);
}

#[test]
fn unseen_child_counts_when_waited_for() {
    let (mut driver, root) = one_plugin();
    let job = child(&mut driver, root);
    driver.kernel.run(job, 300 * MS);
    driver.kernel.exit(job);
    wait_for(&mut driver, job);
    driver.tick();
    driver.tick();
    assert!((280..=300).contains(&others_ms(&driver)), "{:?}", usage(&driver));
}

#[test]
fn existing_descendants_count_from_registration() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(false).unwrap();
    let middle = child(&mut driver, root);
    let leaf = child(&mut driver, middle);
    driver.kernel.run(leaf, 500 * MS);
    driver.add(0, root, false);
    driver.kernel.run(leaf, 70 * MS);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (70, 2));
}

#[test]
fn spawned_root_counts_descendants_from_start() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(false).unwrap();
    let leaf = child(&mut driver, root);
    driver.kernel.run(leaf, 500 * MS);
    driver.add(0, root, true);
    driver.tick();
    assert_eq!(others_ms(&driver), 500);
}

#[test]
fn orphan_in_roots_session_is_taken_in() {
    let (mut driver, root) = one_plugin();
    let middle = child(&mut driver, root);
    let daemon = child(&mut driver, middle);
    driver.kernel.processes[daemon].group = 0;
    driver.kernel.exit(middle);
    driver.kernel.run(daemon, 40 * MS);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (40, 1));
}

#[test]
fn sibling_in_roots_group_is_not_taken_in() {
    let (mut driver, root) = one_plugin();
    let sibling = child(&mut driver, HOST);
    driver.kernel.processes[sibling].group = driver.kernel.processes[root].pid;
    driver.tick();
    assert_eq!(usage(&driver).processes, 0);
}

#[test]
fn surviving_root_counts_in_its_tree() {
    let (mut driver, root) = one_plugin();
    driver.kernel.run(root, 100 * MS);
    driver.tick();
    driver.stop(0);
    driver.kernel.run(root, 30 * MS);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (30, 1));
    let next = driver.kernel.spawn(true).unwrap();
    driver.add(0, next, true);
    driver.tick();
    assert_eq!(usage(&driver).processes, 1);
}

#[test]
fn member_that_becomes_root_moves_with_subtree() {
    let (mut driver, root) = one_plugin();
    let inner = child(&mut driver, root);
    let leaf = child(&mut driver, inner);
    driver.kernel.run(leaf, 100 * MS);
    driver.tick();
    driver.add(1, inner, false);
    driver.kernel.run(leaf, 50 * MS);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (100, 0));
    let inner_usage = driver.trees.usage(TreeId(1)).unwrap();
    assert_eq!((inner_usage.others_cpu.0, inner_usage.processes), (50 * MS, 1));
}

#[test]
fn same_process_in_two_plugins_is_reported() {
    let (mut driver, root) = one_plugin();
    let pid = driver.kernel.processes[root].pid;
    let new = NewRoot { pid, cpu_time: None, counts_from_start: false };
    let added = driver.trees.add_root(TreeId(1), new, MonoNanos(1), &mut driver.kernel);
    assert_eq!(added, AddedRoot::RootOf(TreeId(0)));
    assert_eq!(driver.trees.root_pid(TreeId(0)), Some(pid));
    driver.stop(0);
    assert_eq!(driver.trees.root_pid(TreeId(0)), None);
}

#[test]
fn removed_tree_is_forgotten() {
    let (mut driver, root) = one_plugin();
    child(&mut driver, root);
    driver.tick();
    driver.trees.remove_tree(TreeId(0));
    assert_eq!(driver.trees.usage(TreeId(0)), None);
    assert!(driver.trees.trees.iter().all(Option::is_none));
    driver.kernel.counts = Counts::default();
    driver.trees.begin_pass(&mut driver.kernel);
    driver.trees.finish_pass();
    assert_eq!(driver.kernel.counts, Counts::default());
}

#[test]
fn shares_are_summed_by_member_and_interval() {
    let (mut driver, root) = one_plugin();
    let worker = child(&mut driver, root);
    driver.tick();
    let trees = &mut driver.trees;
    let first_at = trees.members.iter().find_map(|(_, member)| member.reading).unwrap().at;
    assert_eq!(trees.take_share(TreeId(0), MonoNanos(500), 500), None);
    // Exactly as long as it must be.
    let share = trees.take_share(TreeId(0), first_at, first_at.0 - 1);
    assert_eq!(share, Some(CpuShare(0)));
    driver.kernel.run(worker, 1_000);
    driver.tick();
    let list: Vec<_> = driver.trees.processes(TreeId(0)).collect();
    assert_eq!((list.len(), list[0].cpu), (1, Some(CpuShare(0))));
    let at = driver.trees.members.iter().find_map(|(_, member)| member.reading).unwrap().at;
    let wall = at.0 - first_at.0;
    let share = driver.trees.take_share(TreeId(0), at, 0);
    assert_eq!(share, CpuShare::from_times(CpuTime(1_000), wall));
    assert_eq!(driver.trees.processes(TreeId(0)).next().unwrap().cpu, share);
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn limit_of_members_is_reported_once() {
    let (mut driver, root) = one_plugin();
    driver.kernel.max_processes = 2 * MAX_TREE_MEMBERS;
    let workers: Vec<usize> = (0..=MAX_TREE_MEMBERS).map(|_| child(&mut driver, root)).collect();
    driver.kernel.counts = Counts::default();
    driver.tick();
    assert_eq!(driver.kernel.counts.lists, 1);
    assert_eq!(usage(&driver).processes as usize, MAX_TREE_MEMBERS);
    assert!(!usage(&driver).is_complete);
    assert!(driver.trees.take_limit_warning() && !driver.trees.take_limit_warning());
    driver.kernel.exit(workers[0]);
    wait_for(&mut driver, workers[0]);
    driver.tick();
    assert!(!usage(&driver).is_complete, "one is still missing");
    driver.tick();
    assert_eq!(usage(&driver).processes as usize, MAX_TREE_MEMBERS);
    assert!(usage(&driver).is_complete);
    driver.kernel.run(*workers.last().unwrap(), 50 * MS);
    driver.tick();
    assert_eq!(others_ms(&driver), 50, "all are followed");
    driver.check().unwrap();
}

/// The sum of shares of which each fits.
#[test]
fn largest_share_fits_into_a_sample() {
    let (mut driver, root) = one_plugin();
    let workers = [child(&mut driver, root), child(&mut driver, root)];
    driver.tick();
    let newest = |driver: &Driver| {
        let readings = driver.trees.members.iter().filter_map(|(_, member)| member.reading);
        readings.map(|reading| reading.at).max().unwrap()
    };
    let mut tick = |cpu: u64| {
        let before = newest(&driver);
        workers.iter().for_each(|&worker| driver.kernel.run(worker, cpu));
        driver.tick();
        let at = newest(&driver);
        (at.0 - before.0, driver.trees.take_share(TreeId(0), at, 0))
    };
    // The time between two readings of a quiet tick.
    tick(0);
    let (wall, _) = tick(0);
    let cores = 30_000;
    assert_eq!(tick(wall * cores), (wall, Some(CpuShare(u32::MAX - 2))));
    let one = CpuShare::from_times(CpuTime(wall * 20), wall).unwrap();
    assert_eq!(tick(wall * 10), (wall, Some(one)));
}

#[test]
#[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
fn limit_of_all_members_is_reported() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    driver.kernel.max_processes = 2 * MAX_MEMBERS;
    driver.kernel.forks_left = 2 * MAX_MEMBERS as u32;
    for slot in 0..5 {
        let root = driver.kernel.spawn(true).unwrap();
        driver.add(slot, root, true);
        for _ in 0..900 {
            driver.kernel.fork(root).unwrap();
        }
    }
    driver.tick();
    assert_eq!(driver.trees.members.len(), MAX_MEMBERS);
    assert!(driver.trees.take_limit_warning());
}

#[test]
fn panic_in_source_keeps_trees_usable() {
    let (mut driver, root) = one_plugin();
    let worker = child(&mut driver, root);
    driver.kernel.run(worker, 50 * MS);
    driver.kernel.panics_at_open = true;
    let pass = std::panic::AssertUnwindSafe(|| driver.trees.begin_pass(&mut driver.kernel));
    assert!(std::panic::catch_unwind(pass).is_err());
    driver.trees.finish_pass();
    driver.kernel.panics_at_open = false;
    driver.tick();
    driver.check().unwrap();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (50, 1));
}

#[test]
fn unknown_memory_of_member_makes_sum_unknown() {
    let (mut driver, root) = one_plugin();
    let worker = child(&mut driver, root);
    driver.tick();
    assert_eq!(usage(&driver).resident, Some(4_096));
    driver.kernel.has_memory = false;
    driver.tick();
    assert_eq!(usage(&driver).resident, None);
    driver.kernel.exit(worker);
    driver.tick();
    assert_eq!(usage(&driver).resident, Some(0));
    assert_eq!(driver.kernel.processes[worker].state, State::Zombie);
}

#[test]
fn failed_list_makes_usage_incomplete() {
    let (mut driver, root) = one_plugin();
    driver.kernel.settings.reports_last_pid = false;
    driver.kernel.can_list = false;
    child(&mut driver, root);
    driver.tick();
    assert!(!usage(&driver).is_complete);
    driver.kernel.can_list = true;
    driver.tick();
    assert!(usage(&driver).is_complete && usage(&driver).processes == 1);
    let mut pids = Vec::new();
    driver.kernel.list(&mut pids).unwrap();
    assert_eq!(pids.len(), 4);
}

#[test]
fn root_that_cannot_be_opened_is_held_by_a_later_pass() {
    let (mut driver, root) = one_plugin();
    driver.kernel.run(root, 100 * MS);
    driver.tick();
    driver.kernel.can_open = false;
    driver.stop(0);
    driver.tick();
    assert_eq!(usage(&driver).processes, 1);
    driver.kernel.can_open = true;
    driver.kernel.run(root, 30 * MS);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (30, 1));
    driver.kernel.exit(root);
    driver.kernel.wait_for(root);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (30, 0));
}

/// The pid of a root that could not be opened belongs to another process by then.
#[test]
fn successor_of_lost_root_is_not_held() {
    let (mut driver, root) = one_plugin();
    let pid = driver.kernel.processes[root].pid;
    let last = child(&mut driver, HOST);
    driver.tick();
    driver.kernel.can_open = false;
    driver.stop(0);
    driver.kernel.exit(root);
    driver.kernel.wait_for(root);
    bury(&mut driver, root);
    driver.kernel.settings.last_pid_of_lap = driver.kernel.processes[last].pid;
    let stranger = child(&mut driver, HOST);
    driver.kernel.can_open = true;
    assert_eq!(driver.kernel.processes[stranger].pid, pid);
    driver.kernel.run(stranger, 100 * MS);
    driver.tick();
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (0, 0));
}

#[test]
fn panic_while_member_becomes_root_changes_nothing() {
    let (mut driver, root) = one_plugin();
    let inner = child(&mut driver, root);
    driver.tick();
    for calls in 0..5 {
        let pid = driver.kernel.processes[inner].pid;
        let new = NewRoot { pid, cpu_time: Some(CpuTime(0)), counts_from_start: false };
        (driver.kernel.can_fail, driver.kernel.panics_after) = (true, Some(calls));
        driver.kernel.is_source = true;
        let add = std::panic::AssertUnwindSafe(|| {
            driver.trees.add_root(TreeId(1), new, MonoNanos(1), &mut driver.kernel)
        });
        let added = std::panic::catch_unwind(add);
        driver.kernel.is_source = false;
        driver.kernel.panics_after = None;
        match added {
            Ok(added) => assert_eq!((calls, added), (4, AddedRoot::RootOf(TreeId(1)))),
            Err(_) => assert_eq!(driver.trees.root_pid(TreeId(1)), None),
        }
    }
}

#[test]
fn unfinished_pass_reads_children_again() {
    let (mut driver, root) = one_plugin();
    let worker = child(&mut driver, root);
    driver.tick();
    let job = child(&mut driver, worker);
    driver.kernel.run(job, 300 * MS);
    driver.kernel.exit(job);
    wait_for(&mut driver, job);
    bury(&mut driver, job);
    // In the last reading of the pass.
    driver.kernel.counts = Counts::default();
    driver.kernel.panics_at_read = true;
    let pass = std::panic::AssertUnwindSafe(|| driver.trees.begin_pass(&mut driver.kernel));
    assert!(std::panic::catch_unwind(pass).is_err());
    assert!(driver.kernel.counts.stats > 0, "{:?}", driver.kernel.counts);
    driver.kernel.panics_at_read = false;
    driver.tick();
    assert!((280..=300).contains(&others_ms(&driver)), "{:?}", usage(&driver));
}

/// A child that was not taken in by the first pass, because its parent has exited, is not a newborn one.
#[test]
fn existing_orphan_counts_from_registration() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let root = driver.kernel.spawn(false).unwrap();
    driver.kernel.processes[root].is_subreaper = true;
    let middle = child(&mut driver, root);
    let leaf = child(&mut driver, middle);
    driver.kernel.processes[leaf].session = 0;
    driver.kernel.run(leaf, 500 * MS);
    driver.add(0, root, false);
    driver.kernel.exit(middle);
    wait_for(&mut driver, middle);
    driver.tick();
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (0, 1));
    driver.kernel.run(leaf, 70 * MS);
    driver.kernel.exit(leaf);
    wait_for(&mut driver, leaf);
    driver.tick();
    driver.tick();
    assert!(others_ms(&driver) <= 70, "{:?}", usage(&driver));
}

#[test]
fn second_root_of_tree_keeps_age_of_processes() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let first = driver.kernel.spawn(false).unwrap();
    driver.kernel.settings.lists_children = false;
    let worker = child(&mut driver, first);
    driver.kernel.run(worker, 500 * MS);
    driver.kernel.can_list = false;
    driver.add(0, first, false);
    driver.kernel.can_list = true;
    let second = driver.kernel.spawn(false).unwrap();
    driver.add(0, second, true);
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (0, 2));
}

#[test]
fn failed_lists_keep_age_of_processes() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    driver.kernel.settings.lists_children = false;
    driver.kernel.can_list = false;
    let root = driver.kernel.spawn(false).unwrap();
    let worker = child(&mut driver, root);
    driver.kernel.run(worker, 500 * MS);
    driver.add(0, root, false);
    driver.tick();
    driver.kernel.can_list = true;
    driver.tick();
    assert_eq!((others_ms(&driver), usage(&driver).processes), (0, 1));
    // Nor does it count if it had been waited for in between.
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    driver.tick();
    driver.tick();
    assert_eq!(others_ms(&driver), 0);
}

#[test]
fn children_of_incompletely_added_root_do_not_count() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    driver.kernel.settings.lists_children = false;
    driver.kernel.can_list = false;
    let root = driver.kernel.spawn(false).unwrap();
    let worker = child(&mut driver, root);
    driver.kernel.run(worker, 500 * MS);
    driver.add(0, root, false);
    driver.kernel.exit(worker);
    wait_for(&mut driver, worker);
    driver.kernel.can_list = true;
    driver.tick();
    driver.tick();
    assert_eq!(others_ms(&driver), 0);
    let job = child(&mut driver, root);
    driver.kernel.run(job, 100 * MS);
    driver.kernel.exit(job);
    wait_for(&mut driver, job);
    driver.tick();
    assert!((80..=100).contains(&others_ms(&driver)), "{:?}", usage(&driver));
}

#[test]
fn root_without_stat_is_placed_by_the_next_pass() {
    let (mut driver, root) = one_plugin();
    let inner = driver.kernel.fork(root).unwrap();
    driver.kernel.be_born();
    driver.kernel.can_stat = false;
    driver.add(1, inner, true);
    driver.kernel.can_stat = true;
    driver.tick();
    let parents = driver.trees.members.iter().map(|(_, member)| member.parent);
    assert_eq!(parents.flatten().count(), 1);
}

#[test]
fn quiet_pass_without_processes_needs_no_source() {
    let (mut driver, root) = one_plugin();
    driver.kernel.exit(root);
    driver.kernel.wait_for(root);
    driver.tick();
    driver.stop(0);
    driver.kernel.counts = Counts::default();
    driver.tick();
    assert_eq!(driver.kernel.counts, Counts::default());
    assert!(usage(&driver).is_complete);
}

/// A survivor is no descendant of the ancestors of the next root.
#[test]
fn survivor_is_charged_to_its_own_parent() {
    let mut driver = Driver::new(Kernel::new(SETTINGS));
    let survivor = driver.kernel.spawn(true).unwrap();
    driver.add(0, survivor, true);
    let other = driver.kernel.spawn(true).unwrap();
    driver.add(1, other, true);
    let inner = child(&mut driver, other);
    driver.tick();
    driver.add(0, inner, true);
    driver.tick();
    driver.kernel.run(survivor, 300 * MS);
    driver.tick();
    driver.add(2, HOST, false);
    driver.kernel.exit(survivor);
    wait_for(&mut driver, survivor);
    for _ in 0..4 {
        driver.tick();
    }
    driver.check().unwrap();
}

/// Wherever a pass ends by a panic, the next one counts a job that the sleeping root has waited for.
#[test]
fn pass_after_panic_counts_what_was_due() {
    let mut panics = 0;
    for calls in 0..20 {
        let (mut driver, root) = one_plugin();
        driver.tick();
        let job = child(&mut driver, root);
        driver.kernel.run(job, 300 * MS);
        driver.kernel.exit(job);
        driver.kernel.wait_for(job);
        driver.kernel.panics_after = Some(calls);
        let pass = driver.with_source(|trees, source| trees.begin_pass(source));
        panics += u32::from(pass.is_none());
        driver.kernel.panics_after = None;
        driver.tick();
        assert!((280..=300).contains(&others_ms(&driver)), "{calls}: {:?}", usage(&driver));
    }
    assert!((1..20).contains(&panics), "{panics}");
}
