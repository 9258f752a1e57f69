//! The dashboard in real browsers: a headless Chromium, and a Firefox, open it from a real server.
//!
//! Without the browser a test reports that and passes; with `CI` in the environment it fails.
//! `PLUGMETER_PICTURES=DIR` writes pictures of the dashboard.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod accessibility;
mod charts;
mod chromium;
mod firefox;
mod pictures;
mod scenes;

use std::time::Duration;

use plugmeter::http::{self, HttpConfig, HttpServer};
use plugmeter::testing::{Simulation, Usage};
use plugmeter::{Config, Limit, LimitMetric, Limits, ProbeKind, Reader};
use serde_json::{Value, json};

use crate::chromium::Chromium;

fn serve(reader: Reader) -> (HttpServer, String) {
    serve_with(reader, HttpConfig::default())
}

fn serve_with(reader: Reader, config: HttpConfig) -> (HttpServer, String) {
    let (server, address) = plugmeter_http_tests::serve(reader, config);
    (server, format!("http://{address}/"))
}

#[track_caller]
fn assert_no_problem(browser: &mut Chromium) {
    let problems = Chromium::problems(&browser.events());
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Asserts that there were no errors, and that all requests went to this server.
#[track_caller]
fn assert_no_problem_and_only(browser: &mut Chromium, address: &str) {
    let events = browser.events();
    let problems = Chromium::problems(&events);
    assert!(problems.is_empty(), "{problems:#?}");
    let requests = events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
    let urls: Vec<_> =
        requests.map(|event| event["params"]["request"]["url"].as_str().unwrap()).collect();
    assert!(urls.len() > 3, "{urls:?}");
    assert!(urls.iter().all(|url| url.starts_with(address)), "{urls:?}");
}

/// Names of the visible rows from top to bottom.
fn names(browser: &mut Chromium) -> Vec<String> {
    let rows = "[...document.querySelectorAll('#rows tr')].filter((tr) => !tr.hidden)";
    let names = browser.eval(&format!("{rows}.map((tr) => tr.dataset.name)"));
    serde_json::from_value(names).unwrap()
}

/// Waits until the page shows the current revision of the simulation.
#[track_caller]
fn catch_up(browser: &mut Chromium, sim: &Simulation) {
    browser.until(&format!("revision === {} && !isDrawing", sim.snapshot().revision()));
}

/// CPU seconds of the page's thread for script, style and layout.
fn costs(browser: &mut Chromium) -> [f64; 3] {
    let metrics = browser.call("Performance.getMetrics", json!({}));
    ["ScriptDuration", "RecalcStyleDuration", "LayoutDuration"].map(|name| {
        let metrics = metrics["metrics"].as_array().unwrap();
        let metric = metrics.iter().find(|metric| metric["name"] == name).unwrap();
        metric["value"].as_f64().unwrap()
    })
}

const VERDICT: &str = "document.querySelector('#verdict').innerText.trim()";
const BANNER: &str = "document.querySelector('#banner:not([hidden])')?.innerText ?? ''";

#[test]
fn live_rows_refresh_sort_filter_and_open() {
    let Some(mut browser) = Chromium::start("live") else {
        return;
    };
    let collector =
        plugmeter_test_support::ticking_collector(ProbeKind::Native, Duration::from_millis(500));
    let children =
        [plugmeter_test_support::sleeper(), plugmeter_test_support::shell("while :; do :; done")];
    for (name, child) in ["idle", "busy"].into_iter().zip(&children) {
        collector.register(name).unwrap().started(child.pid(), "1.0");
    }
    collector.register("never started").unwrap();
    // A low threshold, because a busy process may get little of a busy machine.
    let limit = Limit::new(LimitMetric::CpuPercent, 0.5).lasting(Duration::ZERO);
    let limits = Limits::default().rule(limit.grace(Duration::ZERO));
    collector.plugin("busy").unwrap().set_limits(limits).unwrap();
    let (_server, address) = serve(collector.reader());
    browser.size(1280, 900);
    browser.open(&address);
    browser.until("rows.size === 3 && rows.get('busy').values.length > 0");
    // The page refreshes without interaction.
    let before = browser.number("tick");
    browser.until(&format!("tick > {before}"));
    browser.until("rows.get('busy').tr.dataset.status === 'warning'");
    browser.until(&format!("{VERDICT} === '1 of 3 needs attention.'"));
    let findings = "document.querySelector('#findings').innerText";
    browser.until(&format!("/busy: CPU over the limit of 0.5.%, now .*%, since/.test({findings})"));
    assert!(browser.text("document.querySelector('#age').innerText").starts_with("Data "));
    browser.until("document.title === '1 of 3 needs attention \u{2013} plugmeter'");

    let press = |key: &str| format!("document.querySelector('[data-sort={key}]').click()");
    let sorted = "document.querySelector('thead [aria-sort]').innerText + document.querySelector('thead [aria-sort]').ariaSort";
    browser.eval(&press("name"));
    assert_eq!(names(&mut browser), ["busy", "idle", "never started"]);
    assert!(browser.text(sorted).ends_with("ascending"));
    browser.eval(&press("name"));
    assert_eq!(names(&mut browser), ["never started", "idle", "busy"]);
    browser.eval(&press("memory"));
    assert_eq!(names(&mut browser)[2], "never started", "unknown values come last");
    assert_eq!(browser.text(sorted), "Memorydescending");
    browser.eval(&press("memory"));
    assert_eq!(names(&mut browser)[2], "never started", "in both directions");

    browser.eval("document.querySelector('#filter').focus()");
    browser.call("Input.insertText", json!({"text": "BUS"}));
    assert_eq!(names(&mut browser), ["busy"]);
    assert_eq!(browser.text("document.querySelector('#shown').innerText"), "1 of 3 shown");
    let before = browser.number("tick");
    browser.until(&format!("tick > {before}"));
    assert_eq!(names(&mut browser), ["busy"], "a refresh keeps the filter");
    assert_eq!(browser.text("document.activeElement.id"), "filter");

    browser.eval("document.querySelector('tr[data-name=busy] a').click()");
    browser.until("document.body?.dataset.page === 'plugin' && document.readyState === 'complete'");
    assert_eq!(browser.text("document.querySelector('h1 bdi').innerText"), "busy");
    browser.until("/^sh\\s+\\d+\\s+/.test(document.querySelector('#processes tbody').innerText)");
    for chart in ["cpu", "memory", "rate"] {
        let line = format!("document.querySelector('#{chart} .line').getAttribute('d')");
        let before = browser.text(&line);
        assert!(before.starts_with('M'), "{chart}: {before}");
        browser.until(&format!("{line} !== {}", json!(before)));
    }
    assert_eq!(browser.number("document.querySelector('#runs').tBodies[0].rows.length"), 1.0);
    // The filter is kept when the user returns to the page.
    browser.eval("history.back()");
    browser.until("document.body?.dataset.page === 'index' && document.readyState === 'complete'");
    browser.until("document.querySelector('#shown').innerText === '1 of 3 shown'");
    assert_eq!(names(&mut browser), ["busy"]);
    assert_no_problem(&mut browser);
}

#[test]
fn banner_distinguishes_stopped_late_and_lost() {
    let Some(mut browser) = Chromium::start("banners") else {
        return;
    };
    let collector =
        plugmeter_test_support::ticking_collector(ProbeKind::Native, Duration::from_secs(1));
    collector.register("dice").unwrap().started(std::process::id(), "");
    collector.sample_now().unwrap();
    let (server, address) = serve(collector.reader());
    for path in ["", "plugin?name=dice"] {
        browser.open(&format!("{address}{path}"));
        browser.until("!isFetching");
        assert_eq!(browser.text(BANNER), "");
    }
    browser.open(&address);
    browser.until("tick > 0");
    collector.stop();
    browser.until(&format!("({BANNER}).startsWith('The collector is stopped.')"));
    browser.until("document.body.matches('.stale')");
    assert_eq!(names(&mut browser), ["dice"], "the last values stay");
    browser.open(&address);
    assert!(
        browser.text(BANNER).starts_with("The collector is stopped."),
        "also on the first page"
    );
    assert_no_problem(&mut browser);

    browser.until("!isFetching");
    let port = server.local_addr().unwrap().port();
    server.stop();
    browser.until(&format!("({BANNER}).startsWith('Connection lost.')"));
    assert_eq!(names(&mut browser), ["dice"]);
    // The browser itself reports the refused connection on the console.
    let problems = Chromium::problems(&browser.events());
    let expected =
        |text: &String| text.contains("ERR_CONNECTION") || text.contains("ERR_EMPTY_RESPONSE");
    assert!(problems.iter().all(expected), "{problems:#?}");

    // The host restarts, and its counters start again.
    let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(1))).unwrap();
    sim.register("8ball").unwrap();
    sim.tick(|_| None);
    let server = http::serve(sim.reader(), HttpConfig::default().port(port)).unwrap();
    browser.until(&format!("({BANNER}) === '' && !document.body.matches('.stale')"));
    assert_eq!(names(&mut browser), ["8ball"]);
    // The simulation does not advance, so its collector becomes late.
    browser.until(&format!("({BANNER}).startsWith('The collector is late')"));
    // The simulated tick is slightly ahead of the server's clock, which the age is computed from.
    plugmeter_test_support::wait_for("a page that is late when it is opened", || {
        browser.open(&address);
        browser.text(BANNER).starts_with("The collector is late").then_some(())
    });
    sim.advance(Duration::from_secs(3_600));
    sim.tick(|_| None);
    browser.until(&format!("({BANNER}) === ''"));
    drop(server);
}

