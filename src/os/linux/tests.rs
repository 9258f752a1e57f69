//! The probe by itself, where nothing but a read can find an end: nobody asks what the pidfds told.

use std::process::Command;

use super::*;

fn sleeper() -> std::process::Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

fn opened(probe: &mut NativeProbe, pid: u32) -> Process {
    match probe.attach(pid, None, 0) {
        Attach::Found(found) => found.process,
        other => panic!("it lives: {other:?}"),
    }
}

fn is_gone(read: &Result<Reading, ReadFailure>) -> bool {
    matches!(read, Err(ReadFailure::Exited(ProcessExit::Unknown, None)))
}

#[test]
fn a_tick_finds_the_end_of_a_process_that_was_reaped_also_if_nothing_told_of_it() {
    let (mut probe, _wake) = NativeProbe::new().unwrap();
    let mut child = sleeper();
    let mut held = opened(&mut probe, child.id());
    let mut other = opened(&mut probe, child.id());
    other.held = None;
    probe.read(&mut held).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let read = probe.read(&mut held);
    assert!(is_gone(&read), "{read:?}");
    let read = probe.read(&mut other);
    assert!(is_gone(&read), "{read:?}");
}

#[test]
fn the_moment_of_a_cpu_time_is_one_at_which_it_was_asked_for() {
    for _ in 0..1_000 {
        let before = clock::mono();
        let (at, cpu_time) = cpu_time(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        let after = clock::mono();
        assert!(before <= at && at <= after, "{before:?} {at:?} {after:?}");
        assert!(cpu_time.unwrap() > CpuTime::default());
    }
}

#[test]
fn the_probe_waits_until_its_time_or_until_it_is_woken() {
    let (mut probe, wake) = NativeProbe::new().unwrap();
    let until = Instant::now() + Duration::from_millis(5);
    probe.wait(Some(until));
    assert!(Instant::now() >= until);
    wake();
    // A limit against hanging, nothing else.
    let limit = Instant::now() + Duration::from_secs(60);
    probe.wait(Some(limit));
    assert!(Instant::now() < limit, "it was not woken");
}
