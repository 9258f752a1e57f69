//! Random sequences of registrations, runs, ticks and acknowledgements, beside what must arrive.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use plugmeter::Plugin;
use plugmeter::testing::{Observed, Simulation};

use crate::decoded::{Attributes, Decoded, Point, values};
use crate::{config, encoder, usage};

/// A generator of the kind splitmix64: the same sequence for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// What must arrive of a plugin at a tick.
#[derive(Debug, PartialEq)]
struct Expected {
    events: f64,
    memory: Option<f64>,
    up: f64,
}

/// A host with random plugins.
struct Scene {
    sim: Simulation,
    plugins: BTreeMap<&'static str, Plugin>,
    expected: BTreeMap<(SystemTime, &'static str), Expected>,
    pid: u32,
    /// CPU time of each process in milliseconds.
    cpu: HashMap<u32, u64>,
}

impl Scene {
    fn change(&mut self, random: &mut Random) {
        let name = NAMES[random.below(4) as usize];
        let Some(plugin) = self.plugins.get(name) else {
            self.plugins.insert(name, self.sim.register(name).unwrap());
            return;
        };
        match random.below(8) {
            0 => {
                plugin.clone().remove();
                self.plugins.remove(name);
            }
            1 | 2 => {
                self.pid += 1;
                plugin.started(self.pid, ["1.0", "1.1", ""][random.below(3) as usize]);
            }
            3 => plugin.stopped(),
            4 => plugin.crashed(),
            5 => plugin.event_counter(["x", "y"][random.below(2) as usize]).unwrap().increment(),
            _ => plugin.events().add(random.below(5)),
        }
    }

    fn tick(&mut self, random: &mut Random) {
        let cpu = &mut self.cpu;
        self.sim.tick(|pid| {
            if random.below(40) == 0 {
                return Observed::Signaled(11);
            }
            let millis = cpu.entry(pid).or_default();
            *millis += random.below(900);
            usage(*millis, u64::from(pid) << 20).into()
        });
        let snapshot = self.sim.snapshot();
        for view in snapshot.plugins() {
            let Some(sample) = view.current() else { continue };
            let name = NAMES.into_iter().find(|name| *name == view.name()).unwrap();
            let expected = Expected {
                events: sample.event_count as f64,
                memory: sample.memory_bytes.map(|bytes| bytes as f64),
                up: f64::from(u8::from(sample.run.is_some())),
            };
            self.expected.insert((sample.timestamp, name), expected);
        }
    }

    /// Asserts that each sample has arrived once.
    fn assert_arrived(&self, points: &[Point]) {
        let mut arrived = BTreeMap::new();
        for name in NAMES {
            let memory: HashMap<_, _> =
                values(points, "plugin.resident_memory", name).into_iter().collect();
            let up: HashMap<_, _> = values(points, "plugin.up", name).into_iter().collect();
            for (time, events) in values(points, "plugin.events", name) {
                // An end has the time of a tick without the plugin, or of another registration's first.
                let (Some(events), Some(Some(up))) = (events, up.get(&time)) else { continue };
                let memory = memory.get(&time).copied().flatten();
                let before = arrived.insert((time, name), Expected { events, memory, up: *up });
                assert_eq!(before, None, "twice: {name} at {time:?}");
            }
        }
        assert_eq!(arrived, self.expected);
    }
}

/// Asserts that the points of each series are in order, that an end follows a value, and that totals do
/// not decrease from one beginning to the next.
fn assert_series(points: &[Point]) {
    let mut last: HashMap<(&str, &Attributes), &Point> = HashMap::new();
    for point in points {
        let before = last.insert((&point.name, &point.attributes), point);
        let is_after = before.is_none_or(|before| before.time < point.time);
        assert!(is_after, "{point:?} after {before:?}");
        if point.value.is_none() {
            assert!(before.is_some_and(|before| before.value.is_some()), "{point:?}: {before:?}");
        }
        let is_total = point.name == "plugin.cpu" || point.name == "plugin.events";
        if let Some(before) = before
            && is_total
            && before.start == point.start
            && let (Some(was), Some(is)) = (before.value, point.value)
        {
            assert!(was <= is, "{point:?} after {before:?}");
        }
    }
}

#[test]
fn random_sequences_arrive_once_in_order() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut scene = Scene {
            sim: Simulation::new(config()).unwrap(),
            plugins: BTreeMap::new(),
            expected: BTreeMap::new(),
            pid: 0,
            cpu: HashMap::new(),
        };
        let mut encoder = encoder();
        let mut points = Vec::new();
        // The receiver is there, or away, for some ticks each.
        let mut is_away = false;
        for _ in 0..120 {
            for _ in 0..random.below(4) {
                scene.change(&mut random);
            }
            if random.below(3) == 0 {
                scene.sim.advance(Duration::from_millis(random.below(900)));
            }
            scene.tick(&mut random);
            if random.below(8) == 0 {
                is_away = !is_away;
            }
            while let Some(request) = encoder.encode(&scene.sim.snapshot()) {
                if is_away {
                    break;
                }
                points.extend(Decoded::of(request.body()).points);
                encoder.acknowledge(request);
            }
        }
        while let Some(request) = encoder.encode(&scene.sim.snapshot()) {
            points.extend(Decoded::of(request.body()).points);
            encoder.acknowledge(request);
        }
        println!("seed {seed}: {} points, {} samples", points.len(), scene.expected.len());
        assert_eq!(encoder.lost_ticks(), 0);
        scene.assert_arrived(&points);
        assert_series(&points);
    }
}
