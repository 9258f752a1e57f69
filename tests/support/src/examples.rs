//! The executables of the examples, and the worker processes that they start.

use std::env;
use std::path::PathBuf;

/// Returns the path of an example's executable.
///
/// `cargo test` builds the examples beside the tests; `cargo test --test NAME` alone does not.
///
/// # Panics
///
/// If the example was not built.
pub fn executable(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the path of a test is known");
    // target/PROFILE/deps/NAME-HASH, and target/PROFILE/examples/NAME.
    let profile = test.ancestors().nth(2).expect("it is in target/PROFILE/deps");
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let path: PathBuf = [profile, "examples".as_ref(), file.as_ref()].iter().collect();
    assert!(path.exists(), "no {}: build it with `cargo build --examples`", path.display());
    path
}

/// Returns whether the process is a running worker of an example.
#[cfg(target_os = "linux")]
pub fn is_worker(pid: u32) -> bool {
    // The command line of a zombie is empty.
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|&byte| byte == 0).any(|arg| arg == b"--worker"))
}

/// Returns the workers of the process `parent`.
#[cfg(target_os = "linux")]
pub fn workers(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == format!("PPid:\t{parent}"))
    };
    std::fs::read_dir("/proc")
        .expect("there is a /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| is_child(pid) && is_worker(*pid))
        .collect()
}
