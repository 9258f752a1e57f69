//! The public fields of a snapshot, which the harness compares.

use std::time::{Duration, SystemTime};

use plugmeter::{PluginState, ReadError, RunEnd, RunId};

/// The public fields of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunFields {
    pub(crate) id: RunId,
    pub(crate) pid: u32,
    pub(crate) version: Option<String>,
    pub(crate) started_at: Option<SystemTime>,
    pub(crate) reported_at: SystemTime,
    pub(crate) ended_at: Option<SystemTime>,
    pub(crate) end: Option<RunEnd>,
    pub(crate) cpu_time: Option<Duration>,
}

/// The public fields of a sample's process tree.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TreeFields {
    pub(crate) process_count: Option<u32>,
    /// In thousandths of a percent.
    pub(crate) cpu: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
}

/// The public fields of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SampleFields {
    pub(crate) timestamp: SystemTime,
    pub(crate) version: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) run: Option<RunId>,
    pub(crate) state: PluginState,
    /// In thousandths of a percent.
    pub(crate) cpu: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) tree: TreeFields,
    pub(crate) uptime: Option<Duration>,
    pub(crate) event_count: u64,
    pub(crate) crash_count: u64,
}

/// The public fields of a plugin, without its history.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PluginFields {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) state: PluginState,
    pub(crate) state_since: SystemTime,
    pub(crate) run: Option<RunFields>,
    pub(crate) runs: Vec<RunFields>,
    pub(crate) event_count: u64,
    pub(crate) event_counts: Vec<(String, u64)>,
    pub(crate) crash_count: u64,
    pub(crate) unknown_end_count: u64,
    pub(crate) unknown_ends_detected: u64,
    pub(crate) last_crash: Option<SystemTime>,
    pub(crate) restarts: u64,
    pub(crate) cpu_time: Duration,
    pub(crate) tree_cpu_time: Duration,
    pub(crate) read_error: Option<ReadError>,
    pub(crate) current: Option<SampleFields>,
}

/// The public fields of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SnapshotFields {
    pub(crate) tick: u64,
    pub(crate) sampled_at: SystemTime,
    pub(crate) failed_reads: u64,
    pub(crate) plugins_running: usize,
    pub(crate) plugins_crashed: usize,
    pub(crate) total_events: u64,
    pub(crate) total_memory_bytes: u64,
    /// In thousandths of a percent.
    pub(crate) tree_cpu: u64,
    pub(crate) total_tree_memory_bytes: u64,
    pub(crate) process_count: usize,
    pub(crate) plugins: Vec<PluginFields>,
}

/// Sorted integers, from which all values of a summary follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortedValues(pub(crate) Vec<u64>);

impl SortedValues {
    pub(crate) fn of(values: impl Iterator<Item = u64>) -> Option<Self> {
        let mut values: Vec<_> = values.collect();
        values.sort_unstable();
        (!values.is_empty()).then_some(Self(values))
    }

    /// The value at the rank of the definition.
    pub(crate) fn p95(&self) -> u64 {
        self.0[(self.0.len() * 95 / 100).min(self.0.len() - 1)]
    }

    /// The exact sum.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// The public fields of an aggregate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WindowFields {
    pub(crate) sample_count: usize,
    pub(crate) time_span: Duration,
    /// In thousandths of a percent.
    pub(crate) cpu: Option<SortedValues>,
    /// In bytes.
    pub(crate) memory: Option<SortedValues>,
    /// In thousandths of a percent.
    pub(crate) tree_cpu: Option<SortedValues>,
    /// In bytes.
    pub(crate) tree_memory: Option<SortedValues>,
    /// `None` if some of the runs may no longer be recorded.
    pub(crate) cpu_time: Option<Duration>,
    pub(crate) events: u64,
    pub(crate) crashes: u64,
}

/// The public fields of a version's usage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VersionFields {
    pub(crate) version: Option<String>,
    /// Runs and crashes; `None` if some of the runs may no longer be recorded.
    pub(crate) runs_and_crashes: Option<(usize, u64)>,
    pub(crate) sample_count: usize,
    pub(crate) time: Duration,
    /// In thousandths of a percent.
    pub(crate) cpu: Option<SortedValues>,
    /// In bytes.
    pub(crate) memory: Option<SortedValues>,
    /// `None` as above.
    pub(crate) cpu_time: Option<Duration>,
    /// `None` as above.
    pub(crate) events: Option<u64>,
}