#[test]
fn refresh_of_500_rows_keeps_focus_and_scroll() {
    const COUNT: u32 = 500;
    let Some(mut browser) = Chromium::start("many") else {
        return;
    };
    let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(1))).unwrap();
    let plugins: Vec<_> = (0..COUNT)
        .map(|nth| sim.register(&format!("a-plugin-with-a-name-{nth:03}")).unwrap())
        .collect();
    for (pid, plugin) in (1..).zip(&plugins) {
        plugin.started(pid, "1.22.333");
    }
    // The order changes at every tick.
    let mut cpu = vec![Duration::ZERO; COUNT as usize + 1];
    let mut ticks = 0_u64;
    let mut tick = |sim: &mut Simulation| {
        ticks += 1;
        sim.tick(|pid| {
            let busy = u64::from(pid) * 7_919 * ticks % 491;
            cpu[pid as usize] += Duration::from_millis(busy);
            Usage { cpu_time: cpu[pid as usize], memory_bytes: (100 + busy) << 18 }
        });
    };
    (0..600).for_each(|_| tick(&mut sim));
    let (_server, address) = serve(sim.reader());
    browser.size(1280, 900);
    browser.open(&address);
    catch_up(&mut browser, &sim);
    assert_eq!(names(&mut browser).len(), COUNT as usize);
    browser.eval(
        "[...document.querySelectorAll('#rows tr')].forEach((tr, nth) => { tr.wasRow = nth; });
         const chosen = document.querySelectorAll('#rows tr')[300].querySelector('a');
         chosen.focus();
         chosen.scrollIntoView({ block: 'center' });",
    );
    let place = "JSON.stringify([scrollY, document.activeElement.closest('tr').wasRow, \
                 document.activeElement.getBoundingClientRect().top])";
    let (here, order) = (browser.text(place), names(&mut browser));
    assert!(here.contains(",300,"), "{here}");
    browser.events();
    browser.call("Performance.enable", json!({"timeDomain": "threadTicks"}));
    for _ in 0..3 {
        browser.until("!isFetching && !isDrawing");
        let before = costs(&mut browser).map(|seconds| seconds * 1e3);
        tick(&mut sim);
        catch_up(&mut browser, &sim);
        assert_eq!(browser.text(place), here);
        assert_eq!(names(&mut browser), order, "rows do not move while one has the focus");
        let [script, style, layout] = costs(&mut browser).map(|seconds| seconds * 1e3);
        let [script, style, layout] = [script - before[0], style - before[1], layout - before[2]];
        let update_ms = browser.text("document.body.dataset.updateMs");
        println!(
            "500 plugins: updated in {update_ms} ms; in CPU time: script \
             {script:.1} ms, style {style:.1} ms, layout {layout:.1} ms"
        );
    }
    let same = "[...document.querySelectorAll('#rows tr')].every((tr, nth) => tr.wasRow === nth)";
    assert_eq!(browser.eval(same), json!(true), "the same elements");

    browser.until("!isFetching && !isDrawing");
    let events = browser.events();
    let size = |path: &str| {
        let is_of = |event: &&Value| {
            event["method"] == "Network.responseReceived"
                && event["params"]["response"]["url"].as_str().unwrap().contains(path)
                && event["params"]["response"]["status"] == 200
        };
        let ids: Vec<_> =
            events.iter().filter(is_of).map(|event| &event["params"]["requestId"]).collect();
        let loaded = events.iter().filter(|event| {
            event["method"] == "Network.loadingFinished"
                && ids.contains(&&event["params"]["requestId"])
        });
        let sizes = loaded.map(|event| event["params"]["encodedDataLength"].as_f64().unwrap());
        sizes.fold((0.0, 0), |(most, count), size| (size.max(most), count + 1))
    };
    let (rows, lines) = (size("/page/rows"), size("/page/lines"));
    println!("500 plugins: {} bytes of rows, {} of lines, at most", rows.0, lines.0);
    assert!(rows.1 >= 3 && lines.1 >= 1, "{rows:?} {lines:?}");
    assert!(rows.0 + lines.0 < 150_000.0);

    // Without focus the page sorts the rows again, worst first.
    browser.eval("document.activeElement.blur(); scrollTo(0, 0);");
    browser.until("!isReorderPending");
    assert_ne!(names(&mut browser), order);
    assert_no_problem(&mut browser);
}

