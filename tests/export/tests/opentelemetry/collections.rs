//! Collections beside a collector that publishes, and beside each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;
use plugmeter::testing::{Observed, Simulation};
use plugmeter::{Collector, Config};
use plugmeter_test_support::{HANG_TIMEOUT, SetOnDrop, wait_for};

use crate::capture::{Batch, Kind, Pipeline};
use crate::config;

const PLUGINS: usize = 20;
const COLLECTIONS: usize = 1_000;

/// A simulation that ticks flat out, each tick with one more event of every plugin, while `test` runs.
fn beside_ticks(ticks: &AtomicU64, test: impl FnOnce(plugmeter::Reader) + Send) {
    let stop = AtomicBool::new(false);
    let mut sim = Simulation::new(config()).unwrap();
    let plugins: Vec<_> =
        (0..PLUGINS).map(|i| sim.register(&format!("plugin-{i}")).unwrap()).collect();
    let reader = sim.reader();
    thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            let _ends_the_ticks = SetOnDrop(stop);
            test(reader);
        });
        while !stop.load(Ordering::Relaxed) {
            plugins.iter().for_each(|plugin| plugin.events().increment());
            sim.tick(|_| Observed::Gone);
            ticks.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// The tick of a collection, if all its values belong to one tick.
fn tick_of(batch: &Batch) -> Option<f64> {
    let tick = batch.value("plugmeter.ticks", &[])?;
    let events: Vec<_> = batch.of("plugin.events").map(|point| point.value).collect();
    let is_one = events.iter().all(|count| *count == tick);
    (is_one && (events.len() == PLUGINS || tick == 0.0)).then_some(tick)
}

#[test]
fn values_of_a_collection_belong_to_one_tick() {
    let ticks = AtomicU64::new(0);
    beside_ticks(&ticks, |reader| {
        let pipeline = Pipeline::small(reader, &[Temporality::Cumulative]);
        wait_for("the first tick", || (ticks.load(Ordering::Relaxed) > 0).then_some(()));
        let (mut collections, mut collided) = (0, 0);
        let start = std::time::Instant::now();
        while collections < COLLECTIONS || collided < COLLECTIONS / 10 {
            // A thousand collections take some seconds, and minutes on a busy machine.
            assert!(start.elapsed() < 5 * HANG_TIMEOUT, "{collided} collisions in {collections}");
            let before = ticks.load(Ordering::Relaxed);
            let batch = pipeline.collect();
            // Two ticks, because one may have begun before the collection.
            collided += usize::from(ticks.load(Ordering::Relaxed) >= before + 2);
            assert!(tick_of(&batch).is_some(), "torn after {collections}: {batch:?}");
            collections += 1;
            pipeline.clear();
        }
    });
}

#[test]
fn concurrent_readers_see_no_decrease() {
    let ticks = AtomicU64::new(0);
    beside_ticks(&ticks, |reader| {
        let temporalities = [Temporality::Delta, Temporality::Delta, Temporality::Cumulative];
        let pipeline = Pipeline::small(reader, &temporalities);
        thread::scope(|scope| {
            for reader in 0..temporalities.len() {
                let pipeline = &pipeline;
                scope.spawn(move || {
                    for _ in 0..COLLECTIONS / 5 {
                        pipeline.collect_in(reader);
                    }
                });
            }
        });
        for (reader, temporality) in temporalities.into_iter().enumerate() {
            let mut last = BTreeMap::new();
            let batches = pipeline.all(reader);
            assert_eq!(batches.len(), COLLECTIONS / 5);
            let points = batches.iter().flat_map(|batch| &batch.0);
            for point in points.filter(|point| point.kind == Kind::Monotonic) {
                assert!((0.0..1e12).contains(&point.value), "{point:?}");
                let key = (point.name.clone(), point.attributes.clone());
                let before = last.insert(key, point.value).unwrap_or_default();
                let is_total = temporality == Temporality::Cumulative;
                assert!(!is_total || before <= point.value, "{point:?} after {before}");
            }
        }
    });
}

#[test]
fn stopped_collector_exports_totals_only() {
    for _ in 0..20 {
        let interval = Duration::from_millis(10);
        let collector = Collector::start(Config::default().poll_interval(interval)).unwrap();
        let plugin = collector.register("dice").unwrap();
        plugin.started(std::process::id(), "1.0");
        plugin.events().add(17);
        let pipeline = Pipeline::new(collector.reader(), &[Temporality::Cumulative]);
        collector.sample_now().unwrap();
        assert!(pipeline.collect().value("plugin.up", &[("plugin", "dice")]).is_some());
        // Collections during the stop.
        thread::scope(|scope| {
            let stopping = scope.spawn(|| collector.stop());
            while !stopping.is_finished() {
                pipeline.collect();
            }
        });
        let batch = pipeline.collect();
        assert_eq!(batch.value("plugin.events", &[("plugin", "dice")]), Some(17.0));
        assert!(batch.0.iter().all(|point| point.kind == Kind::Monotonic), "{batch:?}");
        drop((plugin, collector));
        assert_eq!(pipeline.collect().0.len(), batch.0.len());
        pipeline.provider.shutdown().unwrap();
    }
}
