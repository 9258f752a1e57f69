//! Writes pictures of the dashboard to the directory in `PLUGMETER_PICTURES`, if it is set.

use std::path::PathBuf;
use std::time::Duration;

use plugmeter::{Collector, Config, Limit, LimitMetric, Limits};

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
                if scene == "single" && page == "one" {
                    let x = f64::from(width) * 0.55;
                    let y = browser.number("svgs[0].getBoundingClientRect().y") + 60.0;
                    browser.point(x, y);
                    browser.eval("anchor = cursor - 900_000; showCursor()");
                    browser.picture(&folder.join(format!("cursor-{width}-{scheme}.png")));
                    browser.point(1.0, 1.0);
                }
            }
        }
        drop(server);
    }
}

#[test]
fn readme_pictures_are_written_on_request() {
    let Some(folder) = folder() else { return };
    let Some(mut browser) = Chromium::start("readme") else { return };
    let (server, address) = serve(scenes::single().reader());
    browser.size(1280, 1_255);
    browser.open(&format!("{address}plugin?name=dice"));
    browser.until("!isFetching && points.length > 0");
    let y = browser.number("svgs[0].getBoundingClientRect().y") + 60.0;
    browser.point(700.0, y);
    browser.picture(&folder.join("dashboard-plugin.png"));
    drop(server);
    // The processes may get little of a busy machine.
    let limits = Limits::default()
        .rule(Limit::new(LimitMetric::CpuPercent, 15.0).lasting(Duration::from_secs(20)))
        .rule(Limit::new(LimitMetric::MemoryMb, 32.0));
    let config = Config::default()
        .limits(limits)
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
