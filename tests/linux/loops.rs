//! Crash loops: most runs are over before a tick could see them.

use std::process::ExitStatus;
use std::time::Duration;

use plugmeter::{PluginState, ProbeKind, RunId};

use crate::support::{outlast_the_grace, probes, shell, ticking};
use crate::world::{entered, own_descriptors, resident};

const RUNS: usize = 1_000;

/// Which runs end cleanly.
fn is_clean(number: usize) -> bool {
    number % 5 == 4
}

/// A thousand runs of one plugin, each reaped before the next one is named. `told` is told how each
/// has ended. Returns how many of them crashed.
fn crash_loop(probe: ProbeKind, with_clean_ends: bool, told: bool) {
    let collector = ticking(probe, Duration::from_millis(40));
    let plugin = collector.register("dice").unwrap();
    let mut crashes = 0;
    let mut halfway = (0, 0);
    for number in 0..RUNS {
        let clean = with_clean_ends && is_clean(number);
        let mut child = shell(if clean { "exit 0" } else { "exit 3" });
        let run: RunId = plugin.started(child.pid(), "1.0");
        plugin.events().increment();
        let status: ExitStatus = child.wait();
        if told {
            plugin.exited(run, status);
        }
        crashes += u64::from(!clean);
        if number == RUNS / 2 {
            collector.sample_now().unwrap();
            halfway = (own_descriptors().len(), resident());
        }
    }
    outlast_the_grace(&collector);
    let snapshot = collector.sample_now().unwrap();
    let view = snapshot.plugin("dice").unwrap();
    assert_eq!(view.crash_count(), crashes, "{probe}, told: {told}");
    assert_eq!(view.restart_count(), RUNS as u64 - 1, "{probe}, told: {told}");
    assert_eq!(view.event_count(), RUNS as u64);
    assert_eq!(view.runs().count(), 256, "the newest");
    assert!(view.runs().all(|run| run.end.is_some()));
    assert_eq!(view.pid(), None);
    let newest = view.runs().rfind(|run| crashed(run)).unwrap();
    assert_eq!(view.last_crash(), newest.ended_at);
    if !(with_clean_ends && is_clean(RUNS - 1)) {
        assert_eq!(view.state(), PluginState::Crashed);
    }
    let (descriptors, memory) = halfway;
    assert!(own_descriptors().len() <= descriptors, "{probe}: {:?}", own_descriptors());
    let more = resident().saturating_sub(memory);
    assert!(more < 3_000 * 1_024, "{probe}: {more} bytes more than after half of the runs");
}

fn crashed(run: &plugmeter::Run) -> bool {
    run.end != Some(plugmeter::RunEnd::Exited(0))
}

#[test]
fn of_a_crash_loop_that_the_host_reports_every_crash_counts_once_and_no_clean_end_does() {
    if entered(
        of_a_crash_loop_that_the_host_reports_every_crash_counts_once_and_no_clean_end_does,
        &[],
    ) {
        probes().into_iter().for_each(|probe| crash_loop(probe, true, true));
    }
}

#[test]
fn of_a_crash_loop_of_a_host_that_only_names_the_next_run_every_crash_counts_once() {
    if entered(of_a_crash_loop_of_a_host_that_only_names_the_next_run_every_crash_counts_once, &[])
    {
        probes().into_iter().for_each(|probe| crash_loop(probe, false, false));
    }
}
