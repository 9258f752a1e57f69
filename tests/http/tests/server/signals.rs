//! The host's signals: the server's thread takes none of them, and its start does not change which
//! signals the host blocks.

use nix::sys::signal::{SigSet, Signal};
use plugmeter::ProbeKind;
use plugmeter::http::{self, HttpConfig};
use plugmeter_http_tests::{get, serve};
use plugmeter_test_support::forked::fork;
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::manual_collector;
use plugmeter_test_support::signals::ReceiveBy;

const ROUNDS: usize = 10;

/// Starts hosts, each in a process without the threads of the test harness, which block no signals.
#[track_caller]
fn assert_hosts_receive_signal(receive_by: ReceiveBy) {
    for round in 0..ROUNDS {
        let code = fork(|| {
            let collector = manual_collector(ProbeKind::Native);
            let (_server, address) = serve(collector.reader(), HttpConfig::default());
            // The server's thread runs.
            assert_eq!(get(address, "/health").status, 200);
            let is_received = receive_by.receives_sigterm();
            let is_serving = get(address, "/health").status == 200;
            i32::from(!is_received) + 2 * i32::from(!is_serving)
        });
        assert_eq!(code, 0, "{receive_by:?}, round {round}");
    }
}

#[test]
fn signal_blocked_after_serve_reaches_sigwait() {
    if enter_isolated(signal_blocked_after_serve_reaches_sigwait, &[]) {
        assert_hosts_receive_signal(ReceiveBy::Sigwait);
    }
}

#[test]
fn signal_blocked_after_serve_reaches_signalfd() {
    if enter_isolated(signal_blocked_after_serve_reaches_signalfd, &[]) {
        assert_hosts_receive_signal(ReceiveBy::Signalfd);
    }
}

#[test]
fn signal_blocked_after_serve_reaches_ppoll() {
    if enter_isolated(signal_blocked_after_serve_reaches_ppoll, &[]) {
        assert_hosts_receive_signal(ReceiveBy::Ppoll);
    }
}

#[test]
fn serve_keeps_callers_signal_mask() {
    if !enter_isolated(serve_keeps_callers_signal_mask, &[]) {
        return;
    }
    let collector = manual_collector(ProbeKind::Native);
    let some: SigSet = [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGTRAP].into_iter().collect();
    for mask in [SigSet::empty(), some] {
        mask.thread_set_mask().unwrap();
        for _ in 0..ROUNDS {
            let (server, address) = serve(collector.reader(), HttpConfig::default());
            assert_eq!(SigSet::thread_get_mask(), Ok(mask));
            // Nothing is started on a port that is in use.
            let taken = HttpConfig::default().port(address.port());
            assert!(http::serve(collector.reader(), taken).is_err());
            assert_eq!(SigSet::thread_get_mask(), Ok(mask));
            server.stop();
        }
    }
}
