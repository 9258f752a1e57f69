//! The HTTP server in a child that is forked from its host without exec.
#![allow(unsafe_code)] // to drop a copy of the server that the host still owns

use plugmeter::ProbeKind;
use plugmeter::http::HttpConfig;
use plugmeter_http_tests::{get, serve};
use plugmeter_test_support::forked::fork;
use plugmeter_test_support::isolated_process::enter_isolated;
use plugmeter_test_support::manual_collector;

#[test]
fn stop_in_forked_child_keeps_server_running() {
    if !enter_isolated(stop_in_forked_child_keeps_server_running, &[]) {
        return;
    }
    let collector = manual_collector(ProbeKind::Native);
    let (server, address) = serve(collector.reader(), HttpConfig::default());
    for _ in 0..20 {
        let code = fork(|| {
            server.stop();
            // SAFETY: the whole address space belongs to the child, which exits without another use
            // of the server.
            drop(unsafe { std::ptr::read(&raw const server) });
            0
        });
        assert_eq!(code, 0);
        assert_eq!(get(address, "/health").status, 200);
    }
}
