//! What the machine has.

/// The memory of the machine in bytes; `None` if it cannot be read.
#[cfg(target_os = "linux")]
pub(crate) fn machine_memory() -> Option<u64> {
    super::procfs::total_memory(&std::fs::read("/proc/meminfo").ok()?)
}

/// The memory of the machine in bytes; `None` if it cannot be read.
#[cfg(all(not(target_os = "linux"), feature = "portable"))]
pub(crate) fn machine_memory() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    Some(system.total_memory()).filter(|&bytes| bytes > 0)
}

/// A number that changes with each start of the machine; `None` where there is none.
#[cfg(all(target_os = "linux", feature = "store"))]
pub(crate) fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// A number that changes with each start of the machine; `None` where there is none.
#[cfg(all(not(target_os = "linux"), feature = "store"))]
pub(crate) const fn boot_id() -> Option<String> {
    None
}
