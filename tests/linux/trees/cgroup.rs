//! A cgroup of version 2 that contains a tree.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plugmeter_test_support::{HANG_TIMEOUT, report_skipped};

/// Where cgroups of version 2 are mounted: beside those of version 1, and alone.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// A cgroup whose processes are killed on drop, and which is removed then.
pub(super) struct Cgroup {
    folder: PathBuf,
    cpu_stat: File,
}

impl Cgroup {
    /// `None` if no cgroup can be created here, which is reported.
    pub(super) fn new(test: &str) -> Option<Self> {
        let name = format!("plugmeter-{}-{}", test.replace([':', ' '], "-"), std::process::id());
        let folder = MOUNTS.iter().find_map(|mount| {
            Path::new(mount).join("cgroup.controllers").exists().then_some(())?;
            let folder = Path::new(mount).join(&name);
            fs::create_dir(&folder).ok().map(|()| folder)
        });
        let Some(folder) = folder else {
            report_skipped("no cgroup of version 2 can be created here", test);
            return None;
        };
        let cpu_stat = File::open(folder.join("cpu.stat")).unwrap();
        Some(Self { folder, cpu_stat })
    }

    /// The file by which a process enters it.
    pub(super) fn entrance(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// CPU time of all processes that are or were in it, in whole microseconds.
    pub(super) fn cpu_time(&self) -> Duration {
        let mut text = [0; 512];
        let len = self.cpu_stat.read_at(&mut text, 0).unwrap();
        let text = std::str::from_utf8(&text[..len]).unwrap();
        let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        Duration::from_micros(usage.unwrap().parse().unwrap())
    }

    /// The living processes, without zombies.
    pub(super) fn pids(&self) -> Vec<u32> {
        let pids = fs::read_to_string(self.entrance()).unwrap();
        pids.lines().map(|pid| pid.parse().unwrap()).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.folder.join("cgroup.kill"), "1");
        // No panic here: the test may have failed.
        let start = Instant::now();
        while fs::remove_dir(&self.folder).is_err() && start.elapsed() < HANG_TIMEOUT {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
