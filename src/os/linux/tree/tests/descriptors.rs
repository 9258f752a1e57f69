//! Descriptors: members use what attached processes leave.

use std::fs::File;

use plugmeter_test_support::isolated_process::own_descriptors;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::os::linux::AttachedProcess;
use crate::os::{Attach, Probe};

fn set_limit(limit: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum }).unwrap();
}

fn held(members: &[TreeMember]) -> usize {
    members.iter().filter(|member| member.statm.borrow().is_some()).count()
}

/// Runs a pass: all members have values, held or not.
fn read_all(source: &mut NativeTreeSource, members: &[TreeMember]) -> usize {
    assert!(source.last_pid().is_some());
    for member in members {
        read_alive(source, member);
    }
    held(members)
}

fn attach(probe: &mut NativeProbe, pid: u32) -> AttachedProcess {
    match probe.attach(pid, None, 0) {
        Attach::Found(found) => found.process,
        other => panic!("it lives: {other:?}"),
    }
}

#[test]
fn members_leave_descriptors_to_attached_processes() {
    if !enter_isolated(members_leave_descriptors_to_attached_processes, &[]) {
        return;
    }
    // Half of it is 64: an eighth of that is kept free, and six are the probe's.
    set_limit(128);
    let children: Vec<ChildGuard> = (0..70).map(|_| sleeper()).collect();
    let (mut probe, _wake) = NativeProbe::new().unwrap();
    let source = probe.trees().unwrap();
    source.last_pid();
    let open_member = |child: &ChildGuard| open(source, child.pid()).1;
    let members: Vec<TreeMember> = children.iter().map(open_member).collect();
    assert_eq!(held(&members), 64 - 8 - 6);
    assert_eq!(read_all(source, &members), 50);
    // Four attached processes find room at once, and members close as many files.
    let mut attached: Vec<_> = children[..4].iter().map(|c| attach(&mut probe, c.pid())).collect();
    assert!(attached.iter().all(|process| process.fds.is_some()));
    assert_eq!(read_all(probe.trees().unwrap(), &members), 50 - 8);
    // More than that are held in the next passes.
    attached.extend(children[4..29].iter().map(|child| attach(&mut probe, child.pid())));
    for _ in 0..8 {
        read_all(probe.trees().unwrap(), &members);
        for process in &mut attached {
            probe.read(process).unwrap();
        }
    }
    assert!(attached.iter().all(|process| process.fds.is_some()));
    assert_eq!(read_all(probe.trees().unwrap(), &members), 0);
    assert!(own_descriptors().len() <= 64 + 10, "the host has a few of its own");
    // Members take them again.
    attached.truncate(4);
    assert_eq!(read_all(probe.trees().unwrap(), &members), 50 - 8);
    drop(attached);
    set_limit(1_024);
    assert_eq!(read_all(probe.trees().unwrap(), &members), 70);
    set_limit(128);
    assert_eq!(read_all(probe.trees().unwrap(), &members), 50);
}

#[test]
fn exhausted_descriptors_lose_no_member() {
    if !enter_isolated(exhausted_descriptors_lose_no_member, &[]) {
        return;
    }
    set_limit(256);
    let children: Vec<ChildGuard> = (0..4).map(|_| sleeper()).collect();
    let (mut probe, _wake) = NativeProbe::new().unwrap();
    let source = probe.trees().unwrap();
    source.last_pid();
    let (_, early) = open(source, children[0].pid());
    // All descriptors are the host's.
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let mut members = vec![early];
    for child in &children[1..] {
        members.push(open(source, child.pid()).1);
    }
    assert_eq!(held(&members), 1);
    for _ in 0..3 {
        assert_eq!(read_all(source, &members), 1);
    }
    let mut pids = Vec::new();
    source.list(&mut pids).unwrap();
    assert!(children.iter().all(|child| pids.contains(&child.pid())));
    pids.clear();
    assert!(source.children(std::process::id(), &mut pids));
    assert!(children.iter().all(|child| pids.contains(&child.pid())));
    with_thread(
        || (),
        |thread, ()| assert!(matches!(source.open(thread, &mut |_| true), Open::Unreadable)),
    );
    files.truncate(100);
    assert_eq!(read_all(source, &members), 4);
    drop((files, members));
    assert_eq!(own_descriptors().iter().filter(|name| name.ends_with("/statm")).count(), 0);
}

#[test]
fn cursor_is_found_when_a_descriptor_is_free() {
    if !enter_isolated(cursor_is_found_when_a_descriptor_is_free, &[]) {
        return;
    }
    set_limit(64);
    let mut source = source();
    let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert_eq!(source.last_pid(), None);
    drop(files);
    assert!(source.last_pid().is_some());
}

#[test]
fn members_leave_no_descriptors() {
    if !enter_isolated(members_leave_no_descriptors, &[]) {
        return;
    }
    let before = own_descriptors();
    let child = sleeper();
    let mut probe = NativeProbe::new().unwrap();
    let source = probe.0.trees().unwrap();
    source.last_pid();
    let with_source = own_descriptors();
    for _ in 0..20 {
        let (_, member) = open(source, child.pid());
        assert_eq!(own_descriptors().len(), with_source.len() + 1, "no pidfd is kept");
        read_alive(source, &member);
        assert!(matches!(source.open(child.pid(), &mut |_| false), Open::NotWanted(_)));
        drop(member);
        assert_eq!(own_descriptors(), with_source);
    }
    drop(probe);
    assert_eq!(own_descriptors(), before);
}
