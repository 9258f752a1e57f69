//! The host's signals: the sampler's thread takes none of them, and the start of a collector does not
//! change which signals the host blocks.

use std::fs;

use nix::sys::signal::{SigSet, Signal};
use plugmeter::{Collector, Config, ProbeKind, StartError};
use plugmeter_test_support::forked::fork;
use plugmeter_test_support::isolated_process::{AS_NOBODY, enter_isolated};
use plugmeter_test_support::signals::ReceiveBy;
use plugmeter_test_support::{manual_collector, probes, report_skipped};
use rustix::process::geteuid;

use super::start::{is_thread_limit_enforced, without_threads};

const ROUNDS: usize = 10;

/// Starts hosts, each in a process without the threads of the test harness, which block no signals.
#[track_caller]
fn assert_hosts_receive_signal(receive_by: ReceiveBy) {
    for probe in probes() {
        for round in 0..ROUNDS {
            let code = fork(|| {
                let collector = manual_collector(probe);
                let is_received = receive_by.receives_sigterm();
                let is_sampling = collector.sample_now().is_ok();
                i32::from(!is_received) + 2 * i32::from(!is_sampling)
            });
            assert_eq!(code, 0, "{receive_by:?}, {probe}, round {round}");
        }
    }
}

#[test]
fn signal_blocked_after_start_reaches_sigwait() {
    if enter_isolated(signal_blocked_after_start_reaches_sigwait, &[]) {
        assert_hosts_receive_signal(ReceiveBy::Sigwait);
    }
}

#[test]
fn signal_blocked_after_start_reaches_signalfd() {
    if enter_isolated(signal_blocked_after_start_reaches_signalfd, &[]) {
        assert_hosts_receive_signal(ReceiveBy::Signalfd);
    }
}

#[test]
fn signal_blocked_after_start_reaches_ppoll() {
    if enter_isolated(signal_blocked_after_start_reaches_ppoll, &[]) {
        assert_hosts_receive_signal(ReceiveBy::Ppoll);
    }
}

/// The mask of a host that blocks some signals, among them one that the sampler's thread does not.
fn host_mask() -> SigSet {
    [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGTRAP].into_iter().collect()
}

#[test]
fn start_keeps_callers_signal_mask() {
    if !enter_isolated(start_keeps_callers_signal_mask, &[]) {
        return;
    }
    for mask in [SigSet::empty(), host_mask()] {
        mask.thread_set_mask().unwrap();
        for probe in probes() {
            for _ in 0..ROUNDS {
                let collector = manual_collector(probe);
                assert_eq!(SigSet::thread_get_mask(), Ok(mask), "{probe}");
                drop(collector);
                assert_eq!(SigSet::thread_get_mask(), Ok(mask), "{probe}");
            }
        }
    }
}

#[test]
fn failed_start_keeps_callers_signal_mask() {
    // The limit does not apply to root.
    let commands: &[&str] = if geteuid().is_root() { &AS_NOBODY } else { &[] };
    if !enter_isolated(failed_start_keeps_callers_signal_mask, commands) {
        return;
    }
    if !is_thread_limit_enforced() {
        report_skipped("the limit of processes does not hold here", "a start that gets no thread");
        return;
    }
    for mask in [SigSet::empty(), host_mask()] {
        mask.thread_set_mask().unwrap();
        for probe in probes() {
            for _ in 0..ROUNDS {
                let config = Config::default().probe(probe);
                let started = without_threads(|| Collector::start(config));
                assert!(matches!(started, Err(StartError::Thread(_))), "{probe}: {started:?}");
                assert_eq!(SigSet::thread_get_mask(), Ok(mask), "{probe}");
            }
        }
    }
}

/// Handlers of crash reporters and sandboxes run in the thread that causes the signal.
#[test]
fn sampler_blocks_all_but_its_own_faults() {
    if !enter_isolated(sampler_blocks_all_but_its_own_faults, &[]) {
        return;
    }
    let _collector = manual_collector(ProbeKind::Native);
    let blocked = blocked_signals("plugmeter");
    let unblocked = Signal::iterator().filter(|signal| blocked & (1 << (*signal as i32 - 1)) == 0);
    let unblocked: Vec<Signal> = unblocked.collect();
    // SIGKILL and SIGSTOP cannot be blocked: signal(7).
    let expected = [
        Signal::SIGILL,
        Signal::SIGTRAP,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGKILL,
        Signal::SIGSEGV,
        Signal::SIGSTOP,
        Signal::SIGSYS,
    ];
    assert!(unblocked.iter().all(|signal| expected.contains(signal)), "{unblocked:?}");
    assert!(expected.iter().all(|signal| unblocked.contains(signal)), "{unblocked:?}");
}

/// Returns the signals that the thread of this name blocks, as a bit set: proc_pid_status(5).
fn blocked_signals(thread: &str) -> u64 {
    let mut tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let task = tasks
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread));
    let status = fs::read_to_string(task.unwrap().join("status")).unwrap();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    u64::from_str_radix(blocked.trim(), 16).unwrap()
}