#[test]
fn rows_under_pointer_do_not_move() {
    let Some(mut browser) = Chromium::start("pointer") else {
        return;
    };
    let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(1))).unwrap();
    let plugins = ["a", "b", "c"].map(|name| sim.register(name).unwrap());
    for (pid, plugin) in (1..).zip(&plugins) {
        plugin.started(pid, "");
    }
    let mut cpu = [Duration::ZERO; 5];
    let mut busy = |sim: &mut Simulation, shares: [u64; 3]| {
        sim.tick(|pid| {
            let nth = pid as usize;
            cpu[nth] += Duration::from_millis(shares.get(nth - 1).copied().unwrap_or(0) * 10);
            Usage { cpu_time: cpu[nth], memory_bytes: 1 << 20 }
        });
    };
    busy(&mut sim, [30, 20, 10]);
    let (_server, address) = serve(sim.reader());
    browser.size(1280, 900);
    browser.open(&address);
    catch_up(&mut browser, &sim);
    assert_eq!(names(&mut browser), ["a", "b", "c"]);
    let region = "document.querySelector('#announcements')";
    browser.eval(&format!(
        "window.announcements = 0; new MutationObserver((all) => {{ announcements += all.length; }}).observe({region}, \
         {{ subtree: true, childList: true, characterData: true }})"
    ));
    let middle = browser.eval(
        "(({ x, y, width, height }) => [x + width / 2, y + height / 2])\
         (document.querySelector('tr[data-name=b] th').getBoundingClientRect())",
    );
    browser.point(middle[0].as_f64().unwrap(), middle[1].as_f64().unwrap());
    busy(&mut sim, [10, 20, 30]);
    catch_up(&mut browser, &sim);
    assert_eq!(names(&mut browser), ["a", "b", "c"], "under the pointer");
    browser.point(1.0, 1.0);
    browser.until("!isReorderPending");
    assert_eq!(names(&mut browser), ["c", "b", "a"]);
    assert_eq!(
        browser.number("announcements"),
        0.0,
        "no announcement while the verdict is unchanged"
    );

    plugins[0].remove();
    plugins[1].crashed();
    let other = sim.register("d <i>new</i>").unwrap();
    other.started(4, "2.0");
    busy(&mut sim, [0, 0, 30]);
    catch_up(&mut browser, &sim);
    assert_eq!(names(&mut browser), ["b", "c", "d <i>new</i>"]);
    assert_eq!(browser.text(VERDICT), "1 of 3 needs attention.");
    assert_eq!(browser.number("announcements"), 1.0, "the verdict is announced once");
    let link = "document.querySelector('#rows tr:last-child a')";
    assert_eq!(browser.text(&format!("{link}.innerText")), "d <i>new</i>");
    browser.eval(&format!("{link}.click()"));
    browser.until("document.querySelector('h1 bdi')?.innerText === 'd <i>new</i>'");
    other.remove();
    sim.advance(Duration::from_secs(1));
    browser.until(&format!("({BANNER}).includes('no longer registered')"));
}

