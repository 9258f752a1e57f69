//! The probe by itself, where nothing but a read can find an end: nobody asks what the pidfds told.

use std::process::Command;

use super::*;

fn sleeper() -> std::process::Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

fn opened(probe: &mut NativeProbe, pid: u32) -> Process {
    match probe.open(pid, None, 0) {
        Opened::Found(found) => found.process,
        other => panic!("it lives: {other:?}"),
    }
}

fn is_gone(read: &Result<Reading, Unread>) -> bool {
    matches!(read, Err(Unread::Ended(Outcome::Unknown, None)))
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
