//! Crash loops in which most runs are over before a tick could sample them.

use std::process::ExitStatus;
use std::time::Duration;

use plugmeter::{PluginState, ProbeKind, RunId};
use plugmeter_test_support::isolated_process::{enter_isolated, own_descriptors, resident_bytes};
use plugmeter_test_support::{probes, shell, ticking_collector, wait_past_crash_grace};

const RUNS: usize = 1_000;

/// Returns whether the run with this number exits cleanly.
fn is_clean(number: usize) -> bool {
    number % 5 == 4
}

/// Runs one plugin a thousand times, each process reaped before the next one is reported. If
/// `is_reported`, the host reports each exit. Asserts the number of crashes, and of ends that are unknown
/// because the process was reaped before the sampler could attach it.
fn crash_loop(probe: ProbeKind, with_clean_exits: bool, is_reported: bool) {
    let collector = ticking_collector(probe, Duration::from_millis(40));
    let plugin = collector.register("dice").unwrap();
    let mut crashes = 0;
    let mut halfway = (0, 0);
    for number in 0..RUNS {
        let clean = with_clean_exits && is_clean(number);
        let mut child = shell(if clean { "exit 0" } else { "exit 3" });
        let run: RunId = plugin.started(child.pid(), "1.0");
        plugin.events().increment();
        let status: ExitStatus = child.wait();
        if is_reported {
            plugin.exited(run, status);
        }
        crashes += u64::from(!clean);
        if number == RUNS / 2 {
            collector.sample_now().unwrap();
            halfway = (own_descriptors().len(), resident_bytes());
        }
    }
    wait_past_crash_grace(&collector);
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("dice").unwrap();
    let unknown = view.unknown_end_count();
    assert_eq!(view.crash_count() + unknown, crashes, "{probe}, reported: {is_reported}");
    assert!(!is_reported || unknown == 0, "{unknown}");
    assert!(is_reported || probe == ProbeKind::Native || view.crash_count() == 0);
    assert_eq!(view.restart_count(), RUNS as u64 - 1, "{probe}, reported: {is_reported}");
    assert_eq!(view.event_count(), RUNS as u64);
    assert_eq!(view.runs().count(), 256, "the newest");
    assert!(view.runs().all(|run| run.end.is_some()));
    assert_eq!(view.pid(), None);
    if let Some(newest) = view.runs().rfind(|run| crashed(run)) {
        assert_eq!(view.last_crash(), newest.ended_at);
    }
    let expected = if crashed(view.runs().last().unwrap()) {
        PluginState::Crashed
    } else {
        PluginState::Stopped
    };
    assert_eq!(view.state(), expected);
    let (descriptors, memory) = halfway;
    assert!(own_descriptors().len() <= descriptors, "{probe}: {:?}", own_descriptors());
    let more = resident_bytes().saturating_sub(memory);
    assert!(more < 3_000 * 1_024, "{probe}: {more} bytes more than after half of the runs");
}

fn crashed(run: &plugmeter::Run) -> bool {
    run.end == Some(plugmeter::RunEnd::Exited(3))
}

#[test]
fn reported_crash_loop_counts_each_crash_once() {
    if enter_isolated(reported_crash_loop_counts_each_crash_once, &[]) {
        probes().into_iter().for_each(|probe| crash_loop(probe, true, true));
    }
}

#[test]
fn unreported_crash_loop_counts_each_exit_once() {
    if enter_isolated(unreported_crash_loop_counts_each_exit_once, &[]) {
        probes().into_iter().for_each(|probe| crash_loop(probe, false, false));
    }
}
