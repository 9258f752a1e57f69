//! The rollup of a minute or of an hour: what is kept of samples once they are too old.

use super::row::{Row, known};
use super::sketch::Sketch;

/// A minute in milliseconds.
pub(super) const MINUTE_MS: i64 = 60_000;
/// An hour in milliseconds.
pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Ten minutes in milliseconds: the rollups of minutes are written when such a time is over.
pub(super) const SLOT_MS: i64 = 10 * MINUTE_MS;

/// The begin of the minute or hour.
pub(super) const fn begin_of(at_ms: i64, length_ms: i64) -> i64 {
    at_ms - at_ms.rem_euclid(length_ms)
}

/// The known values of one gauge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GaugeRollup {
    pub count: u64,
    pub min: u64,
    pub max: u64,
    pub sum: u64,
    pub sketch: Sketch,
}

impl GaugeRollup {
    fn add(&mut self, value: Option<u32>) {
        let Some(value) = value.map(u64::from) else { return };
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum += value;
        self.sketch.add(value);
    }

    fn cleared(self) -> Self {
        let mut sketch = self.sketch;
        sketch.clear();
        Self { count: 0, sum: 0, min: 0, max: 0, sketch }
    }

    fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.sketch.merge(&other.sketch);
    }
}

/// The samples of one plugin in one minute or hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rollup {
    pub samples: u64,
    /// The time that the samples cover, in milliseconds: since the sample before each.
    pub covered_ms: u64,
    /// CPU time of the process trees, in nanoseconds: each sample's share of the time that it covers.
    pub cpu_ns: u64,
    pub events: u64,
    pub crashes: u64,
    pub cpu: GaugeRollup,
    pub memory: GaugeRollup,
    /// `None` where all values are those of the processes alone.
    pub tree: Option<Box<TreeRollup>>,
}

/// Rollups of process trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TreeRollup {
    pub cpu: GaugeRollup,
    pub memory: GaugeRollup,
}

impl Rollup {
    /// Adds a sample that covers this time.
    pub(super) fn add(&mut self, row: &Row, covered_ms: u64) {
        let is_same = row.tree.cpu == row.cpu && row.tree.kib == row.kib;
        if !is_same {
            self.own_tree();
        }
        self.samples += 1;
        self.covered_ms += covered_ms;
        let share = known(row.tree.cpu).or(known(row.cpu)).unwrap_or(0);
        let covered_us = row.covered_us.unwrap_or_else(|| covered_ms.saturating_mul(1_000));
        // A thousandth of a percent of a microsecond is a hundredth of a nanosecond.
        let cpu_ns = u64::from(share).saturating_mul(covered_us) / 100;
        self.cpu_ns = self.cpu_ns.saturating_add(cpu_ns);
        self.events = self.events.saturating_add(row.events);
        self.crashes = self.crashes.saturating_add(row.crashes);
        self.cpu.add(known(row.cpu));
        self.memory.add(known(row.kib));
        if let Some(tree) = &mut self.tree {
            tree.cpu.add(known(row.tree.cpu));
            tree.memory.add(known(row.tree.kib));
        }
    }

    /// From here on trees have values of their own.
    fn own_tree(&mut self) -> &mut TreeRollup {
        let Self { tree, cpu, memory, .. } = self;
        tree.get_or_insert_with(|| {
            Box::new(TreeRollup { cpu: cpu.clone(), memory: memory.clone() })
        })
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.tree.is_some() || self.tree.is_some() {
            let tree = self.own_tree();
            tree.cpu.merge(other.tree_cpu());
            tree.memory.merge(other.tree_memory());
        }
        self.samples = self.samples.saturating_add(other.samples);
        self.covered_ms = self.covered_ms.saturating_add(other.covered_ms);
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.events = self.events.saturating_add(other.events);
        self.crashes = self.crashes.saturating_add(other.crashes);
        self.cpu.merge(&other.cpu);
        self.memory.merge(&other.memory);
    }

    pub(super) fn tree_cpu(&self) -> &GaugeRollup {
        self.tree.as_ref().map_or(&self.cpu, |tree| &tree.cpu)
    }

    pub(super) fn tree_memory(&self) -> &GaugeRollup {
        self.tree.as_ref().map_or(&self.memory, |tree| &tree.memory)
    }