#[test]
fn layout_fits_phone_width() {
    let Some(mut browser) = Chromium::start("phone") else {
        return;
    };
    for (scene, sim) in scenes::all() {
        let (_server, address) = serve(sim.reader());
        for width in [320, 390, 960, 1024, 1280] {
            browser.size(width, 844);
            for path in ["", "plugin?name=dice", "plugin?name=nobody"] {
                browser.open(&format!("{address}{path}"));
                browser.until("!document.body.dataset.page || !isFetching");
                let wide = browser.number("document.documentElement.scrollWidth");
                assert!(wide <= f64::from(width), "{scene} {path} at {width}: {wide}");
                let outside = browser.eval(&format!(
                    "[...document.querySelectorAll('header *, #plugins *, .chart *')].filter((e) => \
                     e.getBoundingClientRect().right > {width} + 1 && !e.closest('.sr, thead, td, th, .band'))\
                     .map((e) => e.outerHTML.slice(0, 80))"
                ));
                assert_eq!(outside, json!([]), "{scene} {path} at {width}");
            }
        }
    }
    let problems = Chromium::problems(&browser.events());
    let expected = |text: &String| text.contains("404");
    assert!(problems.iter().all(expected), "{problems:#?}");
}

#[test]
fn token_in_url_allows_refreshes() {
    let Some(mut browser) = Chromium::start("token") else {
        return;
    };
    let collector =
        plugmeter_test_support::ticking_collector(ProbeKind::Native, Duration::from_millis(100));
    collector.register("dice").unwrap();
    let config = HttpConfig::default().token("s3cret");
    let (_server, address) = plugmeter_http_tests::serve(collector.reader(), config);
    browser.open(&format!("http://anybody:s3cret@{address}/"));
    browser.until("rows.size === 1 && tick > 0");
    let before = browser.number("tick");
    browser.until(&format!("tick > {before}"));
    assert_no_problem(&mut browser);
}

