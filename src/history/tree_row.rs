//! The values of process trees, stored beside the samples.
//!
//! Most plugins consist of one process, and then the values of the tree are those of the process. So
//! a tick has a row for a plugin only where the two differ, and a block has columns for a plugin only
//! if one of its ticks has a row.

use super::command_name::CommandName;
use super::metric::{FIRST_MISSING, Metric, UNKNOWN};
use super::packed::PackedSample;
use super::units::CpuShare;

/// A column of tree values, in the order in which blocks store it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TreeMetric {
    Cpu,
    Memory,
    ProcessCount,
}

impl TreeMetric {
    pub(crate) const COUNT: usize = 3;

    /// The tree's column for a gauge of the reported process; `None` for columns without one.
    pub(crate) const fn of(metric: Metric) -> Option<Self> {
        match metric {
            Metric::Cpu => Some(Self::Cpu),
            Metric::Memory => Some(Self::Memory),
            Metric::Events | Metric::Crashes | Metric::RunAndState => None,
        }
    }
}

/// The values of one process tree at one tick, in the units of a [`PackedSample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeValues([u32; TreeMetric::COUNT]);

impl TreeValues {
    /// `None` is unknown. `cpu` is a share, `kib` the sum of the resident sizes; both are unknown if
    /// they do not fit.
    pub(crate) fn new(cpu: Option<u32>, kib: Option<u32>, process_count: Option<u32>) -> Self {
        let known = |value: Option<u32>| value.filter(|&v| v < FIRST_MISSING).unwrap_or(UNKNOWN);
        Self([known(cpu), known(kib), known(process_count)])
    }

    /// The values of a tree without a row: those of its process.
    #[inline]
    pub(crate) const fn of_root(sample: PackedSample) -> Self {
        let (cpu, kib) = (sample.get(Metric::Cpu), sample.get(Metric::Memory));
        let process_count = if sample.run().is_none() {
            0
        } else if cpu < FIRST_MISSING || kib < FIRST_MISSING {
            1
        } else {
            UNKNOWN
        };
        let kib = if kib < FIRST_MISSING { kib } else { UNKNOWN };
        Self([cpu, kib, process_count])
    }

    /// Collects the columns of one tick.
    pub(crate) fn from_columns(mut column: impl FnMut(TreeMetric) -> u32) -> Self {
        Self([TreeMetric::Cpu, TreeMetric::Memory, TreeMetric::ProcessCount].map(&mut column))
    }

    /// All columns, in order.
    #[inline]
    pub(crate) const fn columns(&self) -> &[u32; TreeMetric::COUNT] {
        &self.0
    }

    /// The integer in one column.
    #[inline]
    pub(crate) const fn get(self, metric: TreeMetric) -> u32 {
        self.0[metric as usize]
    }

    const fn known(self, metric: TreeMetric) -> Option<u32> {
        let value = self.get(metric);
        if value >= FIRST_MISSING { None } else { Some(value) }
    }

    pub(crate) fn cpu(self) -> Option<CpuShare> {
        self.known(TreeMetric::Cpu).map(CpuShare)
    }

    /// The sum of the resident sizes in bytes.
    pub(crate) fn resident(self) -> Option<u64> {
        self.known(TreeMetric::Memory).map(|kib| u64::from(kib) * 1_024)
    }

    pub(crate) const fn process_count(self) -> Option<u32> {
        self.known(TreeMetric::ProcessCount)
    }
}

/// The tree of one plugin at one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeRow {
    pub slot: u32,
    pub values: TreeValues,
}

/// The row of `slot` in rows that are sorted by slot.
#[inline]
pub(crate) fn find_row(rows: &[TreeRow], slot: u32) -> Option<&TreeRow> {
    // Most ticks of most hosts have none.
    if rows.is_empty() {
        return None;
    }
    rows.binary_search_by_key(&slot, |row| row.slot).ok().map(|at| &rows[at])
}

/// The largest number of processes of one plugin that a tick lists: the busiest.
pub(crate) const MAX_LISTED: usize = 64;

/// One process of a tree with a [`TreeRow`], at the newest tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessRow {
    pub slot: u32,
    pub pid: u32,
    /// 0 for the reported process, and if it is unknown.
    pub parent: u32,
    /// As in a [`PackedSample`]: a share, or unknown.
    pub cpu: u32,
    /// As in a [`PackedSample`]: KiB, or unknown.
    pub kib: u32,
    pub name: CommandName,
}

impl ProcessRow {
    pub(crate) fn cpu(&self) -> Option<CpuShare> {
        Some(CpuShare(self.cpu)).filter(|share| share.0 < FIRST_MISSING)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Option<u64> {
        Some(self.kib).filter(|&kib| kib < FIRST_MISSING).map(|kib| u64::from(kib) * 1_024)
    }
}

/// The rows of `slot` in rows that are sorted by slot.
pub(crate) fn process_rows(rows: &[ProcessRow], slot: u32) -> &[ProcessRow] {
    let start = rows.partition_point(|row| row.slot < slot);
    let len = rows[start..].partition_point(|row| row.slot == slot);
    &rows[start..start + len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::packed::Memory;
    use crate::history::units::ResidentBytes;
    use crate::snapshot::state::PluginState;

    fn sample(cpu: Option<CpuShare>, memory: Memory, run: u64) -> PackedSample {
        PackedSample::pack(cpu, memory, 0, 0, run, PluginState::Running)
    }

    #[test]
    fn tree_of_one_process_has_values_of_process() {
        let (share, resident) = (Some(CpuShare(7)), ResidentBytes::new(4_096).unwrap());
        let values = |cpu, memory, run| {
            let values = TreeValues::of_root(sample(cpu, memory, run));
            (values.cpu(), values.resident(), values.process_count())
        };
        let all = values(share, Memory::Resident(resident), 1);
        assert_eq!(all, (share, Some(4_096), Some(1)));
        assert_eq!(values(None, Memory::Resident(resident), 1), (None, Some(4_096), Some(1)));
        assert_eq!(values(share, Memory::Unknown, 1), (share, None, Some(1)));
        assert_eq!(values(None, Memory::Unknown, 1), (None, None, None));
        assert_eq!(values(None, Memory::Exited, 1), (None, None, None));
        assert_eq!(values(None, Memory::Unknown, 0), (None, None, Some(0)));
        assert_eq!(values(share, Memory::Unknown, 0), (share, None, Some(0)));
    }

    #[test]
    fn value_that_does_not_fit_is_unknown() {
        for value in [FIRST_MISSING, UNKNOWN] {
            let values = TreeValues::new(Some(value), Some(value), Some(value));
            assert_eq!(
                (values.cpu(), values.resident(), values.process_count()),
                (None, None, None)
            );
        }
        let largest = TreeValues::new(Some(FIRST_MISSING - 1), None, Some(3));
        assert_eq!(largest.cpu(), Some(CpuShare(FIRST_MISSING - 1)));
        assert_eq!((largest.resident(), largest.process_count()), (None, Some(3)));
    }

    #[test]
    fn process_rows_are_those_of_slot() {
        let row = |slot, pid| ProcessRow {
            slot,
            pid,
            parent: 0,
            cpu: 1,
            kib: UNKNOWN,
            name: CommandName::default(),
        };
        let rows = [row(1, 10), row(1, 11), row(4, 12)];
        let pids = |slot| process_rows(&rows, slot).iter().map(|row| row.pid).collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 4, 5].map(pids), [vec![], vec![10, 11], vec![], vec![12], vec![]]);
    }
}
