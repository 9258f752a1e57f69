//! The dashboard as it is served: what it says, that what others chose (names, versions) is nothing
//! but text in it, and that its links hold wherever it is mounted.

#![cfg(all(feature = "http", feature = "testing"))]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

#[path = "page/markup.rs"]
mod markup;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use plugmeter::http::{self, HttpConfig, HttpServer};
use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Collector, Config, Plugin, PluginState, Reader};
use serde_json::Value;

use crate::markup::{Tag, resolve, tags, text_of, unescape};

const MB: u64 = 1 << 20;
/// What the markup of a row begins with; its name comes next.
const ROW: &str = "<tr role=\"row\" data-name=\"";

fn serve(reader: Reader) -> (HttpServer, SocketAddr) {
    let server = http::serve(reader, HttpConfig::default().port(0)).unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

/// Status, head and body.
fn get(address: SocketAddr, target: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[track_caller]
fn page(address: SocketAddr, target: &str) -> String {
    let (status, head, body) = get(address, target);
    assert_eq!(status, 200, "{target}: {body}");
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    body
}

#[track_caller]
fn json(address: SocketAddr, target: &str) -> Value {
    let (status, _, body) = get(address, target);
    assert_eq!(status, 200, "{target}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn every(seconds: u64) -> Config {
    Config::default().poll_interval(Duration::from_secs(seconds))
}

/// What is to be heard of a plugin: `percent` of a core, and so much memory, tick after tick.
fn steady(percent: u64, interval: u64) -> impl FnMut(u32) -> Usage {
    let mut cpu_time = Duration::ZERO;
    move |_| {
        cpu_time += Duration::from_millis(percent * interval * 10);
        Usage { cpu_time, memory_bytes: 20 * MB }
    }
}

// -- what it says --------------------------------------------------------------------------------

/// The verdict, and the sentences under it.
fn said(sim: &Simulation) -> (String, Vec<String>) {
    let (_server, address) = serve(sim.reader());
    let page = page(address, "/");
    let sentences = text_of(&page, "ul", "sentences");
    let sentences = sentences.split('\n').map(str::trim).filter(|text| !text.is_empty());
    (text_of(&page, "h1", "verdict"), sentences.map(str::to_owned).collect())
}

/// The clock's time of the simulation's tick, less so many seconds: as the page says it in UTC.
fn clock(sim: &Simulation, ago: u64) -> String {
    let at = sim.snapshot().taken_at() - Duration::from_secs(ago);
    let text = humantime::format_rfc3339_seconds(at).to_string();
    let today = humantime::format_rfc3339_seconds(sim.snapshot().taken_at()).to_string();
    if text[..10] == today[..10] {
        text[11..16].to_owned()
    } else {
        format!("{} {}", &text[5..10], &text[11..16])
    }
}

#[test]
fn where_all_is_well_it_says_so_and_nothing_else() {
    let mut sim = Simulation::new(every(5)).unwrap();
    assert_eq!(said(&sim), ("No plugin is registered.".to_owned(), vec![]));
    sim.register("dice").unwrap().started(1, "");
    let mut usage = steady(10, 5);
    sim.tick(&mut usage);
    assert_eq!(said(&sim).0, "All is well: the one plugin is running.");
    let other = sim.register("8ball").unwrap();
    other.started(2, "");
    sim.advance(Duration::from_secs(1));
    assert_eq!(said(&sim), ("All is well: 2 plugins are running.".to_owned(), vec![]));
    other.stopped();
    sim.advance(Duration::from_secs(1));
    assert_eq!(said(&sim), ("All is well: 1 of 2 plugins running.".to_owned(), vec![]));
}

#[test]
fn a_plugin_that_keeps_a_core_busy_is_told_with_since_when() {
    let mut sim = Simulation::new(every(10)).unwrap();
    sim.register("8ball").unwrap().started(1, "");
    sim.register("dice").unwrap();
    let mut cpu_time = Duration::ZERO;
    for tick in 0..20 {
        cpu_time += Duration::from_millis(if tick < 8 { 3_000 } else { 9_700 });
        sim.tick(|_| Usage { cpu_time, memory_bytes: MB });
    }
    // The newest twelve samples are over it; the first of these is 110 s before the last.
    let since = clock(&sim, 110);
    let expected =
        format!("warning: 8ball: CPU 97\u{a0}% of one core, over 50\u{a0}% since {since}");
    assert_eq!(said(&sim), ("1 of 2 needs attention.".to_owned(), vec![expected]));
}

#[test]
fn what_was_over_the_threshold_in_all_of_the_history_was_so_before() {
    let config = every(10).history_duration(Duration::from_secs(60));
    let mut sim = Simulation::new(config).unwrap();
    sim.register("8ball").unwrap().started(1, "");
    let mut usage = steady(97, 10);
    (0..20).for_each(|_| sim.tick(&mut usage));
    let expected = format!(
        "warning: 8ball: CPU 97\u{a0}% of one core, over 50\u{a0}% since before {}",
        clock(&sim, 50)
    );
    assert_eq!(said(&sim).1, [expected]);
}

#[test]
fn crashes_are_told_with_how_many_and_when() {
    let mut sim = Simulation::new(every(10)).unwrap();
    let dice = sim.register("dice").unwrap();
    let crash = |sim: &mut Simulation| {
        dice.started(1, "");
        sim.tick(|_| Observed::from(Usage { cpu_time: Duration::ZERO, memory_bytes: MB }));
        sim.tick(|_| Observed::Exited(3));
        sim.advance(Duration::from_secs(2));
    };
    sim.tick(|_| None);
    crash(&mut sim);
    // The end was noticed by the tick.
    let expected = format!("error: dice: crashed, down since {} (exit code 3)", clock(&sim, 0));
    assert_eq!(said(&sim), ("1 of 1 needs attention.".to_owned(), vec![expected]));

    crash(&mut sim);
    crash(&mut sim);
    let at = clock(&sim, 0);
    let down = format!("error: dice: crashed, down since {at} (exit code 3); ");
    let crashes = format!("crashed 3 times in the last 10 minutes, last at {at}");
    assert_eq!(said(&sim).1, [down + &crashes]);

    dice.started(2, "");
    let alive = |_| Usage { cpu_time: Duration::ZERO, memory_bytes: MB };
    sim.tick(alive);
    assert_eq!(said(&sim).1, [format!("warning: dice: {crashes}")]);
    // A quarter of an hour later it is no longer "the last 10 minutes".
    (0..90).for_each(|_| sim.tick(alive));
    let crashes = crashes.replace("10 minutes", "hour");
    assert_eq!(said(&sim).1, [format!("warning: dice: {crashes}")]);
    // And after an hour it is over.
    (0..300).for_each(|_| sim.tick(alive));
    assert_eq!(said(&sim), ("All is well: the one plugin is running.".to_owned(), vec![]));
}

#[test]
fn memory_that_grows_is_worth_a_sentence_and_no_warning() {
    let mut sim = Simulation::new(every(10)).unwrap();
    sim.register("trivia").unwrap().started(1, "");
    for tick in 0..=40 {
        sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: (50 + tick) * MB });
    }
    let (verdict, sentences) = said(&sim);
    assert_eq!(verdict, "All is well: the one plugin is running.");
    assert_eq!(sentences, ["note: trivia: memory up 40\u{a0}MB in the last 6 minutes"]);
    for tick in 0..=20 {
        sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: (90 + tick) * MB });
    }
    // 101 MB were there nine samples before the last, which is of 110.
    let since = clock(&sim, 90);
    let expected = format!(
        "warning: trivia: memory 110\u{a0}MB, over 100\u{a0}MB since {since}; up 60\u{a0}MB in the last 10 minutes"
    );
    assert_eq!(said(&sim).1, [expected]);
}

