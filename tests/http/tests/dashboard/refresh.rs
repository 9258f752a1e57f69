//! The data for the script equals the page, at a newer revision.

use std::time::{Duration, Instant};

use plugmeter::testing::{Observed, Simulation, Usage};
use plugmeter::{Config, Limit, LimitMetric, Limits};
use plugmeter_http_tests::{get, get_with_headers};
use plugmeter_test_support::names::HOSTILE_NAMES;
use serde_json::{Value, json as value};

use crate::markup::{tags, text_of, unescape};
use crate::{MB, ROW, every, hostile, json, page, serve};

#[test]
fn unchanged_revision_is_204() {
    let mut sim = hostile();
    let (_server, address) = serve(sim.reader());
    let data = json(address, "/page/rows");
    let (revision, started) = (&data["revision"], &data["started"]);
    let with = |revision: &Value, started: &Value| format!("since={revision}&started={started}");
    for path in ["/page/rows?", "/page/plugin?name=..&"] {
        assert_eq!(get(address, &format!("{path}{}", with(revision, started))).status, 204);
        // A restarted host may reach the same revision.
        let before = Value::from(started.as_u64().unwrap() - 1);
        assert_eq!(get(address, &format!("{path}{}", with(revision, &before))).status, 200);
        assert_eq!(get(address, &format!("{path}since={revision}")).status, 200);
        assert_eq!(get(address, &format!("{path}since=x&started={started}")).status, 400);
    }
    sim.tick(|_| None);
    assert_eq!(get(address, &format!("/page/rows?{}", with(revision, started))).status, 200);
}

#[test]
fn refresh_data_equals_page() {
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
            ("memory_change", 7),
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
    assert_eq!(compared, HOSTILE_NAMES.len());
}

#[test]
fn refresh_of_500_plugins_is_under_150_kb() {
    let sim = with_history(500);
    let (_server, address) = serve(sim.reader());
    let timed = |target: &str| {
        let start = Instant::now();
        let size = get(address, target).body.len();
        println!("500 plugins: {target:.12} is {size} bytes, in {:.1?}", start.elapsed());
        size
    };
    timed("/");
    let rows = timed("/page/rows");
    let places: Vec<_> = (0..60).map(|place: u32| place.to_string()).collect();
    let lines = timed(&format!("/page/lines?at={}", places.join(",")));
    assert!(rows + lines < 150_000, "{rows} and {lines}");
}

