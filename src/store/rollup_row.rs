//! The rollups of one plugin in a part of time, as the values of a row: ten minutes, or an hour.
//!
//! A column has a number for each of the minutes, or the one of the hour, in decimal digits: two in each byte,
//! in as many bytes as the largest number needs. SQL reads a number `n` of ten with
//! `CAST(hex(substr(x, n * length(x) / 10 + 1, length(x) / 10)) AS INTEGER)`, which is how the views do it.
//! A row for each minute would be twice as large, and take most of the time of a seal.

use super::bits::BitWriter;
use super::codec::{Decoder, Encoder, RowCrc};
use super::rollup::{GaugeRollup, Rollup, TreeRollup};
use super::sketch::Sketch;

/// The number of columns with numbers.
pub(super) const COLUMNS: usize = SUMS + 4 * GAUGE;

/// Samples, CPU time in microseconds, events, crashes.
const SUMS: usize = 4;
/// Of each gauge: minimum, maximum, sum, and the number of values, which is NULL for a process if it is the
/// number of samples.
const GAUGE: usize = 4;
/// The first column of trees, which is NULL if their values are those of the processes.
const TREE: usize = SUMS + 2 * GAUGE;

/// The values of a row between its key and its CRC.
#[derive(Debug)]
pub(super) struct RollupRow {
    pub columns: [Option<Vec<u8>>; COLUMNS],
    /// The times that the samples cover, and the sketches.
    pub details: Vec<u8>,
}

/// Numbers of equal width in decimal digits. Zeros alone take no bytes.
fn digits(numbers: impl Iterator<Item = u64> + Clone) -> Vec<u8> {
    let largest = numbers.clone().max().unwrap_or(0);
    let width = largest.checked_ilog10().map_or(0, |digits| digits as usize / 2 + 1);
    let mut bytes = Vec::with_capacity(numbers.clone().count() * width);
    for mut number in numbers {
        let begin = bytes.len();
        bytes.resize(begin + width, 0);
        for byte in bytes[begin..].iter_mut().rev() {
            *byte = (16 * (number / 10 % 10) + number % 10) as u8;
            number /= 100;
        }
    }
    bytes
}

/// The opposite of [`digits`]: this number of numbers.
fn numbers(bytes: &[u8], count: usize) -> Option<Vec<u64>> {
    if bytes.is_empty() {
        return Some(vec![0; count]);
    }
    if !bytes.len().is_multiple_of(count) {
        return None;
    }
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u64, |number, &byte| {
            let (high, low) = (u64::from(byte >> 4), u64::from(byte & 15));
            if high > 9 || low > 9 {
                return None;
            }
            number.checked_mul(100)?.checked_add(10 * high + low)
        })
    };
    bytes.chunks(bytes.len() / count).map(number).collect()
}

/// Tools that read the file have signed numbers.
fn limited(value: u64) -> u64 {
    value.min(i64::MAX as u64)
}

impl RollupRow {
    /// The row of these minutes, or of the one hour. A rollup without samples is one of no values.
    pub(super) fn of(rollups: &[Rollup]) -> Self {
        let all = |get: &dyn Fn(&Rollup) -> u64| {
            digits(rollups.iter().map(|rollup| limited(get(rollup))))
        };
        let mut columns = [const { None }; COLUMNS];
        columns[0] = Some(all(&|rollup| rollup.samples));
        columns[1] = Some(all(&|rollup| rollup.cpu_ns.saturating_add(500) / 1_000));
        columns[2] = Some(all(&|rollup| rollup.events));
        columns[3] = Some(all(&|rollup| rollup.crashes));
        let has_trees = rollups.iter().any(|rollup| rollup.tree.is_some());
        for (nth, gauge) in gauges(has_trees).enumerate() {
            let first = SUMS + nth * GAUGE;
            let columns = &mut columns[first..first + GAUGE];
            columns[0] = Some(all(&|rollup| gauge(rollup).min));
            columns[1] = Some(all(&|rollup| gauge(rollup).max));
            columns[2] = Some(all(&|rollup| gauge(rollup).sum));
            let is_other = |rollup: &Rollup| gauge(rollup).count != rollup.samples;
            if first >= TREE || rollups.iter().any(is_other) {
                columns[3] = Some(all(&|rollup| gauge(rollup).count));
            }
        }
        let mut details = Encoder::default();
        let known = rollups.iter().filter(|rollup| rollup.samples > 0);
        details.column(known.clone().map(|rollup| rollup.covered_ms));
        let mut sketches = BitWriter::default();
        for rollup in known {
            gauges(has_trees).for_each(|gauge| gauge(rollup).sketch.encode(&mut sketches));
        }
        details.bits(sketches);
        Self { columns, details: details.into_bytes() }
    }

