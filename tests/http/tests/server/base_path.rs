//! The base path, for a proxy that does not remove its prefix, and duplicate slashes.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use plugmeter::http::{self, HttpConfig, HttpError};
use plugmeter::testing::Simulation;
use plugmeter_http_tests::{Response, get, get_with_headers, send_request, serve};
use tokio::runtime::Runtime;

use super::{simulation, usage};

fn running() -> Simulation {
    let mut sim = simulation();
    for (pid, name) in (1..).zip(["dice", "a/b & c"]) {
        sim.register(name).unwrap().started(pid, "1.0");
    }
    for tick in 0..30 {
        sim.tick(|_| Some(usage(tick)));
    }
    sim
}

fn config(base_path: &str) -> HttpConfig {
    HttpConfig::default().base_path(base_path)
}

/// Starts a host's server, which runs until the runtime is dropped.
fn host(app: Router) -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = runtime.block_on(listener).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async { axum::serve(listener, app).await });
    (runtime, address)
}

/// The values of an attribute in a page, without the links of templates, which have no name.
fn attributes(page: &str, name: &str) -> Vec<String> {
    let start = format!(" {name}=\"");
    let values = page.split(&start).skip(1).map(|rest| &rest[..rest.find('"').unwrap()]);
    let values = values.map(|value| value.replace("&#38;", "&").replace("&#39;", "'"));
    values.filter(|value| !value.ends_with("name=")).collect()
}

/// Follows all links from the page at `root`, each of which must begin with `base`, which leads to
/// `root`. Returns their targets.
#[track_caller]
pub(super) fn follow_links(server: SocketAddr, root: &str, base: &str) -> Vec<String> {
    let mut visited = vec![root.to_owned()];
    let mut next = 0;
    while next < visited.len() {
        let target = visited[next].clone();
        next += 1;
        let response = get(server, &target);
        assert_eq!(response.status, 200, "{target}");
        if response.header("content-type").as_deref() != Some("text/html; charset=utf-8") {
            continue;
        }
        let page = response.text();
        let script = attributes(page, "data-base").into_iter().map(|base| base + "page/rows");
        for link in [attributes(page, "href"), attributes(page, "src"), script.collect()].concat() {
            assert!(link.starts_with(base), "{link}, from {target}");
            let next = link.replacen(base, root, 1);
            if !visited.contains(&next) {
                visited.push(next);
            }
        }
    }
    visited
}

#[test]
fn links_work_within_base_path() {
    let sim = running();
    for (setting, base) in [
        ("/plugins", "/plugins/"),
        ("/plugins/", "/plugins/"),
        ("/a/b%C3%B6t/it's:here", "/a/b%C3%B6t/it's:here/"),
    ] {
        let (_server, address) = serve(sim.reader(), config(setting));
        let visited = follow_links(address, base, base);
        for link in ["", "page.css", "page.js", "favicon.svg", "page/rows", "plugin?name=dice"] {
            assert!(visited.contains(&format!("{base}{link}")), "{link}: {visited:?}");
        }
        assert_eq!(get(address, &format!("{base}health")).status, 200);
        assert_eq!(get(address, &format!("{base}metrics")).status, 200);
        let document = get(address, &format!("{base}api/metrics")).json();
        assert_eq!(document["plugins"][1]["plugin_name"], "dice");
        assert_eq!(get(address, &format!("{base}api/plugin/dice")).json()["name"], "dice");
        let by_path = get(address, &format!("{base}api/plugin/a%2Fb%20%26%20c")).json();
        assert_eq!(by_path["name"], "a/b & c");
        let by_query = get(address, &format!("{base}api/plugin?name=dice&points=5")).json();
        assert!(by_query["history"].as_array().unwrap().len() <= 5);
    }
}

#[test]
fn base_path_without_slash_redirects() {
    let sim = running();
    let (_server, address) = serve(sim.reader(), config("/tools/plugins").token("s3cret"));
    let token = "Authorization: Bearer s3cret";
    for (target, expected) in [
        ("/tools/plugins", "/tools/plugins/"),
        ("/tools/plugins?a=//b", "/tools/plugins/?a=//b"),
        ("//tools///plugins", "/tools/plugins/"),
        ("///tools/plugins", "/tools/plugins/"),
        ("/t%6Fols/plugins", "/tools/plugins/"),
    ] {
        let response = get_with_headers(address, target, &[token]);
        assert_eq!(response.status, 307, "{target}");
        assert_eq!(response.header("location").as_deref(), Some(expected), "{target}");
        assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
        assert!(response.body.is_empty());
        assert_eq!(get_with_headers(address, expected, &[token]).status, 200, "{target}");
    }
    assert_eq!(get(address, "/tools/plugins").status, 401, "the token is required");
    let evil = send_request(address, "GET /tools/plugins HTTP/1.1\r\nHost: evil\r\n\r\n");
    assert_eq!(evil.status, 421);
    assert_eq!(get(address, "/tools/plugins/health").status, 200, "without the token");
    assert_eq!(get(address, "/health").status, 401);
}

