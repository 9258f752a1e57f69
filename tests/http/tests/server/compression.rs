//! gzip for clients that accept it.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use flate2::read::GzDecoder;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use plugmeter::http::{self, HttpConfig};
use plugmeter::testing::Simulation;
use plugmeter::{Collector, Config};
use plugmeter_http_tests::{Response, connect, exchange, get, get_with_headers, serve};
use tokio::runtime::Builder;

use super::{simulation, usage};

pub(super) const GZIP: &str = "Accept-Encoding: gzip, deflate, br";
const OPENMETRICS: &str = "Accept: application/openmetrics-text";

/// Every route with a document that can be larger than the minimum, with the `Accept` of the request.
pub(super) const DOCUMENTS: [(&str, &str); 12] = [
    ("/", "*/*"),
    ("/plugin?name=plugin%207", "*/*"),
    ("/page/rows", "*/*"),
    ("/page/lines?at=0,1,2,3,4,5,6,7", "*/*"),
    ("/page/plugin?name=plugin%207", "*/*"),
    ("/page.css", "*/*"),
    ("/page.js", "*/*"),
    ("/api/metrics", "*/*"),
    ("/api/plugin?name=plugin%207", "*/*"),
    ("/api/plugin/plugin%207", "*/*"),
    ("/metrics", "text/plain"),
    ("/metrics", "application/openmetrics-text"),
];

/// Running plugins with a history of `ticks`.
pub(super) fn full(plugins: u32, ticks: u64) -> Simulation {
    let mut sim = simulation();
    for index in 0..plugins {
        sim.register(&format!("plugin {index}")).unwrap().started(index + 1, "1.2.3");
    }
    for tick in 0..ticks {
        sim.tick(|pid| Some(usage(tick * u64::from(pid % 7 + 1) / 7)));
    }
    sim
}

/// The document of a gzip response, which is one member, as browsers require.
#[track_caller]
pub(super) fn decode(response: &Response) -> Vec<u8> {
    assert_eq!(response.header("content-encoding").as_deref(), Some("gzip"));
    let mut decoder = GzDecoder::new(&response.body[..]);
    let mut document = Vec::new();
    decoder.read_to_end(&mut document).unwrap();
    assert!(decoder.into_inner().is_empty(), "there are bytes after the member");
    document
}

fn vary(response: &Response) -> Option<String> {
    response.header("vary")
}

fn head(server: SocketAddr, target: &str, headers: &str) -> Response {
    let request = format!("HEAD {target} HTTP/1.1\r\nHost: {server}\r\n{headers}\r\n\r\n");
    exchange(&mut connect(server), request.as_bytes()).unwrap()
}

#[test]
fn gzip_decodes_to_identity_document() {
    let sim = full(20, 30);
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for (target, accept) in DOCUMENTS {
        let accept = format!("Accept: {accept}");
        let identity = get_with_headers(address, target, &[&accept]);
        let gzip = get_with_headers(address, target, &[&accept, GZIP]);
        assert_eq!((identity.status, gzip.status), (200, 200), "{target}");
        assert_eq!(identity.header("content-encoding"), None, "{target}");
        assert!(decode(&gzip) == identity.body, "{target}: the documents differ");
        assert!(gzip.body.len() < identity.body.len(), "{target}");
        for name in ["content-type", "cache-control", "vary", "x-content-type-options"] {
            assert_eq!(gzip.header(name), identity.header(name), "{target}: {name}");
        }
        let expected =
            if target == "/metrics" { "Accept, Accept-Encoding" } else { "Accept-Encoding" };
        assert_eq!(vary(&gzip).as_deref(), Some(expected), "{target}");
        // Cached or not, the compressed bytes are the same.
        let again = get_with_headers(address, target, &[&accept, GZIP]);
        assert!(again.body == gzip.body, "{target}: the compressed bytes differ");
    }
}

#[test]
fn head_has_headers_of_get() {
    let sim = full(20, 30);
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for (target, accept) in DOCUMENTS {
        for coding in [GZIP, "Accept-Encoding: identity"] {
            let accept = format!("Accept: {accept}");
            let of_get = get_with_headers(address, target, &[&accept, coding]);
            let of_head = head(address, target, &format!("{accept}\r\n{coding}"));
            assert_eq!(of_head.status, 200, "{target}");
            assert_eq!(of_head.header_names(), of_get.header_names(), "{target}");
            let length = of_get.body.len().to_string();
            assert_eq!(of_head.header("content-length"), Some(length), "{target}");
            for name in ["content-encoding", "content-type", "vary"] {
                assert_eq!(of_head.header(name), of_get.header(name), "{target}: {name}");
            }
        }
    }
}

#[test]
fn weights_select_the_coding() {
    let sim = full(20, 1);
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let identity = get(address, "/api/metrics").body;
    for (accepted, is_gzip) in [
        ("gzip", true),
        ("GZip", true),
        ("x-gzip", true),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", true),
        ("*", true),
        ("gzip;q=0.5, identity;q=0.5", true),
        ("identity;q=0, gzip;q=0.001", true),
        ("", false),
        ("br", false),
        ("identity", false),
        ("gzip;q=0", false),
        ("gzip;q=0, *", false),
        ("*;q=0", false),
        ("gzip;q=0.5, identity;q=0.6", false),
        ("gzip;q=x", false),
        ("gzip;q=1.5", false),
    ] {
        let header = format!("Accept-Encoding: {accepted}");
        let response = get_with_headers(address, "/api/metrics", &[&header]);
        assert_eq!(response.status, 200, "{accepted}");
        assert_eq!(vary(&response).as_deref(), Some("Accept-Encoding"), "{accepted}");
        let coding = response.header("content-encoding");
        assert_eq!(coding.as_deref(), is_gzip.then_some("gzip"), "{accepted}");
        let document = if is_gzip { decode(&response) } else { response.body };
        assert!(document == identity, "{accepted}");
    }
}