/// Plugins with an hour of history.
fn with_history(count: u32) -> Simulation {
    let mut sim = Simulation::new(every(5)).unwrap();
    for nth in 0..count {
        sim.register(&format!("a-plugin-with-a-name-{nth:03}"))
            .unwrap()
            .started(1_000_000 + nth, "1.22.333");
    }
    let noise = |seed: u64| (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 1_000;
    let mut cpu_time = vec![Duration::ZERO; count as usize];
    for tick in 0..720_u64 {
        sim.tick(|pid| {
            let nth = (pid - 1_000_000) as usize;
            let seed = tick * 10_000 + nth as u64;
            cpu_time[nth] += Duration::from_millis(noise(seed));
            let memory_bytes = (100 + u64::from(pid) % 300) * MB / 3 + noise(seed + 1) * 4_096;
            Usage { cpu_time: cpu_time[nth], memory_bytes }
        });
    }
    sim
}

#[test]
fn page_and_script_are_small() {
    let gzip = |address, target: &str| {
        let response = get_with_headers(address, target, &["Accept-Encoding: gzip"]);
        assert_eq!(response.header("content-encoding").as_deref(), Some("gzip"), "{target}");
        response.body.len()
    };
    let (_server, address) = serve(with_history(12).reader());
    let size = |target: &str| get(address, target).body.len();
    let (page, script, style) = (size("/"), size("/page.js"), size("/page.css"));
    let sent = ["/", "/page.js", "/page.css"].map(|target| gzip(address, target));
    println!(
        "12 plugins: page {page}, script {script}, style {style} bytes; with gzip {sent:?}; page of \
         one plugin {}",
        size("/plugin?name=a-plugin-with-a-name-001")
    );
    assert!(script < 25_000, "{script}");
    assert!(page < 60_000, "{page}");
    assert!(sent.iter().sum::<usize>() < 60_000, "{sent:?}");

    let (_server, address) = serve(with_history(1_000).reader());
    let page = gzip(address, "/");
    println!("1,000 plugins: page {} bytes, {page} with gzip", get(address, "/").body.len());
    assert!(page < 150_000, "{page}");
}

#[test]
fn plugin_page_has_charts_aggregates_and_runs() {
    let mut sim = Simulation::new(every(10)).unwrap();
    let dice = sim.register("dice").unwrap();
    dice.started(17, "1.0");
    let usage = |ms| Usage { cpu_time: Duration::from_millis(ms), memory_bytes: 8 * MB };
    sim.tick(|_| Observed::from(usage(2_500)));
    sim.tick(|_| Observed::Signaled(11));
    dice.events().add(30);
    dice.event_counter("<command>").unwrap().add(1_200);
    dice.started(18, "1.1");
    sim.tick(|_| Observed::from(usage(1_000)));
    sim.tick(|_| Observed::from(usage(3_000)));
    let (_server, address) = serve(sim.reader());
    let whole = page(address, "/plugin?name=dice");
    let data = json(address, "/page/plugin?name=dice");
    let cpu = &data["charts"][0];
    // 25, 10 (since the tick before) and 20 percent.
    assert_eq!(cpu["now"], "20.0\u{a0}%");
    assert_eq!(cpu["stats"][1], "10.0\u{a0}%");
    assert_eq!(cpu["stats"][3], "25.0\u{a0}%");
    assert!(cpu["summary"].as_str().unwrap().contains("from 10.0\u{a0}% to 25.0\u{a0}%"));
    assert_eq!(cpu["restarts"].as_str().unwrap().matches('M').count(), 1);
    assert_eq!(cpu["crashes"].as_str().unwrap().matches('M').count(), 1);
    assert!(whole.contains(cpu["line"].as_str().unwrap()), "the page has the same line");
    let runs = data["runs"].as_array().unwrap();
    let run = |nth: usize| {
        (runs[nth]["pid"].as_u64(), runs[nth]["end"].as_str(), runs[nth]["is_unclean"].as_bool())
    };
    assert_eq!(run(0), (Some(18), Some("running"), Some(false)), "newest first");
    assert_eq!(run(1), (Some(17), Some("signal 11"), Some(true)));
    assert!(whole.contains("signal 11"));
    assert_eq!(data["kinds"], value!([["<command>", "1,200"]]));
    assert!(whole.contains("<bdi>&#60;command&#62;</bdi></td><td class=\"num\">1,200</td>"));
    let of_version = |nth: usize| {
        let row: Vec<_> = (0..8).map(|at| data["versions"][nth][at].as_str().unwrap()).collect();
        (row[0], row[1], row[5], row[7])
    };
    // Name, runs, events and crashes, newest first.
    assert_eq!(of_version(0), ("1.1", "1", "1,230", "0"));
    assert_eq!(of_version(1), ("1.0", "1", "0", "1"));
    assert!(whole.contains("CPU per event"));
    // Two samples are in the last ten seconds, both of the second run.
    let last = json(address, "/page/plugin?name=dice&window=10");
    assert_eq!(last["charts"][0]["stats"][3], "20.0\u{a0}%");
    assert_eq!(last["key_figures"][7], "2");
    for window in ["", "&window=60", "&window=300", "&window=900"] {
        let page = page(address, &format!("/plugin?name=dice{window}"));
        let chosen = tags(&page).into_iter().find(|tag| tag.get("aria-current").is_some()).unwrap();
        assert_eq!(unescape(chosen.get("href").unwrap()), format!("./plugin?name=dice{window}"));
    }
}

/// A process uses 10 % of a core and 20 MB, for an hour, and then ten times as much CPU; it crashes in
/// between.
fn shifted() -> Simulation {
    let limits = Limits::default()
        .rule(Limit::new(LimitMetric::CpuPercent, 60.0).lasting(Duration::from_secs(60)))
        .rule(Limit::new(LimitMetric::MemoryMb, 512.0));
    let mut sim = Simulation::new(every(5).limits(limits)).unwrap();
    let dice = sim.register("dice").unwrap();
    dice.started(17, "1.0");
    let mut cpu_time = Duration::ZERO;
    for tick in 0..720_u64 {
        if tick == 300 {
            (cpu_time, _) = (Duration::ZERO, dice.started(18, "1.1"));
        }
        cpu_time += Duration::from_millis(if tick < 600 { 500 } else { 5_000 });
        sim.tick(|_| match tick {
            298 => Observed::Signaled(11),
            _ => Observed::from(Usage { cpu_time, memory_bytes: 20 * MB }),
        });
    }
    sim
}

#[test]
fn charts_mark_findings_limits_and_runs() {
    let sim = shifted();
    let (_server, address) = serve(sim.reader());
    let data = json(address, "/page/plugin?name=dice");
    let (cpu, memory) = (&data["charts"][0], &data["charts"][1]);
    // The limit of CPU is a line; that of memory is far above, so it is only stated.
    assert_eq!(cpu["limit"].as_str().unwrap().matches('M').count(), 1);
    assert_eq!(
        (&cpu["stats"][4], &memory["stats"][4]),
        (&"60.0\u{a0}%".into(), &"512.0\u{a0}MB".into())
    );
    assert_eq!(memory["limit"], "");
    assert!(cpu["summary"].as_str().unwrap().ends_with("Limit 60.0\u{a0}%."), "{cpu}");
    let states: Vec<_> =
        data["limits"].as_array().unwrap().iter().map(|limit| limit[0].as_str().unwrap()).collect();
    assert_eq!(states, ["CPU 100.00 %, limit 60 %: exceeded", "memory 20.00 MB, limit 512 MB: ok"]);
    // The findings about CPU begin after five sixths of the chart, and last.
    let spans = cpu["marks"]["spans"][1].as_str().unwrap();
    let starts: Vec<f64> = spans
        .split('M')
        .skip(1)
        .map(|span| span.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(!starts.is_empty() && starts.iter().all(|x| (795.0..830.0).contains(x)), "{spans}");
    assert!(spans.contains("H960"), "{spans}");
    let items = cpu["marks"]["items"].as_array().unwrap();
    let sentences: Vec<_> =
        items.iter().map(|item| item["segments"][0].as_str().unwrap()).collect();
    assert_eq!(items.len(), starts.len());
    assert!(sentences.iter().any(|text| text.starts_with("CPU over the limit")), "{sentences:?}");
    let evidence = items.iter().map(|item| item["evidence"].as_str().unwrap());
    assert!(evidence.clone().all(|text| text.contains("impact ")), "{items:?}");
    assert!(evidence.clone().any(|text| text.contains("samples since")), "{items:?}");
    assert_eq!(memory["marks"]["items"], value!([]));
    // A crash belongs to the runs, of which the first has failed.
    let band = &data["band"];
    assert_eq!(band["summary"], "2 runs in this range, of which 1 failed.");
    assert_eq!(band["marks"]["items"].as_array().unwrap().len(), 1);
    let run = |nth: usize, at: usize| band["runs"][nth][at].as_str().unwrap().to_owned();
    assert_eq!((run(0, 2), run(0, 3)), ("failed".to_owned(), "1.0 \u{b7} signal 11".to_owned()));
    assert_eq!((run(1, 2), run(1, 3)), ("running".to_owned(), "1.1".to_owned()));
    assert!(run(0, 4).starts_with("version 1.0, pid 17, 24m: signal 11"), "{}", run(0, 4));
    let width = |nth: usize| run(nth, 1).strip_suffix('%').unwrap().parse::<f64>().unwrap();
    assert!((width(0) + width(1) - 100.0).abs() < 0.5, "{band}");

    // The page has the same without the script.
    let page = page(address, "/plugin?name=dice");
    for text in [spans, &run(0, 3), "CPU 100.00 %, limit 60 %: exceeded", "samples since"] {
        assert!(page.contains(text), "{text}");
    }
    let table = page.split("id=\"data\"").nth(1).unwrap().split("</table>").next().unwrap();
    let rows = data["data"].as_array().unwrap();
    assert_eq!(table.matches("<tr>").count(), rows.len() + 1);
    assert!(rows.len() <= 60 && rows.iter().any(|row| row["cells"][3] == "crash"), "{rows:?}");
    assert!(data["points"].as_array().unwrap().len() <= 400);
}

#[test]
fn zoomed_page_works_without_script() {
    let sim = shifted();
    let (_server, address) = serve(sim.reader());
    let at = |ago: u64| {
        let at = sim.snapshot().sampled_at() - Duration::from_secs(ago);
        at.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
    };
    // The last minute before the shift.
    let (from, to) = (at(663), at(601));
    let query = format!("&window=900&from={from}&to={to}");
    let page = page(address, &format!("/plugin?name=dice{query}"));
    let tags = tags(&page);
    let with = |key: &str, value: &str| {
        tags.iter().find(|tag| tag.get(key) == Some(value)).unwrap_or_else(|| panic!("no {value}"))
    };
    let back = with("id", "zoom-out");
    assert_eq!(back.get("hidden"), None);
    assert_eq!(unescape(back.get("href").unwrap()), "./plugin?name=dice&window=900");
    assert!(!tags.iter().any(|tag| tag.get("aria-current").is_some()), "no window is chosen");
    let files: Vec<_> = tags.iter().filter(|tag| tag.get("download").is_some()).collect();
    let hrefs: Vec<_> = files.iter().map(|tag| unescape(tag.get("href").unwrap())).collect();
    let file = |extension: &str| format!("./api/history.{extension}?name=dice{query}");
    assert_eq!(hrefs, [file("csv"), file("json")]);
    let rows = get(address, &hrefs[0][1..]).text().lines().count() - 1;
    let data = json(address, &format!("/page/plugin?name=dice{query}"));
    assert_eq!((rows, data["points"].as_array().unwrap().len()), (12, 12));
    assert_eq!(data["key_figures"][7], "12");
    // Before the shift CPU was 10 %; no finding has begun.
    assert_eq!(data["charts"][0]["stats"][3], "10.0\u{a0}%");
    assert_eq!(data["charts"][0]["marks"]["items"], value!([]));
    assert!(
        data["charts"][0]["summary"].as_str().unwrap().starts_with("In the chosen 1m on average")
    );
    assert_eq!((&data["times"][0], &data["times"][2]), (&value!(from as u64), &value!(to as u64)));
    // Without a start or an end there is no zoom, and a zoom outside of the history is empty.
    assert_eq!(get(address, "/plugin?name=dice&from=5").status, 400);
    let data = json(address, "/page/plugin?name=dice&from=5&to=1000");
    assert_eq!((&data["charts"][0]["is_empty"], &data["points"]), (&value!(true), &Value::Null));
}

#[test]
fn pages_show_values_of_process_tree() {
    let usage = |ms, mb| Usage { cpu_time: Duration::from_millis(ms), memory_bytes: mb * MB };
    let observed = |tick: u64| Observed::RunningTree {
        main: usage(100 * tick, 4),
        tree: usage(4_100 * tick, 64),
        processes: 9,
    };
    let run = |config: Config| {
        let mut sim = Simulation::new(config).unwrap();
        sim.register("make").unwrap().started(17, "1.0");
        (1..=3).for_each(|tick| sim.tick(|_| observed(tick)));
        sim
    };
    let sim = run(every(10));
    let (_server, address) = serve(sim.reader());
    let index = page(address, "/");
    for shown in ["41.0\u{a0}%", "64.0\u{a0}MB", "pid 17 \u{b7} 9 processes"] {
        assert!(index.contains(shown), "{shown}");
    }
    // Those of the main process are in the tooltip.
    let own = "Main process: 1.0\u{a0}%, 4.0\u{a0}MB";
    assert_eq!(index.matches(&format!("title=\"{own}\"")).count(), 2);
    assert_eq!(json(address, "/page/rows")["rows"][0][14], own);
    let data = json(address, "/page/plugin?name=make");
    let (cpu, memory) = (&data["charts"][0], &data["charts"][1]);
    assert_eq!((&cpu["now"], &cpu["stats"][3]), (&value!("41.0\u{a0}%"), &value!("41.0\u{a0}%")));
    assert_eq!(memory["stats"][0], "64.0\u{a0}MB");
    // CPU time, processes, and the values of the process itself.
    assert_eq!(data["key_figures"][1], "12.3s");
    assert_eq!(data["key_figures"][8], "9");
    assert_eq!(data["key_figures"][9], "1.0\u{a0}%, 4.0\u{a0}MB");
    let whole = page(address, "/plugin?name=make");
    assert!(whole.contains("Resident memory (sum), MB") && whole.contains("Main process"));

    // Without trees, the values are those of the process.
    let sim = run(every(10).process_trees(false));
    let (_server, address) = serve(sim.reader());
    assert!(page(address, "/").contains(">pid 17<"));
    let data = json(address, "/page/plugin?name=make");
    assert_eq!(data["charts"][0]["now"], "1.0\u{a0}%");
    assert_eq!(data["charts"][1]["now"], "4.0\u{a0}MB");
    assert_eq!([1, 8, 9].map(|nth| data["key_figures"][nth].clone()), ["0.3s", "–", "–"]);
}

#[test]
fn sparklines_have_limits() {
    let limits = Limits::default()
        .rule(Limit::new(LimitMetric::CpuPercent, 40.0))
        .rule(Limit::new(LimitMetric::MemoryMb, 11.0))
        .rule(Limit::new(LimitMetric::MemoryMb, 500.0));
    let mut sim = Simulation::new(every(10).limits(limits)).unwrap();
    sim.register("dice").unwrap().started(17, "1.0");
    sim.register("none").unwrap().set_limits(Limits::default()).unwrap();
    (1..=3).for_each(|tick| {
        let cpu_time = Duration::from_secs(tick);
        sim.tick(|_| Usage { cpu_time, memory_bytes: 10 * MB });
    });
    let (_server, address) = serve(sim.reader());
    let lines = json(address, "/page/lines?at=0,1");
    let path = |nth: usize, key: &str| lines["lines"][nth][1][key].as_str().unwrap().to_owned();
    // CPU of 10 % and its limit of 40 % at the top of the axis; the limit of 500 MB is far away.
    assert_eq!(path(0, "cpu_limit"), "M0 1.5H96");
    assert_eq!(path(0, "memory_limit").matches('M').count(), 1);
    assert_eq!([path(1, "cpu_limit"), path(1, "memory_limit")], ["", ""]);
    let page = page(address, "/");
    assert!(page.contains("data-l=\"cpu_limit\" d=\"M0 1.5H96\""), "{page}");
}

#[test]
fn custom_window_is_shown_as_selected() {
    let mut sim = Simulation::new(every(10)).unwrap();
    sim.register("dice").unwrap();
    (0..30).for_each(|_| sim.tick(|_| None));
    let (_server, address) = serve(sim.reader());
    for (window, query, text) in [
        ("120", "&window=120", "2 min"),
        ("90.50", "&window=90.5", "90 s"),
        ("12", "&window=12", "12 s"),
        // The history is an hour.
        ("3600", "", "all, 1 h"),
        ("7200", "", "all, 1 h"),
    ] {
        let page = page(address, &format!("/plugin?name=dice&window={window}"));
        let chosen: Vec<_> =
            tags(&page).into_iter().filter(|tag| tag.get("aria-current").is_some()).collect();
        assert_eq!(chosen.len(), 1, "{window}");
        let link = unescape(chosen[0].get("href").unwrap());
        assert_eq!(link, format!("./plugin?name=dice{query}"), "{window}");
        let label = page.split("aria-current=\"true\">").nth(1).unwrap().split('<').next().unwrap();
        assert_eq!(label.replace('\u{a0}', " "), text, "{window}");
        // The query of the script's requests.
        let body = tags(&page).into_iter().find(|tag| tag.name == "body").unwrap();
        assert_eq!(unescape(body.get("data-query").unwrap()), format!("name=dice{query}"));
        let samples = |target: &str| json(address, target)["key_figures"][7].clone();
        let again = samples(&format!("/page/plugin?name=dice{query}"));
        assert_eq!(again, samples(&format!("/page/plugin?name=dice&window={window}")), "{window}");
    }
}
