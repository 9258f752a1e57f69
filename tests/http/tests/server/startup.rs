//! Start and stop of the server, and invalid configs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use plugmeter::http::{self, HttpConfig, HttpError};
use plugmeter_http_tests::{get, serve};

use super::simulation;

#[test]
fn server_listens_from_serve_to_stop() {
    let sim = simulation();
    let (server, address) = serve(sim.reader(), HttpConfig::default());
    assert_eq!(address.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_ne!(address.port(), 0);
    assert_eq!(get(address, "/health").status, 200);
    server.stop();
    server.stop();
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(server.local_addr(), Some(address), "the address that it had");
    let (dropped, address) = serve(sim.reader(), HttpConfig::default());
    drop(dropped);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn concurrent_stops_return_after_stop() {
    let sim = simulation();
    let (server, address) = serve(sim.reader(), HttpConfig::default());
    let server = Arc::new(server);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                server.stop();
                assert!(TcpStream::connect(address).is_err());
            });
        }
    });
}

#[test]
fn port_in_use_is_bind_error() {
    let sim = simulation();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let error = http::serve(sim.reader(), HttpConfig::default().port(address.port())).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&address.to_string()), "{text}");
    match error {
        HttpError::Bind { addr, source } => {
            assert_eq!(addr, address);
            assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn foreign_address_is_bind_error() {
    let sim = simulation();
    let nowhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)); // TEST-NET-1, RFC 5737
    let error = http::serve(sim.reader(), HttpConfig::default().host(nowhere).port(0)).unwrap_err();
    let expected = SocketAddr::new(nowhere, 0);
    assert!(matches!(error, HttpError::Bind { addr, .. } if addr == expected), "{error}");
}

#[test]
fn disabled_server_checks_config_only() {
    let sim = simulation();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let disabled = HttpConfig::default().enabled(false).port(port);
    let server = http::serve(sim.reader(), disabled.clone()).unwrap();
    assert_eq!(server.local_addr(), None);
    server.stop();
    for wrong in [
        disabled.clone().token(""),
        disabled.clone().max_connections(0),
        disabled.allow_host("a host"),
    ] {
        let error = http::serve(sim.reader(), wrong.clone()).unwrap_err();
        assert!(matches!(error, HttpError::Config { .. }), "{wrong:?}");
        let error = http::router(sim.reader(), wrong.clone()).unwrap_err();
        assert!(matches!(error, HttpError::Config { .. }), "{wrong:?}");
    }
}

#[test]
fn server_outlives_dropped_collector() {
    let collector = plugmeter::Collector::start(plugmeter::Config::default()).unwrap();
    collector.register("dice").unwrap();
    collector.sample_now().unwrap();
    let (_server, address) = serve(collector.reader(), HttpConfig::default());
    drop(collector);
    let document = get(address, "/api/metrics").json();
    assert_eq!(document["stopped"], true);
    assert_eq!(document["plugins"][0]["plugin_name"], "dice");
}
