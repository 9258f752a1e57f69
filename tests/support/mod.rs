//! What several test files need: children that cannot outlive a test, waiting for facts, and saying
//! what did not run.
#![allow(dead_code)] // each file uses its part

use std::io::{Write as _, stderr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plugmeter::{Collector, Config, ConfigError, PluginView, ProbeKind, Snapshot, StartError};

/// A child that is killed and reaped when the test is over, however it ends.
pub(crate) struct Reaped(pub Child);

impl Reaped {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

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

/// A child that runs `script` in a shell.
pub(crate) fn shell(script: &str) -> Reaped {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    Reaped(command.spawn().expect("there is a shell"))
}

/// A child that does nothing for a long time.
pub(crate) fn sleeper() -> Reaped {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null());
    Reaped(command.spawn().expect("there is sleep"))
}

/// The probes that this build has. One that cannot start for another reason is not left out: the
/// test that starts it fails.
pub(crate) fn probes() -> Vec<ProbeKind> {
    let all = [ProbeKind::Native, ProbeKind::Portable];
    let is_built = |kind: &ProbeKind| {
        let started = Collector::start(Config::default().probe(*kind));
        !matches!(started, Err(StartError::Config(ConfigError::ProbeNotBuilt(_))))
    };
    let built: Vec<_> = all.into_iter().filter(is_built).collect();
    assert!(!built.is_empty());
    built
}

/// Says that a test did not run: past the harness, which keeps what passing tests say to itself.
pub(crate) fn skipped(why: &str, what: &str) {
    let _ = writeln!(stderr(), "SKIPPED, because {why}: {what}");
}

/// The same of what is installed wherever every change is tried: there it has to run.
#[track_caller]
pub(crate) fn missing(why: &str, what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what}: {why}");
    skipped(why, what);
}

/// Says that it is over also if its thread panics: the others must not go on for ever.
pub(crate) struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A limit against hanging, nothing else.
const LONG: Duration = Duration::from_secs(120);

/// Waits until `fact` holds, and returns what it says.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(start.elapsed() < LONG, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for a snapshot in which the plugin is as `fact` wants it.
#[track_caller]
pub(crate) fn wait_for_plugin(
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

/// Longer than any test takes.
const HOUR: Duration = Duration::from_secs(3_600);

/// A collector whose ticks are all asked for: the interval is an hour, and the tick that is due at
/// the start is over. On a busy machine it would come when there are plugins already.
pub(crate) fn on_demand(probe: ProbeKind) -> Collector {
    let config = Config::default().poll_interval(HOUR).history_duration(HOUR * 1_000).probe(probe);
    let collector = Collector::start(config).unwrap();
    collector.sample_now().unwrap();
    collector
}

pub(crate) fn ticking(probe: ProbeKind, interval: Duration) -> Collector {
    Collector::start(Config::default().poll_interval(interval).probe(probe)).unwrap()
}

/// Waits until a crash that nobody told of, and that happens now, was counted: then everything
/// that ended before was counted too, if it ever will be.
pub(crate) fn outlast_the_grace(collector: &Collector) {
    // What has ended is noticed before the marker has: else its crash may be due a moment later, where
    // it takes a tick to be noticed, and the marker was gone when it was named.
    collector.sample_now().unwrap();
    let marker = collector.register("marker").unwrap();
    let mut child = sleeper();
    marker.started(child.pid(), "");
    child.kill();
    child.wait();
    wait_for("the marker's crash to be counted", || {
        // Where nothing tells of an end, a tick finds it.
        let snapshot = collector.sample_now().unwrap();
        (snapshot.plugin("marker").unwrap().crash_count() == 1).then_some(())
    });
    marker.remove();
}
