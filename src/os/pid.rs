//! Facts about a pid that need no held descriptor, on each platform.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

use std::io;

#[cfg(target_os = "linux")]
use self::linux as platform;
#[cfg(not(target_os = "linux"))]
use self::other as platform;
pub(super) use self::platform::{exists, is_proc_foreign, is_thread};
#[cfg(feature = "portable")]
pub(super) use self::platform::{has_exited_as_zombie, start_in_seconds};
use crate::snapshot::read_error::ReadError;

/// Whether a new probe can read no process: see [`is_proc_foreign`]. That is logged.
pub(super) fn detect_foreign_proc() -> bool {
    let is_foreign = is_proc_foreign();
    if is_foreign {
        log::warn!("/proc belongs to another PID namespace: no process can be read");
    }
    is_foreign
}

/// No process can be read, because the pids in `/proc` belong to another PID namespace: see
/// [`is_proc_foreign`].
pub(super) const FOREIGN_PROC: ReadError = ReadError::Io(io::ErrorKind::Unsupported);
