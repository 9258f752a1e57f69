//! Points and aggregates of samples and of rollups, in public units.

use std::sync::Arc;
use std::time::Duration;

use super::feed::from_unix_ms;
use super::lookup::RawSample;
use super::rollup::{GaugeRollup, Rollup};
use super::row::{Row, known};
use super::sketch::RELATIVE_ERROR;
use super::values::{
    KnownCounts, Quantile, Resolution, StoredAggregates, StoredPoint, StoredSummary,
};
use crate::snapshot::downsample::ValueRange;

/// A stored unit in a public one, as a fraction: the division comes last, so that results are rounded
/// once.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    numerator: f64,
    denominator: f64,
}

/// Percent, of thousandths.
const PERCENT: Unit = Unit { numerator: 1.0, denominator: 1_000.0 };
/// Bytes, of KiB.
const BYTES: Unit = Unit { numerator: 1_024.0, denominator: 1.0 };

impl Unit {
    fn of(self, value: u64) -> f64 {
        value as f64 * self.numerator / self.denominator
    }

    /// Arithmetic mean; `None` without values.
    fn avg(self, gauge: &GaugeRollup) -> Option<f64> {
        let count = gauge.count as f64;
        (gauge.count > 0).then(|| gauge.sum as f64 * self.numerator / (self.denominator * count))
    }
}

pub(super) fn raw_point(sample: &RawSample) -> StoredPoint {
    let row = &sample.row;
    let range = |value: u32, unit: Unit| {
        let value = unit.of(known(value)?.into());
        Some(ValueRange { min: value, avg: value, max: value })
    };
    let count = |value: u32| u64::from(known(value).is_some());
    StoredPoint {
        timestamp: from_unix_ms(sample.at_ms),
        resolution: Resolution::Raw,
        sample_count: 1,
        time_span: Duration::from_millis(sample.covered_ms),
        cpu_percent: range(row.cpu, PERCENT),
        memory: range(row.kib, BYTES),
        tree_cpu_percent: range(row.tree.cpu, PERCENT),
        tree_memory: range(row.tree.kib, BYTES),
        events: row.events,
        crashes: row.crashes,
        state: Some(row.state),
        known: KnownCounts {
            cpu: count(row.cpu),
            memory: count(row.kib),
            tree_cpu: count(row.tree.cpu),
            tree_memory: count(row.tree.kib),
        },
    }
}

pub(super) fn point(at_ms: i64, rollup: &Rollup, resolution: Resolution) -> StoredPoint {
    let range = |gauge: &GaugeRollup, unit: Unit| {
        let avg = unit.avg(gauge)?;
        Some(ValueRange { min: unit.of(gauge.min), avg, max: unit.of(gauge.max) })
    };
    StoredPoint {
        timestamp: from_unix_ms(at_ms),
        resolution,
        sample_count: rollup.samples,
        time_span: Duration::from_millis(rollup.covered_ms),
        cpu_percent: range(&rollup.cpu, PERCENT),
        memory: range(&rollup.memory, BYTES),
        tree_cpu_percent: range(rollup.tree_cpu(), PERCENT),
        tree_memory: range(rollup.tree_memory(), BYTES),
        events: rollup.events,
        crashes: rollup.crashes,
        state: None,
        known: KnownCounts {
            cpu: rollup.cpu.count,
            memory: rollup.memory.count,
            tree_cpu: rollup.tree_cpu().count,
            tree_memory: rollup.tree_memory().count,
        },
    }
}

pub(super) fn aggregates(
    name: &str,
    resolution: Resolution,
    all: &Rollup,
    p95: impl Fn(&GaugeRollup, Unit) -> Option<Quantile>,
) -> StoredAggregates {
    let summary = |gauge: &GaugeRollup, unit: Unit| {
        Some(StoredSummary {
            count: gauge.count,
            avg: unit.avg(gauge)?,
            min: unit.of(gauge.min),
            max: unit.of(gauge.max),
            p95: p95(gauge, unit)?,
        })
    };
    let time_span = Duration::from_millis(all.covered_ms);
    let cpu_time = Duration::from_nanos(all.cpu_ns);
    let per_second = all.events as f64 / time_span.as_secs_f64();
    let per_event = cpu_time.as_nanos().checked_div(u128::from(all.events));
    StoredAggregates {
        plugin_name: Arc::from(name),
        resolution,
        sample_count: all.samples,
        time_span,
        cpu: summary(&all.cpu, PERCENT),
        memory: summary(&all.memory, BYTES),
        tree_cpu: summary(all.tree_cpu(), PERCENT),
        tree_memory: summary(all.tree_memory(), BYTES),
        cpu_time,
        events: all.events,
        events_per_second: if per_second.is_finite() { per_second } else { 0.0 },
        cpu_per_event: per_event
            .map(|nanos| Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))),
        crashes: all.crashes,
    }
}

/// The percentile of a rollup.
pub(super) fn within(gauge: &GaugeRollup, unit: Unit) -> Option<Quantile> {
    let value = gauge.sketch.p95()?.max(gauge.min as f64).min(gauge.max as f64);
    let value = value * unit.numerator / unit.denominator;
    Some(Quantile::Within { value, relative_error: RELATIVE_ERROR })
}

