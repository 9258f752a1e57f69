//! Windows beyond the history in memory, from a store.

use std::time::SystemTime;

use plugmeter::http::HttpConfig;
use plugmeter::{Collector, Resolution, Store, StoreConfig};
use plugmeter_http_tests::{get, serve};
use plugmeter_test_support::wait_for;

use super::*;

/// A collector that keeps ten seconds in memory, and its store.
fn recorded(name: &str, test: impl FnOnce(&Collector, &Store)) {
    let folder = std::env::temp_dir().join(format!("plugmeter-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let store = StoreConfig::new(folder.join("plugmeter.db"));
    let store = Store::open(store.write_interval(Duration::from_millis(100))).unwrap();
    let config = Config::default().poll_interval(Duration::from_millis(50));
    let collector = Collector::start(config.history_duration(SECONDS(10))).unwrap();
    let recorder = store.record(collector.reader()).unwrap();
    let plugin = collector.register("dice").unwrap();
    plugin.started(std::process::id(), "1.0");
    plugin.events().add(40);
    wait_for("some writes", || {
        let now = SystemTime::now();
        let points = store.reader().points("dice", now - SECONDS(60)..now, Resolution::Raw);
        let events: u64 = points.iter().map(|point| point.events).sum();
        (points.len() >= 10 && events == 40).then_some(())
    });
    test(&collector, &store);
    recorder.stop();
    drop(store);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn long_windows_come_from_the_store() {
    recorded("long-windows", |collector, store| {
        let config = HttpConfig::default().store(store.reader());
        let (_server, address) = serve(collector.reader(), config);
        let day = get(address, "/api/plugin?name=dice&window=86400").json();
        assert_eq!(day["resolution"], "minute");
        assert_eq!(day["aggregates"]["events"], 40);
        assert_eq!(day["aggregates"]["resolution"], "raw");
        let history = day["history"].as_array().unwrap();
        assert!((1..=3).contains(&history.len()), "{history:?}");
        let samples: u64 = history.iter().map(|p| p["sample_count"].as_u64().unwrap()).sum();
        assert!(samples >= 10, "{history:?}");
        assert!(history.iter().any(|point| point["memory_mb"]["max"].as_f64() > Some(0.0)));
        assert_eq!(day["runs"][0]["pid"], std::process::id());
        assert_eq!(day["current"]["state"], "RUNNING");
        let month = get(address, "/api/plugin?name=dice&window=2592000").json();
        assert_eq!(month["resolution"], "hour");
        // Within the memory as without a store.
        let short = get(address, "/api/plugin?name=dice&window=5").json();
        assert!(short.get("resolution").is_none() && short["history"][0]["run"].is_u64());

        let page = get(address, "/plugin?name=dice&window=604800");
        let page = page.text();
        assert!(page.contains("From the store, by hour"), "{page}");
        for label in ["1\u{a0}d", "7\u{a0}d", "30\u{a0}d", "in memory, 10\u{a0}s"] {
            assert!(page.contains(label), "{label}");
        }
        assert!(page.contains(r#"aria-current="true">7"#));
        let data = get(address, "/page/plugin?name=dice&window=86400").json();
        assert_eq!(data["charts"].as_array().unwrap().len(), 3);
        assert!(data["charts"][2]["summary"].as_str().unwrap().contains("40 events"), "{data}");
        let page = get(address, "/plugin?name=dice");
        assert!(!page.text().contains("From the store"));
    });
}

/// What a page shows of a store is in its table, its band of runs and its downloads too, and a zoom into it
/// stays in it.
#[test]
fn zoom_and_downloads_of_long_windows_come_from_the_store() {
    recorded("zoomed-windows", |collector, store| {
        let config = HttpConfig::default().store(store.reader());
        let (_server, address) = serve(collector.reader(), config);
        let csv = get(address, "/api/history.csv?name=dice&window=86400").text().to_owned();
        let mut lines = csv.lines();
        let columns: Vec<_> = lines.next().unwrap().split(',').collect();
        let events = columns.iter().position(|&column| column == "events").unwrap();
        let cell = |line: &str| line.split(',').nth(events).unwrap().parse::<u64>().unwrap();
        assert_eq!(lines.map(cell).sum::<u64>(), 40, "{csv}");
        let json = get(address, "/api/history.json?name=dice&window=86400").json();
        let points = json.as_array().unwrap();
        assert_eq!(points.iter().map(|p| p["events"].as_u64().unwrap()).sum::<u64>(), 40);

        let day = get(address, "/page/plugin?name=dice&window=86400").json();
        assert_eq!(day["band"]["runs"].as_array().unwrap().len(), 1);
        assert!(!day["data"].as_array().unwrap().is_empty() && day["points"][0][0].is_u64());

        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let (from, to) = (now - SECONDS(600), now + SECONDS(60));
        let zoom = format!("&from={}&to={}", from.as_millis(), to.as_millis());
        let zoomed = get(address, &format!("/page/plugin?name=dice&window=86400{zoom}")).json();
        let summary = zoomed["charts"][2]["summary"].as_str().unwrap();
        assert!(summary.starts_with("In the chosen 11m 40 events"), "{summary}");
        assert_eq!(zoomed["times"][0], from.as_millis() as u64);
        let page = get(address, &format!("/plugin?name=dice&window=86400{zoom}")).text().to_owned();
        assert!(page.contains("From the store, by sample") && page.contains("window=86400"));
        // The same zoom in memory.
        let page = get(address, &format!("/plugin?name=dice{zoom}")).text().to_owned();
        assert!(!page.contains("From the store"));
    });
}

#[test]
fn long_windows_without_a_store_are_the_memory() {
    recorded("no-store", |collector, _store| {
        let (_server, address) = serve(collector.reader(), HttpConfig::default());
        let day = get(address, "/api/plugin?name=dice&window=86400").json();
        assert!(day.get("resolution").is_none() && day["history"][0]["run"].is_u64());
        let page = get(address, "/plugin?name=dice");
        assert!(!page.text().contains("30\u{a0}d") && page.text().contains("all, 10\u{a0}s"));
    });
}

/// A file that cannot be read costs a request nothing but its values.
#[test]
fn unreadable_store_gives_empty_windows() {
    recorded("unreadable", |collector, _store| {
        let folder = std::env::temp_dir().join(format!("plugmeter-none-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("plugmeter.db");
        let reader = Store::open(StoreConfig::new(&path)).unwrap().reader();
        std::fs::remove_dir_all(&folder).unwrap();
        let config = HttpConfig::default().store(reader.clone());
        assert_eq!(config, HttpConfig::default().store(reader));
        let (_server, address) = serve(collector.reader(), config);
        let day = get(address, "/api/plugin?name=dice&window=86400").json();
        assert_eq!(
            (day["history"].as_array().unwrap().len(), &day["aggregates"]["events"]),
            (0, &0.into())
        );
        let page = get(address, "/plugin?name=dice&window=86400");
        assert!(page.text().contains("No known values in this window"));
    });
}
