//! Paths in `/proc`, without an allocation.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// `/proc/4294967295/task/4294967295/children` has 41 bytes.
const MAX_LEN: usize = 48;

/// A path in `/proc`, on the stack.
pub(super) struct ProcPath {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl ProcPath {
    /// A path that does not fit is empty, and names no file.
    fn new(path: fmt::Arguments<'_>) -> Self {
        let mut bytes = [0; MAX_LEN];
        let mut rest = &mut bytes[..];
        let is_complete = rest.write_fmt(path).is_ok();
        let len = if is_complete { MAX_LEN - rest.len() } else { 0 };
        Self { bytes, len }
    }

    pub(super) fn root() -> Self {
        Self::new(format_args!("/proc"))
    }

    /// A file or folder of a process.
    pub(super) fn of_process(pid: u32, name: &str) -> Self {
        Self::new(format_args!("/proc/{pid}/{name}"))
    }

    /// The children of a thread.
    pub(super) fn children(pid: u32, thread: u32) -> Self {
        Self::new(format_args!("/proc/{pid}/task/{thread}/children"))
    }
}

impl AsRef<Path> for ProcPath {
    fn as_ref(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.bytes[..self.len]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_path_fits() {
        let path = ProcPath::children(u32::MAX, u32::MAX);
        assert_eq!(path.as_ref(), Path::new("/proc/4294967295/task/4294967295/children"));
        assert_eq!(ProcPath::of_process(7, "statm").as_ref(), Path::new("/proc/7/statm"));
        assert_eq!(ProcPath::of_process(7, &"x".repeat(MAX_LEN)).as_ref(), Path::new(""));
    }
}
