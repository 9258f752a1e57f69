//! The charts on a plugin's page: values under the pointer and the keyboard, zoom, and downloads.

use std::time::Duration;

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, Limit, LimitMetric, Limits};
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::{assert_no_problem, assert_no_problem_and_only, catch_up, serve};

const MB: u64 = 1 << 20;

/// A hundred ticks, ten seconds apart: CPU is 1 % at the first, 2 % at the second, and so on. After
/// fifty ticks the process crashes and another one is started.
fn ramp() -> Simulation {
    let limits = Limits::default().rule(Limit::new(LimitMetric::CpuPercent, 80.0));
    let config = Config::default().poll_interval(Duration::from_secs(10)).limits(limits);
    let mut sim = Simulation::new(config).unwrap();
    let dice = sim.register("dice").unwrap();
    dice.started(17, "1.0");
    let mut cpu_time = Duration::ZERO;
    for tick in 1..=100_u64 {
        if tick == 51 {
            cpu_time = Duration::ZERO;
            dice.started(18, "<b>1.1</b>");
        }
        cpu_time += Duration::from_millis(100 * tick);
        sim.tick(|_| match tick {
            50 => Observed::Signaled(11),
            _ => Observed::from(Usage { cpu_time, memory_bytes: (20 + tick) * MB }),
        });
    }
    sim
}

/// The texts beside the cursors of the charts of CPU, memory and events, without the time.
fn cursors(browser: &mut Chromium) -> Vec<String> {
    let tags = "[...document.querySelectorAll('.at')].filter((e) => !e.hidden)";
    let texts = browser.eval(&format!("{tags}.map((e) => e.textContent.split(' \u{b7} ')[1])"));
    serde_json::from_value(texts).unwrap()
}

/// A position in the first chart: at this share of its width, in the middle.
fn position(browser: &mut Chromium, share: f64) -> [f64; 2] {
    let place = browser.eval(&format!(
        "(({{ x, y, width, height }}) => [x + width * {share}, y + height / 2])\
         (svgs[0].getBoundingClientRect())"
    ));
    serde_json::from_value(place).unwrap()
}

const READOUT: &str = "$('readout').textContent";

fn open(browser: &mut Chromium, address: &str, sim: &Simulation) {
    browser.size(1280, 1_000);
    browser.open(&format!("{address}plugin?name=dice"));
    browser.until(&format!("revision === {} && points.length > 0", sim.snapshot().revision()));
}

#[test]
fn pointer_shows_values_in_all_charts() {
    let Some(mut browser) = Chromium::start("pointer-values") else {
        return;
    };
    let sim = ramp();
    let (_server, address) = serve(sim.reader());
    open(&mut browser, &address, &sim);
    assert_eq!(cursors(&mut browser), [""; 0]);
    // The chart of a hundred ticks begins at the first of them.
    let [x, y] = position(&mut browser, 0.25);
    browser.point(x, y);
    assert_eq!(cursors(&mut browser), ["26.0\u{a0}%", "46.0\u{a0}MB", "0"]);
    let lines = "[...document.querySelectorAll('.has-cursor line')].map((e) => e.getBBox().x)";
    let lines: Vec<f64> = serde_json::from_value(browser.eval(lines)).unwrap();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|x| (x - 240.0).abs() < 3.0), "{lines:?}");
    let [x, y] = position(&mut browser, 0.999);
    browser.point(x, y);
    assert_eq!(cursors(&mut browser)[..2], ["100.0\u{a0}%", "120.0\u{a0}MB"]);
    // The text of the last value stays in the window.
    let right = "Math.max(...[...document.querySelectorAll('.at')].map((e) => e.getBoundingClientRect().right))";
    assert!(browser.number(right) <= 1280.0);
    browser.point(1.0, 1.0);
    assert_eq!(cursors(&mut browser), [""; 0]);
    assert_eq!(browser.text(READOUT), "", "only the keyboard's values are announced");
    // A tap shows values until another place is touched.
    browser.call("Emulation.setTouchEmulationEnabled", json!({"enabled": true}));
    let mut tap = |[x, y]: [f64; 2]| {
        for (kind, points) in [("touchStart", json!([{"x": x, "y": y}])), ("touchEnd", json!([]))] {
            browser.call("Input.dispatchTouchEvent", json!({"type": kind, "touchPoints": points}));
        }
        browser.until("true");
        cursors(&mut browser)
    };
    assert_eq!(tap([x, y])[..2], ["100.0\u{a0}%", "120.0\u{a0}MB"]);
    assert_eq!(tap([1.0, 1.0]), [""; 0]);
    assert_no_problem(&mut browser);
}

