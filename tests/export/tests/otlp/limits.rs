//! Sizes of requests.

use std::collections::BTreeMap;

use plugmeter::testing::Simulation;

use crate::decoded::{Decoded, all};
use crate::{config, deliver, encoder, usage};

/// Asserts that each plugin has one point of `plugin.up` at each of the ticks.
fn assert_all(requests: &[Decoded], plugins: usize, ticks: usize) {
    let mut counts = BTreeMap::new();
    for point in all(requests).iter().filter(|point| point.name == "plugin.up") {
        *counts.entry((point.time, point.attributes.clone())).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), plugins * ticks);
    assert!(counts.values().all(|count| *count == 1));
}

fn filled(plugins: usize, ticks: usize) -> Simulation {
    let mut sim = Simulation::new(config()).unwrap();
    for i in 0..plugins {
        // The longest names.
        let plugin = sim.register(&format!("{i:0128}")).unwrap();
        plugin.started(i as u32 + 1, &"v".repeat(128));
    }
    for tick in 1..=ticks as u64 {
        sim.tick(|pid| usage(tick * 10, u64::from(pid) << 12));
    }
    sim
}

#[test]
fn request_has_sixty_ticks_at_most() {
    let sim = filled(1, 150);
    let mut encoder = encoder();
    let mut ticks = Vec::new();
    let mut requests = Vec::new();
    while let Some(request) = encoder.encode(&sim.snapshot()) {
        ticks.push(request.ticks());
        let decoded = Decoded::of(request.body());
        assert_eq!(decoded.points.len(), request.points());
        requests.push(decoded);
        encoder.acknowledge(request);
    }
    assert_eq!(ticks, [60, 60, 30]);
    assert_all(&requests, 1, 150);
}

/// `Decoded::of` asserts that no request is larger than a megabyte.
#[test]
fn large_backlog_is_divided_by_size() {
    let sim = filled(100, 20);
    let requests = deliver(&mut encoder(), &sim.snapshot());
    assert!(requests.len() > 3, "{}", requests.len());
    let small = requests[..requests.len() - 1].iter().filter(|request| request.bytes < 800_000);
    assert_eq!(small.count(), 0, "requests are filled");
    assert_all(&requests, 100, 20);
}

#[test]
fn large_tick_is_divided_by_plugins() {
    let sim = filled(1_000, 1);
    let mut encoder = encoder();
    let requests = deliver(&mut encoder, &sim.snapshot());
    assert!(requests.len() > 1, "{}", requests.len());
    assert_all(&requests, 1_000, 1);
    // The sampler's own series come once.
    let ticks = all(&requests);
    assert_eq!(ticks.iter().filter(|point| point.name == "plugmeter.ticks").count(), 1);
}

/// Ticks go on while a large one is delivered in parts.
#[test]
fn parts_of_a_tick_survive_later_ticks() {
    let mut sim = filled(1_000, 1);
    let mut encoder = encoder();
    let mut requests = Vec::new();
    for tick in 2..=4 {
        let request = encoder.encode(&sim.snapshot()).unwrap();
        requests.push(Decoded::of(request.body()));
        encoder.acknowledge(request);
        sim.tick(|pid| usage(tick * 10, u64::from(pid) << 12));
    }
    requests.extend(deliver(&mut encoder, &sim.snapshot()));
    assert_all(&requests, 1_000, 4);
}
