//! Opens a cgroup that the host names.

use std::path::Path;

use crate::error::CgroupError;
use crate::sync::cgroup::CgroupReader;

/// Opens the cgroup of this folder, to read its CPU time.
#[cfg(target_os = "linux")]
pub(crate) fn open(folder: &Path) -> Result<Box<dyn CgroupReader>, CgroupError> {
    Ok(Box::new(super::linux::CgroupCpu::open(folder)?))
}

/// Only Linux has cgroups.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open(_folder: &Path) -> Result<Box<dyn CgroupReader>, CgroupError> {
    Err(CgroupError::Unsupported)
}
