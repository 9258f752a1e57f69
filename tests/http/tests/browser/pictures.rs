//! Writes pictures of the dashboard to the directory in `PLUGMETER_PICTURES`, if it is set.

use std::path::PathBuf;
use std::time::Duration;

use plugmeter::{Collector, Config};

use crate::chromium::Chromium;
use crate::{scenes, serve};

/// The directory for the pictures, if they are requested.
fn folder() -> Option<PathBuf> {
    std::env::var_os("PLUGMETER_PICTURES").map(PathBuf::from)
}

#[test]
fn scene_pictures_are_written_on_request() {
    let Some(folder) = folder() else { return };
    let Some(mut browser) = Chromium::start("pictures") else { return };
    for (scene, sim) in scenes::all() {
        let (server, address) = serve(sim.reader());
        for scheme in ["light", "dark"] {
            browser.scheme(scheme);
            for (width, page, path) in [
                (1280, "all", ""),
                (390, "all", ""),
                (1280, "one", "plugin?name=dice"),
                (390, "one", "plugin?name=dice"),
            ] {
                browser.size(width, if page == "one" { 1_900 } else { 844 });
                browser.open(&format!("{address}{path}"));
                browser.until("!isFetching && !isDrawing");
                let file = format!("{scene}-{page}-{width}-{scheme}.png");
                browser.picture(&folder.join(file));
            }
        }
        drop(server);
    }
}

#[test]
fn readme_pictures_are_written_on_request() {
    let Some(folder) = folder() else { return };
    let Some(mut browser) = Chromium::start("readme") else { return };
    let config = Config::default()
        .poll_interval(Duration::from_secs(2))
        .history_duration(Duration::from_secs(600));
    let collector = Collector::start(config).unwrap();
    let (_server, address) = serve(collector.reader());
    let _children = scenes::live(&collector);
    browser.size(1280, 810);
    browser.open(&address);
    browser.until("!isFetching && !isDrawing");
    browser.picture(&folder.join("dashboard.png"));
    browser.size(390, 839);
    browser.scheme("dark");
    browser.open(&address);
    browser.until("!isFetching && !isDrawing");
    browser.picture(&folder.join("dashboard-phone.png"));
    browser.open(&format!("{address}plugin?name=trivia"));
    browser.until("!isFetching");
    browser.picture(&folder.join("dashboard-plugin.png"));
    collector.stop();
    browser.open(&address);
    browser.until("!isFetching && !isDrawing");
    browser.picture(&folder.join("stopped-phone.png"));
    browser.size(1280, 800);
    browser.scheme("light");
    browser.open(&address);
    browser.until("!isFetching && !isDrawing");
    browser.picture(&folder.join("stopped.png"));
}
