//! The examples, run for real: their executables, and the children that they start.
#![allow(dead_code)] // each file uses its part

use std::env;
use std::path::PathBuf;

/// Where the executable of an example is.
///
/// `cargo test` builds the examples beside the tests; `cargo test --test NAME` alone does not.
pub(crate) fn executable(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its path");
    // target/PROFILE/deps/NAME-HASH, and target/PROFILE/examples/NAME.
    let profile = test.ancestors().nth(2).expect("it lies in target/PROFILE/deps");
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let path: PathBuf = [profile, "examples".as_ref(), file.as_ref()].iter().collect();
    assert!(path.exists(), "no {}: build it with `cargo build --examples`", path.display());
    path
}

/// Whether this is a child of an example, and not merely the remains of one.
#[cfg(target_os = "linux")]
pub(crate) fn is_worker(pid: u32) -> bool {
    // The command line of a zombie is empty.
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|&byte| byte == 0).any(|arg| arg == b"--worker"))
}

/// The workers of the process `parent`.
#[cfg(target_os = "linux")]
pub(crate) fn workers(parent: u32) -> Vec<u32> {
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
