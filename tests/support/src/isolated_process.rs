//! Runs a test in a process of its own, in which it may count descriptors and memory, install a
//! logger, run as another user, or live in namespaces of its own.

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report_skipped;

/// Names the test that the process was started for.
const ISOLATED_TEST: &str = "PLUGMETER_ISOLATED_TEST";

/// A PID namespace of its own. When its first process exits, so do all processes in it.
pub const OWN_PID_NAMESPACE: &[&str] =
    &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// A user who owns nothing.
pub const AS_NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Returns whether this process was started for `test`. Otherwise runs the test in such a process.
///
/// `commands` is the prefix of the command line: each command runs the one that follows it. Returns
/// `false` after the test has passed in its own process, or if that process cannot be created here,
/// which is reported.
///
/// # Panics
///
/// If the test fails in its own process.
#[must_use]
pub fn enter_isolated<T: Fn()>(_test: T, commands: &[&str]) -> bool {
    let path = std::any::type_name::<T>();
    let (_, name) = path.split_once("::").unwrap();
    if std::env::var(ISOLATED_TEST).is_ok_and(|isolated| isolated == name) {
        return true;
    }
    if !can_run(commands) {
        report_skipped(&format!("{commands:?} is not possible here"), name);
        return false;
    }
    let program = std::env::current_exe().unwrap();
    // Another user may have no access to the directory of this program.
    let copied = commands.contains(&"setpriv").then(|| copy_of(&program, name));
    let program = copied.as_ref().unwrap_or(&program).to_str().unwrap();
    let line: Vec<&str> = commands.iter().copied().chain([program]).collect();
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).args(["--exact", name, "--nocapture"]);
    let output = command.env(ISOLATED_TEST, name).stdin(Stdio::null()).output();
    if let Some(copy) = &copied {
        std::fs::remove_file(copy).unwrap();
    }
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", line[0]));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}\n{errors}");
    let _ = write!(stderr(), "{errors}");
    false
}

fn can_run(commands: &[&str]) -> bool {
    let Some((first, rest)) = commands.split_first() else {
        return true;
    };
    let mut command = Command::new(first);
    command.args(rest).arg("true").stdin(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Copies the program by another process. If this process wrote the copy, a child that another test
/// starts at the same time could inherit the writing descriptor, and the copy could not be executed
/// (`ETXTBSY`).
fn copy_of(program: &Path, name: &str) -> PathBuf {
    let file = format!("plugmeter-{}-{}", name.replace("::", "-"), std::process::id());
    let copy = std::env::temp_dir().join(file);
    assert!(Command::new("cp").arg(program).arg(&copy).status().unwrap().success());
    copy
}

/// Returns whether a test lacks the privileges of root to create its process, and reports it.
#[cfg(target_os = "linux")]
pub fn lacks_root(test: &str) -> bool {
    let is_inside = std::env::var_os(ISOLATED_TEST).is_some();
    let is_lacking = !is_inside && !rustix::process::geteuid().is_root();
    if is_lacking {
        report_skipped("it needs root", test);
    }
    is_lacking
}

/// Returns the targets of all descriptors of a process, sorted.
#[cfg(target_os = "linux")]
pub fn descriptors(pid: u32) -> Vec<String> {
    let folder = format!("/proc/{pid}/fd");
    // The descriptor that reads this folder is closed before its link is read.
    let links = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = links
        .filter_map(|link| std::fs::read_link(link).ok())
        .map(|target| target.to_str().unwrap().to_owned())
        .filter(|name| *name != format!("/proc/{pid}/fd"))
        .collect();
    names.sort_unstable();
    names
}

/// Returns the targets of all descriptors of this process, sorted.
#[cfg(target_os = "linux")]
pub fn own_descriptors() -> Vec<String> {
    descriptors(std::process::id())
}

/// Returns the resident memory of this process.
#[cfg(target_os = "linux")]
pub fn resident_bytes() -> u64 {
    // By `self`, which is right in every PID namespace.
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// Returns the highest resident memory that this process has had.
#[cfg(target_os = "linux")]
pub fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}
