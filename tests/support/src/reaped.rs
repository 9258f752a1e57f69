//! What the kernel reports of reaped processes: CPU time and exit status.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Returns the CPU time of the children that this process has reaped so far: getrusage(2),
/// `RUSAGE_CHILDREN`.
pub fn reaped_cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = |time: TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1_000);
    micros(usage.user_time()) + micros(usage.system_time())
}

/// Asserts that `used` is the kernel's `expected` CPU time of `runs` children.
#[track_caller]
pub fn assert_reaped_cpu_time(used: Duration, runs: usize, expected: Duration) {
    // The kernel reports microseconds, of user time and of system time.
    let tolerance = Duration::from_micros(2) * (runs as u32 + 1) + expected / 1_000;
    let difference = used.abs_diff(expected);
    println!("{runs} runs: {used:?} of {expected:?}, off by {difference:?}");
    assert!(difference <= tolerance, "{used:?}, and the kernel's {expected:?}");
}

/// Returns whether the kernel reports the exit status of a reaped process by its pidfd: from Linux 6.15
/// on.
pub fn has_late_status() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().unwrap().parse::<u32>().unwrap();
    (next(), next()) >= (6, 15)
}
