//! Names and versions are inert text in the dashboard.

use std::collections::BTreeMap;
use std::time::Duration;

use plugmeter_http_tests::get;
use plugmeter_test_support::names::HOSTILE_NAMES;
use plugmeter_test_support::wait_for;

use crate::markup::{Tag, resolve, tags, unescape};
use crate::{hostile, json, page, serve};

/// Asserts that the markup contains only elements and attributes of the templates.
#[track_caller]
fn assert_inert(page: &str) -> Vec<Tag> {
    let tags = tags(page);
    let known = [
        "a", "bdi", "body", "button", "caption", "col", "colgroup", "dd", "details", "div", "dl",
        "dt", "h1", "h2", "head", "header", "html", "i", "input", "kbd", "label", "li", "line",
        "link", "main", "meta", "nav", "noscript", "ol", "option", "p", "path", "rect", "script",
        "section", "select", "span", "summary", "svg", "table", "tbody", "td", "template", "text",
        "th", "thead", "time", "title", "tr", "ul",
    ];
    for tag in &tags {
        assert!(known.contains(&tag.name.as_str()), "{tag:?}");
        for (name, value) in &tag.attributes {
            assert!(!name.starts_with("on") && name != "style" && name != "srcdoc", "{tag:?}");
            if name == "href" || name == "src" {
                assert!(value.starts_with("./"), "{tag:?}");
            }
            // An attribute name, not the rest of a value that ended too early.
            assert!(name.bytes().all(|b| b == b'-' || b.is_ascii_alphanumeric()), "{tag:?}");
        }
    }
    let scripts: Vec<_> = tags.iter().filter(|tag| tag.name == "script").collect();
    assert_eq!(scripts.len(), 1);
    assert_eq!(scripts[0].get("src"), Some("./page.js"));
    tags
}