#[test]
fn growth_of_ten_megabytes_or_of_a_tenth_is_not_yet_one() {
    // From and to, in MB; is it told?
    for (from, to, is_told) in
        [(10, 20, false), (10, 21, true), (80, 91, true), (900, 980, false), (900, 991, true)]
    {
        let mut sim = Simulation::new(every(10)).unwrap();
        sim.register("trivia").unwrap().started(1, "");
        for mb in [from, from, to] {
            sim.tick(|_| Usage { cpu_time: Duration::ZERO, memory_bytes: mb * MB });
        }
        let (_, sentences) = said(&sim);
        let told = sentences.iter().any(|text| text.contains("up "));
        assert_eq!(told, is_told, "from {from} to {to}: {sentences:?}");
    }
}

#[test]
fn what_is_wrong_with_a_process_is_said_in_its_words() {
    let mut sim = Simulation::new(every(10)).unwrap();
    let names = ["denied", "failed", "none", "unhealthy"];
    let plugins: Vec<Plugin> = names.iter().map(|name| sim.register(name).unwrap()).collect();
    plugins[0].started(1, "");
    plugins[2].started(0, "");
    plugins[3].started(3, "");
    sim.tick(|pid| {
        if pid == 1 {
            Observed::Denied
        } else {
            Observed::Running(Usage { cpu_time: Duration::ZERO, memory_bytes: MB })
        }
    });
    plugins[1].set_state(PluginState::Failed);
    plugins[3].set_state(PluginState::Unhealthy);
    sim.advance(Duration::from_secs(1));
    let (verdict, sentences) = said(&sim);
    assert_eq!(verdict, "4 of 4 need attention.");
    let (first, now) = (clock(&sim, 10), clock(&sim, 0));
    // What is said to handles is applied when time next moves: at the tick, or at the end.
    let either = |text: &str, after: &str| [&first, &now].map(|at| format!("{text} {at}{after}"));
    assert!(
        either("error: failed: failed, down since", "").contains(&sentences[0]),
        "{sentences:?}"
    );
    let none = either("error: none: failed, down since", "; the pid is not that of a process");
    assert!(none.contains(&sentences[1]), "{sentences:?}");
    assert_eq!(sentences.len(), 4);
    assert!(sentences.contains(&"warning: denied: this user may not read the process".to_owned()));
    assert!(
        sentences[2..].iter().any(|text| text.starts_with("warning: unhealthy: unhealthy since "))
    );
}

