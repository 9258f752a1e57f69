//! A sandbox that refuses the CPU clocks of other processes.

use std::time::Duration;

use plugmeter::ProbeKind;
use plugmeter_test_support::{manual_collector, wait_for};

use crate::seccomp;
use crate::test_child::{TestChild, resident_pages};

/// From now on clock_gettime(2) and clock_getres(2) fail with EINVAL for CPU clocks of processes, in
/// this thread and in threads that it starts. The ids of such clocks are negative.
fn refuse_process_clocks() {
    // seccomp(2): `struct seccomp_data` begins with the number of the system call; the low half of
    // its first argument is at offset 16 on little-endian machines.
    let line = |code, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let has_bit = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut filter = [
        line(load, 0, 0, 0),
        line(equals, 1, 0, libc::SYS_clock_gettime as u32),
        line(equals, 0, 3, libc::SYS_clock_getres as u32),
        line(load, 0, 0, 16),
        line(has_bit, 0, 1, 1 << 31),
        line(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        line(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    seccomp::install(&mut filter);
}

#[test]
fn refused_cpu_clock_falls_back_to_stat() {
    // A filter cannot be removed from a thread.
    let read = std::thread::spawn(|| {
        refuse_process_clocks();
        read_with_refused_clocks();
    });
    assert!(read.join().is_ok());
}

fn read_with_refused_clocks() {
    /// Both fields are cut to this, and so are they at the first reading.
    const STEP: Duration = Duration::from_millis(10);
    let mut child = TestChild::start("threads 1");
    let own = nix::unistd::Pid::from_raw(child.pid() as i32);
    assert!(nix::time::clock_getcpuclockid(own).is_err(), "the filter works");
    let collector = manual_collector(ProbeKind::Native);
    let before = child.own_cpu_time();
    collector.register("busy").unwrap().started(child.pid(), "");
    collector.sample_now().unwrap();
    let after_start = child.own_cpu_time();
    wait_for("half a second of CPU time", || {
        (child.own_cpu_time() - after_start > Duration::from_millis(500)).then_some(())
    });
    let before_end = child.own_cpu_time();
    let snapshot = collector.sample_now().unwrap();
    let end = child.own_cpu_time();
    let view = snapshot.plugin("busy").unwrap();
    let used = view.cpu_time();
    assert!(used + 4 * STEP >= before_end - after_start, "{used:?} {before_end:?} {after_start:?}");
    assert!(used <= end - before + 4 * STEP, "{used:?} {end:?} {before:?}");
    assert!(used.as_nanos().is_multiple_of(STEP.as_nanos()), "{used:?}");
    let sample = view.current().unwrap();
    assert!(sample.cpu_percent.is_some_and(|percent| percent > 0.0), "{sample:?}");
    let page = rustix::param::page_size() as u64;
    assert_eq!(sample.memory_bytes, Some(resident_pages(child.pid()) * page));
    assert!(sample.uptime.is_some() && view.read_error().is_none());
    // Under ten steps there is no value.
    let next = collector.sample_now().unwrap();
    let sample_time = next.sampled_at_instant() - snapshot.sampled_at_instant();
    let share = next.plugin("busy").unwrap().current().unwrap().cpu_percent;
    assert!(share.is_none() || sample_time > 9 * STEP, "{share:?} after {sample_time:?}");
}
