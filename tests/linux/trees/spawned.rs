//! Children that the crate waits for, compared with the kernel's account of reaped children, which
//! includes what those have waited for: getrusage(2), `RUSAGE_CHILDREN`.

use std::process::{Command, Stdio};
use std::time::Duration;

use plugmeter::{Collector, Plugin, ProbeKind};
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::reaped::reaped_cpu_time;
use plugmeter_test_support::{manual_collector, ticking_collector};

use super::run::HIDDEN;

const RUNS: u32 = 12;

/// Runs a script whose children end just before it does, and waits for it.
fn run_script(plugin: &Plugin, script: &str) {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    assert!(plugin.spawn(&mut command, "").unwrap().wait().unwrap().success());
}

/// Asserts that the tree's CPU time is the kernel's, in which `waiters` processes of each run hide
/// less than 20 ms.
#[track_caller]
fn assert_reaped(collector: &Collector, before: Duration, waiters: u32) {
    let snapshot = collector.sample_now().unwrap();
    let truth = reaped_cpu_time() - before;
    let view = snapshot.plugin("spawned").unwrap();
    let told = view.tree_cpu_time();
    println!("{told:?} of {truth:?}, of which {:?} are the processes' own", view.cpu_time());
    // The kernel reports microseconds, of user time and of system time.
    assert!(told <= truth + Duration::from_micros(10), "{told:?}, but only {truth:?}");
    let least = truth.mul_f64(0.995).saturating_sub(HIDDEN * waiters * RUNS);
    assert!(told >= least, "{told:?} of {truth:?}, at least {least:?}");
    assert!(view.tree_cpu_time() >= view.cpu_time());
    let sample = view.current().unwrap();
    assert_eq!((sample.process_count, sample.pid), (Some(0), None));
}

/// A child that the script waits for at its last moment.
const LAST_CHILD: &str = "(i=0; while [ $i -lt 40000 ]; do i=$((i + 1)); done); exit 0";

/// Children that are waited for one after the other, and one that is not waited for when the script
/// ends, but exits before it is waited for.
#[test]
fn last_children_of_spawned_run_count() {
    if !enter_isolated(last_children_of_spawned_run_count, &[]) {
        return;
    }
    for collector in [
        manual_collector(ProbeKind::Native),
        ticking_collector(ProbeKind::Native, Duration::from_millis(10)),
        ticking_collector(ProbeKind::Native, Duration::from_millis(50)),
    ] {
        let plugin = collector.register("spawned").unwrap();
        let before = reaped_cpu_time();
        for _ in 0..RUNS {
            run_script(&plugin, LAST_CHILD);
        }
        assert_reaped(&collector, before, 1);
    }
}

#[test]
fn short_jobs_of_spawned_run_count() {
    if !enter_isolated(short_jobs_of_spawned_run_count, &[]) {
        return;
    }
    let job = "(i=0; while [ $i -lt $n ]; do i=$((i + 1)); done) &";
    let script = format!("for n in 1000 5000 9000 2000 7000; do {job} {job} wait; done; exit 0");
    for collector in [
        manual_collector(ProbeKind::Native),
        ticking_collector(ProbeKind::Native, Duration::from_millis(10)),
    ] {
        let plugin = collector.register("spawned").unwrap();
        let before = reaped_cpu_time();
        for _ in 0..RUNS {
            run_script(&plugin, &script);
        }
        assert_reaped(&collector, before, 1);
    }
}

/// All processes are gone before the sampler processes the first report.
#[test]
fn children_of_runs_between_ticks_count() {
    if !enter_isolated(children_of_runs_between_ticks_count, &[]) {
        return;
    }
    let collector = manual_collector(ProbeKind::Native);
    let plugin = collector.register("spawned").unwrap();
    let before = reaped_cpu_time();
    crate::sampler_gate::while_blocked(&collector, || {
        for _ in 0..RUNS {
            run_script(&plugin, LAST_CHILD);
        }
    });
    assert_reaped(&collector, before, 1);
}