#[test]
fn the_first_page_is_complete_and_worst_first_and_says_what_is_unknown() {
    let mut sim = Simulation::new(every(5)).unwrap();
    for (pid, name) in [(1, "busy"), (2, "calm"), (3, "denied")] {
        sim.register(name).unwrap().started(pid, &format!("1.{pid}"));
    }
    sim.register("never").unwrap();
    let mut cpu_time = Duration::ZERO;
    for _ in 0..3 {
        cpu_time += Duration::from_secs(1);
        sim.tick(|pid| match pid {
            1 => Observed::from(Usage { cpu_time: cpu_time * 4, memory_bytes: 30 * MB }),
            2 => Observed::from(Usage { cpu_time, memory_bytes: 25 * MB }),
            _ => Observed::Denied,
        });
    }
    let (_server, address) = serve(sim.reader());
    let page = page(address, "/");
    let rows: Vec<String> = page
        .split(ROW)
        .skip(1)
        .map(|row| {
            let row = row.split("</tr>").next().unwrap();
            // What stands in different elements is different words.
            let row = row.replace('<', " <");
            text_of(&format!("<x id=\"row\" data-name=\"{row}</x>"), "x", "row")
                .replace('\u{a0}', " ")
        })
        .collect();
    // The last one is the blank row that the script copies.
    assert_eq!(rows.len(), 5);
    let cells = |nth: usize| rows[nth].split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(cells(0).starts_with("warning busy 1.1 pid 1 Running since"), "{}", cells(0));
    assert!(cells(0).contains("80.0 % p95 80.0 % 30.0 MB \u{b1}0"), "{}", cells(0));
    assert!(cells(1).starts_with("warning denied") && cells(1).contains("unknown"), "{}", cells(1));
    assert!(!cells(1).contains("0.0 %"), "{}", cells(1));
    assert!(cells(2).starts_with("ok calm") && cells(2).contains("20.0 %"), "{}", cells(2));
    assert!(cells(3).starts_with("ok never") && cells(3).contains('\u{2013}'), "{}", cells(3));
    for (nth, is_drawn) in [(0, true), (2, true), (3, false)] {
        let row = page.split(ROW).nth(nth + 1).unwrap();
        let line = row.split("data-l=\"cpu\" d=\"").nth(1).unwrap();
        assert_eq!(line.starts_with('M'), is_drawn, "the line of row {nth}");
    }
}