    /// The rollups, as many as there are minutes; `None` for values that were not encoded here.
    pub(super) fn rollups(&self, count: usize) -> Option<Vec<Rollup>> {
        let numbers = |at: usize| numbers(self.columns.get(at)?.as_ref()?, count);
        let sums = [numbers(0)?, numbers(1)?, numbers(2)?, numbers(3)?];
        let [samples, cpu_us, events, crashes] = &sums;
        let has_trees = self.columns[TREE].is_some();
        let mut gauges = Vec::new();
        for first in (SUMS..if has_trees { COLUMNS } else { TREE }).step_by(GAUGE) {
            let counts = match self.columns[first + 3] {
                Some(_) => numbers(first + 3)?,
                None => samples.clone(),
            };
            gauges.push([numbers(first)?, numbers(first + 1)?, numbers(first + 2)?, counts]);
        }
        let mut input = Decoder::of_checked(&self.details);
        let mut covered = input.column(samples.iter().filter(|&&samples| samples > 0).count())?;
        let mut sketches = input.bits()?;
        input.end(())?;
        let mut rollups = vec![Rollup::default(); count];
        for (at, rollup) in rollups.iter_mut().enumerate().filter(|&(at, _)| samples[at] > 0) {
            let mut gauge = |[mins, maxs, sums, counts]: &[Vec<u64>; GAUGE]| {
                let (count, min, max, sum) = (counts[at], mins[at], maxs[at], sums[at]);
                let sketch = Sketch::decode(&mut sketches, count, min, max)?;
                Some(GaugeRollup { count, min, max, sum, sketch })
            };
            let mut next = gauges.iter().map(&mut gauge);
            let mut next = || next.next()?;
            *rollup = Rollup {
                samples: samples[at],
                covered_ms: covered.next()?,
                cpu_ns: cpu_us[at].saturating_mul(1_000),
                events: events[at],
                crashes: crashes[at],
                cpu: next()?,
                memory: next()?,
                tree: None,
            };
            if has_trees {
                let tree = TreeRollup { cpu: next()?, memory: next()? };
                let is_own = tree.cpu != rollup.cpu || tree.memory != rollup.memory;
                rollup.tree = is_own.then(|| Box::new(tree));
            }
        }
        sketches.end(rollups)
    }

    pub(super) fn crc(&self, plugin: i64, slot: i64) -> i64 {
        let key = RowCrc::default().int(plugin).int(slot);
        let columns = self.columns.iter().fold(key, |crc, column| match column {
            Some(column) => crc.int(1).bytes(column),
            None => crc.int(0),
        });
        columns.bytes(&self.details).finish()
    }
}

