//! Platforms other than Linux: values for what sysinfo does not report.

/// Whether a process that sysinfo does not see exists.
pub(in crate::os) const fn exists(_pid: u32) -> bool {
    false
}

/// Threads have numbers of another kind.
pub(in crate::os) const fn is_thread(_pid: u32) -> bool {
    false
}

/// There is one namespace of pids.
pub(in crate::os) const fn is_proc_foreign() -> bool {
    false
}

/// A zombie is a process that has exited.
pub(in crate::os) const fn has_exited_as_zombie(_pid: u32) -> bool {
    true
}

/// Start times need no correction.
pub(in crate::os) fn start_in_seconds(_pid: u32) -> std::io::Result<Option<u64>> {
    Ok(None)
}