#[test]
fn a_stopped_collector_and_a_late_one_are_told_apart() {
    let collector = Collector::start(every(3_600)).unwrap();
    collector.sample_now().unwrap();
    let (_server, address) = serve(collector.reader());
    assert!(page(address, "/").contains("id=\"banner\"") && banner(address).is_none());
    collector.stop();
    let (kind, text) = banner(address).unwrap();
    assert_eq!(kind, "stopped");
    assert!(text.contains("The collector is stopped."), "{text}");
}

/// Kind and text, where one is shown.
fn banner(address: SocketAddr) -> Option<(String, String)> {
    let page = page(address, "/");
    let banner = tags(&page).into_iter().find(|tag| tag.get("id") == Some("banner")).unwrap();
    let kind = banner.get("data-kind")?.to_owned();
    Some((kind, text_of(&page, "p", "banner")))
}

// -- names and versions of others ----------------------------------------------------------------

const HOSTILE: [&str; 18] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></style></script></template><svg onload=alert(1)>",
    "<!--",
    "]]>",
    "{{ name }}{% if %}",
    "${alert(1)}`",
    "javascript:alert(1)",
    "..",
    ".",
    "a/b/../c",
    "a?b=c&d#e%2f%00+f g",
    "&lt;b&gt;&amp;",
    "\u{202e}gnp.exe\u{2066}",
    "\u{2028}\u{2029}\u{feff}",
    "日本語 \u{1f3b2} e\u{301}",
    "a;b,c:d@e!f$g*h(i)~j|k\\l^m",
];

fn hostile() -> Simulation {
    let mut sim = Simulation::new(every(5)).unwrap();
    for (pid, name) in (1..).zip(HOSTILE) {
        let plugin = sim.register(name).unwrap();
        plugin.started(pid, name);
        // Half of them are to be in the sentences, too.
        if pid % 2 == 0 {
            plugin.set_state(PluginState::Unhealthy);
        }
    }
    for tick in 0..4 {
        let cpu_time = Duration::from_millis(100 * tick);
        sim.tick(|_| Usage { cpu_time, memory_bytes: MB });
    }
    sim
}

/// The markup has only what the templates have in it, whatever the text is.
#[track_caller]
fn assert_inert(page: &str) -> Vec<Tag> {
    let tags = tags(page);
    let known = [
        "a", "bdi", "body", "button", "caption", "col", "colgroup", "dd", "div", "dl", "dt", "h1",
        "h2", "head", "header", "html", "i", "input", "label", "li", "link", "main", "meta", "nav",
        "noscript", "option", "p", "path", "script", "section", "select", "span", "svg", "table",
        "tbody", "td", "template", "th", "thead", "time", "title", "tr", "ul",
    ];
    for tag in &tags {
        assert!(known.contains(&tag.name.as_str()), "{tag:?}");
        for (name, value) in &tag.attributes {
            assert!(!name.starts_with("on") && name != "style" && name != "srcdoc", "{tag:?}");
            if name == "href" || name == "src" {
                assert!(value.starts_with("./"), "{tag:?}");
            }
            // All of them are quoted.
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase()
                    || b == b'-'
                    || b.is_ascii_digit()
                    || b"BR".contains(&b)
                    || b.is_ascii_uppercase()),
                "{tag:?}"
            );
        }
    }
    let scripts: Vec<_> = tags.iter().filter(|tag| tag.name == "script").collect();
    assert_eq!(scripts.len(), 1);
    assert_eq!(scripts[0].get("src"), Some("./page.js"));
    tags
}

