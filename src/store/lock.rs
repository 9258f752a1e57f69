//! The lock file: one host writes to a store.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::database::lock_path;
use super::error::StoreError;
use crate::os::files::open_private;

/// The lock of a store, held until it is dropped. The operating system releases it when the process
/// ends, however it does.
#[derive(Debug)]
pub(super) struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Locks the store at this path, or returns who has locked it.
    pub(super) fn acquire(path: &Path) -> Result<Self, StoreError> {
        let mut file = open_private(&lock_path(path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Where a locked file cannot be read, the process is unknown.
                let pid =
                    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StoreError::InUse { pid: pid.unwrap_or(0) });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // The file is never removed: a second host could lock a removed one. A full disk does not
        // prevent the lock, only its text.
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        if let Err(error) = write(&mut file) {
            log::debug!("store: the lock file has no process id: {error}");
        }
        Ok(Self { _file: file })
    }
}
