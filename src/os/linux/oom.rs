//! Whether a process was killed because memory ran out, by the counters of its cgroup.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst (`memory.events`, `oom_kill`) and
//! cgroup-v1/memory.rst (`memory.oom_control`, `oom_kill`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::os::procfs;

/// The cgroup's counter of processes that the OOM killer has killed.
#[derive(Debug)]
pub(super) struct OomCounter {
    path: PathBuf,
    /// When the process was attached.
    at_attach: u64,
}

impl OomCounter {
    /// `None` if the process's memory cgroup is the root or cannot be read.
    pub(super) fn of_process(pid: u32) -> Option<Self> {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let (v1, v2) = procfs::memory_cgroups(&cgroups);
        let candidates = [
            v1.map(|group| file("/sys/fs/cgroup/memory", group, "memory.oom_control")),
            v2.map(|group| file("/sys/fs/cgroup", group, "memory.events")),
            v2.map(|group| file("/sys/fs/cgroup/unified", group, "memory.events")),
        ];
        candidates.into_iter().flatten().find_map(|path| {
            let at_attach = read(&path)?;
            Some(Self { path, at_attach })
        })
    }

    /// Whether the counter has risen since the process was attached. `None` if it cannot be read
    /// any more, because the cgroup is gone.
    pub(super) fn has_risen(&self) -> Option<bool> {
        read(&self.path).map(|now| now > self.at_attach)
    }
}

fn file(mount: &str, group: &str, name: &str) -> PathBuf {
    Path::new(mount).join(group.trim_start_matches('/')).join(name)
}

fn read(path: &Path) -> Option<u64> {
    procfs::oom_kills(&fs::read(path).ok()?)
}
