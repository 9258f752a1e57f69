//! The CPU time of a cgroup of version 2: of all processes that are or were in it and in the cgroups
//! below it, in `cpu.stat` (Documentation/admin-guide/cgroup-v2.rst).
//!
//! The file exists in every cgroup, with or without the controller `cpu`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstatfs, open, openat};
use rustix::io::Errno;

use crate::error::CgroupError;
use crate::history::units::CpuTime;
use crate::os::{clock, procfs};
use crate::sync::cgroup::{CgroupReadError, CgroupReader, CgroupReading};
use crate::time::MonoNanos;

/// `CGROUP2_SUPER_MAGIC`: statfs(2).
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// The held `cpu.stat` of a cgroup. It refers to the same cgroup even if another one of the same name
/// is created later.
#[derive(Debug)]
pub(crate) struct CgroupCpu {
    cpu_stat: File,
}

impl CgroupCpu {
    pub(crate) fn open(path: &Path) -> Result<Self, CgroupError> {
        let not_cgroup2 = || CgroupError::NotCgroup2 { path: path.to_path_buf() };
        let failed =
            |errno: Errno| CgroupError::Io { path: path.to_path_buf(), error: errno.into() };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        // `DIRECTORY` also prevents a wait for the other end of a named pipe.
        let folder = match open(path, flags | OFlags::DIRECTORY, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOTDIR) => return Err(not_cgroup2()),
            Err(errno) => return Err(failed(errno)),
        };
        let file_system = fstatfs(&folder).map_err(failed)?;
        if u64::try_from(file_system.f_type).ok() != Some(CGROUP2_MAGIC) {
            return Err(not_cgroup2());
        }
        match openat(&folder, "cpu.stat", flags, Mode::empty()) {
            Ok(cpu_stat) => Ok(Self { cpu_stat: cpu_stat.into() }),
            Err(Errno::NOENT) => Err(CgroupError::NoCpuStat { path: path.to_path_buf() }),
            Err(errno) => Err(failed(errno)),
        }
    }
}

impl CgroupReader for CgroupCpu {
    fn read(&self) -> Result<CgroupReading, CgroupReadError> {
        // `usage_usec` is the first line.
        let mut text = [0; 256];
        let MonoNanos(before) = clock::mono();
        let read = self.cpu_stat.read_at(&mut text, 0);
        let MonoNanos(after) = clock::mono();
        let len = read.map_err(|error| match error.raw_os_error() {
            Some(errno) if errno == Errno::NODEV.raw_os_error() => CgroupReadError::Gone,
            _ => CgroupReadError::Io(error.kind()),
        })?;
        let cpu_time = procfs::cgroup_cpu_micros(&text[..len])
            .and_then(|micros| micros.checked_mul(1_000))
            .map(CpuTime);
        let cpu_time = cpu_time.ok_or(CgroupReadError::Io(io::ErrorKind::InvalidData))?;
        Ok(CgroupReading { at: MonoNanos(before + (after - before) / 2), cpu_time })
    }
}

// Miri runs no such system calls.
#[cfg(test)]
#[cfg(not(miri))]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use plugmeter_test_support::report_skipped;

    use super::*;

    /// A cgroup that is removed at the end.
    struct Cgroup(PathBuf);

    impl Cgroup {
        fn new(test: &str) -> Option<Self> {
            let name = format!("plugmeter-{test}-{}", std::process::id());
            let created = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].iter().find_map(|mount| {
                Path::new(mount).join("cgroup.controllers").exists().then_some(())?;
                let folder = Path::new(mount).join(&name);
                std::fs::create_dir(&folder).ok().map(|()| Self(folder))
            });
            if created.is_none() {
                report_skipped("no cgroup of version 2 can be created here", test);
            }
            created
        }
    }

    impl Drop for Cgroup {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir(&self.0);
        }
    }

    #[test]
    fn cgroup_counts_ended_processes_until_removed() {
        let Some(cgroup) = Cgroup::new("cgroup_counts_ended_processes") else { return };
        let cpu = CgroupCpu::open(&cgroup.0).unwrap();
        let before = clock::mono();
        let CgroupReading { at, cpu_time: idle } = cpu.read().unwrap();
        assert!(before <= at && at <= clock::mono());
        assert_eq!(idle, CpuTime(0));
        // The shell enters the cgroup, then counts up and reports what it has used.
        let script = "echo $$ > \"$0/cgroup.procs\"; i=0; \
                      while [ $i -lt 200000 ]; do i=$((i+1)); done; times";
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", script]).arg(&cgroup.0).stderr(Stdio::inherit()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let used = cpu.read().unwrap().cpu_time;
        assert!(used > CpuTime(10_000_000), "{used:?}: {output:?}");
        std::fs::remove_dir(&cgroup.0).unwrap();
        std::fs::create_dir(&cgroup.0).unwrap();
        let read = cpu.read();
        assert!(matches!(read, Err(CgroupReadError::Gone)), "{read:?}");
    }

    #[test]
    fn folder_of_no_cgroup2_is_refused() {
        for path in ["/proc", "/tmp", "/proc/self/stat", "/sys/fs/cgroup/cpuacct"] {
            if Path::new(path).exists() {
                let opened = CgroupCpu::open(Path::new(path));
                assert!(
                    matches!(opened, Err(CgroupError::NotCgroup2 { .. })),
                    "{path}: {opened:?}"
                );
            }
        }
        let opened = CgroupCpu::open(Path::new("/proc/no such folder"));
        assert!(matches!(opened, Err(CgroupError::Io { .. })), "{opened:?}");
        let Some(cgroup) = Cgroup::new("folder_of_no_cgroup2_is_refused") else { return };
        let file = cgroup.0.join("cgroup.procs");
        let opened = CgroupCpu::open(&file);
        assert!(matches!(opened, Err(CgroupError::NotCgroup2 { .. })), "{opened:?}");
    }
    /// From Linux 4.15 on, only a removed cgroup has no such file.
    #[test]
    fn cgroup_without_cpu_stat_is_refused() {
        let Some(cgroup) = Cgroup::new("cgroup_without_cpu_stat_is_refused") else { return };
        let folder = File::open(&cgroup.0).unwrap();
        std::fs::remove_dir(&cgroup.0).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
        let opened = CgroupCpu::open(&path);
        assert!(
            matches!(&opened, Err(CgroupError::NoCpuStat { path: found }) if *found == path),
            "{opened:?}"
        );
    }
}
