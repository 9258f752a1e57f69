//! Tests on real processes.

mod descriptors;
mod identity;

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use plugmeter_test_support::isolated_process::{AS_NOBODY, enter_isolated, lacks_root};
use plugmeter_test_support::{ChildGuard, report_missing, shell, sleeper, wait_for};

use super::cursor::{PidCursor, Source};
use super::*;
use crate::os::linux::NativeProbe;
use crate::os::linux::cpu_source::cpu_time;
use crate::os::{Probe as _, clock, pid};

fn source() -> NativeTreeSource {
    let budget = FdBudget::new();
    NativeTreeSource::new(budget, Units::new()).expect("this process is in /proc")
}

fn open(source: &mut NativeTreeSource, pid: u32) -> (ProcessStat, TreeMember) {
    match source.open(pid, &mut |_| true) {
        Open::Held(stat, member) => (stat, member),
        other => panic!("{pid} can be read: {other:?}"),
    }
}

fn read_alive(source: &mut NativeTreeSource, member: &TreeMember) -> CpuTime {
    match source.read(member) {
        MemberReading::Alive { cpu_time, resident: Some(_), .. } => cpu_time,
        other => panic!("{member:?} lives: {other:?}"),
    }
}

/// Waits until the child has exited, without reaping it.
fn wait_until_zombie(source: &mut NativeTreeSource, pid: u32) {
    wait_for("the exit of a child", || source.read_stat(pid).unwrap().is_zombie.then_some(()));
}

fn thread_id() -> u32 {
    nix::unistd::gettid().as_raw() as u32
}

/// Calls `run` with the id of a thread that lives meanwhile, after `start` has run in it.
fn with_thread<T: Send + 'static>(
    start: impl FnOnce() -> T + Send + 'static,
    run: impl FnOnce(u32, T),
) {
    let (started, has_started) = mpsc::channel();
    let (stop, is_stopped) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        started.send((thread_id(), start())).unwrap();
        let _ = is_stopped.recv();
    });
    let (id, value) = has_started.recv().unwrap();
    run(id, value);
    drop(stop);
    thread.join().unwrap();
}

/// Whether the last pid moved from `before` past `pid` to `after`.
fn is_between(before: u32, pid: u32, after: u32) -> bool {
    let has_lapped = after < before;
    if has_lapped { pid > before || pid <= after } else { before < pid && pid <= after }
}

#[test]
fn last_pid_follows_processes_and_threads() {
    let mut source = source();
    for _ in 0..20 {
        let before = source.last_pid().unwrap();
        let child = shell("true");
        let after = source.last_pid().unwrap();
        assert!(is_between(before, child.pid(), after), "{before} {} {after}", child.pid());
        let before = after;
        let thread = thread::spawn(thread_id).join().unwrap();
        let after = source.last_pid().unwrap();
        assert!(is_between(before, thread, after), "{before} {thread} {after}");
    }
    let (first, last) = source.pid_range();
    let pid_max = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    assert_eq!(
        (first, last.to_string()),
        (300, (pid_max.trim().parse::<u32>().unwrap() - 1).to_string())
    );
}

#[test]
fn last_pid_is_read_from_a_checked_file() {
    let [loadavg, ns_last_pid] = cursor::SOURCES;
    // A number that does not follow assignments, as in the file of lxcfs.
    let other = Source { path: "/proc/sys/kernel/pid_max", parse: procfs::number };
    let missing = Source { path: "/proc/no such file", ..loadavg };
    let malformed = Source { path: "/proc/version", ..loadavg };
    let assign = || Ok(thread::spawn(thread_id).join().unwrap());
    let find = |sources: &[Source]| {
        PidCursor::find_in(sources, assign).unwrap().map(|cursor| cursor.path())
    };
    assert_eq!(find(&[loadavg, ns_last_pid]), Some(loadavg.path));
    assert_eq!(find(&[other, missing, malformed]), None);
    if std::path::Path::new(ns_last_pid.path).exists() {
        assert_eq!(find(&[other, missing, malformed, ns_last_pid]), Some(ns_last_pid.path));
    }
    // A number that was not assigned between the two readings.
    let stranger = || Ok(std::process::id());
    assert!(PidCursor::find_in(&[loadavg, ns_last_pid], stranger).unwrap().is_none());
    let fails = || Err(std::io::ErrorKind::WouldBlock.into());
    assert!(PidCursor::find_in(&[loadavg], fails).is_err());
}

#[test]
fn range_is_read_again_in_next_lap() {
    let mut source = source();
    source.last_pid();
    let range = source.pid_range();
    // What the source remembers if the limit was another one before.
    source.last_of_lap = Some(range.1 + 5);
    source.last_pid = Some(0);
    source.last_pid();
    assert_eq!(source.pid_range(), (300, range.1 + 5), "the same lap");
    source.last_pid = Some(u32::MAX);
    source.last_pid();
    assert_eq!(source.pid_range(), range, "the next lap");
    source.last_of_lap = Some(1);
    source.last_pid = Some(0);
    source.last_pid();
    assert_eq!(source.pid_range(), range, "the limit was raised");
}

#[test]
fn list_contains_processes_and_no_threads() {
    let mut source = source();
    let children = [sleeper(), sleeper()];
    with_thread(
        || (),
        |thread, ()| {
            let mut pids = vec![7];
            source.list(&mut pids).unwrap();
            assert_eq!(pids[0], 7, "they are appended");
            for pid in [std::process::id(), children[0].pid(), children[1].pid()] {
                assert_eq!(pids[1..].iter().filter(|found| **found == pid).count(), 1);
            }
            assert!(!pids.contains(&thread));
        },
    );
}

