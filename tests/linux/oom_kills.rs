//! Processes that the OOM killer kills, in a memory cgroup of their own.

use std::fs;
use std::path::{Path, PathBuf};

use plugmeter::{ProbeKind, RunEnd};
use plugmeter_test_support::isolated_process::{enter_isolated, lacks_root};
use plugmeter_test_support::{ChildGuard, manual_collector, report_skipped, wait_for};

use crate::test_child::{release, signal, waiting_shell};

const LIMIT_BYTES: &str = "16777216";

/// A cgroup with a memory limit. Removed on drop, when its processes have been reaped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// `None` if no such group can be created here.
    fn new(name: &str) -> Option<Self> {
        let name = format!("plugmeter-{name}-{}", std::process::id());
        let v1 = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.swappiness");
        let v2 = ("/sys/fs/cgroup", "memory.max", "memory.swap.max");
        [v1, v2].into_iter().find_map(|(mount, limit, swap)| {
            if !Path::new(mount).join("cgroup.procs").exists() {
                return None;
            }
            let path = Path::new(mount).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Self(path);
            fs::write(group.0.join(limit), LIMIT_BYTES).ok()?;
            // Without swap, so that the limit is reached. Not every kernel has the file.
            let _ = fs::write(group.0.join(swap), "0");
            Some(group)
        })
    }

    fn add(&self, child: &ChildGuard) {
        fs::write(self.0.join("cgroup.procs"), child.pid().to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Reports a waiting shell of the group, ends it by `end`, and returns `oom_killed`.
fn oom_killed(group: &Cgroup, end: impl FnOnce(&mut ChildGuard)) -> Option<bool> {
    // It buffers what it has read since the last line: everything.
    let mut child = waiting_shell("exec tail /dev/zero");
    group.add(&child);
    let collector = manual_collector(ProbeKind::Native);
    collector.register("dice").unwrap().started(child.pid(), "");
    collector.sample_now().unwrap();
    end(&mut child);
    let run = wait_for("its exit", || {
        let snapshot = collector.sample_now().unwrap();
        let run = snapshot.plugin("dice").unwrap().runs().last().unwrap().clone();
        run.end.is_some().then_some(run)
    });
    child.wait();
    assert_eq!(run.end, Some(RunEnd::Signaled(9)));
    run.oom_killed
}

#[test]
fn oom_kill_is_distinguished_from_other_kills() {
    let test = "oom_kill_is_distinguished_from_other_kills";
    if lacks_root(test) {
        return;
    }
    let Some(group) = Cgroup::new("oom") else {
        report_skipped("no memory cgroup can be created", test);
        return;
    };
    assert_eq!(oom_killed(&group, |child| signal(child.pid(), "KILL")), Some(false));
    assert_eq!(oom_killed(&group, release), Some(true));
    // After an earlier OOM kill in the same group.
    assert_eq!(oom_killed(&group, |child| signal(child.pid(), "KILL")), Some(false));
}

/// Without the files of the cgroup it is unknown.
#[test]
fn oom_kill_without_cgroup_files_is_unknown() {
    if lacks_root("mounting") {
        return;
    }
    if !enter_isolated(oom_kill_without_cgroup_files_is_unknown, &["unshare", "--mount"]) {
        return;
    }
    let Some(group) = Cgroup::new("hidden") else {
        report_skipped("no memory cgroup can be created", "oom_kill_without_cgroup_files");
        return;
    };
    let mut child = waiting_shell("exec sleep 1000");
    group.add(&child);
    let mount = |arguments: &[&str]| {
        let status = std::process::Command::new(arguments[0]).args(&arguments[1..]).status();
        assert!(status.unwrap().success());
    };
    mount(&["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup"]);
    let collector = manual_collector(ProbeKind::Native);
    collector.register("dice").unwrap().started(child.pid(), "");
    collector.sample_now().unwrap();
    signal(child.pid(), "KILL");
    let run = wait_for("its exit", || {
        let snapshot = collector.sample_now().unwrap();
        let run = snapshot.plugin("dice").unwrap().runs().last().unwrap().clone();
        run.end.is_some().then_some(run)
    });
    assert_eq!((run.end, run.oom_killed), (Some(RunEnd::Signaled(9)), None));
    child.wait();
    mount(&["umount", "/sys/fs/cgroup"]);
}
