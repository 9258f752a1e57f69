//! The dashboard in a real browser: a headless Chromium opens what a real server serves.
//!
//! With `PLUGMETER_PICTURES=DIR` in the environment it also takes pictures, to be looked at.

#![cfg(all(feature = "http", feature = "testing"))]
#![allow(clippy::unwrap_used)] // in a test, to panic is to say so

#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/scenes.rs"]
mod scenes;

use std::path::PathBuf;

use plugmeter::Reader;
use plugmeter::http::{self, HttpConfig, HttpServer};

use crate::chromium::Chromium;

fn serve(reader: Reader) -> (HttpServer, String) {
    let server = http::serve(reader, HttpConfig::default().port(0)).unwrap();
    let address = format!("http://{}/", server.local_addr().unwrap());
    (server, address)
}

#[test]
fn pictures_are_taken_where_they_are_asked_for() {
    let Some(folder) = std::env::var_os("PLUGMETER_PICTURES").map(PathBuf::from) else {
        return;
    };
    let Some(mut browser) = Chromium::start("pictures") else {
        return;
    };
    for (scene, sim) in scenes::all() {
        let (server, address) = serve(sim.reader());
        for scheme in ["light", "dark"] {
            browser.scheme(scheme);
            for (width, height) in [(1280, 900), (390, 844)] {
                browser.size(width, height);
                for (page, path) in [("all", ""), ("one", "plugin?name=trivia")] {
                    browser.open(&format!("{address}{path}"));
                    browser.until(
                        "document.body.dataset.patched || document.body.dataset.page !== 'index'",
                    );
                    std::thread::sleep(std::time::Duration::from_millis(400));
                    let file = format!("{scene}-{page}-{width}-{scheme}.png");
                    browser.picture(&folder.join(file));
                }
            }
        }
        drop(server);
    }
    let events = browser.events();
    eprintln!("{:#?}", Chromium::complaints(&events));
}
