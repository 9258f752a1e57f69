//! A test in a process of its own, in which it may count descriptors and memory, be another user, or
//! live in namespaces of its own.
#![allow(dead_code)] // each file uses its part

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::skipped;

const INSIDE: &str = "PLUGMETER_TEST_WORLD";

/// Numbers of processes that are its own; when it ends, so do all that are in it.
pub(crate) const OWN_PIDS: &[&str] =
    &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Another user, whom nothing belongs to.
pub(crate) const AS_NOBODY: [&str; 4] =
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Whether the test is in the world that the commands make, which each run the command that follows
/// them. If not, runs the test in there and returns `false` when that has passed.
#[must_use]
pub(crate) fn entered<T: Fn()>(_: T, commands: &[&str]) -> bool {
    let path = std::any::type_name::<T>();
    let (_, name) = path.split_once("::").unwrap();
    if std::env::var(INSIDE).is_ok_and(|world| world == name) {
        return true;
    }
    if !can_be_made(commands) {
        skipped(&format!("{commands:?} is not possible here"), name);
        return false;
    }
    let program = std::env::current_exe().unwrap();
    // Another user may not be allowed to where this program is.
    let copied = commands.contains(&"setpriv").then(|| copy_of(&program, name));
    let program = copied.as_ref().unwrap_or(&program).to_str().unwrap();
    let words: Vec<&str> = commands.iter().copied().chain([program]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--exact", name, "--nocapture"]);
    let output = command.env(INSIDE, name).stdin(Stdio::null()).output();
    if let Some(copy) = &copied {
        std::fs::remove_file(copy).unwrap();
    }
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", words[0]));
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
    let _ = write!(stderr(), "{complained}");
    false
}

fn can_be_made(commands: &[&str]) -> bool {
    let Some((first, rest)) = commands.split_first() else {
        return true;
    };
    let mut command = Command::new(first);
    command.args(rest).arg("true").stdin(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// By another process: one that this one starts meanwhile would inherit a descriptor that writes to
/// the copy, for a moment in which that cannot be run.
fn copy_of(program: &Path, name: &str) -> PathBuf {
    let file = format!("plugmeter-{}-{}", name.replace("::", "-"), process_id());
    let copy = std::env::temp_dir().join(file);
    assert!(Command::new("cp").arg(program).arg(&copy).status().unwrap().success());
    copy
}

fn process_id() -> u32 {
    std::process::id()
}

/// Whether a test cannot get into its world from here, which is said.
pub(crate) fn lacks_root(what: &str) -> bool {
    let inside = std::env::var_os(INSIDE).is_some();
    let lacking = !inside && !rustix::process::geteuid().is_root();
    if lacking {
        skipped("it takes root", what);
    }
    lacking
}

/// What the descriptors of a process are.
pub(crate) fn descriptors(pid: u32) -> Vec<String> {
    let folder = format!("/proc/{pid}/fd");
    // One that is closed meanwhile is none: that of reading the folder.
    let links = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = links
        .filter_map(|link| std::fs::read_link(link).ok())
        .map(|target| target.to_str().unwrap().to_owned())
        .filter(|name| *name != format!("/proc/{pid}/fd"))
        .collect();
    names.sort_unstable();
    names
}

/// Those of this process.
pub(crate) fn own_descriptors() -> Vec<String> {
    descriptors(process_id())
}

/// Resident memory of this process in bytes, whatever its number is.
pub(crate) fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// The most that it ever was.
pub(crate) fn most_resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    most.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}