#[test]
fn hidden_page_sends_no_requests() {
    let Some(mut browser) = Chromium::start("hidden") else {
        return;
    };
    let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(1))).unwrap();
    sim.register("dice").unwrap();
    // The simulated ticks are ahead of the server's clock, so their age is zero.
    sim.advance(Duration::from_secs(3_600));
    sim.tick(|_| None);
    let (_server, address) = serve(sim.reader());
    browser.open(&address);
    catch_up(&mut browser, &sim);
    // As if the user selected another tab.
    browser.eval(
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true });
         document.dispatchEvent(new Event('visibilitychange'))",
    );
    browser.until("!isFetching");
    browser.events();
    let hidden_at = browser.number("performance.now()");
    // More than two periods, and more than three intervals and a second, after which a collector is
    // late.
    browser.until(&format!("performance.now() > {hidden_at} + 5500"));
    let requests =
        browser.events().iter().filter(|e| e["method"] == "Network.requestWillBeSent").count();
    assert_eq!(requests, 0);
    assert!(browser.text("document.querySelector('#age').innerText") != "Data 0\u{a0}s old");
    assert_eq!(
        browser.text(BANNER),
        "",
        "the page has sent no request, so the collector is not late"
    );
    sim.tick(|_| None);
    browser.eval(
        "Object.defineProperty(document, 'hidden', { value: false, configurable: true });
         document.dispatchEvent(new Event('visibilitychange'))",
    );
    catch_up(&mut browser, &sim);
    assert_no_problem(&mut browser);
}

#[test]
fn times_gain_date_after_midnight() {
    let Some(mut browser) = Chromium::start("midnight") else {
        return;
    };
    let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(1))).unwrap();
    sim.tick(|_| None);
    // Registered at the time of the tick, so on the same day.
    sim.register("dice").unwrap();
    sim.advance(Duration::ZERO);
    let (_server, address) = serve(sim.reader());
    browser.open(&address);
    catch_up(&mut browser, &sim);
    let since = "document.querySelector('#rows time').innerText";
    browser.until(&format!("/^\\d\\d:\\d\\d$/.test({since})"));
    sim.advance(Duration::from_secs(86_400));
    sim.tick(|_| None);
    catch_up(&mut browser, &sim);
    let text = browser.text(since);
    assert!(text.len() == "11-24 12:34".len() && text.contains('-'), "{text}");
    assert_no_problem(&mut browser);
}

/// A tick of the simulation is shown although the page does not poll.
#[track_caller]
fn assert_follows_stream(browser: &mut Chromium, sim: &mut Simulation) {
    browser.until("isStreaming && eventSource.readyState === EventSource.OPEN && !isFetching");
    // Only an event can set it again.
    browser.eval("clearTimeout(refreshTimer)");
    sim.tick(|_| None);
    catch_up(browser, sim);
}

