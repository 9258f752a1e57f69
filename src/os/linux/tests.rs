//! Tests of the probe alone: nothing drains the exits that pidfds report, so that reads detect
//! them.

use std::process::Command;

use super::*;

fn sleeper() -> std::process::Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

fn attach(probe: &mut NativeProbe, pid: u32) -> AttachedProcess {
    match probe.attach(pid, None, 0) {
        Attach::Found(found) => found.process,
        other => panic!("it lives: {other:?}"),
    }
}

fn is_unknown_exit(read: &Result<Reading, ReadFailure>) -> bool {
    matches!(read, Err(ReadFailure::Exited(ProcessExit::Unknown, None)))
}

/// With held descriptors and without.
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
    for process in [&mut held, &mut not_held] {
        let read = probe.read(process);
        assert!(is_unknown_exit(&read), "{read:?}");
    }
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
