//! The public API of the module `http`, spelled out: code that uses it must continue to compile.

use std::error::Error;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use plugmeter::Config;
use plugmeter::http::{self, HttpConfig, HttpError, HttpServer};
use plugmeter::testing::Simulation;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn value<T: Debug + Clone + PartialEq>() {}
fn json_both_ways<T: Serialize + DeserializeOwned>() {}
fn error<T: Error + Send + Sync + 'static>() {}
fn threads<T: Send + Sync>() {}

#[test]
fn server_calls_have_expected_signatures() {
    value::<HttpConfig>();
    json_both_ways::<HttpConfig>();
    error::<HttpError>();
    threads::<HttpServer>();

    let sim = Simulation::new(Config::default()).unwrap();
    let config = HttpConfig::default()
        .enabled(true)
        .host(IpAddr::V6(Ipv6Addr::LOCALHOST))
        .port(0)
        .allow_host("bot.example")
        .token("s3cret")
        .max_connections(8);
    let _: axum::Router = http::router(sim.reader(), config).unwrap();
    let server: HttpServer = http::serve(sim.reader(), HttpConfig::default().port(0)).unwrap();
    let address: Option<SocketAddr> = server.local_addr();
    let taken = HttpConfig::default().port(address.unwrap().port());
    match http::serve(sim.reader(), taken) {
        Err(HttpError::Bind { addr, source }) => {
            assert_eq!((Some(addr), source.kind()), (address, std::io::ErrorKind::AddrInUse));
        }
        other => panic!("{other:?}"),
    }
    server.stop();
    assert!(matches!(
        http::serve(sim.reader(), HttpConfig::default().token("")),
        Err(HttpError::Config { .. })
    ));
    let _: fn(std::io::Error) -> HttpError = HttpError::Thread;
}
