//! One tick of all plugins.

use super::reading::CpuTime;
use super::sample::Row;
use super::time::Now;

/// The rows of all plugins at one tick, by slot.
#[derive(Debug)]
pub(crate) struct Frame {
    pub tick: u64,
    pub at: Now,
    pub rows: Vec<Row>,
}

impl Frame {
    /// The row of `slot`; absent where the frame is older than the slot.
    pub(crate) fn row(&self, slot: u32) -> Row {
        self.rows.get(slot as usize).copied().unwrap_or(Row::ABSENT)
    }
}

/// What a plugin's counters stood at in a tick: rows only hold what was added in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub events: u64,
    pub crashes: u64,
    /// CPU time of the run that was open.
    pub run_cpu: CpuTime,
}
