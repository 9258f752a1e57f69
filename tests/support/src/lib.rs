//! Helpers that several test suites share: child processes that cannot outlive a test, waiting for
//! facts, collectors with and without ticks of their own, and messages about tests that did not run.
#![allow(clippy::unwrap_used)] // a test fails by panicking

pub mod examples;
pub mod exposition;
#[cfg(target_os = "linux")]
pub mod forked;
pub mod isolated_process;
pub mod lives;
pub mod names;
pub mod prometheus_server;
#[cfg(target_os = "linux")]
pub mod reaped;
#[cfg(target_os = "linux")]
pub mod signals;
#[cfg(target_os = "linux")]
pub mod stranger;
#[cfg(unix)]
pub mod wall_clock;

use std::io::{Write as _, stderr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plugmeter::{
    Collector, Config, ConfigError, PluginState, PluginView, ProbeKind, Snapshot, StartError,
};

/// A child process that is killed and reaped on drop, so that no test leaves it behind.
#[derive(Debug)]
pub struct ChildGuard(pub Child);

impl ChildGuard {
    /// Returns the process ID of the child.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Kills the child without reaping it.
    pub fn kill(&mut self) {
        self.0.kill().expect("a child that was not reaped can be killed");
    }

    /// Waits for the child and returns its exit status.
    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().expect("a child can be waited for")
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a child that runs `script` in a shell.
pub fn shell(script: &str) -> ChildGuard {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    ChildGuard(command.spawn().expect("there is a shell"))
}

/// Returns the state after an unclean exit that only the sampler has detected, of a process that was
/// not reaped: the portable probe does not read exit statuses.
pub fn state_after_unclean_exit(probe: ProbeKind) -> PluginState {
    match probe {
        ProbeKind::Native if cfg!(target_os = "linux") => PluginState::Crashed,
        _ => PluginState::Stopped,
    }
}

/// Starts a child that sleeps longer than any test takes.
pub fn sleeper() -> ChildGuard {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null());
    ChildGuard(command.spawn().expect("there is sleep"))
}

/// Returns the probes that this build contains.
///
/// A probe that fails to start for another reason is included: the test that starts it fails.
pub fn probes() -> Vec<ProbeKind> {
    let all = [ProbeKind::Native, ProbeKind::Portable];
    let is_built = |kind: &ProbeKind| {
        let started = Collector::start(Config::default().probe(*kind));
        !matches!(started, Err(StartError::Config(ConfigError::ProbeNotBuilt(_))))
    };
    let built: Vec<_> = all.into_iter().filter(is_built).collect();
    assert!(!built.is_empty());
    built
}

/// Reports that a test did not run.
///
/// Writes to standard error directly, because the test harness hides the output of passing tests.
pub fn report_skipped(reason: &str, test: &str) {
    let _ = writeln!(stderr(), "SKIPPED, because {reason}: {test}");
}

/// Reports that a test did not run for lack of a tool. Fails where `CI` is set: there the tool has to
/// be installed.
///
/// # Panics
///
/// If `CI` is in the environment.
#[track_caller]
pub fn report_missing(reason: &str, test: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: {reason}");
    report_skipped(reason, test);
}

/// Sets a flag on drop, also if its thread panics, so that threads that poll the flag end.
#[derive(Debug)]
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A script for a shell with pipes. After a line of input it starts a process and loses it: its parent
/// exits, which makes it an orphan. It prints the pid of the orphan, and exits at the end of its input.
pub const MAKE_ORPHAN: &str =
    "read x; (nohup sleep 1000 </dev/null >/dev/null 2>&1 & echo $!); read x";

/// Waits until the process is the child of another one than `shell` and its subshells, and returns a
/// guard that kills it.
#[cfg(target_os = "linux")]
pub fn wait_until_orphaned(orphan: u32, shell: u32) -> impl Drop {
    struct Killed(u32);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = Command::new("kill").args(["-KILL", &self.0.to_string()]).status();
        }
    }
    let killed = Killed(orphan);
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    wait_for("the parent of a process to exit", || {
        let parent_pid = parent(orphan)?;
        (parent(parent_pid) != Some(shell)).then_some(())
    });
    killed
}