#[test]
fn arrow_keys_announce_values_and_zoom() {
    let Some(mut browser) = Chromium::start("keys") else {
        return;
    };
    let mut sim = ramp();
    let (_server, address) = serve(sim.reader());
    open(&mut browser, &address, &sim);
    browser.eval("document.querySelector('.windows a:last-of-type').focus()");
    browser.eval("$('zoom-out').previousElementSibling.focus()");
    browser.press("Tab", false);
    assert_eq!(browser.text("document.activeElement.closest('section').id"), "cpu");
    browser.press("ArrowLeft", false);
    let readout = |browser: &mut Chromium| {
        let text = browser.text(READOUT);
        text.split_once(": ").unwrap_or_else(|| panic!("{text}")).1.to_owned()
    };
    let newest = "CPU 100.0\u{a0}%, memory 120.0\u{a0}MB, events per second 0";
    assert_eq!(readout(&mut browser), newest);
    browser.press("ArrowLeft", false);
    assert!(readout(&mut browser).starts_with("CPU 99.0\u{a0}%, memory 119.0\u{a0}MB"));
    browser.press("ArrowRight", false);
    browser.press("ArrowRight", false);
    assert_eq!(readout(&mut browser), newest, "there is none after it");
    assert_eq!(browser.text("$('readout').role ?? $('readout').getAttribute('role')"), "status");
    browser.press("Home", false);
    assert!(readout(&mut browser).starts_with("CPU 1.0\u{a0}%, memory 21.0\u{a0}MB"));
    // What happened is stated with the values.
    browser.eval("cursor = points.find((point) => point[4].includes('crash'))[0]; announce()");
    assert!(browser.text(READOUT).ends_with(", crash, restart"), "{}", browser.text(READOUT));
    browser.press("End", false);

    // The cursor stays where it is when the charts move on.
    let before = browser.number("cursor");
    sim.tick(|_| Usage { cpu_time: Duration::from_secs(900), memory_bytes: MB });
    catch_up(&mut browser, &sim);
    assert_eq!(browser.number("cursor"), before);
    assert_eq!(cursors(&mut browser)[0], "100.0\u{a0}%");

    (0..10).for_each(|_| browser.press("ArrowLeft", true));
    assert!(browser.text(READOUT).starts_with("From "));
    browser.press("Enter", false);
    browser.until("location.search.includes('from=') && points.length === 11 && !isFetching");
    assert!(browser.text(READOUT).starts_with("Zoomed: "));
    assert_eq!(browser.text("document.querySelector('#cpu dd').innerText"), "95.0\u{a0}%");
    assert_eq!(browser.text("document.activeElement.closest('section').id"), "cpu");
    browser.press("Escape", false);
    browser.until("!location.search.includes('from=') && points.length === 101 && !isFetching");
    assert_eq!(browser.text(READOUT), "Zoomed out");
    assert_no_problem(&mut browser);
}

#[test]
fn drag_zooms_and_browser_goes_back() {
    let Some(mut browser) = Chromium::start("zoom") else {
        return;
    };
    let sim = ramp();
    let (_server, address) = serve(sim.reader());
    open(&mut browser, &address, &sim);
    let count = "document.querySelectorAll('.windows [aria-current=true]').length";
    assert_eq!(browser.number(count), 1.0);
    assert_eq!(browser.eval("$('zoom-out').hidden"), json!(true));
    // A click is no zoom.
    let [middle, end] = [0.5, 0.6].map(|share| position(&mut browser, share));
    browser.drag(middle, middle);
    assert_eq!(browser.eval("location.search"), json!("?name=dice"));
    browser.drag(end, middle);
    browser.until("location.search.includes('from=') && points.length < 13 && !isFetching");
    assert_eq!(browser.eval("$('zoom-out').hidden"), json!(false));
    assert_eq!(browser.number(count), 0.0, "no window is chosen");
    let points: Vec<Value> = serde_json::from_value(browser.eval("points")).unwrap();
    assert!((9..=12).contains(&points.len()), "{points:?}");
    assert!(points.iter().all(|point| (49.0..=62.0).contains(&point[1].as_f64().unwrap_or(50.0))));
    // Without the script, the page of this address shows the same.
    let address_of_zoom = browser.text("location.href");
    let links =
        "[...document.querySelectorAll('#downloads a')].map((a) => a.search === location.search)";
    assert_eq!(browser.eval(links), json!([true, true]));
    browser.eval("history.back()");
    browser.until("points.length === 100 && !isFetching");
    assert_eq!(browser.eval("$('zoom-out').hidden"), json!(true));
    assert_eq!(browser.number(count), 1.0);
    browser.open(&address_of_zoom);
    browser.until(&format!("points.length === {}", points.len()));
    browser.eval("$('zoom-out').click()");
    browser.until("points.length === 100 && !isFetching");
    // A run's link shows the run.
    browser.eval("document.querySelector('#runs a').click()");
    browser.until("document.readyState === 'complete' && location.search.includes('from=') && points.length > 0");
    assert!(browser.number("points.length") <= 54.0);
    assert_eq!(browser.number("document.querySelectorAll('.band > svg').length"), 2.0);
    assert_no_problem_and_only(&mut browser, &address);
}

#[test]
fn table_of_data_follows_while_it_is_open() {
    let Some(mut browser) = Chromium::start("data") else {
        return;
    };
    let mut sim = ramp();
    let (_server, address) = serve(sim.reader());
    open(&mut browser, &address, &sim);
    let last =
        "document.querySelector('#data tbody').lastElementChild.innerText.replace(/\\s+/g, ' ')";
    browser.eval("document.querySelector('#data summary').click()");
    browser.until(&format!("{last}.includes('100.0 % 120.0 MB 0')"));
    sim.tick(|_| Usage { cpu_time: Duration::from_secs(900), memory_bytes: 300 * MB });
    catch_up(&mut browser, &sim);
    browser.until(&format!("{last}.includes('300.0 MB')"));
    let texts = browser.text("document.querySelector('.band').textContent");
    assert!(texts.contains("<b>1.1</b>") && texts.contains("signal 11"), "{texts}");
    assert_no_problem(&mut browser);
}