#[test]
fn page_follows_stream_of_events() {
    let Some(mut browser) = Chromium::start("stream") else {
        return;
    };
    let mut sim = Simulation::new(Config::default()).unwrap();
    sim.tick(|_| None);
    let (_server, address) = serve(sim.reader());
    browser.open(&address);
    catch_up(&mut browser, &sim);
    assert_eq!(browser.eval("document.querySelector('#timeline').hidden"), json!(true));
    assert_follows_stream(&mut browser, &mut sim);
    // What happens is shown, newest first, with inert names.
    let name = "<img src=x onerror=alert(1)>";
    sim.register(name).unwrap().started(7, "1.0");
    sim.advance(Duration::ZERO);
    catch_up(&mut browser, &sim);
    // Notifications may arrive after the data of their revision were sent.
    let timeline = "[...document.querySelectorAll('#timeline li p')].map((p) => p.textContent)";
    browser.until(&format!("refresh() && {timeline}.length === 3"));
    let texts = browser.eval(timeline);
    let expected = ["state STOPPED -> RUNNING", "run began, pid 7, version 1.0", "registered"];
    assert_eq!(texts, json!(expected.map(|text| format!("note: {name}: {text}"))));
    assert_eq!(browser.eval("document.querySelector('#timeline').hidden"), json!(false));
    // Of the chosen plugins.
    sim.register("dice").unwrap().started(8, "2.0");
    sim.advance(Duration::ZERO);
    browser.until(&format!("refresh() && {timeline}.length === 6"));
    browser.eval("$('timeline-filter').focus()");
    browser.call("Input.insertText", json!({"text": "DIC"}));
    browser.until(&format!("{timeline}.length === 3"));
    sim.tick(|_| None);
    catch_up(&mut browser, &sim);
    let texts = browser.text(&format!("{timeline}.join()"));
    assert!(texts.contains("dice: registered") && !texts.contains("<img"), "{texts}");
    browser.eval("$('timeline-filter').value = 'nobody'; filterTimeline()");
    browser.until(&format!("{timeline}.length === 0"));
    assert_eq!(browser.eval("$('timeline').hidden"), json!(false), "the filter can be changed");
    browser.eval("$('timeline-filter').value = ''; filterTimeline()");
    browser.until(&format!("{timeline}.length >= 6"));
    // The page of a plugin follows too, with its own.
    browser.eval(
        "[...document.querySelectorAll('#rows a')].find((a) => a.title.startsWith('<')).click()",
    );
    browser.until("document.body?.dataset.page === 'plugin' && document.readyState === 'complete'");
    assert_follows_stream(&mut browser, &mut sim);
    browser.until(&format!("{timeline}.some((text) => text.includes('pid 7'))"));
    assert!(!browser.text(&format!("{timeline}.join()")).contains("pid 8"));
    assert_no_problem(&mut browser);
}

#[test]
fn page_polls_where_browser_has_no_streams() {
    let Some(mut browser) = Chromium::start("no-streams") else {
        return;
    };
    let script = json!({"source": "delete window.EventSource"});
    browser.call("Page.addScriptToEvaluateOnNewDocument", script);
    let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(1))).unwrap();
    sim.tick(|_| None);
    let (_server, address) = serve(sim.reader());
    browser.open(&address);
    for _ in 0..2 {
        sim.tick(|_| None);
        catch_up(&mut browser, &sim);
    }
    assert_eq!(browser.eval("isStreaming || Boolean(eventSource)"), json!(false));
    assert_no_problem(&mut browser);
}

#[test]
fn page_polls_where_stream_is_refused() {
    let Some(mut browser) = Chromium::start("refused") else {
        return;
    };
    let mut sim = Simulation::new(Config::default().poll_interval(Duration::from_secs(1))).unwrap();
    sim.tick(|_| None);
    let plugins = http::router(sim.reader(), HttpConfig::default()).unwrap();
    // As a proxy that does not allow it.
    let refuse = axum::routing::get(async || axum::http::StatusCode::FORBIDDEN);
    let app =
        axum::Router::new().route("/plugins/api/events", refuse).nest_service("/plugins", plugins);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async { axum::serve(listener, app).await });
    browser.open(&format!("http://{address}/plugins/"));
    browser.until("eventSource?.readyState === EventSource.CLOSED");
    for _ in 0..2 {
        sim.tick(|_| None);
        catch_up(&mut browser, &sim);
    }
    assert_eq!(browser.eval("isStreaming"), json!(false));
    assert_eq!(browser.text(BANNER), "");
}
