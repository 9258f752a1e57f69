//! The router in a host's own server.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::routing::get as on_get;
use plugmeter::http::{self, HttpConfig};
use plugmeter::prometheus::{self, Format};
use plugmeter_http_tests::{get, get_with_headers, send_request};
use tokio::runtime::Runtime;

use super::simulation;

/// Starts a host's server, which runs until the runtime is dropped.
pub(super) fn host(app: Router) -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async { axum::serve(listener, app).await });
    (runtime, address)
}

#[test]
fn nested_router_leaves_host_routes_alone() {
    let mut sim = simulation();
    sim.register("dice").unwrap();
    sim.tick(|_| None);
    let config = HttpConfig::default().token("s3cret").enabled(true);
    let app = Router::new()
        .route("/", on_get(async || "the bot"))
        .nest_service("/tools/plugins", http::router(sim.reader(), config).unwrap());
    let (_runtime, address) = host(app);
    let with = |target: &str| get_with_headers(address, target, &["Authorization: Bearer s3cret"]);
    assert_eq!(get(address, "/").text(), "the bot");
    for root in ["/tools/plugins", "/tools/plugins/"] {
        let page = with(root);
        assert_eq!(page.status, 200, "{root}");
        assert!(page.text().contains("dice"));
    }
    assert_eq!(with("/tools/plugins/api/metrics").json()["plugins"][0]["plugin_name"], "dice");
    assert_eq!(with("/tools/plugins/api/plugin?name=dice").json()["name"], "dice");
    assert_eq!(with("/tools/plugins/api/plugin/dice").json()["name"], "dice");
    let page = with("/tools/plugins/metrics");
    assert_eq!(page.text(), prometheus::render(&sim.snapshot(), Format::Prometheus));
    assert_eq!(get(address, "/tools/plugins/health").status, 200, "without the token");
    assert_eq!(get(address, "/tools/plugins/metrics").status, 401);
    assert_eq!(with("/tools/plugins/nothing").status, 404);
    let evil = send_request(address, "GET /tools/plugins/health HTTP/1.1\r\nHost: evil\r\n\r\n");
    assert_eq!(evil.status, 421);
    let own = send_request(address, "GET / HTTP/1.1\r\nHost: evil\r\n\r\n");
    assert_eq!(own.status, 200, "the router does not affect the host's own routes");
    assert_eq!(own.header("content-security-policy"), None);
    let post = send_request(address, "POST /tools/plugins/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(post.status, 405);
    assert_eq!(post.header("x-content-type-options").as_deref(), Some("nosniff"));
}

#[test]
fn nested_path_parameters_do_not_name_plugin() {
    let mut sim = simulation();
    sim.register("dice").unwrap();
    sim.tick(|_| None);
    let plugins = http::router(sim.reader(), HttpConfig::default()).unwrap();
    let app = Router::new().nest_service("/{bot}/{of}/plugins", plugins);
    let (_runtime, address) = host(app);
    let response = get(address, "/music/alice/plugins/api/plugin/dice");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["name"], "dice");
    assert_eq!(get(address, "/dice/dice/plugins/api/plugin/music").status, 404);
}

#[test]
fn concurrent_responses_are_consistent() {
    let mut sim = simulation();
    for i in 0..300 {
        sim.register(&format!("plugin {i}")).unwrap();
    }
    sim.tick(|_| None);
    let app = http::router(sim.reader(), HttpConfig::default()).unwrap();
    let (_runtime, address) = host(app);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    for _ in 0..20 {
                        let document = get(address, "/api/metrics").json();
                        let tick = document["tick"].as_u64().unwrap();
                        assert!(tick >= last, "{tick} after {last}");
                        last = tick;
                        // All parts of a document have the same revision.
                        assert_eq!(document["sampler"]["ticks"], tick);
                        assert_eq!(document["plugins"].as_array().unwrap().len(), 300);
                    }
                })
            })
            .collect();
        while clients.iter().any(|thread| !thread.is_finished()) {
            sim.tick(|_| None);
            std::thread::yield_now();
        }
    });
}

#[test]
fn disabled_router_returns_404() {
    let sim = simulation();
    let config = HttpConfig::default().enabled(false);
    let (_runtime, address) = host(http::router(sim.reader(), config).unwrap());
    for target in ["/", "/health", "/metrics", "/api/metrics"] {
        assert_eq!(get(address, target).status, 404, "{target}");
    }
}