/// Bound for every wait of a test. Only a hang reaches it, however busy the machine is.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(120);

/// Polls `fact` until it returns a value, and returns that value.
///
/// # Panics
///
/// If `fact` returns `None` for [`HANG_TIMEOUT`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(start.elapsed() < HANG_TIMEOUT, "timed out while waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for a snapshot in which `fact` holds for the plugin, and returns that snapshot.
#[track_caller]
pub fn wait_for_plugin(
    collector: &Collector,
    name: &str,
    what: &str,
    fact: impl Fn(PluginView<'_>) -> bool,
) -> Snapshot {
    wait_for(&format!("{name}: {what}"), || {
        let snapshot = collector.snapshot();
        let holds = snapshot.plugin(name).is_some_and(&fact);
        holds.then_some(snapshot)
    })
}

/// Waits until a killed child has exited, without reaping it.
#[cfg(target_os = "linux")]
fn wait_until_zombie(child: &ChildGuard) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    // Fails where the kernel or another thread has reaped it.
    if let Some(pid) = i32::try_from(child.pid()).ok().and_then(Pid::from_raw) {
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    }
}

#[cfg(not(target_os = "linux"))]
fn wait_until_zombie(_child: &ChildGuard) {}

/// A crash that only the sampler has detected is counted after this time.
const CRASH_GRACE_PERIOD: Duration = Duration::from_secs(1);

/// Longer than any test takes.
const HOUR: Duration = Duration::from_secs(3_600);

/// Starts a collector that ticks only when a test calls `sample_now`.
///
/// Its poll interval is an hour. The tick that is due at the start is over when this returns;
/// otherwise it could come after plugins were registered on a busy machine.
pub fn manual_collector(probe: ProbeKind) -> Collector {
    let config = Config::default().poll_interval(HOUR).history_duration(HOUR * 1_000).probe(probe);
    let collector = Collector::start(config).unwrap();
    collector.sample_now().unwrap();
    collector
}

/// Starts a collector that ticks at `interval`.
pub fn ticking_collector(probe: ProbeKind, interval: Duration) -> Collector {
    Collector::start(Config::default().poll_interval(interval).probe(probe)).unwrap()
}

/// Waits past the crash grace period of every process that has exited so far.
///
/// Registers a marker whose process exits now and waits until its unreported crash is counted. Every
/// crash before it has been counted by then, if it is ever counted. Where the marker's status is
/// unknown, because the probe does not read statuses or another thread has reaped it, this waits for
/// the length of the period.
pub fn wait_past_crash_grace(collector: &Collector) {
    // Detects earlier exits before the marker's. Where only a tick detects an exit, an earlier crash
    // would otherwise become due after the marker's.
    collector.sample_now().unwrap();
    let marker = collector.register("marker").unwrap();
    let mut child = sleeper();
    marker.started(child.pid(), "");
    // Attaches it: otherwise its status could be unknown.
    collector.sample_now().unwrap();
    child.kill();
    wait_until_zombie(&child);
    let mut attempts = 0;
    let is_counted = wait_for("the end of the marker to be counted", || {
        // Without exit notifications a tick detects the exit.
        let snapshot = collector.sample_now().unwrap();
        let view = snapshot.plugin("marker").unwrap();
        attempts += 1;
        if attempts == 5 && view.pid().is_some() {
            // Without pidfds and with a foreign `/proc` an exit shows when the process is reaped.
            child.wait();
        }
        let ends = view.crash_count() + view.unknown_end_count();
        (ends == 1).then_some(view.crash_count() == 1)
    });
    if !is_counted {
        let start = Instant::now();
        wait_for("the grace period", || (start.elapsed() > CRASH_GRACE_PERIOD).then_some(()));
        collector.sample_now().unwrap();
    }
    marker.remove();
}
