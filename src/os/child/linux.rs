//! Linux: by waitid(2), the per-process CPU clock and a pidfd.

use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid};

use super::ChildState;
use crate::history::units::CpuTime;
use crate::os::linux::cpu_time;
use crate::os::linux::units::Units;
use crate::os::pid::is_proc_foreign;
use crate::os::procfs;
use crate::sync::command::ChildReading;

/// The interval between two checks where the kernel has no pidfd.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// The longest wait in one call.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The CPU time of the child so far.
pub(crate) fn read(pid: u32) -> Option<ChildReading> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).ok()?);
    let (at, cpu_time) = cpu_time(nix::time::clock_getcpuclockid(pid).ok()?);
    Some(ChildReading { at, cpu_time: cpu_time?, children_cpu: None })
}

/// The last reading of a child that has exited and was not reaped.
fn read_last(pid: u32) -> Option<ChildReading> {
    Some(ChildReading { children_cpu: read_children_cpu(pid), ..read(pid)? })
}

/// The CPU time of the children for which it has waited: `cutime` and `cstime` of proc(5).
fn read_children_cpu(pid: u32) -> Option<CpuTime> {
    if is_proc_foreign() {
        return None;
    }
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let ticks = procfs::process_stat(&stat)?.children_ticks;
    Some(Units::new().ticks_to_time(ticks).into())
}

/// Checks whether the child has exited, without waiting.
pub(crate) fn check(pid: u32) -> ChildState {
    match wait_without_reaping(pid, WaitIdOptions::NOHANG) {
        Ok(Some(_)) => ChildState::Exited(read_last(pid)),
        Ok(None) => ChildState::Running,
        Err(_) => ChildState::Unknown,
    }
}

/// Blocks until the child has exited, and returns its last reading. `None` also if it cannot be
/// waited for.
pub(crate) fn wait(pid: u32) -> Option<ChildReading> {
    wait_without_reaping(pid, WaitIdOptions::empty()).ok().and_then(|_| read_last(pid))
}

fn wait_without_reaping(
    pid: u32,
    options: WaitIdOptions,
) -> rustix::io::Result<Option<WaitIdStatus>> {
    let id = WaitId::Pid(raw_pid(pid).ok_or(Errno::INVAL)?);
    let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    loop {
        match waitid(id.clone(), options) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Blocks for `timeout`, or until the child has exited; may return earlier.
pub(crate) fn sleep_until_exit(pid: u32, timeout: Duration) {
    let Some(pidfd) = raw_pid(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        thread::sleep(timeout.min(CHECK_INTERVAL));
        return;
    };
    let timeout = timeout.min(LONGEST_WAIT);
    let timeout =
        Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
    // An error is a signal: the caller checks, and waits again.
    let _: Result<usize, _> = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout));
}

pub(super) fn raw_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}