#[test]
fn paths_outside_base_path_return_404() {
    let sim = running();
    let (_server, address) = serve(sim.reader(), config("/plugins"));
    for target in [
        "/",
        "//",
        "/health",
        "/metrics",
        "/api/metrics",
        "/page.js",
        "/plugin?name=dice",
        "/pluginsx",
        "/pluginsx/health",
        "/Plugins/health",
        "/plugins%2Fhealth",
        "/x/plugins/health",
        "/x/../plugins/health",
        "/plugins/plugins/health",
        "/plugins/nothing",
    ] {
        let response = get(address, target);
        assert_eq!(response.status, 404, "{target}");
        assert_eq!(response.error_message(), "no such route", "{target}");
        assert_eq!(response.header("x-content-type-options").as_deref(), Some("nosniff"));
    }
}

#[test]
fn invalid_base_path_is_config_error() {
    let sim = running();
    for wrong in ["plugins", "//evil", "/a?b", "/a/../b", "/a//b", "/b\u{f6}t", "/a b", "/\\evil"] {
        let error = http::serve(sim.reader(), config(wrong).port(0)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, HttpError::Config { setting: "base_path", .. }), "{text}");
        assert!(text.contains(&format!("{wrong:?}")), "{text}");
        assert!(http::router(sim.reader(), config(wrong)).is_err());
    }
}

#[test]
fn duplicate_slashes_count_as_one() {
    let sim = running();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for (target, single) in [
        ("//", "/"),
        ("///", "/"),
        ("//api/metrics", "/api/metrics"),
        ("//api//metrics?since=0", "/api/metrics?since=0"),
        ("//page.js", "/page.js"),
        ("///page.css", "/page.css"),
        ("//metrics", "/metrics"),
        ("//health", "/health"),
        ("//plugin?name=a/b%20%26%20c", "/plugin?name=a/b%20%26%20c"),
        ("//api/plugin//dice", "/api/plugin/dice"),
        ("//nothing", "/nothing"),
        ("//evil.example/", "/evil.example/"),
        ("//evil.example", "/evil.example"),
    ] {
        let (one, several) = (get(address, single), get(address, target));
        assert_eq!(several.status, one.status, "{target}");
        assert_eq!(several.header("location"), None, "{target}");
        assert!(several.body == one.body, "{target}");
    }
    // Slashes of the query are part of the name.
    let name = get(address, "/api/plugin?name=a//b");
    assert!(name.error_message().contains("\"a//b\""));
}

/// Also without the token.
#[test]
fn health_with_two_slashes_needs_no_token() {
    let sim = running();
    let (_server, address) = serve(sim.reader(), HttpConfig::default().token("s3cret"));
    assert_eq!(get(address, "//health").status, 200);
    for target in ["//metrics", "//", "//health/", "/health//x"] {
        assert_eq!(get(address, target).status, 401, "{target}");
    }
}

#[track_caller]
fn assert_is_index(response: &Response, link: &str) {
    assert_eq!(response.status, 200);
    let expected = format!("href=\"{link}page.css\"");
    assert!(response.text().contains(&expected), "{expected}: {}", &response.text()[..600]);
}

#[test]
fn mounted_router_uses_base_path_for_links_only() {
    let sim = running();
    let router = |base_path| http::router(sim.reader(), config(base_path)).unwrap();
    let app = Router::new()
        .nest_service("/relative", router(""))
        .nest_service("/same", router("/same"))
        .nest_service("/inner", router("/public/inner"));
    let (_runtime, address) = host(app);
    assert_is_index(&get(address, "/relative"), "./relative/");
    assert_is_index(&get(address, "/relative/"), "./");
    assert_is_index(&get(address, "/relative//"), "./");
    for root in ["/same", "/same/"] {
        assert_is_index(&get(address, root), "/same/");
    }
    follow_links(address, "/same/", "/same/");
    for root in ["/inner", "/inner/"] {
        assert_is_index(&get(address, root), "/public/inner/");
    }
    for mount in ["/relative", "/same", "/inner"] {
        assert_eq!(get(address, &format!("{mount}/health")).status, 200, "{mount}");
        assert_eq!(get(address, &format!("{mount}//api/metrics")).status, 200, "{mount}");
    }
}

#[test]
fn unmounted_router_expects_base_path() {
    let sim = running();
    let router = http::router(sim.reader(), config("/plugins")).unwrap();
    let (_runtime, address) = host(router);
    follow_links(address, "/plugins/", "/plugins/");
    assert_eq!(get(address, "/plugins").status, 307);
    assert_eq!(get(address, "/health").status, 404);
}
