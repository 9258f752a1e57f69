//! Names and versions are inert text in the dashboard.

use std::collections::BTreeMap;

use plugmeter_http_tests::get;
use plugmeter_test_support::names::HOSTILE_NAMES;

use crate::markup::{Tag, resolve, tags, unescape};
use crate::{hostile, json, page, serve};

/// Asserts that the markup contains only elements and attributes of the templates.
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
    for link in links.filter(|link| !link.ends_with("name=")) {
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
