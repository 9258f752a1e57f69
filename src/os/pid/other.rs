//! Platforms other than Linux, where sysinfo's values need no correction.

/// Whether a process that sysinfo does not find exists.
pub(in crate::os) const fn exists(_pid: u32) -> bool {
    false
}

/// Ids of threads are not pids.
pub(in crate::os) const fn is_thread(_pid: u32) -> bool {
    false
}

/// There is one PID namespace.
pub(in crate::os) const fn is_proc_foreign() -> bool {
    false
}

/// A zombie is a process that has exited.
pub(in crate::os) const fn has_exited_as_zombie(_pid: u32) -> bool {
    true
}

/// `None`: sysinfo's start times are on the boot clock.
pub(in crate::os) fn start_in_seconds(_pid: u32) -> std::io::Result<Option<u64>> {
    Ok(None)
}