/// The gauges in the order of their columns.
fn gauges(has_trees: bool) -> impl Iterator<Item = fn(&Rollup) -> &GaugeRollup> + Clone {
    let all: [fn(&Rollup) -> &GaugeRollup; 4] =
        [|rollup| &rollup.cpu, |rollup| &rollup.memory, Rollup::tree_cpu, Rollup::tree_memory];
    all.into_iter().take(if has_trees { 4 } else { 2 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::rows;

    /// Rollups of many shapes, of which some have no samples.
    fn rollups(seed: u64, count: usize) -> Vec<Rollup> {
        let rollup = |part: usize| {
            let mut rollup = Rollup::default();
            for row in rows(seed, (seed as usize + part) * 7 % 31) {
                rollup.add(&crate::store::row::Row { events: row.events % 100, ..row }, 5_000);
            }
            rollup
        };
        (0..count).map(rollup).collect()
    }

    #[test]
    fn rollups_are_decoded_as_encoded() {
        for seed in 0..if cfg!(miri) { 3 } else { 60 } {
            for count in [1, 10] {
                let mut rollups = rollups(seed, count);
                let row = RollupRow::of(&rollups);
                rollups.iter_mut().for_each(|r| r.cpu_ns = (r.cpu_ns + 500) / 1_000 * 1_000);
                assert_eq!(row.rollups(count).unwrap(), rollups, "seed {seed}");
            }
        }
    }

    /// The columns that SQL reads: NULL where they follow from others.
    #[test]
    fn columns_are_null_where_others_have_their_values() {
        let gauge = |value: u64| {
            let mut gauge = GaugeRollup { count: 1, min: value, max: value, ..Default::default() };
            (gauge.sum, _) = (value, gauge.sketch.add(value));
            gauge
        };
        let plain = Rollup {
            samples: 1,
            covered_ms: 5,
            cpu_ns: 1_500,
            events: u64::MAX,
            crashes: 3,
            cpu: gauge(12),
            memory: gauge(345),
            tree: None,
        };
        let columns = |rollups: &[Rollup]| RollupRow::of(rollups).columns;
        let expected = |column: &[u8]| Some(column.to_vec());
        let all = columns(std::slice::from_ref(&plain));
        // Rounded to microseconds; no number is larger than those of SQL.
        assert_eq!(all[..2], [expected(&[1]), expected(&[2])]);
        assert_eq!(all[2], expected(&digits([i64::MAX as u64].into_iter())));
        assert_eq!(all[3], expected(&[3]));
        assert_eq!(all[4..8], [expected(&[0x12]), expected(&[0x12]), expected(&[0x12]), None]);
        let memory = expected(&[3, 0x45]);
        assert_eq!(all[8..12], [memory.clone(), memory.clone(), memory, None]);
        assert!(all[12..].iter().all(Option::is_none));
        let below = Rollup { cpu_ns: 1_499, ..plain.clone() };
        assert_eq!(columns(&[below])[1], expected(&[1]));
        // One sample without a value.
        let unknown = Rollup { cpu: GaugeRollup::default(), ..plain.clone() };
        let row = columns(&[plain.clone(), unknown.clone()]);
        assert_eq!((&row[7], &row[11]), (&expected(&[1, 0]), &None));
        // Only one minute has trees of its own: the other has those of the process.
        let tree = TreeRollup { cpu: gauge(99), memory: gauge(345) };
        let own = Rollup { tree: Some(Box::new(tree)), ..plain.clone() };
        let memory_only = TreeRollup { cpu: gauge(12), memory: gauge(346) };
        let other = Rollup { tree: Some(Box::new(memory_only)), ..plain.clone() };
        let mut rollups = [plain, own, other, Rollup::default()];
        let row = RollupRow::of(&rollups);
        assert_eq!(row.columns[13], expected(&[0x12, 0x99, 0x12, 0]));
        assert_eq!(row.columns[15], expected(&[1, 1, 1, 0]));
        for rollup in &mut rollups[..3] {
            (rollup.cpu_ns, rollup.events) = (2_000, i64::MAX as u64);
        }
        assert_eq!(row.rollups(4).unwrap(), rollups);
        // A row without the sums, or with a byte too many.
        let mut wrong = RollupRow::of(&rollups);
        wrong.columns[2] = None;
        assert!(wrong.rollups(4).is_none());
        let mut wrong = RollupRow::of(&rollups);
        wrong.details.push(0);
        assert!(wrong.rollups(4).is_none());
    }

    #[test]
    fn numbers_are_decimal_digits() {
        assert!(digits([0, 0].into_iter()).is_empty());
        assert_eq!(digits([7, 12].into_iter()), [0x07, 0x12]);
        assert_eq!(digits([99_999, 100].into_iter()), [9, 0x99, 0x99, 0, 1, 0]);
        assert_eq!(digits([100].into_iter()), [1, 0]);
        let largest = i64::MAX as u64;
        for all in [vec![0, largest], vec![99], vec![1, 10, 100, 1_000, 12_345]] {
            assert_eq!(numbers(&digits(all.iter().copied()), all.len()), Some(all));
        }
        assert_eq!(numbers(&[], 3), Some(vec![0; 3]));
        for wrong in [&[0x1a, 0][..], &[0xa1, 0], &[1, 2, 3], &[0x99; 22]] {
            assert_eq!(numbers(wrong, 2), None, "{wrong:?}");
        }
    }

    /// Each byte in turn has another value.
    #[test]
    #[cfg_attr(all(miri, not(plugmeter_slow)), ignore = "takes minutes in Miri")]
    fn changed_row_is_refused_by_crc_and_never_panics() {
        for seed in [4, 5, 6] {
            let rollups = rollups(seed, 10);
            let row = RollupRow::of(&rollups);
            let crc = row.crc(1, 2);
            assert!(row.crc(2, 2) != crc && row.crc(1, 3) != crc);
            let lens = row.columns.iter().map(|column| column.as_ref().map_or(0, Vec::len));
            for (column, len) in lens.chain([row.details.len()]).enumerate() {
                for at in 0..len {
                    for flip in [1, 0x10, 0x80] {
                        let mut changed = RollupRow::of(&rollups);
                        match changed.columns.get_mut(column) {
                            Some(Some(bytes)) => bytes[at] ^= flip,
                            _ => changed.details[at] ^= flip,
                        }
                        assert_ne!(changed.crc(1, 2), crc);
                        let _: Option<Vec<Rollup>> = changed.rollups(10);
                    }
                }
                let mut shorter = RollupRow::of(&rollups);
                if let Some(column) = shorter.columns.get_mut(column)
                    && column.take().is_some()
                {
                    assert_ne!(shorter.crc(1, 2), crc);
                    let _: Option<Vec<Rollup>> = shorter.rollups(10);
                }
            }
        }
    }
}