    /// A rollup of no samples, which keeps its memory.
    pub(super) fn clear(&mut self) {
        let empty = Self::default();
        let Self { cpu, memory, .. } = std::mem::replace(self, empty);
        (self.cpu, self.memory) = (cpu.cleared(), memory.cleared());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixtures::rows;
    use crate::store::row::{TreeRow, UNKNOWN};

    fn rollup(rows: &[Row]) -> Rollup {
        let mut rollup = Rollup::default();
        rows.iter().for_each(|row| rollup.add(&Row { events: row.events % 100, ..*row }, 5_000));
        rollup
    }

    #[test]
    fn merged_rollups_are_the_rollup_of_all() {
        for seed in 0..if cfg!(miri) { 3 } else { 30 } {
            let (mut all, other) = (rows(seed, 20), rows(seed + 1, 30));
            let mut merged = rollup(&all);
            merged.merge(&rollup(&other));
            all.extend(other);
            assert_eq!(merged, rollup(&all), "seed {seed}");
        }
    }

    #[test]
    fn cpu_time_is_share_of_covered_time() {
        let unknown = TreeRow { cpu: UNKNOWN, kib: UNKNOWN, processes: UNKNOWN };
        let cpu_ns = |cpu, tree_cpu, covered_us| {
            let tree = TreeRow { cpu: tree_cpu, ..unknown };
            let row = Row { cpu, tree, covered_us, events: 0, ..rows(1, 1)[0] };
            let mut rollup = Rollup::default();
            rollup.add(&row, 2_000);
            assert_eq!((rollup.samples, rollup.covered_ms), (1, 2_000));
            rollup.cpu_ns
        };
        // 100 % of two seconds, of half a second, and half of the former.
        assert_eq!(cpu_ns(7, 100_000, None), 2_000_000_000);
        assert_eq!(cpu_ns(7, 100_000, Some(500_000)), 500_000_000);
        assert_eq!(cpu_ns(50_000, UNKNOWN, None), 1_000_000_000);
        assert_eq!(cpu_ns(UNKNOWN, UNKNOWN, None), 0);
        // A thousandth of a percent of 99 microseconds is less than a nanosecond.
        assert_eq!((cpu_ns(1, 1, Some(99)), cpu_ns(1, 1, Some(100))), (0, 1));
    }

    #[test]
    fn gauges_have_exact_extremes() {
        let tree = TreeRow { cpu: 4, kib: UNKNOWN, processes: 1 };
        let row = |cpu, kib| Row { cpu, kib, tree, events: 2, crashes: 1, ..rows(1, 1)[0] };
        let mut rollup = Rollup::default();
        [row(5, UNKNOWN), row(3, 70), row(UNKNOWN, 80)].iter().for_each(|row| rollup.add(row, 1));
        let of = |gauge: &GaugeRollup| (gauge.count, gauge.min, gauge.max, gauge.sum);
        assert_eq!((of(&rollup.cpu), of(&rollup.memory)), ((2, 3, 5, 8), (2, 70, 80, 150)));
        assert_eq!(
            (of(rollup.tree_cpu()), of(rollup.tree_memory())),
            ((3, 4, 4, 12), (0, 0, 0, 0))
        );
        assert_eq!((rollup.events, rollup.crashes), (6, 3));
        // Only one of two values differs from the process.
        for tree in
            [TreeRow { cpu: 5, kib: 1, processes: 1 }, TreeRow { cpu: 1, kib: 6, processes: 1 }]
        {
            let mut rollup = Rollup::default();
            rollup.add(&Row { tree, ..row(5, 6) }, 1);
            assert_eq!(rollup.tree_cpu().max, u64::from(tree.cpu));
            assert_eq!(rollup.tree_memory().max, u64::from(tree.kib));
        }
    }

    #[test]
    fn minute_begins_at_or_before_the_time() {
        let begins = [-1, 0, 59_999, 60_000].map(|at| begin_of(at, MINUTE_MS));
        assert_eq!(begins, [-MINUTE_MS, 0, 0, MINUTE_MS]);
    }

    #[test]
    fn cleared_rollup_is_empty() {
        let mut cleared = rollup(&rows(2, 30));
        assert_ne!(cleared, Rollup::default());
        cleared.clear();
        assert_eq!(cleared, Rollup::default());
    }
}