#[test]
fn children_of_all_threads_are_listed() {
    let mut source = source();
    let first = sleeper();
    with_thread(sleeper, |_, second| {
        let mut pids = vec![7];
        if !source.children(std::process::id(), &mut pids) {
            report_missing("there is no /proc/PID/task/TID/children", "children");
            return;
        }
        assert!(pids[0] == 7 && pids.contains(&first.pid()) && pids.contains(&second.pid()));
        pids.clear();
        assert!(source.children(first.pid(), &mut pids) && pids.is_empty());
    });
    let mut reaped = shell("true");
    reaped.wait();
    let mut pids = Vec::new();
    assert!(source.children(reaped.pid(), &mut pids) && pids.is_empty(), "it has none");
}

#[test]
fn open_returns_stat_of_wanted_process() {
    let mut source = source();
    let child = sleeper();
    wait_for("the execution of the program", || {
        let stat = source.stat_of(child.pid()).unwrap();
        (stat.name.as_bytes() == b"sleep").then_some(())
    });
    let Open::NotWanted(seen) = source.open(child.pid(), &mut |_| false) else { panic!() };
    let (stat, member) = open(&mut source, child.pid());
    assert_eq!((stat, source.stat(&member)), (seen, Some(seen)));
    assert_eq!(stat.parent, std::process::id());
    let id = |pid: nix::unistd::Pid| pid.as_raw() as u32;
    assert_eq!(stat.group, id(nix::unistd::getpgrp()));
    assert_eq!(stat.session, id(nix::unistd::getsid(None).unwrap()));
    assert!(member.statm.borrow().is_some());
}

#[test]
fn thread_and_missing_process_are_not_opened() {
    let mut source = source();
    let mut fail = |_: &ProcessStat| panic!("there is no process");
    with_thread(
        || (),
        |thread, ()| {
            assert!(matches!(source.open(thread, &mut fail), Open::Unreadable));
            let opened = source.open_found(thread, super::open::Found::Unknown, &mut fail);
            assert!(matches!(opened, Open::Unreadable), "without pidfds");
        },
    );
    let mut reaped = shell("true");
    reaped.wait();
    for pid in [0, reaped.pid(), 4_194_304, u32::MAX] {
        assert!(!pid::exists(pid) || pid == 0, "{pid}");
        assert!(matches!(source.open(pid, &mut fail), Open::Gone), "{pid}");
    }
    let opened = source.open_found(reaped.pid(), super::open::Found::Unknown, &mut fail);
    assert!(matches!(opened, Open::Gone), "without pidfds: {opened:?}");
}

#[test]
fn reading_has_values_of_the_process() {
    let mut source = source();
    // It counts without a child.
    let child = shell("while :; do :; done");
    let (_, member) = open(&mut source, child.pid());
    let CpuSource::Clock(own) = member.cpu else { panic!("clocks can be read") };
    wait_for("50 ms of CPU time", || {
        (source.cpu_clock(&member).unwrap() > CpuTime(50_000_000)).then_some(())
    });
    let (before_at, before) = (clock::mono(), cpu_time(own).1.unwrap());
    let MemberReading::Alive { at, cpu_time: used, resident } = source.read(&member) else {
        panic!("it lives");
    };
    let (after, after_at) = (cpu_time(own).1.unwrap(), clock::mono());
    assert!(before <= used && used <= after, "{before:?} {used:?} {after:?}");
    assert!(before_at <= at && at <= after_at);
    assert!(resident.is_some());
    // In a sandbox without clocks of other processes.
    let (_, mut by_stat) = open(&mut source, child.pid());
    by_stat.cpu = CpuSource::Stat;
    let CpuTime(used) = read_alive(&mut source, &by_stat);
    assert!(used > 0 && used.is_multiple_of(10_000_000), "{used}");
    assert!(CpuTime(used) <= source.cpu_clock(&member).unwrap());
}

#[test]
fn children_cpu_counts_reaped_children() {
    let mut source = source();
    let script = "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; exec sleep 1000";
    let child = shell(script);
    let (stat, member) = open(&mut source, child.pid());
    assert_eq!(stat.children_cpu, CpuTime(0));
    let used = wait_for("the end of its child", || {
        let stat = source.stat(&member).unwrap();
        (stat.name.as_bytes() == b"sleep").then_some(stat.children_cpu)
    });
    assert!(used > CpuTime(10_000_000), "{used:?}");
}

#[test]
fn probe_has_no_trees_of_a_foreign_proc() {
    let (mut probe, _wake) = NativeProbe::new().unwrap();
    assert!(probe.trees().is_some_and(|trees| trees.last_pid().is_some()));
    probe.is_foreign = true;
    assert!(probe.trees().is_none());
}

#[test]
fn hidden_process_is_unreadable() {
    if lacks_root("a /proc with hidepid") {
        return;
    }
    let mount = "mount -t proc -o hidepid=$0 proc /proc && exec \"$@\"";
    for hide in ["1", "2"] {
        let mut commands = vec!["unshare", "--mount", "sh", "-c", mount, hide];
        commands.extend(AS_NOBODY);
        if !enter_isolated(hidden_process_is_unreadable, &commands) {
            continue;
        }
        let mut source = source();
        let stranger = std::os::unix::process::parent_id();
        assert!(matches!(source.open(stranger, &mut |_| true), Open::Unreadable));
        assert_eq!(source.stat_of(stranger), None);
        assert!(!source.children(stranger, &mut Vec::new()));
        let child = sleeper();
        let (stat, member) = open(&mut source, child.pid());
        assert_eq!(stat.parent, std::process::id());
        read_alive(&mut source, &member);
        return;
    }
}
