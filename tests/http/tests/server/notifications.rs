//! The notifications of the last hour.

use std::net::SocketAddr;

use plugmeter::http::{self, HttpConfig};
use plugmeter::testing::Observed;
use plugmeter::{Collector, Config};
use plugmeter_http_tests::{get, serve};
use plugmeter_test_support::names::HOSTILE_NAMES;
use plugmeter_test_support::wait_for;
use serde_json::{Value, json};

use super::mounted::host;
use super::{SECONDS, simulation, usage};

/// The document, once `is_complete`: a notification is recorded after its snapshot is published.
fn notifications(address: SocketAddr, is_complete: impl Fn(&[Value], u64) -> bool) -> Value {
    wait_for("the notifications", || {
        let document = get(address, "/api/notifications").json();
        let items = document["notifications"].as_array().unwrap();
        is_complete(items, document["dropped"].as_u64().unwrap()).then_some(document)
    })
}

fn texts(document: &Value) -> Vec<String> {
    let items = document["notifications"].as_array().unwrap();
    items
        .iter()
        .map(|item| format!("{}: {}", item["plugin"], item["text"]).replace('"', ""))
        .collect()
}

#[test]
fn notifications_are_newest_first() {
    let mut sim = simulation();
    sim.register("before the server").unwrap();
    sim.advance(SECONDS(0));
    let subscription = sim.subscribe();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    assert_eq!(texts(&notifications(address, |_, _| true)), [""; 0]);
    sim.register("dice").unwrap().started(7, "1.0");
    sim.tick(|_| usage(1));
    sim.tick(|_| Observed::Signaled(11));
    sim.advance(SECONDS(1));
    let document = notifications(address, |items, _| items.len() == 6);
    let expected = [
        "dice: crash counted, 1 in all",
        "dice: state RUNNING -> CRASHED",
        "dice: run ended, pid 7, signal 11, a crash",
        "dice: state STOPPED -> RUNNING",
        "dice: run began, pid 7, version 1.0",
        "dice: registered",
    ];
    assert_eq!(texts(&document), expected);
    // They are those of any subscriber.
    let mut received: Vec<_> = std::iter::from_fn(|| subscription.try_recv().ok())
        .map(|notification| serde_json::to_value(notification).unwrap())
        .collect();
    received.reverse();
    assert_eq!(document["notifications"], json!(received));
    let snapshot = sim.snapshot();
    assert_eq!(document["revision"], snapshot.revision());
    let timestamp = humantime::format_rfc3339_millis(snapshot.sampled_at()).to_string();
    assert_eq!(document["timestamp"], timestamp);
    let rest = (&document["schema"], &document["dropped"], &document["max_age_seconds"]);
    assert_eq!(rest, (&1.into(), &0.into(), &3_600.into()));
}

#[test]
fn notifications_are_bounded_and_losses_counted() {
    let mut sim = simulation();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    let plugin = sim.register("dice").unwrap();
    // Between two publications, so that no queue is filled.
    let mut sent = 1;
    for pid in 1..=600 {
        plugin.started(pid, "");
        if pid % 100 == 0 {
            sim.advance(SECONDS(0));
            sent = 1 + 2 + 2 * (u64::from(pid) - 1);
            notifications(address, |items, dropped| items.len() as u64 + dropped == sent);
        }
    }
    let document = notifications(address, |items, _| items.len() == 1_000);
    assert_eq!(document["dropped"], sent - 1_000);
    assert!(texts(&document)[0].starts_with("dice: run began, pid 600"), "{document}");
    // More at once than the queue holds.
    for pid in 1..=2_000 {
        plugin.started(pid, "");
    }
    sim.advance(SECONDS(0));
    // The queue was filled. Once it is read, the next notification comes with the number of the lost.
    notifications(address, |_, dropped| dropped == sent - 1_000 + 1_024);
    plugin.stopped();
    sim.advance(SECONDS(0));
    sent += 2 * 2_000 + 2;
    let document = notifications(address, |items, dropped| items.len() as u64 + dropped == sent);
    assert_eq!(document["notifications"].as_array().unwrap().len(), 1_000);
}

#[test]
fn hostile_names_are_exact_in_notifications() {
    let mut sim = simulation();
    let (_server, address) = serve(sim.reader(), HttpConfig::default());
    for name in HOSTILE_NAMES {
        sim.register(name).unwrap();
    }
    sim.advance(SECONDS(0));
    let document = notifications(address, |items, _| items.len() == HOSTILE_NAMES.len());
    let names = document["notifications"].as_array().unwrap().iter().rev();
    let names: Vec<_> = names.map(|item| item["plugin"].as_str().unwrap()).collect();
    assert_eq!(names, HOSTILE_NAMES);
}

#[test]
fn router_records_without_runtime_of_host() {
    let mut sim = simulation();
    let router = http::router(sim.reader(), HttpConfig::default()).unwrap();
    sim.register("dice").unwrap();
    sim.advance(SECONDS(0));
    // Its runtime starts later.
    let (_runtime, address) = host(router);
    let document = notifications(address, |items, _| items.len() == 1);
    assert_eq!(texts(&document), ["dice: registered"]);
}

#[test]
fn notifications_stay_after_collector_has_stopped() {
    let collector = Collector::start(Config::default()).unwrap();
    let (_server, address) = serve(collector.reader(), HttpConfig::default());
    collector.register("dice").unwrap().remove();
    drop(collector);
    let document = notifications(address, |items, _| items.len() == 2);
    assert_eq!(texts(&document), ["dice: removed", "dice: registered"]);
}
