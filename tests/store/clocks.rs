//! The wall clock is set while a host records, and between two hosts.

use plugmeter::{Resolution, StoredPoint};
use plugmeter_test_support::wait_for;
use plugmeter_test_support::wall_clock::Wall;

use super::*;

const HOUR: i64 = 3_600;

fn points(store: &Store) -> Vec<StoredPoint> {
    store.reader().points("dice", always(), Resolution::Raw)
}

/// Records until there are so many more points.
fn record(store: &Store, count: usize) {
    let collector = resume(store);
    let recorder = store.record(collector.reader()).unwrap();
    collector.register("dice").unwrap();
    let before = points(store).len();
    wait_for("points", || (points(store).len() >= before + count).then_some(()));
    recorder.stop();
    assert!(recorder.error().is_none());
}

#[test]
fn clock_set_back_keeps_stored_time_in_order() {
    let name = "clock_set_back_keeps_stored_time_in_order";
    let Some(mut wall) = Wall::enter_isolated(clock_set_back_keeps_stored_time_in_order, name)
    else {
        return;
    };
    let folder = Folder::new("clock");
    let store = Store::open(config(&folder.file())).unwrap();
    record(&store, 20);
    // Between two collectors, and during the second one.
    wall.set(-HOUR);
    let collector = resume(&store);
    let recorder = store.record(collector.reader()).unwrap();
    collector.register("dice").unwrap();
    wait_for("points", || (points(&store).len() >= 40).then_some(()));
    wall.set(-3 * HOUR);
    wait_for("points", || (points(&store).len() >= 80).then_some(()));
    recorder.stop();
    wall.set(0);
    record(&store, 20);
    let points = points(&store);
    let gaps = points.windows(2).map(|pair| {
        let gap = pair[1].timestamp.duration_since(pair[0].timestamp);
        gap.unwrap_or_else(|error| panic!("back by {:?}", error.duration()))
    });
    // No sample is an hour from the next one: in one boot of the machine, time goes on by its clock.
    let longest = gaps.max().unwrap();
    assert!(longest < Duration::from_secs(600), "{longest:?}");
    // The sessions in which it was set back say so.
    let connection = rusqlite::Connection::open(folder.file()).unwrap();
    let sql = "SELECT max(clock_step) FROM sessions";
    let step: f64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert!((2.9..3.1).contains(&(step / HOUR as f64)), "{step} s");
}
