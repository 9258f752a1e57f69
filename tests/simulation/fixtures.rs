//! Simulations and inputs that the definitions share.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, PluginState, RunEnd, Snapshot, Window};

pub(crate) const POLL: Duration = Duration::from_secs(5);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A simulation whose history keeps `samples` samples.
pub(crate) fn keeping(samples: u32) -> Simulation {
    Simulation::new(Config::default().poll_interval(POLL).history_duration(POLL * samples)).unwrap()
}

pub(crate) fn usage(cpu_ms: u64, kib: u64) -> Usage {
    Usage { cpu_time: Duration::from_millis(cpu_ms), memory_bytes: kib * 1_024 }
}

pub(crate) fn idle(_pid: u32) -> Usage {
    usage(0, 1_024)
}

pub(crate) fn exit(code: i32) -> ExitStatus {
    ExitStatus::from_raw(code << 8)
}

pub(crate) fn signal(signal: i32) -> ExitStatus {
    ExitStatus::from_raw(signal)
}

/// State, crash count and the end of the last run of the only plugin.
pub(crate) fn shown(sim: &Simulation) -> (PluginState, u64, Option<RunEnd>) {
    let snapshot = sim.snapshot();
    let view = snapshot.plugins().next().unwrap();
    (view.state(), view.crash_count(), view.runs().last().and_then(|run| run.end))
}

pub(crate) fn cpu(snapshot: &Snapshot, name: &str) -> Vec<Option<f64>> {
    snapshot.plugin(name).unwrap().history(Window::All).map(|sample| sample.cpu_percent).collect()
}
