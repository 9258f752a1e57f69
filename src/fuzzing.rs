//! A door for `fuzz/`: what reads bytes of others and is not public. Only there in a build by
//! cargo-fuzz, which sets `cfg(fuzzing)`; no part of the public face.

use crate::os::procfs;

/// Every parser of the kernel's bytes, on the same bytes: boot time, resident pages, start time,
/// thread group.
#[must_use]
pub fn procfs(bytes: &[u8]) -> [Option<u64>; 4] {
    [
        boot_time(bytes),
        procfs::resident_pages(bytes),
        procfs::start_time(bytes),
        procfs::thread_group(bytes).map(u64::from),
    ]
}

#[cfg(feature = "portable")]
fn boot_time(bytes: &[u8]) -> Option<u64> {
    procfs::boot_time(bytes)
}

#[cfg(not(feature = "portable"))]
fn boot_time(_bytes: &[u8]) -> Option<u64> {
    None
}
