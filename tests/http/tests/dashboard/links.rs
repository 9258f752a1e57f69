//! Links work under every mount path, and the dashboard loads no third-party resources.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use plugmeter::http::{self, HttpConfig};
use plugmeter_http_tests::get;
use plugmeter_test_support::names::HOSTILE_NAMES;

use crate::markup::{resolve, tags, unescape};
use crate::{hostile, serve};

#[test]
fn links_work_under_any_mount_path() {
    let sim = hostile();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let router = || http::router(sim.reader(), HttpConfig::default()).unwrap();
    let deep = Router::new().nest_service("/plugins", router());
    for (app, path) in [
        (router(), "/"),
        (Router::new().nest_service("/plugins", router()), "/plugins"),
        (Router::new().nest_service("/plugins", router()), "/plugins/"),
        (Router::new().nest_service("/a/b:c", router()), "/a/b:c"),
        (Router::new().nest_service("/a/%22b", router()), "/a/%22b"),
        (Router::new().nest_service("/a", deep.clone()), "/a/plugins"),
        (Router::new().nest_service("/a", deep), "/a/plugins/"),
    ] {
        let service = TowerToHyperService::new(app);
        let request_page = |target: &str| {
            let message = Request::get(target).header("Host", "localhost");
            let response = service.call(message.body(Body::empty()).unwrap());
            runtime.block_on(async {
                let response = response.await.unwrap();
                let status = response.status().as_u16();
                let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
                (status, String::from_utf8(body.to_vec()).unwrap())
            })
        };
        let mut pages = vec![path.to_owned()];
        let mut visited = Vec::new();
        while let Some(page) = pages.pop() {
            let (status, body) = request_page(&page);
            assert_eq!(status, 200, "{page}");
            for tag in tags(&body) {
                for link in [tag.get("href"), tag.get("src")].into_iter().flatten() {
                    let target = resolve(page.split('?').next().unwrap(), &unescape(link));
                    if target.ends_with("name=") || visited.contains(&target) {
                        continue;
                    }
                    // Windows and zooms of a page are the same under every path.
                    if path != "/" && target.contains('&') {
                        continue;
                    }
                    let is_page = tag.name == "a" && tag.get("download").is_none();
                    if is_page {
                        pages.push(target.clone());
                    } else {
                        assert_eq!(request_page(&target).0, 200, "{target}, from {page}");
                    }
                    visited.push(target);
                }
                // The script resolves its requests in the same way.
                if let Some(base) = tag.get("data-base") {
                    let target = resolve(
                        page.split('?').next().unwrap(),
                        &format!("{}page/rows", unescape(base)),
                    );
                    assert_eq!(request_page(&target).0, 200, "{target}, from {page}");
                }
            }
        }
        let plugins = visited.iter().filter(|target| target.contains("plugin?name=")).count();
        assert!(plugins >= HOSTILE_NAMES.len(), "at {path} there are only {visited:?}");
    }
}

#[test]
fn files_have_type_and_strict_policy() {
    let (_server, address) = serve(hostile().reader());
    for (target, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
        ("/page/rows", "application/json"),
    ] {
        let response = get(address, target);
        assert_eq!(response.status, 200);
        let header = |name| response.header(name).unwrap_or_else(|| panic!("{target}: no {name}"));
        assert_eq!(header("content-type"), content_type, "{target}");
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{target}: {policy}");
        assert!(!policy.contains("unsafe-inline"), "{target}: {policy}");
        assert_eq!(header("cache-control"), "no-store", "{target}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{target}");
        // No third-party resources.
        let text = response.text().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http:") && !text.contains("https:"), "{target}");
        assert!(!text.contains("//www."), "{target}");
    }
}
