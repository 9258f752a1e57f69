//! Process trees whose CPU time comes from a cgroup.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use plugmeter::{CgroupError, Collector, Config, PluginState, ProbeKind, Snapshot};
use plugmeter_test_support::isolated_process::{enter_isolated, lacks_root};
use plugmeter_test_support::{ChildGuard, manual_collector, probes, report_missing, wait_for};

/// Mounts the file system in a namespace of its own, for systems without it.
const WITH_CGROUP2: [&str; 5] =
    ["unshare", "--mount", "sh", "-c", "mount -t cgroup2 none /mnt && exec \"$0\" \"$@\""];

/// Counts up, in a process of its own.
const BURN: &str = r#"sh -c "$COUNT""#;
const COUNT: &str = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";

/// Counts up in three children for which it does not wait: the kernel reaps them.
const IGNORE_CHILDREN: &str = r#"
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(3):
    os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", os.environ["COUNT"])
try:
    os.wait()
except ChildProcessError:
    pass
"#;

/// A cgroup of version 2. Removed on drop, when its processes have been reaped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// `None` if it cannot be created here; reported, if no other process can either.
    fn new<T: Fn()>(test: T, name: &str) -> Option<Self> {
        let create = || {
            ["/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/mnt"].iter().find_map(|mount| {
                let folder =
                    Path::new(mount).join(format!("plugmeter-{name}-{}", std::process::id()));
                let is_version_2 = Path::new(mount).join("cgroup.controllers").exists();
                (is_version_2 && fs::create_dir(&folder).is_ok()).then_some(Self(folder))
            })
        };
        if lacks_root(name) {
            return None;
        }
        create().or_else(|| enter_isolated(test, &WITH_CGROUP2).then(create).flatten())
    }

    fn add(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    fn pids(&self) -> String {
        fs::read_to_string(self.0.join("cgroup.procs")).unwrap().trim().to_owned()
    }

    fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(self.0.join("cpu.stat")).unwrap();
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
        Duration::from_micros(usage.parse().unwrap())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A shell that runs lines.
struct Shell {
    child: ChildGuard,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start() -> Self {
        // The end of a child may interrupt `read`.
        let script = "while read -r line || read -r line; do eval \"$line\"; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("COUNT", COUNT).env("IGNORE_CHILDREN", IGNORE_CHILDREN);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut child = ChildGuard(child);
        let input = child.0.stdin.take().unwrap();
        let output = BufReader::new(child.0.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// Runs a line, and waits until the shell has run it.
    fn run(&mut self, line: &str) {
        writeln!(self.input, "{line}; echo done").unwrap();
        let mut response = String::new();
        while response.trim() != "done" {
            response.clear();
            assert_ne!(self.output.read_line(&mut response).unwrap(), 0, "the shell has exited");
        }
    }
}

fn tree_cpu(snapshot: &Snapshot) -> Duration {
    let view = snapshot.plugin("dice").unwrap();
    assert!(view.tree_cpu_time() >= view.cpu_time());
    view.tree_cpu_time()
}

/// Runs lines between ticks in a shell in a cgroup, and returns the CPU time of the tree with the
/// cgroup, without it, and by the cgroup itself.
fn measure(cgroup: &Cgroup, lines: &[&str]) -> [Duration; 3] {
    let mut shell = Shell::start();
    cgroup.add(shell.child.pid());
    shell.run(":");
    let collectors = [(); 2].map(|()| manual_collector(ProbeKind::Native));
    let [with, without] = &collectors;
    let plugin = with.register("dice").unwrap();
    plugin.started_in_cgroup(shell.child.pid(), "1.0", &cgroup.0).unwrap();
    without.register("dice").unwrap().started(shell.child.pid(), "1.0");
    let start = collectors.each_ref().map(|collector| tree_cpu(&collector.sample_now().unwrap()));
    assert_eq!(start[0], Duration::ZERO);
    let before = cgroup.cpu_time();
    for line in lines {
        shell.run(line);
        wait_for("the other processes to exit", || {
            (cgroup.pids() == shell.child.pid().to_string()).then_some(())
        });
        for collector in &collectors {
            collector.sample_now().unwrap();
        }
    }
    let [with, without] = collectors.map(|collector| tree_cpu(&collector.sample_now().unwrap()));
    [with, without, cgroup.cpu_time() - before]
}

#[test]
fn processes_that_leave_no_trace_count_in_a_cgroup() {
    let Some(cgroup) = Cgroup::new(
        processes_that_leave_no_trace_count_in_a_cgroup,
        "processes_that_leave_no_trace_count_in_a_cgroup",
    ) else {
        return;
    };
    let waited_for = format!("{BURN}; {BURN}");
    let daemon = format!("(setsid {BURN} >/dev/null 2>&1 &)");
    let ignored = r#"python3 -c "$IGNORE_CHILDREN""#.to_owned();
    let has_python = Command::new("python3").arg("--version").output().is_ok();
    if !has_python {
        report_missing("there is no python3", "children of a process that ignores SIGCHLD");
    }
    for (shape, line) in [("waited for", &waited_for), ("daemon", &daemon), ("ignored", &ignored)] {
        if shape == "ignored" && !has_python {
            continue;
        }
        let [with, without, used] = measure(&cgroup, &[line, line, line]);
        // The shell itself is read after its cgroup.
        let error = with.abs_diff(used);
        assert!(error < Duration::from_millis(1), "{shape}: {with:?}, not {used:?}");
        assert!(used > Duration::from_millis(20), "{shape}: {used:?}");
        if shape != "waited for" {
            assert!(without < used / 2, "{shape}: {without:?} of {used:?}");
        }
    }
}

#[test]
fn values_continue_after_removal_of_the_cgroup() {
    let Some(cgroup) = Cgroup::new(
        values_continue_after_removal_of_the_cgroup,
        "values_continue_after_removal_of_the_cgroup",
    ) else {
        return;
    };
    let mut shell = Shell::start();
    cgroup.add(shell.child.pid());
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("dice").unwrap();
    plugin.started_in_cgroup(shell.child.pid(), "1.0", &cgroup.0).unwrap();
    collector.sample_now().unwrap();
    shell.run(BURN);
    let before = tree_cpu(&collector.sample_now().unwrap());
    assert!(before > Duration::from_millis(10), "{before:?}");
    // Its processes have left it.
    fs::write(cgroup.0.parent().unwrap().join("cgroup.procs"), shell.child.pid().to_string())
        .unwrap();
    fs::remove_dir(&cgroup.0).unwrap();
    let removed = collector.sample_now().unwrap();
    assert!(tree_cpu(&removed) >= before);
    shell.run(&format!("{BURN}; {BURN}; {BURN}"));
    // The children count in this tick or the next one.
    wait_for("the tree to be measured without its cgroup", || {
        let snapshot = collector.sample_now().unwrap();
        (tree_cpu(&snapshot) > before).then_some(())?;
        let sample = snapshot.plugin("dice").unwrap().current().unwrap();
        (sample.tree_cpu_percent > sample.cpu_percent).then_some(())
    });
    let stat = fs::read_to_string(format!("/proc/{}/stat", shell.child.pid())).unwrap();
    let ticks = stat.split(' ').skip(13).take(4).map(|field| field.parse::<u64>().unwrap());
    // Four numbers of whole clock ticks.
    let used = Duration::from_millis(10 * (ticks.sum::<u64>() + 4));
    let counted = tree_cpu(&collector.sample_now().unwrap());
    assert!(counted < used, "{counted:?} of {used:?}");
}

/// Nothing is reported then.
#[test]
fn folder_that_is_no_cgroup_is_refused() {
    let shell = Shell::start();
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("dice").unwrap();
    let open = |path: &str| plugin.started_in_cgroup(shell.child.pid(), "", Path::new(path));
    for path in ["/proc", "/", "/proc/self/stat"] {
        let error = open(path).unwrap_err();
        assert!(
            matches!(&error, CgroupError::NotCgroup2 { path: found } if found == Path::new(path))
        );
        assert_eq!(error.to_string(), format!("{path} is not a folder of a cgroup2 file system"));
    }
    let error = open("/no such folder").unwrap_err();
    assert!(
        matches!(&error, CgroupError::Io { error, .. } if error.kind() == ErrorKind::NotFound),
        "{error:?}"
    );
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!((view.state(), view.runs().count()), (PluginState::Stopped, 0));
    collector.stop();
    // As every report after that, also with a cgroup.
    open("/no such folder").unwrap();
}

/// The path refers to a removed cgroup, in which no file can be found.
#[test]
fn cgroup_without_cpu_stat_is_refused() {
    let Some(cgroup) =
        Cgroup::new(cgroup_without_cpu_stat_is_refused, "cgroup_without_cpu_stat_is_refused")
    else {
        return;
    };
    let shell = Shell::start();
    let folder = fs::File::open(&cgroup.0).unwrap();
    fs::remove_dir(&cgroup.0).unwrap();
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("dice").unwrap();
    let error = plugin.started_in_cgroup(shell.child.pid(), "", Path::new(&path)).unwrap_err();
    assert!(matches!(error, CgroupError::NoCpuStat { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("the cgroup {path} has no file cpu.stat"));
    let snapshot = collector.sample_now().unwrap();
    assert_eq!(snapshot.plugin("dice").unwrap().runs().count(), 0);
}

#[test]
fn cgroup_is_refused_without_process_trees() {
    for probe in probes() {
        for process_trees in [false, true] {
            if probe == ProbeKind::Native && process_trees {
                continue;
            }
            let config = Config::default().probe(probe).process_trees(process_trees);
            let collector = Collector::start(config).unwrap();
            let plugin = collector.register("dice").unwrap();
            let started = plugin.started_in_cgroup(std::process::id(), "", Path::new("/"));
            assert!(matches!(started, Err(CgroupError::Unsupported)), "{probe}: {started:?}");
            let snapshot = collector.sample_now().unwrap();
            assert_eq!(snapshot.plugin("dice").unwrap().runs().count(), 0);
        }
    }
}
