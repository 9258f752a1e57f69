//! No page violates a rule of axe-core, an accessibility checker, in light and dark and on a phone.

use std::fs;
use std::path::PathBuf;

use plugmeter_test_support::report_missing;
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::{assert_no_problem, scenes, serve};

/// The script of axe-core: `PLUGMETER_AXE`, or where `.ci/run` installs it.
fn axe() -> Option<String> {
    let installed =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/npm/node_modules/axe-core/axe.min.js");
    let path = std::env::var_os("PLUGMETER_AXE").map_or_else(|| installed.into(), PathBuf::from);
    let script = fs::read_to_string(path).ok();
    if script.is_none() {
        report_missing("there is no axe-core", "the accessibility of the dashboard");
    }
    script
}

/// The rule, the impact and the element of each violation.
fn violations(browser: &mut Chromium) -> Vec<Value> {
    let found = browser.eval(
        "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => \
         violations.flatMap(({ id, impact, nodes }) => \
         nodes.map(({ html, failureSummary }) => [id, impact, html.slice(0, 200), failureSummary])))",
    );
    found.as_array().expect("axe reports a list").clone()
}

#[test]
fn axe_finds_no_violation() {
    let Some(script) = axe() else { return };
    let Some(mut browser) = Chromium::start("axe") else { return };
    // The policy forbids scripts of others; the debugger's are not subject to it.
    browser.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": script}));
    let scenes = [
        ("troubled", scenes::troubled()),
        ("single", scenes::single()),
        ("hostile", scenes::hostile()),
        ("restarts", scenes::restarts()),
        ("empty", plugmeter::testing::Simulation::new(plugmeter::Config::default()).unwrap()),
    ];
    for (scene, sim) in scenes {
        let (_server, address) = serve(sim.reader());
        for path in ["", "plugin?name=dice"] {
            for (width, scheme) in [(1_280, "light"), (1_280, "dark"), (390, "light")] {
                browser.scheme(scheme);
                browser.size(width, 900);
                browser.open(&format!("{address}{path}"));
                browser.until("!document.body.dataset.page || (!isFetching && tick >= 0)");
                browser.eval(
                    "document.querySelectorAll('details').forEach((e) => { e.open = true; })",
                );
                let found = violations(&mut browser);
                assert!(found.is_empty(), "{scene} {path} {width} {scheme}: {found:#?}");
            }
        }
    }
    // That it finds something where there is something.
    browser.eval("document.body.append(document.createElement('img'))");
    let found = violations(&mut browser);
    assert_eq!(
        found.first().map(|violation| &violation[0]),
        Some(&json!("image-alt")),
        "{found:#?}"
    );
    browser.events();
    assert_no_problem(&mut browser);
}