#[test]
fn errors_and_small_bodies_are_not_compressed() {
    let sim = full(1, 1);
    let (_server, address) = serve(sim.reader(), HttpConfig::default().token("s3cret"));
    let token = "Authorization: Bearer s3cret";
    let revision = sim.snapshot().revision();
    let current = format!("/api/metrics?since={revision}");
    let long = format!("/plugin?name={}", "x".repeat(3_000));
    let missing = format!("/api/plugin?name={}", "x".repeat(3_000));
    for (target, status) in [
        (current.as_str(), 204),
        ("/health", 200),
        ("/favicon.svg", 200),
        ("/page/lines", 200),
        ("/nothing", 404),
        (&long, 404),
        (&missing, 404),
        ("/api/metrics?since=x", 400),
    ] {
        let response = get_with_headers(address, target, &[token, GZIP]);
        assert_eq!(response.status, status, "{target}");
        assert_eq!(response.header("content-encoding"), None, "{target}");
    }
    let rejected = get_with_headers(address, "/metrics", &[GZIP]);
    assert_eq!((rejected.status, rejected.header("content-encoding")), (401, None));
    let collector = Collector::start(Config::default()).unwrap();
    let (_server, address) = serve(collector.reader(), HttpConfig::default());
    drop(collector);
    let stopped = get_with_headers(address, "/metrics", &[GZIP]);
    assert_eq!((stopped.status, stopped.header("content-encoding")), (503, None));
}

/// Both codings are of the same revision, also after a new one.
#[test]
fn new_revision_is_compressed_again() {
    let mut sim = full(50, 3);
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let mut last = Vec::new();
    for tick in 3..6 {
        let gzip = get_with_headers(address, "/metrics", &[OPENMETRICS, GZIP]);
        let identity = get_with_headers(address, "/metrics", &[OPENMETRICS]);
        assert!(decode(&gzip) == identity.body);
        assert!(gzip.body != last);
        last = gzip.body;
        sim.tick(|_| Some(usage(tick)));
    }
}

#[test]
fn thousand_plugins_are_under_150_kilobytes() {
    let sim = full(1_000, 60);
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for target in ["/", "/metrics", "/api/metrics", "/page/rows"] {
        let gzip = get_with_headers(address, target, &[GZIP]);
        let document = decode(&gzip);
        assert!(document == get(address, target).body, "{target}");
        println!("{target}: {} bytes, {} as gzip", document.len(), gzip.body.len());
        assert!(gzip.body.len() < 150_000, "{target}: {}", gzip.body.len());
    }
}

/// A client that reads nothing of a compressed page does not affect others.
#[test]
fn slow_gzip_client_does_not_delay_others() {
    let sim = full(2_000, 3);
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n{GZIP}\r\n\r\n");
    let mut slow: Vec<_> = (0..20).map(|_| connect(address)).collect();
    for stream in &mut slow {
        stream.write_all(request.as_bytes()).unwrap();
    }
    // On a busy machine the page says after some seconds that its values are old.
    let mut pages = vec![get(address, "/").body];
    for _ in 0..20 {
        assert_eq!(get(address, "/health").status, 200);
        let gzip = get_with_headers(address, "/", &[GZIP]);
        pages.push(get(address, "/").body);
        assert!(pages.contains(&decode(&gzip)));
    }
    for mut stream in slow {
        let gzip = exchange(&mut stream, b"").unwrap();
        assert!(pages.contains(&decode(&gzip)));
    }
}

/// In one thread, `/health` is answered between any two chunks of a compression, and a cached body
/// is compressed no further time.
#[test]
fn health_is_answered_during_compression() {
    let sim = full(1_000, 3);
    let router = http::router(sim.reader(), HttpConfig::default()).unwrap();
    let service = TowerToHyperService::new(router);
    let runtime = Builder::new_current_thread().build().unwrap();
    // The length of the response, and the number of responses of `/health` before it.
    let request = |target: &str, coding: &str| {
        let page = call(&service, target, coding);
        let health = || call(&service, "/health", coding);
        runtime.block_on(async {
            let page = tokio::spawn(page);
            let mut answered = 0;
            while !page.is_finished() {
                assert_eq!(health().await.0, 200);
                answered += 1;
                tokio::task::yield_now().await;
            }
            let (status, length) = page.await.unwrap();
            assert_eq!(status, 200);
            (length, answered)
        })
    };
    for target in ["/", "/metrics", "/api/metrics", "/page/rows"] {
        let (length, _) = request(target, "identity");
        let (_, cached_identity) = request(target, "identity");
        let (gzip_length, first) = request(target, "gzip");
        let (cached_length, cached) = request(target, "gzip");
        assert!(length > 100_000, "{target}: {length}");
        let chunks = length / (32 * 1_024);
        assert!(first >= chunks, "{target}: {first} responses during {chunks} chunks");
        assert_eq!((cached_length, cached), (gzip_length, cached_identity), "{target}");
    }
}

/// The status and the length of a response.
fn call(
    service: &TowerToHyperService<Router>,
    target: &str,
    coding: &str,
) -> impl Future<Output = (u16, u64)> + Send + 'static + use<> {
    let request = Request::get(target).header("Host", "localhost");
    let request = request.header("Accept-Encoding", coding).body(Body::empty()).unwrap();
    let response = service.call(request);
    async move {
        let response = response.await.unwrap();
        let length = hyper::body::Body::size_hint(response.body()).exact().unwrap();
        (response.status().as_u16(), length)
    }
}
