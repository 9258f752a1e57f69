//! Child processes that cannot outlive a test, and waiting for facts.

use std::fs;
use std::io::{Write as _, stderr};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// A child that is killed and reaped at the end of the test, however it ends.
pub(crate) struct Reaped(pub Child);

impl Reaped {
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("a child that was not reaped can be killed");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.0.wait().expect("a child can be waited for")
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reports that a test did not run, past the output capture of the test harness. In CI, where the
/// program is installed, the test fails instead.
#[track_caller]
pub(crate) fn missing(why: &str, what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what}: {why}");
    let _ = writeln!(stderr(), "SKIPPED, because {why}: {what}");
}

/// A limit against hanging, nothing else.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Waits until `fact` returns a value, and returns it.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(start.elapsed() < TIMEOUT, "timed out waiting for: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether this is a running worker of the demo host; the command line of a zombie is empty.
pub(crate) fn is_worker(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|&byte| byte == 0).any(|arg| arg == b"--worker"))
}

/// The workers of the process `parent`.
pub(crate) fn workers(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == format!("PPid:\t{parent}"))
    };
    fs::read_dir("/proc")
        .expect("there is a /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| is_child(pid) && is_worker(*pid))
        .collect()
}
