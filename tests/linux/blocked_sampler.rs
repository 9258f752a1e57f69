//! A sampler that does not run, as if it were preempted: only `sample_now` waits for it.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread;

use plugmeter::{Collector, Plugin, PluginState, RunId, Snapshot, Window};
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::{manual_collector, probes, sleeper, wait_for};

use crate::sampler_gate;

/// Runs every query of a reader, while there is no snapshot newer than `before`.
fn read(collector: &Collector, before: &Snapshot) {
    let snapshot = collector.reader().snapshot();
    assert_eq!(snapshot, *before, "there is no newer snapshot");
    let view = snapshot.plugin("dice").unwrap();
    let samples = view.history(Window::All).count();
    assert_eq!(view.aggregates(Window::All).unwrap().sample_count, samples);
    assert_eq!(view.current().unwrap().event_count, 3);
    assert!(snapshot.to_string().contains("dice"));
    assert!(serde_json::to_string(&snapshot).unwrap().contains("dice"));
}

/// Sends every kind of report.
fn send_reports(collector: &Collector, plugin: &Plugin, run: RunId, pid: u32) {
    plugin.events().increment();
    plugin.exited(run, ExitStatus::from_raw(3 << 8));
    let added = collector.register("8ball").unwrap();
    added.started(pid, "2.0");
    added.set_state(PluginState::Unhealthy);
    assert!(collector.plugin("8ball").is_some());
    assert!(collector.register("8ball").is_err());
    collector.register("trivia").unwrap().crashed();
    collector.register("gone").unwrap().remove();
}

#[test]
fn blocked_sampler_blocks_no_reader_or_report() {
    let test = blocked_sampler_blocks_no_reader_or_report;
    if !enter_isolated(test, &[]) {
        return;
    }
    for probe in probes() {
        let collector = Arc::new(manual_collector(probe));
        let plugin = collector.register("dice").unwrap();
        let (first, second) = (sleeper(), sleeper());
        let run = plugin.started(first.pid(), "1.0");
        plugin.events().add(3);
        let before = collector.sample_now().unwrap();
        sampler_gate::while_blocked(&collector, || {
            let (collector, before, pid) = (Arc::clone(&collector), before.clone(), second.pid());
            // Not a scoped thread: if it hangs, the test must not hang as well.
            let user = thread::spawn(move || {
                read(&collector, &before);
                send_reports(&collector, &plugin, run, pid);
                read(&collector, &before);
            });
            wait_for("reads and reports to return", || user.is_finished().then_some(()));
            assert!(sampler_gate::is_blocked(), "{probe}: the sampler was unblocked early");
            user.join().unwrap();
        });
        // When the sampler continues, it processes all of the reports.
        let after = collector.sample_now().unwrap();
        let names: Vec<_> = after.plugins().map(|view| view.name()).collect();
        assert_eq!(names, ["8ball", "dice", "trivia"], "{probe}");
        let [added, old, _] = [0, 1, 2].map(|at| after.plugins().nth(at).unwrap());
        assert_eq!((old.event_count(), old.crash_count()), (4, 1), "{probe}");
        assert_eq!((added.pid(), added.version()), (Some(second.pid()), Some("2.0")), "{probe}");
        assert_eq!(added.state(), PluginState::Unhealthy, "{probe}");
    }
}
