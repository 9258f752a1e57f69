//! Zombies, reaped processes, and processes with a reused pid.

use std::time::Duration;

use plugmeter_test_support::isolated_process::OWN_PID_NAMESPACE;

use super::*;
use crate::os::linux::tree::open::Found;

/// A member with a held file, and one without.
fn open_both(source: &mut NativeTreeSource, pid: u32) -> [TreeMember; 2] {
    let (_, held) = open(source, pid);
    let (_, not_held) = open(source, pid);
    not_held.statm.take();
    [held, not_held]
}

/// Reads a member; one without a held file remains without.
fn read(source: &mut NativeTreeSource, member: &TreeMember) -> MemberReading {
    let is_held = member.statm.borrow().is_some();
    let limit = source.member_limit;
    source.member_limit = if is_held { limit } else { 0 };
    let reading = source.read(member);
    source.member_limit = limit;
    assert_eq!(member.statm.borrow().is_some(), is_held);
    reading
}

#[test]
fn exited_process_is_zombie_until_reaped() {
    let mut source = source();
    let mut child = shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; read line");
    let members = open_both(&mut source, child.pid());
    for member in &members {
        wait_for("CPU time", || (source.cpu_clock(member)? > CpuTime(20_000_000)).then_some(()));
        assert!(matches!(read(&mut source, member), MemberReading::Alive { .. }));
    }
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.pid() as i32),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    wait_until_zombie(&mut source, child.pid());
    let last = source.cpu_clock(&members[0]).unwrap();
    for member in &members {
        let reading = read(&mut source, member);
        let MemberReading::Zombie { cpu_time, .. } = reading else { panic!("{reading:?}") };
        assert_eq!(cpu_time, last);
    }
    child.wait();
    for member in &members {
        assert_eq!(read(&mut source, member), MemberReading::Reaped);
    }
}

#[test]
fn zombie_is_opened_if_pidfds_hang_up() {
    let mut source = source();
    let mut child = shell("exit 3");
    wait_until_zombie(&mut source, child.pid());
    if source.has_hangups {
        let (stat, member) = open(&mut source, child.pid());
        assert_eq!(stat.parent, std::process::id());
        assert!(matches!(source.read(&member), MemberReading::Zombie { .. }));
    }
    // Before Linux 6.9.
    source.has_hangups = false;
    assert!(matches!(source.open(child.pid(), &mut |_| true), Open::Gone));
    child.wait();
    for has_hangups in [false, true] {
        source.has_hangups = has_hangups;
        assert!(matches!(source.open(child.pid(), &mut |_| true), Open::Gone));
    }
}

/// Reaped after it was found, and before or while it is opened.
#[test]
fn process_reaped_while_opened_is_gone() {
    let mut source = source();
    let mut child = sleeper();
    let found = source.find(child.pid());
    child.kill();
    child.wait();
    assert!(matches!(source.open_found(child.pid(), found, &mut |_| true), Open::Gone));
    for has_pidfds in [true, false] {
        for is_wanted in [true, false] {
            let mut child = sleeper();
            let pid = child.pid();
            let found = if has_pidfds { source.find(pid) } else { Found::Unknown };
            let opened = source.open_found(pid, found, &mut |_| {
                child.kill();
                child.wait();
                is_wanted
            });
            match opened {
                Open::Gone => {}
                // One reading of `stat` belongs to one process.
                Open::NotWanted(_) if !has_pidfds => {}
                other => panic!("{has_pidfds} {is_wanted}: {other:?}"),
            }
        }
    }
}

#[test]
fn open_without_pidfds_holds_the_process() {
    let mut source = source();
    let child = sleeper();
    let Open::Held(stat, member) = source.open_found(child.pid(), Found::Unknown, &mut |_| true)
    else {
        panic!("it lives");
    };
    assert_eq!(stat.parent, std::process::id());
    assert!(member.statm.borrow().is_some());
    read_alive(&mut source, &member);
}

/// The first thread exits by the system call, as `pthread_exit` does.
const NO_MAIN_THREAD: &str = "
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=[1000]).start()
exit = {'x86_64': 60, 'aarch64': 93}[platform.machine()]
ctypes.CDLL(None).syscall(exit, 0)
";

#[test]
fn process_without_main_thread_is_alive() {
    let mut command = Command::new("python3");
    command.args(["-c", NO_MAIN_THREAD]).stdin(Stdio::null());
    let Ok(child) = command.spawn() else {
        report_missing("there is no python3", "a process without its main thread");
        return;
    };
    let child = ChildGuard(child);
    let mut source = source();
    let members = open_both(&mut source, child.pid());
    for member in &members {
        wait_for("the exit of the first thread", || {
            let MemberReading::Alive { resident, .. } = read(&mut source, member) else {
                panic!("it lives");
            };
            resident.is_none().then_some(())
        });
    }
    assert!(source.read_stat(child.pid()).is_ok_and(|stat| !stat.is_zombie));
}

#[test]
fn reused_pid_is_another_process() {
    if lacks_root("control over PIDs") {
        return;
    }
    if !enter_isolated(reused_pid_is_another_process, OWN_PID_NAMESPACE) {
        return;
    }
    let mut source = source();
    let mut child = sleeper();
    let pid = child.pid();
    let members = open_both(&mut source, pid);
    let found = source.find(pid);
    // Without a held file the start time identifies the process, in steps of 10 ms.
    thread::sleep(Duration::from_millis(30));
    child.kill();
    child.wait();
    let next = wait_for("the pid to be reused", || {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let next = sleeper();
        (next.pid() == pid).then_some(next)
    });
    for member in &members {
        assert_eq!(read(&mut source, member), MemberReading::Reaped);
    }
    // Its `stat` is read by pid and is the other's.
    assert!(matches!(source.open_found(pid, found, &mut |_| true), Open::Gone));
    let (_, other) = open(&mut source, pid);
    read_alive(&mut source, &other);
    assert_eq!(next.pid(), pid);
}
