//! CPU time of reaped children, by the kernel.

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
