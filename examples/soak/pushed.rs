//! Requests of OTLP for a receiver that is away now and then: each tick is in one of those that it gets.

use std::sync::atomic::Ordering;
use std::time::Duration;

use plugmeter::Reader;
use plugmeter::otlp::Encoder;

use crate::{Tally, Violation};

/// The receiver is away for half of each of so many requests.
const CYCLE: u64 = 128;
/// For a new tick, between two looks at whether the soak is over.
const WAIT_TIMEOUT: Duration = Duration::from_secs(1);
/// The bound of a request, with some room for what the encoder adds to its points.
const MAX_BODY: usize = 1_100_000;

/// Returns once the collector has stopped and all of its ticks are delivered.
pub(crate) fn push(reader: &Reader, tally: &Tally) -> Result<(), Violation> {
    let mut encoder = Encoder::new([("service.instance.id", "soak")]);
    let mut snapshot = reader.snapshot();
    // No earlier tick need have a plugin.
    let first = snapshot.tick();
    let (mut attempts, mut delivered) = (0_u64, 0);
    loop {
        while let Some(request) = encoder.encode(&snapshot) {
            attempts += 1;
            if request.points() == 0 || request.body().len() > MAX_BODY {
                return Err(format!("a request of {} bytes", request.body().len()));
            }
            if attempts % CYCLE < CYCLE / 2 && !snapshot.is_stopped() {
                break;
            }
            delivered += request.ticks();
            tally.pushed.fetch_add(request.ticks(), Ordering::Relaxed);
            encoder.acknowledge(request);
        }
        match reader.wait_for_newer(&snapshot, WAIT_TIMEOUT) {
            Some(newer) => snapshot = newer,
            None if snapshot.is_stopped() => break,
            None => {}
        }
    }
    let (counted, ticks) = (delivered + encoder.lost_ticks(), snapshot.tick());
    if !(ticks - first..=ticks).contains(&counted) {
        let lost = encoder.lost_ticks();
        return Err(format!("{delivered} ticks delivered and {lost} lost, of {ticks}"));
    }
    Ok(())
}
