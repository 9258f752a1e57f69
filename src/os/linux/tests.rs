//! Tests of the probe alone: nothing drains the exits that pidfds report, so that reads detect
//! them.

use std::process::Command;
use std::time::Duration;

use nix::time::ClockId;

use super::*;
use crate::os::clock;

fn sleeper() -> std::process::Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

fn attach(probe: &mut NativeProbe, pid: u32) -> AttachedProcess {
    match probe.attach(pid, None, 0) {
        Attach::Found(found) => found.process,
        other => panic!("it lives: {other:?}"),
    }
}

/// Whether this kernel reports the status of a reaped process.
fn has_late_status() -> bool {
    let mut child = Command::new("true").spawn().unwrap();
    let pidfd = fds::open_pidfd(child.id()).unwrap();
    child.wait().unwrap();
    pidfd_info::exit_status(&pidfd).is_some()
}

/// With held descriptors, by which newer kernels report the status, and without.
#[test]
fn read_of_reaped_process_is_an_exit() {
    let (mut probe, _wake) = NativeProbe::new().unwrap();
    let mut child = sleeper();
    let mut held = attach(&mut probe, child.id());
    let mut not_held = attach(&mut probe, child.id());
    not_held.fds = None;
    probe.read(&mut held).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let by_pidfd = if has_late_status() { ProcessExit::Signaled(9) } else { ProcessExit::Unknown };
    for (process, expected) in [(&mut held, by_pidfd), (&mut not_held, ProcessExit::Unknown)] {
        let read = probe.read(process);
        let Err(ReadFailure::Exited(exit, None)) = read else { panic!("{read:?}") };
        assert_eq!(exit, expected);
    }
}

/// Its status is known while it is a zombie of the host, and after that to newer kernels; older ones
/// never report it then.
#[test]
fn late_status_is_of_the_exited_process() {
    let (mut probe, _wake) = NativeProbe::new().unwrap();
    let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
    let opened = probe.budget.open(child.id()).unwrap();
    let process = AttachedProcess {
        pid: child.id(),
        token: 0,
        cpu: CpuSource::Stat,
        fds: Some(opened),
        start_ticks: None,
        cpu_time: CpuTime::default(),
        suspension_checked: CheckedRound::default(),
        peak_checked: CheckedRound::default(),
        cpu_time_at_peak: None,
        oom: None,
    };
    let pidfd = &process.fds.as_ref().unwrap().pidfd;
    while !has_exited(pidfd) {
        std::thread::yield_now();
    }
    assert_eq!(probe.late_status(&process), Some(ProcessExit::Exited(3)));
    child.wait().unwrap();
    let expected = if has_late_status() { ProcessExit::Exited(3) } else { ProcessExit::Unknown };
    assert_eq!(probe.late_status(&process), Some(expected));
    let not_held = AttachedProcess { fds: None, ..process };
    assert_eq!(probe.late_status(&not_held), Some(ProcessExit::Unknown));
}

#[test]
fn cpu_time_is_read_at_its_timestamp() {
    for _ in 0..1_000 {
        let before = clock::mono();
        let (at, cpu_time) = cpu_time(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        let after = clock::mono();
        assert!(before <= at && at <= after, "{before:?} {at:?} {after:?}");
        assert!(cpu_time.unwrap() > CpuTime::default());
    }
}

#[test]
fn wait_ends_at_deadline_or_wake_up() {
    let (mut probe, wake) = NativeProbe::new().unwrap();
    let until = clock::mono().checked_add(Duration::from_millis(5)).unwrap();
    probe.wait(Some(until));
    assert!(clock::mono() >= until);
    wake();
    // A bound against hanging.
    let limit = clock::mono().checked_add(Duration::from_secs(60)).unwrap();
    probe.wait(Some(limit));
    assert!(clock::mono() < limit, "it was not woken");
}
