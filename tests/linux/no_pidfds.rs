//! A kernel or a sandbox without pidfds.

use plugmeter::{PluginState, ProbeKind, RunEnd};
use plugmeter_test_support::{ChildGuard, manual_collector, shell, sleeper, wait_for};

use crate::seccomp;

/// From now on pidfd_open(2) fails with `errno` in this thread and in threads that it starts.
fn forbid_pidfds(errno: i32) {
    // seccomp(2): loads the number of the system call and returns the error for this one only.
    let line = |code, jf, k| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut filter = [
        line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, libc::SYS_pidfd_open as u32),
        line(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        line(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    seccomp::install(&mut filter);
}

#[test]
fn without_pidfds_ticks_find_exits() {
    for errno in [libc::ENOSYS, libc::EPERM] {
        // A filter cannot be removed from a thread.
        let tried = std::thread::spawn(move || {
            forbid_pidfds(errno);
            read_without_pidfds();
        });
        assert!(tried.join().is_ok(), "with errno {errno}");
    }
}

fn read_without_pidfds() {
    let collector = manual_collector(ProbeKind::Native);
    let mut children: Vec<ChildGuard> = (0..3).map(|_| sleeper()).collect();
    children.push(shell("exit 3"));
    for (number, child) in children.iter().enumerate() {
        collector.register(&number.to_string()).unwrap().started(child.pid(), "");
    }
    wait_for("values of the living processes", || {
        let snapshot = collector.sample_now().unwrap();
        let has_values = |number: usize| {
            let view = snapshot.plugin(&number.to_string()).unwrap();
            let sample = view.current().unwrap();
            assert_eq!((view.read_error(), view.state()), (None, PluginState::Running));
            sample.cpu_percent.is_some() && sample.memory_bytes.is_some()
        };
        (0..3).all(has_values).then_some(())
    });
    // The process is a zombie, so its status can be read.
    wait_for("the exit of the exited process", || {
        let snapshot = collector.sample_now().unwrap();
        let run = snapshot.plugin("3").unwrap().runs().next().unwrap();
        (run.end == Some(RunEnd::Exited(3))).then_some(())
    });
    children[0].kill();
    wait_for("the exit of a zombie", || {
        let snapshot = collector.sample_now().unwrap();
        let run = snapshot.plugin("0").unwrap().runs().next().unwrap();
        (run.end == Some(RunEnd::Signaled(9))).then_some(())
    });
    children[1].kill();
    children[1].wait();
    wait_for("the exit of a reaped process", || {
        let snapshot = collector.sample_now().unwrap();
        let run = snapshot.plugin("1").unwrap().runs().next().unwrap();
        (run.end == Some(RunEnd::Unknown)).then_some(())
    });
    let snapshot = collector.sample_now().unwrap();
    assert_eq!(snapshot.plugin("2").unwrap().state(), PluginState::Running);
}
