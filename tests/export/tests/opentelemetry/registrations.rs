//! Totals of names that are removed and registered again. The SDK subtracts without a check under delta
//! temporality.

use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;
use plugmeter::testing::{Observed, Simulation};

use crate::capture::{Batch, Pipeline};
use crate::{config, usage};

const BOTH: [Temporality; 2] = [Temporality::Delta, Temporality::Cumulative];
const DICE: [(&str, &str); 1] = [("plugin", "dice")];

fn events(batch: &Batch) -> Option<f64> {
    batch.value("plugin.events", &DICE)
}

/// The deltas and the totals of events in the collections so far.
fn both(pipeline: &Pipeline) -> [Vec<Option<f64>>; 2] {
    [0, 1].map(|reader| pipeline.all(reader).iter().map(events).collect())
}

fn assert_no_wrapped_number(pipeline: &Pipeline) {
    for batch in pipeline.all(0).iter().chain(&pipeline.all(1)) {
        for point in &batch.0 {
            assert!(point.value < 1e12 && point.value >= 0.0, "{point:?}");
        }
    }
}

#[test]
fn name_registered_again_continues_totals() {
    // Fewer events than before, as many, and more: the last cannot be seen from the total.
    for again in [5, 100, 130] {
        let mut sim = Simulation::new(config()).unwrap();
        let plugin = sim.register("dice").unwrap();
        plugin.started(1, "1.0");
        plugin.events().add(100);
        plugin.event_counter("message").unwrap().add(7);
        sim.tick(|_| usage(2_000, 1 << 20));
        let pipeline = Pipeline::new(sim.reader(), &BOTH);
        pipeline.collect();
        sim.tick(|_| usage(3_000, 1 << 20));
        plugin.remove();
        sim.advance(Duration::from_secs(1));
        let plugin = sim.register("dice").unwrap();
        plugin.events().add(again);
        plugin.event_counter("message").unwrap().add(2);
        sim.tick(|_| Observed::Gone);
        pipeline.collect();
        plugin.events().add(1);
        sim.tick(|_| Observed::Gone);
        pipeline.collect();

        let again = again as f64;
        let deltas = [Some(107.0), Some(again + 2.0), Some(1.0)];
        let totals = [Some(107.0), Some(109.0 + again), Some(110.0 + again)];
        assert_eq!(both(&pipeline), [deltas.to_vec(), totals.to_vec()]);
        let kind = [("kind", "message"), ("plugin", "dice")];
        let kinds: Vec<_> =
            pipeline.all(1).iter().map(|batch| batch.value("plugin.events", &kind)).collect();
        assert_eq!(kinds, [Some(7.0), Some(9.0), Some(9.0)]);
        let cpu: Vec<_> =
            pipeline.all(1).iter().map(|batch| batch.value("plugin.cpu", &DICE).unwrap()).collect();
        assert!(cpu.is_sorted() && cpu[0] == 2.0, "{cpu:?}");
        assert_no_wrapped_number(&pipeline);
    }
}

#[test]
fn name_absent_in_a_collection_starts_at_zero() {
    for temporality in BOTH {
        let mut sim = Simulation::new(config()).unwrap();
        let plugin = sim.register("dice").unwrap();
        plugin.events().add(100);
        sim.tick(|_| Observed::Gone);
        let pipeline = Pipeline::new(sim.reader(), &[temporality]);
        pipeline.collect();
        plugin.remove();
        sim.tick(|_| Observed::Gone);
        pipeline.collect();
        let plugin = sim.register("dice").unwrap();
        plugin.events().add(5);
        sim.tick(|_| Observed::Gone);
        pipeline.collect();
        let all: Vec<_> = pipeline.all(0).iter().map(events).collect();
        assert_eq!(all, [Some(100.0), None, Some(5.0)], "{temporality:?}");
    }
}

/// The SDK hands an observation to all readers, so that a name ends in them at different times.
#[test]
fn several_readers_see_no_wrapped_number() {
    for absent in 0..4 {
        let mut sim = Simulation::new(config()).unwrap();
        let plugin = sim.register("dice").unwrap();
        plugin.events().add(100);
        sim.tick(|_| Observed::Gone);
        let pipeline = Pipeline::new(sim.reader(), &BOTH);
        pipeline.collect();
        plugin.remove();
        for _ in 0..absent {
            sim.tick(|_| Observed::Gone);
            pipeline.collect();
        }
        let plugin = sim.register("dice").unwrap();
        plugin.events().add(5);
        sim.tick(|_| Observed::Gone);
        assert!(events(&pipeline.collect()).is_some());
        assert_no_wrapped_number(&pipeline);
    }
}

#[test]
fn many_registrations_add_up() {
    let mut sim = Simulation::new(config()).unwrap();
    let pipeline = Pipeline::new(sim.reader(), &BOTH);
    let mut expected = 0;
    for round in 0..50 {
        let plugin = sim.register("dice").unwrap();
        let count = (round * 37) % 11;
        plugin.events().add(count);
        expected += count;
        sim.tick(|_| Observed::Gone);
        let total = events(&pipeline.collect());
        assert!(total.is_some());
        plugin.remove();
    }
    let [deltas, totals] = both(&pipeline);
    assert_eq!(deltas.into_iter().flatten().sum::<f64>(), expected as f64);
    assert_eq!(totals.last().copied().flatten(), Some(expected as f64));
    assert_no_wrapped_number(&pipeline);
}

/// One reader collects while the name is absent, and the other one does not.
#[test]
fn reader_that_missed_the_absence_continues() {
    let mut sim = Simulation::new(config()).unwrap();
    let plugin = sim.register("dice").unwrap();
    plugin.events().add(100);
    sim.tick(|_| Observed::Gone);
    // Two readers of the same instruments on threads of their own.
    let pipeline = Pipeline::new(sim.reader(), &[Temporality::Delta, Temporality::Delta]);
    pipeline.collect();
    plugin.remove();
    sim.tick(|_| Observed::Gone);
    pipeline.collect_in(0);
    let plugin = sim.register("dice").unwrap();
    plugin.events().add(5);
    sim.tick(|_| Observed::Gone);
    pipeline.collect_in(1);
    assert_eq!(pipeline.all(1).iter().map(events).collect::<Vec<_>>(), [Some(100.0), Some(5.0)]);
    assert_no_wrapped_number(&pipeline);
}