#[test]
fn names_are_inert_text_and_linked() {
    let (_server, address) = serve(hostile().reader());
    let tags = assert_inert(&page(address, "/"));
    let rows = tags.iter().filter_map(|tag| tag.get("data-name")).filter(|name| !name.is_empty());
    let mut shown: Vec<String> = rows.map(unescape).collect();
    shown.sort();
    let mut expected = HOSTILE_NAMES.map(str::to_owned);
    expected.sort();
    assert_eq!(shown, expected);

    let links = tags.iter().filter(|tag| tag.name == "a").filter_map(|tag| tag.get("href"));
    let mut linked = BTreeMap::new();
    let is_of_plugin = |link: &&str| !link.ends_with("name=") && !link.contains("/api/");
    for link in links.filter(is_of_plugin) {
        let target = resolve("/", &unescape(link));
        assert!(target.starts_with("/plugin?name="), "{target}");
        assert!(target.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>#+&".contains(&byte)));
        let plugin = page(address, &target);
        assert_inert(&plugin);
        let heading = plugin.split("<h1").nth(1).unwrap().split("<bdi>").nth(1).unwrap();
        *linked.entry(unescape(heading.split("</bdi>").next().unwrap())).or_insert(0) += 1;
    }
    assert_eq!(linked.keys().cloned().collect::<Vec<_>>(), expected);
}

#[test]
fn refresh_data_has_exact_names() {
    let (_server, address) = serve(hostile().reader());
    let data = json(address, "/page/rows");
    let rows = data["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row[0].as_str().unwrap()).collect();
    let mut expected = HOSTILE_NAMES;
    expected.sort_unstable();
    assert_eq!(names, expected, "by name");
    let lines = json(address, "/page/lines?at=3,0,99");
    let lines = lines["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0][0], &lines[1][0]), (&rows[3][0], &rows[0][0]));
    assert!(lines[0][1]["cpu"].as_str().unwrap().starts_with('M'));
}

#[test]
fn unknown_plugin_page_is_404_and_inert() {
    let (_server, address) = serve(hostile().reader());
    for name in ["nobody", "%3Cscript%3Enobody%3C/script%3E", ""] {
        let response = get(address, &format!("/plugin?name={name}"));
        assert_eq!(response.status, 404);
        assert_inert(response.text());
        assert!(response.text().contains("No plugin is registered under this name."));
    }
    assert_eq!(get(address, "/plugin?name=.&window=x").status, 400);
    assert_eq!(get(address, "/page/plugin?name=nobody").status, 404);
}

#[test]
fn timeline_has_names_and_versions_as_inert_text() {
    let mut sim = plugmeter::testing::Simulation::new(crate::every(5)).unwrap();
    let (_server, address) = serve(sim.reader());
    // Of each plugin three notifications; the page has the newest fifty.
    let mut sent = 0;
    for names in HOSTILE_NAMES.chunks(16) {
        for (pid, name) in (1..).zip(names) {
            sim.register(name).unwrap().started(pid, name);
        }
        sim.advance(Duration::ZERO);
        sent += 3 * names.len();
        let data = wait_for("the timeline", || {
            let data = json(address, "/page/rows");
            (data["timeline"]["version"] == sent).then_some(data)
        });
        let items = &data["timeline"]["items"].as_array().unwrap();
        let shown =
            items[..3 * names.len()].iter().rev().map(|item| item["name"].as_str().unwrap());
        let expected = names.iter().flat_map(|name| [*name; 3]);
        assert_eq!(shown.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert!(items[1]["text"].as_str().unwrap().starts_with("run began, pid "), "{}", items[1]);

        let page = page(address, "/");
        assert_inert(&page);
        let timeline = page.split("id=\"timeline\"").nth(1).unwrap();
        let timeline = timeline.split("</ol>").next().unwrap();
        let texts = |item: &str| -> Vec<String> {
            let texts = item.split("<bdi>").skip(1);
            texts.map(|text| unescape(text.split("</bdi>").next().unwrap())).collect()
        };
        let shown: Vec<_> = timeline.split("<li").skip(1).map(texts).collect();
        let texts = |item: &serde_json::Value| {
            ["name", "text"].map(|key| item[key].as_str().unwrap().to_owned()).to_vec()
        };
        assert_eq!(shown, items.iter().map(texts).collect::<Vec<_>>(), "the page equals the data");
    }
}

#[test]
fn timeline_shows_fifty_and_counts_others() {
    let mut sim = plugmeter::testing::Simulation::new(crate::every(5)).unwrap();
    let (_server, address) = serve(sim.reader());
    let plugin = sim.register("dice").unwrap();
    let timeline = |sim: &mut plugmeter::testing::Simulation, sent: u64| {
        sim.advance(Duration::ZERO);
        wait_for("the timeline", || {
            let timeline = json(address, "/page/rows")["timeline"].take();
            (timeline["version"] == sent).then_some(timeline)
        })
    };
    let first = timeline(&mut sim, 1);
    assert_eq!((&first["items"][0]["text"], &first["note"]), (&"registered".into(), &"".into()));
    // Each restart is an end and a begin; the first begin comes with a state.
    (1..=30).for_each(|pid| _ = plugin.started(pid, "1.0"));
    let next = timeline(&mut sim, 61);
    assert_eq!(next["items"].as_array().unwrap().len(), 50);
    assert_eq!(next["items"][0]["text"], "run began, pid 30, version 1.0");
    assert_eq!(next["note"], "and 11 more in the last hour");
    let page = page(address, "/");
    assert!(page.contains("and 11 more in the last hour"), "{page}");
    // The data are sent again when only the notifications have changed.
    let data = json(address, "/page/rows");
    let query = format!("since={}&started={}", data["revision"], data["started"]);
    assert_eq!(get(address, &format!("/page/rows?{query}&log=61")).status, 204);
    assert_eq!(get(address, &format!("/page/rows?{query}&log=60")).status, 200);
}
