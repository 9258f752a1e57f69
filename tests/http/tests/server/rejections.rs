//! Rejected requests and their responses.

use plugmeter::http::HttpConfig;
use plugmeter_http_tests::{Response, get, get_with_headers, send_request, serve};

use super::simulation;

const TARGETS: [&str; 7] =
    ["/", "/api/metrics", "/api/plugin?name=x", "/api/plugin/x", "/metrics", "/health", "/nothing"];

#[test]
fn other_methods_are_405_on_any_path() {
    let sim = simulation();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for target in TARGETS {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n\r\nhi"
            );
            let response = send_request(address, &request);
            assert_eq!(response.status, 405, "{method} {target}");
            assert_eq!(response.header("allow").as_deref(), Some("GET, HEAD"));
            assert!(response.error_message().contains("GET"));
        }
    }
    let connect =
        send_request(address, &format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!(connect.status, 405);
    let all = send_request(address, &format!("OPTIONS * HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!(all.status, 405);
}

#[test]
fn foreign_host_header_is_421() {
    let sim = simulation();
    let config = HttpConfig::default().allow_host("Bot.Example").token("s3cret");
    let (_server, address) = serve(sim.reader(), config);
    let send = |lines: &str| send_request(address, &format!("{lines}\r\n\r\n"));
    for target in TARGETS {
        let response = send(&format!("GET {target} HTTP/1.1\r\nHost: evil.example"));
        assert_eq!(response.status, 421, "{target}");
        assert!(response.error_message().contains("allowed_hosts"), "{}", response.error_message());
        assert!(response.error_message().contains("evil.example"));
    }
    for rejected in [
        "GET /health HTTP/1.1",
        "GET /health HTTP/1.0",
        "GET /health HTTP/1.1\r\nHost:",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost",
        "GET /health HTTP/1.1\r\nHost: localhost.evil.example:80",
        "GET http://evil.example/health HTTP/1.1\r\nHost: localhost",
        "GET http://localhost/health HTTP/1.1\r\nHost: evil.example",
        "GET http://localhost/health HTTP/1.1",
        "POST /health HTTP/1.1\r\nHost: evil.example",
    ] {
        assert_eq!(send(rejected).status, 421, "{rejected}");
    }
    for accepted in [
        "GET /health HTTP/1.0\r\nHost: localhost",
        "GET /health HTTP/1.1\r\nhOST: LOCALHOST.:1",
        "GET /health HTTP/1.1\r\nHost: bot.example",
        "GET /health HTTP/1.1\r\nHost: BOT.EXAMPLE.:443",
        "GET /health HTTP/1.1\r\nHost: [::1]:8080",
        "GET /health HTTP/1.1\r\nHost: 192.168.7.9",
        "GET http://bot.example/health HTTP/1.1\r\nHost: 127.0.0.1",
    ] {
        assert_eq!(send(accepted).status, 200, "{accepted}");
    }
}

#[test]
fn missing_token_is_401_except_health() {
    let sim = simulation();
    sim.register("dice").unwrap();
    let (_server, address) = serve(sim.reader(), HttpConfig::default().token("s3cret"));
    for target in TARGETS.into_iter().filter(|target| *target != "/health") {
        for header in [
            "Authorization: Bearer wrong",
            "Authorization: Bearer s3cre",
            "Authorization: Bearer s3crett",
            "Authorization: Basic czNjcmV0",     // no colon
            "Authorization: Basic czNjcmV0Og==", // the token as the user
            "Authorization: s3cret",
            "X: y",
        ] {
            let response = get_with_headers(address, target, &[header]);
            assert_eq!(response.status, 401, "{target} {header}");
            let challenge = response.header("www-authenticate").unwrap();
            assert!(challenge.contains("Bearer") && challenge.contains("Basic"), "{challenge}");
            assert!(!response.text().contains("dice"));
        }
    }
    assert_eq!(get(address, "/health").status, 200);
    for header in [
        "Authorization: Bearer s3cret",
        "authorization: bearer s3cret",
        "Authorization: Basic OnMzY3JldA==", // `:s3cret`
        "Authorization: Basic bWU6czNjcmV0", // `me:s3cret`
    ] {
        assert_eq!(get_with_headers(address, "/api/metrics", &[header]).status, 200, "{header}");
        assert_eq!(get_with_headers(address, "/nothing", &[header]).status, 404, "{header}");
    }
    let twice = ["Authorization: Bearer s3cret"; 2];
    assert_eq!(get_with_headers(address, "/api/metrics", &twice).status, 401);
}

#[test]
fn checks_run_host_method_token_route() {
    let sim = simulation();
    let (_server, address) = serve(sim.reader(), HttpConfig::default().token("s3cret"));
    let status = |request: &str| send_request(address, &format!("{request}\r\n\r\n")).status;
    assert_eq!(status("POST /nothing HTTP/1.1\r\nHost: evil"), 421);
    assert_eq!(status("POST /nothing HTTP/1.1\r\nHost: localhost"), 405);
    assert_eq!(status("GET /nothing HTTP/1.1\r\nHost: localhost"), 401);
    let bearer = "Authorization: Bearer s3cret";
    assert_eq!(status(&format!("GET /nothing HTTP/1.1\r\nHost: localhost\r\n{bearer}")), 404);
}

#[track_caller]
fn assert_has_the_headers(response: &Response) {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                  connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for (name, value) in [
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(response.header(name).as_deref(), Some(value), "{response:?}");
    }
    let cors = response.header_names().into_iter().find(|name| name.starts_with("access-control"));
    assert_eq!(cors, None, "other origins must not read it");
}

#[test]
fn every_response_has_security_headers() {
    let mut sim = simulation();
    sim.register("dice").unwrap();
    sim.tick(|_| None);
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let since = format!("/api/metrics?since={}", sim.snapshot().revision());
    for (target, status) in [
        ("/", 200),
        ("/api/metrics", 200),
        (&since, 204),
        ("/api/metrics?since=x", 400),
        ("/api/plugin/dice", 200),
        ("/api/plugin/nobody", 404),
        ("/metrics", 200),
        ("/health", 200),
        ("/nothing", 404),
        ("/api/metrics/", 404),
    ] {
        let origin = ["Origin: http://evil.example"];
        let response = get_with_headers(address, target, &origin);
        assert_eq!(response.status, status, "{target}");
        assert_has_the_headers(&response);
    }
    let post = send_request(address, &format!("POST / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_has_the_headers(&post);
    assert_has_the_headers(&send_request(address, "GET / HTTP/1.1\r\nHost: evil\r\n\r\n"));
    let (_server, address) = serve(sim.reader(), HttpConfig::default().token("x"));
    assert_has_the_headers(&get(address, "/"));
}
