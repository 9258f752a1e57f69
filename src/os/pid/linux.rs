//! Linux: from `/proc` and kill(2).

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::os::procfs;

/// Whether a process or a thread has this id. Needs no descriptor and no `/proc`.
pub(in crate::os) fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Whether the number is the id of a thread other than the first of its process. Threads have
/// directories in `/proc` too, although they are not listed there. False if that cannot be read.
pub(in crate::os) fn is_thread(pid: u32) -> bool {
    let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    // The kernel writes 0 for a process that is being reaped.
    procfs::thread_group(&status).is_some_and(|group| group != pid && group != 0)
}

/// Whether `/proc` was mounted for another PID namespace than this process's (pid_namespaces(7)).
/// Its pids belong to other processes then and must not be used.
pub(in crate::os) fn is_proc_foreign() -> bool {
    let own = std::fs::read_link("/proc/self");
    own.is_ok_and(|pid| pid.as_os_str() != &*std::process::id().to_string())
}

/// Whether a process in the state of a zombie has exited. The state is that of its first thread:
/// the process lives while other threads run. False if that cannot be read.
#[cfg(feature = "portable")]
pub(in crate::os) fn has_exited_as_zombie(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.count() <= 1)
}

/// The time from the machine's start to the start of a process, in whole seconds, rounded down.
#[cfg(feature = "portable")]
pub(in crate::os) fn start_in_seconds(pid: u32) -> std::io::Result<Option<u64>> {
    let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
    let stat = procfs::process_stat(&stat).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(Some(stat.start_ticks / rustix::param::clock_ticks_per_second().max(1)))
}