/// Aggregates whose percentiles are those of the samples.
pub(super) fn exact_aggregates(name: &str, samples: &[RawSample]) -> StoredAggregates {
    let mut all = Rollup::default();
    samples.iter().for_each(|sample| all.add(&sample.row, sample.covered_ms));
    let exact = |get: fn(&Row) -> u32, unit: Unit| {
        let mut values: Vec<u32> = samples.iter().filter_map(|s| known(get(&s.row))).collect();
        let rank = (values.len() * 95 / 100).min(values.len().checked_sub(1)?);
        let (_, value, _) = values.select_nth_unstable(rank);
        Some(Quantile::Exact(unit.of(u64::from(*value))))
    };
    let found = aggregates(name, Resolution::Raw, &all, |_, _| Some(Quantile::Exact(0.0)));
    let with = |summary: Option<StoredSummary>, p95: Option<Quantile>| {
        summary.zip(p95).map(|(summary, p95)| StoredSummary { p95, ..summary })
    };
    StoredAggregates {
        cpu: with(found.cpu, exact(|row| row.cpu, PERCENT)),
        memory: with(found.memory, exact(|row| row.kib, BYTES)),
        tree_cpu: with(found.tree_cpu, exact(|row| row.tree.cpu, PERCENT)),
        tree_memory: with(found.tree_memory, exact(|row| row.tree.kib, BYTES)),
        ..found
    }
}

#[cfg(feature = "http")]
impl StoredPoint {
    /// This point and the next one as one.
    pub(crate) fn merged(self, next: &Self) -> Self {
        let (a, b) = (self.known, next.known);
        Self {
            time_span: self.time_span.saturating_add(next.time_span),
            cpu_percent: merged([(self.cpu_percent, a.cpu), (next.cpu_percent, b.cpu)]),
            memory: merged([(self.memory, a.memory), (next.memory, b.memory)]),
            tree_cpu_percent: merged([
                (self.tree_cpu_percent, a.tree_cpu),
                (next.tree_cpu_percent, b.tree_cpu),
            ]),
            tree_memory: merged([
                (self.tree_memory, a.tree_memory),
                (next.tree_memory, b.tree_memory),
            ]),
            sample_count: self.sample_count.saturating_add(next.sample_count),
            events: self.events.saturating_add(next.events),
            crashes: self.crashes.saturating_add(next.crashes),
            state: next.state,
            known: KnownCounts {
                cpu: a.cpu + b.cpu,
                memory: a.memory + b.memory,
                tree_cpu: a.tree_cpu + b.tree_cpu,
                tree_memory: a.tree_memory + b.tree_memory,
            },
            ..self
        }
    }
}

/// The range of two, each with the number of its values.
#[cfg(feature = "http")]
fn merged(parts: [(Option<ValueRange>, u64); 2]) -> Option<ValueRange> {
    let [(Some(a), n), (Some(b), m)] = parts else { return parts[0].0.or(parts[1].0) };
    let (n, m) = (n as f64, m as f64);
    Some(ValueRange {
        min: a.min.min(b.min),
        avg: (a.avg * n + b.avg * m) / (n + m).max(1.0),
        max: a.max.max(b.max),
    })
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn merged_average_is_of_all_known_values() {
        let range = |avg: f64| Some(ValueRange { min: avg - 1.0, avg, max: avg + 1.0 });
        let found = merged([(range(100.0), 72), (range(10.0), 720)]).unwrap();
        assert_eq!((found.min, found.max), (9.0, 101.0));
        assert!((found.avg - (100.0 * 72.0 + 10.0 * 720.0) / 792.0).abs() < 1e-9, "{found:?}");
        assert_eq!(merged([(None, 0), (range(5.0), 3)]), range(5.0));
        assert_eq!(merged([(range(5.0), 3), (None, 0)]), range(5.0));
        assert_eq!(merged([(None, 0), (None, 0)]), None);
    }

    #[test]
    fn merged_points_have_the_values_of_both() {
        let range = |min, avg, max| Some(ValueRange { min, avg, max });
        let time = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let first = StoredPoint {
            timestamp: time(60),
            resolution: Resolution::Minute,
            sample_count: 12,
            time_span: Duration::from_secs(60),
            cpu_percent: range(1.0, 2.0, 3.0),
            memory: range(10.0, 20.0, 30.0),
            tree_cpu_percent: None,
            tree_memory: range(100.0, 200.0, 300.0),
            events: 5,
            crashes: 1,
            state: None,
            known: KnownCounts { cpu: 12, memory: 6, tree_cpu: 0, tree_memory: 1 },
        };
        let next = StoredPoint {
            timestamp: time(120),
            sample_count: 4,
            time_span: Duration::from_secs(20),
            cpu_percent: range(4.0, 6.0, 8.0),
            memory: range(5.0, 50.0, 60.0),
            tree_cpu_percent: range(7.0, 7.0, 7.0),
            tree_memory: range(150.0, 160.0, 170.0),
            events: 2,
            crashes: 3,
            known: KnownCounts { cpu: 4, memory: 3, tree_cpu: 2, tree_memory: 3 },
            ..first.clone()
        };
        let expected = StoredPoint {
            timestamp: time(60),
            resolution: Resolution::Minute,
            sample_count: 16,
            time_span: Duration::from_secs(80),
            cpu_percent: range(1.0, 3.0, 8.0),
            memory: range(5.0, 30.0, 60.0),
            tree_cpu_percent: range(7.0, 7.0, 7.0),
            tree_memory: range(100.0, 170.0, 300.0),
            events: 7,
            crashes: 4,
            state: None,
            known: KnownCounts { cpu: 16, memory: 9, tree_cpu: 2, tree_memory: 4 },
        };
        assert_eq!(first.merged(&next), expected);
    }
}