#[test]
fn names_and_versions_are_text_wherever_they_stand_and_their_links_lead_to_them() {
    let (_server, address) = serve(hostile().reader());
    let tags = assert_inert(&page(address, "/"));
    let rows = tags.iter().filter_map(|tag| tag.get("data-name")).filter(|name| !name.is_empty());
    let mut shown: Vec<String> = rows.map(unescape).collect();
    shown.sort();
    let mut expected = HOSTILE.map(str::to_owned);
    expected.sort();
    assert_eq!(shown, expected);

    let links = tags.iter().filter(|tag| tag.name == "a").filter_map(|tag| tag.get("href"));
    let mut led = BTreeMap::new();
    for link in links.filter(|link| !link.ends_with("name=")) {
        let target = resolve("/", &unescape(link));
        assert!(target.starts_with("/plugin?name="), "{target}");
        assert!(target.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>#+&".contains(&byte)));
        let plugin = page(address, &target);
        assert_inert(&plugin);
        let heading = plugin.split("<h1").nth(1).unwrap().split("<bdi>").nth(1).unwrap();
        *led.entry(unescape(heading.split("</bdi>").next().unwrap())).or_insert(0) += 1;
    }
    assert_eq!(led.keys().cloned().collect::<Vec<_>>(), expected);
}

#[test]
fn what_the_script_asks_for_has_the_names_as_they_are() {
    let (_server, address) = serve(hostile().reader());
    let data = json(address, "/page/rows");
    let rows = data["rows"].as_array().unwrap();
    let mut names: Vec<_> = rows.iter().map(|row| row[0].as_str().unwrap()).collect();
    let mut expected = HOSTILE;
    expected.sort_unstable();
    assert_eq!(names, expected, "by name");
    let lines = json(address, "/page/lines?at=3,0,99");
    let lines = lines["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0][0], &lines[1][0]), (&rows[3][0], &rows[0][0]));
    assert!(lines[0][1]["cpu"].as_str().unwrap().starts_with('M'));
    names.clear();
}

#[test]
fn who_has_no_plugin_is_told_so_in_a_page_that_is_as_inert() {
    let (_server, address) = serve(hostile().reader());
    for name in ["nobody", "%3Cscript%3Enobody%3C/script%3E", ""] {
        let (status, _, body) = get(address, &format!("/plugin?name={name}"));
        assert_eq!(status, 404);
        assert_inert(&body);
        assert!(body.contains("No plugin is registered under this name."));
    }
    assert_eq!(get(address, "/plugin?name=.&window=x").0, 400);
    assert_eq!(get(address, "/page/plugin?name=nobody").0, 404);
}

// -- where it is mounted -------------------------------------------------------------------------

#[test]
fn links_hold_wherever_it_is_mounted_with_a_slash_at_the_end_or_without() {
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
        let ask = |target: &str| {
            let request = Request::get(target).header("Host", "localhost");
            let answer = service.call(request.body(Body::empty()).unwrap());
            runtime.block_on(async {
                let answer = answer.await.unwrap();
                let status = answer.status().as_u16();
                let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
                (status, String::from_utf8(body.to_vec()).unwrap())
            })
        };
        let mut pages = vec![path.to_owned()];
        let mut seen = Vec::new();
        while let Some(page) = pages.pop() {
            let (status, body) = ask(&page);
            assert_eq!(status, 200, "{page}");
            for tag in tags(&body) {
                for link in [tag.get("href"), tag.get("src")].into_iter().flatten() {
                    let target = resolve(page.split('?').next().unwrap(), &unescape(link));
                    if target.ends_with("name=") || seen.contains(&target) {
                        continue;
                    }
                    let is_page = tag.name == "a";
                    if is_page {
                        pages.push(target.clone());
                    } else {
                        assert_eq!(ask(&target).0, 200, "{target}, from {page}");
                    }
                    seen.push(target);
                }
                // The script resolves what it asks for in the same way.
                if let Some(base) = tag.get("data-base") {
                    let target = resolve(
                        page.split('?').next().unwrap(),
                        &format!("{}page/rows", unescape(base)),
                    );
                    assert_eq!(ask(&target).0, 200, "{target}, from {page}");
                }
            }
        }
        let plugins = seen.iter().filter(|target| target.contains("plugin?name=")).count();
        assert!(plugins >= HOSTILE.len(), "at {path} there are only {seen:?}");
    }
}

#[test]
fn the_files_come_as_what_they_are_and_no_answer_allows_more_than_its_own() {
    let (_server, address) = serve(hostile().reader());
    for (target, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
        ("/page/rows", "application/json"),
    ] {
        let (status, head, body) = get(address, target);
        assert_eq!(status, 200);
        assert!(head.contains(&format!("content-type: {content_type}\r\n")), "{target}: {head}");
        assert!(head.contains("default-src 'none'") && !head.contains("unsafe-inline"), "{head}");
        assert!(head.contains("cache-control: no-store") && head.contains("nosniff"), "{head}");
        // Nothing is asked of anybody else.
        let elsewhere = body.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http:") && !elsewhere.contains("https:"), "{target}");
        assert!(!elsewhere.contains("//www."), "{target}");
    }
}

// -- what the script asks for --------------------------------------------------------------------

#[test]
fn who_has_the_newest_of_this_very_collector_is_told_that_there_is_nothing_new() {
    let mut sim = hostile();
    let (_server, address) = serve(sim.reader());
    let data = json(address, "/page/rows");
    let (revision, started) = (&data["revision"], &data["started"]);
    let with = |revision: &Value, started: &Value| format!("since={revision}&started={started}");
    for path in ["/page/rows?", "/page/plugin?name=..&"] {
        assert_eq!(get(address, &format!("{path}{}", with(revision, started))).0, 204);
        // A host that was started anew has counted up to the same number.
        let before = Value::from(started.as_u64().unwrap() - 1);
        assert_eq!(get(address, &format!("{path}{}", with(revision, &before))).0, 200);
        assert_eq!(get(address, &format!("{path}since={revision}")).0, 200);
        assert_eq!(get(address, &format!("{path}since=x&started={started}")).0, 400);
    }
    sim.tick(|_| None);
    assert_eq!(get(address, &format!("/page/rows?{}", with(revision, started))).0, 200);
}

#[test]
fn what_the_script_gets_is_what_the_page_says() {
    let (_server, address) = serve(hostile().reader());
    let (page, data) = (page(address, "/"), json(address, "/page/rows"));
    let mut compared = 0;
    assert_eq!(data["verdict"]["text"], text_of(&page, "h1", "verdict"));
    for (name, row) in page.split(ROW).skip(1).map(|row| row.split_once('"').unwrap()) {
        let name = unescape(name);
        let Some(values) = data["rows"].as_array().unwrap().iter().find(|row| row[0] == *name)
        else {
            assert_eq!(name, "");
            continue;
        };
        compared += 1;
        for (field, at) in [
            ("cpu", 4),
            ("p95", 5),
            ("memory", 6),
            ("change", 7),
            ("rate", 8),
            ("uptime", 11),
            ("version", 12),
            ("pid", 13),
        ] {
            let text = row.split(&format!("data-f=\"{field}\">")).nth(1).unwrap();
            assert_eq!(
                unescape(text.split('<').next().unwrap()),
                values[at].as_str().unwrap(),
                "{field}"
            );
        }
    }
    assert_eq!(compared, HOSTILE.len());
}

#[test]
fn a_refresh_of_five_hundred_plugins_with_a_screen_of_lines_is_under_150_kb() {
    let mut sim = Simulation::new(every(5)).unwrap();
    for nth in 0..500 {
        sim.register(&format!("a-plugin-with-a-name-{nth:03}"))
            .unwrap()
            .started(1_000_000 + nth, "1.22.333");
    }
    let mut cpu_time = Duration::ZERO;
    for tick in 0..720_u64 {
        cpu_time += Duration::from_millis(500 + 37 * (tick % 60));
        sim.tick(|pid| Usage {
            cpu_time,
            memory_bytes: (100 + u64::from(pid) % 300 + tick % 7) * MB / 3,
        });
    }
    let (_server, address) = serve(sim.reader());
    let timed = |target: &str| {
        let begun = Instant::now();
        let size = get(address, target).2.len();
        println!("500 plugins: {target:.12} is {size} bytes, in {:.1?}", begun.elapsed());
        size
    };
    timed("/");
    let rows = timed("/page/rows");
    let places: Vec<_> = (0..60).map(|place: u32| place.to_string()).collect();
    let lines = timed(&format!("/page/lines?at={}", places.join(",")));
    assert!(rows + lines < 150_000, "{rows} and {lines}");
}

#[test]
fn the_page_of_a_plugin_has_its_charts_its_aggregates_and_its_runs() {
    let mut sim = Simulation::new(every(10)).unwrap();
    let dice = sim.register("dice").unwrap();
    dice.started(17, "1.0");
    let usage = |ms| Usage { cpu_time: Duration::from_millis(ms), memory_bytes: 8 * MB };
    sim.tick(|_| Observed::from(usage(2_500)));
    sim.tick(|_| Observed::Signaled(11));
    dice.events().add(30);
    dice.started(18, "1.1");
    sim.tick(|_| Observed::from(usage(1_000)));
    sim.tick(|_| Observed::from(usage(3_000)));
    let (_server, address) = serve(sim.reader());
    let whole = page(address, "/plugin?name=dice");
    let data = json(address, "/page/plugin?name=dice");
    let cpu = &data["charts"][0];
    // 25, 10 (begun at the tick before) and 20 percent.
    assert_eq!(cpu["now"], "20.0\u{a0}%");
    assert_eq!(cpu["four"][1], "10.0\u{a0}%");
    assert_eq!(cpu["four"][3], "25.0\u{a0}%");
    assert!(cpu["summary"].as_str().unwrap().contains("from 10.0\u{a0}% to 25.0\u{a0}%"));
    assert_eq!(cpu["restarts"].as_str().unwrap().matches('M').count(), 1);
    assert_eq!(cpu["crashes"].as_str().unwrap().matches('M').count(), 1);
    assert!(whole.contains(cpu["line"].as_str().unwrap()), "the page has the same line");
    let runs = data["runs"].as_array().unwrap();
    let run = |nth: usize| {
        (runs[nth]["pid"].as_u64(), runs[nth]["end"].as_str(), runs[nth]["bad"].as_bool())
    };
    assert_eq!(run(0), (Some(18), Some("running"), Some(false)), "newest first");
    assert_eq!(run(1), (Some(17), Some("signal 11"), Some(true)));
    assert!(whole.contains("signal 11"));
    // Of the last ten seconds there are two samples, both of the second run.
    let last = json(address, "/page/plugin?name=dice&window=10");
    assert_eq!(last["charts"][0]["four"][3], "20.0\u{a0}%");
    assert_eq!(last["facts"][7], "2");
    for window in ["", "&window=60", "&window=300", "&window=900"] {
        let page = page(address, &format!("/plugin?name=dice{window}"));
        let chosen = tags(&page).into_iter().find(|tag| tag.get("aria-current").is_some()).unwrap();
        assert_eq!(unescape(chosen.get("href").unwrap()), format!("./plugin?name=dice{window}"));
    }
}
